"""The truth from a measured table: what a live evaluation would have found, at the price of a look-up."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.columns import Column, check_rows
from mbrl_split.data import PARTS
from mbrl_split.errors import InvalidInputError, UnsupportedError
from mbrl_split.layer_split.oracle.context import check_context
from mbrl_split.layer_split.records import WINDOW_DTYPE
from mbrl_split.layer_split.scenarios import Scenario
from mbrl_split.layer_split.scenarios import scenario as named_scenario
from mbrl_split.layer_split.tables.curves import Landscape, node_weights
from mbrl_split.layer_split.tables.families import family_of
from mbrl_split.layer_split.tables.grids import GainGrid, LossGrid, Shape, law_of, shape_of
from mbrl_split.layer_split.tables.replay import ReplayDraws, draw
from mbrl_split.layer_split.tables.table_file import TableData, read_table, table_path, weights_mark
from mbrl_split.llm import protocol_line
from mbrl_split.oracles.base import Measurement, Oracle, Price, check_seeds, measurement_key
from mbrl_split.registry import unknown

Floats = NDArray[np.float64]
Share = Literal["choose", "value"]

_SHAPES = ("m", "k", "gain")
"""Context columns that say how the gain of a row fades, or which it is."""

_SMOOTH_OUTAGE = 8.0
"""The largest m up to which an outage is tabulated."""


class TableOracle(Oracle):
    """Stands in for ``PerplexityOracle``: the same columns, the same kind of answer, from measurements made before.

    :meth:`measure` replays *single noisy evaluations*. The seed draws windows without replacement and one gain per
    window from the fading law of the row's context; each window's damage is read from its own measured curve. The
    noise within a window is the one that was measured, so a table of few windows knows less than live evaluations do:
    ``expected``'s standard error says how much less.

    :meth:`expected` integrates the fading law exactly and averages all windows: the value of a split in a context.

    Args:
        table: What was measured.
        scenario: The scenario, or its name; its context may reach anywhere the table was measured.
        name: How error messages call the table.
        draws: Channel draws per window, all of which count in the size; at most those that were measured.

    Attributes:
        half: ``"replay"`` (learning), ``"judge"`` or ``"lockbox"``.
        n_layers: L.
        table: What was measured.

    Raises:
        UnsupportedError: The table is of another channel, text or window than the scenario's.
        InvalidInputError: The scenario's context does not say how its channel fades or leaves the measured range, or
            one evaluation reads more windows than were measured.

    Example:
        >>> from mbrl_split.layer_split import TableOracle
        >>> table = TableOracle.load("tiny-llama", "equalised", half="judge")
        >>> damage, std_error = table.expected([[2, 0.5, 1.0], [10, 0.5, 1.0]])  # split, noise, m
        >>> bool(damage[0] > damage[1] + 10 * std_error[0])
        True
    """

    is_replay = True

    def __init__(self, table: TableData, scenario: str | Scenario, *, name: str = "table", draws: int = 1) -> None:
        scenario = named_scenario(scenario)
        about = table.about
        family = family_of(scenario.channel)
        check_context(scenario.channel, [column.name for column in scenario.context])
        for what, have, want in (
            ("channel family", about["family"], family.name),
            ("text", about["text"], scenario.text),
            ("window", about["window"], scenario.window),
        ):
            if have != want:
                raise UnsupportedError(f"{name} is of the {what} {have!r}, and scenario {scenario.name!r} has {want!r}")
        if len(table.windows) < scenario.windows:
            raise InvalidInputError(
                f"{name} holds {len(table.windows)} windows, and one evaluation reads {scenario.windows}"
            )
        if not 1 <= draws <= table.nll.shape[3]:
            raise InvalidInputError(f"draws is 1 … {table.nll.shape[3]}, the channel draws in {name}, not {draws}")
        self.table, self.scenario, self.name, self.draws = table, scenario, name, draws
        self.half: str = about["half"]
        self.n_layers = int(about["n_layers"])
        self.columns = scenario.columns(self.n_layers)
        self.evaluation_size, self.unit = scenario.tokens, "tokens"
        self.reference_evaluations = scenario.pool / scenario.windows
        self.grid = family.grid({k: tuple(v) for k, v in about["levels"].items()})
        names = [column.name for column in self.columns]
        self._intensity = self._column(family.intensity)
        self._shape = next((column for column in self.columns if column.name in _SHAPES), None)
        self._m = None if self._shape is None else self.columns.index(self._shape)
        if self._shape is None and scenario.channel.fading == "rayleigh":
            self._shape = Column("m", "1", 1.0, 1.0, "log")
        extra = set(names) - {"split", family.intensity, *_SHAPES}
        if extra:
            raise InvalidInputError(
                f"{name} is of the family {family.name!r} and knows no column {', '.join(sorted(extra))}"
            )
        self._check_range()
        self.identity = (
            f"table {about['oracle']} levels={about['levels']} seed={about['seed']} columns={','.join(names)} "
            f"fading={scenario.channel.fading} tokens={about['tokens']} draws={about['draws']}"
        )

        damage = table.nll.astype(np.float64) - table.clean_nll[:, None]
        # (splits, windows, draws, refined): the last axis is read at two neighbours, which then share a cache line.
        self._fine = np.ascontiguousarray((damage.transpose(0, 2, 3, 1) @ self.grid.refinement.T).astype(np.float32))
        self._by_window = damage.mean(axis=3).transpose(0, 2, 1)  # (splits, windows, knots)
        self._place = np.full(self.n_layers + 1, -1)
        self._place[table.splits] = np.arange(len(table.splits))
        self._seconds_per_token = table.seconds.mean(axis=1) / (about["tokens"] * about["draws"])
        self._landscapes: dict[str | None, Landscape] = {}

    @classmethod
    def load(
        cls,
        model: str,
        scenario: str | Scenario,
        half: str = "replay",
        *,
        path: str | os.PathLike[str] | None = None,
    ) -> Self:
        """The table of a model and a scenario's channel family.

        Args:
            model: The model's name, as ``PerplexityOracle.load`` takes it.
            scenario: The scenario, or its name.
            half: ``"replay"``, ``"judge"`` or ``"lockbox"``.
            path: A Parquet file to read instead of the shipped one.

        Raises:
            InvalidInputError: There is no such table.
            UnsupportedError: The table is damaged, or was measured on other weights, another half or under another
                protocol.
        """
        scenario = named_scenario(scenario)
        if half not in PARTS:
            raise InvalidInputError(unknown("half of a table", half, PARTS))
        family = family_of(scenario.channel).name
        file = Path(path) if path is not None else table_path(model, family, half, scenario.text)
        table = _read(file, file.stat().st_mtime_ns) if file.is_file() else read_table(file)
        about = table.about
        if about["half"] != half:
            raise UnsupportedError(f"table {file} is the {about['half']!r} half, not {half!r}")
        if about["model"] != model:
            raise UnsupportedError(f"table {file} is of model {about['model']!r}, not {model!r}")
        here = weights_mark(model)
        if here is not None and here != about["weights"]:
            raise UnsupportedError(
                f"table {file} was measured on other weights of {model!r} ({about['weights']}, here {here})"
            )
        return cls(table, scenario, name=f"table {file}")

    def price(self, X: ArrayLike, *, seeds: ArrayLike, size: int | None = None) -> Price:
        plain = super().price(X, seeds=seeds, size=size)
        self._rows(X)
        windows = self.table.windows[
            draw(np.asarray(seeds), len(self.table.windows), self._count(plain.size), self.draws).windows
        ]
        return replace(plain, references=tuple(windows), reference_size=self.scenario.window)

    def key(self, row: ArrayLike, *, seed: int, size: int) -> str:
        # Equal sizes of other draws are other windows.
        return measurement_key(self.identity, row, seed=seed, sizes=(size // self.draws, self.draws))

    def measure(self, X: ArrayLike, *, seeds: ArrayLike, size: int | None = None) -> Measurement:
        x, place = self._rows(X)
        n, s = len(x), check_seeds(seeds, len(x))
        plain = super().price(x, seeds=s, size=size)
        count, n_draws = self._count(plain.size), self.draws
        found = draw(s, len(self.table.windows), count, n_draws)
        gains, damage = self._replay(x, place, found)
        records = np.zeros((n, n_draws, count), WINDOW_DTYPE)
        records["query"] = np.arange(n)[:, None, None]
        records["draw"] = np.arange(n_draws)[:, None]
        records["window"] = self.table.windows[found.windows][:, None]
        records["tokens"] = self.scenario.window
        records["gain"] = gains
        records["clean_nll"] = self.table.clean_nll[found.windows][:, None]
        records["nll"] = np.minimum(records["clean_nll"] + damage, self.table.about["cap"])
        damage = records["nll"] - records["clean_nll"]
        mean, std_error = _mean_and_error(damage.mean(axis=1))
        return Measurement(
            mean=mean,
            std_error=std_error,
            size=np.full(n, plain.size),
            # A table holds single precision, in which a capped window may come back just below the cap.
            n_capped=(records["nll"] >= self.table.about["cap"] * (1 - 1e-6)).sum(axis=(1, 2)),
            seconds=self._seconds_per_token[place] * plain.size,
            records=records.reshape(-1),
        )

    def sample_damage(self, X: ArrayLike, seeds: ArrayLike) -> Floats:
        """``measure(X, seeds=seeds).mean`` without its records: what training on a table asks for, (n,), nats/token."""
        x, place = self._rows(X)
        s = check_seeds(seeds, len(x))
        found = draw(s, len(self.table.windows), self._count(self.evaluation_size), self.draws)
        _, damage = self._replay(x, place, found)
        clean = self.table.clean_nll[found.windows][:, None]
        by_window = (np.minimum(clean + damage, self.table.about["cap"]) - clean).mean(axis=1)
        return np.asarray(by_window.mean(axis=1))

    def expected(self, X: ArrayLike, part: Share | None = None, *, exact: bool = False) -> tuple[Floats, Floats]:
        """The expected damage of each row, over text and channel, and its standard error between windows.

        Where the gain fades, the integral is tabulated over all contexts on first use and interpolated (an
        error below 1e-3 of the largest damage, 2e-3 for packets); otherwise it is exact in any case.

        Args:
            X: Queries, shape (n, len(columns)).
            part: ``None`` averages all windows; ``"choose"`` and ``"value"`` are disjoint halves of them (by document
                where there are several), so that an optimum chosen on one can be valued on the other without bias.
            exact: Integrate for each row.

        Returns:
            Mean and standard error, (n,) each, nats/token.
        """
        x, place = self._rows(X)
        if exact or self._shape is None or not self._is_smooth(self._shape):
            return self._integrate(x, place, part)
        if part not in self._landscapes:
            self._landscapes[part] = self._tabulate(part)
        intensity = self.columns[self._intensity].to_unit(x[:, self._intensity])
        shape = np.zeros(len(x)) if self._m is None else self._shape.to_unit(x[:, self._m])
        return self._landscapes[part].read(place, intensity, shape)

    def by_window(self, X: ArrayLike, part: Share | None = None) -> Floats:
        """The expected damage of each row in each window of a part, shape (n, windows), nats/token.

        What :meth:`expected` averages; all rows read the same windows, so resampling the columns is a bootstrap of any
        comparison between splits or contexts.
        """
        x, place = self._rows(X)
        values = np.empty((len(x), len(self.windows_of(part))))
        for rows, found in self._read_curves(x, place, part):
            values[rows] = found
        return values

    @property
    def protocol(self) -> str:
        """How the perplexity behind the table was measured, in words."""
        about = self.table.about
        words = dict(word.partition("=")[::2] for word in str(about["oracle"]).split())
        line = protocol_line(
            len(self.table.windows),
            int(about["window"]),
            round(math.exp(about["cap"])),
            words.get("dtype", "unknown dtype").removeprefix("torch."),
            int(about["draws"]),
            int(about["seed"]),
        )
        return f"text {about['text']!r}, {self.half} half; {line}; protocol version {about['protocol']}"

    def windows_of(self, part: Share | None) -> NDArray[np.int64]:
        """Indices of the table's windows that belong to a part of :meth:`expected`."""
        n = len(self.table.windows)
        if part is None:
            return np.arange(n)
        if part not in ("choose", "value"):
            raise InvalidInputError(f"part is None, 'choose' or 'value', not {part!r}")
        first = _half_of_documents(self.table.documents)
        return np.flatnonzero(first if part == "choose" else ~first)

    def _rows(self, X: ArrayLike) -> tuple[Floats, NDArray[np.int64]]:
        """The checked queries, and which of the table's splits each asks for."""
        x = check_rows(X, self.columns)
        place = self._place[x[:, 0].astype(np.int64)]
        if (place < 0).any():
            row = int(np.flatnonzero(place < 0)[0])
            splits = ", ".join(map(str, self.table.splits))
            raise InvalidInputError(
                f"row {row}: split {x[row, 0]:g} was not measured; {self.name} holds the splits {splits}"
            )
        return x, place

    def _fading(self, x: Floats) -> Shape:
        """How the gain fades in each row."""
        if self._shape is None:
            return None
        return shape_of(self._shape.name, np.ones(len(x)) if self._m is None else x[:, self._m])

    def _is_smooth(self, shape: Column) -> bool:
        """Whether the fading smooths the surface enough to be tabulated."""
        if shape.name == "gain":  # a given gain smooths nothing
            return False
        # The outage of packets becomes a step in the SNR as fading ceases. Rice gains spread as Nakagami's of this m.
        m = shape.high if shape.name == "m" else (1 + shape.high) ** 2 / (1 + 2 * shape.high)
        return m <= _SMOOTH_OUTAGE or not isinstance(self.grid, LossGrid)

    def _column(self, intensity: str) -> int:
        names = [column.name for column in self.columns]
        if intensity not in names:
            raise InvalidInputError(f"{self.name} needs a context column {intensity!r}, not {', '.join(names[1:])}")
        return names.index(intensity)

    def _check_range(self) -> None:
        """The scenario's contexts must lie where the table can answer."""
        column, grid = self.columns[self._intensity], self.grid
        low, high = grid.limits
        if column.low < low * (1 - 1e-9) or column.high > high * (1 + 1e-9):
            raise InvalidInputError(
                f"scenario {self.scenario.name!r} has {column.name} in [{column.low:g}, {column.high:g}], and "
                f"{self.name} was measured in [{low:g}, {high:g}]"
            )
        if isinstance(grid, GainGrid) and self._shape is not None:
            if self._shape.name == "gain":
                beyond = float(self._shape.high > grid.gains[-1])
            else:
                widest = law_of(shape_of(self._shape.name, np.array([self._shape.low])))
                beyond = float(1 - widest.below(grid.gains[-1])[0, 0])
            if beyond > 1e-3:
                raise InvalidInputError(
                    f"scenario {self.scenario.name!r} has gains beyond {grid.gains[-1]:g}, the largest in {self.name}, "
                    f"with probability {beyond:.2g}"
                )

    def _count(self, size: int) -> int:
        """Windows of one row and draw."""
        window, n = self.scenario.window, len(self.table.windows)
        count, rest = divmod(size, window * self.draws)
        if rest or count > n:
            raise InvalidInputError(
                f"size is a multiple of the window's tokens times the draws, {window * self.draws}, and at most "
                f"{window * self.draws * n} ({self.name} holds {n} windows), not {size}"
            )
        return count

    def _replay(self, x: Floats, place: NDArray[np.int64], found: ReplayDraws) -> tuple[Floats, Floats]:
        """Gains and damages, (n, draws, windows) each."""
        n, n_draws, count = found.u.shape
        gains, index, weight = self.grid.locate(
            x[:, self._intensity], self._fading(x), found.u.reshape(n, n_draws * count)
        )
        # Draw d of a window reads the d-th draw that was measured: other noise, as in a live evaluation.
        _, n_windows, measured, refined = self._fine.shape
        curve = (place[:, None, None] * n_windows + found.windows[:, None]) * measured + np.arange(n_draws)[:, None]
        flat = curve.reshape(n, n_draws * count, 1) * refined + index
        damage = (self._fine.reshape(-1)[flat] * weight).sum(axis=-1)
        return gains.reshape(found.u.shape), damage.reshape(found.u.shape)

    def _read_curves(
        self, x: Floats, place: NDArray[np.int64], part: Share | None
    ) -> Iterator[tuple[NDArray[np.bool_], Floats]]:
        """Split by split: which rows ask for it, and their expected damages by window, (rows, windows)."""
        weights = self.grid.weights(x[:, self._intensity], self._fading(x))
        curves = self._by_window[:, self.windows_of(part)]
        for p in np.unique(place):
            yield place == p, weights[place == p] @ curves[p].T

    def _integrate(self, x: Floats, place: NDArray[np.int64], part: Share | None) -> tuple[Floats, Floats]:
        mean, error = np.empty(len(x)), np.empty(len(x))
        for rows, values in self._read_curves(x, place, part):
            mean[rows], error[rows] = _mean_and_error(values)
        return mean, error

    def _tabulate(self, part: Share | None) -> Landscape:
        assert self._shape is not None
        nodes, weights = node_weights(self.grid, self.columns[self._intensity], self._shape)
        curves = self._by_window[:, self.windows_of(part)]
        values = np.stack([np.stack(_mean_and_error(weights @ own.T), axis=-1) for own in curves])
        return Landscape.of(nodes, values)


def _mean_and_error(values: Floats) -> tuple[Floats, Floats]:
    """Mean over windows and its standard error, (n,) each, of damages (n, windows)."""
    n = values.shape[1]
    error = values.std(axis=1, ddof=1) / math.sqrt(n) if n > 1 else np.full(len(values), np.nan)
    return values.mean(axis=1), error


@cache
def _read(file: Path, modified: int) -> TableData:
    # Reading costs more than answering thousands of rows; the time of change makes a rewritten file a new one.
    return read_table(file)


def _half_of_documents(documents: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which windows belong to the first of two halves: whole documents where that is balanced, else every other one."""
    names, counts = np.unique(documents, return_counts=True)
    sizes, half = [0, 0], {}
    for i in np.argsort(-counts, kind="stable"):
        side = int(sizes[1] < sizes[0])
        half[int(names[i])] = side
        sizes[side] += int(counts[i])
    if min(sizes) >= len(documents) / 4:
        return np.array([half[int(d)] == 0 for d in documents])
    return np.asarray(np.arange(len(documents)) % 2 == 0)
