"""The judge of sessions: policies rolled out in the scenario itself, on expected rewards and common random numbers."""

from __future__ import annotations

import copy
import inspect
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.columns import Column
from mbrl_split.errors import InvalidInputError
from mbrl_split.interaction import Policy
from mbrl_split.layer_split.envs.llm_split import LLMSplitVector
from mbrl_split.layer_split.envs.rules import quality_term
from mbrl_split.layer_split.envs.session import SessionVector
from mbrl_split.layer_split.judging.base import PARTS, DamageByWindow, DamageJudge, ExpectedDamage, Part
from mbrl_split.layer_split.judging.session_model import SessionModel
from mbrl_split.layer_split.scenarios import Scenario
from mbrl_split.layer_split.tables.table import TableOracle

Array = NDArray[np.float64]

_BOOTSTRAP_SESSIONS, _BOOTSTRAP_TURNS, _BOOTSTRAP_REPLICATES = 256, 4, 100  # every fourth turn: neighbours are alike


class SessionJudge(DamageJudge):
    """What policies are worth in a session: a scenario with a context process.

    The counterpart of :class:`~mbrl_split.layer_split.SplitJudge`. Every policy, the exact ones included, is rolled out
    through the same seeded sessions of the real environment (continuous noise, load, battery, masks), with the reward
    composed from the *expected* damage; values are mean rewards per turn. The exact policies come from dynamic
    programming on a grid (:class:`~mbrl_split.layer_split.SessionModel`); what is planned with one part of the
    measurements is valued on the other, both ways, and averaged.

    Args:
        scenario: A session.
        n_layers: L of the model.
        expected: The expected damage and its standard error, from two disjoint parts.
        n_contexts: Sessions.
        seed: Of the sessions; never one that a method learns with.
        bins: Noise bins of the grid.
        charges: Charge levels of the grid.
        by_window: The damage before averaging over windows, from which the headroom's error is bootstrapped. Without
            it the error is told from the two ways round, crudely.
        table: The measured table behind ``expected``, for what reports tell of it.

    Raises:
        InvalidInputError: No sessions, or a scenario that is none.
        UnsupportedError: A scenario that a grid cannot hold; see ``SessionModel``.

    Example:
        >>> from mbrl_split.layer_split import scenario
        >>> from mbrl_split.layer_split import SessionJudge
        >>> damage = lambda X: X[:, 1] / X[:, 0]  # noise over split
        >>> judge = SessionJudge.of_function(scenario("drive"), n_layers=6, damage=damage, n_contexts=50, bins=7)
        >>> judge.optimal > judge.random
        True
    """

    names = ("optimal", "best-fixed", "myopic", "myopic-with-cost", "random")
    unit = "session"

    def __init__(
        self,
        scenario: Scenario,
        n_layers: int,
        expected: ExpectedDamage,
        n_contexts: int = 1000,
        seed: int = 0,
        *,
        bins: int = 25,
        charges: int = 3,
        by_window: DamageByWindow | None = None,
        table: TableOracle | None = None,
    ) -> None:
        if n_contexts < 2:
            raise InvalidInputError(f"a judge needs at least 2 sessions, not {n_contexts}")
        self.scenario, self.n_layers, self.table = scenario, n_layers, table
        self._expected, self._by_window = expected, by_window
        self._bins, self._charges, self._n = bins, charges, n_contexts
        seeds = [int(s) for s in np.random.default_rng([seed, 0x6A7564]).integers(0, 2**62, n_contexts)]
        self._sources = [_ExpectedSource(scenario.columns(n_layers), expected, part) for part in PARTS]
        self._started: list[tuple[SessionVector, Array, NDArray[np.bool_]]] = []
        for source in self._sources:
            env = LLMSplitVector(n_contexts, scenario, source=source)
            if not isinstance(env, SessionVector):
                raise InvalidInputError(f"scenario {scenario.name!r} has no context process; SplitJudge judges it")
            obs, info = env.reset(seed=seeds)
            self._started.append((env, np.asarray(obs, dtype=np.float64), info["action_mask"]))

    # ---- the exact policies -----------------------------------------------------------------------------------------

    @property
    def context(self) -> Array:
        """Contexts at the start of the sessions, (sessions, columns)."""
        env, _, _ = self._started[0]
        state = env._current
        found = state["context"].copy()
        found[:, env._level] = env.level(state)
        return np.asarray(found)

    @cached_property
    def myopic(self) -> float:
        """Each turn the split with the best reward, moving not counted."""
        return float(self._crosswise("myopic").mean())

    @cached_property
    def myopic_with_cost(self) -> float:
        """Each turn the split with the best reward, moving counted."""
        return float(self._crosswise("myopic-with-cost").mean())

    @cached_property
    def random(self) -> float:
        """Uniformly random allowed actions."""
        return self.achieved(_Random())

    @cached_property
    def fixed_split(self) -> int:
        """The best fixed split (both parts together)."""
        return int(self._fixed.mean(axis=(0, 2)).argmax() + 1)

    @cached_property
    def planned(self) -> float:
        """The optimal value as the grid itself has it; :attr:`optimal` differs by the grid's error and by chance."""
        return float(np.mean([m.value for m in self._models]))

    @cached_property
    def discretisation_error(self) -> float:
        """|planned − the same on a grid twice as fine|, reward per turn."""
        fine = self._grids(2 * self._bins, 2 * self._charges - 1)
        return abs(self.planned - float(np.mean([m.value for m in fine])))

    # ---- judging ----------------------------------------------------------------------------------------------------

    def _values(self, policy: Any) -> Array:
        return np.asarray(np.mean([self._roll(policy, part) for part in range(len(PARTS))], axis=0))

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _grids(self, bins: int, charges: int) -> list[SessionModel]:
        """One per part."""
        damages = [lambda X, part=part: self._expected(X, part=part)[0] for part in PARTS]
        return [SessionModel(self.scenario, self.n_layers, d, bins=bins, charges=charges) for d in damages]

    @cached_property
    def _models(self) -> list[SessionModel]:
        return self._grids(self._bins, self._charges)

    def _crosswise(self, rule: Any) -> Array:
        """Values of a rule planned on the one part and rolled out on the other, (2, sessions)."""
        return np.stack([self._roll(self._models[1 - part].policy(rule), part) for part in range(2)])

    @cached_property
    def _optimal(self) -> Array:
        return self._crosswise("optimal")

    @cached_property
    def _fixed(self) -> Array:
        """Values of every fixed split, (part, split, sessions)."""
        return np.stack([[self._roll(hold, part) for hold in self._holds] for part in range(2)])

    @cached_property
    def _holds(self) -> list[_Hold]:
        return [_Hold(self.scenario, self.n_layers, p) for p in range(1, self.n_layers)]

    @cached_property
    def _best_fixed(self) -> Array:
        chosen = self._fixed.mean(axis=2).argmax(axis=1)
        return np.stack([self._fixed[part, chosen[1 - part]] for part in range(2)])

    def _measurement_error(self) -> float:
        """By bootstrap over the table's windows.

        The fixed split is chosen anew each time, because two splits that are nearly as good change places from text to
        text. The planned policies are held: what one loses for having been planned on other windows is of second order.
        """
        if self._by_window is None:
            ways = (self._optimal - self._best_fixed).mean(axis=1)
            return float(abs(ways[0] - ways[1]) / 2)
        rng = np.random.default_rng(0)
        disturbed = []
        for part in range(len(PARTS)):
            policies: list[Policy] = [self._models[1 - part].policy("optimal"), *self._holds]
            values = np.append(self._optimal[part].mean(), self._fixed[part].mean(axis=1))
            damage = [self._by_window(self._visited(policy, part), PARTS[part]) for policy in policies]
            windows = damage[0].shape[1]
            shares = rng.multinomial(windows, np.full(windows, 1 / windows), _BOOTSTRAP_REPLICATES).T / windows
            usual = np.full((windows, 1), 1 / windows)
            shift = [self._quality(d, shares) - self._quality(d, usual) for d in damage]
            disturbed.append(values[:, None] + np.stack(shift))
        each = np.arange(_BOOTSTRAP_REPLICATES)
        found = np.zeros(_BOOTSTRAP_REPLICATES)
        for mine, other in (disturbed, disturbed[::-1]):
            chosen = other[1:].argmax(axis=0)
            found += (mine[0] - mine[1:][chosen, each]) / 2
        return float(found.std(ddof=1))

    def _quality(self, damage: Array, shares: Array) -> Array:
        """Mean quality term of visited queries, (replicates,), their windows weighted by shares (w, replicates)."""
        return np.asarray(quality_term(damage @ shares, self.scenario.reward).mean(axis=0))

    def _visited(self, policy: Policy, part: int) -> Array:
        """Queries of the first sessions at some of the turns under a policy, (n, d)."""
        source = self._sources[part]
        source.asked = []
        self._roll(policy, part)
        asked, source.asked = source.asked, None
        return np.concatenate([x[:_BOOTSTRAP_SESSIONS] for x in asked[::_BOOTSTRAP_TURNS]])

    def _roll(self, policy: Policy, part: int) -> Array:
        """Mean reward per turn of each session, (n,)."""
        started, obs, mask = self._started[part]
        env = copy.copy(started)  # states are replaced, never written in place
        takes_mask = "mask" in inspect.signature(policy.act).parameters
        total = np.zeros(self._n)
        for _ in range(self.scenario.episode_steps):
            told: dict[str, Any] = {"mask": mask} if takes_mask else {}
            # float32, as the environment gives it: what an agent was trained on
            seen, reward, _, _, info = env.step(policy.act(obs.astype(np.float32), deterministic=True, **told))
            obs, mask = np.asarray(seen, dtype=np.float64), info["action_mask"]
            total += reward
        return total / self.scenario.episode_steps


class _ExpectedSource:
    """The expected damage of one part as an environment's source; writes down what it is asked where told to."""

    version = 0
    asked: list[Array] | None = None

    def __init__(self, columns: tuple[Column, ...], expected: ExpectedDamage, part: Part) -> None:
        self.columns, self._expected, self._part = columns, expected, part

    def answer(self, X: ArrayLike, *, seeds: ArrayLike) -> Array:
        x = np.asarray(X, dtype=np.float64)
        if self.asked is not None:
            self.asked.append(x)
        return np.asarray(self._expected(x, part=self._part)[0])


class _Hold(Policy):
    """Goes to one split as fast as allowed and stays; the environment answers a forbidden one by its neighbour."""

    def __init__(self, scenario: Scenario, n_layers: int, split: int) -> None:
        self._scenario, self._split = scenario, split
        self._column = scenario.columns(n_layers)[0]

    def act(self, obs: ArrayLike, *, deterministic: bool = True, mask: ArrayLike | None = None) -> NDArray[np.int64]:
        x = np.asarray(obs)
        if self._scenario.actions == "absolute":
            return np.full(len(x), self._split - 1)
        at = self._column.from_unit(np.clip(x[:, len(self._scenario.context)], 0, 1)).astype(np.int64)
        move = self._scenario.max_move
        return np.asarray(np.clip(self._split - at, -move, move) + move)


class _Random(Policy):
    """A uniformly random allowed action."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)

    def act(self, obs: ArrayLike, *, deterministic: bool = True, mask: ArrayLike | None = None) -> NDArray[np.int64]:
        allowed = np.asarray(mask, dtype=np.bool_)
        return np.asarray(np.where(allowed, self._rng.random(allowed.shape), -1.0).argmax(axis=1))
