"""A sampler without memory of its own, so that a study that goes on after an interruption goes on exactly."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

PLACE = "place"
"""User attribute: a trial's place in the study, which a trial that replaces an interrupted one takes over."""
FAILED = "failed"
"""User attribute: why a trial failed by itself; a failed trial without it was interrupted."""


class MemorylessTPE(BaseSampler):  # type: ignore[misc]
    """TPE whose random numbers in a trial follow from the study's seed and the trial's place alone.

    Optuna's samplers carry the state of a generator: made anew they repeat their first trials. Here every trial gets a
    fresh TPE with a seed of its own; what TPE knows is in the study's finished trials anyway. A trial that was
    interrupted gives its place to the next one, which therefore asks the same questions with the same random numbers.

    Args:
        seed: The study's seed.
        startup: Random trials before TPE learns from them.

    Example:
        >>> import optuna
        >>> from mbrl_split.tuning import MemorylessTPE
        >>> optuna.logging.set_verbosity(optuna.logging.ERROR)
        >>> study = optuna.create_study(sampler=MemorylessTPE(seed=0, startup=5))
        >>> study.optimize(lambda trial: (trial.suggest_float("x", -1, 1) - 0.3) ** 2, n_trials=15)
        >>> bool(abs(study.best_params["x"] - 0.3) < 0.2)
        True
    """

    def __init__(self, seed: int, startup: int = 10) -> None:
        self.seed, self.startup = seed, startup
        self.places: dict[int, int] = {}
        self._inner: dict[int, TPESampler] = {}

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        place = place_of(trial.number, study.get_trials(deepcopy=False))
        seed = np.random.SeedSequence([self.seed, place]).generate_state(1)[0]
        with warnings.catch_warnings():  # `group`, which conditional settings need, is experimental
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._inner[trial.number] = TPESampler(
                seed=int(seed), n_startup_trials=self.startup, multivariate=True, group=True
            )
        self.places[trial.number] = place

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        found: dict[str, Any] = self._inner[trial.number].infer_relative_search_space(study, trial)
        return found

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self._inner[trial.number].sample_relative(study, trial, search_space)
        return found

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        return self._inner[trial.number].sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        self._inner.pop(trial.number, None)


def interrupted(trial: FrozenTrial) -> bool:
    """Whether the trial's process went away before it could say how it ended."""
    return trial.state == TrialState.FAIL and FAILED not in trial.user_attrs


def place_of(number: int, trials: Iterable[FrozenTrial]) -> int:
    """The lowest place that no trial holds; trials without a place that came before take theirs first."""
    held = [t for t in trials if not interrupted(t) and t.number <= number]
    taken = {int(t.user_attrs[PLACE]) for t in held if PLACE in t.user_attrs}
    place = -1
    for trial in sorted(held, key=lambda t: t.number):
        if PLACE not in trial.user_attrs:
            place = next(p for p in range(len(held) + 1) if p not in taken)
            taken.add(place)
            if trial.number == number:
                return place
    return place
