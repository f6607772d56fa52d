"""Successive halving per noise bin: drop the worse half of the splits, spend what that saves on the better half.

Best-arm identification with a fixed budget (Karnin, Koren and Somekh 2013), in each bin of the first context column on
its own: ⌈log2 K⌉ rounds, an equal share of the budget for each; in a round every surviving split is measured in the
same random contexts of the bin, and the half with the lower mean reward goes. Means run over all rounds so far: all
survivors saw the same contexts. In a session the rounds see the plain load term.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mbrl_split import InvalidInputError
from mbrl_split.bench.base import Array, CurvePoint, Method, Task


@dataclass(frozen=True)
class SuccessiveHalving(Method):
    """The winner of each bin."""

    bins: int = 8

    def learn(self, task: Task) -> Iterator[CurvePoint]:
        rng, noise = task.rng(1), task.context_columns[0]
        rounds = int(np.ceil(np.log2(len(task.actions))))
        # Shared references are charged once: set that aside before sharing the budget.
        clean = task.ledger.oracle.reference_evaluations
        share = (task.ledger.remaining - clean) / (rounds * self.bins)
        if not len(task.actions) <= share < np.inf:
            raise InvalidInputError(
                f"successive halving of {len(task.actions)} splits in {self.bins} bins needs "
                f"{int(clean) + rounds * self.bins * len(task.actions)} true evaluations or more, and a budget"
            )
        alive = [task.actions for _ in range(self.bins)]
        rewards = [np.empty((0, len(task.actions))) for _ in range(self.bins)]
        for _ in range(rounds):
            for b in range(self.bins):
                context = task.contexts(int(share // len(alive[b])), rng)
                context[:, 0] = noise.from_unit((b + rng.random(len(context))) / self.bins)
                damage = task.measure_actions(context, rng, alive[b])
                rewards[b] = np.concatenate([rewards[b], task.rewards(damage, context[: len(damage)], alive[b])])
                order = np.argsort(-rewards[b].mean(axis=0), kind="stable")
                kept = np.sort(order[: -(-len(order) // 2)])
                alive[b], rewards[b] = alive[b][kept], rewards[b][:, kept]
            # The split in front so far; after the last round it is the only one.
            best = np.array([a[r.mean(axis=0).argmax()] for a, r in zip(alive, rewards, strict=True)])

            def rule(context: Array, best: NDArray[np.int64] = best) -> NDArray[np.int64]:
                unit = np.clip(noise.to_unit(context[:, 0]), 0.0, 1.0)
                return best[np.minimum((unit * self.bins).astype(np.int64), self.bins - 1)]

            yield CurvePoint(task.problem.rule(rule))
