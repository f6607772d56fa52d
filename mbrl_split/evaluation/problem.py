"""The contract of a problem: what a suite poses, and what judges a policy in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import ArrayLike, NDArray

from mbrl_split.columns import Column
from mbrl_split.errors import UnsupportedError
from mbrl_split.evaluation.argmax import ArgmaxPolicy, RulePolicy
from mbrl_split.interaction import Policy, Source
from mbrl_split.oracles import Ledger, Oracle
from mbrl_split.refresh import RewardFunction

Array = NDArray[np.float64]
Predict = Callable[[Array], Array]
"""Queries (n, d) to predicted measurements (n,)."""

JUDGE_SEED = 977
"""Of the judge's contexts in suites; replications count from 0 and learn with streams of their own."""

ENOUGH = 10.0
"""Regret is normalised only where the headroom is at least so many of its own standard errors."""


@dataclass(frozen=True)
class Estimate:
    """A number and its standard error."""

    value: float
    std_error: float

    @property
    def significance(self) -> float:
        """How many standard errors the number is away from 0; infinite where it is exact."""
        return self.value / self.std_error if self.std_error > 0 else float(np.copysign(np.inf, self.value))


@dataclass(frozen=True)
class Regret:
    """What a policy loses against the optimum.

    Attributes:
        absolute: Optimal minus achieved, in the judgement's unit.
        normalised: The same in units of the headroom: 0 optimal, 1 no better than the best fixed action.
        trusted: The headroom is large enough against its error for ``normalised`` to be reported.

    Example:
        >>> from mbrl_split.evaluation import Estimate, Regret
        >>> regret = Regret.of(achieved=0.75, optimal=1.0, headroom=Estimate(0.5, std_error=0.01))
        >>> regret.absolute, regret.normalised, regret.trusted
        (0.25, 0.5, True)
    """

    absolute: float
    normalised: float
    trusted: bool

    @classmethod
    def of(cls, achieved: float, optimal: float, headroom: Estimate) -> Regret:
        """What a value loses against the optimum."""
        absolute, room = optimal - achieved, headroom.value
        normalised = absolute / room if room > 0 else float("nan")
        return cls(absolute, normalised, room > 0 and headroom.significance >= ENOUGH)

    @property
    def reported(self) -> float:
        """The normalised regret where it can be trusted, else the absolute one."""
        return self.normalised if self.trusted else self.absolute


@dataclass(frozen=True)
class Judgement:
    """What a policy is worth.

    Attributes:
        value: The mean over contexts or episodes.
        std_error: Its standard error.
        per_unit: The value in each context or episode, (n,), for paired comparisons.
        unit: What ``per_unit`` counts, for instance ``"context"`` or ``"episode"``.
    """

    value: float
    std_error: float
    per_unit: Array
    unit: str

    @classmethod
    def of(cls, per_unit: Array, unit: str) -> Judgement:
        """The judgement of values in independent units, (n,)."""
        n = len(per_unit)
        error = float(per_unit.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
        return cls(float(per_unit.mean()), error, per_unit, unit)


class Judge(ABC):
    """Says what policies are worth, on contexts or episodes that no method learns from.

    Judging is declared, not charged.
    """

    @abstractmethod
    def judge(self, policy: Any) -> Judgement:
        """What a policy is worth: anything with ``act``, or what :meth:`Problem.rule` and its like made."""

    @abstractmethod
    def reference(self, name: str) -> Judgement:
        """A policy known without learning, by its name in :attr:`Problem.reference_names`.

        Raises:
            InvalidInputError: An unknown name.
        """

    @property
    def headroom(self) -> Estimate | None:
        """Optimal minus best fixed, with its standard error; None where the optimum is not known."""
        return None

    def about(self) -> dict[str, Any]:
        """What a report tells of the judge, as plain data: the size of the sample, the protocol, a picture."""
        return {}


class Problem(ABC):
    """A decision problem with costly truth: its environment, oracle, reward and judge.

    A problem is made from plain settings and describes itself as plain data, which addresses its runs. Suites name it;
    methods, reports and tuning ask it what they need and assume nothing else. Where a reward function is given,
    look-ups without learning work; where the optimum is known, so do regrets.

    Attributes:
        reference_names: Names that the judge knows; a suite's row of such a name learns nothing.
        has_consequences: Whether choices change what comes later; a bandit's do not.
        planning: Names of the settings that :meth:`planner` takes; None where nothing can be planned.
        episode_steps: Steps of the shortest episode.
        evaluation_size: Size of one true evaluation, in the oracle's unit.
        action_word: What one fixed action is called in tables and sentences.
        unit: What one unit of truth is.
    """

    reference_names: tuple[str, ...] = ("random",)
    has_consequences: bool = True
    planning: tuple[str, ...] | None = None
    episode_steps: int = 1
    evaluation_size: int = 1
    action_word: str = "action"
    unit: str = "true evaluation"

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of a query of the oracle; empty where the truth is a real step."""
        return ()

    @abstractmethod
    def make_env(self, num_envs: int, *, source: Source | None = None) -> VectorEnv[Any, Any, Any]:
        """A vector environment in SAME_STEP mode.

        Args:
            num_envs: Sub-environments.
            source: Who answers the costly number; None where the truth is a real step.
        """

    @abstractmethod
    def judge(self, seed: int) -> Judge:
        """A judge whose contexts or episodes follow from the seed; never one that a method learns with."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Plain data; problems with equal descriptions have equal results. It addresses the runs of a suite."""

    def labels(self) -> dict[str, str]:
        """Words that tables and benchmark scripts may group by."""
        return {}

    def oracle(self) -> Oracle | None:
        """What measures the costly number; None where the truth is a real step of the environment."""
        return None

    def reward_function(self) -> RewardFunction | None:
        """How a measurement becomes a reward; None where the environment's own reward is learned from."""
        return None

    def action_table(self) -> list[dict[str, Any]]:
        """What each action means, in order, as plain data; empty for actions that are numbers."""
        return []

    # ---- policies without learning --------------------------------------------------------------------------------

    def lookup(self, predict: Predict, *, plan: bool = False) -> Policy:
        """The policy that takes what a prediction of the costly number says is best.

        Args:
            predict: Asked anew at every call.
            plan: Look ahead to the episode's end instead, where the problem knows how.

        Raises:
            UnsupportedError: The problem has no reward function, or cannot plan.
        """
        if plan:
            return self.planner()(predict)
        return ArgmaxPolicy(self._reward(), predict)

    def planner(self, *, seed: int = 0, **settings: Any) -> Callable[[Predict], Policy]:
        """How a prediction of the costly number becomes a policy that looks ahead to the episode's end.

        Args:
            seed: Of what the planner watches of the environment, if anything.
            settings: The problem's own.

        Raises:
            UnsupportedError: The problem cannot plan.
        """
        raise UnsupportedError(f"{type(self).__name__} has no transitions to plan for; 'argmax' is its planner")

    def rule(self, rule: Callable[[Array], ArrayLike]) -> Policy:
        """The policy of a rule from contexts, (n, columns − 1), to values of the action column, (n,).

        Raises:
            UnsupportedError: The problem has no reward function, or none that reads observations.
        """
        return RulePolicy(self._reward(), rule)

    def record_rows(self, ledger: Ledger) -> Any:
        """What the oracle's own records teach a regression that is not ours.

        Args:
            ledger: Holds the rows.

        Returns:
            An object with ``rows()``, inputs in the unit cube (k, d), targets (k,) and groups (k,), and with
            ``predict(f)``, which turns a function of such inputs into a function of queries.

        Raises:
            UnsupportedError: There are no such records.
        """
        raise UnsupportedError(f"{type(self).__name__} keeps no records to learn from beside its measurements")

    def _reward(self) -> RewardFunction:
        found = self.reward_function()
        if found is None:
            raise UnsupportedError(f"{type(self).__name__} has no reward function, so nothing can be looked up in it")
        return found
