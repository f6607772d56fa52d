"""What the rows of one problem say about each other: the price of a stated regret, and who beats whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mbrl_split.evaluation import Interval, holm, paired_difference, paired_test, probability_of_improvement

LEVEL = 0.05
"""Holm-adjusted p-values above it are ties."""


@dataclass(frozen=True)
class Price:
    """What a method paid to first reach, and hold, the stated regret.

    Attributes:
        algorithm: The row.
        held: Seeds that did.
        seeds: Of how many, failed runs included.
        evaluations: Median over all seeds, one that never held it (or failed) counting as infinitely many.
        seconds: The same of seconds, truth and training.
    """

    algorithm: str
    held: int
    seeds: int
    evaluations: float
    seconds: float


@dataclass(frozen=True)
class PairedComparison:
    """One method against the subject, paired by seed.

    Attributes:
        algorithm: The other row.
        difference: Its regret minus the subject's (IQM over the shared seeds), with an interval from ten seeds on.
        p: Holm-adjusted over all duels of the problem.
        improvement: Probability that a run of the subject has less regret than a run of the other.
        verdict: Of the subject: ``"better"``, ``"worse"``, ``"tie"``, or ``"too few seeds"`` where even runs that all
            agree would not have been told apart.
    """

    algorithm: str
    difference: Interval
    p: float
    improvement: float
    verdict: str


def learners(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows that ended and paid for truth."""
    return [r for r in rows if "score" in r and r["true_evaluations"] > 0]


def on_surrogate(row: dict[str, Any]) -> bool:
    """Model-based reinforcement learning: an agent trained, or a plan made, on a surrogate."""
    return row["kind"] in ("rl", "planning") and row["source"] not in (None, "oracle")


def on_truth(row: dict[str, Any]) -> bool:
    """Reinforcement learning from true evaluations alone, ours or a baseline's."""
    return row["kind"] == "rl" and row["source"] in (None, "oracle")


def without_rl(row: dict[str, Any]) -> bool:
    """A rule, a regression or a bandit that chooses by looking up."""
    return row["kind"] in ("lookup", "bandit")


def subject(rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The model-based row with the least regret; None without one."""
    ours = [r for r in learners(rows) if on_surrogate(r) and "regret" in r]
    return min(ours, key=lambda r: r["regret"], default=None)


def prices(rows: Sequence[dict[str, Any]]) -> list[Price]:
    """One for each learner, cheapest first; those that never held it last, in the order of the rows."""
    found = []
    for row in learners(rows):
        reached = row["reach"]["by_seed"] + [None] * len(row.get("failed", ()))
        evaluations, seconds = (
            float(np.median([np.inf if r is None else r[name] for r in reached])) for name in ("evaluations", "seconds")
        )
        held = sum(r is not None for r in reached)
        found.append(Price(row["algorithm"], held, len(reached), evaluations, seconds))
    return sorted(found, key=lambda price: price.evaluations)


def duels(rows: Sequence[dict[str, Any]], against: dict[str, Any]) -> list[PairedComparison]:
    """``against`` with every other learner that shares at least two of its seeds."""
    mine = dict(zip(against["regret_seeds"], against["regret_by_seed"], strict=True))
    pairs = {}
    for row in learners(rows):
        theirs = dict(zip(row["regret_seeds"], row["regret_by_seed"], strict=True))
        shared = sorted(mine.keys() & theirs.keys())
        if row["algorithm"] != against["algorithm"] and len(shared) > 1:
            pairs[row["algorithm"]] = np.array([[theirs[s], mine[s]] for s in shared]).T
    p = holm([paired_test(*pair) for pair in pairs.values()])
    found = []
    for (algorithm, (theirs, ours)), adjusted in zip(pairs.items(), p, strict=True):
        difference = paired_difference(theirs, ours)
        verdict = "better" if np.mean(theirs - ours) > 0 else "worse"
        if adjusted > LEVEL:
            # All signs alike have probability 2/2ⁿ, and the smallest of k p-values is multiplied by k.
            verdict = "tie" if len(pairs) * 2.0 ** (1 - len(ours)) <= LEVEL else "too few seeds"
        chance = probability_of_improvement(-ours, -theirs)
        found.append(PairedComparison(algorithm, difference, float(adjusted), chance, verdict))
    return found
