"""One face for every environment: real successors, dead transitions, masks, exact continuation."""

from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from mbrl_split.agents import PPO
from mbrl_split.agents.conformance import MODES
from mbrl_split.errors import InvalidInputError, UnsupportedError
from mbrl_split.interaction.stream import make_stream
from mbrl_split.oracles import Ledger, Metered


class Counter(gym.Env):
    """Observes (episode, step); episode e of environment i lasts 2 + e steps and terminates or is cut in turn.

    The mask allows action ``step % 3`` and action 0.
    """

    def __init__(self):
        self.observation_space = gym.spaces.Box(-1, 1000, (2,), dtype=np.float32)
        self.action_space = gym.spaces.Discrete(3, start=5)
        self.episode, self.taken = -1, []

    def _give(self):
        mask = np.isin(np.arange(3), (0, self.step_ % 3))
        return np.array([self.episode, self.step_], dtype=np.float32), {"action_mask": mask}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode = 0 if seed is not None else self.episode + 1
        self.step_ = 0
        return self._give()

    def step(self, action):
        assert self.action_space.contains(action), action
        self.taken.append(int(action))
        self.step_ += 1
        done = self.step_ >= 2 + self.episode
        obs, info = self._give()
        return obs, 1.0 + self.step_, done and self.episode % 2 == 0, done and self.episode % 2 == 1, info


def transitions(env, steps):
    """Live transitions as ((episode, step), (episode, step)', reward, terminated, truncated, mask', next mask')."""
    stream = make_stream(env)
    stream.reset(3)
    out = [[] for _ in range(stream.num_envs)]
    for _ in range(steps):
        obs, mask = stream.obs, stream.mask
        step = stream.step(np.zeros(stream.num_envs, dtype=np.int64))
        for i in np.flatnonzero(step.live):
            out[i].append(
                (
                    tuple(obs[i]),
                    tuple(step.next_obs[i]),
                    step.reward[i],
                    bool(step.terminated[i]),
                    bool(step.truncated[i]),
                    tuple(mask[i]),
                    tuple(step.next_mask[i]),
                )
            )
    return out


def expected(n):
    rows, episode, step = [], 0, 0
    allowed = lambda t: tuple(bool(a in (0, t % 3)) for a in range(3))  # noqa: E731
    while len(rows) < n:
        done = step + 1 >= 2 + episode
        rows.append(
            (
                (episode, step),
                (episode, step + 1),
                2.0 + step,
                done and episode % 2 == 0,
                done and episode % 2 == 1,
                allowed(step),
                allowed(step + 1),
            )
        )
        episode, step = (episode + 1, 0) if done else (episode, step + 1)
    return rows


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_gives_the_same_transitions(mode):
    """Including masks: those of the real successor, not those of the next episode's start."""
    rows = transitions(SyncVectorEnv([Counter] * 2, autoreset_mode=mode), 40)
    for mine in rows:
        assert len(mine) > 30
        for got, want in zip(mine, expected(len(mine)), strict=True):
            assert got == want
    if mode == AutoresetMode.NEXT_STEP:
        assert len(rows[0]) < 40, "the reset steps are dead"


def test_single_environments_and_lists():
    assert transitions(Counter(), 30)[0] == expected(30)
    assert transitions([Counter(), Counter(), Counter()], 30)[2] == expected(30)


def test_actions_reach_the_environment_with_their_offset():
    env = Counter()
    transitions(env, 5)
    assert set(env.taken) == {5}


def test_masks_from_a_method():
    class Method(Counter):
        def _give(self):
            return super()._give()[0], {}

        def action_masks(self):
            return np.isin(np.arange(3), (0, self.step_ % 3))

    together, apart = (partial(kind, [Method] * 2) for kind in (SyncVectorEnv, AsyncVectorEnv))
    for env in (Method(), together(), together(autoreset_mode="SameStep"), apart(), apart(autoreset_mode="SameStep")):
        stream = make_stream(env)
        stream.reset(0)
        assert stream.mask.tolist()[0] == [True, False, False]
        assert stream.step(np.zeros(stream.num_envs, dtype=np.int64)).mask.tolist()[0] == [True, True, False]
        env.close()


def test_an_agent_takes_allowed_actions_only():
    env = Counter()
    allowed = []
    inner = env.step

    def step(action):
        allowed.append(action - 5 in (0, env.step_ % 3))
        return inner(action)

    env.step = step
    PPO(env.observation_space, env.action_space, seed=0, n_steps=32, batch_size=16).learn(env, 96)
    assert len(allowed) == 96
    assert all(allowed)


def test_dead_transitions_never_reach_a_batch():
    """Rewards of the environment are at least 2; a dead transition would bring a 0."""
    env = SyncVectorEnv([Counter] * 3)
    agent = PPO(env.single_observation_space, env.single_action_space, seed=0, n_steps=32)
    agent.start(env)
    agent.collect(10_000)
    rollout = agent._rollout
    dead = ~rollout.filled("live")
    assert dead.any()
    assert (rollout.filled("reward")[dead] == 0).all()
    batch, _ = agent._batch(gamma=0.0, gae_lambda=0.0)
    assert len(batch["return"]) == (~dead).sum() == agent.num_steps
    assert batch["return"].min() >= 2 - 1e-5
    # Environment steps of an epsiode's end are counted, the resets are not.
    assert agent.num_steps < 96


def test_a_vector_without_a_declared_mode_is_refused():
    class Silent(VectorEnv):
        metadata = {}  # noqa: RUF012
        num_envs = 2
        single_observation_space = gym.spaces.Box(0, 1, (1,))
        single_action_space = gym.spaces.Discrete(2)

    with pytest.raises(InvalidInputError, match="autoreset_mode"):
        make_stream(Silent())
    with pytest.raises(InvalidInputError, match="Gymnasium environment"):
        make_stream("CartPole-v1")


class Stateful(Counter):
    """Offers its state, and counts its steps so that a replay would be seen."""

    total = 0

    def step(self, action):
        Stateful.total += 1
        return super().step(action)

    def state_dict(self):
        return {"episode": self.episode, "step": self.step_, "rng": self.np_random.bit_generator.state}

    def load_state_dict(self, state):
        self.episode, self.step_ = state["episode"], state["step"]
        self.np_random.bit_generator.state = state["rng"]


def test_an_environment_that_gives_its_state_is_restored_without_replay(tmp_path):
    def make():
        env = Stateful()
        return PPO(env.observation_space, env.action_space, seed=0, n_steps=8, batch_size=8)

    straight = make()
    straight.learn(Stateful(), 60)
    first = make()
    first.learn(Stateful(), 30)
    first.save(tmp_path / "a")
    Stateful.total = 0
    resumed = PPO.load(tmp_path / "a")
    resumed.learn(Stateful(), 30)
    assert Stateful.total == 30
    assert resumed.history == straight.history


def test_an_environment_that_does_not_retrace_is_refused(tmp_path):
    class Clock(Counter):
        ticks = 0

        def _give(self):
            Clock.ticks += 1
            return np.array([0, Clock.ticks], dtype=np.float32), {}

    env = Clock()
    agent = PPO(env.observation_space, env.action_space, seed=0, n_steps=8)
    agent.learn(env, 10)
    agent.save(tmp_path / "a")
    with pytest.raises(UnsupportedError, match="does not retrace"):
        PPO.load(tmp_path / "a").learn(Clock(), 10)
    PPO.load(tmp_path / "a").start(Clock(), restart=True)


def test_other_spaces_or_sizes_are_refused(tmp_path):
    env = Counter()
    agent = PPO(env.observation_space, env.action_space, seed=0, n_steps=8)
    with pytest.raises(InvalidInputError, match="observation space"):
        agent.learn(gym.make("CartPole-v1"), 10)
    agent.learn(env, 10)
    agent.save(tmp_path / "a")
    with pytest.raises(InvalidInputError, match="1 sub-environments"):
        PPO.load(tmp_path / "a").learn([Counter(), Counter()], 10)
    with pytest.raises(InvalidInputError, match="observation space"):
        PPO.load(tmp_path / "a").learn(gym.make("CartPole-v1"), 10)


def metered(kind, ledger):
    """Real steps that are paid for, in all the forms an environment comes in."""
    if kind == "single":
        return Metered(Counter(), ledger)
    if kind == "list":
        return [Metered(Counter(), ledger) for _ in range(2)]
    if kind == "inside":  # each sub-environment pays for itself
        return SyncVectorEnv([lambda: Metered(Counter(), ledger)] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    return Metered(SyncVectorEnv([Counter] * 2, autoreset_mode=kind), ledger)


@pytest.mark.parametrize("kind", ["single", "list", "inside", *MODES])
def test_recorded_steps_are_retraced_without_paying_again(kind):
    """What follows is what an uninterrupted run gets, and is paid for as there."""
    rng, steps = np.random.default_rng(0), 40
    whole = make_stream(metered(kind, paid := Ledger()))
    whole.reset(3)
    actions = rng.integers(3, size=(steps, whole.num_envs))
    spent = []
    for t in range(steps):
        if t == 25:
            state, before = whole.state(), paid.spent
        spent.append((whole.step(actions[t]), paid.spent))
    assert state["kind"] == "replay"
    assert before >= 20

    ledger = Ledger(budget=paid.spent - before)
    again = make_stream(metered(kind, ledger))
    again.restore(state)
    assert ledger.spent == 0
    for t in range(25, steps):
        step, charged = again.step(actions[t]), spent[t][1] - before
        assert ledger.spent == charged
        for name in ("obs", "next_obs", "reward", "terminated", "truncated", "live", "mask", "next_mask"):
            np.testing.assert_array_equal(getattr(step, name), getattr(spent[t][0], name))
    assert ledger.spent == ledger.budget


def test_retracing_that_fails_goes_on_charging():
    class Clock(Counter):
        ticks = 0

        def _give(self):
            Clock.ticks += 1
            return np.array([0, Clock.ticks], dtype=np.float32), {}

    stream = make_stream(Metered(Clock(), Ledger()))
    stream.reset(0)
    stream.step(np.zeros(1, np.int64))
    ledger = Ledger()
    other = make_stream(env := Metered(Clock(), ledger))
    with pytest.raises(UnsupportedError, match="does not retrace"):
        other.restore(stream.state())
    assert ledger.spent == 0
    env.reset()
    env.step(5)
    assert ledger.spent == 1
