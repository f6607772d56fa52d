"""Hat functions: what a network is told of a bounded observation."""

import gymnasium as gym
import numpy as np
import pytest

from mbrl_split import InvalidInputError
from mbrl_split.agents import A2C, DQN, PPO, REINFORCE
from mbrl_split.agents.encoding import Encoding

BOX = gym.spaces.Box(np.array([-1, 0], np.float32), np.array([1, 10], np.float32))


def test_hats_are_a_partition_of_unity_that_interpolates() -> None:
    encoding = Encoding(BOX, 2, normalise=False, n_basis=5)
    x = BOX.low + (BOX.high - BOX.low) * np.random.default_rng(0).random((100, 2), np.float32)
    seen = encoding(x)
    assert seen.shape == (100, encoding.size) == (100, 12)
    assert seen.dtype == np.float32
    assert np.array_equal(seen[:, :2], x)
    np.testing.assert_allclose(seen[:, 2:7].sum(axis=1), 1, atol=1e-6)
    # A piecewise linear function is a weighted sum of the n_basis: its values at the knots are the weights.
    knots = np.linspace(0, 10, 5)
    weights = np.array([3.0, -1.0, 4.0, 1.0, -5.0])
    np.testing.assert_allclose(seen[:, 7:] @ weights, np.interp(x[:, 1], knots, weights), atol=1e-4)
    assert encoding(np.array([[1.0, 2.5]], np.float32))[0, 2:].tolist() == [0, 0, 0, 0, 1, 0, 1, 0, 0, 0]
    outside, edge = encoding(np.array([[9.0, -3.0], [1.0, 0.0]], np.float32))
    assert np.array_equal(outside[2:], edge[2:])


def test_raw_components_alone_are_standardised() -> None:
    encoding = Encoding(BOX, 2, normalise=True, n_basis=3)
    x = np.array([[-1, 0], [1, 10], [0, 5]], np.float32)
    encoding.update(x)
    np.testing.assert_allclose(encoding(x)[:, :2], (x - x.mean(axis=0)) / x.std(axis=0), rtol=1e-5)
    assert np.array_equal(encoding(x)[:, 2:], Encoding(BOX, 2, normalise=False, n_basis=3)(x)[:, 2:])


def test_statistics_of_dqn_are_of_the_observations_acted_on() -> None:
    """Of contexts 1, 2, 3, … in episodes of one step, not of the zeros that end them."""

    class Contexts(gym.Env):
        observation_space = gym.spaces.Box(0, 1000, (1,), np.float32)
        action_space = gym.spaces.Discrete(2)
        count = 0

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.count += 1
            return np.array([self.count], np.float32), {}

        def step(self, action):
            return np.zeros(1, np.float32), 0.0, True, False, {}

    agent = DQN(Contexts.observation_space, Contexts.action_space, seed=0, normalize_observations=True)
    agent.start(Contexts())
    agent.collect(49)
    seen = np.arange(1, 50)
    moments = agent._encoding.moments
    np.testing.assert_allclose([moments.mean[0], moments.var[0]], [seen.mean(), seen.var()])


@pytest.mark.parametrize("n_basis", [1, -2])
def test_hats_span_the_bounds(n_basis: int) -> None:
    with pytest.raises(InvalidInputError, match="at least 2"):
        Encoding(BOX, 2, normalise=False, n_basis=n_basis)


def test_hats_need_bounds() -> None:
    cart = gym.make("CartPole-v1")
    with pytest.raises(InvalidInputError, match="bounded"):
        PPO(cart.observation_space, cart.action_space, n_basis=4)
    with pytest.raises(InvalidInputError, match="bounded"):
        DQN(gym.spaces.Discrete(4), gym.spaces.Discrete(2), n_basis=4)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [(PPO, {"n_steps": 64}), (A2C, {}), (DQN, {"learning_starts": 200}), (REINFORCE, {"n_episodes": 2})],
)
def test_an_agent_with_hats_learns_and_resumes_exactly(kind, settings, tmp_path) -> None:
    def make():
        return gym.make_vec("Acrobot-v1", num_envs=2, vectorization_mode="sync")

    env = make()
    spaces = env.single_observation_space, env.single_action_space
    agent = kind(*spaces, seed=3, n_basis=6, normalize_observations=True, **settings)
    agent.learn(env, 1200)
    agent.save(tmp_path / "a")
    loaded = kind.load(tmp_path / "a")
    assert loaded.config.n_basis == 6
    obs = np.stack([env.single_observation_space.sample() for _ in range(20)])
    assert np.array_equal(loaded.act(obs, deterministic=True), agent.act(obs, deterministic=True))
    agent.learn(env, 600)
    loaded.learn(make(), 600)
    assert agent.history.records[-1] == loaded.history.records[-1]
