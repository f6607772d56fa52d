"""The best candidates once more, on fresh seeds and held-out contexts: what a search finds flatters itself."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import optuna
from joblib import Parallel, delayed
from optuna.trial import FrozenTrial, TrialState

from mbrl_split.errors import InvalidInputError
from mbrl_split.evaluation import bootstrap, iqm
from mbrl_split.tuning.base import Instance, Outcome, Row, Runner
from mbrl_split.tuning.config import TuneData
from mbrl_split.tuning.search import STOPPED, instances, mean_evaluations, mean_regret

CONFIRM_SEED = 2_000
"""First seed of the confirmation."""


@dataclass(frozen=True)
class Candidate:
    """A configuration that the search liked, and what it did when looked at again.

    Attributes:
        trial: Number of the trial that found it.
        row: The configuration.
        searched: What the trial told: regret, and true evaluations where they were an objective.
        regrets: Regrets of the confirmation, (seeds, problems).
        evaluations: True evaluations that a run paid, on average.
        paid: True evaluations that the confirmation paid in all.
        oracle_seconds: Recorded seconds of that truth.
        unit: Of the regrets.
    """

    trial: int
    row: Row
    searched: list[float]
    regrets: list[list[float]]
    evaluations: float
    paid: float
    oracle_seconds: float
    unit: str

    @property
    def iqm(self) -> float:
        """Interquartile mean of the regrets."""
        return iqm(self.regrets)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Its 95 % bootstrap interval; None below ten seeds."""
        found = bootstrap(self.regrets)
        return None if found.low is None or found.high is None else (found.low, found.high)

    @property
    def worst(self) -> float:
        """The largest regret."""
        return float(np.max(self.regrets))

    def summary(self) -> dict[str, Any]:
        """Plain data."""
        found = asdict(self) | {"iqm": self.iqm, "interval": self.interval, "worst": self.worst}
        return found | {"mean": float(np.mean(self.regrets))}


def candidates(study: optuna.Study, top: int) -> list[FrozenTrial]:
    """The trials worth another look: of two objectives the front, from cheap to dear; of one the best.

    Of a front with more than ``top`` trials every so many are taken, both ends included. Of equal configurations the
    first is taken; infeasible trials, those stopped early and those of another task (a study may have some) are not.
    """
    ended = [t for t in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)) if STOPPED not in t.user_attrs]
    good = [t for t in ended if "row" in t.user_attrs and all(c <= 0 for c in t.constraints.values())]
    if len(study.directions) > 1:
        front = {t.number for t in study.best_trials}
        good = sorted((t for t in good if t.number in front), key=lambda t: (t.values[1], t.values[0], t.number))
    else:
        good = sorted(good, key=lambda t: (t.values[0], t.number))
    seen: set[str] = set()
    different = []
    for trial in good:
        key = json.dumps(trial.user_attrs["row"], sort_keys=True)
        if key not in seen:
            seen.add(key)
            different.append(trial)
    if len(study.directions) > 1 and len(different) > top:
        return [different[i] for i in np.linspace(0, len(different) - 1, top).round().astype(int)]
    return different[:top]


def confirm(study: optuna.Study, data: TuneData, runner: Runner, *, jobs: int = 1) -> list[Candidate]:
    """Run the best candidates on fresh seeds and held-out contexts; what was run before is not run again.

    Finished runs live in the study's user attributes, so an interruption costs one run per process.

    Raises:
        InvalidInputError: No trial is worth it.
    """
    chosen = candidates(study, data.confirm.top)
    if not chosen:
        raise InvalidInputError("no trial ended well within the constraint: widen the space, or try more trials")
    where = instances(data, data.confirm.seeds, CONFIRM_SEED, held_out=True)
    todo = [(t, i) for t in chosen for i in where if _name(t, i) not in study.user_attrs]
    calls = (delayed(_run)(runner, t.user_attrs["row"], i, _name(t, i)) for t, i in todo)
    done = Parallel(n_jobs=jobs, return_as="generator_unordered")(calls)
    for name, outcome in done:
        study.set_user_attr(name, asdict(outcome))
    known = study.user_attrs
    return [_candidate(t, [Outcome(**known[_name(t, i)]) for i in where], data) for t in chosen]


def pick(found: list[Candidate], data: TuneData) -> Candidate:
    """The candidate to keep: with two objectives the cheapest within the target, else the one that lost least.

    A value is no loss, so no target is held against it. One that paid more in the confirmation than the constraint
    allows is kept only where all of them did.
    """
    found = [c for c in found if c.evaluations <= (data.max_evaluations or np.inf)] or found
    within = [c for c in found if c.unit != "value" and c.iqm <= data.confirm.target]
    if within and len(data.objectives) > 1:
        return min(within, key=lambda c: (c.evaluations, c.iqm))
    return min(found, key=lambda c: c.iqm)


def _run(runner: Runner, row: Row, instance: Instance, name: str) -> tuple[str, Outcome]:
    return name, runner(row, instance)


def _name(trial: FrozenTrial, instance: Instance) -> str:
    return f"confirm/{trial.number}/{instance.problem}/{instance.seed}"


def _candidate(trial: FrozenTrial, outcomes: list[Outcome], data: TuneData) -> Candidate:
    mean_regret(outcomes)  # complains about mixed units
    return Candidate(
        trial=trial.number,
        row=trial.user_attrs["row"],
        searched=list(trial.values),
        regrets=np.reshape([o.regret for o in outcomes], (data.confirm.seeds, -1)).tolist(),
        evaluations=mean_evaluations(outcomes),
        paid=sum(o.true_evaluations for o in outcomes),
        oracle_seconds=sum(o.oracle_seconds for o in outcomes),
        unit=outcomes[0].unit,
    )
