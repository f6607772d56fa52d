"""Policies that look the best split up, for methods that end with a rule or with a predicted damage."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.bench.base import Array, Policy, Task
from mbrl_split.evaluation import SessionModel, towards


class RulePolicy:
    """A rule from contexts to splits. In a session it reads the context off the observation.

    Args:
        task: The problem.
        rule: Contexts (n, columns) → splits (n,), 1 … L−1.
    """

    def __init__(self, task: Task, rule: Callable[[Array], NDArray[np.int64]]) -> None:
        self.task, self.rule = task, rule

    def __call__(self, context: Array, split: NDArray[np.int64], step: int) -> NDArray[np.int64]:
        return self.rule(context)

    def act(self, obs: ArrayLike, *, deterministic: bool = True) -> NDArray[np.int64]:
        """Actions of the environment for a batch of observations, (n,)."""
        task = self.task
        unit = np.clip(np.atleast_2d(np.asarray(obs, dtype=np.float64)), 0.0, 1.0)
        columns = task.columns
        context = np.column_stack([c.from_unit(unit[:, j]) for j, c in enumerate(columns[1:])])
        split = columns[0].from_unit(unit[:, len(columns) - 1]).astype(np.int64)
        reached = towards(task.scenario, task.n_layers, split, self.rule(context))
        if task.scenario.actions == "absolute":
            return reached - 1
        return reached - split + task.scenario.max_move


def lookup_policy(task: Task, damage_at: Callable[[Array], Array], *, plan: bool = False) -> Policy:
    """The split with the best composed reward; in a session with what moving there costs, which is closed form.

    Args:
        task: The problem.
        damage_at: Queries (n, 1 + columns) → predicted damage (n,), nats/token.
        plan: In a session, look ahead to its end instead.
    """
    if task.scenario.dynamics is None:
        return RulePolicy(task, lambda context: task.greedy(damage_at, context))
    return SessionModel(task.scenario, task.n_layers, damage_at).policy("optimal" if plan else "myopic-with-cost")
