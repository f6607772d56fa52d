"""From a word to a source: a measured table, the live model."""

import subprocess
import sys

import numpy as np
import pytest

from mbrl_split import InvalidInputError
from mbrl_split.envs import OracleSource
from mbrl_split.layer_split import LLMSplit, LLMSplitVector, TableSource, scenario
from mbrl_split.layer_split.envs.built_in import _table_is_shipped
from mbrl_split.layer_split.tables.table import TableOracle
from mbrl_split.layer_split.tables.table_file import TableData, table_path
from mbrl_split.oracles import Ledger

SMALL = {"windows": 2, "window": 32, "pool": 4}


def small_table():
    """A made-up table of the equalised family, 5 layers and 6 windows: noise harms, depth protects."""
    rng = np.random.default_rng(0)
    noise = np.array([0.1, 1.0, 10.0, 100.0])
    clean = rng.uniform(3, 4, 6)
    curve = 3 * noise / (1 + noise)
    knots = np.append(curve, 3.0)  # the last knot is pure noise
    damage = knots[None, :, None, None] / np.arange(1, 5)[:, None, None, None] * rng.uniform(0.8, 1.2, (4, 5, 6, 1))
    return TableData(
        splits=np.arange(1, 5),
        axes={"noise": np.append(noise, 1e6)},
        windows=np.arange(6),
        documents=np.array([0, 0, 0, 1, 1, 1]),
        nll=(clean[:, None] + damage).astype(np.float32),
        clean_nll=clean,
        capped=np.zeros((4, 5, 6, 1), dtype=bool),
        seconds=np.full((4, 5), 0.05),
        about={
            "family": "equalised",
            "text": "sotu",
            "window": 32,
            "half": "replay",
            "n_layers": 5,
            "levels": {"noise": noise.tolist()},
            "oracle": "made up",
            "seed": 0,
            "tokens": 6 * 32,
            "draws": 1,
            "cap": 7.6,
        },
    )


def test_a_table_source_counts_and_agrees_with_the_ledger():
    oracle = TableOracle(small_table(), scenario("equalised", **SMALL))
    fast, ledger = TableSource(oracle), Ledger(oracle)
    a = LLMSplitVector(16, source=fast, **SMALL)
    b = LLMSplitVector(16, source=OracleSource(ledger), **SMALL)
    assert np.array_equal(a.reset(seed=0)[0], b.reset(seed=0)[0])
    a.action_space.seed(0)
    for _ in range(7):
        actions = a.action_space.sample()
        assert np.array_equal(a.step(actions)[1], b.step(actions)[1])
    assert fast.evaluations == 7 * 16
    assert 7 * 16 < ledger.spent <= 7 * 16 + 3  # the ledger also charges the six windows' clean references


def test_live_measures_the_shipped_model():
    """The real oracle through the environment: counted, and reproducible by asking it the same again."""
    env = LLMSplit("equalised", model="tiny-llama", source="live", **SMALL)
    ledger = env.source.ledger
    env.reset(seed=0)
    *_, info = env.step(env.n_layers // 2)
    assert ledger.spent >= 1
    again = ledger.oracle.measure(info["query"][None], seeds=[info["query_seed"]])
    assert info["damage"] == again.mean[0]
    assert info["damage"] <= np.log(ledger.oracle.model.vocab_size)


def test_none_is_the_shipped_table_or_else_live():
    shipped = _table_is_shipped("tiny-llama", scenario("equalised"))
    assert shipped == table_path("tiny-llama", "equalised", "replay").is_file()
    if shipped:
        assert isinstance(LLMSplit("equalised").source, TableSource)
    assert isinstance(LLMSplit("equalised", source=None, channel=fast_fading(), **SMALL).source, OracleSource)
    with pytest.raises(InvalidInputError, match="no measured table"):
        LLMSplit("equalised", model="no-such-model", source="table")


def fast_fading():
    """A channel that no table can serve: one gain per token."""
    from mbrl_split.layer_split.scenarios import ChannelSpec

    return ChannelSpec(block=False)


def test_a_source_that_is_handed_over_needs_no_torch():
    code = """
import sys, numpy as np
from mbrl_split.layer_split import scenario
from mbrl_split.layer_split import LLMSplitVector
class Zero:
    version, columns = 0, scenario("equalised").columns(12)
    def answer(self, X, *, seeds): return np.zeros(len(X))
env = LLMSplitVector(2, source=Zero()); env.reset(seed=0); env.step([0, 1])
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
