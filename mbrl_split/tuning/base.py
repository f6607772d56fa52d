"""The contract between a study and whatever runs one configuration: the study knows no problem and no agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from mbrl_split.errors import MbrlSplitError

Row = dict[str, Any]
"""A configuration as a suite's row has it, its label apart: agent, source, schedule, acquisition, budget, settings."""


@dataclass(frozen=True)
class Instance:
    """Where a configuration is tried.

    Attributes:
        problem: The problem's label.
        seed: The replication's seed: the search, the confirmation and suites use seeds of their own.
        held_out: Judge on contexts that the search never judged on.
    """

    problem: str
    seed: int
    held_out: bool = False


@dataclass(frozen=True)
class Outcome:
    """What one run gave, and what it paid.

    Attributes:
        regret: Of the final policy; in units of the headroom, or of the reward where the headroom is not significant.
            Where no optimum is known, minus the policy's value.
        unit: ``"headroom"``, ``"reward"`` or ``"value"``.
        true_evaluations: Charged by the run's ledger.
        oracle_seconds: Recorded seconds of that truth. For reports only.
    """

    regret: float
    unit: str
    true_evaluations: float
    oracle_seconds: float = 0.0


class InfeasibleError(MbrlSplitError):
    """A runner's word for a configuration that cannot run or learn: its trial fails, and the search goes on."""


class Runner(Protocol):
    """Runs a configuration on an instance: equal arguments give equal outcomes, in any process.

    May raise :class:`InfeasibleError`, or :class:`~mbrl_split.errors.BudgetExhaustedError`; any other error ends the
    search.

    With several workers it travels to other processes, so it is plain data (a frozen dataclass).
    """

    def __call__(self, row: Row, instance: Instance) -> Outcome: ...
