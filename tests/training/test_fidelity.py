"""Truth by the piece: what parts cost, when they end, and that no budget is overspent."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbrl_split.agents import PPO
from mbrl_split.bench.base import Task
from mbrl_split.bench.methods import AgentMethod
from mbrl_split.envs import OracleSource
from mbrl_split.errors import BudgetExhaustedError, InvalidInputError
from mbrl_split.layer_split import LayerSplit, LLMSplitVector, PerplexityOracle, scenario, split_reward
from mbrl_split.oracles import FunctionOracle, Ledger, open_store
from mbrl_split.refresh import Always, Doubling, Fidelity, RandomAcquisition, probability_best, random_design
from mbrl_split.surrogates import GPSurrogate, MLPSurrogate, TabulatedSurrogate
from mbrl_split.training import ModelBasedTrainer, measure_parts

SCENARIO = scenario("equalised")
COLUMNS = SCENARIO.columns(12)
REWARD = split_reward(SCENARIO, 12)
DECLARED = 1024


def clear(X):
    """Split 11 is best by far: everywhere else the damage outweighs the load."""
    return np.where(X[:, 0] == 11, 0.0, 2.0)


def tie(X):
    """Damage that cancels the load to the last digit: every split has the same reward."""
    return (1 - X[:, 0] / 12) / 3


def oracle_of(f, noise=0.05):
    return FunctionOracle(f, COLUMNS, noise_std=noise, evaluation_size=DECLARED)


def trainer_of(f, fidelity, budget=60.0, initial=22, n=4, schedule=None):
    ledger = Ledger(oracle_of(f), budget=budget)
    env = LLMSplitVector(8, SCENARIO, source=OracleSource(Ledger(ledger.oracle)))
    agent = PPO(env.single_observation_space, env.single_action_space, n_steps=8, batch_size=64, n_epochs=1, seed=1)
    return ModelBasedTrainer(
        env, agent, TabulatedSurrogate(MLPSurrogate(steps=60), 5), schedule or Always(n=n), RandomAcquisition(), ledger,
        total_steps=192, segment_steps=64, initial_design=initial, fidelity=fidelity, seed=3,
    )  # fmt: skip


def test_a_part_is_charged_what_it_measures():
    trainer = trainer_of(clear, Fidelity(size=256))
    trainer.run()
    entries = trainer.ledger.entries
    # 22 initial rows of a quarter; two refreshes of 4 evaluations are 16 rows of a quarter each.
    assert len(entries) == 22 + 2 * 16
    np.testing.assert_array_equal(entries.charge, 0.25)
    np.testing.assert_array_equal(entries.measurement.size, 256)
    assert trainer.ledger.spent == entries.measurement.size.sum() / DECLARED == 5.5 + 8
    doubled = trainer_of(clear, Fidelity(size=256), initial=24, schedule=Doubling(first=64))
    doubled.run()
    assert doubled.ledger.spent == (24 + 24 + 48) / 4  # rows double at steps 64 and 128, however short they are
    half = trainer_of(clear, Fidelity(size=512))
    half.run()
    np.testing.assert_array_equal(half.ledger.entries.charge, 0.5)


class Sure(GPSurrogate):
    """Notes what it is taught."""

    def __init__(self):
        super().__init__(warp="none")
        self.taught = []

    def update(self, X, y, **rest):
        self.taught.append(len(X))
        return super().update(X, y, **rest)


def parts_of(f, *, noise=0.05, budget=None, n=3, fidelity=None):
    """Parts of n rows after 66 rows of truth, each part learnt before the next."""
    fidelity = fidelity or Fidelity(size=256, sequential_parts=4)
    rng = np.random.default_rng(5)
    X = random_design(COLUMNS, 66, rng)
    X[:, 0] = np.tile(np.arange(1, 12), 6)
    surrogate = Sure().fit(X, f(X) + noise * rng.standard_normal(66), columns=COLUMNS)
    ledger = Ledger(oracle_of(f, noise), budget=budget)

    def undecided(rows):
        found = ledger.entries
        last = np.arange(len(found)) >= len(found) - len(rows)
        np.testing.assert_array_equal(found.X[last], rows)  # only what was measured last is asked about
        surrogate.update(rows, found.y[last])
        return probability_best(rows, surrogate, REWARD, rng) < fidelity.confidence

    rows = random_design(COLUMNS, n, rng)
    sizes = [len(part) for part, _ in measure_parts(ledger, rows, rng, fidelity, undecided)]
    return sizes, ledger, surrogate


def test_a_clear_decision_ends_after_one_part():
    sizes, ledger, surrogate = parts_of(clear)
    assert sizes == [3]
    assert ledger.spent == 0.75
    assert surrogate.taught == [3]


def test_a_tie_is_measured_to_the_end():
    sizes, ledger, _ = parts_of(tie)
    assert sizes == [3, 3, 3, 3]
    assert ledger.spent == 3
    # Every part is a measurement of its own: nothing is paid for twice.
    assert len(set(ledger.entries.seeds.tolist())) == 12


def test_a_spent_budget_ends_the_parts():
    sizes, ledger, _ = parts_of(tie, budget=1.6)
    assert sizes == [3, 3]  # 1.5 paid; the 0.1 left buy no part
    assert ledger.spent == 1.5
    sizes, ledger, _ = parts_of(tie, budget=1.3)
    assert sizes == [3, 2]
    assert ledger.spent == 1.25


def test_it_is_the_probability_of_the_best_action():
    """Two actions, independent normal posteriors: P(best) = Φ(Δ/√2s)."""

    class Two(GPSurrogate):
        def predict(self, X):
            return type("P", (), {"mean": np.where(X[:, 0] == 1, 0.0, 1.0)})()

        def sample(self, X, n, rng):
            return self.predict(X).mean + rng.standard_normal((n, len(X)))

    from scipy.stats import norm

    from mbrl_split.columns import Column
    from mbrl_split.refresh import RewardFunction

    columns = (Column("a", "1", 1, 2, "ordinal"), Column("x", "1", 0.0, 1.0))
    X = random_design(columns, 200, np.random.default_rng(0))
    found = probability_best(X, Two(), RewardFunction(columns, lambda y, X: -y), np.random.default_rng(1))
    assert found.shape == (200,)
    assert found.mean() == pytest.approx(norm.cdf(1 / np.sqrt(2)), abs=4 * np.sqrt(0.18 / (200 * 128)))


def test_the_loop_pays_less_where_the_decision_is_clear():
    spent = {f.__name__: trainer_of(f, Fidelity(size=256, sequential_parts=4), budget=None) for f in (clear, tie)}
    for trainer in spent.values():
        trainer.run()
    # 22 initial rows get one part; of two refreshes of 4 evaluations the tie takes all.
    assert spent["tie"].ledger.spent == 22 / 4 + 8
    assert 22 / 4 + 2 <= spent["clear"].ledger.spent < 22 / 4 + 6
    assert spent["clear"].learnt == len(spent["clear"].ledger.entries)


@settings(max_examples=12, deadline=None)
@given(
    budget=st.floats(0.1, 30),
    size=st.sampled_from([128, 256, 384, 1024]),
    parts=st.integers(1, 4),
    confidence=st.floats(0.3, 1),
    seed=st.integers(0, 999),
)
def test_no_fidelity_overspends(budget, size, parts, confidence, seed):
    """On the measured table, clean references included."""
    problem = LayerSplit("equalised", "tiny-llama")
    ledger = Ledger(problem.oracle(), budget=budget)
    fidelity = {"size": size, "sequential_parts": parts, "confidence": confidence}
    method = AgentMethod(
        "argmax",
        "mlp",
        acquisition="random",
        settings={"source": {"steps": 5}, "trainer": {"initial_design": 6, "refresh_batches": 2}, "fidelity": fidelity},
    )
    task = Task(problem, ledger, seed, 1, None)
    if budget < 2 * size / DECLARED:  # a row and its references
        with pytest.raises(BudgetExhaustedError):
            list(method.learn(task))
        assert ledger.spent == 0
        return
    list(method.learn(task))
    assert 0 < ledger.spent <= budget * (1 + 1e-12)
    found = ledger.entries.measurement
    references = len(np.unique(found.records["window"])) * SCENARIO.window
    assert ledger.spent == (found.size.sum() + references) / DECLARED


def test_live_parts_are_charged_and_stored_like_any_measurement(tmp_path):
    small = scenario("equalised", windows=4, window=32, pool=8)
    oracle = PerplexityOracle.load("tiny-llama", small)
    store = open_store(tmp_path / "store.sqlite")
    rows = random_design(oracle.columns, 3, np.random.default_rng(0))

    def pay():
        ledger = Ledger(oracle, store)
        everyone = measure_parts(
            ledger, rows, np.random.default_rng(1), Fidelity(64, sequential_parts=2), lambda X: np.full(len(X), True)
        )
        return [found.mean for _, found in everyone], ledger

    first, ledger = pay()
    read = len(np.unique(ledger.entries.records["window"]))
    assert ledger.spent == (6 * 64 + read * 32) / 128
    again, second = pay()  # from the store: the same bits, the same charge
    np.testing.assert_array_equal(first, again)
    assert second.spent == ledger.spent


def test_what_is_wrong_is_said():
    for bad in (
        {"size": 0},
        {"size": 0.5},
        {"sequential_parts": 1.5},
        {"confidence": 0},
        {"confidence": float("nan")},
    ):
        with pytest.raises(InvalidInputError, match=next(iter(bad))):
            Fidelity.of(bad)
    with pytest.raises(InvalidInputError, match="did you mean 'size'"):
        Fidelity.of({"sise": 256})
    assert Fidelity.of(Fidelity(256, sequential_parts=2).config()) == Fidelity(256, sequential_parts=2)
    assert Fidelity(256, sequential_parts=2).rows(10, 1024) == 20
    assert Fidelity(4096).rows(1, 1024) == 1
