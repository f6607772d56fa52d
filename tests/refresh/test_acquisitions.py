"""Acquisitions, on a surrogate whose posterior is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from mbrl_split.columns import Column
from mbrl_split.errors import InvalidInputError
from mbrl_split.refresh import (
    UCB,
    CostAware,
    Disagreement,
    Diverse,
    IntegratedVariance,
    MaxEpistemic,
    OnPolicyAcquisition,
    RandomAcquisition,
    RewardFunction,
    Thompson,
    TopTwo,
    design_pool,
    random_design,
    sobol_design,
    with_all_actions,
)
from mbrl_split.registry import ACQUISITIONS
from mbrl_split.surrogates.base import Prediction

COLUMNS = (Column("split", "layers", 1, 4, "ordinal"), Column("noise", "RMS", 0.1, 10.0, "log"))
OBJECTIVE = RewardFunction(COLUMNS, lambda d, X: -d, cost=lambda X: 5 - X[:, 0])


class Posterior:
    """A joint Gaussian over the rows of a pool: mean and covariance as functions of X."""

    def __init__(self, mean, covariance, noise=0.1):
        self.mean, self.covariance, self.noise = mean, covariance, noise

    def predict(self, X):
        std = np.sqrt(np.diag(self.covariance(X)))
        return Prediction(self.mean(X), std, np.full(len(X), self.noise))

    def sample(self, X, n, rng):
        return rng.multivariate_normal(self.mean(X), self.covariance(X), size=n)


def independent(std):
    return lambda X: np.diag(np.asarray(std(X), dtype=float) ** 2)


@pytest.fixture
def pool():
    return design_pool(COLUMNS, 8, np.random.default_rng(0))


def test_pool_and_reward_function_agree_on_contexts(pool):
    assert pool.shape == (32, 2)
    shuffled = np.random.default_rng(1).permutation(pool)
    labels = OBJECTIVE.contexts(shuffled)
    assert labels.max() == 7
    for c in range(8):
        rows = shuffled[labels == c]
        assert sorted(rows[:, 0]) == [1, 2, 3, 4]
        assert len(set(rows[:, 1])) == 1
    np.testing.assert_allclose(OBJECTIVE.unit(np.array([[1, 0.1], [4, 10.0], [1, 1.0]])), [[0, 0], [1, 1], [0, 0.5]])


def test_sobol_is_balanced_where_random_is_not():
    design = sobol_design(COLUMNS, 64, np.random.default_rng(0))
    assert np.bincount(design[:, 0].astype(int), minlength=5)[1:].tolist() == [16] * 4
    # One point in every 1/64 of the log range: the definition of a (0, 6, 1)-net.
    cells = np.floor(COLUMNS[1].to_unit(design[:, 1]) * 64).astype(int)
    assert sorted(cells) == list(range(64))
    rough = np.floor(COLUMNS[1].to_unit(random_design(COLUMNS, 64, np.random.default_rng(0))[:, 1]) * 64)
    assert len(set(rough)) < 55
    np.testing.assert_array_equal(design, sobol_design(COLUMNS, 64, np.random.default_rng(0)))
    assert sobol_design(COLUMNS, 0, np.random.default_rng(0)).shape == (0, 2)


def test_cross_puts_the_action_where_its_column_is():
    columns = (COLUMNS[1], COLUMNS[0])
    rows = with_all_actions(np.array([[0.5], [2.0]]), columns, action=1)
    np.testing.assert_array_equal(rows[:, 1], [1, 2, 3, 4, 1, 2, 3, 4])
    np.testing.assert_array_equal(rows[:, 0], [0.5] * 4 + [2.0] * 4)


def test_random_takes_every_row_equally_often_and_repeats_only_when_it_must(pool):
    rng = np.random.default_rng(0)
    counts = np.zeros(len(pool))
    for _ in range(500):
        picks = RandomAcquisition().select(pool, None, 8, rng)
        assert len(set(picks)) == 8
        counts[picks] += 1
    assert np.sum((counts - 125) ** 2 / 125) < 60  # χ² with 31 degrees of freedom, p ≈ .001
    assert len(RandomAcquisition().select(pool, None, 40, rng)) == 40
    assert (RandomAcquisition().where, OnPolicyAcquisition().where) == ("design", "visited")


def test_max_epistemic_takes_the_least_known(pool):
    surrogate = Posterior(lambda X: X[:, 0], independent(lambda X: X[:, 0] + X[:, 1]))
    picks = MaxEpistemic().select(pool, surrogate, 5, np.random.default_rng(0))
    assert set(picks) == set(np.argsort(-(pool[:, 0] + pool[:, 1]))[:5])


def test_cost_aware_divides_by_cost(pool):
    surrogate = Posterior(lambda X: X[:, 0], independent(lambda X: 1 + 0 * X[:, 0]))
    picks = CostAware(MaxEpistemic()).bind(OBJECTIVE).select(pool, surrogate, 8, np.random.default_rng(0))
    assert set(pool[picks, 0]) == {4}  # equally uncertain: the cheapest


def test_diverse_spreads_a_batch_that_greed_would_clump():
    x = np.geomspace(0.1, 10, 101)
    pool = np.stack([np.ones(101), x], axis=1)
    surrogate = Posterior(lambda X: X[:, 0], independent(lambda X: 1 + COLUMNS[1].to_unit(X[:, 1])))
    rng = np.random.default_rng(0)
    greedy = COLUMNS[1].to_unit(pool[MaxEpistemic().select(pool, surrogate, 5, rng), 1])
    spread = COLUMNS[1].to_unit(pool[Diverse(MaxEpistemic(), 0.2).bind(OBJECTIVE).select(pool, surrogate, 5, rng), 1])
    assert np.ptp(greedy) <= 0.0401
    assert np.min(np.diff(np.sort(spread))) > 0.1
    assert spread[0] == 1.0  # the first pick is the best one


def test_integrated_variance_matches_the_exact_greedy_choice():
    rng = np.random.default_rng(3)
    pool = np.stack([np.ones(30), np.geomspace(0.1, 10, 30)], axis=1)
    u = COLUMNS[1].to_unit(pool[:, 1])
    K = np.exp(-((u[:, None] - u[None]) ** 2) / (2 * 0.2**2)) * np.outer(1 + u, 1 + u)
    surrogate = Posterior(lambda X: np.zeros(len(X)), lambda X: K, noise=0.3)
    picks = IntegratedVariance(draws=20_000).select(pool, surrogate, 3, rng)
    # Slow reference: the posterior trace after conditioning on each candidate set, by the definition.
    chosen: list[int] = []
    for pick in picks:
        traces = []
        for j in range(30):
            s = [*chosen, j]
            post = K - K[:, s] @ np.linalg.solve(K[np.ix_(s, s)] + 0.09 * np.eye(len(s)), K[s])
            traces.append(np.trace(post))
        assert traces[pick] <= min(traces) * 1.02
        assert traces[int(np.argmax(np.diag(K) if not chosen else np.zeros(30)))] > traces[pick]
        chosen.append(int(pick))


def test_ucb_is_optimistic_for_costs_and_gains(pool):
    # Split 2 has the lowest mean damage, split 3 the lowest optimistic damage, split 1 the highest everything.
    mean, std = np.array([0, 3.0, 1.0, 1.5, 2.0]), np.array([0, 0.1, 0.1, 1.0, 0.1])
    surrogate = Posterior(lambda X: mean[X[:, 0].astype(int)], independent(lambda X: std[X[:, 0].astype(int)]))
    rng = np.random.default_rng(0)
    assert set(pool[UCB(kappa=0).bind(OBJECTIVE).select(pool, surrogate, 8, rng), 0]) == {2}
    picks = UCB(kappa=2).bind(OBJECTIVE).select(pool, surrogate, 8, rng)
    assert set(pool[picks, 0]) == {3}
    assert len(set(pool[picks, 1])) == 8  # one per context
    gain = RewardFunction(COLUMNS, lambda d, X: d)
    assert set(pool[UCB(kappa=1).bind(gain).select(pool, surrogate, 8, rng), 0]) == {1}  # 3.1 against 2.5
    assert set(pool[UCB(kappa=2).bind(gain).select(pool, surrogate, 8, rng), 0]) == {3}  # 3.2 against 3.5


def test_thompson_picks_with_the_probability_of_being_best():
    pool = np.array([[1, 1.0], [2, 1.0]])
    surrogate = Posterior(lambda X: np.array([0.0, 1.0]), independent(lambda X: np.ones(len(X))))
    rng = np.random.default_rng(0)
    picks = Thompson().bind(OBJECTIVE).select(pool, surrogate, 4000, rng)
    # Damage 1 below damage 2 with probability Φ(1/√2) = .760.
    assert abs(np.mean(picks == 0) - 0.7602) < 0.02


def test_disagreement_scores_the_vote():
    pool = np.array([[1, 1.0], [2, 1.0], [3, 1.0], [1, 2.0], [2, 2.0]])
    mean = np.array([0.0, 0.0, 50.0, 0.0, 50.0])
    surrogate = Posterior(lambda X: mean, independent(lambda X: np.ones(len(X))))
    score = Disagreement(draws=400).bind(OBJECTIVE).score(pool, surrogate, np.random.default_rng(0))
    np.testing.assert_allclose(score[:2], 0.25, atol=0.01)
    np.testing.assert_array_equal(score[2:], 0)


def test_top_two_looks_at_the_closest_race_and_measures_its_less_certain_side():
    pool = np.array([[1, 1.0], [2, 1.0], [3, 1.0], [1, 2.0], [2, 2.0], [3, 2.0]])
    mean = np.array([0.0, 0.5, 0.6, 0.0, 0.1, 5.0])
    std = np.array([0.1, 0.1, 3.0, 0.1, 0.2, 9.0])
    surrogate = Posterior(lambda X: mean, independent(lambda X: std))
    picks = TopTwo().bind(OBJECTIVE).select(pool, surrogate, 2, np.random.default_rng(0))
    assert picks[0] == 4  # Δ = .1 in the second context against .5; row 4 is the less certain of the two
    assert picks[1] in (0, 1)


def test_reward_aware_acquisitions_ask_for_the_reward(pool):
    with pytest.raises(InvalidInputError, match="needs to know the reward"):
        UCB().select(pool, Posterior(lambda X: X[:, 0], independent(lambda X: X[:, 0])), 1, np.random.default_rng(0))


def test_every_acquisition_is_data_seeded_and_returns_n_rows(pool):
    K = np.eye(len(pool))
    surrogate = Posterior(lambda X: X[:, 0], lambda X: K[: len(X), : len(X)])
    wrapped = [Diverse(MaxEpistemic()), CostAware(Disagreement())]
    for acquisition in [*(ACQUISITIONS[name]() for name in ACQUISITIONS), *wrapped]:
        bound = acquisition.bind(OBJECTIVE)
        picks = [bound.select(pool, surrogate, 6, np.random.default_rng(5)) for _ in range(2)]
        np.testing.assert_array_equal(*picks)
        assert picks[0].shape == (6,)
        assert picks[0].dtype == np.int64
        assert "reward_function" not in bound.config()
        if "inner" not in bound.config():
            assert type(acquisition)(**bound.config()) == acquisition
    assert Diverse(MaxEpistemic()).config() == {"inner": {"name": "MaxEpistemic", "where": "both"}, "radius": 0.1}
