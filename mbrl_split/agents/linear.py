"""Contextual bandits with a linear model per arm: LinUCB and LinTS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from mbrl_split.agents.bandit import Bandit, BanditConfig
from mbrl_split.agents.config import NonNegative, Positive
from mbrl_split.interaction.spaces import Array


@dataclass(frozen=True)
class LinearConfig(BanditConfig):
    """Settings of both linear bandits.

    Attributes:
        alpha: LinUCB: width of the bonus, in deviations. LinTS: scale of the posterior's deviation.
        l2_lambda: Ridge penalty λ on every coefficient, the intercept included.
        intercept: Add a constant feature.
        scale: Map coordinates with finite bounds to [−1, 1]; one λ then suits them all. The others stay as they are.
    """

    alpha: NonNegative = 1.0
    l2_lambda: Positive = 1.0
    intercept: bool = True
    scale: bool = True


class LinearBandit(Bandit):
    """Ridge regression of the reward on the context, for each arm on its own: V_a = λI + Σxxᵀ, b_a = Σr·x."""

    Config = LinearConfig

    def _build(self) -> None:
        super()._build()
        size, space = self._observations.size, self.observation_space
        self._centre, self._half = np.zeros(size), np.ones(size)
        if self.config.scale and isinstance(space, gym.spaces.Box):
            low, high = (np.asarray(bound, dtype=np.float64).reshape(-1) for bound in (space.low, space.high))
            # Bounds that are merely the largest float32 count as none.
            bounded = (np.abs(low) < 1e30) & (np.abs(high) < 1e30) & (high > low)
            self._centre[bounded] = (low[bounded] + high[bounded]) / 2
            self._half[bounded] = (high[bounded] - low[bounded]) / 2
        d = size + self.config.intercept
        self.precision = np.tile(self.config.l2_lambda * np.eye(d), (self.n_actions, 1, 1))
        self.moment = np.zeros((self.n_actions, d))
        self.root, self.coefficients = np.empty_like(self.precision), np.empty_like(self.moment)
        self._solve(np.arange(self.n_actions))

    def _solve(self, arms: Array) -> None:
        """For some arms R with V⁻¹ = R·Rᵀ, and θ = V⁻¹b."""
        root = _root(self.precision[arms], self.config.l2_lambda)
        self.root[arms] = root
        self.coefficients[arms] = np.einsum("aij,aj->ai", root, np.einsum("aij,ai->aj", root, self.moment[arms]))

    def features(self, contexts: Array) -> Array:
        """Rows of the regression, (n, d)."""
        x = (contexts - self._centre) / self._half
        return np.asarray(np.hstack([x, np.ones((len(x), 1))]) if self.config.intercept else x)

    def means(self, contexts: Array) -> Array:
        """Predicted rewards, (n, A)."""
        return np.asarray(self.features(contexts) @ self.coefficients.T)

    def widths(self, contexts: Array) -> Array:
        """√(xᵀV⁻¹x), (n, A); ‖x‖/√λ for an arm that was never pulled."""
        z = self.features(contexts) @ self.root
        return np.asarray(np.sqrt(np.einsum("ani,ani->na", z, z)))

    def _learn(self, contexts: Array, arms: Array, rewards: Array) -> None:
        x, pulled = self.features(contexts), np.flatnonzero(np.bincount(arms))
        for arm in pulled.tolist():
            rows = arms == arm
            rows_t = x[rows].T
            self.precision[arm] += rows_t @ rows_t.T
            self.moment[arm] += rows_t @ rewards[rows]
        self._solve(pulled)

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "precision": self.precision, "moment": self.moment}

    def _restore(self, state: dict[str, Any]) -> None:
        super()._restore(state)
        self.precision, self.moment = state["precision"], state["moment"]
        self._solve(np.arange(self.n_actions))


def _root(precision: Array, l2_lambda: float) -> Array:
    """R with V⁻¹ = R·Rᵀ for matrices V ≥ λI, (a, d, d)."""
    try:
        return np.asarray(np.linalg.inv(np.linalg.cholesky(precision)).swapaxes(1, 2))
    except np.linalg.LinAlgError:
        if len(precision) > 1:  # each on its own: what becomes of one must not depend on the others
            return np.concatenate([_root(v[None], l2_lambda) for v in precision])
    # Features so large and so nearly collinear that rounding has lost V⁻¹. By the eigenvalues of V scaled to a unit
    # diagonal, S·V·S: none lies below λ·min S², and that much is put back.
    scale = 1 / np.sqrt(np.einsum("aii->ai", precision))
    values, vectors = np.linalg.eigh(scale[:, :, None] * precision * scale[:, None, :])
    least = l2_lambda * scale.min(axis=1, keepdims=True) ** 2
    return np.asarray(scale[:, :, None] * vectors / np.sqrt(np.maximum(values, least))[:, None, :])


class LinUCB(LinearBandit):
    """The arm with the largest xᵀθ + α·√(xᵀV⁻¹x) (Li et al., 2010, the disjoint model).

    Example:
        >>> import gymnasium as gym, numpy as np
        >>> from mbrl_split.agents import LinUCB
        >>> rng = np.random.default_rng(0)
        >>> agent = LinUCB(gym.spaces.Box(-1, 1, (1,)), gym.spaces.Discrete(2), seed=0)
        >>> for _ in range(50):
        ...     contexts = rng.uniform(-1, 1, (8, 1))
        ...     arms = agent.act(contexts)
        ...     agent.observe(contexts, arms, np.where(arms == 1, contexts[:, 0], 0.0))
        >>> agent.act(np.array([[-0.9], [0.9]]), deterministic=True)
        array([0, 1])
    """

    draws = False

    def scores(self, contexts: Array, rng: np.random.Generator | None) -> Array:
        means = self.means(contexts)
        return means if rng is None else means + self.config.alpha * self.widths(contexts)


class LinTS(LinearBandit):
    """The arm with the largest xᵀθ̃, θ̃ ~ N(θ, α²·V⁻¹) drawn for every context (Agrawal and Goyal, 2013).

    Example:
        >>> import gymnasium as gym, numpy as np
        >>> from mbrl_split.agents import LinTS
        >>> rng = np.random.default_rng(0)
        >>> agent = LinTS(gym.spaces.Box(-1, 1, (1,)), gym.spaces.Discrete(2), seed=0)
        >>> for _ in range(50):
        ...     contexts = rng.uniform(-1, 1, (8, 1))
        ...     arms = agent.act(contexts)
        ...     agent.observe(contexts, arms, np.where(arms == 1, contexts[:, 0], 0.0))
        >>> agent.act(np.array([[-0.9], [0.9]]), deterministic=True)
        array([0, 1])
    """

    def scores(self, contexts: Array, rng: np.random.Generator | None) -> Array:
        means = self.means(contexts)
        if rng is None:
            return means
        # xᵀθ̃ of one context and one arm is normal; contexts and arms have draws of their own.
        return np.asarray(means + self.config.alpha * self.widths(contexts) * rng.standard_normal(means.shape))
