"""How a network sees observations: as they are or standardised, and told apart by hat functions beside."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from mbrl_split.agents.normalise import CLIP, RunningMoments
from mbrl_split.errors import InvalidInputError
from mbrl_split.interaction.spaces import Array


class Encoding:
    """Rows of raw observations (n, d) to what the network is given, (n, size).

    A network that reads a place from one number learns slowly to treat neighbouring places differently: which of thirty
    levels is the present one, say, when the best action is to stay. With ``n_basis`` = k every component is followed by
    k hat functions of it, on k equal knots from its lower to its upper bound: 1 at the knot, 0 at the neighbours,
    linear between. They sum to one, so a linear layer on them is any piecewise linear function of the component.

    Args:
        space: A Box (every component bounded, where there are hats) or a Discrete space.
        rows: d, the length of a raw row.
        normalise: Standardise the raw components by running statistics, clipped at ±10.
        n_basis: Hat functions per component; 0 for none.

    Raises:
        InvalidInputError: Hats for a space without bounds, or a single hat.
    """

    def __init__(self, space: gym.Space[Any], rows: int, *, normalise: bool, n_basis: int) -> None:
        self.moments = RunningMoments(rows) if normalise else None
        self.size = rows * (1 + n_basis)
        self._hats = n_basis
        if n_basis == 0:
            return
        if n_basis < 2:
            raise InvalidInputError(f"n_basis must be 0, or at least 2 to span a component's bounds, not {n_basis!r}")
        if not isinstance(space, gym.spaces.Box) or not (
            np.isfinite(space.low).all() and np.isfinite(space.high).all()
        ):
            raise InvalidInputError(f"hat functions need a Box that is bounded in every component, not {space}")
        self._low = space.low.ravel().astype(np.float32)
        width = np.maximum(space.high.ravel().astype(np.float32) - self._low, np.finfo(np.float32).tiny)
        self._per_knot = (n_basis - 1) / width

    def update(self, rows: Array) -> None:
        """Take raw rows into the statistics."""
        if self.moments is not None:
            self.moments.update(rows)

    def __call__(self, rows: Array) -> Array:
        seen = rows
        if self.moments is not None:
            standardised = (rows - self.moments.mean) / self.moments.deviation()
            seen = np.clip(standardised, -CLIP, CLIP).astype(np.float32)
        if self._hats == 0:
            return seen
        place = np.clip((rows - self._low) * self._per_knot, 0, self._hats - 1)
        hats = np.maximum(0, 1 - np.abs(place[:, :, None] - np.arange(self._hats, dtype=np.float32)))
        return np.concatenate([seen, hats.reshape(len(rows), -1)], axis=1, dtype=np.float32)
