"""What tuning itself cost: every true evaluation that a run of the study paid, however the run ended."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import optuna
from optuna.trial import TrialState

from mbrl_split.tuning.base import Outcome
from mbrl_split.tuning.sampler import interrupted
from mbrl_split.tuning.search import STOPPED, outcomes_of


@dataclass(frozen=True)
class Cost:
    """Counted from the ledgers of all runs. Judging is declared, not charged, as it is for every method.

    Attributes:
        search: True evaluations of the search, interrupted and failed trials included.
        confirm: True evaluations of the confirmation.
        oracle_seconds: Seconds it takes to measure that much truth: recorded, and paid only where truth was live.
        trials: Trials that ended.
        stopped: Of them, stopped early.
        failed: Of them, failed.
        interrupted: Trials cut off, and done again.
    """

    search: float
    confirm: float
    oracle_seconds: float
    trials: int
    stopped: int
    failed: int
    interrupted: int

    @property
    def total(self) -> float:
        """True evaluations in all."""
        return self.search + self.confirm

    def summary(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self) | {"total": self.total}


def cost_of(study: optuna.Study) -> Cost:
    """What a study has paid so far."""
    trials = study.get_trials(deepcopy=False)
    searched = [o for t in trials for o in outcomes_of(t)]
    again = [Outcome(**v) for k, v in study.user_attrs.items() if k.startswith("confirm/")]
    ended = [t for t in trials if t.state.is_finished() and not interrupted(t)]
    return Cost(
        search=sum(o.true_evaluations for o in searched),
        confirm=sum(o.true_evaluations for o in again),
        oracle_seconds=sum(o.oracle_seconds for o in [*searched, *again]),
        trials=len(ended),
        stopped=sum(STOPPED in t.user_attrs for t in ended),
        failed=sum(t.state == TrialState.FAIL for t in ended),
        interrupted=sum(interrupted(t) for t in trials),
    )
