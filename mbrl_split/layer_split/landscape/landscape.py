"""What every split costs under every channel, read from measured tables: the paper's first question, with error bars.

Nothing is measured here. A *view* is a scenario, or a variant of one under another convention (noise power per tensor
instead of per token, whole tokens lost, quantised transmission), on one model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mbrl_split.columns import Column
from mbrl_split.errors import InvalidInputError, UnsupportedError
from mbrl_split.evaluation import JUDGE_SEED
from mbrl_split.layer_split.envs.rules import compose_reward
from mbrl_split.layer_split.judging.decision import SplitJudge
from mbrl_split.layer_split.scenarios import SCENARIOS, ChannelSpec, Scenario
from mbrl_split.layer_split.tables.table import TableOracle
from mbrl_split.registry import unknown

Array = NDArray[np.float64]

_LEVELS = {"quiet": 0.0, "middle": 0.5, "loud": 1.0}
_POINTS, _CONTEXTS, _REPLICATES = 25, 400, 400
_FALLING = ("snr_db", "bits")  # columns of which more is better


def _variant(base: str, name: str, channel: ChannelSpec, *context: Column) -> Scenario:
    return replace(SCENARIOS[base], name=name, channel=channel, context=context or SCENARIOS[base].context)


_BITS = Column("bits", "1", 2, 16, "ordinal")
VIEWS: dict[str, Scenario] = {
    name: s for name, s in SCENARIOS.items() if s.context_process is None and s.costs is None
} | {
    s.name: s
    for s in (
        _variant("snr", "snr-tensor", ChannelSpec(kind="snr", power="tensor")),
        _variant("erasure", "erasure-token", ChannelSpec(kind="erasure", unit="token")),
        _variant("erasure", "quantise-token", ChannelSpec(kind="quantise"), _BITS),
        _variant("erasure", "quantise-tensor", ChannelSpec(kind="quantise", scale="tensor"), _BITS),
    )
}
"""What a table alone can value, and variants of it; sessions, which have memory and bills, are judged elsewhere."""


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"


@dataclass(frozen=True)
class Trend:
    """Does the best split move deeper as the channel gets worse?

    Correlation of the best split with the badness of the context, over contexts drawn as the scenario draws them. The
    interval is a percentile bootstrap over text windows, the same for all splits and contexts. +1: always deeper.

    Attributes:
        kendall: Kendall's τ-b.
        spearman: Spearman's ρ.
        by_document: τ-b from the windows of each document alone.
    """

    kendall: Interval
    spearman: Interval
    by_document: list[float]

    @property
    def verdict(self) -> str:
        """In words."""
        if self.kendall.low > 0:
            return "the worse, the deeper"
        return "the worse, the shallower" if self.kendall.high < 0 else "no trend shown"


@dataclass(frozen=True)
class View:
    """One scenario on one model.

    Attributes:
        name: Of the scenario or variant.
        n_layers: L.
        intensity: Name and unit of the column that says how bad the channel is.
        falling: More of it is better.
        clean_nll: NLL without a channel, nats/token.
        curves: By level (quiet, middle, loud): the context, and by split the NLL and its standard error.
        best: Along the intensity, the rest of the context at its middle: ``at``, ``split``, ``low``, ``high`` (95 %).
        trend: See :class:`Trend`.
        headroom: Value, standard error, and what it is made of.
        protocol: How perplexity was measured, in words.
    """

    name: str
    n_layers: int
    intensity: str
    falling: bool
    clean_nll: float
    curves: dict[str, dict[str, Any]]
    best: dict[str, list[float]]
    trend: Trend
    headroom: dict[str, float]
    protocol: str

    @property
    def moved(self) -> int:
        """Layers between the best split in the quietest context and in the loudest; positive: deeper when loud."""
        split = self.best["split"]
        return int(split[0] - split[-1] if self.falling else split[-1] - split[0])

    @classmethod
    def of(cls, scenario: Scenario, table: TableOracle) -> Self:
        """Read a view from a table."""
        column = scenario.context[0]
        return cls(
            name=scenario.name,
            n_layers=table.n_layers,
            intensity=f"{column.name} ({column.unit})" if column.unit != "1" else column.name,
            falling=column.name in _FALLING,
            clean_nll=float(table.table.clean_nll.mean()),
            curves=_curves(table),
            best=_best(table),
            trend=_trend(table),
            headroom=_headroom(table),
            protocol=table.protocol,
        )


@dataclass(frozen=True)
class Landscape:
    """All views of a model, and the names of those without a table."""

    model: str
    half: str
    views: list[View]
    missing: list[str]

    def headlines(self) -> list[str]:
        """One line per view."""
        return [
            f"{v.name}: headroom {v.headroom['value']:.4f} ± {v.headroom['std_error']:.4f}, best split moves "
            f"{v.moved:+d} of {v.n_layers} layers, {v.trend.verdict} (τ {v.trend.kendall})"
            for v in self.views
        ]


def read_landscape(model: str, names: Sequence[str] = (), *, half: str = "judge") -> Landscape:
    """The landscape of a model from its tables.

    Args:
        model: The model.
        names: Views; empty: all that have a table.
        half: Which table.

    Raises:
        InvalidInputError: An unknown view, or no table for it (or for any).
    """
    for name in names:
        if name not in VIEWS:
            raise InvalidInputError(unknown("scenario", name, VIEWS))
    views, missing = [], []
    for name in names or VIEWS:
        try:
            table = TableOracle.load(model, VIEWS[name], half)
        except (InvalidInputError, UnsupportedError):
            if names:
                raise
            missing.append(name)
            continue
        views.append(View.of(VIEWS[name], table))
    if not views:
        raise InvalidInputError(f"no {half} table of {model!r} is here: `mbrl-split measure --model {model}` makes one")
    return Landscape(model, half, views, missing)


def _curves(table: TableOracle) -> dict[str, dict[str, Any]]:
    context, splits = table.scenario.context, np.arange(1, table.n_layers)
    found = {}
    for label, badness in _LEVELS.items():
        at = _middle(table.scenario, np.array([badness]))[0]
        mean, error = table.expected(np.column_stack([splits, np.tile(at, (len(splits), 1))]), exact=True)
        found[label] = {
            "context": {c.name: float(f"{x:.4g}") for c, x in zip(context, at, strict=True)},
            "nll": (table.table.clean_nll.mean() + mean).tolist(),
            "std_error": error.tolist(),
        }
    return found


def _best(table: TableOracle) -> dict[str, list[float]]:
    column = table.scenario.context[0]
    count = int(column.high - column.low) + 1 if column.scale == "ordinal" else _POINTS
    badness = np.linspace(0, 1, count)
    context = _middle(table.scenario, badness)
    damage = _by_window(table, context)
    replicates = np.stack([_best_split(table, damage @ share) for share in _shares(damage.shape[-1])])
    low, high = np.quantile(replicates, [0.025, 0.975], axis=0)
    order = np.argsort(context[:, 0])
    return {
        "at": context[order, 0].tolist(),
        "split": _best_split(table, damage.mean(-1))[order].astype(float).tolist(),
        "low": low[order].tolist(),
        "high": high[order].tolist(),
    }


def _trend(table: TableOracle) -> Trend:
    rng = np.random.default_rng([JUDGE_SEED, 1])
    context = np.stack([c.sample(_CONTEXTS, rng) for c in table.scenario.context], axis=1)
    damage = _by_window(table, context)
    badness = -context[:, 0] if table.scenario.context[0].name in _FALLING else context[:, 0]

    def both(mean: Array) -> tuple[float, float]:
        split = _best_split(table, mean)
        if (split == split[0]).all():  # a best split that never moves has no trend
            return 0.0, 0.0
        return float(stats.kendalltau(badness, split).statistic), float(stats.spearmanr(badness, split).statistic)

    replicates = np.array([both(damage @ share) for share in _shares(damage.shape[-1])])
    low, high = np.quantile(replicates, [0.025, 0.975], axis=0)
    value = both(damage.mean(-1))
    kendall, spearman = (Interval(*map(float, x)) for x in zip(value, low, high, strict=True))
    documents = table.table.documents
    alone = [both(damage[..., documents == d].mean(-1))[0] for d in np.unique(documents)]
    return Trend(kendall, spearman, alone)


CONTEXTS = 32_000
"""Contexts behind a headroom: enough that which were drawn matters less than the measurements do."""


def _headroom(table: TableOracle) -> dict[str, float]:
    judge = SplitJudge.of_table(table, CONTEXTS, seed=JUDGE_SEED)
    room = judge.headroom
    return {
        "value": room.value,
        "std_error": room.std_error,
        "optimal": judge.optimal,
        "best_fixed": judge.best_fixed,
        "best_fixed_split": float(judge.fixed_split),
        "noise_bins": judge.noise_bins,
        "random": judge.random,
        "contexts": float(len(judge.context)),
    }


def _middle(scenario: Scenario, badness: Array) -> Array:
    """Contexts of a badness in [0, 1] along the first column's scale, the others at the middle of theirs."""
    first, *others = scenario.context
    at = first.from_unit(1 - badness if first.name in _FALLING else badness)
    return np.column_stack([at, *(np.full(len(at), float(c.from_unit(0.5))) for c in others)])


def _by_window(table: TableOracle, context: Array) -> Array:
    """Damage of every split in every context in every window, (contexts, splits, windows)."""
    k = table.n_layers - 1
    X = np.column_stack([np.tile(np.arange(1, k + 1), len(context)), np.repeat(context, k, axis=0)])
    return table.by_window(X).reshape(len(context), k, -1)


def _best_split(table: TableOracle, damage: Array) -> NDArray[np.int64]:
    """The split of the highest reward, (contexts,), from damages (contexts, splits)."""
    reward = compose_reward(damage, np.arange(1, table.n_layers), table.n_layers, table.scenario.reward)
    return np.asarray(reward.argmax(axis=1) + 1)


def _shares(windows: int) -> Array:
    """Bootstrap replicates as weights of the windows, (replicates, windows)."""
    rng = np.random.default_rng([JUDGE_SEED, 2])
    return np.asarray(rng.multinomial(windows, np.full(windows, 1 / windows), size=_REPLICATES) / windows)
