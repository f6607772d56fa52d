"""Formulas of the bandits against closed forms, and their regret against the bounds."""

import gymnasium as gym
import numpy as np
import pytest

from mbrl_split.agents import (
    UCB1,
    EpsilonGreedy,
    LinTS,
    LinUCB,
    SuccessiveElimination,
    SurrogateBandit,
    ThompsonSampling,
    check_agent,
)
from mbrl_split.agents.conformance import Corridor
from mbrl_split.errors import InvalidInputError
from mbrl_split.registry import AGENTS
from mbrl_split.surrogates import GPSurrogate

NONE = gym.spaces.Box(0, 1, (1,))
CONTEXT = gym.spaces.Box(-1, 1, (3,), dtype=np.float64)


def play(agent, means, pulls, rng):
    """Pseudo-regret of Bernoulli arms."""
    regret = 0.0
    for _ in range(pulls):
        arm = int(agent.act(np.zeros(1)))
        agent.observe(np.zeros(1), arm, float(rng.random() < means[arm]))
        regret += max(means) - means[arm]
    return regret


def test_regret_of_ucb1_is_within_its_bound_and_beats_uniform_play():
    """Auer et al. 2002, theorem 1: Σ 8·ln n/Δ + (1 + π²/3)·ΣΔ."""
    means, n = np.array([0.9, 0.6, 0.4]), 3000
    regret = np.mean(
        [play(UCB1(NONE, gym.spaces.Discrete(3), seed=s), means, n, np.random.default_rng(s)) for s in range(3)]
    )
    gaps = 0.9 - means[1:]
    assert regret < (8 * np.log(n) / gaps).sum() + (1 + np.pi**2 / 3) * gaps.sum()
    assert regret < 0.25 * n * gaps.sum() / 3


def test_regret_of_thompson_sampling_is_near_the_lower_bound():
    """Lai and Robbins: about Σ Δ/KL·ln n; within a factor of three here."""
    means, n = np.array([0.9, 0.6]), 2000
    agents = (ThompsonSampling(NONE, gym.spaces.Discrete(2), seed=s, likelihood="bernoulli") for s in range(4))
    regret = np.mean([play(a, means, n, np.random.default_rng(s)) for s, a in enumerate(agents)])
    kl = 0.6 * np.log(0.6 / 0.9) + 0.4 * np.log(0.4 / 0.1)
    assert regret < 3 * 0.3 / kl * np.log(n)


def test_ucb1_score_by_hand():
    agent = UCB1(NONE, gym.spaces.Discrete(3), seed=0, reward_range=2.0)
    agent.observe(np.zeros((5, 1)), [0, 0, 0, 1, 1], [1, 0, 1, 1, 1])
    scores = agent.scores(np.zeros((1, 1)), np.random.default_rng(0))[0]
    assert scores[0] == pytest.approx(2 / 3 + 2 * np.sqrt(2 * np.log(5) / 3))
    assert scores[1] == pytest.approx(1 + 2 * np.sqrt(2 * np.log(5) / 2))
    assert scores[2] == np.inf
    assert agent.act(np.zeros(1)) == 2, "an arm never tried comes first"
    assert agent.act(np.zeros(1), deterministic=True) == 1, "but is nobody's best guess"


def test_thompson_posteriors_in_closed_form():
    gaussian = ThompsonSampling(NONE, gym.spaces.Discrete(2), seed=0, prior_mean=1.0, prior_std=2.0, noise_std=0.5)
    gaussian.observe(np.zeros((3, 1)), [0, 0, 0], [2.0, 3.0, 4.0])
    mean, std = gaussian.posterior()
    precision = 1 / 4 + 3 / 0.25
    assert (mean[0], std[0]) == (pytest.approx((1 / 4 + 9 / 0.25) / precision), pytest.approx(precision**-0.5))
    assert (mean[1], std[1]) == (pytest.approx(1.0), pytest.approx(2.0))

    beta = ThompsonSampling(NONE, gym.spaces.Discrete(2), seed=0, likelihood="bernoulli")
    beta.observe(np.zeros((4, 1)), [0, 0, 0, 1], [1, 1, 0, 0])
    a, b = beta.posterior()
    np.testing.assert_allclose((a, b), [(3, 1), (2, 2)])
    draws = beta.scores(np.zeros((20_000, 1)), np.random.default_rng(0))
    np.testing.assert_allclose(draws.mean(axis=0), a / (a + b), atol=0.01)
    np.testing.assert_allclose(draws.var(axis=0), a * b / ((a + b) ** 2 * (a + b + 1)), rtol=0.05)
    with pytest.raises(InvalidInputError, match="0 or 1"):
        beta.observe(np.zeros(1), 0, 0.5)


def test_epsilon_greedy_frequencies_and_propensities():
    agent = EpsilonGreedy(NONE, gym.spaces.Discrete(4), seed=0, epsilon=0.2)
    agent.observe(np.zeros((4, 1)), [0, 1, 2, 3], [0.0, 1.0, 0.5, 1.0])
    propensities = agent.propensities(np.zeros(1))[0]
    np.testing.assert_allclose(propensities, [0.05, 0.45, 0.05, 0.45])
    drawn = np.bincount(agent.act(np.zeros((20_000, 1))), minlength=4) / 20_000
    np.testing.assert_allclose(drawn, propensities, atol=0.015)
    mask = np.array([True, False, True, True])
    np.testing.assert_allclose(agent.propensities(np.zeros(1), mask)[0], [0.2 / 3, 0, 0.2 / 3, 0.8 + 0.2 / 3])


def test_only_the_pulled_arm_moves():
    agent = EpsilonGreedy(NONE, gym.spaces.Discrete(3), seed=0)
    agent.observe(np.zeros((3, 1)), [1, 1, 1], [1.0, 2.0, 6.0])
    assert agent.arms.pulls.tolist() == [0, 3, 0]
    assert agent.arms.means.tolist() == [0, 3, 0]
    assert agent.arms.squares[1] == pytest.approx(np.var([1, 2, 6]) * 3)


def test_successive_elimination_drops_the_worse_and_keeps_the_best():
    means, kept = np.array([0.8, 0.75, 0.2]), 0
    for seed in range(5):
        agent = SuccessiveElimination(NONE, gym.spaces.Discrete(3), seed=seed, delta=0.1)
        play(agent, means, 1500, np.random.default_rng(seed))
        surviving = agent.surviving()
        kept += surviving[0]
        assert not surviving[2]
        assert agent.arms.pulls[2] < 200
    assert kept == 5
    # One pull each: √(ln(4·3·1/δ)/2).
    fresh = SuccessiveElimination(NONE, gym.spaces.Discrete(3), seed=0, delta=0.1)
    fresh.observe(np.zeros((3, 1)), [0, 1, 2], [1, 0, 0])
    np.testing.assert_allclose(fresh.radius(), np.sqrt(np.log(120) / 2))


def test_linucb_is_ridge_regression_with_an_exact_bonus_for_unseen_arms():
    rng, lam, alpha = np.random.default_rng(0), 0.3, 1.7
    agent = LinUCB(CONTEXT, gym.spaces.Discrete(3), seed=0, l2_lambda=lam, alpha=alpha, intercept=False, scale=False)
    x, arms, rewards = rng.normal(size=(60, 3)), rng.integers(2, size=60), rng.normal(size=60)
    x = x.astype(np.float32).astype(np.float64)  # observations arrive in single precision
    for i in range(0, 60, 7):
        agent.observe(x[i : i + 7], arms[i : i + 7], rewards[i : i + 7])
    new = rng.normal(size=(5, 3)).astype(np.float32).astype(np.float64)
    for arm in range(2):
        rows = arms == arm
        # Ridge as least squares on augmented data.
        augmented = np.vstack([x[rows], np.sqrt(lam) * np.eye(3)])
        coefficients = np.linalg.lstsq(augmented, np.concatenate([rewards[rows], np.zeros(3)]), rcond=None)[0]
        np.testing.assert_allclose(agent.coefficients[arm], coefficients, atol=1e-10)
        covariance = np.linalg.inv(augmented.T @ augmented)
        bonus = alpha * np.sqrt(np.einsum("ni,ij,nj->n", new, covariance, new))
        np.testing.assert_allclose(agent.scores(new, rng)[:, arm], new @ coefficients + bonus, atol=1e-10)
    np.testing.assert_allclose(
        agent.scores(new, rng)[:, 2], alpha * np.linalg.norm(new, axis=1) / np.sqrt(lam), atol=1e-12
    )


def test_lints_draws_from_the_posterior():
    rng = np.random.default_rng(1)
    agent = LinTS(CONTEXT, gym.spaces.Discrete(2), seed=0, alpha=0.5, intercept=False, scale=False)
    agent.observe(rng.normal(size=(20, 3)), np.zeros(20, dtype=int), rng.normal(size=20))
    x = np.tile(rng.normal(size=(1, 3)), (40_000, 1))
    draws = agent.scores(x, rng)
    np.testing.assert_allclose(draws.mean(axis=0), agent.means(x[:1])[0], atol=0.02)
    np.testing.assert_allclose(draws.std(axis=0), 0.5 * agent.widths(x[:1])[0], rtol=0.02)


def test_features_are_scaled_by_finite_bounds_alone():
    space = gym.spaces.Box(np.array([0.0, -np.inf, -3.4e38]), np.array([1000.0, np.inf, 3.4e38]), dtype=np.float64)
    agent = LinUCB(space, gym.spaces.Discrete(2), seed=0)
    np.testing.assert_allclose(agent.features(np.array([[250.0, 7.0, 9.0]])), [[-0.5, 7.0, 9.0, 1.0]])


def test_logged_propensities_estimate_another_policy():
    """Inverse propensity scoring of 'always arm 1' from the log of an ε-greedy run: the truth is .7."""

    class Arms(gym.Env):
        observation_space, action_space = NONE, gym.spaces.Discrete(3)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return np.zeros(1, dtype=np.float32), {}

        def step(self, action):
            reward = float(self.np_random.random() < (0.2, 0.7, 0.75)[action])
            return np.zeros(1, dtype=np.float32), reward, True, False, {}

    agent = EpsilonGreedy(NONE, gym.spaces.Discrete(3), seed=0, epsilon=0.5, keep_log=True)
    agent.learn([Arms() for _ in range(4)], 4000)
    assert len(agent.log) == 4000
    weights = np.array([(arm == 1) * reward / p for _, arm, reward, p in agent.log])
    assert weights.mean() == pytest.approx(0.7, abs=4 * weights.std() / np.sqrt(4000))
    assert weights.mean() == pytest.approx(0.7, abs=0.12)


class Kernel:
    """A surrogate in closed form: mean x0·arm, epistemic deviation 1 for arm 2 and 0 elsewhere."""

    def predict(self, X):
        from mbrl_split.surrogates import Prediction

        X = np.asarray(X)
        std = (X[:, -1] == 2).astype(float)
        return Prediction(X[:, 0] * X[:, -1], std, 100 * np.ones(len(X)))

    def sample(self, X, n, rng):
        X = np.asarray(X)
        return (X[:, 0] * X[:, -1])[None] + (X[:, -1] == 2)[None] * rng.standard_normal((n, 1))


def test_surrogate_bandit_rules_by_hand():
    space, arms = gym.spaces.Box(-1, 1, (1,)), gym.spaces.Discrete(4)
    context = np.array([[0.25]], dtype=np.float32)

    def scores(rng=0, **config):
        agent = SurrogateBandit(space, arms, surrogate=Kernel(), fit_every=0, seed=0, **config)
        return agent.scores(context.astype(float), None if rng is None else np.random.default_rng(rng))[0]

    means = [0, 0.25, 0.5, 0.75]
    np.testing.assert_allclose(scores(rule="greedy"), means)
    np.testing.assert_allclose(scores(rule="ucb", kappa=0.5), [0, 0.25, 1.0, 0.75])  # epistemic part only
    np.testing.assert_allclose(scores(rule="ucb", rng=None), means)
    np.testing.assert_allclose(scores(rule="ucb", kappa=0.5, optimism=-1), [0, -0.25, 0, -0.75])
    drawn = np.array([scores(rule="ts", rng=s)[2] for s in range(2000)])
    assert (drawn.mean(), drawn.std()) == (pytest.approx(0.5, abs=0.08), pytest.approx(1.0, abs=0.06))
    composed = scores(
        rule="ucb", kappa=0.5, optimism=-1, reward=lambda d, c, a: -3 * d - 0.1 * a
    )  # a damage, taken optimistically
    np.testing.assert_allclose(composed, [0, -0.75 - 0.1, 0 - 0.2, -2.25 - 0.3])


def test_surrogate_bandit_learns_and_resumes(tmp_path):
    check_agent(
        SurrogateBandit,
        steps=24,
        num_envs=2,
        surrogate=GPSurrogate(seed=0),
        rule="ucb",
        cold_start=8,
        fit_every=16,
        n_steps=4,
    )


def test_linucb_learns_in_an_environment():
    class Linear(gym.Env):
        observation_space, action_space = CONTEXT, gym.spaces.Discrete(3)
        truth = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.x = self.np_random.uniform(-1, 1, 3)
            return self.x, {}

        def step(self, action):
            reward = self.truth[action] @ self.x + 0.1 * self.np_random.standard_normal()
            return self.x, reward, True, False, {}

    agent = LinUCB(CONTEXT, gym.spaces.Discrete(3), seed=0)
    agent.learn([Linear() for _ in range(4)], 800)
    np.testing.assert_allclose(agent.coefficients[:, :3], np.eye(3), atol=0.1)


def test_corridor_arms_are_learned_in_a_vector_with_dead_steps():
    agent = EpsilonGreedy(Corridor().observation_space, gym.spaces.Discrete(3), seed=0)
    agent.learn(gym.vector.SyncVectorEnv([Corridor] * 2), 2000)
    assert agent.arms.pulls.sum() == agent.num_steps
    # Only the arm to the right ever arrives, which pays 1; a dead step would count as a pull that pays nothing.
    assert agent.act(Corridor().reset(seed=0)[0], deterministic=True) == 2
    right, others = agent.arms.means[2], agent.arms.means[:2]
    assert right > 0.3
    assert others == pytest.approx([0.2, 0.2], abs=0.1)  # what the coin pays


def test_surrogate_bandit_takes_a_surrogate_by_name():
    space, arms = gym.spaces.Box(-1, 1, (1,)), gym.spaces.Discrete(3)
    agent = AGENTS["surrogate-bandit"](space, arms, surrogate="gp", seed=0, cold_start=4)
    assert isinstance(agent.surrogate, GPSurrogate)
    with pytest.raises(InvalidInputError, match="unknown surrogate 'gpp'"):
        SurrogateBandit(space, arms, surrogate="gpp")
