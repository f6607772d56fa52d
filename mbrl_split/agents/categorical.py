"""The categorical distribution over allowed actions, by rows of logits."""

from __future__ import annotations

import numpy as np

from mbrl_split.errors import InvalidInputError
from mbrl_split.interaction.finite import check_finite
from mbrl_split.interaction.spaces import Array


def log_softmax(logits: Array, mask: Array | None = None) -> tuple[Array, Array]:
    """Log-probabilities and probabilities, each (n, A).

    A forbidden action has probability 0; its log-probability is given as 0 too, so that p·log p is the right summand of
    the entropy (its limit) and nothing infinite enters a product.
    """
    if mask is None:
        shifted = logits - np.maximum.reduce(logits, axis=1, keepdims=True)
        p = np.exp(shifted)
        total = np.add.reduce(p, axis=1, keepdims=True)
        shifted -= np.log(total)
        p /= total
        return shifted, p
    shifted = logits - np.where(mask, logits, -np.inf).max(axis=1, keepdims=True)
    shifted = np.where(mask, shifted, -np.inf)
    p = np.exp(shifted)
    total = p.sum(axis=1, keepdims=True)
    return np.where(mask, shifted - np.log(total), 0).astype(logits.dtype, copy=False), p / total


def sample(p: Array, rng: np.random.Generator) -> Array:
    """One index per row, by inversion of the cumulative weights; never one of weight 0.

    Raises:
        NonFiniteError: A weight is NaN.
        InvalidInputError: All weights of a row are 0.
    """
    cumulative = p.cumsum(axis=1, dtype=np.float64)
    total = cumulative[:, -1]
    if not np.minimum.reduce(total) > 0:
        check_finite("the sum of the actions' probabilities", total)
        raise InvalidInputError(f"no action has a positive probability in row {int(np.argmin(total > 0))}")
    # Rounding must not lift the threshold to the total, or the last index could be drawn though its weight is 0.
    threshold = np.minimum(rng.random(len(p)) * total, np.nextafter(total, 0.0))
    return np.asarray((cumulative <= threshold[:, None]).sum(axis=1))


def best(logits: Array, mask: Array | None = None) -> Array:
    """The allowed index with the largest value, per row."""
    if mask is None:
        return np.asarray(logits.argmax(axis=1))
    allowed = np.where(mask, logits, -np.inf)
    # An allowed value may itself be −∞, and must still come before a forbidden one.
    return np.asarray(np.argmax(mask & (allowed == allowed.max(axis=1, keepdims=True)), axis=1))


def best_of_numbers(what: str, values: Array, mask: Array | None = None) -> Array:
    """:func:`best`, but nothing is the best where an allowed value is NaN.

    Raises:
        NonFiniteError: It is.
    """
    unknown = np.isnan(values) if mask is None else np.isnan(values) & mask
    if unknown.any():
        check_finite(what, np.where(unknown, np.nan, 0.0))
    return best(values, mask)
