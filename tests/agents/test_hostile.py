"""Whatever an agent is shown, it acts inside the space or says in one line why not, and learns only from numbers."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from mbrl_split.agents import PPO, Bandit, LinTS, LinUCB, NonFiniteError, TabularPlan
from mbrl_split.agents.bandit import random_best
from mbrl_split.agents.categorical import best_of_numbers, sample
from mbrl_split.errors import InvalidInputError
from mbrl_split.registry import AGENTS

from .registered import SETTINGS, knowledge, same

BOX = gym.spaces.Box(-np.inf, np.inf, (3,), dtype=np.float64)
ACTIONS = gym.spaces.Discrete(4, start=2)
BANDITS = [name for name in SETTINGS if issubclass(AGENTS[name], Bandit)]
HUGE = [np.nan, np.inf, -np.inf, 1e8, -1e8, 1e20, 3e38, -3e38, 1e39, 1e150, 1e300, -1e300, 1e-300, 0.0, 1.0]


class Hostile(gym.Env):
    """Observations, rewards and masks drawn from the worst; ``bad`` is the share of them that is no ordinary number."""

    observation_space, action_space = BOX, ACTIONS

    def __init__(self, seed=0, bad=0.0, masked=False, empty=0.0, rewards=True):
        self.draw = np.random.default_rng(seed)
        self.bad, self.masked, self.empty, self.rewards = bad, masked, empty, rewards
        self.over = False

    def number(self):
        return self.draw.choice(HUGE) if self.draw.random() < self.bad else self.draw.normal()

    def _give(self):
        info = {}
        if self.masked:
            self.mask = self.draw.random(4) < (0.0 if self.over or self.draw.random() < self.empty else 0.7)
            if not self.over and self.empty == 0 and not self.mask.any():
                self.mask[self.draw.integers(4)] = True
            info["action_mask"] = self.mask
        return np.array([self.number() for _ in range(3)]), info

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.over = False
        return self._give()

    def step(self, action):
        assert self.action_space.contains(action), f"action {action}"
        assert not self.over
        assert not self.masked or self.mask[action - 2], "an action that is not allowed"
        self.over = bool(self.draw.random() < 0.3)
        cut = bool(self.draw.random() < 0.5)
        reward = self.number() if self.rewards else float(self.draw.integers(2))
        obs, info = self._give()
        return obs, reward, self.over and not cut, self.over and cut, info


def agent_of(name, seed=0, **more):
    settings = {**SETTINGS[name], **more}
    return AGENTS[name](BOX, ACTIONS, seed=seed, **settings)


def outcome(do, *args, **kwargs):
    """The result, or None where the library refused in one line; nothing else may come out."""
    try:
        with np.errstate(all="ignore"):
            return do(*args, **kwargs)
    except (InvalidInputError, NonFiniteError) as error:
        if "\n" in str(error):
            raise
        return None


@pytest.mark.parametrize("name", SETTINGS)
def test_no_observation_and_no_mask_leads_outside(name):
    """Fresh, taught with ordinary numbers, and taught with huge ones."""
    rng, agent = np.random.default_rng(1), agent_of(name)
    acted = refused = 0
    for taught in ("nothing", "ordinary", "huge"):
        if taught == "ordinary":
            agent.learn([Hostile(seed=3)], 60)
        if taught == "huge" and isinstance(agent, Bandit):
            for _ in range(40):
                contexts = rng.normal(size=(2, 3)) * 10.0 ** rng.uniform(-8, 30)
                outcome(
                    agent.observe,
                    contexts,
                    rng.integers(2, 6, size=2),
                    rng.normal(size=2) * 10.0 ** rng.uniform(0, 250),
                )
        for i in range(150):
            n = int(rng.integers(1, 4))
            obs = rng.normal(size=(n, 3)) * 10.0 ** rng.uniform(-3, 9)
            if i % 3 == 0:
                obs[rng.integers(n), rng.integers(3)] = rng.choice(HUGE)
            mask = None if i % 2 else rng.random((n, 4)) < rng.choice([0.2, 0.7])
            for deterministic in (True, False):
                chosen = outcome(agent.act, obs, deterministic=deterministic, mask=mask)
                ordinary = (np.abs(obs) < 3.4e38).all() and (mask is None or mask.any(axis=1).all())
                if chosen is None:
                    refused += 1
                    continue
                assert ordinary, "it acted on what is no observation, or where nothing is allowed"
                acted += 1
                assert all(ACTIONS.contains(a) for a in chosen)
                assert mask is None or mask[np.arange(n), chosen - 2].all()
    assert acted > 300
    assert refused > 50


@pytest.mark.parametrize("name", BANDITS)
def test_bad_numbers_teach_nothing(name):
    rng, agent = np.random.default_rng(0), agent_of(name)
    agent.learn([Hostile(seed=3)], 60)
    before = knowledge(agent)
    contexts, arms, rewards = rng.normal(size=(3, 3)), np.array([2, 3, 5]), np.array([1.0, 0.0, 1.0])
    for bad in (np.nan, np.inf, -np.inf, 1e39):
        broken = contexts.copy()
        broken[1, 2] = bad
        with pytest.raises(
            NonFiniteError, match=r"the observation is .* at index \(1, 2\): it must be finite in single"
        ):
            agent.observe(broken, arms, rewards)
        with pytest.raises(NonFiniteError, match=r"the reward is .* at index \(1,\): it must be finite in single"):
            agent.observe(contexts, arms, np.where(np.arange(3) == 1, bad, rewards))
        with pytest.raises(NonFiniteError, match="the observation"):
            agent.propensities(broken)
        for arm in (bad, 2.5, 6.0, 1):
            with pytest.raises(InvalidInputError):
                agent.observe(contexts, [2, arm, 5], rewards)
    assert same(knowledge(agent), before)


@pytest.mark.parametrize("name", BANDITS)
def test_the_largest_numbers_poison_nothing(name):
    """The corners of what is accepted, again and again; ordinary contexts are still acted on."""
    rng, agent = np.random.default_rng(0), agent_of(name)
    for _ in range(60):
        contexts = rng.choice([-3.4e38, 3.4e38, 1e-38, 0.0, 1.0], size=(2, 3))
        agent.observe(contexts, rng.integers(2, 6, size=2), rng.choice([-3.4e38, 3.4e38, 0.0, 1.0], size=2))
        for deterministic in (True, False):
            assert all(ACTIONS.contains(a) for a in agent.act(rng.normal(size=(4, 3)), deterministic=deterministic))


FEATURES = {
    "ordinary": lambda rng, shape: rng.normal(size=shape),
    "large": lambda rng, shape: 1e8 * rng.normal(size=shape),
    "positive": lambda rng, shape: rng.uniform(0, 1e8, size=shape),
    "of many sizes": lambda rng, shape: 10 ** rng.uniform(0, 8, size=shape),
    "of different units": lambda rng, shape: [1e8, 1.0, 1e-3] * rng.normal(size=shape),
    "all but the same": lambda rng, shape: 1e8 + rng.normal(size=shape),
    "collinear": lambda rng, shape: np.tile(10 ** rng.uniform(0, 8, size=(shape[0], 1)), 3),
}


@pytest.mark.parametrize("kind", [LinUCB, LinTS])
@pytest.mark.parametrize("features", FEATURES)
def test_widths_are_right_however_large_the_features(kind, features):
    """Against the triangular factor of the rows themselves, which never squares them."""
    rng, agent = np.random.default_rng(0), kind(BOX, ACTIONS, seed=0)
    rows = np.eye(4)
    for _ in range(200):
        x = FEATURES[features](rng, (2, 3)).astype(np.float32)
        with_one = np.hstack([x.astype(np.float64), np.ones((2, 1))])
        exact = np.linalg.norm(np.linalg.solve(np.linalg.qr(rows, mode="r").T, with_one.T), axis=0)
        widths = agent.widths(x.astype(np.float64))
        np.testing.assert_allclose(widths[:, 0], exact, rtol=1e-9 if features == "ordinary" else 0.5)
        np.testing.assert_allclose(widths[:, 1], np.linalg.norm(with_one, axis=1), rtol=1e-9)
        assert all(ACTIONS.contains(a) for a in agent.act(x))
        agent.observe(x, [2, 2], [0.0, 1.0])
        rows = np.linalg.qr(np.vstack([rows, with_one]), mode="r")


def test_what_becomes_of_one_arm_does_not_depend_on_the_others(tmp_path):
    """Nor does it change when all are solved anew, as by loading."""
    rng, agent = np.random.default_rng(0), LinUCB(BOX, ACTIONS, seed=0)
    for i in range(100):
        x = FEATURES["collinear" if i % 3 else "ordinary"](rng, (2, 3))
        agent.observe(x, [2, 2] if i % 3 else [3, 4], [0.0, 1.0])
    agent.save(tmp_path)
    assert np.array_equal(LinUCB.load(tmp_path).root, agent.root)


def test_discrete_observations_are_whole_numbers():
    agent = PPO(gym.spaces.Discrete(4), ACTIONS, seed=0)
    for bad in (np.nan, np.inf, 1.5, 1e300, -1, 4):
        with pytest.raises(InvalidInputError):
            agent.act(np.array([0, bad]))
    assert agent.act(np.array([0.0, 3.0])).shape == (2,)


def test_draws_need_weights_that_are_numbers():
    rng = np.random.default_rng(0)
    with pytest.raises(InvalidInputError, match="no action has a positive probability in row 1"):
        sample(np.array([[1.0, 0.0], [0.0, 0.0]]), rng)
    with pytest.raises(NonFiniteError, match=r"probabilities is nan at index \(0,\)"):
        sample(np.array([[np.nan, 1.0]]), rng)
    values = np.array([[np.nan, 1.0, 2.0]])
    with pytest.raises(NonFiniteError, match=r"the value is nan at index \(0, 0\)"):
        best_of_numbers("the value", values)
    assert best_of_numbers("the value", values, np.array([[False, True, True]]))[0] == 2, "nobody asks for the first"
    assert random_best(values, np.array([[False, True, False]]), rng)[0] == 1
    with pytest.raises(NonFiniteError, match=r"the score of an arm is nan at index \(0, 0\)"):
        random_best(values, None, rng)
    assert random_best(np.array([[np.inf, 0.0], [-np.inf, -np.inf]]), None, rng)[0] == 0


def test_a_plan_knows_its_states():
    plan = TabularPlan(np.zeros(3), np.zeros((3, 2)), np.array([0, 1, 0]))
    assert plan.act([0, 1.0, 2]).tolist() == [0, 1, 0]
    for bad in (-1, 3, np.nan, 0.5):
        with pytest.raises(InvalidInputError, match="state"):
            plan.act([0, bad])


MODES = [None, *AutoresetMode]


def world(mode, **settings):
    if mode is None:
        return [Hostile(seed=5, **settings), Hostile(seed=6, **settings)]
    return SyncVectorEnv(
        [lambda: Hostile(seed=5, **settings), lambda: Hostile(seed=6, **settings)], autoreset_mode=mode
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SETTINGS)
def test_masks_that_are_empty_where_an_episode_ended_are_no_masks(name, mode):
    """As in many environments: nothing is allowed any more, and nothing is asked."""
    agent = agent_of(name)
    agent.learn(world(mode, masked=True, rewards=False), 200)
    assert agent.num_steps >= 200


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SETTINGS)
def test_an_empty_mask_in_a_live_state_is_named(name, mode):
    agent = agent_of(name)
    with pytest.raises(
        InvalidInputError, match=r"the mask of sub-environment \d allows no action at environment step \d+"
    ):
        agent.learn(world(mode, masked=True, empty=0.1, rewards=False), 400)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", ["observation", "reward"])
@pytest.mark.parametrize("name", SETTINGS)
def test_an_environment_that_gives_no_number_is_named(name, mode, what):
    class Broken(Hostile):
        at = 60

        def step(self, action):
            obs, reward, terminated, truncated, info = super().step(action)
            self.at -= 1
            if self.at == 0:
                obs, reward = (obs * np.nan, reward) if what == "observation" else (obs, np.nan)
            return obs, reward, terminated, truncated, info

    env = [Broken(), Broken()] if mode is None else SyncVectorEnv([Broken] * 2, autoreset_mode=mode)
    agent = agent_of(name)
    with pytest.raises(
        NonFiniteError, match=rf"^the {what} is nan at index .* at environment step \d+: it must be finite"
    ):
        agent.learn(env, 400)
    with pytest.raises(InvalidInputError, match="start"):  # it stands nowhere
        agent.collect(1)
    seen = np.ones((4, 3))
    assert all(ACTIONS.contains(a) for a in agent.act(seen))
    agent.learn([Hostile(seed=3)], 60)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("mode", MODES)
def test_nothing_else_comes_out_of_learning(name, mode):
    """Huge rewards and observations, empty masks, everything at once: the environment sees allowed actions only."""
    for seed in range(8):
        agent = agent_of(name, seed=seed)
        for bad, masked, empty in ((0.02, False, 0.0), (0.02, True, 0.0), (0.1, True, 0.01)):
            outcome(agent.learn, world(mode, bad=bad, masked=masked, empty=empty), 100)
            chosen = outcome(agent.act, np.ones((2, 3)))
            assert chosen is None or all(ACTIONS.contains(a) for a in chosen)
