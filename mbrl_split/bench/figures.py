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


def lines(picture: dict[str, Any]) -> str:
    """Measured lines with error bars, as a judge describes them.

    Args:
        picture: ``x`` (list), ``lines`` (labels) with their ``lines_label``, ``y`` (lines × x), ``std_error`` (same
            shape), ``level`` (``value`` and ``label`` of a horizontal line), ``x_label`` and ``y_label``.
    """
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.4, 4.2))
        shades = mpl.colormaps["viridis"](np.linspace(0.05, 0.85, len(picture["lines"])))
        for label, y, error, colour in zip(picture["lines"], picture["y"], picture["std_error"], shades, strict=True):
            axes.errorbar(
                picture["x"],
                y,
                1.96 * np.asarray(error),
                color=colour,
                marker="o",
                ms=3.5,
                lw=1.6,
                capsize=2,
                label=label,
            )
        level, label = picture["level"]["value"], picture["level"]["label"]
        axes.axhline(level, color="#555555", lw=1, ls="--")
        axes.annotate(label, (picture["x"][0], level), xytext=(0, -12), textcoords="offset points", color="#555555")
        axes.margins(y=0.12)
        axes.set_xlabel(picture["x_label"])
        axes.set_ylabel(picture["y_label"])
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
        axes.legend(title=picture["lines_label"], fontsize=9)
        return to_svg(figure)


def score_by_truth(points: pd.DataFrame, rows: list[dict[str, Any]], score: str, label: str, truths: str) -> str:
    """Regret (or value) against truth: the median over seeds as a line, every seed as a faint one; of the best rows."""
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.4, 4.6))
        _curves(axes, points, rows, "true_evaluations", score)
        axes.set_xlabel(f"{truths} paid for")
        axes.set_ylabel(label)
        axes.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncol=4)
        return to_svg(figure)


def score_by_seconds(points: pd.DataFrame, rows: list[dict[str, Any]], score: str, label: str) -> str:
    """The same against seconds: on the left of truth, on the right of truth and training; only those where truth has no
    seconds."""
    points = points.assign(seconds=points["oracle_seconds"] + points["train_seconds"])
    panels = {"oracle_seconds": "seconds of truth", "seconds": "seconds of truth and training"}
    if not (points["oracle_seconds"] > 0).any():
        panels = {"train_seconds": "seconds of training"}
    with mpl.rc_context(STYLE):
        figure, drawn = plt.subplots(1, len(panels), figsize=(4.8 * len(panels), 4.6), sharey=True, squeeze=False)
        for axes, (column, seconds) in zip(drawn[0], panels.items(), strict=True):
            _curves(axes, points, rows, column, score)
            axes.set_xlabel(seconds)
        left = drawn[0, 0]
        left.set_ylabel(label)
        figure.legend(
            *left.get_legend_handles_labels(), fontsize=9, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncol=5
        )
        return to_svg(figure)


def profile(rows: list[dict[str, Any]], label: str, fixed: float) -> str:
    """The share of runs with less than each regret, up to the best fixed action's, for the best learners."""
    thresholds = np.geomspace(5e-3, 1, 200) * fixed
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.4, 4.6))
        for index, row in enumerate(_shown(rows)):
            share = performance_profile(-np.array(row["regret_by_seed"]), -thresholds)
            line = {"color": COLOURS[index % 8], "ls": _LINES[index // 8], "label": row["algorithm"]}
            axes.step(thresholds, share, where="post", **line)
        axes.set_xscale("log")
        axes.set_xlabel(label)
        axes.set_ylabel("share of runs below it")
        axes.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncol=4)
        return to_svg(figure)


def _shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The best learners, as many as colours and line styles tell apart, in the order of the rows."""
    learners = [r for r in rows if r.get("true_evaluations", 0) > 0]
    best = sorted(learners, key=lambda r: r["regret"] if "regret" in r else -r["value"])[: len(_LINES) * len(COLOURS)]
    return [r for r in learners if r in best]


def _curves(axes: Axes, points: pd.DataFrame, rows: list[dict[str, Any]], price: str, score: str) -> None:
    """The best learners' curves against one column of the points, and the exact references; regrets are logarithmic."""
    if score == "regret":  # the axis is logarithmic, so it ends at a thousandth
        points = points.assign(regret=points["regret"].clip(lower=1e-3))
    for index, row in enumerate(_shown(rows)):
        style = {"color": COLOURS[index % 8], "marker": MARKERS[index % 8], "ls": _LINES[index // 8]}
        _one_method(axes, points[points["algorithm"] == row["algorithm"]], price, score, row["algorithm"], style)
    for index, row in enumerate(r for r in rows if r.get("true_evaluations") == 0 and r["algorithm"] != "optimal"):
        axes.axhline(row[score], color="#777777", lw=1, ls=("--", ":", "-.")[index % 3], label=row["algorithm"])
    axes.set_xscale("log")
    if score == "regret":
        axes.set_yscale("log")
    # Over few decades matplotlib writes 3 × 10¹ beside 4 × 10¹, one upon the other.
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1.0, 2.0, 5.0) if high < 300 * low else (1.0,)))
    axes.xaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda x, _: f"{x:,.6g}"))
    axes.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())


def _one_method(axes: Axes, points: pd.DataFrame, price: str, score: str, label: str, style: dict[str, Any]) -> None:
    # Of several policies at one price the last counts.
    points = points.assign(point=points.groupby("seed").cumcount())
    for _, curve in points.groupby(["seed", price], as_index=False).last().groupby("seed"):
        axes.plot(curve[price], curve[score], color=style["color"], lw=0.8, alpha=0.35)
    # The runs of one method are judged at the same points of their course, so the n-th points belong together; what
    # they have paid by then may differ.
    middle = points.groupby("point")[[price, score]].median()
    middle = middle.groupby(price, as_index=False).last()
    axes.plot(middle[price], middle[score], ms=4.5, lw=2, label=label, **style)
