"""The store keeps every bit, admits no wrong number, and says in one line when it cannot work."""

import copy
import hashlib
import json
import multiprocessing
import os
import sqlite3
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from mbrl_split.errors import InvalidInputError
from mbrl_split.oracles import FileStore, Measurement, SqliteStore, Store, open_store
from mbrl_split.oracles.base import measurement_key
from mbrl_split.oracles.record import Damaged, about, decode, encode

KEY = "58d75c620508199e40dd4c3412b574a7df0e79c74185b1c1cd1f015f7d8b548e"
RECORD = np.dtype([("query", np.int64), ("place", np.int64), ("value", np.float64), ("weight", np.float64)])


def a_measurement(mean: float = 0.1) -> Measurement:
    records = np.zeros(2, RECORD)
    records["place"], records["value"], records["weight"] = [7, 9], [mean, np.inf], np.nan
    one = np.ones(1, np.int64)
    return Measurement(np.array([mean]), np.array([np.nan]), 256 * one, one, np.array([0.25]), records)


def same(a: Measurement, b: Measurement) -> bool:
    return encode(a) == encode(b)


@pytest.fixture(params=["sqlite", "files"])
def store(request: pytest.FixtureRequest, tmp_path) -> Store:
    return open_store(tmp_path / ("truth.sqlite" if request.param == "sqlite" else "truth"))


def damage(store: Store, key: str, change) -> None:
    """Alter a record's bytes behind the store's back."""
    payload = bytes(change(store.read(key)))
    if isinstance(store, SqliteStore):
        with sqlite3.connect(store.path) as link:
            link.execute("UPDATE measurement SET payload = ? WHERE key = ?", (payload, key))
    else:
        (store.path / key[:2] / f"{key}.bin").write_bytes(payload)


def test_a_record_returns_every_bit():
    m = a_measurement(np.nextafter(0.1, 1))
    back = decode(encode(m))
    assert back.mean.tobytes() == m.mean.tobytes()
    assert np.isnan(back.std_error[0])
    assert back.records.dtype == RECORD
    assert back.records.tobytes() == m.records.tobytes()
    assert (back.size.tolist(), back.n_capped.tolist(), back.seconds.tolist()) == ([256], [1], [0.25])
    back.mean[0] = 2.0  # the arrays belong to the reader
    assert about(encode(m, {"oracle": "x"})) == {"oracle": "x"}
    joined = Measurement.concatenate([m, a_measurement(2.0)])
    assert same(decode(encode(joined)), joined)
    assert joined.records["query"].tolist() == [0, 0, 1, 1]
    assert same(joined.take([False, True]), a_measurement(2.0))
    # What keeps no records may stand beside what does.
    plain = Measurement.concatenate([Measurement.empty(), m])
    assert plain.records.dtype == RECORD
    assert len(decode(encode(Measurement.empty())).records) == 0


@pytest.mark.parametrize("kind", [np.float32, np.int32, np.uint64, np.bool_, "U3"])
def test_records_that_would_not_return_as_they_were_are_refused(kind):
    records = np.zeros(1, [("query", np.int64), ("other", kind)])
    with pytest.raises(InvalidInputError, match="int64 or float64, and other is"):
        encode(replace(a_measurement(), records=records))


OLD = {
    "mean": np.array([0.5]),
    "std_error": np.array([0.125]),
    "n_tokens": np.array([96]),
    "n_draws": np.array([2]),
    "n_capped": np.array([1]),
    "seconds": np.array([0.75]),
    "windows.query": np.zeros(4, np.int64),
    "windows.window": np.array([3, 1, 3, 1]),
    "windows.draw": np.array([0, 0, 1, 1]),
    "windows.gain": np.array([0.9, 1.1, np.nan, 0.2]),
    "windows.nll": np.array([4.0, 5.0, 4.5, np.nextafter(5, 6)]),
    "windows.clean_nll": np.array([3.5, 4.0, 3.5, 4.0]),
    "windows.tokens": np.full(4, 48),
}
"""A record as the first version wrote it: windows of two draws."""


def written_by_hand(arrays: dict[str, np.ndarray], about: dict) -> bytes:
    """The first version's layout, from its description alone."""
    header = [[name, "<i8" if a.dtype == np.int64 else "<f8", len(a)] for name, a in arrays.items()]
    text = json.dumps({"about": about, "arrays": header}, separators=(",", ":")).encode()
    rest = struct.pack("<I", len(text)) + text + b"".join(a.tobytes() for a in arrays.values())
    return b"mbrl-m1\n" + hashlib.sha256(rest).digest() + rest


def test_a_record_of_the_first_version_is_read(store: Store):
    payload = written_by_hand(OLD, {"seed": 3})
    # The very bytes that version made of these numbers.
    assert hashlib.sha256(payload).hexdigest() == "28d2b82acb5f33256fb5346f64a8c14fd774b6c6b5b6995a9a8577c510574033"
    store.write(KEY, payload)
    found = store.get(KEY)
    assert found.size.tolist() == [192], "tokens times draws"
    assert found.size.dtype == np.int64
    for name in ("mean", "std_error", "n_capped", "seconds"):
        np.testing.assert_array_equal(getattr(found, name), OLD[name])
    kept = {name.removeprefix("windows."): array for name, array in OLD.items() if name.startswith("windows.")}
    assert found.records.dtype == np.dtype([(name, array.dtype) for name, array in kept.items()])
    for name, array in kept.items():
        assert found.records[name].tobytes() == array.tobytes()
    assert about(payload) == {"seed": 3}
    assert same(decode(encode(found)), found), "and written again in today's words"
    assert b"n_tokens" not in encode(found)
    # A function had one number and no windows.
    plain = {name: array if "." not in name else array[:0] for name, array in OLD.items()}
    found = decode(written_by_hand(plain, {}))
    assert (found.size.tolist(), len(found.records)) == ([192], 0)


def test_every_altered_byte_of_a_record_is_noticed():
    payload = encode(a_measurement())
    for i in range(len(payload)):
        altered = payload[:i] + bytes([payload[i] ^ 1]) + payload[i + 1 :]
        with pytest.raises(Damaged):
            decode(altered)
    for cut in (0, 7, 40, 44, len(payload) - 1):
        with pytest.raises(Damaged):
            decode(payload[:cut])


def test_a_record_is_plain_data():
    payload = encode(a_measurement(), {"seed": 3})
    assert b"numpy" not in payload
    start = 8 + 32 + 4
    header = json.loads(payload[start : payload.index(b"]]}") + 3])
    assert {kind for _, kind, _ in header["arrays"]} == {"<i8", "<f8"}


def test_keys_tell_every_question_apart():
    base = {"identity": "a", "row": [1.0, 2.0], "seed": 1, "sizes": (8, 1)}
    others = [
        {"identity": "b"},
        {"row": [1.0, np.nextafter(2.0, 3)]},
        {"row": [2.0, 1.0]},
        {"seed": 2},
        {"sizes": (16, 1)},
        {"sizes": (8, 2)},
        {"sizes": (8,)},
        {"version": 2},
    ]
    keys = {measurement_key(**(base | change)) for change in ({}, *others)}
    assert len(keys) == 1 + len(others)
    # Known for good: a change of the recipe would orphan every stored measurement.
    assert measurement_key("an oracle", np.array([1, 2], np.float32), seed=np.int64(3), sizes=(4, 5)) == KEY


def test_put_get_len_iteration(store: Store):
    assert store.get(KEY) is None
    assert len(store) == 0
    first = a_measurement(1.0)
    assert same(store.put(KEY, first), first)
    assert same(store.put(KEY, a_measurement(2.0)), first), "the first record of a key wins"
    store.put("ff" * 32, a_measurement(3.0))
    assert len(store) == 2
    assert list(store) == sorted([KEY, "ff" * 32])
    store.close()
    again = open_store(store.path)
    assert type(again) is type(store)
    assert same(again.get(KEY), first)


@pytest.mark.parametrize("change", [lambda b: b[:-3], lambda b: b"", lambda b: b[:60] + b"x" + b[61:]])
def test_a_damaged_record_counts_as_absent_and_can_be_made_again(store: Store, change):
    store.put(KEY, a_measurement(1.0))
    damage(store, KEY, change)
    with pytest.warns(UserWarning, match="damaged") as told:
        assert store.get(KEY) is None
    assert "\n" not in str(told[0].message)
    assert same(store.put(KEY, a_measurement(1.0)), a_measurement(1.0))
    assert same(store.get(KEY), a_measurement(1.0))


def test_discard_spares_a_record_that_was_made_again(store: Store):
    store.put(KEY, a_measurement())
    store.discard(KEY, b"what another process found damaged")
    assert store.get(KEY) is not None


def test_export_merges(tmp_path, store: Store):
    store.put(KEY, a_measurement(1.0))
    for place in (tmp_path / "copy.sqlite", tmp_path / "copy"):
        other = open_store(place)
        other.put("ff" * 32, a_measurement(2.0))
        assert store.export(place) == 2
        assert same(open_store(place).get(KEY), a_measurement(1.0))


def test_open_store_by_path(tmp_path):
    assert isinstance(open_store(tmp_path), FileStore)
    assert isinstance(open_store(tmp_path / "new" / "folder"), FileStore)
    assert isinstance(open_store(tmp_path / "deep" / "truth.sqlite"), SqliteStore)
    assert isinstance(open_store(":memory:"), SqliteStore)
    store = open_store(tmp_path)
    assert open_store(store) is store


def test_what_cannot_be_a_store_is_refused_in_one_line(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("not a database, only a text that is long enough to be looked at as one" * 20)
    under_a_file = text / "truth.sqlite"
    for place in (text, under_a_file):
        with pytest.raises(InvalidInputError) as told:
            open_store(place)
        assert "\n" not in str(told.value)
    assert text.read_text().startswith("not a database")
    for place in (text / "folder", "/proc/mbrl", "/proc/mbrl/truth.sqlite"):
        with pytest.raises(InvalidInputError, match="cannot"):
            open_store(place)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    for place in (tmp_path, tmp_path / "truth.sqlite"):
        with pytest.raises(InvalidInputError, match="cannot be written"):
            open_store(place)


def test_no_temporary_file_is_taken_for_a_record(tmp_path):
    store = FileStore(tmp_path)
    store.put(KEY, a_measurement())
    (tmp_path / KEY[:2] / ".killed.tmp").write_bytes(b"half a rec")
    assert list(store) == [KEY]
    assert [f.name for f in (tmp_path / KEY[:2]).iterdir() if not f.name.startswith(".")] == [f"{KEY}.bin"]


def _put_from_child(store: Store, key: str) -> None:
    store.put(key, a_measurement(5.0))


def test_a_store_crosses_to_another_process(store: Store):
    store.put(KEY, a_measurement(1.0))  # the connection is open when the process forks
    child = multiprocessing.get_context("fork").Process(target=_put_from_child, args=(store, "aa" * 32))
    child.start()
    child.join(20)
    assert child.exitcode == 0
    _put_from_child(copy.copy(store), "bb" * 32)  # a spawned process gets what copying gives: the path
    assert list(store) == sorted([KEY, "aa" * 32, "bb" * 32])


def test_a_store_crosses_to_another_thread(store: Store):
    store.put(KEY, a_measurement(1.0))  # the connection belongs to this thread
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda key: _put_from_child(store, key), ["aa" * 32, "bb" * 32]))
    assert list(store) == sorted([KEY, "aa" * 32, "bb" * 32])
