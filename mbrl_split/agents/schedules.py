"""Numbers that change while learning, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mbrl_split.errors import InvalidInputError


@dataclass(frozen=True)
class Constant:
    """The same value throughout.

    Attributes:
        value: What it is throughout.

    Example:
        >>> from mbrl_split.agents import Constant
        >>> Constant(0.1)(0.5)
        0.1
    """

    value: float

    def __call__(self, progress: float) -> float:
        return self.value


@dataclass(frozen=True)
class Linear:
    """From ``start`` to ``end``, reached when the share ``until`` of the learning is done; ``end`` from there on.

    Attributes:
        start: The value at the beginning.
        end: The value at the end.
        until: Share of the learning after which the end is reached, 0 … 1.

    Example:
        >>> from mbrl_split.agents import Linear
        >>> epsilon = Linear(1.0, 0.1, until=0.5)
        >>> [round(epsilon(done), 2) for done in (0.0, 0.25, 0.5, 1.0)]
        [1.0, 0.55, 0.1, 0.1]
    """

    start: float
    end: float = 0.0
    until: float = 1.0

    def __call__(self, progress: float) -> float:
        share = min(max(progress / self.until, 0.0), 1.0) if self.until > 0 else 1.0
        return self.start + share * (self.end - self.start)


Schedule = Constant | Linear


def schedule(value: float | Schedule | dict[str, Any]) -> Schedule:
    """A schedule from a number, a schedule, or its data (``{"linear": {"start": 1e-3, "end": 0}}``).

    Progress is the share of the total given at ``learn`` that is done, 0 … 1.

    Raises:
        InvalidInputError: Anything else; functions cannot be saved as data.
    """
    if isinstance(value, Constant | Linear):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Constant(float(value))
    if isinstance(value, dict) and len(value) == 1:
        kind, fields = next(iter(value.items()))
        kinds: dict[str, type[Schedule]] = {"constant": Constant, "linear": Linear}
        if kind in kinds and isinstance(fields, dict):
            try:
                return kinds[kind](**fields)
            except TypeError:
                pass
    raise InvalidInputError(f"a schedule is a number, Constant(value) or Linear(start, end, until), not {value!r}")


def to_data(value: Schedule) -> dict[str, Any]:
    """What :func:`schedule` reads back."""
    return {type(value).__name__.lower(): asdict(value)}
