"""The decision problem as a judge sees it: expected rewards on held-out contexts, what is best, and what is lost."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_split.errors import InvalidInputError
from mbrl_split.layer_split.envs.rules import compose_reward, drifted
from mbrl_split.layer_split.judging import paths
from mbrl_split.layer_split.judging.base import PARTS, DamageByWindow, DamageJudge, ExpectedDamage, Part
from mbrl_split.layer_split.judging.policy import agent_policy, policy_splits
from mbrl_split.layer_split.scenarios import Scenario
from mbrl_split.layer_split.tables.table import TableOracle

Array = NDArray[np.float64]
NOISE_BINS = 8
"""Bins of the per-noise-bin rule."""

_BOOTSTRAP_CONTEXTS, _BOOTSTRAP_REPLICATES = 400, 60


class SplitJudge(DamageJudge):
    """Expected rewards of every split in many contexts, and the exact policies on them.

    A context is held during an episode (the drift of the noise with the split is followed exactly), so with relative
    actions the optimum is a finite-horizon dynamic programme per context. Values are mean rewards per step, composed
    from the *expected* damage. Whatever is chosen by looking at rewards is chosen on one part and valued on the
    other, both ways, and averaged: neither the optimum nor the best fixed split profits from its own noise.

    Args:
        scenario: The scenario.
        n_layers: L of the model.
        expected: The expected damage and its standard error, from two disjoint parts; for instance
            ``TableOracle.expected``, or :func:`~mbrl_split.layer_split.from_function` of a function.
        n_contexts: Held-out contexts.
        seed: Of the contexts and the start splits; never one that a method learns with.
        by_window: The damage before averaging over windows, from which the headroom's error is bootstrapped. Without
            it only the standard errors are known, and the error is conservative.
        table: The measured table behind ``expected``, for what reports tell of it.

    Raises:
        InvalidInputError: No contexts, or a damage that is not finite.

    Example:
        >>> import numpy as np
        >>> from mbrl_split.layer_split import scenario
        >>> from mbrl_split.layer_split import SplitJudge
        >>> damage = lambda X: X[:, 1] / X[:, 0]  # noise over split
        >>> judge = SplitJudge.of_function(scenario("equalised"), n_layers=12, damage=damage, n_contexts=200)
        >>> judge.optimal > judge.best_fixed > judge.random
        True
        >>> always_five = lambda context, split, step: np.full(len(context), 5)
        >>> judge.regret(always_five).normalised > 0
        True
    """

    names = ("optimal", "best-fixed", "noise-bins", "myopic", "myopic-with-cost", "random")
    unit = "context"

    def __init__(
        self,
        scenario: Scenario,
        n_layers: int,
        expected: ExpectedDamage,
        n_contexts: int = 2000,
        seed: int = 0,
        *,
        by_window: DamageByWindow | None = None,
        table: TableOracle | None = None,
    ) -> None:
        if n_contexts < 2:
            raise InvalidInputError(f"a judge needs at least 2 contexts, not {n_contexts}")
        self.scenario, self.n_layers, self._by_window, self.table = scenario, n_layers, by_window, table
        rng = np.random.default_rng([seed, 0x6A7564])
        self.context = np.stack([c.sample(n_contexts, rng) for c in scenario.context], axis=1)
        self.start = rng.integers(1, n_layers, n_contexts)
        self.X = self._queries()
        parts = [self._reward(expected, part) for part in PARTS]
        self.reward = np.stack([reward for reward, _ in parts])
        """Expected reward, shape (part, context, split)."""
        self.std_error = np.stack([error for _, error in parts])
        """Its standard error from the measurements, same shape."""

    # ---- the exact policies ---------------------------------------------------------------------------------------

    @cached_property
    def noise_bins(self) -> float:
        """The best split per bin of the first context column: a rule that needs no learning, only a pilot."""
        c = self.scenario.context[0]
        bins = np.minimum((c.to_unit(self.context[:, 0]) * NOISE_BINS).astype(np.int64), NOISE_BINS - 1)
        return float(self._crosswise(lambda r: self._direct(self._best_target(r, bins)[bins])).mean())

    @cached_property
    def myopic(self) -> float:
        """Each step the split within reach that is best now."""
        return float(self._crosswise(lambda r: paths.greedy_path(r, self.start, self._steps, self._move)).mean())

    @cached_property
    def random(self) -> float:
        """Uniformly random actions, in expectation."""
        return float(np.mean([paths.random_value(r, self.start, self._steps, self._move).mean() for r in self.reward]))

    @property
    def myopic_with_cost(self) -> float:
        """The same as :attr:`myopic`: here moving is free."""
        return self.myopic

    @cached_property
    def best_split(self) -> NDArray[np.int64]:
        """The split with the highest expected reward in each context (both parts together), shape (n,)."""
        return np.asarray(self.reward.mean(axis=0).argmax(axis=1) + 1)

    @cached_property
    def fixed_split(self) -> int:
        """The best fixed split (both parts together)."""
        return int(self._best_target(self.reward.mean(axis=0), np.zeros(len(self.context), np.int64))[0])

    # ---- judging ----------------------------------------------------------------------------------------------------

    def per_context(self, path: NDArray[np.int64]) -> Array:
        """Mean expected reward per step of paths (n, episode_steps) in each context, (n,): for paired comparisons."""
        return np.asarray(np.mean([paths.along(reward, path) for reward in self.reward], axis=0))

    def _values(self, policy: Any) -> Array:
        chosen = policy if callable(policy) else agent_policy(policy, self.scenario, self.n_layers)
        return self.per_context(policy_splits(chosen, self.scenario, self.n_layers, self.context, self.start))

    # ---- inside -----------------------------------------------------------------------------------------------------

    @property
    def _steps(self) -> int:
        return self.scenario.episode_steps

    @property
    def _move(self) -> int | None:
        return self.scenario.max_move if self.scenario.actions == "relative" else None

    def _queries(self) -> Array:
        """The query of every split in every context, (n, splits, d), with the noise as it is when one is there."""
        splits = np.arange(1, self.n_layers)
        n, k = len(self.context), len(splits)
        context = np.repeat(self.context, k, axis=0)
        moved = np.tile(splits, n) - np.repeat(self.start, k)
        rows = np.column_stack([np.tile(splits, n).astype(np.float64), drifted(self.scenario, context, moved)])
        return rows.reshape(n, k, -1)

    def _reward(self, expected: ExpectedDamage, part: Part) -> tuple[Array, Array]:
        n, k, d = self.X.shape
        mean, error = (np.asarray(a, dtype=np.float64) for a in expected(self.X.reshape(-1, d), part=part))
        if mean.shape != (n * k,) or error.shape != (n * k,):
            raise InvalidInputError(
                f"the expected damage has shapes {mean.shape} and {error.shape}, not ({n * k},) twice"
            )
        if not np.isfinite(mean).all():
            row = int(np.flatnonzero(~np.isfinite(mean))[0])
            raise InvalidInputError(f"the expected damage at {self.X.reshape(-1, d)[row].tolist()} is {mean[row]}")
        mean, error = mean.reshape(n, k), error.reshape(n, k)
        return self._compose(mean), np.abs(self._compose(mean - error) - self._compose(mean + error)) / 2

    def _compose(self, damage: Array) -> Array:
        """Rewards of expected damages (contexts, splits), same shape."""
        reference = np.zeros((len(damage), 1))
        if self.scenario.reference == "start":
            reference = np.take_along_axis(damage, self.start[:, None] - 1, axis=1)
        splits = np.arange(1, self.n_layers)
        return np.asarray(compose_reward(damage, splits, self.n_layers, self.scenario.reward, reference))

    def _crosswise(self, choose: Callable[[Array], NDArray[np.int64]]) -> Array:
        """Per context, the value on each part of the paths chosen on the other; the two ways averaged, shape (n,)."""
        a, b = self.reward
        return (paths.along(b, choose(a)) + paths.along(a, choose(b))) / 2

    def _direct(self, target: NDArray[np.int64]) -> NDArray[np.int64]:
        return paths.direct_path(target, self.start, self._steps, self._move)

    def _best_target(self, reward: Array, bins: NDArray[np.int64]) -> NDArray[np.int64]:
        """The split that is best for all contexts of a bin, shape (bins,); an empty bin takes the overall best."""
        n, k = reward.shape
        value = np.stack([paths.along(reward, self._direct(np.full(n, p))) for p in range(1, k + 1)], axis=1)
        best = np.full(int(bins.max()) + 1, value.mean(axis=0).argmax() + 1)
        for b in np.unique(bins):
            best[b] = value[bins == b].mean(axis=0).argmax() + 1
        return best

    @cached_property
    def _optimal(self) -> Array:
        return self._crosswise(self._optimal_path)

    @cached_property
    def _best_fixed(self) -> Array:
        return self._crosswise(self._fixed_path)

    def _optimal_path(self, reward: Array) -> NDArray[np.int64]:
        return paths.best_path(reward, self.start, self._steps, self._move)

    def _fixed_path(self, reward: Array) -> NDArray[np.int64]:
        everyone = np.zeros(len(self.context), np.int64)
        return self._direct(self._best_target(reward, everyone)[everyone])

    def _measurement_error(self) -> float:
        """By bootstrap over text windows, the same for all splits and contexts, where ``by_window`` is known.

        Else it is a parametric one: the errors of one split and part are taken as fully correlated over contexts, which
        cannot understate them, and those of different splits as independent, which overstates the error of a difference
        between splits measured on the same text.

        The whole procedure is repeated on disturbed rewards, choosing included: where the errors are not small against
        the differences between splits, what is chosen adds to the spread.
        """
        if not self.std_error.any():
            return 0.0
        twin = copy.copy(self)
        twin.context, twin.start = self.context[:_BOOTSTRAP_CONTEXTS], self.start[:_BOOTSTRAP_CONTEXTS]
        found = []
        for reward in self._replicates(twin, np.random.default_rng(0)):
            twin.reward = reward
            found.append((twin._crosswise(twin._optimal_path) - twin._crosswise(twin._fixed_path)).mean())
        return float(np.std(found, ddof=1))

    def _replicates(self, twin: SplitJudge, rng: np.random.Generator) -> Iterator[Array]:
        """Bootstrap replicates of the rewards in the first contexts, each of shape (part, context, split)."""
        n, k = len(twin.context), self.n_layers - 1
        if self._by_window is None:
            for _ in range(_BOOTSTRAP_REPLICATES):
                yield self.reward[:, :n] + rng.standard_normal((2, 1, k)) * self.std_error[:, :n]
            return
        X = self.X[:n].reshape(n * k, -1)
        damage = [self._by_window(X, part) for part in PARTS]
        for _ in range(_BOOTSTRAP_REPLICATES):
            shares = [rng.multinomial(w, np.full(w, 1 / w)) / w for w in (d.shape[1] for d in damage)]
            means = [d @ share for d, share in zip(damage, shares, strict=True)]
            yield np.stack([twin._compose(mean.reshape(n, k)) for mean in means])
