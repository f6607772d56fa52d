"""Schedules that look at what the surrogate knows, or at how wrong it was."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from mbrl_split.errors import InvalidInputError
from mbrl_split.refresh.base import RefreshDecision, RefreshSchedule, RefreshState, pay, positive, wait
from mbrl_split.refresh.detectors import cusum, page_hinkley


@dataclass(frozen=True)
class UncertaintyTriggered(RefreshSchedule):
    """Pay when the surrogate says it does not know: knows what it knows (KWIK).

    Attributes:
        threshold: Mean epistemic std at recently visited queries that is too much, in the measured number's unit.
        n: Evaluations per refresh.
        every: Least number of environment steps between two refreshes.

    Example:
        >>> from mbrl_split.refresh import RefreshState, UncertaintyTriggered
        >>> state = RefreshState(2000, 9000, 1000, 1, spent=24, budget=64, n_rows=24, epistemic=0.07)
        >>> decision = UncertaintyTriggered(threshold=0.05, n=8).decide(state)
        >>> decision.n, decision.reason
        (8, 'epistemic std 0.07 above 0.05')
    """

    looks_at: ClassVar[frozenset[str]] = frozenset({"epistemic"})

    threshold: float
    n: int = 16
    every: int = 1

    def __post_init__(self) -> None:
        positive(self, "threshold", "n", "every")

    def decide(self, state: RefreshState) -> RefreshDecision:
        if state.steps_since_refresh < self.every:
            return wait(f"{state.steps_since_refresh} of {self.every} steps since the last refresh")
        if not state.epistemic > self.threshold:
            return wait(f"epistemic std {state.epistemic:.3g} within {self.threshold:g}")
        return pay(state, self.n, f"epistemic std {state.epistemic:.3g} above {self.threshold:g}")


@dataclass(frozen=True)
class ErrorTriggered(RefreshSchedule):
    """Pay when random audits say that the surrogate has become wrong: the one kind that notices a drifting world.

    Every ``audit_every`` steps ``audit_n`` visited rows are measured; their standardised residuals since the last
    refresh feed a two-sided change detector.

    Attributes:
        n: Evaluations per refresh.
        audit_every: Environment steps between audits.
        audit_n: Evaluations per audit.
        detector: ``"cusum"`` (against 0) or ``"page-hinkley"`` (against the running mean).
        threshold: Alarm level of the detector, in predicted standard deviations.
        slack: Drift that is forgiven per audit, in predicted standard deviations.
        forget: Take an alarm for a change of the world: earlier rows are not learnt from any more. ``n`` then has to
            be enough to learn from alone.

    Example:
        >>> from mbrl_split.refresh import ErrorTriggered, RefreshState
        >>> state = RefreshState(2000, 9000, 1000, 1, spent=24, budget=64, n_rows=24, residuals=(3.1, 2.8, 3.5))
        >>> decision = ErrorTriggered(n=8, threshold=5.0).decide(state)
        >>> decision.n, decision.reason
        (8, 'cusum at 7.9 above 5')
    """

    n: int = 16
    audit_every: int = 1024
    audit_n: int = 1
    detector: Literal["cusum", "page-hinkley"] = "cusum"
    threshold: float = 5.0
    slack: float = 0.5
    forget: bool = False

    def __post_init__(self) -> None:
        positive(self, "n", "audit_every", "audit_n", "threshold")
        if self.detector not in ("cusum", "page-hinkley"):
            raise InvalidInputError(f"ErrorTriggered: detector is 'cusum' or 'page-hinkley', not {self.detector!r}")
        if not self.slack >= 0:
            raise InvalidInputError(f"ErrorTriggered: slack is at least 0, not {self.slack}")

    def decide(self, state: RefreshState) -> RefreshDecision:
        statistic = cusum if self.detector == "cusum" else page_hinkley
        level = statistic(state.residuals, self.slack)
        if level > self.threshold:
            alarm = pay(state, self.n, f"{self.detector} at {level:.3g} above {self.threshold:g}")
            return replace(alarm, forget=self.forget and alarm.n > 0)
        if state.steps_since_audit >= self.audit_every and state.remaining >= self.audit_n:
            return RefreshDecision(0, f"audit: {self.audit_every} steps have passed", audit=self.audit_n)
        return wait(f"{self.detector} at {level:.3g} within {self.threshold:g}")


@dataclass(frozen=True)
class ValueOfInformation(RefreshSchedule):
    """Pay while what truth could win over the steps left exceeds its price (arXiv:2011.06709).

    The win is bounded by the value of perfect information: its reward per step × steps left.

    Attributes:
        price: Reward that one true evaluation is worth.
        n: Evaluations per refresh.
        every: Least number of environment steps between two refreshes.

    Example:
        >>> from mbrl_split.refresh import RefreshState, ValueOfInformation
        >>> state = RefreshState(2000, 9000, 1000, 1, spent=24, budget=64, n_rows=24, value_of_information=0.01)
        >>> decision = ValueOfInformation(price=0.5, n=8).decide(state)
        >>> decision.n, decision.reason
        (8, 'up to 70 to win for 4')
    """

    looks_at: ClassVar[frozenset[str]] = frozenset({"value_of_information"})

    price: float
    n: int = 16
    every: int = 1

    def __post_init__(self) -> None:
        positive(self, "price", "n", "every")

    def decide(self, state: RefreshState) -> RefreshDecision:
        if state.steps_since_refresh < self.every:
            return wait(f"{state.steps_since_refresh} of {self.every} steps since the last refresh")
        win = state.value_of_information * (state.total_steps - state.step)
        if not win > self.price * self.n:
            return wait(f"at most {win:.3g} to win, {self.price * self.n:.3g} to pay")
        return pay(state, self.n, f"up to {win:.3g} to win for {self.price * self.n:.3g}")
