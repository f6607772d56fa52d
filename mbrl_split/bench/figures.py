"""The report's figures, as inline SVG: they scale to any width and need no server."""

from __future__ import annotations

import io
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mbrl_split.evaluation import performance_profile

# Okabe & Ito's palette: told apart with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#555555")
MARKERS = "osD^vP*X"
_LINES = ("-", "--")  # of the first eight, of the next eight
STYLE = {
    "font.size": 11,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "svg.fonttype": "none",
    # Element ids are random unless salted; equal results should give equal reports.
    "svg.hashsalt": "mbrl_split",
    "legend.frameon": False,
}


def to_svg(figure: Figure) -> str:
    """The figure as an ``<svg>`` element; closes it."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def damage_by_split(curves: dict[str, Any]) -> str:
    """NLL (nats/token) against the split, one line per noise level.

    Args:
        curves: ``splits`` (list), ``levels`` (labels), ``nll`` (levels × splits), ``std_error`` (same shape),
            ``clean`` (scalar), ``unit`` of the levels.
    """
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.4, 4.2))
        shades = mpl.colormaps["viridis"](np.linspace(0.05, 0.85, len(curves["levels"])))
        for label, nll, error, colour in zip(curves["levels"], curves["nll"], curves["std_error"], shades, strict=True):
            axes.errorbar(
                curves["splits"],
                nll,
                1.96 * np.asarray(error),
                color=colour,
                marker="o",
                ms=3.5,
                lw=1.6,
                capsize=2,
                label=label,
            )
        axes.axhline(curves["clean"], color="#555555", lw=1, ls="--")
        axes.annotate("no channel", (1, curves["clean"]), xytext=(0, -12), textcoords="offset points", color="#555555")
        axes.margins(y=0.12)
        axes.set_xlabel("split: layers on the phone")
        axes.set_ylabel("NLL through the channel (nats/token)")
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
        axes.legend(title=curves["unit"], fontsize=9)
        return to_svg(figure)


def regret_by_truth(points: pd.DataFrame, rows: list[dict[str, Any]], unit: str) -> str:
    """Regret against true evaluations: the median over seeds as a line, every seed as a faint one; of the best rows."""
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.4, 4.6))
        _curves(axes, points, rows, "true_evaluations")
        axes.set_xlabel("true evaluations paid for")
        axes.set_ylabel(_named(unit))
        axes.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncol=4)
        return to_svg(figure)


def regret_by_seconds(points: pd.DataFrame, rows: list[dict[str, Any]], unit: str) -> str:
    """The same against seconds: on the left of truth, on the right of truth and training."""
    points = points.assign(seconds=points["oracle_seconds"] + points["train_seconds"])
    with mpl.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 4.6), sharey=True)
        for axes, column, label in (
            (left, "oracle_seconds", "seconds of truth"),
            (right, "seconds", "seconds of truth and training"),
        ):
            _curves(axes, points, rows, column)
            axes.set_xlabel(label)
        left.set_ylabel(_named(unit))
        figure.legend(
            *left.get_legend_handles_labels(), fontsize=9, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncol=5
        )
        return to_svg(figure)


def profile(rows: list[dict[str, Any]], unit: str, fixed: float) -> str:
    """The share of runs with less than each regret, up to the best fixed split's, for the best learners."""
    thresholds = np.geomspace(5e-3, 1, 200) * fixed
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.4, 4.6))
        for index, row in enumerate(_shown(rows)):
            share = performance_profile(-np.array(row["regret_by_seed"]), -thresholds)
            line = {"color": COLOURS[index % 8], "ls": _LINES[index // 8], "label": row["algorithm"]}
            axes.step(thresholds, share, where="post", **line)
        axes.set_xscale("log")
        axes.set_xlabel(_named(unit))
        axes.set_ylabel("share of runs below it")
        axes.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncol=4)
        return to_svg(figure)


def _named(unit: str) -> str:
    return "normalised regret (0 optimal, 1 best fixed split)" if unit == "headroom" else "regret (reward per step)"


def _shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Learners with the least regret, as many as colours and line styles tell apart, in the order of the rows."""
    learners = [r for r in rows if r.get("true_evaluations", 0) > 0]
    best = sorted(learners, key=lambda r: r["regret"])[: len(_LINES) * len(COLOURS)]
    return [r for r in learners if r in best]


def _curves(axes: Axes, points: pd.DataFrame, rows: list[dict[str, Any]], price: str) -> None:
    """The best learners' curves against one column of the points, and the exact references, on logarithmic axes."""
    for index, row in enumerate(_shown(rows)):
        mine = points[points["algorithm"] == row["algorithm"]]
        _one_method(axes, mine, price, row["algorithm"], COLOURS[index % 8], MARKERS[index % 8], _LINES[index // 8])
    for index, row in enumerate(r for r in rows if r.get("true_evaluations") == 0 and r["algorithm"] != "optimal"):
        axes.axhline(row["regret"], color="#777777", lw=1, ls=("--", ":", "-.")[index % 3], label=row["algorithm"])
    axes.set_xscale("log")
    axes.set_yscale("log")


def _one_method(axes: Axes, points: pd.DataFrame, price: str, label: str, colour: str, marker: str, line: str) -> None:
    # Of several policies at one price the last counts; the axis is logarithmic, so it ends at a thousandth.
    points = points.assign(regret=points["regret"].clip(lower=1e-3), point=points.groupby("seed").cumcount())
    for _, curve in points.groupby(["seed", price], as_index=False).last().groupby("seed"):
        axes.plot(curve[price], curve["regret"], color=colour, lw=0.8, alpha=0.35)
    # The runs of one method are judged at the same points of their course, so the n-th points belong together; what
    # they have paid by then may differ.
    middle = points.groupby("point")[[price, "regret"]].median()
    middle = middle.groupby(price, as_index=False).last()
    style: dict[str, Any] = {"color": colour, "marker": marker, "ms": 4.5, "lw": 2, "ls": line, "label": label}
    axes.plot(middle[price], middle["regret"], **style)
