"""Pictures of a landscape, as SVG."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from mbrl_split.bench.figures import COLOURS, STYLE, to_svg
from mbrl_split.layer_split.landscape.landscape import View


def nll_by_split(view: View) -> str:
    """NLL against the split at three levels of the channel; perplexity on the right-hand axis."""
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.4, 4.2))
        splits = np.arange(1, view.n_layers)
        for (label, curve), colour in zip(view.curves.items(), (COLOURS[2], COLOURS[4], COLOURS[1]), strict=True):
            at = ", ".join(f"{name} {value:.3g}" for name, value in curve["context"].items())
            error = 1.96 * np.asarray(curve["std_error"])
            axes.errorbar(
                splits, curve["nll"], error, color=colour, marker="o", ms=3.5, capsize=2, label=f"{label}: {at}"
            )
        axes.axhline(view.clean_nll, color="#555555", lw=1, ls="--", label="no channel")
        axes.set_title(view.name, fontsize=11, loc="left")
        axes.set_xlabel("split: layers on the device")
        axes.set_ylabel("NLL (nats/token)")
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
        right = axes.secondary_yaxis("right", functions=(_perplexity, _nll))
        right.set_yscale("log")
        for set_format in (right.yaxis.set_major_formatter, right.yaxis.set_minor_formatter):
            set_format(mpl.ticker.StrMethodFormatter("{x:g}"))
        right.set_ylabel("perplexity")
        axes.legend(fontsize=8)
        return to_svg(figure)


def best_by_intensity(view: View) -> str:
    """The split of the highest reward against how bad the channel is, with its 95 % band."""
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.4, 4.2))
        at = view.best["at"]
        axes.fill_between(at, view.best["low"], view.best["high"], color=COLOURS[0], alpha=0.2, lw=0, step="mid")
        axes.step(at, view.best["split"], where="mid", color=COLOURS[0], lw=2, label="best split")
        axes.axhline(view.headroom["best_fixed_split"], color="#777777", ls="--", lw=1, label="best fixed split")
        if not view.falling:
            axes.set_xscale("log")
        else:
            axes.invert_xaxis()  # worse to the right, as in the other pictures
        axes.set_ylim(0.5, view.n_layers - 0.5)
        axes.yaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
        axes.set_title(f"{view.name}: {view.trend.verdict}, τ {view.trend.kendall}", fontsize=11, loc="left")
        axes.set_xlabel(view.intensity)
        axes.set_ylabel("split")
        axes.legend(fontsize=9)
        return to_svg(figure)


def _perplexity(nll: object) -> np.ndarray:
    return np.exp(np.minimum(np.asarray(nll, dtype=np.float64), 50))


def _nll(perplexity: object) -> np.ndarray:
    return np.log(np.maximum(np.asarray(perplexity, dtype=np.float64), 1e-9))
