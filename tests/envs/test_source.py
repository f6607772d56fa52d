"""Sources: the truth through a ledger, a surrogate in its place."""

import copy

import gymnasium
import numpy as np
import pytest

from mbrl_split import InvalidInputError
from mbrl_split.envs import OracleSource, SurrogateSource
from mbrl_split.layer_split import LLMSplitVector, scenario
from mbrl_split.oracles import FunctionOracle, Ledger, SqliteStore
from mbrl_split.surrogates.base import Prediction

COLUMNS = scenario("equalised").columns(12)


class Fitted:
    """A surrogate whose answers are known: mean 1 + split, epistemic std 0.5, draws numbered by their generator."""

    def predict(self, X):
        n = len(X)
        return Prediction(1 + np.asarray(X)[:, 0], np.full(n, 0.5), np.full(n, 0.1))

    def sample(self, X, n, rng):
        return np.asarray(X)[:, 0] + rng.standard_normal((n, 1))


X = np.array([[1.0, 0.1, 1.0], [5.0, 0.1, 1.0], [9.0, 0.1, 1.0]])


def test_modes_by_hand():
    seeds = [3, 3, 4]
    assert SurrogateSource(Fitted(), COLUMNS).answer(X, seeds=seeds).tolist() == [2, 6, 10]
    pessimist = SurrogateSource(Fitted(), COLUMNS, mode="lcb", kappa=2.0)
    assert pessimist.answer(X, seeds=seeds).tolist() == [3, 7, 11]  # the number is a cost: pessimism adds
    draw = SurrogateSource(Fitted(), COLUMNS, mode="sample").answer(X, seeds=seeds) - X[:, 0]
    assert draw[0] == draw[1]
    assert draw[0] != draw[2]
    with pytest.raises(InvalidInputError, match="mode is 'mean', 'lcb' or 'sample', not 'ucb'"):
        SurrogateSource(Fitted(), COLUMNS, mode="ucb")


def test_a_refit_raises_the_version_and_truth_has_none():
    source = SurrogateSource(Fitted(), COLUMNS)
    first = source.version
    source.replace(Fitted())
    assert source.version == first + 1
    assert OracleSource(Ledger(FunctionOracle(lambda X: X[:, 0], COLUMNS))).version == 0


def test_from_rl_to_mbrl_is_one_word():
    """The same environment, seeds and actions; only the costly number comes from elsewhere."""
    ledger = Ledger(FunctionOracle(lambda X: X[:, 1] / X[:, 0], COLUMNS))
    env = LLMSplitVector(3, source=OracleSource(ledger))
    env.reset(seed=0)
    truth = env.step([2, 5, 8])
    env.set_source(SurrogateSource(Fitted(), COLUMNS))
    env.reset(seed=0)
    learned = env.step([2, 5, 8])
    assert np.array_equal(truth[0], learned[0])
    assert np.array_equal(truth[4]["query"], learned[4]["query"])
    assert np.array_equal(truth[4]["query_seed"], learned[4]["query_seed"])
    assert learned[1] == pytest.approx(truth[1] - 3 * (learned[4]["damage"] - truth[4]["damage"]))
    assert learned[4]["damage"].tolist() == [4, 7, 10]
    assert ledger.spent == 3


def test_truth_is_counted_in_one_place_when_gymnasium_copies(tmp_path):
    oracle = FunctionOracle(lambda X: X[:, 1] / X[:, 0], COLUMNS, identity="f")
    source = OracleSource(Ledger(oracle, SqliteStore(tmp_path / "store")))
    assert copy.deepcopy(source) is source
    env = gymnasium.make("mbrl_split/LLMSplit-v0", source=source)
    again = env.spec.make()  # the specification is a deep copy of the arguments
    again.reset(seed=0)
    again.step(0)
    assert source.ledger.spent == 1
