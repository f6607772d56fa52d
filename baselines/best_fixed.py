"""The best fixed split from a pilot: measure every split in random contexts, keep the one with the best mean reward.

What is deployed when nobody wants to adapt. The judge's own ``best-fixed`` knows the truth for nothing; this one pays.
In a session the pilot sees the plain load term, not the bill of a turn.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mbrl_split.bench.base import CurvePoint, Method, Task


class BestFixed(Method):
    """One split for all contexts."""

    def learn(self, task: Task) -> Iterator[CurvePoint]:
        rng = task.rng(1)
        rewards = np.empty((0, len(task.actions)))
        for n in task.stages(first=4):
            context = task.contexts(n, rng)
            damage = task.measure_actions(context, rng)
            if len(damage):
                rewards = np.concatenate([rewards, task.rewards(damage, context[: len(damage)])])
                best = int(task.actions[rewards.mean(axis=0).argmax()])
                yield CurvePoint(task.problem.rule(lambda context, best=best: np.full(len(context), best)))
            if len(damage) < n:
                return
