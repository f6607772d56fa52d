"""Observations as rows of float32, actions as 0 … n−1, and spaces as plain data."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.errors import InvalidInputError

Array = NDArray[Any]


class Observations:
    """Turns observations of a Box (flattened) or Discrete (one-hot) space into rows of float32.

    Attributes:
        size: Length of a row.

    Raises:
        InvalidInputError: Another kind of space.
    """

    def __init__(self, space: gym.Space[Any]) -> None:
        self._shape: tuple[int, ...]
        if isinstance(space, gym.spaces.Discrete):
            self.size, self._shape, self._start = int(space.n), (), int(space.start)
        elif isinstance(space, gym.spaces.Box) and np.prod(space.shape) > 0:
            self.size, self._shape = int(np.prod(space.shape)), space.shape
        else:
            raise InvalidInputError(f"observations must be a non-empty Box or Discrete space, not {space}")
        self.discrete = isinstance(space, gym.spaces.Discrete)
        self.space = space

    def rows(self, obs: ArrayLike) -> Array:
        """A batch of n observations as float32 rows, (n, size); always a fresh array."""
        x = np.asarray(obs)
        if x.shape[1:] != self._shape:
            raise InvalidInputError(
                f"observations have shape {x.shape}, expected (n, {', '.join(map(str, self._shape))})"
            )
        if self.discrete:
            index = x.astype(np.int64) - self._start
            if index.size and (index.min() < 0 or index.max() >= self.size):
                raise InvalidInputError(f"a discrete observation lies outside {self.space}")
            return np.eye(self.size, dtype=np.float32)[index]
        return x.reshape(len(x), self.size).astype(np.float32)

    def batch(self, obs: ArrayLike) -> tuple[Array, bool]:
        """Rows of one observation or a batch, and whether it was a single one.

        Raises:
            InvalidInputError: The shape is neither that of one observation nor of a batch.
        """
        x = np.asarray(obs)
        if x.shape == self._shape:
            return self.rows(x[None]), True
        if x.ndim == len(self._shape) + 1 and x.shape[1:] == self._shape:
            return self.rows(x), False
        raise InvalidInputError(f"an observation has shape {x.shape}, expected {self._shape} or (n, *{self._shape})")


def n_actions(space: gym.Space[Any]) -> int:
    """Number of actions of a Discrete space.

    Raises:
        InvalidInputError: The space is continuous or of another kind.
    """
    if not isinstance(space, gym.spaces.Discrete):
        raise InvalidInputError(f"actions must be a Discrete space, not {space}")
    return int(space.n)


def to_data(space: gym.Space[Any]) -> dict[str, Any]:
    """A Box or Discrete space as plain data (arrays included)."""
    if isinstance(space, gym.spaces.Discrete):
        return {"kind": "discrete", "n": int(space.n), "start": int(space.start)}
    assert isinstance(space, gym.spaces.Box)
    return {"kind": "box", "low": space.low, "high": space.high, "dtype": np.dtype(space.dtype).str}


def from_data(data: dict[str, Any]) -> gym.Space[Any]:
    """The space that :func:`to_data` described."""
    if data["kind"] == "discrete":
        return gym.spaces.Discrete(data["n"], start=data["start"])
    return gym.spaces.Box(data["low"], data["high"], dtype=np.dtype(data["dtype"]).type)
