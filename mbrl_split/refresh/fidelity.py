"""How much truth a row gets: its size, and when enough of it is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mbrl_split.errors import InvalidInputError
from mbrl_split.refresh.design import with_all_actions
from mbrl_split.refresh.reward_function import RewardFunction
from mbrl_split.registry import unknown
from mbrl_split.surrogates.base import Surrogate

Array = NDArray[np.float64]

_DRAWS = 128


@dataclass(frozen=True)
class Fidelity:
    """The size of a measurement, and whether it comes in parts.

    Charged is what is measured, in proportion to the declared size. With more than one part a measurement is
    sequential: every part is a measurement of the row with a seed of its own, the surrogate learns it, and the row
    gets no further part once the best action of its context is known with ``confidence``. Plain data, as schedules are.

    Attributes:
        size: Size of one part, in the oracle's unit; None is its declared size.
        sequential_parts: Most parts of one row.
        confidence: Posterior probability of the best action at which a row's parts end.

    Example:
        >>> from mbrl_split.refresh import Fidelity
        >>> Fidelity(size=256, sequential_parts=4).rows(evaluations=10, declared=1024)  # of four quarters at most
        10
    """

    size: int | None = None
    sequential_parts: int = 1
    confidence: float = 0.95

    def __post_init__(self) -> None:
        for name in ("size", "sequential_parts"):
            value = getattr(self, name)
            if value is not None and (value != int(value) or value < 1):
                raise InvalidInputError(f"Fidelity: {name} is an integer of at least 1, not {value}")
        if not 0 < self.confidence <= 1:
            raise InvalidInputError(f"Fidelity: confidence is a probability above 0, not {self.confidence}")

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """From plain data, as a suite has it.

        Raises:
            InvalidInputError: An unknown setting, or a value out of range.
        """
        known = [f.name for f in fields(cls)]
        for name in settings:
            if name not in known:
                raise InvalidInputError(unknown("setting of fidelity", name, known))
        return cls(**settings)

    def config(self) -> dict[str, Any]:
        """The settings as plain data."""
        return asdict(self)

    def rows(self, evaluations: float, declared: int) -> int:
        """Rows whose parts together cost at most ``evaluations``, references apart; at least 1.

        Args:
            evaluations: True evaluations.
            declared: Size of one true evaluation.
        """
        return max(1, int(evaluations / self.price(declared) + 1e-9))

    def price(self, declared: int) -> float:
        """True evaluations that all parts of one row cost, references apart.

        Args:
            declared: Size of one true evaluation.
        """
        return (self.size or declared) * self.sequential_parts / declared


def probability_best(
    X: Array, surrogate: Surrogate, reward_function: RewardFunction, rng: np.random.Generator
) -> Array:
    """How sure the surrogate is which action is best in the context of each row, (n,): a posterior probability.

    It is the share of posterior draws in which the action that the mean calls best is best. Two actions of equal
    reward stay near ½, however well both are known.
    """
    pool = with_all_actions(
        np.delete(X, reward_function.action, axis=1), reward_function.columns, reward_function.action
    )
    shape = (len(X), -1)
    best = reward_function.reward(surrogate.predict(pool).mean, pool).reshape(shape).argmax(axis=1)
    draws = reward_function.reward(surrogate.sample(pool, _DRAWS, rng), pool).reshape(_DRAWS, *shape)
    return np.asarray((draws.argmax(axis=2) == best).mean(axis=0))
