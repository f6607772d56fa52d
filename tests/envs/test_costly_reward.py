"""Any environment's reward made costly: what the source is asked, and about which transitions."""

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from stable_baselines3 import PPO

from mbrl_split import BudgetExhaustedError, InvalidInputError
from mbrl_split.columns import Column
from mbrl_split.envs import CostlyReward, CostlyRewardSingle, CostlyRewardVector, OracleSource, RecordedReward
from mbrl_split.oracles import FunctionOracle, Ledger

PENDULUM = tuple(Column(n, "1", -h, h) for n, h in [("cos", 1), ("sin", 1), ("speed", 8), ("torque", 2)])


class Counter(gymnasium.Env):
    """Observes its own clock, ends after ``length`` steps, pays the clock plus the action."""

    observation_space = gymnasium.spaces.Box(0, 100, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(10)

    def __init__(self, length):
        self.length = length
        self.moves = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._observe(), {}

    def step(self, action):
        reward = 10 * self.t + int(action)
        self.t += 1
        self.moves += 1
        return self._observe(), float(reward), self.t == self.length, False, {}

    def _observe(self):
        return np.array([self.t], np.float32)


COUNTER = (Column("clock", "1", 0, 100), Column("action", "1", 0, 9))


class Recording:
    """Answers 10·clock + action, the counter's own reward, and keeps what it was asked."""

    version = 0
    columns = COUNTER

    def __init__(self):
        self.asked = []
        self.seeds = []
        self.spent = False

    def answer(self, X, *, seeds):
        if self.spent:
            raise BudgetExhaustedError("spent")
        self.asked.append(np.asarray(X).copy())
        self.seeds.append(np.asarray(seeds).copy())
        return 10 * X[:, 0] + X[:, 1]


def test_pendulum_by_a_function_of_the_user():
    """The true reward of Gymnasium's Pendulum, written down as a function of the query."""

    def reward(X):
        angle = np.arctan2(X[:, 1], X[:, 0])
        return -(angle**2 + 0.1 * X[:, 2] ** 2 + 0.001 * X[:, 3] ** 2)

    ledger = Ledger(FunctionOracle(reward, PENDULUM))
    env = CostlyReward(gymnasium.make("Pendulum-v1"), OracleSource(ledger))
    env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(20):
        _, r, _, _, info = env.step(env.action_space.sample())
        assert r == pytest.approx(info["wrapped_reward"], abs=1e-5)
    assert ledger.spent == 20
    assert len(np.unique(ledger.entries.seeds)) == 20


def test_the_own_reward_as_truth_and_a_compose():
    own = RecordedReward()
    ledger = Ledger(FunctionOracle(own, PENDULUM), budget=5)
    env = CostlyReward(
        gymnasium.make("Pendulum-v1"), OracleSource(ledger), truth=own, compose=lambda answer, obs, action: -2 * answer
    )
    env.reset(seed=0)
    for _ in range(5):
        _, r, _, _, info = env.step(np.array([1.0], np.float32))
        assert r == -2 * info["wrapped_reward"]
    assert len(own) == 5
    with pytest.raises(BudgetExhaustedError):
        env.step(np.array([1.0], np.float32))
    assert ledger.spent == 5
    with pytest.raises(InvalidInputError, match="known only where it has been"):
        own(np.zeros((1, 4)))


def test_a_spent_budget_keeps_the_transition():
    source, inner = Recording(), Counter(4)
    env = CostlyReward(inner, source)
    env.reset(seed=0)
    env.step(3)
    source.spent = True
    with pytest.raises(BudgetExhaustedError):
        env.step(5)
    assert inner.moves == 2  # the wrapped environment cannot be moved back ...
    with pytest.raises(BudgetExhaustedError):
        env.step(5)
    with pytest.raises(InvalidInputError, match="waits for its reward"):
        env.step(6)
    fresh = Recording()
    env.set_source(fresh)
    obs, reward, *_ = env.step(5)  # ... but nothing of it is lost, and it is not moved twice
    assert inner.moves == 2
    assert obs.tolist() == [2]
    assert reward == 15
    assert fresh.asked[0].tolist() == [[1, 5]]


LENGTHS = (3, 5)


def vector(mode):
    return SyncVectorEnv([lambda n=n: Counter(n) for n in LENGTHS], autoreset_mode=mode)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_no_dead_transition_is_ever_sent(mode):
    source = Recording()
    env = CostlyReward(vector(mode), source)
    env.reset(seed=0)
    clocks, resetting = [0, 0], [False, False]
    wanted = []
    for t in range(12):
        actions = np.array([t % 10, (t + 1) % 10])
        if mode is AutoresetMode.DISABLED and any(resetting):
            env.reset(options={"reset_mask": np.array(resetting)})
            clocks, resetting = [0 if r else c for c, r in zip(clocks, resetting, strict=True)], [False, False]
        _, reward, _, _, info = env.step(actions)
        rows, hand = [], [0.0, 0.0]
        for i in range(2):
            if mode is AutoresetMode.NEXT_STEP and resetting[i]:
                clocks[i], resetting[i] = 0, False
                continue
            rows.append([clocks[i], actions[i]])
            hand[i] = 10.0 * clocks[i] + actions[i]
            clocks[i] += 1
            if clocks[i] == LENGTHS[i]:
                resetting[i] = True
                if mode is AutoresetMode.SAME_STEP:
                    clocks[i], resetting[i] = 0, False
        assert reward.tolist() == hand
        assert info["_measurement"].sum() == len(rows)
        assert info["wrapped_reward"].tolist() == hand
        if rows:
            wanted.append(rows)
    assert [X.tolist() for X in source.asked] == wanted
    if mode is AutoresetMode.NEXT_STEP:
        assert sum(map(len, wanted)) == 12 * 2 - 3 - 2  # (3 + 1) divides 12 thrice; 5 + 1 twice, the second at the end
    seeds = np.concatenate(source.seeds)
    assert len(np.unique(seeds)) == len(seeds)


def test_a_row_whose_sub_environments_all_reset_asks_nothing():
    source = Recording()
    env = CostlyReward(SyncVectorEnv([lambda: Counter(1)] * 2), source)
    env.reset(seed=0)
    env.step(np.array([4, 5]))
    _, reward, *_ = env.step(np.array([6, 7]))
    assert reward.tolist() == [0, 0]
    assert [X.tolist() for X in source.asked] == [[[0, 4], [0, 5]]]


def test_seeds_of_the_source_follow_from_reset():
    def seeds(seed):
        source = Recording()
        env = CostlyReward(vector("SameStep"), source)
        env.reset(seed=seed)
        for _ in range(4):
            env.step(np.array([1, 1]))
        env.reset()
        env.step(np.array([1, 1]))
        return np.stack(source.seeds)

    assert np.array_equal(seeds(3), seeds(3))
    assert np.array_equal(seeds(3)[:, 1], seeds(4)[:, 0])  # seed s + i, as Gymnasium has it
    assert not np.array_equal(seeds(3), seeds(30))
    alone = Recording()
    env = CostlyReward(Counter(9), alone)
    env.reset(seed=3)
    for _ in range(4):
        env.step(1)
    assert np.concatenate(alone.seeds).tolist() == seeds(3)[:4, 0].tolist()


def test_features_see_the_observation_before_the_step():
    seen = []

    def features(obs, action):
        seen.append((obs.copy(), np.asarray(action).copy()))
        return np.column_stack([obs[:, 0], action])

    env = CostlyReward(SyncVectorEnv([lambda: Counter(9)] * 2, copy=False), Recording(), features=features)
    env.reset(seed=0)
    env.step(np.array([1, 2]))
    env.step(np.array([3, 4]))
    assert [o[:, 0].tolist() for o, _ in seen] == [[0, 0], [1, 1]]


def test_wrong_features_and_sources_are_refused():
    env = CostlyReward(Counter(3), Recording(), features=lambda obs, action: obs)
    env.reset(seed=0)
    with pytest.raises(
        InvalidInputError, match=r"features give one row of \(clock, action\).*shape \(1, 2\), not \(1, 1\)"
    ):
        env.step(1)
    with pytest.raises(InvalidInputError, match="which NoneType lacks"):
        CostlyReward(Counter(3), None)
    other = Recording()
    other.columns = PENDULUM
    with pytest.raises(InvalidInputError, match="answers the columns"):
        env.set_source(other)


def test_statistics_and_agents_work_on_top():
    env = RecordEpisodeStatistics(CostlyReward(vector("SameStep"), Recording()))
    env.reset(seed=0)
    for _ in range(3):
        *_, info = env.step(np.array([1, 1]))
    assert info["episode"]["r"][0] == 1 + 11 + 21
    single = CostlyReward(gymnasium.make("CartPole-v1"), Ones())
    PPO("MlpPolicy", single, n_steps=32, batch_size=32, n_epochs=1, seed=0, device="cpu").learn(32)
    assert isinstance(single, CostlyRewardSingle)
    assert isinstance(env.env, CostlyRewardVector)


class Ones:
    version = 0
    columns = tuple(Column(f"x{i}", "1", -1e9, 1e9) for i in range(5))

    def answer(self, X, *, seeds):
        return np.ones(len(X))
