"""The live oracle against a slow reference, and the promises that make its numbers worth storing."""

import hashlib
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from mbrl_split.channels import Channel, Nakagami, Radio
from mbrl_split.columns import Column
from mbrl_split.data import documents
from mbrl_split.errors import InvalidInputError
from mbrl_split.layer_split import PerplexityOracle
from mbrl_split.layer_split.oracle import perplexity as module
from mbrl_split.layer_split.records import check_window_records
from mbrl_split.layer_split.scenarios import ChannelSpec, Scenario, scenario
from mbrl_split.llm import SplitModel
from mbrl_split.oracles import Ledger, check_oracle, open_store

M = Column("m", "1", 0.5, 8.0, "log")
NOISE = Column("noise", "RMS", 0.0, 100.0)
SMALL = scenario("equalised", context=(NOISE, M), windows=4, window=24, pool=24)


TEXT = [document[:6000] for document in documents("sotu", "replay")[:2]]  # short: tokenising takes a while


def small(model: SplitModel, cache_bytes: int = 10**9, draws: int = 1, **changes) -> PerplexityOracle:
    return PerplexityOracle(model, replace(SMALL, **changes), TEXT, draws=draws, cache_bytes=cache_bytes)


@pytest.fixture(scope="module")
def oracle(tiny_llama: SplitModel) -> PerplexityOracle:
    return small(tiny_llama)


def with_channel(model: SplitModel, spec: ChannelSpec, *context: Column) -> PerplexityOracle:
    return small(model, channel=spec, context=context)


def same_bits(a, b) -> bool:
    return a.mean.tobytes() == b.mean.tobytes() and a.records.tobytes() == b.records.tobytes()


# What the number is.


@torch.no_grad()
def slow_nll(model: SplitModel, ids: torch.Tensor, split: int, change) -> float:
    """NLL of one window with ``change`` applied to what layer ``split`` receives; no replay, plain softmax."""

    def hook(_module, args, kwargs):
        return (change(args[0]), *args[1:]), kwargs

    layer = model.stack.layers[split]
    handle = layer.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        logits = model.model(input_ids=ids[None, :-1]).logits[0].double()
    finally:
        handle.remove()
    total = sum(-torch.log_softmax(row, 0)[token].item() for row, token in zip(logits, ids[1:], strict=True))
    return total / (len(ids) - 1)


@pytest.mark.parametrize(("split", "noise", "m"), [(1, 0.3, 1.0), (5, 1.5, 0.5), (11, 0.7, 8.0)])
def test_damage_is_what_a_slow_reference_finds(oracle: PerplexityOracle, split, noise, m):
    found = oracle.measure([[split, noise, m]], seeds=[3])
    damages = []
    for record in found.records:
        ids = oracle.windows[record["window"]]
        seed = module._channel_seeds(3, np.array([record["window"]]), 0)
        shape = (1, SMALL.window, oracle.model.hidden_size)
        drawn = Radio(1.0, fading=Nakagami(m)).sample(shape, seed)
        h = drawn.gains.item()
        n = Radio(1.0).apply(torch.zeros(shape), replace(drawn, gains=None))  # the standard normal noise
        sigma = noise * oracle.model.reference_rms
        through = slow_nll(oracle.model, ids, split, lambda x, h=h, n=n, s=sigma: (h * x + s * n) / h)
        clean = slow_nll(oracle.model, ids, split, lambda x: x)
        cap = math.log(oracle.model.vocab_size)
        assert record["gain"] == h
        assert record["clean_nll"] == pytest.approx(clean, abs=1e-4)
        assert record["nll"] == pytest.approx(min(through, cap), abs=1e-3)
        damages.append(min(through, cap) - clean)
    assert found.mean[0] == pytest.approx(np.mean(damages), abs=1e-3)
    assert found.std_error[0] == pytest.approx(np.std(damages, ddof=1) / 2, abs=1e-3)


def test_no_noise_does_no_damage_and_noise_does(oracle: PerplexityOracle):
    quiet = oracle.measure([[6, 0.0, 1.0]], seeds=[0])
    loud = oracle.measure([[6, 2.0, 1.0]], seeds=[0])
    assert abs(quiet.mean[0]) < 1e-5
    assert loud.mean[0] > 0.1


def test_what_is_not_finite_is_capped_and_counted(oracle: PerplexityOracle):
    extreme = small(oracle.model, context=(Column("noise", "RMS", 0.0, 1e39), M))
    found = extreme.measure([[6, 1e39, 1.0], [6, 0.1, 8.0]], seeds=[0, 0])  # 1e39 overflows float32
    cap = math.log(oracle.model.vocab_size)
    assert found.n_capped.tolist() == [4, 0]
    lost = found.records[found.records["query"] == 0]
    assert (lost["nll"] == cap).all()
    assert found.mean[0] == pytest.approx(cap - lost["clean_nll"].mean())


# What its bits depend on.


def test_common_random_numbers(oracle: PerplexityOracle, monkeypatch: pytest.MonkeyPatch):
    drawn = []

    class Listening(Channel):
        def __init__(self, channel: Channel) -> None:
            self.channel = channel

        def sample(self, shape, seeds):
            drawn.append((tuple(shape), tuple(int(s) for s in seeds)))
            return self.channel.sample(shape, seeds)

        def apply(self, hidden, realisation):
            return self.channel.apply(hidden, realisation)

    build = module.channel_of
    monkeypatch.setattr(module, "channel_of", lambda *args: Listening(build(*args)))
    found = oracle.measure([[1, 0.1, 1.0], [9, 2.0, 4.0], [1, 0.1, 1.0]], seeds=[5, 5, 6])
    assert drawn[0] == drawn[1], "neither split nor context changes the channel's seeds"
    assert not set(drawn[0][1]) & set(drawn[2][1])
    by_row = found.records.reshape(3, 4)
    assert by_row["window"][0].tolist() == by_row["window"][1].tolist() != by_row["window"][2].tolist()
    assert by_row["clean_nll"][0].tolist() == by_row["clean_nll"][1].tolist()


def test_bits_depend_on_row_seed_and_size_alone(oracle: PerplexityOracle, tiny_llama: SplitModel):
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.integers(1, 12, 5), rng.uniform(0.1, 2, 5), rng.uniform(0.5, 8, 5)])
    seeds = np.array([0, 1, 0, 2, 3])
    together = oracle.measure(X, seeds=seeds)
    forgetting = small(tiny_llama, cache_bytes=1)
    torch.set_num_threads(2)
    try:
        for i in rng.permutation(5):
            alone = forgetting.measure(X[i : i + 1], seeds=seeds[i : i + 1])
            assert same_bits(alone, together.take(np.arange(5) == i))
        assert torch.get_num_threads() == 2, "the caller's threads are given back"
    finally:
        torch.set_num_threads(1)
    assert len(forgetting._clean._kept) == 1, "and memory stays within its bound"
    assert same_bits(oracle.measure(X, seeds=seeds), together)


def test_a_larger_size_begins_like_a_smaller_one(oracle: PerplexityOracle):
    row = [[3, 0.8, 1.0]]
    one = oracle.measure(row, seeds=[1])
    longer = oracle.measure(row, seeds=[1], size=10 * 24)
    large = small(oracle.model, draws=2).measure(row, seeds=[1], size=2 * 10 * 24)
    assert (longer.size[0], large.size[0]) == (240, 480)
    assert large.records[:10].tobytes() == longer.records.tobytes(), "the second draw comes after the whole first one"
    assert large.records[:4].tobytes() == one.records.tobytes()
    first, second = large.records.reshape(2, 10)
    assert len(set(first["window"].tolist())) == 10, "windows are read without replacement"
    assert first["window"].tolist() == second["window"].tolist()
    assert (first["gain"] != second["gain"]).all()
    by_window = (large.records["nll"] - large.records["clean_nll"]).reshape(2, 10).mean(0)
    assert large.mean[0] == pytest.approx(by_window.mean())
    assert large.std_error[0] == pytest.approx(by_window.std(ddof=1) / math.sqrt(10))
    assert np.isnan(oracle.measure(row, seeds=[1], size=24).std_error[0])


def test_identity_fixes_what_is_measured(oracle: PerplexityOracle, tiny_llama: SplitModel):
    def identity(**changes) -> str:
        return small(tiny_llama, **changes).identity

    same = identity(context=(Column("noise", "RMS", 0.5, 1.0), M), drift=0.5, episode_steps=1, name="other")
    assert same == oracle.identity, "ranges, drift and names change no measurement"
    different = {
        oracle.identity,
        identity(channel=ChannelSpec(csi="none")),
        identity(channel=ChannelSpec(block=False)),
        identity(window=25),
        identity(windows=5),
        identity(pool=25),
        PerplexityOracle(tiny_llama, SMALL, TEXT[:1]).identity,
    }
    assert len(different) == 7


@pytest.mark.parametrize("draws", [1, 2])
def test_the_conformance_suites_pass(oracle: PerplexityOracle, draws):
    noisy = replace(SMALL, context=(Column("noise", "RMS", 0.1, 3, "log"), M))
    tested = PerplexityOracle.load(oracle.model, noisy, draws=draws)
    check_oracle(tested)
    check_window_records(tested)


def test_keys_are_those_of_the_first_protocol(tiny_llama: SplitModel):
    """json [identity, 1, bits of the row, seed, tokens, draws]: what was stored under it is still found."""
    once, twice = small(tiny_llama), small(tiny_llama, draws=2)
    bits = "0000000000000840000000000000e03f0000000000000040"  # 3.0, 0.5 and 2.0, little-endian
    for oracle, size, draws in ((once, 96, 1), (once, 240, 1), (twice, 192, 2)):
        question = json.dumps([oracle.identity, 1, bits, 7, size // draws, draws])
        assert oracle.key([3, 0.5, 2.0], seed=7, size=size) == hashlib.sha256(question.encode()).hexdigest()
    store = open_store(":memory:")
    Ledger(twice, store).measure([[3, 0.5, 2.0]], seeds=[7], size=192)
    assert list(store) == [twice.key([3, 0.5, 2.0], seed=7, size=192)]
    # As that version itself made them; the identity is written out, for the model's last bits are the machine's.
    once.identity = twice.identity = (
        "perplexity model=00c43a2cd69055c8 dtype=torch.float32 device=cpu rms=24.7092 text=8469b5e11e5b4a59 pool=24 "
        "window=24 windows=4 kind=radio columns=split,noise,m"
    )
    known = {
        once: "5eff888648145564894905e3234b4e31a41d4f03c7f567751a73183e39d3357d",
        twice: "7f69467269bb8c0d167f624ab7f7b0e6d94cc0753b668783489b11c0c8ce5ed3",
    }
    for oracle, key in known.items():
        assert oracle.key([3, 0.5, 2.0], seed=7, size=96 * oracle.draws) == key


# Text and accounts.


def test_the_pool_is_spread_evenly_and_parts_are_disjoint(tiny_llama: SplitModel):
    pool = PerplexityOracle.load(tiny_llama, SMALL).windows
    every = PerplexityOracle.load(tiny_llama, SMALL, pool=0).windows
    places = [int((every == ids).all(1).nonzero()[0]) for ids in pool]
    assert len(places) == 24
    gaps = np.diff(places)
    assert gaps.max() - gaps.min() <= 1
    assert places[0] == 0
    assert len(every) - places[-1] <= gaps.max()
    judge = PerplexityOracle.load(tiny_llama, SMALL, part="judge").windows
    assert len(judge) > 1000, "judging reads every window"
    seen = {tuple(ids.tolist()) for ids in every}
    assert not any(tuple(ids.tolist()) in seen for ids in judge)


def test_a_ledger_charges_clean_references(oracle: PerplexityOracle):
    ledger = Ledger(oracle)
    ledger.measure([[3, 0.5, 1.0]], seeds=[0])
    assert ledger.spent == 2, "one evaluation and the clean passes of its windows"
    ledger.measure([[4, 0.5, 1.0]], seeds=[0])
    assert ledger.spent == 3
    for seed in range(200):
        ledger.charge_of([[4, 0.5, 1.0]], seeds=[seed])
    ledger.measure([[11, 0.5, 1.0]], seeds=[1], size=24 * 24)
    assert ledger.spent == 3 + 6 + 20 / 4, "the whole pool has been read"
    ledger.measure([[11, 0.5, 1.0]], seeds=[2])
    assert ledger.spent == 15


# Other channels.


def test_a_known_gain_is_a_noise_ratio(tiny_llama: SplitModel):
    gain = Column("gain", "1", 0.0, 3.0)
    fixed = with_channel(tiny_llama, ChannelSpec(fading="none"), NOISE, gain)
    plain = with_channel(tiny_llama, ChannelSpec(fading="none"), NOISE)
    a = fixed.measure([[4, 0.4, 0.5]], seeds=[2])
    b = plain.measure([[4, 0.8]], seeds=[2])
    assert a.mean[0] == pytest.approx(b.mean[0], abs=1e-4)
    assert a.records["gain"].tolist() == [0.5] * 4
    assert np.isnan(b.records["gain"]).all()
    raw = with_channel(tiny_llama, ChannelSpec(csi="none", fading="none"), NOISE, gain)
    assert abs(raw.measure([[4, 0.0, 1.0]], seeds=[2]).mean[0]) < 1e-5
    assert raw.measure([[4, 0.0, 0.2]], seeds=[2]).mean[0] > 0.05, "a raw gain does harm of its own"


def test_the_mixture_over_a_given_gain_is_the_fading_channel(oracle: PerplexityOracle, tiny_llama: SplitModel):
    faded = oracle.measure([[4, 0.5, 1.0]], seeds=[2]).records
    fixed = with_channel(tiny_llama, ChannelSpec(fading="none"), NOISE, Column("gain", "1", 0.0, 10.0))
    for record in faded:
        given = fixed.measure([[4, 0.5, record["gain"]]], seeds=[2]).records
        assert given["nll"][given["window"] == record["window"]].tolist() == [record["nll"]]


@pytest.mark.parametrize(
    ("spec", "context", "low", "high"),
    [
        (ChannelSpec("snr", power="token"), (Column("snr_db", "dB", -10, 40), M), [40.0, 8.0], [-10.0, 8.0]),
        (ChannelSpec("snr", power="tensor", block=False), (Column("snr_db", "dB", -10, 40), M), [40, 8], [-10, 8]),
        (ChannelSpec("erasure"), (Column("loss", "1", 0, 1),), [0.0], [0.9]),
        (ChannelSpec("packet"), (Column("snr_db", "dB", -10, 40), M), [40.0, 8.0], [-10.0, 8.0]),
    ],
)
def test_other_channels_hurt_more_when_they_are_worse(tiny_llama: SplitModel, spec, context, low, high):
    found = with_channel(tiny_llama, spec, *context).measure([[6, *low], [6, *high]], seeds=[1, 1])
    assert abs(found.mean[0]) < 0.05
    assert found.mean[1] > found.mean[0] + 0.1


# Bad input.


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ([0, 1.0, 1.0], r"split = 0 is not an integer in \[1, 11\]"),
        ([12, 1.0, 1.0], "split = 12"),
        ([1.5, 1.0, 1.0], "split = 1.5"),
        ([1, -1.0, 1.0], "noise = -1"),
        ([1, np.nan, 1.0], "noise = nan"),
        ([1, 1.0, 0.4], "m = 0.4"),
    ],
)
def test_bad_rows(oracle: PerplexityOracle, row, complaint):
    with pytest.raises(InvalidInputError, match=complaint) as told:
        oracle.measure([row], seeds=[0])
    assert "\n" not in str(told.value)


def test_bad_sizes(oracle: PerplexityOracle):
    for size in (25, 25 * 24, 0, -24):
        with pytest.raises(InvalidInputError, match="size is"):
            oracle.price([[1, 1.0, 1.0]], seeds=[0], size=size)
    twice = small(oracle.model, draws=2)
    for size in (24, 3 * 24, 2 * 25 * 24):
        with pytest.raises(InvalidInputError, match="a multiple of the window's tokens times the draws, 48"):
            twice.price([[1, 1.0, 1.0]], seeds=[0], size=size)
    assert twice.price([[1, 1.0, 1.0]], seeds=[0], size=2 * 24 * 24).size == 1152


def test_what_cannot_be_measured_at_all(tiny_llama: SplitModel):
    def load(change: Scenario | None = None, **options) -> None:
        PerplexityOracle.load(tiny_llama, change or SMALL, **options)

    for refused, complaint in (
        (lambda: load(part="jugde"), "judge"),
        (lambda: PerplexityOracle(tiny_llama, SMALL, ["too short"]), "shorter than a window"),
        (lambda: PerplexityOracle(tiny_llama, SMALL, ["word " * 30]), "one evaluation reads 4"),
        (lambda: load(replace(SMALL, text="/nowhere")), "nowhere"),
        (lambda: load(replace(SMALL, window=4096)), "does not fit"),
        (lambda: load(pool=2), "2 windows"),
        (lambda: load(pool=-1), "a pool is"),
        (lambda: load(draws=0), "draws is an integer of at least 1"),
        (lambda: load(draws=1.5), "draws is an integer of at least 1"),
        (lambda: load(replace(SMALL, context=(NOISE,))), "not noise"),
        (lambda: load(replace(SMALL, context=(Column("noise", "RMS", -1, 1), M))), "noise_std"),
        (lambda: load(replace(SMALL, context=(NOISE, M, Column("load", "1", 0, 1)))), "not noise, m, load"),
        (lambda: load(replace(SMALL, channel=ChannelSpec(fading="none"))), "not noise, m"),
        (lambda: load(replace(SMALL, channel=ChannelSpec("snr"), context=(Column("snr_db", "dB", 0, 9), M))), "power"),
        (lambda: PerplexityOracle.load("tiny-lama", SMALL), "tiny-l"),
        (lambda: PerplexityOracle.load(tiny_llama, "equalized"), "did you mean 'equalised'"),
        (lambda: ChannelSpec(kind="fibre"), "unknown channel kind"),
    ):
        with pytest.raises(InvalidInputError, match=complaint) as told:
            refused()
        assert "\n" not in str(told.value)
