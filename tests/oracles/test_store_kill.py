"""Truth survives: processes that measure are killed with SIGKILL, and no finished measurement is lost or made twice."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from mbrl_split.columns import Column
from mbrl_split.layer_split import PerplexityOracle
from mbrl_split.layer_split.scenarios import scenario
from mbrl_split.oracles import FunctionOracle, Ledger, Measurement, Oracle, Store, open_store
from mbrl_split.oracles.store import SqliteStore

FORK = multiprocessing.get_context("fork")  # the child starts in milliseconds, with the model already loaded


class Witness(Oracle):
    """Writes down each measurement as it begins, in a log that outlives the process."""

    def __init__(self, oracle: Oracle, log: Path) -> None:
        self.oracle, self.log = oracle, log
        self.columns, self.identity = oracle.columns, oracle.identity
        self.evaluation_size, self.unit = oracle.evaluation_size, oracle.unit

    def price(self, X, *, seeds, size=None):
        return self.oracle.price(X, seeds=seeds, size=size)

    def key(self, row, *, seed, size):
        return self.oracle.key(row, seed=seed, size=size)

    def measure(self, X, *, seeds, size=None) -> Measurement:
        for seed in seeds:
            note(self.log, f"call {seed}")
        return self.oracle.measure(X, seeds=seeds, size=size)


def note(log: Path, line: str) -> None:
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{line}\n".encode())
    os.close(handle)


def lines(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


def work(oracle: Oracle, store: Store, log: Path, X: np.ndarray, order: list[int]) -> None:
    """Measure all rows through a ledger; the seed of a row is its number."""
    ledger = Ledger(Witness(oracle, log), store)
    # The ledger reports a row once it is durable.
    ledger.progress = lambda done, asked: note(log, f"done {order[done - 1]}")
    ledger.measure(X[order], seeds=np.array(order))


def kill_and_finish(oracle: Oracle, store: Store, log: Path, X: np.ndarray, *, kills: int, longest: float) -> None:
    rng = np.random.default_rng(0)
    order = list(range(len(X)))
    for _ in range(kills):
        child = FORK.Process(target=work, args=(oracle, store, log, X, order))
        before = lines(log)
        child.start()
        while lines(log) < before + 3 and child.is_alive():  # it is at work, however busy the machine
            time.sleep(0.001)
        time.sleep(rng.uniform(0, longest))
        child.kill()
        child.join()
        assert child.exitcode == -signal.SIGKILL, "the child was done before it was killed: give it more rows"
    child = FORK.Process(target=work, args=(oracle, store, log, X, order))
    child.start()
    child.join(60)
    assert child.exitcode == 0


def audit(store: Store, log: Path, n: int, *, kills: int) -> None:
    """Every row present once, none begun again after it was done, at most the row in flight repeated per kill."""
    done, calls = set(), []
    for line in log.read_text().splitlines():
        what, row = line.split()
        if what == "done":
            done.add(row)
        else:
            assert row not in done, f"row {row} was measured again after it was finished"
            calls.append(row)
    assert len(done) == len(set(calls)) == n
    assert len(store) == n
    assert len(calls) <= n + kills, "more than the rows in flight were measured twice"


def some_function(X: np.ndarray) -> np.ndarray:
    # Every other row takes a while; the rest leave the kills to the writing of records.
    time.sleep(0.008 * (int(X[0, 0]) % 2))
    return X[:, 0] ** 2


FUNCTION = FunctionOracle(some_function, (Column("x", "1", 0, 1e6),), identity="square")


@pytest.fixture(params=["truth.sqlite", "truth"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return open_store(tmp_path / request.param)


def test_killed_at_random_moments(store: Store, tmp_path: Path):
    X = np.arange(250.0)[:, None]
    kill_and_finish(FUNCTION, store, tmp_path / "log", X, kills=20, longest=0.06)
    audit(store, tmp_path / "log", len(X), kills=20)
    for i in range(len(X)):
        found = store.get(FUNCTION.key(X[i], seed=i, size=1))
        assert found is not None
        assert found.mean[0] == i**2


class Forgetful(SqliteStore):
    """Keeps records in memory and writes them ten at a time: what must not be done."""

    def __init__(self, path) -> None:
        super().__init__(path)
        self.held: dict[str, bytes] = {}

    def read(self, key: str) -> bytes | None:
        return self.held.get(key) or super().read(key)

    def write(self, key: str, payload: bytes) -> None:
        self.held[key] = payload
        if len(self.held) == 10:
            for item in self.held.items():
                super().write(*item)
            self.held = {}


def test_the_audit_notices_a_store_that_writes_late(tmp_path: Path):
    store, X = Forgetful(tmp_path / "late.sqlite"), np.arange(100.0)[:, None]
    kill_and_finish(FUNCTION, store, tmp_path / "log", X, kills=5, longest=0.06)
    with pytest.raises(AssertionError, match="measured again after it was finished"):
        audit(store, tmp_path / "log", len(X), kills=5)


def test_killed_while_measuring_a_language_model(store: Store, tmp_path: Path):
    small = scenario("equalised", windows=2, window=16, pool=16)
    oracle = PerplexityOracle.load("tiny-llama", small)
    rng = np.random.default_rng(1)
    X = np.column_stack([column.sample(25, rng) for column in oracle.columns])
    kill_and_finish(oracle, store, tmp_path / "log", X, kills=4, longest=0.15)
    audit(store, tmp_path / "log", len(X), kills=4)
    direct = oracle.measure(X, seeds=np.arange(len(X)))
    kept = Ledger(oracle, store).measure(X, seeds=np.arange(len(X)))
    assert kept.mean.tobytes() == direct.mean.tobytes(), "killed and resumed, in other processes: the same bits"
    assert kept.records.tobytes() == direct.records.tobytes()


def test_two_processes_share_a_store(store: Store, tmp_path: Path):
    X = np.arange(120.0)[:, None]
    orders = [list(range(120)), list(range(119, -1, -1))]
    children = [FORK.Process(target=work, args=(FUNCTION, store, tmp_path / "log", X, order)) for order in orders]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    calls = [line for line in (tmp_path / "log").read_text().splitlines() if line.startswith("call")]
    assert len(store) == 120
    # They meet in the middle: only there may both have been at the same row.
    assert 120 <= len(calls) <= 124
    ledger = Ledger(FUNCTION, store)
    assert (ledger.measure(X, seeds=np.arange(120)).mean == X[:, 0] ** 2).all()


def test_many_processes_create_one_store_at_once(tmp_path: Path):
    X = np.arange(8.0)[:, None]

    def start(path: Path) -> None:
        work(FUNCTION, open_store(path), tmp_path / "log", X, list(range(8)))

    for name in ("new.sqlite", "new"):
        children = [FORK.Process(target=start, args=(tmp_path / name,)) for _ in range(6)]
        for child in children:
            child.start()
        for child in children:
            child.join(60)
            assert child.exitcode == 0
        assert len(open_store(tmp_path / name)) == 8
