"""Run a suite: one process per run, one folder per run, resumable after any interruption."""

from __future__ import annotations

import fnmatch
import hashlib
import importlib.util
import inspect
import json
import shutil
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from mbrl_split.bench.base import Method, Task
from mbrl_split.bench.judging import Judged, judge_for
from mbrl_split.bench.methods import AgentMethod
from mbrl_split.bench.parts import make
from mbrl_split.bench.results import write_text
from mbrl_split.bench.suite import EXACT, Cell, Suite
from mbrl_split.errors import BadInput, MbrlSplitError
from mbrl_split.oracles import Ledger, Oracle, open_store
from mbrl_split.registry import BASELINES, ORACLES
from mbrl_split.scenarios import scenario
from mbrl_split.threads import one_thread


@dataclass(frozen=True)
class Outcome:
    """How a run ended: ``status`` is ``"ok"``, ``"refused"`` (its input cannot be used) or ``"failed"`` (a defect)."""

    name: str
    status: str
    error: str | None


def select(suite: Suite, only: str | None = None, shard: tuple[int, int] | None = None) -> list[Cell]:
    """The suite's runs, narrowed to a SCENARIO/ALGORITHM/SEED pattern and to part i of n.

    Raises:
        BadInput: The pattern matches no run, or the shard does not exist.
    """
    cells = list(suite.cells())
    if only is not None:
        pattern = only if only.count("/") == 2 else f"{only.rstrip('/')}/*"
        cells = [c for c in cells if fnmatch.fnmatchcase(c.name, pattern)]
        if not cells:
            raise BadInput(f"--only {only!r} matches no run of {suite.path} (the form is SCENARIO/ALGORITHM/SEED)")
    if shard is not None:
        index, count = shard
        if not 0 <= index < count:
            raise BadInput(f"shard {index}/{count}: the first number is 0 … {count - 1}")
        cells = cells[index::count]
    return cells


def run_suite(suite: Suite, out: Path, cells: list[Cell], *, jobs: int = 1, store: Path | None = None) -> list[Outcome]:
    """Run what is not finished yet; returns the runs that did not end well.

    Each run is one call on one thread, so results do not depend on ``jobs``. With −1
    they go to all workers of the joblib backend; on a cluster ``out`` and ``store`` lie where every worker sees them.
    """
    if jobs < 1 and jobs != -1:
        raise BadInput(f"--jobs is at least 1, or -1 for all workers, not {jobs}")
    out = out.resolve()  # a worker may stand elsewhere
    prepare(out)
    store_path = store.resolve() if store is not None else out / "measurements.sqlite"
    open_store(store_path)  # made once, here, and complained about here
    folders = out / "runs"
    waiting = [c for c in cells if not _finished(c, folders / c.folder, suite.baselines)]
    # The longest first: they would otherwise leave the other processes idle at the end.
    waiting.sort(key=lambda c: -(c.budget if c.algorithm.algorithm not in EXACT else 0))
    failed: list[Outcome] = []
    with _progress(len(cells), len(cells) - len(waiting)) as advance:
        calls = (delayed(run_cell)(c, folders / c.folder, suite.baselines, store_path) for c in waiting)
        outcomes: Iterable[Outcome] = (
            Parallel(n_jobs=jobs, return_as="generator_unordered")(calls)
            if jobs != 1
            else (run_cell(c, folders / c.folder, suite.baselines, store_path) for c in waiting)
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
        raise BadInput(f"cannot write to the folder {out}: {error.strerror}") from None


def run_cell(cell: Cell, folder: Path, baselines: Path, store_path: Path) -> Outcome:
    """One run, start to finish, and how it ended.

    A run that was cut off starts again from its seed: its measurements are in the store, so no truth is paid for
    twice. ``DONE`` is written last; it says by which text of a baseline's file the run was made.
    """
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    write_text(folder / "spec.json", json.dumps(cell.spec(), indent=2) + "\n")
    made_by = _text_of_baseline(cell, baselines)
    result: dict[str, Any] = {"folder": folder.name, "spec": cell.spec(), "status": "ok", "error": None, "curve": []}
    try:
        with one_thread():
            result |= _measure_and_judge(cell, folder, baselines, store_path)
    except MbrlSplitError as error:
        result |= {"status": "refused", "error": str(error)}
    except Exception as error:
        result |= {"status": "failed", "error": f"{type(error).__name__}: {error}"}
        write_text(folder / "traceback.txt", traceback.format_exc())
    write_text(folder / "result.json", json.dumps(result, indent=1) + "\n")
    write_text(folder / ("DONE" if result["status"] == "ok" else "FAILED"), made_by)
    return Outcome(cell.name, result["status"], result["error"])


def _finished(cell: Cell, folder: Path, baselines: Path) -> bool:
    """Whether there is nothing left to run: the run ended, by the baseline as its file is now or on an unknown day."""
    try:
        made_by = (folder / "DONE").read_text(encoding="utf-8")
    except OSError:
        return False
    return made_by in ("", _text_of_baseline(cell, baselines))


def _text_of_baseline(cell: Cell, baselines: Path) -> str:
    """A digest of the file that a row's baseline stands in; empty where it has none."""
    path = baselines / f"{cell.algorithm.baseline}.py"
    return hashlib.sha256(path.read_bytes()).hexdigest() if cell.algorithm.baseline and path.is_file() else ""


def _measure_and_judge(cell: Cell, folder: Path, baselines: Path, store_path: Path) -> dict[str, Any]:
    overrides = json.dumps(cell.overrides, sort_keys=True)
    judge = judge_for(cell.model, cell.scenario, cell.contexts, overrides, half=cell.judge)
    label = cell.algorithm.algorithm
    if label in EXACT:
        return {"curve": [judge.exact(label)], "reference": judge.reference()}
    problem = scenario(cell.scenario, **cell.overrides)
    oracle: Oracle = ORACLES[cell.truth](cell.model, problem)
    kept = cell.truth != "table" and oracle.identity  # a table is a store itself
    ledger = Ledger(oracle, open_store(store_path) if kept else None, budget=cell.budget)
    task = Task(problem, judge.n_layers, ledger, cell.seed, cell.env_steps, folder)
    method = build_method(cell, baselines)
    return {"curve": list(_curve(method, task, judge, folder)), "reference": judge.reference()}


def _curve(method: Method, task: Task, judge: Judged, folder: Path) -> Iterator[dict[str, float]]:
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
                **judge.judge(checkpoint.policy),
                **checkpoint.notes,
            }
            log.write(json.dumps(point) + "\n")
            log.flush()
            yield point


def build_method(cell: Cell, baselines: Path) -> Method:
    """The method of an algorithm row: an agent with a source, a file under ``baselines``, or a plug-in."""
    row = cell.algorithm
    if row.baseline is None:
        return AgentMethod.from_row(row)
    path = baselines / f"{row.baseline}.py"
    if not path.is_file():
        return _baseline(row.baseline, BASELINES[row.baseline], row.settings)
    name = f"mbrl_split_baseline_{row.baseline}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadInput(f"cannot import the baseline {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except ImportError:  # a package that is not here
        raise
    except Exception as error:
        raise BadInput(f"the baseline {path} cannot be imported: {type(error).__name__}: {error}") from error
    found = [m for m in vars(module).values() if inspect.isclass(m) and issubclass(m, Method) and m.__module__ == name]
    if len(found) != 1:
        raise BadInput(f"{path} defines {len(found)} methods; a baseline file defines exactly one")
    return _baseline(row.baseline, found[0], row.settings)


def _baseline(name: str, build: Any, settings: dict[str, dict[str, Any]]) -> Method:
    made: Method = make(f"baseline {name}", build, settings.get("baseline", {}))
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
