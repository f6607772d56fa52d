"""Figures of a tuning study, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from mbrl_split.bench.figures import COLOURS, STYLE, to_svg
from mbrl_split.tuning import Candidate, mean_evaluations, outcomes_of

_FLOOR = 1e-4  # a regret can be 0, or below it by the judge's noise; the axis is logarithmic


def front(study: Any, found: Sequence[Candidate], chosen: Candidate) -> str:
    """Regret against the true evaluations of a run: all trials, and the candidates when looked at again."""
    trials, unit = _complete(study), chosen.unit
    paid = [t.values[1] if len(t.values) > 1 else _evaluations(t) for t in trials]
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.4, 4.4))
        axes.scatter(
            paid,
            _visible([t.values[0] for t in trials], unit),
            s=14,
            color="#999999",
            alpha=0.7,
            label="trials (search)",
        )
        if len(study.directions) > 1:
            best = sorted((t.values[1], t.values[0]) for t in study.best_trials)
            x, y = zip(*best, strict=True)
            axes.step(x, _visible(y, unit), where="post", color=COLOURS[0], lw=1.6, label="Pareto front (search)")
        ordered = sorted(found, key=lambda c: c.evaluations)
        at = _visible([c.iqm for c in ordered], unit)
        ends = [c.interval or (c.iqm, c.iqm) for c in ordered]
        bars = np.abs(np.array([_visible(e, unit) for e in ends]).T - at)
        axes.errorbar(
            [c.evaluations for c in ordered],
            at,
            bars,
            fmt="s",
            color=COLOURS[1],
            ms=5.5,
            capsize=3,
            label="fresh seeds, held-out contexts (IQM, 95 %)",
        )
        axes.scatter(
            [chosen.evaluations],
            _visible([chosen.iqm], unit),
            s=150,
            facecolor="none",
            edgecolor="black",
            lw=1.4,
            label="kept",
        )
        axes.set_yscale(_scale(unit))
        axes.set_xlabel("true evaluations per run")
        axes.set_ylabel(_regret(unit))
        axes.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncol=2)
        return to_svg(figure)


def history(study: Any) -> str:
    """Regret by trial, and the best so far."""
    trials = sorted(_complete(study), key=lambda t: t.number)
    regret, unit = [t.values[0] for t in trials], outcomes_of(trials[0])[0].unit
    feasible = [
        r if all(c <= 0 for c in t.constraints.values()) else np.inf for r, t in zip(regret, trials, strict=True)
    ]
    best = np.minimum.accumulate(feasible)
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.4, 3.6))
        numbers = np.array([t.number for t in trials])
        axes.scatter(numbers, _visible(regret, unit), s=16, color=COLOURS[0], label="trial")
        known = np.isfinite(best)
        axes.step(
            numbers[known], _visible(best[known], unit), where="post", color=COLOURS[1], lw=1.8, label="lowest so far"
        )
        axes.set_yscale(_scale(unit))
        axes.set_xlabel("trial")
        axes.set_ylabel(_regret(unit))
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
        axes.legend(fontsize=9)
        return to_svg(figure)


def importance(study: Any) -> str | None:
    """How much of the regret's spread each parameter explains (fANOVA); None where there is too little to say."""
    try:
        found = optuna.importance.get_param_importances(
            study,
            evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0),
            target=lambda t: t.values[0],
            params=_shared(study),
        )
    except (ValueError, RuntimeError):  # fewer than two trials, or parameters that never varied
        return None
    if not found:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.4, 0.9 + 0.4 * len(found)))
        names = list(found)[::-1]
        axes.barh(names, [found[n] for n in names], color=COLOURS[0])
        axes.set_xlabel("share of the regret's variance (settings of single members left out)")
        return to_svg(figure)


def _complete(study: Any) -> list[FrozenTrial]:
    trials: list[FrozenTrial] = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return trials


def _shared(study: Any) -> list[str]:
    """Parameters that every trial has."""
    names = [set(t.params) for t in _complete(study)]
    return sorted(set.intersection(*names)) if names else []


def _evaluations(trial: FrozenTrial) -> float:
    return mean_evaluations(outcomes_of(trial))


def _visible(regret: Any, unit: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    numbers = np.asarray(regret, dtype=np.float64)
    return numbers if unit == "value" else np.maximum(numbers, _FLOOR)


def _scale(unit: str) -> str:
    return "linear" if unit == "value" else "log"


def _regret(unit: str) -> str:
    names = {"headroom": "normalised regret (0 optimal, 1 best fixed action)", "reward": "regret (reward)"}
    return names.get(unit, "minus the value")
