"""Running statistics of observations and rewards; they belong to the agent and are saved with it."""

from __future__ import annotations

from typing import Any

import numpy as np

from mbrl_split.agents.checkpoint import Stateful
from mbrl_split.interaction.spaces import Array

CLIP = 10.0
"""Standardised observations and rewards lie within ± this."""


class RunningMoments(Stateful):
    """Mean and variance of everything seen, in float64 (Chan, Golub and LeVeque's pairwise update)."""

    kept = ("mean", "var", "count")

    def __init__(self, size: int) -> None:
        self.mean = np.zeros(size)
        self.var = np.ones(size)
        self.count = 0.0

    def update(self, rows: Array) -> None:
        """Take in rows, (n, size)."""
        n = len(rows)
        if n == 0:
            return
        mean, var = rows.mean(axis=0, dtype=np.float64), rows.var(axis=0, dtype=np.float64)
        if self.count == 0:
            self.mean, self.var, self.count = mean, var, float(n)
            return
        total = self.count + n
        shift = mean - self.mean
        squares = self.var * self.count + var * n + shift**2 * self.count * n / total
        self.mean, self.var, self.count = self.mean + shift * n / total, squares / total, total

    def deviation(self) -> Array:
        """To divide by, (size,): never zero."""
        return np.asarray(np.sqrt(self.var + 1e-8))


class RewardScaler:
    """Divides rewards by the running deviation of the discounted return; the mean is left alone, so no sign changes."""

    def __init__(self, num_envs: int, gamma: float) -> None:
        self.moments = RunningMoments(1)
        self.gamma = gamma
        self._returns = np.zeros(num_envs)

    def update(self, rewards: Array, ended: Array, live: Array) -> None:
        """Take in one step of every sub-environment, each (n,)."""
        self._returns = np.where(live, self.gamma * self._returns + rewards, self._returns)
        self.moments.update(self._returns[live, None])
        self._returns[ended] = 0.0

    def __call__(self, rewards: Array) -> Array:
        return np.asarray(np.clip(rewards / self.moments.deviation(), -CLIP, CLIP))

    def state(self) -> dict[str, Any]:
        return {"moments": self.moments.state(), "returns": self._returns}

    def restore(self, state: dict[str, Any]) -> None:
        self.moments.restore(state["moments"])
        self._returns = state["returns"]
