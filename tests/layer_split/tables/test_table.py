"""The table oracle on made-up measurements: it keeps the oracle's contract, and answers what it says it does."""

import dataclasses
import json
import math
import time

import numpy as np
import pytest

from mbrl_split.columns import Column
from mbrl_split.errors import InvalidInputError, UnsupportedError
from mbrl_split.layer_split.records import check_window_records
from mbrl_split.layer_split.scenarios import PROTOCOL_VERSION, ChannelSpec, Scenario, scenario
from mbrl_split.layer_split.tables.families import FAMILIES, family_of
from mbrl_split.layer_split.tables.replay import draw
from mbrl_split.layer_split.tables.table import TableOracle
from mbrl_split.layer_split.tables.table_file import TableData, read_table, write_table
from mbrl_split.oracles import check_oracle

L, WINDOWS = 12, 24
M = Column("m", "1", 0.5, 8.0, "log")
SNR = Column("snr_db", "dB", -3.0, 27.0)
LOSS = Column("loss", "1", 0.0, 0.5)
K = Column("k", "1", 0.5, 10.0, "log")
STEADY, LINE_OF_SIGHT = Column("m", "1", 0.5, 50.0, "log"), Column("k", "1", 0.0, 50.0)
BITS = Column("bits", "1", 2, 16, "ordinal")
SCENARIOS = {
    "equalised": scenario("equalised"),
    "raw": scenario("paper-a"),
    "snr-token": Scenario("snr", ChannelSpec(kind="snr", power="token"), (SNR, M)),
    "erasure-element": Scenario("erasure", ChannelSpec(kind="erasure"), (LOSS,)),
    "erasure-packet": Scenario("packet", ChannelSpec(kind="packet"), (SNR, M)),
    "erasure-token": Scenario("tokens", ChannelSpec(kind="erasure", unit="token"), (LOSS,)),
    "quantise-token": Scenario("bits", ChannelSpec(kind="quantise"), (BITS,)),
    "quantise-tensor": Scenario("bits", ChannelSpec(kind="quantise", scale="tensor"), (BITS,)),
}


def made_up(family="equalised", *, draws=1, windows=WINDOWS, **about):
    """A table with a smooth damage per split and a factor of its own for each window."""
    kind = FAMILIES[family]
    at = kind.points(kind.levels)
    badness = {
        "noise": lambda: 6 / (1 + (2 / at[:, 0]) ** 2),
        "snr_db": lambda: 6 / (1 + 10 ** (at[:, 0] / 10)),
        "loss": lambda: 6 * at[:, 0],
        "bits": lambda: 2.0 ** (4 - at[:, 0]),
    }[kind.columns[0]]()
    if "gain" in kind.columns:
        badness = badness + 2 * np.abs(at[:, 1] - 1)
    rng = np.random.default_rng(7)
    factor = rng.uniform(0.5, 1.5, (windows, draws))
    damage = badness[None, :, None, None] * np.linspace(1, 0.3, L - 1)[:, None, None, None] * factor
    clean = rng.uniform(3, 4, windows)
    what = {
        "family": family,
        "half": "judge",
        "model": "nobody",
        "weights": None,
        "text": "sotu",
        "window": 128,
        "tokens": windows * 128,
        "draws": draws,
        "seed": 1,
        "n_layers": L,
        "levels": {axis: list(values) for axis, values in kind.levels.items()},
        "axes": list(kind.columns),
        "cap": 12.0,
        "oracle": "made up",
        "protocol": PROTOCOL_VERSION,
        **about,
    }
    return TableData(
        splits=np.arange(1, L),
        axes={name: at[:, j] for j, name in enumerate(kind.columns)},
        windows=np.arange(windows) * 5 + 2,
        documents=np.arange(windows) // 7,
        nll=(clean[:, None] + damage).astype(np.float32),
        clean_nll=clean,
        capped=np.zeros(damage.shape, bool),
        seconds=np.full(damage.shape[:2], 0.5),
        about={**what, "identity": {"family": family, "tokens": what["tokens"]}},
    )


def queries(oracle, n, seed=0):
    rng = np.random.default_rng(seed)
    return np.column_stack([column.sample(n, rng) for column in oracle.columns])


@pytest.mark.parametrize("family", SCENARIOS)
def test_every_family_keeps_the_contract_of_an_oracle(family):
    oracle = TableOracle(made_up(family), SCENARIOS[family])
    check_oracle(oracle)
    check_window_records(oracle)
    assert oracle.columns == SCENARIOS[family].columns(L)
    assert family_of(SCENARIOS[family].channel).name == family


@pytest.mark.parametrize("draws", [1, 2])
def test_the_fast_path_is_the_mean_of_the_full_one_to_the_bit(draws):
    oracle = TableOracle(made_up(draws=2), "equalised", draws=draws)
    X, seeds = queries(oracle, 300), np.arange(300)
    np.testing.assert_array_equal(oracle.sample_damage(X, seeds), oracle.measure(X, seeds=seeds).mean)


@pytest.mark.parametrize("family", ["equalised", "raw", "snr-token"])
def test_replays_average_to_the_expectation(family):
    oracle = TableOracle(made_up(family), SCENARIOS[family])
    for x in queries(oracle, 4, seed=1):
        replays = oracle.sample_damage(np.repeat(x[None], 6_000, 0), np.arange(6_000))
        mean, _ = oracle.expected(x[None], exact=True)
        assert abs(replays.mean() - mean[0]) < 3.5 * replays.std() / np.sqrt(6_000)


@pytest.mark.parametrize("family", SCENARIOS)
def test_the_tabulated_expectation_is_the_exact_one(family):
    oracle = TableOracle(made_up(family), SCENARIOS[family])
    X = queries(oracle, 400)
    for part in (None, "choose", "value"):
        tabulated, exact = oracle.expected(X, part), oracle.expected(X, part, exact=True)
        np.testing.assert_allclose(tabulated[0], exact[0], atol=4e-3)
        np.testing.assert_allclose(tabulated[1], exact[1], atol=1e-3)
        assert exact[0].max() > 1


@pytest.mark.parametrize(
    ("law", "shape"), [("nakagami", M), ("nakagami", STEADY), ("rice", K), ("rice", LINE_OF_SIGHT)]
)
def test_packets_are_read_well_however_steep_their_outage(law, shape):
    channel = ChannelSpec(kind="packet", fading=law)
    oracle = TableOracle(made_up("erasure-packet"), Scenario("packets", channel, (SNR, shape)))
    X = queries(oracle, 4_000)
    (mean, error), exact = oracle.expected(X), oracle.expected(X, exact=True)
    assert np.abs(mean - exact[0]).max() < 2e-3 * exact[0].max()
    assert np.abs(error - exact[1]).max() < 2e-3 * exact[1].max()
    assert error.min() >= 0


def test_parts_are_disjoint_documents_and_the_standard_error_is_between_windows():
    table = made_up()
    oracle = TableOracle(table, "equalised")
    choose, value = oracle.windows_of("choose"), oracle.windows_of("value")
    assert sorted([*choose, *value]) == list(range(WINDOWS))
    assert not set(table.documents[choose]) & set(table.documents[value])
    assert min(len(choose), len(value)) >= WINDOWS / 4
    still = dataclasses.replace(
        SCENARIOS["equalised"], channel=ChannelSpec(fading="none"), context=(Column("noise", "RMS", 0.1, 100, "log"),)
    )
    s = FAMILIES["equalised"].levels["noise"][6]
    mean, error = TableOracle(table, still).expected([[3, s]])
    damage = table.nll[2, 6, :, 0] - table.clean_nll
    assert mean[0] == pytest.approx(damage.mean(), rel=1e-6)
    assert error[0] == pytest.approx(damage.std(ddof=1) / np.sqrt(WINDOWS), rel=1e-6)
    one = dataclasses.replace(table, documents=np.zeros(WINDOWS, np.int64))
    assert len(TableOracle(one, still).windows_of("choose")) == WINDOWS / 2


def test_draws_are_subsets_without_replacement_and_all_alike():
    drawn = draw(np.arange(40_000), 10, 4, 2)
    assert drawn.windows.shape == (40_000, 4)
    assert drawn.u.shape == (40_000, 2, 4)
    assert all(len(set(row)) == 4 for row in drawn.windows[:2000].tolist())
    pairs = np.zeros((10, 10))
    for i in range(4):
        for j in range(4):
            np.add.at(pairs, (drawn.windows[:, i], drawn.windows[:, j]), i != j)
    expected = 40_000 * 12 / 90
    assert np.abs(pairs[~np.eye(10, dtype=bool)] / expected - 1).max() < 0.06
    assert np.abs(np.corrcoef(drawn.u.reshape(-1, 8).T) - np.eye(8)).max() < 0.025
    assert abs(drawn.u.mean() - 0.5) < 0.003
    # Neighbouring seeds are as different as any, and equal seeds are equal.
    assert abs(np.corrcoef(drawn.u[:-1, 0, 0], drawn.u[1:, 0, 0])[0, 1]) < 0.025
    np.testing.assert_array_equal(draw(np.array([7]), 10, 4, 1).windows[0], drawn.windows[7])
    np.testing.assert_array_equal(draw(np.arange(3), 5, 5, 1).windows.sum(1), 10)


def test_a_window_record_is_its_own_measured_curve():
    table = made_up()
    oracle = TableOracle(table, "equalised")
    found = oracle.measure([[4, 0.8, 2.0]], seeds=[11])
    assert len(set(found.records["window"])) == 8
    assert np.isfinite(found.records["gain"]).all()
    for record in found.records:
        n = int(np.flatnonzero(table.windows == record["window"])[0])
        assert record["clean_nll"] == table.clean_nll[n]
        curve = table.nll[3, :-1, n, 0] - table.clean_nll[n]
        s = 0.8 / record["gain"]
        near = np.interp(np.log(s), np.log(FAMILIES["equalised"].levels["noise"]), curve)
        assert record["nll"] - record["clean_nll"] == pytest.approx(near, rel=0.1, abs=0.02)
    assert found.seconds[0] == pytest.approx(0.5 * 8 / WINDOWS)
    assert found.n_capped[0] == 0
    assert oracle.measure([[4, 0.8, 2.0]], seeds=[11], size=2048).seconds[0] == pytest.approx(0.5 * 16 / WINDOWS)


def test_capped_windows_are_counted():
    table = made_up(cap=5.0)
    found = TableOracle(table, "equalised").measure([[1, 1.0, 0.5]], seeds=[0])
    assert found.records["nll"].max() == 5.0
    assert found.n_capped[0] == (found.records["nll"] == 5.0).sum() > 0


def test_windows_that_were_capped_when_measured_are_counted_through_single_precision():
    table, cap = made_up(cap=math.log(2048)), math.log(2048)
    ruined = table.axes["noise"] >= 10  # a knot, and everything worse
    table.nll[:, ruined] = np.float32(cap)
    still = Scenario("still", ChannelSpec(fading="none"), (Column("noise", "RMS", 0.1, 100.0, "log"),))
    found = TableOracle(table, still).measure([[1, 63.1], [5, 100.0], [1, 0.1]], seeds=[0, 1, 2])
    assert found.n_capped.tolist() == [8, 8, 0]


def test_more_draws_read_other_measured_noise():
    table = made_up(draws=2)
    oracle, twice = TableOracle(table, "equalised"), TableOracle(table, "equalised", draws=2)
    for tested in (oracle, twice):
        check_oracle(tested)
        check_window_records(tested)
    found = twice.measure([[4, 0.8, 2.0]], seeds=[3], size=2048)
    first = oracle.measure([[4, 0.8, 2.0]], seeds=[3])
    assert found.size.tolist() == [2048]
    assert (found.records[:8] == first.records).all()
    assert (found.records["nll"][8:] != found.records["nll"][:8]).all()
    assert first.seconds[0] == pytest.approx(found.seconds[0] / 2)
    keys = [one.key([4, 0.8, 2.0], seed=3, size=2048) for one in (oracle, twice)]
    assert len(set(keys)) == 2, "twice the windows are not twice the draws"
    for draws in (0, 3):
        with pytest.raises(InvalidInputError, match=f"draws is 1 … 2, the channel draws in table, not {draws}"):
            TableOracle(table, "equalised", draws=draws)


def test_ten_thousand_rows_take_under_twenty_milliseconds():
    oracle = TableOracle(made_up(), "equalised")
    X = queries(oracle, 10_000)
    oracle.expected(X)
    taken = []
    for _ in range(20):
        start = time.process_time()
        oracle.expected(X)
        taken.append(time.process_time() - start)
    assert min(taken) < 0.02


def test_a_table_survives_the_disk_and_is_small(tmp_path):
    table = made_up("raw", draws=2)
    path = write_table(table, tmp_path / "deep" / "raw-judge.parquet")
    back = read_table(path)
    for field in ("splits", "windows", "documents", "nll", "clean_nll", "capped"):
        np.testing.assert_array_equal(getattr(back, field), getattr(table, field))
    assert back.axes.keys() == table.axes.keys()
    np.testing.assert_array_equal(back.axes["gain"], table.axes["gain"])
    np.testing.assert_allclose(back.seconds, table.seconds)
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["rows"] == table.nll.size
    assert card["bytes"] == path.stat().st_size < 5_000_000
    assert sorted(p.name for p in path.parent.iterdir()) == ["raw-judge.json", "raw-judge.parquet"]


def test_damaged_foreign_and_outdated_tables_are_refused_in_one_line(tmp_path):
    good = write_table(made_up(), tmp_path / "t.parquet")
    payload, card = good.read_bytes(), good.with_suffix(".json").read_text()

    def refused(match, error=UnsupportedError):
        with pytest.raises(error, match=match) as caught:
            TableOracle.load("nobody", "equalised", "judge", path=good)
        assert "\n" not in str(caught.value)

    for place in (10, len(payload) // 2, len(payload) - 5):
        good.write_bytes(payload[:place] + bytes([payload[place] ^ 1]) + payload[place + 1 :])
        refused("damaged")
    good.write_bytes(payload[:-100])
    refused("damaged")
    good.write_bytes(b"not a table")
    good.with_suffix(".json").write_text(
        json.dumps({"sha256": "d44a56f0d8c1f3ff8f2d3ff4d64a0cc4ff2cc24e9d1b94bbbd0dfba1f5ef0f7e"})
    )
    refused("damaged")
    good.write_bytes(payload)
    good.with_suffix(".json").unlink()
    refused("no readable card")
    good.with_suffix(".json").write_text(card)
    assert TableOracle.load("nobody", "equalised", "judge", path=good).half == "judge"
    good.unlink()
    refused("there is no measured table", InvalidInputError)


def test_tables_of_something_else_are_refused(tmp_path):
    old = write_table(made_up(protocol=PROTOCOL_VERSION + 1), tmp_path / "old.parquet")
    with pytest.raises(UnsupportedError, match=f"under protocol {PROTOCOL_VERSION + 1}"):
        TableOracle.load("nobody", "equalised", "judge", path=old)
    path = write_table(made_up(), tmp_path / "t.parquet")
    for arguments, match in (
        (("nobody", "equalised", "replay"), "'judge' half"),
        (("somebody", "equalised", "judge"), "of model 'nobody'"),
        (("nobody", "paper-a", "judge"), "channel family 'equalised'"),
        (("nobody", scenario("equalised", window=64), "judge"), "window 128"),
        (("nobody", scenario("equalised", text="my.txt"), "judge"), "text 'sotu'"),
    ):
        with pytest.raises(UnsupportedError, match=match):
            TableOracle.load(*arguments, path=path)
    with pytest.raises(InvalidInputError, match="unknown half"):
        TableOracle.load("nobody", "equalised", "jugde", path=path)
    other = write_table(made_up(model="tiny-llama", weights="0" * 16), tmp_path / "u.parquet")
    with pytest.raises(UnsupportedError, match="other weights"):
        TableOracle.load("tiny-llama", "equalised", "judge", path=other)


def test_an_existing_table_is_never_replaced_by_another(tmp_path):
    path = write_table(made_up(), tmp_path / "t.parquet")
    before = path.read_bytes()
    with pytest.raises(UnsupportedError, match="differs in tokens"):
        write_table(made_up(windows=16), path)
    assert path.read_bytes() == before
    write_table(made_up(), path)
    assert path.read_bytes() == before


def test_only_contexts_outside_the_measured_range_are_refused():
    far = TableOracle(made_up(), scenario("equalised", context=(Column("noise", "RMS", 0.0, 500.0), M)))
    X = [[1, 500.0, 0.5], [1, 3.3, 2.0], [1, 0.2, 1.0], [1, 0.0, 0.5]]
    np.testing.assert_allclose(far.expected(X)[0], far.expected(X, exact=True)[0], atol=2e-3)
    assert far.expected(X, exact=True)[0][-1] == 0
    loud = scenario("paper-a", context=(Column("noise", "RMS", 0.03, 4.0, "log"), M))
    with pytest.raises(InvalidInputError, match=r"noise in \[0.03, 4\], and table was measured in \[0.03, 3\]"):
        TableOracle(made_up("raw"), loud)
    few = made_up("raw")
    few.about["levels"]["gain"] = few.about["levels"]["gain"][:-2]
    with pytest.raises(InvalidInputError, match=r"gains beyond 1\.9"):
        TableOracle(few, "paper-a")
    with pytest.raises(UnsupportedError, match="block=False"):
        TableOracle(made_up(), scenario("equalised", channel=ChannelSpec(block=False)))
    part = dataclasses.replace(made_up(), splits=np.arange(2, L + 1))
    part.about["n_layers"] = L + 1
    with pytest.raises(InvalidInputError, match="row 1: split 1 was not measured"):
        TableOracle(part, "equalised").expected([[2, 1.0, 1.0], [1, 1.0, 1.0]])
    oracle = TableOracle(made_up(), "equalised")
    with pytest.raises(InvalidInputError, match="at most 3072"):
        oracle.measure([[2, 1.0, 1.0]], seeds=[0], size=25 * 128)
    with pytest.raises(InvalidInputError, match="part is None"):
        oracle.expected([[2, 1.0, 1.0]], "both")
    with pytest.raises(InvalidInputError, match="holds 24 windows"):
        TableOracle(made_up(), scenario("equalised", windows=30))


@pytest.mark.parametrize("name", SCENARIOS)
def test_windows_average_to_the_expected_damage(name):
    oracle = TableOracle(
        made_up(name if name in FAMILIES else family_of(SCENARIOS[name].channel).name), SCENARIOS[name]
    )
    X = queries(oracle, 50)
    for part in (None, "choose", "value"):
        values = oracle.by_window(X, part)
        mean, error = oracle.expected(X, part, exact=True)
        assert values.shape == (50, len(oracle.windows_of(part)))
        np.testing.assert_allclose(values.mean(axis=1), mean, atol=1e-12)
        np.testing.assert_allclose(values.std(axis=1, ddof=1) / np.sqrt(values.shape[1]), error, atol=1e-12)


RAYLEIGH = ChannelSpec(fading="rayleigh")
NOISE = scenario("equalised").context[0]


def test_rayleigh_is_nakagami_with_one_and_needs_no_column():
    rayleigh = TableOracle(made_up(), Scenario("rayleigh", RAYLEIGH, (NOISE,)))
    check_oracle(rayleigh)
    check_window_records(rayleigh)
    nakagami = TableOracle(made_up(), "equalised")
    X = queries(rayleigh, 60)
    with_m = np.column_stack([X, np.ones(60)])
    np.testing.assert_array_equal(rayleigh.expected(X, exact=True), nakagami.expected(with_m, exact=True))
    np.testing.assert_allclose(rayleigh.expected(X), nakagami.expected(with_m), atol=4e-3)
    np.testing.assert_array_equal(rayleigh.by_window(X), nakagami.by_window(with_m))
    np.testing.assert_array_equal(
        rayleigh.sample_damage(X, np.arange(60)), nakagami.sample_damage(with_m, np.arange(60))
    )


def test_tables_that_answer_otherwise_have_other_names():
    laws = [Scenario(law, ChannelSpec(fading=law), (NOISE,)) for law in ("rayleigh", "none")]
    oracles = [
        *(TableOracle(made_up(), s) for s in ("equalised", *laws)),
        TableOracle(made_up(windows=16), "equalised"),
        TableOracle(made_up(draws=2), "equalised"),
    ]
    assert len({oracle.identity for oracle in oracles}) == len(oracles)
    narrow = scenario("equalised", context={"noise": [0.2, 1.0]})
    assert TableOracle(made_up(), narrow).identity == oracles[0].identity, "a range changes no measurement"


@pytest.mark.parametrize("family", ["equalised", "raw", "erasure-packet"])
def test_rice_fading_is_served_exactly(family):
    before = SCENARIOS[family]
    rice = dataclasses.replace(
        before, channel=dataclasses.replace(before.channel, fading="rice"), context=(before.context[0], K)
    )
    oracle = TableOracle(made_up(family), rice)
    check_oracle(oracle)
    check_window_records(oracle)
    X = queries(oracle, 30)
    np.testing.assert_allclose(oracle.expected(X)[0], oracle.expected(X, exact=True)[0], atol=5e-3)
    for x in X[:2]:
        replays = oracle.sample_damage(np.repeat(x[None], 3_000, 0), np.arange(3_000))
        mean, _ = oracle.expected(x[None], exact=True)
        assert abs(replays.mean() - mean[0]) < 3.5 * replays.std() / np.sqrt(3_000) + 1e-9
    # At k = 0.5 and 10 the line of sight matters.
    low, high = oracle.expected([[1, rice.context[0].high / 3, k] for k in (0.5, 10.0)], exact=True)[0]
    assert low != pytest.approx(high, rel=0.01)


@pytest.mark.parametrize(
    ("channel", "context"),
    [
        (RAYLEIGH, (NOISE, M)),
        (ChannelSpec(fading="none"), (NOISE, M)),
        (ChannelSpec(fading="rice"), (NOISE, M)),
        (ChannelSpec(fading="rice"), (NOISE,)),
        (ChannelSpec(), (NOISE,)),
        (ChannelSpec(), (NOISE, K)),
    ],
)
def test_a_context_that_does_not_say_how_the_gain_fades_is_refused(channel, context):
    with pytest.raises(InvalidInputError, match=f"fading '{channel.fading}' has the context"):
        TableOracle(made_up(), Scenario("unclear", channel, context))


def test_packets_lost_at_a_given_rate_are_read_from_the_outage_table():
    spec = ChannelSpec(kind="erasure", unit="packet")
    assert family_of(spec).name == "erasure-packet"
    given = TableOracle(made_up("erasure-packet"), Scenario("packets", spec, (LOSS,)))
    outage = TableOracle(made_up("erasure-packet"), SCENARIOS["erasure-packet"])
    loss = 1 - np.exp(-(10 ** (-10 / 10)))  # Rayleigh, 10 dB above the threshold
    np.testing.assert_allclose(given.expected([[3, loss]]), outage.expected([[3, 10.0, 1.0]], exact=True), atol=1e-9)


def test_a_family_is_told_by_what_its_channel_heeds():
    assert family_of(ChannelSpec(conceal="mean", mtu=32, scale="tensor")).name == "equalised"
    assert family_of(ChannelSpec(kind="erasure", mtu=32, csi="none")).name == "erasure-element"
    for other in (
        ChannelSpec(kind="erasure", conceal="mean"),
        ChannelSpec(kind="packet", mtu=32),
        ChannelSpec(kind="erasure", unit="packet", interleave=True),
        ChannelSpec(kind="snr", power="token", csi="none"),
    ):
        with pytest.raises(UnsupportedError, match="no table family serves"):
            family_of(other)


def test_a_given_gain_is_read_off_the_curves():
    gain = Column("gain", "1", 0.0, 3.3)
    raw = TableOracle(made_up("raw"), Scenario("raw", ChannelSpec(csi="none"), (NOISE, gain)))
    check_oracle(raw)
    check_window_records(raw)
    table, levels = made_up("raw"), FAMILIES["raw"].levels
    a, b = 3, 5  # a knot
    X = np.array([[2, levels["noise"][a], levels["gain"][b]]])
    knot = table.nll[1, a * len(levels["gain"]) + b, :, 0].mean() - table.clean_nll.mean()
    assert raw.expected(X)[0][0] == pytest.approx(knot, rel=1e-4)
    # A receiver that divides by the gain sees noise/gain, and pure noise at a gain of 0.
    known = TableOracle(made_up(), Scenario("known", ChannelSpec(), (NOISE, gain)))
    mean, _ = known.expected([[2, 0.4, 0.5], [2, 0.8, 1.0], [2, 0.8, 0.0]])
    assert mean[0] == pytest.approx(mean[1], rel=1e-3)
    assert mean[2] == pytest.approx(made_up().nll[1, -1, :, 0].mean() - table.clean_nll.mean(), rel=1e-3)
    far = Column("gain", "1", 0.0, 3.4)
    with pytest.raises(InvalidInputError, match="gains beyond"):
        TableOracle(made_up("raw"), Scenario("raw", ChannelSpec(csi="none"), (NOISE, far)))
