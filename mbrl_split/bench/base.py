"""The contract of a method: whatever learns a policy from truth that it pays for.

A method is a generator of policies. It yields whenever its policy has changed; the runner judges what was yielded
(judging is not charged) and writes one point of the curve *regret against true evaluations*. Reinforcement learning,
the exhaustive table and a bandit are all judged by the same few lines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.columns import Column
from mbrl_split.envs import compose_reward
from mbrl_split.errors import BadInput, BudgetExhausted
from mbrl_split.evaluation import Acts, SplitPolicy
from mbrl_split.oracles import Ledger, Measurement
from mbrl_split.scenarios import Scenario

Array = NDArray[np.float64]
Policy = SplitPolicy | Acts
"""Where to cut in a context; in sessions, which are more than their context, what to do on an observation."""


@dataclass(frozen=True)
class Task:
    """What a method is given: the problem, a seed, and truth at a price.

    Attributes:
        scenario: The scenario.
        n_layers: L of the model.
        ledger: The only road to the truth; its budget is the method's budget.
        seed: The replication's seed.
        env_steps: Environment steps a learning agent may take.
        folder: Where the method may write logs and checkpoints.
    """

    scenario: Scenario
    n_layers: int
    ledger: Ledger
    seed: int
    env_steps: int
    folder: Path

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.ledger.oracle.columns

    @property
    def splits(self) -> NDArray[np.int64]:
        """All splits, 1 … L−1."""
        return np.arange(1, self.n_layers)

    def rng(self, *purpose: int) -> np.random.Generator:
        """A generator of the replication's seed for one purpose."""
        return np.random.default_rng([self.seed, *purpose])

    def contexts(self, n: int, rng: np.random.Generator) -> Array:
        """``n`` random contexts, shape (n, len(scenario.context))."""
        return np.stack([c.sample(n, rng) for c in self.scenario.context], axis=1)

    def query(self, split: Sequence[int] | NDArray[np.int64], context: Array) -> Array:
        """Query rows (split, *context)."""
        return np.column_stack([np.asarray(split, dtype=np.float64), context])

    def affordable(self, X: Array, seeds: NDArray[np.int64], tokens: int | None = None) -> int:
        """How many of the rows, from the first on, the ledger can still pay for (clean references included)."""
        low, high = 0, len(X)
        while low < high:
            n = (low + high + 1) // 2
            # The same hair that the ledger forgives.
            fits = self.ledger.charge_of(X[:n], seeds=seeds[:n], tokens=tokens) <= self.ledger.remaining * (1 + 1e-12)
            low, high = (n, high) if fits else (low, n - 1)
        return low

    def stages(self, first: int = 16) -> Iterator[int]:
        """How many rows (or contexts) to add before the policy is looked at again: in all first, 1.5·first, ….

        Endless; a method stops when the ledger answers fewer rows than it was asked for.

        Raises:
            BadInput: The budget is unlimited: it would never end.
        """
        if not np.isfinite(self.ledger.remaining):
            raise BadInput("a method that spends whatever it is given needs a budget")
        total = first
        yield first
        while True:
            upto = max(total + 1, round(1.5 * total))
            yield upto - total
            total = upto

    def measure(self, X: Array, rng: np.random.Generator, *, tokens: int | None = None) -> Measurement:
        """Measure the rows, or the first of them that the budget still allows, each with a seed of its own.

        Args:
            X: Queries, (n, d).
            rng: Of the seeds.
            tokens: Scored tokens of each, charged in proportion; None is the declared size.

        Raises:
            BudgetExhausted: The budget allows none, and nothing was measured before.
        """
        seeds = rng.integers(0, 2**31, len(X))
        n = self.affordable(X, seeds, tokens)
        if n == 0 and self.ledger.spent == 0:
            raise BudgetExhausted(f"the budget of {self.ledger.budget:g} true evaluations allows no row to begin with")
        return self.ledger.measure(X[:n], seeds=seeds[:n], tokens=tokens)

    def measure_splits(self, context: Array, rng: np.random.Generator, splits: ArrayLike | None = None) -> Array:
        """The damage of every split (or of some) in each context, on common random numbers.

        All splits of a context see the same text windows through the same channel, so that their differences, which
        are what a choice needs, carry less noise. Contexts that the budget no longer allows whole are left out.

        Args:
            context: Shape (n, columns).
            rng: Of the seeds.
            splits: Which; default all.

        Returns:
            Damages of the first contexts, (at most n, splits), nats/token.

        Raises:
            BudgetExhausted: The budget allows not even one context, and nothing was measured before.
        """
        wanted = self.splits if splits is None else np.asarray(splits)
        k = len(wanted)
        X = self.query(np.tile(wanted, len(context)), np.repeat(context, k, axis=0))
        seeds = np.repeat(rng.integers(0, 2**31, len(context)), k)
        n = self.affordable(X, seeds) // k
        if n == 0 and self.ledger.spent == 0:
            raise BudgetExhausted(f"the budget of {self.ledger.budget:g} true evaluations does not allow {k} splits")
        return self.ledger.measure(X[: n * k], seeds=seeds[: n * k]).mean.reshape(n, k)

    def reward(self, damage: Array, split: Array | NDArray[np.int64]) -> Array:
        """The reward composed from a damage, shape of ``damage``."""
        return compose_reward(damage, split, self.n_layers, self.scenario.reward)

    def greedy(self, damage_at: object, context: Array) -> NDArray[np.int64]:
        """The split with the highest reward in each context; ``damage_at(X) -> (n,)`` predicts the damage."""
        n, splits = len(context), self.splits
        X = self.query(np.tile(splits, n), np.repeat(context, len(splits), axis=0))
        damage = np.asarray(damage_at(X)).reshape(n, len(splits))  # type: ignore[operator]
        best = np.argmax(self.reward(damage, np.broadcast_to(splits, damage.shape)), axis=1)
        return np.asarray(splits[best])


@dataclass
class Checkpoint:
    """What a method yields: its policy now, and what it wants remembered beside it.

    Attributes:
        policy: Where to cut.
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
        >>> from mbrl_split.bench import Checkpoint, Method
        >>> class AlwaysSix(Method):
        ...     def learn(self, task):
        ...         yield Checkpoint(lambda context, split, step: np.full(len(context), 6))
    """

    def check(self, task: Task) -> None:
        """Refuse a task that the method cannot learn from; asked for every row before the first run of a suite.

        Args:
            task: As a run's, but for its truth, which is a stand-in, and its folder, which is not there to be used.

        Raises:
            BadInput: One line that says why, and what would be right.
        """
        return

    @abstractmethod
    def learn(self, task: Task) -> Iterator[Checkpoint]:
        """Learn from ``task.ledger``, yielding whenever the policy has changed; the last one yielded is final."""
