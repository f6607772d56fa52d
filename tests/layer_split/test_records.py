"""Records of text windows, and the suite that judges them, against oracles with one promise broken."""

from dataclasses import replace

import numpy as np
import pytest

from mbrl_split.columns import Column
from mbrl_split.errors import InvalidInputError
from mbrl_split.layer_split import WINDOW_DTYPE
from mbrl_split.layer_split.records import check_window_records
from mbrl_split.oracles import Measurement, Oracle, Price, check_oracle

COLUMNS = (Column("split", "layers", 1, 11, "ordinal"), Column("noise", "RMS", 0.1, 3.0, "log"))
POOL, WINDOWS, WINDOW = 12, 3, 7


class Reader(Oracle):
    """Reads windows of a made-up text; what it found is handed to ``spoil`` with the seeds."""

    columns, identity, evaluation_size, unit = COLUMNS, "reader", WINDOWS * WINDOW, "tokens"

    def __init__(self, spoil=lambda found, seeds: found, announce=lambda windows: windows, largest=POOL) -> None:
        self.spoil, self.announce, self.largest = spoil, announce, largest

    def price(self, X, *, seeds, size=None) -> Price:
        plain = super().price(X, seeds=seeds, size=size)
        count, rest = divmod(plain.size, WINDOW)
        if rest or count > self.largest:
            raise InvalidInputError(f"size is a multiple of {WINDOW} up to {WINDOW * self.largest}, not {plain.size}")
        return Price(plain.size, tuple(self.announce(w) for w in self._windows(seeds, count)), WINDOW)

    def measure(self, X, *, seeds, size=None) -> Measurement:
        price = self.price(X, seeds=seeds, size=size)
        x, n = np.asarray(X), len(X)
        records = np.zeros((n, price.size // WINDOW), WINDOW_DTYPE)
        records["query"] = np.arange(n)[:, None]
        records["tokens"] = WINDOW
        for i, windows in enumerate(self._windows(seeds, price.size // WINDOW)):
            records["window"][i] = windows
        records["clean_nll"] = 3 + records["window"] / 100
        records["nll"] = records["clean_nll"] + (x[:, 1] / x[:, 0])[:, None] * (1 + records["window"])
        damage = records["nll"] - records["clean_nll"]
        found = Measurement(
            mean=damage.mean(axis=1),
            std_error=damage.std(axis=1, ddof=1),
            size=np.full(n, price.size),
            n_capped=np.zeros(n, np.int64),
            seconds=np.zeros(n),
            records=records.reshape(-1),
        )
        return self.spoil(found, np.asarray(seeds))

    def _windows(self, seeds, count):
        return [np.random.default_rng(int(s)).permutation(POOL)[:count] for s in seeds]


def changed(found: Measurement, **fields) -> Measurement:
    records = found.records.copy()
    for name, value in fields.items():
        records[name] = value(records[name])
    return replace(found, records=records)


def test_a_sound_reader_passes_both_suites():
    for reader in (Reader(), Reader(largest=WINDOWS), Reader(announce=lambda windows: windows[::-1])):
        check_oracle(reader)
        check_window_records(reader)


def own_text(found: Measurement, seeds) -> Measurement:
    """Rows of equal seeds read clean windows of their own."""
    shared = len(seeds) == 3 and len(set(seeds.tolist())) == 1
    return changed(
        found, clean_nll=lambda c: c + shared * np.arange(len(c)), nll=lambda d: d + shared * np.arange(len(d))
    )


def last_row_short(found: Measurement, seeds) -> Measurement:
    return replace(found, records=found.records[found.records["query"] < len(found) - 1])


def larger(spoil):
    """Spoil only what is larger than one evaluation."""
    return lambda found, seeds: spoil(found, seeds) if (found.size > WINDOWS * WINDOW).any() else found


def sum_of_tokens(found: Measurement, seeds) -> Measurement:
    return changed(found, tokens=lambda t: t + 1)


def other_damage(found: Measurement, seeds) -> Measurement:
    return changed(found, nll=lambda d: d + 1e-6)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (other_damage, "row 0: mean is .*, but its windows' token-weighted NLL minus clean NLL is"),
        (larger(other_damage), "token-weighted"),
        # Weights count: more tokens of one window, and the plain mean is another.
        (lambda m, s: changed(m, tokens=lambda t: t + np.arange(len(t))), "token-weighted"),
        (sum_of_tokens, "row 0: its windows score 24 tokens, but its size is 21"),
        (larger(sum_of_tokens), "score 48 tokens, but its size is 42"),
        (lambda m, s: changed(m, window=lambda w: (w + 1) % POOL), "row 0: price announced the text windows"),
        (larger(lambda m, s: changed(m, window=lambda w: (w + 1) % POOL)), "row 0: price announced the text windows"),
        (own_text, "common random numbers"),
        (last_row_short, "row 2 has no record"),
        (lambda m, s: replace(m, records=np.zeros(len(m), [("query", int)])), "records have the fields"),
    ],
)
def test_the_suite_finds(spoil, complaint):
    with pytest.raises(AssertionError, match=complaint) as told:
        check_window_records(Reader(spoil))
    assert "\n" not in str(told.value)


def test_the_suite_finds_what_is_announced_and_not_read():
    with pytest.raises(AssertionError, match="price announced the text windows"):
        check_window_records(Reader(announce=lambda windows: windows[1:]))

    class Free(Reader):
        """Needs no clean reference, and so announces none."""

        def price(self, X, *, seeds, size=None) -> Price:
            none = (np.empty(0, np.int64),) * len(X)
            return replace(super().price(X, seeds=seeds, size=size), references=none, reference_size=0)

    check_window_records(Free())


def test_the_suite_finds_text_that_does_not_follow_from_the_seed():
    class Same(Reader):
        def _windows(self, seeds, count):
            return super()._windows(np.zeros(len(seeds), int), count)

    with pytest.raises(AssertionError, match="with three different seeds: text and noise must follow from the seed"):
        check_window_records(Same())
