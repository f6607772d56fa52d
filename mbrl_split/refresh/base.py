"""The contracts of a refresh: when to pay for new truth (schedule), and for which rows (acquisition)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from mbrl_split.errors import InvalidInputError
from mbrl_split.refresh.reward_function import RewardFunction
from mbrl_split.surrogates.base import Surrogate

CandidatePool = Literal["design", "visited", "both"]
"""Which pool an acquisition chooses from: fresh contexts × every action, the queries that the agent recently made, or
both, one after the other."""


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
        row_price: True evaluations that one row costs; less than 1 where measurements are shorter than declared.
        epistemic: Mean epistemic std at recently visited queries, in the target's unit; nan if unknown.
        residuals: Truth minus prediction of the audits since the last refresh, in units of the predicted std.
        steps_since_audit: Environment steps since truth was last paid for to audit or to learn.
        value_of_information: Reward per step that an exact surrogate would win over this one, as this one believes
            (the expected value of perfect information at fresh contexts); nan if unknown. Only for schedules that look
            at it.

    Example:
        >>> from mbrl_split.refresh import RefreshState
        >>> RefreshState(2000, 9000, 1000, 1, spent=24, budget=64, n_rows=24).remaining
        40
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
    steps_since_audit: int = 0
    value_of_information: float = float("nan")
    row_price: float = 1.0

    @property
    def remaining(self) -> float:
        """True evaluations left in the budget."""
        return max(0.0, self.budget - self.spent)


@dataclass(frozen=True)
class RefreshDecision:
    """Pay for ``n`` true evaluations now (0: not now), and why; ``refit`` optimises hyper-parameters again.

    ``audit`` asks for that many visited rows, drawn at random, to be measured now and compared with the prediction;
    the schedule is then asked again. Audited rows are learnt from at the next refresh. ``forget`` says that the world
    has changed: the surrogate learns from the rows of this refresh on, and from no earlier ones.
    """

    n: int
    reason: str
    refit: bool = True
    audit: int = 0
    forget: bool = False


class RefreshSchedule(ABC):
    """When to pay. Schedules are frozen dataclasses of plain settings: printable, saveable, tunable.

    A schedule keeps no state of its own: the same :class:`RefreshState` always gets the same decision.
    """

    looks_at: ClassVar[frozenset[str]] = frozenset()
    """Fields of the state that cost something to compute and that this schedule reads: ``"epistemic"``,
    ``"value_of_information"``."""

    @abstractmethod
    def decide(self, state: RefreshState) -> RefreshDecision:
        """Whether to pay now, for how many evaluations, and the reason in words."""

    def config(self) -> dict[str, Any]:
        """The settings as plain data."""
        return asdict(self)  # type: ignore[call-overload,no-any-return]


def pay(state: RefreshState, n: int, reason: str, *, refit: bool = True) -> RefreshDecision:
    """Pay for ``n`` evaluations, or for as many as the budget still allows."""
    allowed = n if state.remaining >= n else int(state.remaining)
    if allowed == 0:
        return RefreshDecision(0, f"budget spent ({reason})")
    return RefreshDecision(allowed, reason, refit)


def wait(reason: str) -> RefreshDecision:
    """Do not pay now."""
    return RefreshDecision(0, reason)


def positive(schedule: RefreshSchedule | Acquisition, *names: str) -> None:
    """Refuse settings that are not positive.

    Raises:
        InvalidInputError: One of the named fields is zero, negative or nan.
    """
    for name in names:
        value = getattr(schedule, name)
        if not value > 0:
            raise InvalidInputError(f"{type(schedule).__name__}: {name} is positive, not {value}")


class Acquisition(ABC):
    """Which rows to pay for. Acquisitions are frozen dataclasses, as schedules are.

    The pool holds several actions per context; the context of a row is read off the row itself (see
    :class:`~mbrl_split.refresh.reward_function.RewardFunction`), so a pool may be shuffled, cut or joined freely.
    """

    where: CandidatePool
    """Which rows the caller should put into the pool."""

    @abstractmethod
    def select(
        self, X_pool: NDArray[np.float64], surrogate: Surrogate, n: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Indices into ``X_pool`` of the ``n`` rows to measure, shape (n,); repeats are allowed."""

    def bind(self, reward_function: RewardFunction) -> Self:
        """The same acquisition with the reward known to it; a no-op for those that look only at the surrogate."""
        known = [f.name for f in fields(self)]  # type: ignore[arg-type]
        changes: dict[str, Any] = {"reward_function": reward_function} if "reward_function" in known else {}
        if "inner" in known:
            changes["inner"] = self.inner.bind(reward_function)  # type: ignore[attr-defined]
        return replace(self, **changes)  # type: ignore[type-var]

    def config(self) -> dict[str, Any]:
        """The settings as plain data; a wrapped acquisition appears as its own ``config``, with its class's name."""
        out: dict[str, Any] = {}
        for f in fields(self):  # type: ignore[arg-type]
            value = getattr(self, f.name)
            if isinstance(value, Acquisition):
                out[f.name] = {"name": type(value).__name__, **value.config()}
            elif f.name != "reward_function":
                out[f.name] = value
        return out
