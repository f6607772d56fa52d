"""The search: ask the sampler, run the configuration on every problem and seed, tell the study."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
from joblib import Parallel, delayed
from optuna.trial import FrozenTrial, TrialState

from mbrl_split.errors import BudgetExhaustedError, InvalidInputError
from mbrl_split.tuning.base import InfeasibleError, Instance, Outcome, Runner
from mbrl_split.tuning.config import TuneData
from mbrl_split.tuning.journal import open_journal, owned
from mbrl_split.tuning.sampler import FAILED, PLACE, MemorylessTPE, interrupted
from mbrl_split.tuning.space import suggest

SEARCH_SEED = 1_000
"""First seed of the search; suites count theirs from 0, so no figure comes from a seed that was tuned on."""

RUNS = "runs"
"""User attribute: the outcomes of a trial's runs, in order."""
STOPPED = "stopped_after"
"""User attribute: how many runs a trial had when it was stopped early."""

Told = Callable[[FrozenTrial], None]
"""Called with every trial that ended."""


def search(
    data: TuneData,
    runner: Runner,
    *,
    folder: Path | None = None,
    study: optuna.Study | None = None,
    jobs: int = 1,
    told: Told | None = None,
) -> optuna.Study:
    """Run trials until the task's number of them has ended; go on where an interrupted study stopped.

    Args:
        data: The task.
        runner: Runs one configuration on one instance.
        folder: Where the study lives; needed unless ``study`` is given.
        study: A study of the caller's, with storage, sampler and pruner of its own; it is searched in this process, and
            whether it resumes exactly is up to its sampler.
        jobs: Processes, each with one trial at a time. With one, a study that was killed and goes on has the trials of
            one that was not; with several, which trials are known to a sampler depends on timing.
        told: Called with every trial that ended.

    Raises:
        InvalidInputError: The study in the folder is of another task, has other directions, or another process is at
            it.
    """
    if jobs < 1:
        raise InvalidInputError(f"--jobs is at least 1, not {jobs}")
    tell = told or (lambda trial: None)
    if study is not None:
        if jobs > 1:
            raise InvalidInputError("a study of your own is searched in one process")
        if len(study.directions) != len(data.objectives):
            raise InvalidInputError(
                f"the study has {len(study.directions)} directions, the task {len(data.objectives)}"
            )
        for _ in range(_left(study, data)):
            tell(one_trial(study, data, runner))
        return study
    if folder is None:
        raise InvalidInputError("a search needs a folder for its study, or a study")
    with owned(folder):
        study = _open(data, folder)
        _close_interrupted(study)
        left = _left(study, data)
        if jobs == 1:
            for _ in range(left):
                tell(one_trial(study, data, runner))
        else:
            calls = (delayed(_in_worker)(data, runner, folder) for _ in range(left))
            for trial in Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)(calls):
                tell(trial)
    return study


def instances(data: TuneData, n_seeds: int, first_seed: int, *, held_out: bool = False) -> list[Instance]:
    """Every seed on every problem, seed by seed: a trial that is stopped early has seen all problems equally often."""
    seeds = range(first_seed, first_seed + n_seeds)
    return [Instance(posed.label, seed, held_out) for seed in seeds for posed in data.posed]


def mean_regret(outcomes: list[Outcome]) -> float:
    """The mean over runs: a collapsed seed must show.

    Raises:
        InvalidInputError: Runs are in different units.
    """
    units = {o.unit for o in outcomes}
    if len(units) > 1:
        raise InvalidInputError(
            "the headroom of one of the problems is not significant, so their regrets have different units: "
            "tune them apart, or raise contexts"
        )
    return sum(o.regret for o in outcomes) / len(outcomes)


def mean_evaluations(outcomes: list[Outcome]) -> float:
    """True evaluations of a run, on average."""
    return sum(o.true_evaluations for o in outcomes) / len(outcomes)


def outcomes_of(trial: FrozenTrial) -> list[Outcome]:
    """The outcomes of a trial's runs so far."""
    return [Outcome(**o) for o in trial.user_attrs.get(RUNS, [])]


def one_trial(study: optuna.Study, data: TuneData, runner: Runner) -> FrozenTrial:
    """Ask, run, tell. A configuration that cannot run or learn fails; any other error ends the search."""
    trial = study.ask()
    places = getattr(study.sampler, "places", {})
    trial.set_user_attr(PLACE, places.get(trial.number, trial.number))
    try:
        values = _objectives(trial, data, runner)
    except (BudgetExhaustedError, InfeasibleError) as error:
        trial.set_user_attr(FAILED, str(error))
        return study.tell(trial, state=TrialState.FAIL)
    return study.tell(trial, values)


def _objectives(trial: optuna.Trial, data: TuneData, runner: Runner) -> list[float]:
    row = suggest(trial, data.space)
    trial.set_user_attr("row", row)
    single = len(data.objectives) == 1
    outcomes: list[Outcome] = []
    todo = instances(data, data.seeds, SEARCH_SEED)
    for step, instance in enumerate(todo):
        outcomes.append(runner(row, instance))
        # Noted at once: what an interrupted trial paid is paid all the same.
        trial.set_user_attr(RUNS, [asdict(o) for o in outcomes])
        if single:
            trial.report(outcomes[-1].regret, step)
            if step + 1 < len(todo) and trial.should_prune():
                trial.set_user_attr(STOPPED, step + 1)
                break
    regret, evaluations = mean_regret(outcomes), mean_evaluations(outcomes)
    if single and data.max_evaluations is not None:
        trial.set_constraint("true_evaluations", evaluations - data.max_evaluations)
    # The mean so far, rather than a "pruned" state: a model of the space learns more from it.
    return [regret] if single else [regret, evaluations]


def _in_worker(data: TuneData, runner: Runner, folder: Path) -> FrozenTrial:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(
        study_name=data.name, storage=open_journal(folder), sampler=_sampler(data), pruner=_pruner(data)
    )
    return one_trial(study, data, runner)


def _open(data: TuneData, folder: Path) -> optuna.Study:
    storage = open_journal(folder)
    others = [n for n in optuna.get_all_study_names(storage) if n != data.name]
    if others:
        raise InvalidInputError(f"{folder} holds the study {others[0]!r}, not {data.name!r}; give another --out")
    study = optuna.create_study(
        study_name=data.name,
        storage=storage,
        directions=["minimize"] * len(data.objectives),
        sampler=_sampler(data),
        pruner=_pruner(data),
        load_if_exists=True,
    )
    now = json.loads(json.dumps(data.identity()))
    before: dict[str, Any] = study.user_attrs.get("task", now)
    for name, value in now.items():
        if before.get(name) != value:
            raise InvalidInputError(
                f"{folder} holds a study of another task: {name} was {before.get(name)}, is {value}"
            )
    if "task" not in study.user_attrs:
        study.set_user_attr("task", now)
    return study


def _sampler(data: TuneData) -> MemorylessTPE:
    return MemorylessTPE(data.seed, data.startup)


def _pruner(data: TuneData) -> optuna.pruners.BasePruner:
    if len(data.objectives) > 1 or not data.prune:
        return optuna.pruners.NopPruner()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.pruners.WilcoxonPruner(p_threshold=0.1)


def _close_interrupted(study: optuna.Study) -> None:
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)


def _left(study: optuna.Study, data: TuneData) -> int:
    ended = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished() and not interrupted(t)]
    return max(0, data.trials - len(ended))
