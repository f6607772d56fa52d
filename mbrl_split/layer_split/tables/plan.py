"""From a measuring plan to a table: every split at every knot of a channel family, through ledger and store.

Hours of measuring are safe and boring: a finished cell is in the store before it counts, so a run that was stopped by
anything goes on where it was, and any number of processes or machines may share the work (``shard``).

    plan = plan_from("tiny-llama", "equalised", "judge")
    measure(plan, open_store("runs/truth.sqlite"), jobs=2, progress=print_progress())
    build_table(plan, open_store("runs/truth.sqlite"))
"""

from __future__ import annotations

import datetime
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from mbrl_split import data
from mbrl_split.columns import check_rows
from mbrl_split.errors import InvalidInputError
from mbrl_split.layer_split.oracle.perplexity import PerplexityOracle
from mbrl_split.layer_split.scenarios import PROTOCOL_VERSION, Scenario
from mbrl_split.layer_split.scenarios import scenario as named_scenario
from mbrl_split.layer_split.tables.families import Levels, family_named
from mbrl_split.layer_split.tables.table_file import TableData, table_path, weights_mark, write_table
from mbrl_split.llm import protocol_line
from mbrl_split.oracles.ledger import Ledger
from mbrl_split.oracles.store import Store
from mbrl_split.registry import unknown

Progress = Callable[[int, int, float], None]
"""Called with cells done, cells in all, and seconds left (nan while unknown)."""

SCENARIO = "equalised"
"""The scenario whose text, window and batch every plan takes unless told otherwise."""


@dataclass(frozen=True)
class MeasurementPlan:
    """What to measure. All splits and knots share the text windows and the noise (common random numbers), and each
    window belongs to one channel draw per knot (``draws`` of them). Make one with :func:`plan_from`.

    Attributes:
        model: As ``SplitModel.load`` takes it.
        family: Channel family, a key of ``FAMILIES``.
        half: ``"replay"``, ``"judge"`` or ``"lockbox"``: which documents.
        levels: Where the family is measured, as (axis, levels) pairs.
        splits: Splits to measure; empty: all, 1 … L−1.
        tokens: Scored tokens per cell and draw.
        draws: Channel draws per window.
        seed: Fixes windows and noise.
        text: The text.
        window: Scored tokens per window.
        windows: Windows per batch; as in the scenario, so that bits are those of its evaluations.
    """

    model: str
    family: str
    half: str
    levels: tuple[tuple[str, tuple[float, ...]], ...]
    splits: tuple[int, ...]
    tokens: int
    draws: int
    seed: int
    text: str
    window: int
    windows: int

    @property
    def size(self) -> int:
        """Scored tokens of a cell, all draws together."""
        return self.tokens * self.draws

    @property
    def scenario(self) -> Scenario:
        """The instantaneous channel as a scenario, in which a cell is an ordinary measurement."""
        base = named_scenario(SCENARIO, text=self.text, window=self.window, windows=self.windows)
        return family_named(self.family).measured(base, dict(self.levels))

    def cells(self, n_layers: int) -> NDArray[np.float64]:
        """The queries, (splits·knots, columns), split by split."""
        points = family_named(self.family).points(dict(self.levels))
        splits = np.array(self.splits or range(1, n_layers), dtype=np.float64)
        return np.column_stack([np.repeat(splits, len(points)), np.tile(points, (len(splits), 1))])

    @property
    def command(self) -> str:
        """The command that measures this plan."""
        words = [f"mbrl-split measure --model {self.model} --family {self.family} --half {self.half}"]
        default = plan_from(self.model, self.family, self.half)
        for field in ("tokens", "draws", "seed", "text", "window"):
            if getattr(self, field) != getattr(default, field):
                words.append(f"--{field} {getattr(self, field)}")
        if self.splits:
            words.append("--splits " + " ".join(map(str, self.splits)))
        if self.levels != default.levels:
            words += [
                f"--{axis.replace('_', '-')} " + " ".join(f"{x:g}" for x in values) for axis, values in self.levels
            ]
        return " ".join(words)


def plan_from(
    model: str,
    family: str,
    half: str = "replay",
    *,
    levels: Levels | None = None,
    splits: Sequence[int] = (),
    tokens: int | None = None,
    draws: int = 1,
    seed: int | None = None,
    text: str = "sotu",
    window: int = 128,
) -> MeasurementPlan:
    """A checked plan, with the defaults of its family and model.

    Args:
        model: As ``SplitModel.load`` takes it.
        family: ``"equalised"``, ``"raw"``, ``"snr-token"``, ``"snr-tensor"``, or another key
            of ``FAMILIES``.
        half: ``"replay"``, ``"judge"`` or ``"lockbox"``.
        levels: Where to measure, by axis (see ``FAMILIES``); default :func:`default_levels`.
        splits: Default all.
        tokens: Scored tokens per cell and draw; default :func:`default_tokens`.
        draws: Channel draws per window.
        seed: Default one for each half, so that they share no noise.
        text: The text.
        window: Scored tokens per window.

    Raises:
        InvalidInputError: An unknown family or half, or levels, tokens, draws or splits that cannot be measured.

    Example:
        >>> from mbrl_split.layer_split import plan_from
        >>> plan = plan_from("tiny-llama", "equalised", "judge", levels={"noise": (0.1, 1.0, 10.0)}, tokens=1024)
        >>> len(plan.cells(n_layers=12))  # 11 splits at three levels and at pure noise
        44
    """
    chosen = family_named(family)
    if half not in data.PARTS:
        raise InvalidInputError(unknown("half of a table", half, data.PARTS))
    levels = default_levels(model, family) if levels is None else levels
    chosen.check_levels(levels)
    tokens = default_tokens(model, family, half) if tokens is None else tokens
    windows = named_scenario(SCENARIO).windows
    if window < 1 or tokens % window or tokens < windows * window:
        raise InvalidInputError(
            f"tokens is a multiple of the window, {window}, and at least {windows * window}, not {tokens}"
        )
    if draws < 1:
        raise InvalidInputError(f"draws is at least 1, not {draws}")
    if len(set(splits)) != len(splits):
        raise InvalidInputError(f"a split is named twice in {', '.join(map(str, splits))}")
    seed = data.PARTS.index(half) if seed is None else seed
    if seed < 0:
        raise InvalidInputError(f"a seed is at least 0, not {seed}")
    pairs = tuple((axis, tuple(float(x) for x in levels[axis])) for axis in chosen.levels)
    return MeasurementPlan(
        model, family, half, pairs, tuple(sorted(splits)), tokens, draws, seed, text, window, windows
    )


def default_levels(model: str, family: str) -> Levels:
    """The family's levels; fewer of them for large models in ``equalised``, where a cell takes 4,096 tokens."""
    if family == "equalised" and model not in data.MODELS:
        return {"noise": tuple(float(f"{x:.4g}") for x in np.geomspace(0.15, 60, 10))}
    return family_named(family).levels


def default_tokens(model: str, family: str, half: str = "replay") -> int:
    """Scored tokens per cell: 4,096 for ``equalised`` and 1,024 elsewhere; four times that for the tiny models.

    Their ``equalised`` judge takes ten times that: fewer leave the headroom an error above 1 % of it.
    """
    tokens = 4096 if family == "equalised" else 1024
    if model not in data.MODELS:
        return tokens
    return tokens * (10 if (family, half) == ("equalised", "judge") else 4)


def measure(
    plan: MeasurementPlan,
    store: Store,
    *,
    jobs: int = 1,
    shard: tuple[int, int] = (0, 1),
    progress: Progress | None = None,
) -> int:
    """Measure what the store does not hold yet of a plan.

    Work goes through joblib: ``joblib.parallel_config(backend="dask")`` around the call sends it to a cluster.

    Args:
        plan: What to measure.
        store: Where finished cells live; it is opened anew by each process.
        jobs: Processes, of one torch thread each; 1 measures in this one, −1 in all workers of the joblib backend.
        shard: (i, n): only the i-th of n equal shares of the cells, i = 0 … n−1.
        progress: Told after each finished cell.

    Returns:
        How many cells were measured.

    Raises:
        InvalidInputError: The plan does not fit the model or text, or ``jobs`` or ``shard`` is out of range.
    """
    i, n = shard
    if not 0 <= i < n:
        raise InvalidInputError(
            f"shard {i}/{n} does not exist: 0/{n} … {n - 1}/{n} do" if n > 0 else f"no shard of {n}"
        )
    if jobs < 1 and jobs != -1:
        raise InvalidInputError(f"jobs is at least 1, or -1 for all workers, not {jobs}")
    oracle = _oracle(plan)
    # The slow cells (few layers on the device, a long suffix) go first, so that no process is left with one at the end.
    share = check_rows(plan.cells(oracle.model.n_layers), oracle.columns)[i::n]
    share = share[np.argsort(share[:, 0], kind="stable")]
    waiting = [row for row in share if store.read(_key(oracle, plan, row)) is None]
    report = progress or (lambda done, total, left: None)
    # A cell costs its suffix, and the head and the noise, which every split pays: about a quarter of the layers.
    work, spent, started = sum(1.25 * oracle.model.n_layers - row[0] for row in waiting), 0.0, time.monotonic()
    report(len(share) - len(waiting), len(share), float("nan"))
    for done, row in enumerate(_done(plan, store, waiting, jobs), len(share) - len(waiting) + 1):
        spent += 1.25 * oracle.model.n_layers - row[0]
        report(done, len(share), (time.monotonic() - started) / spent * (work - spent))
    return len(waiting)


def build_table(
    plan: MeasurementPlan, store: Store, path: str | os.PathLike[str] | None = None, *, command: str = ""
) -> Path:
    """Write the table of a plan that is measured, with its card; see ``table_file`` for the format.

    Args:
        plan: The plan.
        store: Where its cells are.
        path: The Parquet file; default the place from which ``TableOracle.load`` reads.
        command: For the card; default the plan's own.

    Returns:
        The Parquet file's path.

    Raises:
        InvalidInputError: Cells are missing.
        UnsupportedError: A table of something else lies there, or the table would exceed 5 MB.
    """
    oracle = _oracle(plan)
    x = plan.cells(oracle.model.n_layers)
    missing = sum(store.read(_key(oracle, plan, row)) is None for row in x)
    if missing:
        raise InvalidInputError(
            f"{missing} of the plan's {len(x)} cells are not measured yet: `{plan.command}` goes on with them"
        )
    found = Ledger(oracle, store).measure(x, seeds=np.full(len(x), plan.seed), size=plan.size, purpose="table")
    splits = np.unique(x[:, 0]).astype(np.int64)
    points = x[: len(x) // len(splits), 1:]
    # A row's records come draw by draw, its windows in the same order in each.
    records = found.records.reshape(len(splits), len(points), plan.draws, -1).transpose(0, 1, 3, 2)
    records = records[:, :, np.argsort(records["window"][0, 0, :, 0])]
    windows = records["window"][0, 0, :, 0]
    cap = float(np.log(oracle.model.vocab_size))
    names = [column.name for column in oracle.columns[1:]]
    table = TableData(
        splits=splits,
        axes=dict(zip(names, points.T, strict=True)),
        windows=windows,
        documents=_documents(oracle, plan)[windows],
        nll=records["nll"].astype(np.float32),
        clean_nll=records["clean_nll"][0, 0, :, 0],
        capped=records["nll"] >= cap,
        seconds=found.seconds.reshape(len(splits), len(points)),
        about=_about(plan, oracle, names, cap, float(found.seconds.sum()), command or plan.command),
    )
    target = Path(path) if path is not None else table_path(plan.model, plan.family, plan.half, plan.text)
    return write_table(table, target)


def print_progress(stream: TextIO | None = None, every: float = 10.0) -> Progress:
    """A progress report in plain lines, at most one in ``every`` seconds and one at the end."""
    out, last = stream or sys.stderr, -np.inf

    def report(done: int, total: int, left: float) -> None:
        nonlocal last
        if done < total and time.monotonic() - last < every:
            return
        last = time.monotonic()
        rest = "" if done == total or np.isnan(left) else f", {datetime.timedelta(seconds=round(left))} left"
        print(f"{done}/{total} cells measured{rest}", file=out, flush=True)

    return report


def _done(
    plan: MeasurementPlan, store: Store, waiting: Sequence[NDArray[np.float64]], jobs: int
) -> Iterator[NDArray[np.float64]]:
    """Measure the cells, and yield each as it is finished."""
    if jobs == 1 or not waiting:
        for row in waiting:
            yield _measure_cell(plan, store, row)
        return
    from joblib import Parallel, delayed

    results: Iterable[NDArray[np.float64]] = Parallel(n_jobs=min(jobs, len(waiting)), return_as="generator_unordered")(
        delayed(_measure_cell)(plan, store, row) for row in waiting
    )
    yield from results


def _measure_cell(plan: MeasurementPlan, store: Store, row: NDArray[np.float64]) -> NDArray[np.float64]:
    with _ONE_AT_A_TIME:
        ledger = Ledger(_oracle(plan), store)
        ledger.measure(row[None], seeds=[plan.seed], size=plan.size, purpose="table")
    return row


_ONE_AT_A_TIME = threading.Lock()
"""A worker of a cluster may have several threads, and they share the model and torch's number of threads."""


@lru_cache(maxsize=1)
def _oracle(plan: MeasurementPlan) -> PerplexityOracle:
    """The oracle of a plan; a worker keeps its own, with the clean passes it has made."""
    return PerplexityOracle.load(plan.model, plan.scenario, part=plan.half, draws=plan.draws)


def _key(oracle: PerplexityOracle, plan: MeasurementPlan, row: NDArray[np.float64]) -> str:
    return oracle.key(row, seed=plan.seed, size=plan.size)


def _documents(oracle: PerplexityOracle, plan: MeasurementPlan) -> NDArray[np.int64]:
    """The document of each window in the oracle's pool, (pool,)."""
    tokenizer = oracle.model.tokenizer
    counts = [
        len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]) // (plan.window + 1)
        for text in data.documents(plan.text, plan.half)
    ]
    document = np.repeat(np.arange(len(counts)), counts)
    pool = len(oracle.windows)
    return np.asarray(document[np.arange(pool) * len(document) // pool])


def _about(
    plan: MeasurementPlan, oracle: PerplexityOracle, axes: list[str], cap: float, seconds: float, command: str
) -> dict[str, object]:
    """What the card says."""
    model = oracle.model
    what: dict[str, object] = {
        "model": plan.model,
        "weights": weights_mark(plan.model),
        "family": plan.family,
        "half": plan.half,
        "text": plan.text,
        "oracle": oracle.identity,
        "protocol": PROTOCOL_VERSION,
        "window": plan.window,
        "tokens": plan.tokens,
        "draws": plan.draws,
        "seed": plan.seed,
        "splits": [int(p) for p in np.unique(plan.cells(model.n_layers)[:, 0])],
        "levels": {axis: list(values) for axis, values in plan.levels},
    }
    return {
        **what,
        "axes": axes,
        "perplexity": protocol_line(
            plan.tokens // plan.window, plan.window, model.vocab_size, str(model.dtype)[6:], plan.draws, plan.seed
        ),
        "n_layers": model.n_layers,
        "reference_rms": model.reference_rms,
        "cap": cap,
        "core_hours": round(seconds / 3600, 4),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": command,
        "versions": {"python": platform.python_version(), **_versions("mbrl-split", "torch", "transformers", "numpy")},
        "columns": {
            "split": "layers on the device",
            "knot": "index of the channel state",
            "noise": "standard deviation per real element, in units of reference_rms",
            "snr_db": "average received Es/N0 in dB",
            "gain": "amplitude |h|",
            "loss": "probability that an element, packet or token is lost",
            "bits": "bits of the integers that are sent",
            "nll": "capped NLL through the channel, nats/token",
            "clean_nll": "the same without the channel",
            "seconds": "what measuring the whole cell took on one core",
        },
        "identity": what,
    }


def _versions(*names: str) -> dict[str, str]:
    found = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
