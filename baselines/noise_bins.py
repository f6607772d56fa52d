"""A rule per noise bin from a pilot: measure every split in a few contexts of each bin, keep each bin's best.

A table of eight numbers on the device; it often earns most of the contextual headroom. The bins are equal along the
scale of the first context column (the noise); the other columns are drawn at random. Contexts are measured bin after
bin, in turns, so that the budget serves all bins alike. In a session the pilot sees the plain load term.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mbrl_split.bench.base import Array, CurvePoint, Method, Task
from mbrl_split.interaction import Policy


@dataclass(frozen=True)
class NoiseBins(Method):
    """The best split of each bin."""

    bins: int = 8

    def learn(self, task: Task) -> Iterator[CurvePoint]:
        rng = task.rng(1)
        seen, rewards = np.empty(0, np.int64), np.empty((0, len(task.actions)))
        for n in task.stages(first=self.bins):
            bins = np.arange(len(seen), len(seen) + n) % self.bins
            context = task.contexts(n, rng)
            context[:, 0] = task.context_columns[0].from_unit((bins + rng.random(n)) / self.bins)
            damage = task.measure_actions(context, rng)
            if len(damage):
                seen = np.concatenate([seen, bins[: len(damage)]])
                rewards = np.concatenate([rewards, task.rewards(damage, context[: len(damage)])])
                yield CurvePoint(self._policy(task, seen, rewards))
            if len(damage) < n:
                return

    def _policy(self, task: Task, seen: NDArray[np.int64], rewards: Array) -> Policy:
        # A bin that the budget has not reached takes the split that is best overall.
        best = np.full(self.bins, task.actions[rewards.mean(axis=0).argmax()])
        for b in np.unique(seen):
            best[b] = task.actions[rewards[seen == b].mean(axis=0).argmax()]
        noise = task.context_columns[0]

        def rule(context: Array) -> NDArray[np.int64]:
            unit = np.clip(noise.to_unit(context[:, 0]), 0.0, 1.0)
            return best[np.minimum((unit * self.bins).astype(np.int64), self.bins - 1)]

        return task.problem.rule(rule)
