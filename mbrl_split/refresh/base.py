"""The contracts of a refresh: when to pay for new truth (schedule), and for which rows (acquisition)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_split.surrogates.base import Surrogate


@dataclass(frozen=True)
class RefreshState:
    """What a schedule may look at. No clock: seconds never decide.

    Attributes:
        step: Environment steps trained so far.
        total_steps: Environment steps of the whole run.
        steps_since_refresh: Environment steps since truth was last paid for.
        refreshes: Refreshes so far, the initial design not counted.
        spent: True evaluations charged so far.
        budget: True evaluations allowed in all.
        n_rows: Rows the surrogate has learnt from.
        epistemic: Mean epistemic std at recently visited queries, in the target's unit; nan if unknown.
        residuals: Truth minus prediction of the audits since the last refresh, in units of the predicted std.
    """

    step: int
    total_steps: int
    steps_since_refresh: int
    refreshes: int
    spent: float
    budget: float
    n_rows: int
    epistemic: float = float("nan")
    residuals: tuple[float, ...] = ()

    @property
    def affordable(self) -> float:
        """True evaluations left in the budget."""
        return max(0.0, self.budget - self.spent)


@dataclass(frozen=True)
class RefreshDecision:
    """Pay for ``n`` true evaluations now (0: not now), and why; ``refit`` optimises hyper-parameters again."""

    n: int
    reason: str
    refit: bool = True


class RefreshSchedule(ABC):
    """When to pay. Schedules are frozen dataclasses of plain settings: printable, saveable, tunable."""

    @abstractmethod
    def decide(self, state: RefreshState) -> RefreshDecision:
        """Whether to pay now, for how many evaluations, and the reason in words."""

    def config(self) -> dict[str, Any]:
        """The settings as plain data."""
        return asdict(self)  # type: ignore[call-overload,no-any-return]


class Acquisition(ABC):
    """Which rows to pay for."""

    @abstractmethod
    def select(
        self, X_pool: NDArray[np.float64], surrogate: Surrogate, n: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Indices into ``X_pool`` of the ``n`` rows to measure, shape (n,); repeats are allowed."""
