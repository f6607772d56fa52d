"""The contract of a method: whatever learns a policy from truth that it pays for.

A method is a generator of policies. It yields whenever its policy has changed; the runner judges what was yielded
(judging is not charged) and writes one point of the curve *regret against true evaluations*. Reinforcement learning,
the exhaustive table and a bandit are all judged by the same few lines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import ArrayLike, NDArray

from mbrl_split.columns import Column
from mbrl_split.envs import OracleSource
from mbrl_split.errors import BudgetExhaustedError, InvalidInputError, UnsupportedError
from mbrl_split.evaluation import Problem
from mbrl_split.interaction import Policy, Source
from mbrl_split.oracles import Ledger, Measurement, Metered
from mbrl_split.refresh import RewardFunction, random_design, with_all_actions

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Task:
    """What a method is given: the problem, a seed, and truth at a price.

    What looks at single actions (:attr:`actions`, :meth:`measure_actions`, :meth:`greedy`, …) needs a problem with a
    reward function and an ordinal action column.

    Attributes:
        problem: The problem.
        ledger: All truth goes through it; its budget is the method's budget.
        seed: The replication's seed.
        env_steps: Environment steps a learning agent may take.
        folder: Where the method may write logs and checkpoints.
    """

    problem: Problem
    ledger: Ledger
    seed: int
    env_steps: int
    folder: Path

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.problem.columns

    @cached_property
    def reward_function(self) -> RewardFunction:
        """How a measurement becomes a reward.

        Raises:
            UnsupportedError: The problem has none.
        """
        found = self.problem.reward_function()
        if found is None or self.columns[found.action].scale != "ordinal":
            name = type(self.problem).__name__
            raise UnsupportedError(f"this method tries every action, and {name} has no reward of an ordinal action")
        return found

    @property
    def context_columns(self) -> tuple[Column, ...]:
        """The columns that the agent cannot choose."""
        return tuple(c for j, c in enumerate(self.columns) if j != self.reward_function.action)

    @property
    def actions(self) -> NDArray[np.int64]:
        """All values of the action column."""
        column = self.columns[self.reward_function.action]
        return np.arange(int(column.low), int(column.high) + 1)

    def rng(self, *purpose: int) -> np.random.Generator:
        """A generator of the replication's seed for one purpose."""
        return np.random.default_rng([self.seed, *purpose])

    def make_env(self, num_envs: int, source: Source | None = None) -> VectorEnv[Any, Any, Any]:
        """The problem's environment: on the given source, or on truth that the ledger pays for."""
        if source is not None:
            return self.problem.make_env(num_envs, source=source)
        if self.problem.oracle() is None:
            return Metered(self.problem.make_env(num_envs), self.ledger)
        return self.problem.make_env(num_envs, source=OracleSource(self.ledger))

    def contexts(self, n: int, rng: np.random.Generator) -> Array:
        """``n`` random contexts, shape (n, len(context_columns))."""
        return random_design(self.context_columns, n, rng)

    def query(self, action: ArrayLike, context: Array) -> Array:
        """Query rows of each action in its context."""
        return np.insert(context, self.reward_function.action, np.asarray(action, dtype=np.float64), axis=1)

    def n_affordable(self, X: Array, seeds: NDArray[np.int64], size: int | None = None) -> int:
        """How many of the rows, from the first on, the ledger can still pay for (shared references included)."""
        low, high = 0, len(X)
        while low < high:
            n = (low + high + 1) // 2
            # The same hair that the ledger forgives.
            fits = self.ledger.charge_of(X[:n], seeds=seeds[:n], size=size) <= self.ledger.remaining * (1 + 1e-12)
            low, high = (n, high) if fits else (low, n - 1)
        return low

    def stages(self, first: int = 16) -> Iterator[int]:
        """How many rows (or contexts) to add before the policy is looked at again: in all first, 1.5·first, ….

        Endless; a method stops when the ledger answers fewer rows than it was asked for.

        Raises:
            InvalidInputError: The budget is unlimited: it would never end.
        """
        if not np.isfinite(self.ledger.remaining):
            raise InvalidInputError("a method that spends whatever it is given needs a budget")
        total = first
        yield first
        while True:
            upto = max(total + 1, round(1.5 * total))
            yield upto - total
            total = upto

    def measure(self, X: Array, rng: np.random.Generator, *, size: int | None = None) -> Measurement:
        """Measure the rows, or the first of them that the budget still allows, each with a seed of its own.

        Args:
            X: Queries, (n, d).
            rng: Of the seeds.
            size: Of each, in the oracle's unit, charged in proportion; None is the declared size.

        Raises:
            BudgetExhaustedError: The budget allows none, and nothing was measured before.
        """
        seeds = rng.integers(0, 2**31, len(X))
        n = self.n_affordable(X, seeds, size)
        if n == 0 and self.ledger.spent == 0:
            raise BudgetExhaustedError(
                f"the budget of {self.ledger.budget:g} true evaluations allows no row to begin with"
            )
        return self.ledger.measure(X[:n], seeds=seeds[:n], size=size)

    def measure_actions(self, context: Array, rng: np.random.Generator, actions: ArrayLike | None = None) -> Array:
        """The measurement of every action (or of some) in each context, on common random numbers.

        All actions of a context share a seed, so that their differences, which are what a choice needs, carry less
        noise. Contexts that the budget no longer allows whole are left out.

        Args:
            context: Shape (n, columns).
            rng: Of the seeds.
            actions: Which; default all.

        Returns:
            Measurements of the first contexts, (at most n, actions).

        Raises:
            BudgetExhaustedError: The budget allows not even one context, and nothing was measured before.
        """
        wanted = self.actions if actions is None else np.asarray(actions)
        k = len(wanted)
        X = self.query(np.tile(wanted, len(context)), np.repeat(context, k, axis=0))
        seeds = np.repeat(rng.integers(0, 2**31, len(context)), k)
        n = self.n_affordable(X, seeds) // k
        if n == 0 and self.ledger.spent == 0:
            raise BudgetExhaustedError(
                f"the budget of {self.ledger.budget:g} true evaluations does not allow {k} actions"
            )
        return self.ledger.measure(X[: n * k], seeds=seeds[: n * k]).mean.reshape(n, k)

    def rewards(self, measured: Array, context: Array, actions: ArrayLike | None = None) -> Array:
        """The rewards of measurements (contexts, actions), same shape."""
        wanted = self.actions if actions is None else np.asarray(actions)
        X = self.query(np.tile(wanted, len(context)), np.repeat(context, len(wanted), axis=0))
        return np.asarray(self.reward_function.reward(measured.reshape(-1), X)).reshape(measured.shape)

    def greedy(self, predict: Callable[[Array], ArrayLike], context: Array) -> NDArray[np.int64]:
        """The action with the highest reward in each context; ``predict(X) -> (n,)`` predicts the measurement."""
        X = with_all_actions(context, self.columns, self.reward_function.action)
        measured = np.asarray(predict(X), dtype=np.float64).reshape(len(context), -1)
        return np.asarray(self.actions[self.rewards(measured, context).argmax(axis=1)])

    def lookup(self, predict: Callable[[Array], Array], *, plan: bool = False) -> Policy:
        """The policy that takes what a prediction says is best in the context as it now is; where episodes can be
        planned, the problem's own look-up."""
        if plan or self.problem.planning is not None:
            return self.problem.lookup(predict, plan=plan)
        return self.problem.rule(lambda context: self.greedy(predict, context))


@dataclass
class CurvePoint:
    """What a method yields: its policy now, and what it wants remembered beside it.

    Attributes:
        policy: Acts on observations.
        env_steps: Environment steps so far.
        price: True evaluations, and seconds of truth, that the policy was learnt from; None: all that was charged so
            far.
        notes: Further numbers for the curve's point.
    """

    policy: Policy
    env_steps: int = 0
    price: tuple[float, float] | None = None
    notes: dict[str, float] = field(default_factory=dict)


class Method(ABC):
    """A comparator: subclass it in one file under ``baselines/`` and name the file in a suite.

    Example:
        >>> import numpy as np
        >>> from mbrl_split.bench import CurvePoint, Method
        >>> class AlwaysSix(Method):
        ...     def learn(self, task):
        ...         yield CurvePoint(task.problem.rule(lambda context: np.full(len(context), 6)))
    """

    def check(self, task: Task) -> None:
        """Refuse a task that the method cannot learn from; asked for every row before the first run of a suite.

        Args:
            task: As a run's, but for its truth, which is a stand-in, and its folder, which is not there to be used.

        Raises:
            InvalidInputError: One line that says why, and what would be right.
        """
        return

    @abstractmethod
    def learn(self, task: Task) -> Iterator[CurvePoint]:
        """Learn from ``task.ledger``, yielding whenever the policy has changed; the last one yielded is final."""
