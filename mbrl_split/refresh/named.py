"""Acquisitions that wrap another one, made from names: what a suite or a tuning task can write down."""

from __future__ import annotations

from typing import Any

from mbrl_split.errors import InvalidInputError
from mbrl_split.refresh.scored import CostAware, Diverse, ScoredAcquisition
from mbrl_split.registry import ACQUISITIONS


def cost_aware(inner: str = "epistemic", **settings: Any) -> CostAware:
    """:class:`CostAware` around a registered acquisition.

    Args:
        inner: Its name; one that gives every row a score.
        **settings: Its settings.

    Raises:
        InvalidInputError: An unknown name, or an acquisition without a score.
    """
    return CostAware(_scored(inner, settings))


def diverse(inner: str = "epistemic", radius: float = 0.1, **settings: Any) -> Diverse:
    """:class:`Diverse` around a registered acquisition.

    Args:
        inner: Its name; one that gives every row a score.
        radius: See :class:`Diverse`.
        **settings: Settings of the inner one.

    Raises:
        InvalidInputError: An unknown name, or an acquisition without a score.
    """
    return Diverse(_scored(inner, settings), radius)


def _scored(name: str, settings: dict[str, Any]) -> ScoredAcquisition:
    made = ACQUISITIONS[name](**settings)
    if not isinstance(made, ScoredAcquisition):
        raise InvalidInputError(f"acquisition {name!r} gives rows no score, which cost-aware and diverse need")
    return made
