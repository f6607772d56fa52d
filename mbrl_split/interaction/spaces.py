"""Observations as rows of float32, actions as 0 … n−1, and spaces as plain data."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.errors import InvalidInputError
from mbrl_split.interaction.finite import SINGLE, check_finite

Array = NDArray[Any]
"""Any array; what is written beside it says the shape."""


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
        """A batch of n observations as float32 rows, (n, size); always a fresh array.

        Raises:
            InvalidInputError: Another shape, or outside a Discrete space.
        """
        x = np.asarray(obs)
        if x.shape[1:] != self._shape or x.ndim == 0:
            raise InvalidInputError(f"observations have shape {x.shape}; one has {self._shape}, a batch n of these")
        if self.discrete:
            index = whole_numbers("a discrete observation", x) - self._start
            if index.size and (index.min() < 0 or index.max() >= self.size):
                raise InvalidInputError(f"a discrete observation lies outside {self.space}")
            return np.asarray(np.eye(self.size, dtype=np.float32)[index])
        x = x.reshape(len(x), self.size)
        if x.dtype == np.float32:
            return x.copy()
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused as such
            return x.astype(np.float32)

    def batch(self, obs: ArrayLike) -> tuple[Array, bool]:
        """Rows of one observation or a batch, and whether it was a single one.

        Raises:
            InvalidInputError: The shape is neither that of one observation nor of a batch.
            NonFiniteError: An entry is not finite in single precision.
        """
        x = np.asarray(obs)
        single = x.shape == self._shape
        rows = self.rows(x[None] if single else x)
        check_finite("the observation", rows, advice=SINGLE)
        return rows, single


def whole_numbers(what: str, values: ArrayLike) -> Array:
    """Whole numbers as int64; True and False are 1 and 0.

    Raises:
        InvalidInputError: Others among them, or NaN or infinity.
    """
    array = np.asarray(values)
    if array.dtype.kind in "iu":
        return array.astype(np.int64)
    with np.errstate(invalid="ignore"):
        index = array.astype(np.int64)
    if not np.array_equal(index, array):
        raise InvalidInputError(f"{what} must be a whole number, not {array[index != array].flat[0]}")
    return np.asarray(index)


def n_actions(space: gym.Space[Any]) -> int:
    """Number of actions of a Discrete space.

    Raises:
        InvalidInputError: The space is continuous or of another kind.
    """
    if not isinstance(space, gym.spaces.Discrete):
        raise InvalidInputError(f"actions must be a Discrete space, not {space}")
    return int(space.n)


def check_mask(mask: ArrayLike | None, n: int, n_actions: int) -> Array | None:
    """A mask for n rows as booleans, (n, n_actions); None stays None.

    Args:
        mask: True where an action is allowed, shape (n_actions,) or (n, n_actions).
        n: Rows.
        n_actions: Actions.

    Raises:
        InvalidInputError: Another shape, or a row that allows nothing.
    """
    if mask is None:
        return None
    array = np.asarray(mask, dtype=bool)
    if array.shape not in ((n_actions,), (n, n_actions)):
        raise InvalidInputError(f"a mask has shape {array.shape}, expected ({n_actions},) or ({n}, {n_actions})")
    array = np.broadcast_to(array, (n, n_actions))
    if not array.any(axis=1).all():
        raise InvalidInputError("a mask allows no action at all")
    return array


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
