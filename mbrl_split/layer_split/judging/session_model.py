"""A session on a grid: what dynamic programming needs to be exact about the scenarios with memory."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from mbrl_split.agents import Planner, TabularModel
from mbrl_split.errors import InvalidInputError, UnsupportedError
from mbrl_split.interaction import Policy
from mbrl_split.layer_split.context_process import (
    correlation_of,
    joule_price,
    latent_of,
    level_of,
    load_matrix,
    transition_matrix,
)
from mbrl_split.layer_split.costs import Prices
from mbrl_split.layer_split.envs.rules import action_space, build_inputs, next_split, quality_term
from mbrl_split.layer_split.envs.session import allowed_of, level_column, snr_of_level
from mbrl_split.layer_split.scenarios import Scenario
from mbrl_split.registry import unknown

Array = NDArray[np.float64]
Damage = Callable[[Array], Array]
Rule = Literal["optimal", "myopic", "myopic-with-cost"]
RULES: tuple[str, ...] = get_args(Rule)

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(3)
_STATIC = 5


class SessionModel:
    """The discretised session, and its exact policies.

    The state is (noise bin, server load, charge, split before); the turn is the stage, so that the growing cache costs
    nothing. Noise bins are equally probable under the stationary law; rewards are averaged within a bin, transitions
    are those of the Gauss–Markov latent between bins. The charge is interpolated linearly between levels. Other
    context columns hold for an episode and are planned for at a few values of each. With ``delay`` the bin is that of
    the noise known, and rewards are expected over what it may have become.

    Args:
        scenario: A session whose channel level is Gauss–Markov.
        n_layers: L of the model.
        damage: Expected damage of queries (n, d), true or learned, nats/token.
        bins: Noise bins.
        charges: Charge levels, 0 … 1 (one without a battery).
        correlation: Of the latent noise between turns; None: the scenario's own. Estimated ones come from
            :func:`estimated_correlation`.
        loads: Transition matrix of the server's load; None: the scenario's own.

    Attributes:
        value: Expected reward per turn of the optimal policy on this grid, from the scenario's starts.

    Raises:
        UnsupportedError: A gain that is a state, knowledge with errors, or a trace without a given correlation: there
            the grid would not be the scenario.
        InvalidInputError: No session, or sizes below 1.

    Example:
        >>> from mbrl_split.layer_split import scenario
        >>> from mbrl_split.layer_split import SessionModel
        >>> damage = lambda X: X[:, 1] / X[:, 0]  # noise over split
        >>> model = SessionModel(scenario("drive"), n_layers=6, damage=damage, bins=7)
        >>> round(model.value, 2)
        0.06
    """

    def __init__(
        self,
        scenario: Scenario,
        n_layers: int,
        damage: Damage,
        *,
        bins: int = 25,
        charges: int = 3,
        correlation: float | None = None,
        loads: ArrayLike | None = None,
    ) -> None:
        if scenario.context_process is None or scenario.costs is None:
            raise InvalidInputError(f"scenario {scenario.name!r} has no context process to plan for")
        spec = scenario.context_process
        if spec.fading or spec.knowledge_error > 0 or (spec.trace is not None and correlation is None):
            raise UnsupportedError(
                "exact planning needs a Gauss-Markov level that is known (perhaps late): no fading state, no "
                "knowledge_error, and for a trace an estimated correlation"
            )
        if bins < 2 or charges < 1:
            raise InvalidInputError(f"planning needs at least 2 bins and 1 charge level, not {bins} and {charges}")
        self.scenario, self.n_layers, self._damage = scenario, n_layers, damage
        self._spec, self._bins = spec, bins
        self._column = level_column(scenario)
        self._level = scenario.context[self._column]
        self.prices = Prices(scenario.costs, spec, n_layers, scenario.episode_steps)
        self._kernel = transition_matrix(correlation_of(spec) if correlation is None else correlation, bins)
        self._late = np.linalg.matrix_power(self._kernel, spec.delay)
        self._loads = np.array(spec.edge_load)
        self._load_matrix = load_matrix(len(self._loads), spec.edge_stay) if loads is None else np.asarray(loads)
        battery = spec.battery_joules is not None
        self._charges = np.linspace(0, 1, charges) if battery and charges > 1 else np.ones(1)
        # (split before, action) → split; all splits counted from 1
        before, actions = np.arange(1, n_layers)[:, None], np.arange(int(action_space(scenario, n_layers).n))[None]
        reached = next_split(scenario, n_layers, before, actions)
        self.targets = np.broadcast_to(reached, (n_layers - 1, actions.size)).astype(np.int64)
        self._statics = self._static_grid()
        self._tables = [self._solve(static) for static in self._statics]
        self.value = float(np.mean([value for value, _ in self._tables]))

    def policy(self, rule: Rule = "optimal") -> Policy:
        """A policy on observations.

        ``"optimal"`` looks ahead to the session's end; ``"myopic"`` takes the best reward of this turn and forgets
        what moving costs; ``"myopic-with-cost"`` counts it.

        Raises:
            InvalidInputError: An unknown rule.
        """
        if rule not in RULES:
            raise InvalidInputError(unknown("rule", rule, RULES))
        return _GridPolicy(self, rule)

    # ---- solving ----------------------------------------------------------------------------------------------------

    def _static_grid(self) -> Array:
        """Values of the context columns that hold for an episode, (slices, columns); the level's is left 0."""
        axes = []
        for j, column in enumerate(self.scenario.context):
            if j == self._column:
                axes.append(np.zeros(1))
            elif column.low == column.high:
                axes.append(np.array([column.low]))
            else:
                axes.append(np.unique(column.from_unit((np.arange(_STATIC) + 0.5) / _STATIC)))
        return np.array(list(product(*axes)))

    def _solve(self, static: Array) -> tuple[float, dict[str, Array]]:
        """Value at the start, and per rule the table (turn, bin, load, charge, split before, action)."""
        turns, shape = self.scenario.episode_steps, self._shape
        within = (np.arange(self._bins)[:, None] + (_NODES + 1) / 2) / self._bins
        level = level_of(ndtri(within), self._level, self._spec)
        middle = level_of(ndtri((np.arange(self._bins) + 0.5) / self._bins), self._level, self._spec)
        quality = self._quality(level, static)
        tables = {rule: np.empty((turns, *shape)) for rule in RULES}
        states = int(np.prod(shape[:-1]))
        final = np.zeros(states)
        for t in range(turns - 1, -1, -1):
            reward, joules = self._rewards(t, level, quality, moving=True)
            stay, _ = self._rewards(t, level, quality, moving=False)
            step = _Step(self._kernel, self._load_matrix, self.targets, *self._charge_after(joules))
            mask = np.broadcast_to(self._mask(t, middle)[:, :, None], shape)
            model = TabularModel(step, reward.reshape(states, -1), mask.reshape(states, -1))
            # The mask of a continuous state may differ from its bin's: keep what forbidden actions would be worth.
            tables["optimal"][t] = reward + (step @ final).reshape(shape)
            tables["myopic"][t], tables["myopic-with-cost"][t] = stay, reward
            final = Planner(model).finite_horizon(1, final=final).values[0]
        start = final.reshape(shape[:-1]).mean(axis=(0, 1, 3))  # bins, loads and splits are uniform at the start
        if self._charges.size > 1:  # the charge is uniform in 0.1 … 1
            c = np.linspace(0.1, 1, 91)
            start = np.trapezoid(np.interp(c, self._charges, start), c) / 0.9
        return float(np.mean(start) / turns), tables

    @property
    def _shape(self) -> tuple[int, ...]:
        return (self._bins, len(self._loads), len(self._charges), *self.targets.shape)

    def _quality(self, level: Array, static: Array) -> Array:
        """Expected quality term of each bin and split, (bins, splits)."""
        splits = np.arange(1, self.n_layers)
        context = np.tile(static, (level.size * len(splits), 1))
        context[:, self._column] = np.repeat(level.ravel(), len(splits))
        damage = np.asarray(self._damage(build_inputs(np.tile(splits, level.size), context)), dtype=np.float64)
        quality = quality_term(damage, self.scenario.reward).reshape(*level.shape, len(splits))
        return np.asarray(np.einsum("ijk,j->ik", quality, _WEIGHTS / 2))

    def _rewards(self, turn: int, level: Array, quality: Array, *, moving: bool) -> tuple[Array, Array]:
        """Expected rewards of a turn, in the model's shape, and expected joules, (bins, split before, action)."""
        snr = snr_of_level(self.scenario, level)[:, :, None, None, None]
        load = self._loads[:, None, None]
        before = np.arange(1, self.n_layers)[:, None] if moving else self.targets
        bill = self.prices.turn(self.targets, before, snr, load, turn)  # (bin, node, load, split, action)
        average = _WEIGHTS / 2
        joules = np.einsum("ij...,j->i...", np.broadcast_to(bill.joules, np.shape(bill.seconds)), average)[:, 0]
        price = joule_price(self._charges, self.prices.costs.low_battery)
        share = self.prices.share(
            bill, price[:, None, None, None, None, None]
        )  # (charge, bin, node, load, split, action)
        share = np.einsum("bijeka,j->iebka", share, average)
        reward = quality[:, self.targets - 1][:, None, None] + self.scenario.reward.load * (1 - share)
        if self._spec.delay:
            reward = np.einsum("ij,j...->i...", self._late, reward)
            joules = np.einsum("ij,j...->i...", self._late, joules)
        return reward, joules

    def _mask(self, turn: int, middle: Array) -> NDArray[np.bool_]:
        """Allowed actions, (bins, loads, split before, action)."""
        fits = np.broadcast_to(
            self.prices.fits(self.targets, turn), (len(middle), len(self._loads), *self.targets.shape)
        )
        seconds, deadline = None, self.prices.costs.deadline
        if deadline is not None:
            snr = snr_of_level(self.scenario, middle)[:, None, None, None]
            before = np.arange(1, self.n_layers)[:, None]
            seconds = self.prices.turn(self.targets, before, snr, self._loads[:, None, None], turn).seconds
        return allowed_of(fits, seconds, deadline, self.targets)

    def _charge_after(self, joules: Array) -> tuple[NDArray[np.int64], Array]:
        """Lower charge level after the turn and the way to the next one, (bins, charges, split before, action)."""
        spec, levels = self._spec, self._charges
        if spec.battery_joules is None or levels.size == 1:
            shape = (joules.shape[0], 1, *joules.shape[1:])
            return np.zeros(shape, np.int64), np.zeros(shape)
        drawn = (joules + spec.background_watts * spec.turn_seconds) / spec.battery_joules
        after = np.maximum(levels[:, None, None] - drawn[:, None], 0.0) * (levels.size - 1)
        low = np.minimum(np.floor(after).astype(np.int64), levels.size - 2)
        return low, after - low


class _Step:
    """Transition probabilities of a turn, applied to values without being written out."""

    def __init__(
        self, kernel: Array, loads: Array, targets: NDArray[np.int64], low: NDArray[np.int64], way: Array
    ) -> None:
        self.kernel, self.loads, self.targets, self.low, self.way = kernel, loads, targets, low, way

    def __matmul__(self, values: Array) -> Array:
        bins, charges = self.low.shape[:2]
        v = values.reshape(bins, len(self.loads), charges, len(self.targets))
        v = np.einsum("ij,ef,jfbk->iebk", self.kernel, self.loads, v, optimize=True)
        if charges == 1:
            return np.asarray(v[:, :, :, self.targets - 1].reshape(-1))
        i, e = np.arange(bins)[:, None, None, None, None], np.arange(len(self.loads))[None, :, None, None, None]
        low, way, k = self.low[:, None], self.way[:, None], self.targets - 1
        return np.asarray(((1 - way) * v[i, e, low, k] + way * v[i, e, low + 1, k]).reshape(-1))


class _GridPolicy(Policy):
    """Reads a rule's table between bins and charge levels."""

    def __init__(self, model: SessionModel, rule: Rule) -> None:
        self.model, self.rule = model, rule

    def act(self, obs: ArrayLike, *, deterministic: bool = True, mask: ArrayLike | None = None) -> NDArray[np.int64]:
        """The best actions; without a mask every action is taken for allowed."""
        x = np.asarray(obs, dtype=np.float64)
        score = self.scores(np.atleast_2d(x))
        if mask is not None:
            score = np.where(np.atleast_2d(np.asarray(mask, dtype=bool)), score, -np.inf)
        action = score.argmax(axis=1)
        return np.asarray(action if x.ndim > 1 else action[0])

    def scores(self, obs: Array) -> Array:
        """What the rule gives each action, (n, actions)."""
        m = self.model
        columns = m.scenario.context
        c = len(columns)
        unit = np.clip(obs, 0, 1)
        level = m._level.from_unit(unit[:, m._column])
        i, i_way = _between(ndtr(latent_of(level, m._level, m._spec)) * m._bins - 0.5, m._bins)
        split = m.scenario.columns(m.n_layers)[0].from_unit(unit[:, c]).astype(np.int64) - 1
        load = np.rint(unit[:, c + 1] * max(1, len(m._loads) - 1)).astype(np.int64)
        turn = np.minimum(np.rint(unit[:, c + 2] * m.scenario.episode_steps), m.scenario.episode_steps - 1)
        b, b_way = _between(unit[:, c + 3] * (len(m._charges) - 1), len(m._charges))
        static = self._nearest(unit[:, :c])
        tables = np.stack([t[self.rule] for _, t in m._tables]) if len(m._tables) > 1 else None
        found = np.zeros((len(unit), m.targets.shape[1]))
        for di, dj in product((0, 1), repeat=2):
            weight = (i_way if di else 1 - i_way) * (b_way if dj else 1 - b_way)
            noise, charge = np.minimum(i + di, m._bins - 1), np.minimum(b + dj, len(m._charges) - 1)
            at = (turn.astype(np.int64), noise, load, charge, split)
            values = m._tables[0][1][self.rule][at] if tables is None else tables[(static, *at)]
            found += weight[:, None] * values
        return found

    def _nearest(self, unit: Array) -> NDArray[np.int64]:
        m = self.model
        others = [j for j in range(len(m.scenario.context)) if j != m._column]
        if len(m._statics) == 1 or not others:
            return np.zeros(len(unit), np.int64)
        grid = np.column_stack([m.scenario.context[j].to_unit(m._statics[:, j]) for j in others])
        return np.asarray(np.square(unit[:, None, others] - grid[None]).sum(axis=2).argmin(axis=1))


def _between(x: Array, n: int) -> tuple[NDArray[np.int64], Array]:
    """The lower of two neighbours in 0 … n−1 and the way to the upper one."""
    inside = np.clip(x, 0, max(n - 1, 0))
    low = np.minimum(np.floor(inside).astype(np.int64), max(n - 2, 0))
    return low, inside - low


def estimated_correlation(levels: ArrayLike, scenario: Scenario) -> float:
    """The latent's correlation between turns from observed levels, (episodes, turns), in the column's unit.

    The moment estimator for a process of known mean 0 and variance 1: the mean product of neighbours over the mean
    square; cut to [0, .999].

    Raises:
        InvalidInputError: Fewer than two turns.
    """
    x = np.asarray(levels, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] < 2:
        raise InvalidInputError(f"a correlation is estimated from levels (episodes, turns >= 2), not {x.shape}")
    assert scenario.context_process is not None
    z = latent_of(x, scenario.context[level_column(scenario)], scenario.context_process)
    return float(np.clip((z[:, 1:] * z[:, :-1]).sum() / np.square(z[:, :-1]).sum(), 0.0, 0.999))


def estimated_loads(levels: ArrayLike, n: int) -> Array:
    """Transition matrix of the server's load from observed levels, (episodes, turns): counts plus one half each."""
    x = np.asarray(levels, dtype=np.int64)
    counts = np.full((n, n), 0.5)
    np.add.at(counts, (x[:, :-1].ravel(), x[:, 1:].ravel()), 1.0)
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))
