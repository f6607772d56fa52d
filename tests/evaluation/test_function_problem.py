"""An own environment with an own oracle: what its judge says, against closed forms and loops."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from mbrl_split.agents import LinUCB
from mbrl_split.columns import Column
from mbrl_split.envs import OracleSource
from mbrl_split.errors import BudgetExhaustedError, InvalidInputError, UnsupportedError
from mbrl_split.evaluation import FunctionProblem, check_problem
from mbrl_split.interaction import Policy, ZeroSource
from mbrl_split.oracles import FunctionOracle, Ledger, Measurement, Oracle

COLUMNS = (Column("weather", "1", 0, 4), Column("rooms", "1", 0, 4, "ordinal"))


class Shop(gym.Env):
    """How many rooms to heat, given the weather: a bandit."""

    observation_space = gym.spaces.Box(0, 4, (1,))
    action_space = gym.spaces.Discrete(5)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.uniform(0, 4, 1).astype(np.float32), {}

    def step(self, action):
        assert self.action_space.contains(int(action)), action
        return np.zeros(1, np.float32), 123.0, True, False, {}


class ShopFrom3(Shop):
    """The same, its actions numbered from 3."""

    action_space = gym.spaces.Discrete(5, start=3)


def cost(X):
    return (X[:, 0] - X[:, 1]) ** 2


def oracle(f=cost, columns=COLUMNS, noise=0.5):
    return FunctionOracle(f, columns, noise, identity="shop 1")


def shop(**settings):
    return FunctionProblem(Shop, oracle(), **{"has_consequences": False, **settings})


class Heat(Policy):
    """A rule of the weather, and what it was shown."""

    def __init__(self, rule, start=0):
        self.rule, self.start, self.seen = rule, start, []

    def act(self, obs, *, deterministic=False, mask=None):
        self.seen.append(np.array(obs))
        return self.rule(np.asarray(obs)[..., 0]).astype(np.int64) + self.start


def test_references_of_a_bandit_are_those_of_the_closed_form():
    """Weather uniform on [0, 4]: E(w − round w)² = 1/12, E(w − 2)² = 4/3, and E(w − a)² = 4/3 + (a − 2)²."""
    judge = shop(contexts=4000).judge(seed=5)
    for name, value in (("optimal", -1 / 12), ("best-fixed", -4 / 3), ("random", -4 / 3 - 2)):
        found = judge.reference(name)
        assert found.unit == "context"
        assert found.per_unit.shape == (4000,)
        assert abs(found.value - value) < 4 * found.std_error < 0.2
    assert judge.headroom.value == pytest.approx(4 / 3 - 1 / 12, abs=4 * judge.headroom.std_error)
    assert judge.about() == {"contexts": 4000, "best_fixed_action": 2}


def test_a_policy_is_judged_as_a_loop_over_the_contexts_does():
    judge = shop().judge(seed=1)
    policy = Heat(np.floor)
    found = judge.judge(policy)
    (contexts,) = policy.seen
    weather = contexts[:, 0].astype(np.float64)
    assert len(np.unique(weather)) == 500
    by_hand = np.array([-((w - float(np.floor(w))) ** 2) for w in weather])
    np.testing.assert_allclose(found.per_unit, by_hand, atol=1e-12)
    assert found.value == pytest.approx(by_hand.mean())
    assert found.std_error == pytest.approx(by_hand.std(ddof=1) / np.sqrt(500))
    every = np.array([[-((w - a) ** 2) for a in range(5)] for w in weather])
    np.testing.assert_allclose(judge.reference("optimal").per_unit, every.max(axis=1))
    np.testing.assert_allclose(judge.reference("best-fixed").per_unit, every[:, every.mean(axis=0).argmax()])
    np.testing.assert_allclose(judge.reference("random").per_unit, every.mean(axis=1))
    gain = every.max(axis=1) - every[:, 2]
    assert judge.headroom.value == pytest.approx(gain.mean())
    assert judge.headroom.std_error == pytest.approx(gain.std(ddof=1) / np.sqrt(500))


def test_one_seed_is_one_set_of_contexts():
    same, again, other = (Heat(np.floor) for _ in range(3))
    values = [shop().judge(seed).judge(policy).per_unit for seed, policy in ((1, same), (1, again), (2, other))]
    np.testing.assert_array_equal(values[0], values[1])
    np.testing.assert_array_equal(same.seen[0], again.seen[0])
    assert not np.isin(other.seen[0], same.seen[0]).any()


def test_looking_up_the_truth_is_optimal_and_a_rule_is_what_it_says():
    problem = shop()
    judge = problem.judge(seed=0)
    np.testing.assert_array_equal(judge.judge(problem.lookup(cost)).per_unit, judge.reference("optimal").per_unit)
    half = judge.judge(problem.rule(lambda context: context[:, 0] / 2)).value
    assert half == pytest.approx(judge.judge(Heat(lambda w: np.rint(w / 2))).value)
    with pytest.raises(UnsupportedError, match="no transitions to plan for"):
        problem.lookup(cost, plan=True)


def test_actions_that_begin_elsewhere():
    """Whatever acts, acts in the space: the look-up, the rule, an agent that learned, the table."""
    problem = FunctionProblem(
        ShopFrom3, oracle(), has_consequences=False, features=lambda obs, a: np.column_stack([obs, np.asarray(a) - 3])
    )
    judge, plain = problem.judge(seed=0), shop().judge(seed=0)
    assert judge.about()["best_fixed_action"] == 5
    assert [row["action"] for row in problem.action_table()] == [3, 4, 5, 6, 7]
    assert [row["rooms"] for row in problem.action_table()] == [0, 1, 2, 3, 4]
    for name in problem.reference_names:
        np.testing.assert_array_equal(judge.reference(name).per_unit, plain.reference(name).per_unit)
    lookup = problem.lookup(cost)
    assert judge.judge(lookup).value == judge.reference("optimal").value
    assert lookup.act([2.2]) == 5
    assert problem.rule(lambda context: context[:, 0]).act([[3.9], [0.2]]).tolist() == [7, 3]
    assert judge.judge(Heat(np.floor, start=3)).value == plain.judge(Heat(np.floor)).value
    env = problem.make_env(8, source=OracleSource(Ledger(problem.oracle())))
    agent = LinUCB(env.single_observation_space, env.single_action_space, seed=0)
    agent.learn(env, 2000)
    assert judge.judge(agent).value > judge.reference("random").value + 1
    with pytest.raises(InvalidInputError, match=r"one action of 3 … 7 per context.* from 0 to 4"):
        judge.judge(Heat(np.rint))
    with pytest.raises(InvalidInputError, match=r"shape \(500,\); not \(\)"):
        judge.judge(Heat(lambda w: np.array(4)))
    check_problem(problem)


def test_rewards_are_composed_and_the_environments_own_is_not_used():
    problem = shop(reward=lambda y, X: 7 - 2 * y - X[:, 1], contexts=50)
    ledger = Ledger(oracle(noise=0.0), budget=3)
    env = problem.make_env(3, source=OracleSource(ledger))
    obs, _ = env.reset(seed=4)
    action = np.array([0, 2, 4])
    _, reward, *_ = env.step(action)
    weather = obs[:, 0].astype(np.float64)
    np.testing.assert_allclose(reward, 7 - 2 * (weather - action) ** 2 - action)
    assert ledger.spent == 3
    with pytest.raises(BudgetExhaustedError):
        env.step(action)
    policy = Heat(np.rint)
    value = problem.judge(0).judge(policy).value
    w = policy.seen[0][:, 0].astype(np.float64)
    assert value == pytest.approx(np.mean(7 - 2 * (w - np.rint(w)) ** 2 - np.rint(w)))
    found = problem.reward_function()
    assert found.action == 1
    np.testing.assert_allclose(found.queries(obs)[1], [[weather[1], a] for a in range(5)])


class Scale(Oracle):
    """An oracle that knows no expected value: noisy, by the seed."""

    columns, identity, evaluation_size = COLUMNS, "scale 1", 1

    def measure(self, X, *, seeds, size=None):
        x = np.asarray(X, dtype=np.float64)
        noise = np.array([np.random.default_rng(int(s)).normal() for s in seeds])
        one, none = np.ones(len(x)), np.zeros(len(x), np.int64)
        return Measurement(cost(x) + noise, one, one.astype(np.int64), none, np.zeros(len(x)))


def test_where_no_expected_value_is_known_the_judge_measures():
    problem = FunctionProblem(Shop, Scale(), has_consequences=False, contexts=2000)
    judge, policy = problem.judge(seed=0), Heat(np.rint)
    found = judge.judge(policy)
    np.testing.assert_array_equal(problem.judge(seed=0).judge(Heat(np.rint)).per_unit, found.per_unit)
    weather = policy.seen[0][:, 0].astype(np.float64)
    noise = found.per_unit + (weather - np.rint(weather)) ** 2
    assert noise.std() == pytest.approx(1, abs=0.1)
    assert noise.mean() == pytest.approx(0, abs=0.1)
    # Actions of a context share their noise: the best by measurement is the best.
    np.testing.assert_allclose(judge.reference("optimal").per_unit, found.per_unit, atol=1e-6)


class Tank(gym.Env):
    """A level that actions move; episodes of 3 + (0 … 2) steps."""

    observation_space = gym.spaces.Box(-50, 50, (1,))
    action_space = gym.spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.level, self.left = float(np.float32(self.np_random.normal())), 3 + int(self.np_random.integers(3))
        return np.float32([self.level]), {}

    def step(self, action):
        self.level = float(np.float32(self.level + (action - 1) + 0.1 * self.np_random.normal()))
        self.left -= 1
        return np.float32([self.level]), 99.0, self.left == 0, False, {}


TANK = (Column("level", "m", -50, 50), Column("pump", "1", 0, 2, "ordinal"))


def effort(X):
    return np.abs(X[:, 0]) + 0.1 * X[:, 1]


@pytest.mark.parametrize("episodes", [7, 60])
def test_with_consequences_returns_are_those_of_an_independent_loop(episodes):
    problem = FunctionProblem(Tank, oracle(effort, TANK), contexts=episodes)
    policy = Heat(lambda level: 1 - np.sign(np.rint(level)))
    found = problem.judge(seed=11).judge(policy)
    n = min(episodes, 50)
    quota, by_hand = -(-episodes // n), []
    for i in range(n):
        env = Tank()
        for k in range(quota):
            obs, _ = env.reset(seed=11 + i if k == 0 else None)
            total, over = 0.0, False
            while not over:
                action = int(1 - np.sign(np.rint(obs[0])))
                total -= abs(float(obs[0])) + 0.1 * action
                obs, _, over, _, _ = env.step(action)
            by_hand.append(total)
    np.testing.assert_allclose(found.per_unit, by_hand[:episodes], rtol=1e-9)
    assert (found.unit, len(found.per_unit)) == ("episode", episodes)
    again = problem.judge(seed=11).judge(policy)
    np.testing.assert_array_equal(again.per_unit, found.per_unit)
    assert problem.judge(seed=12).judge(policy).value != found.value
    assert problem.reference_names == ("random",)
    judge = problem.judge(seed=11)
    assert judge.headroom is None
    assert judge.reference("random").value < found.value
    assert judge.reference("random").value == judge.reference("random").value
    with pytest.raises(InvalidInputError, match="unknown reference 'optimal'"):
        judge.reference("optimal")
    check_problem(problem)


def test_a_continuous_action_on_a_known_environment():
    """Pendulum's own reward, measured: the judge's returns are those that Gymnasium pays."""
    names = [("cos", 1), ("sin", 1), ("speed", 8), ("torque", 2)]
    columns = tuple(Column(name, "1", -high, high) for name, high in names)

    def own(X):
        return np.arctan2(X[:, 1], X[:, 0]) ** 2 + 0.1 * X[:, 2] ** 2 + 0.001 * X[:, 3] ** 2

    problem = FunctionProblem("Pendulum-v1", oracle(own, columns), contexts=4)

    class Push(Policy):
        def act(self, obs, *, deterministic=False, mask=None):
            return np.clip(-np.asarray(obs)[..., 2:], -2, 2).astype(np.float32)

    found = problem.judge(seed=3).judge(Push())
    returns = []
    for i in range(4):
        env, total, over = gym.make("Pendulum-v1"), 0.0, False
        obs, _ = env.reset(seed=3 + i)
        while not over:
            obs, reward, _, over, _ = env.step(np.clip(-obs[2:], -2, 2))
            total += reward
        returns.append(total)
    np.testing.assert_allclose(found.per_unit, returns, rtol=1e-4)
    assert problem.action_table() == []
    assert problem.reference_names == ("random",)
    assert problem.action == 3
    with pytest.raises(UnsupportedError, match="queries"):
        problem.lookup(own)
    check_problem(problem)


def test_an_action_that_means_something_else_in_each_observation_has_no_value_in_the_table():
    problem = shop(features=lambda obs, a: np.column_stack([obs, np.minimum(np.rint(obs[:, 0]) + a, 4)]))
    assert problem.action_table() == [{"action": a} for a in range(5)]


def test_descriptions_tell_problems_apart():
    said = [
        shop().describe(),
        shop(contexts=7).describe(),
        shop(action=0).describe(),
        shop(has_consequences=True).describe(),
        shop(reward=effort).describe(),
        shop(features=effort).describe(),
        FunctionProblem(ShopFrom3, oracle(), has_consequences=False).describe(),
        FunctionProblem(Shop, oracle(noise=0.1), has_consequences=False).describe(),
        FunctionProblem("CartPole-v1", oracle()).describe(),
    ]
    assert all(said.count(one) == 1 for one in said)
    assert shop().describe() == shop(action=1).describe()


def test_what_is_wrong_is_said():
    with pytest.raises(InvalidInputError, match="identity"):
        FunctionProblem(Shop, FunctionOracle(cost, COLUMNS))
    with pytest.raises(InvalidInputError, match="at least 2 contexts"):
        shop(contexts=1)
    with pytest.raises(InvalidInputError, match="one of 2 columns, not 2"):
        shop(action=2)
    with pytest.raises(InvalidInputError, match="no environment 'Cartpole'"):
        FunctionProblem("Cartpole", oracle())
    with pytest.raises(UnsupportedError, match="name a source"):
        shop().make_env(2)
    with pytest.raises(InvalidInputError, match="answers the columns"):
        shop().make_env(2, source=ZeroSource(TANK[:1]))
    with pytest.raises(InvalidInputError, match="unknown reference"):
        shop(contexts=2).judge(0).reference("best")

    class Words(Shop):
        observation_space = gym.spaces.Dict(a=gym.spaces.Discrete(2))

    with pytest.raises(InvalidInputError, match="Box or Discrete"):
        FunctionProblem(Words, oracle())
