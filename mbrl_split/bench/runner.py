"""Run a suite: one process per run, one folder per run, resumable after any interruption."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import shutil
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from mbrl_split.bench.base import Method, Task
from mbrl_split.bench.methods import AgentMethod
from mbrl_split.bench.parts import make
from mbrl_split.bench.results import write_text
from mbrl_split.bench.suite import Cell, Suite
from mbrl_split.errors import InvalidInputError, MbrlSplitError
from mbrl_split.evaluation import JUDGE_SEED, Judge, Regret
from mbrl_split.evaluation.posed import file_of, only_class
from mbrl_split.oracles import Ledger, open_store
from mbrl_split.registry import BASELINES
from mbrl_split.threads import one_thread


@dataclass(frozen=True)
class Outcome:
    """How a run ended: ``status`` is ``"ok"``, ``"refused"`` (its input cannot be used) or ``"failed"`` (a defect)."""

    name: str
    status: str
    error: str | None


def select(suite: Suite, only: str | None = None, shard: tuple[int, int] | None = None) -> list[Cell]:
    """The suite's runs, narrowed to a PROBLEM/ALGORITHM/SEED pattern and to part i of n.

    Raises:
        InvalidInputError: The pattern matches no run, or the shard does not exist.
    """
    cells = list(suite.cells())
    if only is not None:
        # A label may hold a slash itself; then its part before that will do.
        cells = [c for c in cells if _matches(c, only)]
        if not cells:
            raise InvalidInputError(
                f"--only {only!r} matches no run of {suite.path} (the form is PROBLEM/ALGORITHM/SEED)"
            )
    if shard is not None:
        index, count = shard
        if not 0 <= index < count:
            raise InvalidInputError(f"shard {index}/{count}: the first number is 0 … {count - 1}")
        cells = cells[index::count]
    return cells


def _matches(cell: Cell, pattern: str) -> bool:
    """Whether a pattern names the cell: by the whole label of its problem, or by the part before the slash."""
    row = f"{cell.algorithm.algorithm}/{cell.seed}"
    names = (f"{cell.posed.label}/{row}", f"{cell.posed.short}/{row}")
    patterns = (pattern, f"{pattern.rstrip('/')}/*")
    return any(fnmatch.fnmatchcase(name, p) for name in names for p in patterns)


def run_suite(suite: Suite, out: Path, cells: list[Cell], *, jobs: int = 1, store: Path | None = None) -> list[Outcome]:
    """Run what is not finished yet; returns the runs that did not end well.

    Each run is one call on one thread, so results do not depend on ``jobs``. With −1
    they go to all workers of the joblib backend; on a cluster ``out`` and ``store`` lie where every worker sees them.
    """
    if jobs < 1 and jobs != -1:
        raise InvalidInputError(f"--jobs is at least 1, or -1 for all workers, not {jobs}")
    out = out.resolve()  # a worker may stand elsewhere
    prepare(out)
    store_path = store.resolve() if store is not None else out / "measurements.sqlite"
    open_store(store_path)  # made once, here, and complained about here
    folders = out / "runs"
    waiting = [c for c in cells if not _finished(c, folders / c.folder, suite.home)]
    # The longest first: they would otherwise leave the other processes idle at the end.
    waiting.sort(key=lambda c: -(0 if c.algorithm.is_reference else c.budget))
    failed: list[Outcome] = []
    with _progress(len(cells), len(cells) - len(waiting)) as advance:
        calls = (delayed(run_cell)(c, folders / c.folder, suite.home, store_path) for c in waiting)
        outcomes: Iterable[Outcome] = (
            Parallel(n_jobs=jobs, return_as="generator_unordered")(calls)
            if jobs != 1
            else (run_cell(c, folders / c.folder, suite.home, store_path) for c in waiting)
        )
        for outcome in outcomes:
            if outcome.error is not None:
                failed.append(outcome)
            advance(outcome.name, outcome.error)
    return failed


def prepare(out: Path) -> None:
    """Make the output folder, or say in one line why it cannot be used."""
    try:
        (out / "runs").mkdir(parents=True, exist_ok=True)
        probe = out / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InvalidInputError(f"cannot write to the folder {out}: {error.strerror}") from None


def run_cell(cell: Cell, folder: Path, home: Path, store_path: Path) -> Outcome:
    """One run, start to finish, and how it ended.

    A run that was cut off starts again from its seed: its measurements are in the store, so no truth is paid for
    twice. ``DONE`` is written last; it says by which text of the user's own files the run was made.
    """
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    write_text(folder / "spec.json", json.dumps(cell.spec(), indent=2) + "\n")
    made_by = _text_of_own(cell, home)
    result: dict[str, Any] = {**head_of(cell), "status": "ok", "error": None, "curve": []}
    try:
        with one_thread():
            result |= _measure_and_judge(cell, folder, home, store_path)
    except MbrlSplitError as error:
        result |= {"status": "refused", "error": str(error)}
    except Exception as error:
        result |= {"status": "failed", "error": f"{type(error).__name__}: {error}"}
        write_text(folder / "traceback.txt", traceback.format_exc())
    write_text(folder / "result.json", json.dumps(result, indent=1) + "\n")
    write_text(folder / ("DONE" if result["status"] == "ok" else "FAILED"), made_by)
    return Outcome(cell.name, result["status"], result["error"])


def head_of(cell: Cell) -> dict[str, Any]:
    """What a run's result says of its question."""
    return {
        "folder": cell.folder,
        "problem": cell.posed.label,
        "labels": cell.problem.labels(),
        "unit": cell.problem.unit,
        "spec": cell.spec(),
    }


def _finished(cell: Cell, folder: Path, home: Path) -> bool:
    """Whether there is nothing left to run: the run ended, by the user's files as they are now or on an unknown day."""
    try:
        made_by = (folder / "DONE").read_text(encoding="utf-8")
    except OSError:
        return False
    return made_by in ("", _text_of_own(cell, home))


def _text_of_own(cell: Cell, home: Path) -> str:
    """A digest of the files that a row's baseline and its problem stand in; empty where neither has one."""
    baseline = home / "baselines" / f"{cell.algorithm.baseline}.py"
    paths = [baseline if cell.algorithm.baseline and baseline.is_file() else None, file_of(cell.posed, home)]
    texts = [path.read_bytes() for path in paths if path is not None]
    return hashlib.sha256(b"".join(texts)).hexdigest() if texts else ""


def _measure_and_judge(cell: Cell, folder: Path, home: Path, store_path: Path) -> dict[str, Any]:
    problem = cell.problem
    judge = problem.judge(JUDGE_SEED)
    label = cell.algorithm.algorithm
    reference = reference_of(judge, problem.reference_names, problem.action_word)
    if cell.algorithm.is_reference:
        free = {"true_evaluations": 0.0, "oracle_seconds": 0.0, "train_seconds": 0.0, "env_steps": 0.0}
        return {"curve": [{**free, **judged(judge, judge.reference(label).value)}], "reference": reference}
    oracle = problem.oracle()
    kept = oracle is not None and oracle.identity and not oracle.is_replay
    ledger = Ledger(oracle, open_store(store_path) if kept else None, budget=cell.budget)
    task = Task(problem, ledger, cell.seed, cell.env_steps, folder)
    method = build_method(cell, home)
    return {"curve": list(_curve(method, task, judge, folder)), "reference": reference}


def judged(judge: Judge, value: float) -> dict[str, float]:
    """A value, and where the optimum is known what it loses."""
    if judge.headroom is None:
        return {"value": value}
    regret = Regret.of(value, judge.reference("optimal").value, judge.headroom)
    return {"value": value, "regret": regret.reported, "regret_absolute": regret.absolute}


def reference_of(judge: Judge, names: Sequence[str], action_word: str) -> dict[str, Any]:
    """What every figure of a problem is measured against."""
    wanted = [name for name in ("optimal", "best-fixed", "random") if name in names]
    if judge.headroom is None:
        wanted = [name for name in wanted if name == "random"]
    said: dict[str, Any] = {name.replace("-", "_"): judge.reference(name).value for name in wanted}
    if judge.headroom is not None:
        trusted = Regret.of(said["optimal"], said["optimal"], judge.headroom).trusted
        said |= {
            "headroom": judge.headroom.value,
            "headroom_std_error": judge.headroom.std_error,
            "regret_unit": "headroom" if trusted else "reward",
        }
    return {**said, "action_word": action_word, **judge.about()}


def _curve(method: Method, task: Task, judge: Judge, folder: Path) -> Iterator[dict[str, float]]:
    """Drive the method and judge every policy that it yields; training seconds exclude truth and judging."""
    seconds = 0.0
    policies = method.learn(task)
    with (folder / "curve.jsonl").open("w", encoding="utf-8") as log:
        while True:
            began, truth_before = time.perf_counter(), task.ledger.wall_seconds
            checkpoint = next(policies, None)
            seconds += time.perf_counter() - began - (task.ledger.wall_seconds - truth_before)
            if checkpoint is None:
                return
            evaluations, truth_seconds = checkpoint.price or (task.ledger.spent, task.ledger.seconds)
            point = {
                "true_evaluations": float(evaluations),
                "oracle_seconds": float(truth_seconds),
                "train_seconds": seconds,
                "env_steps": float(checkpoint.env_steps),
                **judged(judge, judge.judge(checkpoint.policy).value),
                **checkpoint.notes,
            }
            log.write(json.dumps(point) + "\n")
            log.flush()
            yield point


def build_method(cell: Cell, home: Path) -> Method:
    """The method of an algorithm row: an agent with a source, a file under ``baselines``, or a plug-in."""
    row = cell.algorithm
    if row.baseline is None:
        return AgentMethod.from_row(row)
    path = home / "baselines" / f"{row.baseline}.py"
    kind = only_class(path, Method) if path.is_file() else BASELINES[row.baseline]
    made: Method = make(f"baseline {row.baseline}", kind, row.settings.get("baseline", {}))
    return made


@contextmanager
def _progress(total: int, done: int) -> Iterator[Any]:
    """A bar on a terminal, plain lines elsewhere."""
    console = Console(stderr=True)
    if console.is_terminal:
        bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        )
        with bar:
            task = bar.add_task("runs", total=total, completed=done)

            def advance(name: str, error: str | None) -> None:
                bar.update(task, advance=1, description=name)
                if error:
                    bar.console.print(f"[red]failed[/red] {name}: {error}")

            yield advance
        return
    count = done
    began = time.monotonic()

    def line(name: str, error: str | None) -> None:
        nonlocal count
        count += 1
        verdict = f"failed: {error}" if error else "done"
        print(f"[{count}/{total}] {time.monotonic() - began:5.0f} s  {name}: {verdict}", file=sys.stderr, flush=True)

    yield line
