"""Schedules that follow the step count alone."""

from __future__ import annotations

from dataclasses import dataclass

from mbrl_split.errors import InvalidInputError
from mbrl_split.refresh.base import RefreshDecision, RefreshSchedule, RefreshState, pay, positive, wait


@dataclass(frozen=True)
class Never(RefreshSchedule):
    """Pay for the initial design only: the paper's frozen surrogate.

    Example:
        >>> from mbrl_split.refresh import Never, RefreshState
        >>> state = RefreshState(2000, 9000, 1000, 1, spent=24, budget=64, n_rows=24)
        >>> decision = Never().decide(state)
        >>> decision.n, decision.reason
        (0, 'never')
    """

    def decide(self, state: RefreshState) -> RefreshDecision:
        return wait("never")


@dataclass(frozen=True)
class Always(RefreshSchedule):
    """Pay for ``n`` evaluations whenever asked, until the budget is spent.

    Attributes:
        n: True evaluations paid for at once.

    Example:
        >>> from mbrl_split.refresh import Always, RefreshState
        >>> state = RefreshState(2000, 9000, 1000, 1, spent=24, budget=64, n_rows=24)
        >>> decision = Always(n=8).decide(state)
        >>> decision.n, decision.reason
        (8, 'always')
    """

    n: int = 16

    def __post_init__(self) -> None:
        positive(self, "n")

    def decide(self, state: RefreshState) -> RefreshDecision:
        return pay(state, self.n, "always")


@dataclass(frozen=True)
class FixedInterval(RefreshSchedule):
    """Pay for ``n`` evaluations every ``every`` environment steps (Dyna; MBPO with 250).

    Attributes:
        every: Environment steps from one refresh to the next.
        n: True evaluations paid for at once.

    Example:
        >>> from mbrl_split.refresh import FixedInterval, RefreshState
        >>> state = RefreshState(2000, 9000, 1000, 1, spent=24, budget=64, n_rows=24)
        >>> decision = FixedInterval(every=1000, n=8).decide(state)
        >>> decision.n, decision.reason
        (8, '1000 steps have passed')
    """

    every: int
    n: int = 16

    def __post_init__(self) -> None:
        positive(self, "every", "n")

    def decide(self, state: RefreshState) -> RefreshDecision:
        if state.steps_since_refresh < self.every:
            return wait(f"{state.steps_since_refresh} of {self.every} steps since the last refresh")
        return pay(state, self.n, f"{self.every} steps have passed")


@dataclass(frozen=True)
class Geometric(RefreshSchedule):
    """Refresh k = 0, 1, … comes at step ``first``·``ratio``^k: ever rarer (batched bandits).

    Attributes:
        first: Environment step of the first refresh.
        ratio: Factor from one refresh's step to the next one's; above 1.
        n: True evaluations paid for at once.

    Example:
        >>> from mbrl_split.refresh import Geometric, RefreshState
        >>> state = RefreshState(2000, 9000, 1000, 1, spent=24, budget=64, n_rows=24)
        >>> decision = Geometric(first=1000, ratio=2.0, n=8).decide(state)
        >>> decision.n, decision.reason
        (8, 'step 2000 reached')
    """

    first: int
    ratio: float = 2.0
    n: int = 16

    def __post_init__(self) -> None:
        positive(self, "first", "n")
        if not self.ratio > 1:
            raise InvalidInputError(f"Geometric: ratio is above 1, not {self.ratio}")

    def decide(self, state: RefreshState) -> RefreshDecision:
        due = self.first * self.ratio**state.refreshes
        if state.step < due:
            return wait(f"refresh {state.refreshes + 1} is due at step {due:.0f}")
        return pay(state, self.n, f"step {due:.0f} reached")


@dataclass(frozen=True)
class Doubling(RefreshSchedule):
    """At steps ``first``·2^k double the rows learnt from: truth stays in proportion to experience (UCRL2's epochs).

    Attributes:
        first: Environment step of the first doubling.

    Example:
        >>> from mbrl_split.refresh import Doubling, RefreshState
        >>> state = RefreshState(2000, 9000, 1000, 1, spent=24, budget=64, n_rows=24)
        >>> decision = Doubling(first=1000).decide(state)
        >>> decision.n, decision.reason
        (24, 'step 2000 reached: rows double')
    """

    first: int

    def __post_init__(self) -> None:
        positive(self, "first")

    def decide(self, state: RefreshState) -> RefreshDecision:
        due = self.first * 2**state.refreshes
        if state.step < due:
            return wait(f"refresh {state.refreshes + 1} is due at step {due}")
        as_many = round(state.n_rows * state.row_price)  # a decision is in evaluations
        return pay(state, max(1, as_many), f"step {due} reached: rows double")


@dataclass(frozen=True)
class PowerLawBudget(RefreshSchedule):
    """Spread the budget over the run: at a share s of the steps, a share s^``power`` of the budget is spent.

    A power above 1 keeps truth for later, where AutoMBPO (arXiv:2111.08550) found it to be worth more; below 1 spends
    early. Whatever the initial design and audits cost counts as spent. Pacing as for bandits with knapsacks
    (arXiv:1305.2545).

    Attributes:
        power: Exponent of the spending curve.
        batch: Smallest number of evaluations paid for at once.

    Example:
        >>> from mbrl_split.refresh import PowerLawBudget, RefreshState
        >>> state = RefreshState(2000, 9000, 1000, 1, spent=24, budget=64, n_rows=24)
        >>> decision = PowerLawBudget(power=0.3).decide(state)
        >>> decision.n, decision.reason
        (16, '16 evaluations behind the pace')
    """

    power: float = 1.0
    batch: int = 8

    def __post_init__(self) -> None:
        positive(self, "power", "batch")

    def decide(self, state: RefreshState) -> RefreshDecision:
        if state.budget == float("inf"):
            raise InvalidInputError(
                "PowerLawBudget spreads a finite budget over the run; the ledger's budget is infinite"
            )
        behind = int(state.budget * min(1.0, state.step / state.total_steps) ** self.power - state.spent)
        if behind < self.batch:
            return wait(f"{behind} evaluations behind the pace, less than a batch of {self.batch}")
        return pay(state, behind, f"{behind} evaluations behind the pace")
