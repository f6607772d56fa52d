"""The layer split of a running session: a channel with memory, a cache that moves with the split, and a bill."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from mbrl_split.channels.doppler import gain_of_scatter
from mbrl_split.envs.base import Array, State
from mbrl_split.envs.random_stream import RandomStream, to_normal
from mbrl_split.errors import InvalidInputError
from mbrl_split.interaction import Source
from mbrl_split.layer_split import context_process
from mbrl_split.layer_split.costs import Prices, Turn
from mbrl_split.layer_split.envs import rules
from mbrl_split.layer_split.envs.split import SplitVector
from mbrl_split.layer_split.scenarios import Scenario
from mbrl_split.layer_split.sessions import ContextProcessSpec, CostSpec

Splits = NDArray[np.int64]

_LARGEST_GAIN = 3.0
"""Of the observation's gain; Nakagami gains of any shape exceed it with probability below .003."""


class SessionVector(SplitVector):
    """A batch of sessions; what ``LLMSplitVector(scenario="drive")`` and ``gymnasium.make_vec`` make.

    A step is one turn. In turn t, with T cached tokens, the agent picks the split; the cache moves to it over the link
    as it now is (in the first turn there is none yet, and the choice is free); the turn is run and billed
    (:class:`~mbrl_split.layer_split.costs.Prices`); then noise level, server load and fading take a step of their own,
    T grows, the battery is drained.

    ============  ===================================================================================================
    observation   float32, each on [0, 1]: the scenario's context columns with the noise *as the agent knows it*
                  (``delay`` turns old, off by ``knowledge_error`` dB), the split, the server's load (place among its
                  levels), the tokens in the cache (0 at the start of the session, 1 at its end), the battery; with
                  ``sees_gain`` the gain h/3. The small-scale gain is hidden otherwise.
    query         (split after the move, context); with ``fading`` the noise is that of the instantaneous gain, σ/h, cut
                  to the column's range.
    reward        quality term + load·(1 − share), share from seconds and joules (:meth:`Prices.share`)
    action_mask   in ``info`` of ``reset`` and ``step``, (n, actions): splits whose weights and cache fit the device and
                  whose turn, as far as the agent knows the channel, ends before the deadline. Where none does, the
                  quickest that fits is allowed. A forbidden action is answered by the nearest allowed split.
    info          besides ``split``, ``quality``, ``load``: ``seconds`` and its parts ``device_seconds``,
                  ``uplink_seconds``, ``edge_seconds``, ``downlink_seconds``, ``moving_seconds``, ``fixed_seconds``;
                  ``first_token_seconds`` (moving and prefill; the rest is decoding); ``joules`` and its parts
                  ``compute_joules``, ``transmit_joules`` (moving included) and of the latter ``moving_joules``;
                  ``memory_bytes`` on the device; ``share``; ``noise`` (the true level of the turn, column's unit);
                  ``allowed`` (whether the action was)
    ============  ===================================================================================================

    Args:
        num_envs: Sub-environments.
        scenario: One with ``context_process`` and ``costs``.
        model: As in :class:`~mbrl_split.layer_split.envs.split.SplitVector`.
        source: As there.
        render_mode: As there.
        **overrides: As there.

    Raises:
        InvalidInputError: As there; or the context has neither ``noise`` nor ``snr_db``, a fading state does not fit
            the channel, or a profile is unknown.
    """

    # What a turn measures and costs is partly hidden from the observation: stored rewards are forgotten instead.
    relabel = None  # type: ignore[assignment]

    def __init__(
        self,
        num_envs: int = 1,
        scenario: str | Scenario = "drive",
        model: str | None = None,
        source: str | Source | None = None,
        render_mode: None = None,
        **overrides: Any,
    ) -> None:
        super().__init__(num_envs, scenario, model, source, render_mode, **overrides)
        spec, s = self.context_process, self.scenario
        self.prices = Prices(self.costs, spec, self.n_layers, s.episode_steps)
        self._level = level_column(s)
        self._correlation = context_process.correlation_of(spec)
        self._loads = np.array(spec.edge_load)
        self._load_matrix = context_process.load_matrix(len(self._loads), spec.edge_stay)
        self._memory = context_process.scatter_memory(spec) if spec.fading else 0.0
        if spec.fading and (s.channel.fading != "none" or s.channel.csi != "receiver" or self._is_snr):
            raise InvalidInputError(
                "fading as a state needs channel fading='none', csi='receiver' and a context column 'noise': what is "
                "measured is the noise sigma/h of the instantaneous gain"
            )
        self._trace = None
        if spec.trace is not None:
            column = s.context[self._level]
            middle = float(column.from_unit(0.5))
            self._trace = context_process.trace_of(spec, middle if self._is_snr else -20 * np.log10(middle))
        before, actions = np.arange(self.n_layers)[:, None], np.arange(self.action_space_size)[None]
        reached = rules.next_split(s, self.n_layers, before, actions)
        # Where each action leads from each split; row 0 stands for no split.
        self._targets: Splits = np.broadcast_to(reached, (self.n_layers, self.action_space_size))
        # Asked several times in a step; keyed by identity, which is safe as states are replaced and never changed.
        self._allowed_memo: tuple[State, NDArray[np.bool_]] | None = None
        self._turn_memo: tuple[State, NDArray[Any], Splits, Turn, Array] | None = None
        self._level_memo: tuple[State, Array] | None = None

    @property
    def context_process(self) -> ContextProcessSpec:
        """What changes from turn to turn."""
        assert self.scenario.context_process is not None
        return self.scenario.context_process

    @property
    def costs(self) -> CostSpec:
        """What a turn costs."""
        assert self.scenario.costs is not None
        return self.scenario.costs

    @property
    def action_space_size(self) -> int:
        """Number of actions."""
        assert isinstance(self.single_action_space, spaces.Discrete)
        return int(self.single_action_space.n)

    # ---- the contract of a costly environment -----------------------------------------------------------------------

    def initial_state(self, draws: RandomStream) -> State:
        """A stationary level and its past, a random split, load and charge."""
        n, spec, columns = len(draws), self.context_process, self.scenario.context
        u = draws.uniform(len(columns) + 4)
        context = [rules.from_uniform(column, u[:, j]) for j, column in enumerate(columns)]
        split = rules.from_uniform(self.columns[0], u[:, -1]).astype(np.int64)
        fresh = draws.normal(spec.delay + 4)
        latent = [fresh[:, 0]]  # oldest first, then turned round: newest first
        for k in range(spec.delay):
            latent.insert(0, context_process.next_latent(latent[0], self._correlation, fresh[:, k + 1]))
        length = 1 if self._trace is None else len(self._trace)
        return {
            "context": np.stack(context, axis=1),
            "split": split,
            "latent": np.stack(latent, axis=1),
            "place": np.minimum((u[:, -2] * length).astype(np.int64), length - 1),
            "scatter": fresh[:, -2:] / np.sqrt(2),
            "error": fresh[:, -3] * spec.knowledge_error,
            "edge": np.minimum((u[:, -3] * len(self._loads)).astype(np.int64), len(self._loads) - 1),
            "turn": np.zeros(n, dtype=np.int64),
            "battery": 0.1 + 0.9 * u[:, -4] if spec.battery_joules is not None else np.ones(n),
        }

    def observe(self, state: State) -> NDArray[np.float32]:
        """What the agent sees; see the class."""
        turns = self.scenario.episode_steps
        context = state["context"].copy()
        context[:, self._level] = self.known_level(state)
        seen: list[NDArray[Any]] = [
            rules.observe(self.scenario, self.n_layers, context, state["split"]),
            state["edge"] / max(1, len(self._loads) - 1),
            state["turn"] / turns,
            state["battery"],
        ]
        if self.context_process.sees_gain:
            seen.append(np.minimum(self.gain(state) / _LARGEST_GAIN, 1.0))
        return np.column_stack(seen).astype(np.float32)

    def features(self, state: State, action: NDArray[Any]) -> Array:
        """The split after the move, in the context of this turn."""
        context, column = state["context"].copy(), self.scenario.context[self._level]
        level = self.level(state)
        if self.context_process.fading:
            with np.errstate(divide="ignore"):
                level = level / self.gain(state)
        context[:, self._level] = np.clip(level, column.low, column.high)
        return rules.build_inputs(self._turn(state, action)[0], context)

    def transition(self, state: State, action: NDArray[Any], draws: RandomStream) -> State:
        """Level, load and fading take a step; the cache grows, the battery is drained."""
        spec = self.context_process
        # One call for all that is needed: drawing is what a step spends most of its time on.
        u = draws.uniform(2 + (spec.knowledge_error > 0) + 2 * spec.fading)
        fresh = to_normal(u[:, 1:])
        newest = context_process.next_latent(state["latent"][:, 0], self._correlation, fresh[:, 0])
        after = {
            **state,
            "split": self._turn(state, action)[0],
            "latent": np.column_stack([newest, state["latent"][:, :-1]]),
            "edge": context_process.next_load(state["edge"], self._load_matrix, u[:, 0]),
            "turn": state["turn"] + 1,
        }
        if self._trace is not None:
            after["place"] = (state["place"] + 1) % len(self._trace)
        if spec.knowledge_error > 0:
            after["error"] = fresh[:, 1] * spec.knowledge_error
        if spec.fading:
            after["scatter"] = context_process.next_scatter(state["scatter"], self._memory, fresh[:, -2:])
        if spec.battery_joules is not None:
            drawn = self._turn(state, action)[1].joules + spec.background_watts * spec.turn_seconds
            after["battery"] = context_process.discharge(state["battery"], drawn, spec.battery_joules)
        return after

    def compose(self, damage: ArrayLike, state: State, action: NDArray[Any]) -> Array:
        """Quality term + load·(1 − share)."""
        quality = rules.quality_term(damage, self.scenario.reward)
        return quality + self.scenario.reward.load * (1.0 - self._turn(state, action)[2])

    def terms(self, damage: Array, state: State, action: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """The bill of the turn, and the parts of the reward; see the class."""
        split, bill, share = self._turn(state, action)
        return {
            "damage": damage,
            "split": split,
            "quality": rules.quality_term(damage, self.scenario.reward),
            "load": self.scenario.reward.load * (1.0 - share),
            "share": share,
            "seconds": bill.seconds,
            "device_seconds": bill.device,
            "uplink_seconds": bill.uplink,
            "edge_seconds": bill.edge,
            "downlink_seconds": bill.downlink,
            "moving_seconds": bill.moving,
            "fixed_seconds": np.full(len(split), bill.fixed),
            "first_token_seconds": self.prices.first_token(bill, split, self._loads[state["edge"]], state["turn"]),
            "joules": bill.joules,
            "compute_joules": bill.compute_joules,
            "transmit_joules": bill.joules - bill.compute_joules,
            "moving_joules": bill.moving_joules,
            "memory_bytes": self.prices.memory_of(split, state["turn"]),
            "noise": self.level(state),
            "allowed": self.allowed(state)[np.arange(len(split)), np.asarray(action, dtype=np.int64)],
        }

    def outlook(self, state: State) -> dict[str, NDArray[Any]]:
        """The allowed actions."""
        return {"action_mask": self.allowed(state)}

    # ---- what policies and judges ask -------------------------------------------------------------------------------

    def level(self, state: State, delay: int = 0) -> Array:
        """The true noise (or mean SNR), in the column's unit, (n,); ``delay`` turns ago."""
        if delay == 0:
            if self._level_memo is None or self._level_memo[0] is not state:
                self._level_memo = (state, self._level_at(state, 0))
            return self._level_memo[1]
        return self._level_at(state, delay)

    def known_level(self, state: State) -> Array:
        """What the agent knows of it: late and with an error in dB, cut to the column's range, (n,)."""
        column, level = self.scenario.context[self._level], self.level(state, self.context_process.delay)
        if self.context_process.knowledge_error == 0:
            return level
        known = level + state["error"] if self._is_snr else level * 10 ** (state["error"] / 20)
        return np.asarray(np.clip(known, column.low, column.high))

    def gain(self, state: State) -> Array:
        """The instantaneous gain |h|, (n,)."""
        return gain_of_scatter(state["scatter"], self.context_process.m)

    def bill(self, state: State, split: ArrayLike) -> Turn:
        """What the turn costs at the given splits, (n,)."""
        snr = snr_of_level(self.scenario, self.level(state))
        return self.prices.turn(split, state["split"], snr, self._loads[state["edge"]], state["turn"])

    def allowed(self, state: State) -> NDArray[np.bool_]:
        """The allowed actions, (n, actions)."""
        if self._allowed_memo is None or self._allowed_memo[0] is not state:
            self._allowed_memo = (state, self._allowed(state))
        return self._allowed_memo[1]

    def action_masks(self) -> NDArray[np.bool_]:
        """The allowed actions of every sub-environment now, (num_envs, actions)."""
        return self.allowed(self._current)

    # ---- inside -----------------------------------------------------------------------------------------------------

    @property
    def _is_snr(self) -> bool:
        return self.scenario.context[level_column(self.scenario)].name == "snr_db"

    def _observation_space(self) -> spaces.Box:
        assert self.scenario.context_process is not None
        size = len(self.scenario.context) + 4 + self.scenario.context_process.sees_gain
        return spaces.Box(np.zeros(size, np.float32), np.ones(size, np.float32), dtype=np.float32)

    def _level_at(self, state: State, delay: int) -> Array:
        column = self.scenario.context[self._level]
        if self._trace is None:
            return context_process.level_of(state["latent"][:, delay], column, self.context_process)
        snr = self._trace[(state["place"] - delay) % len(self._trace)]
        return np.asarray(np.clip(snr if self._is_snr else 10 ** (-snr / 20), column.low, column.high))

    def _turn(self, state: State, action: NDArray[Any]) -> tuple[Splits, Turn, Array]:
        """The split after the move, the bill, and the share of the load term that it takes."""
        memo = self._turn_memo
        if memo is None or memo[0] is not state or not np.array_equal(memo[1], action):
            split = self._split_after(state, action)
            bill = self.bill(state, split)
            share = self.prices.share(bill, context_process.joule_price(state["battery"], self.costs.low_battery))
            memo = self._turn_memo = (state, np.array(action), split, bill, share)
        return memo[2], memo[3], memo[4]

    def _split_after(self, state: State, action: NDArray[Any]) -> Splits:
        a = np.asarray(action, dtype=np.int64)
        rows = np.arange(len(a))
        targets: Splits = self._targets[state["split"]]
        wanted = targets[rows, a]
        allowed = self.allowed(state)
        if allowed.all():
            return wanted
        distance = np.where(allowed, np.abs(targets - wanted[:, None]), self.n_layers)
        return np.asarray(targets[rows, distance.argmin(axis=1)])

    def _allowed(self, state: State) -> NDArray[np.bool_]:
        targets = self._targets[state["split"]]
        # After the last turn there is none to fit any more: its bill is that of the last.
        turn = np.minimum(state["turn"], self.scenario.episode_steps - 1)[:, None]
        fits = self.prices.fits(targets, turn)
        seconds = None
        if self.costs.deadline is not None:
            snr = snr_of_level(self.scenario, self.known_level(state))[:, None]
            load = self._loads[state["edge"]][:, None]
            seconds = self.prices.turn(targets, state["split"][:, None], snr, load, turn).seconds
        return allowed_of(fits, seconds, self.costs.deadline, targets)


def allowed_of(
    fits: NDArray[np.bool_], seconds: Array | None, deadline: float | None, targets: Splits
) -> NDArray[np.bool_]:
    """Which of some targets may be run, (…, targets); at least one in each row.

    Where nothing meets the deadline, the quickest of those that fit; where nothing fits either (the cache outgrew the
    device and moves are short), the shallowest.
    """
    allowed = fits
    if seconds is not None and deadline is not None:
        allowed = fits & (seconds <= deadline)
    stuck = np.asarray(~allowed.any(axis=-1, keepdims=True))
    if not stuck.any():
        return allowed
    fallback = np.broadcast_to(targets if seconds is None else seconds, allowed.shape)
    fallback = np.where(fits, fallback, np.inf)
    none_fits = ~fits.any(axis=-1, keepdims=True)
    fallback = np.where(none_fits, targets, fallback)
    quickest = np.arange(allowed.shape[-1]) == fallback.argmin(axis=-1, keepdims=True)
    return np.asarray(np.where(stuck, quickest, allowed))


def level_column(scenario: Scenario) -> int:
    """The index of the context column that has the memory: ``noise`` or ``snr_db``.

    Raises:
        InvalidInputError: There is neither.
    """
    names = [c.name for c in scenario.context]
    for name in ("noise", "snr_db"):
        if name in names:
            return names.index(name)
    raise InvalidInputError(
        f"a context process acts on a context column 'noise' or 'snr_db'; {scenario.name!r} has ({', '.join(names)})"
    )


def snr_of_level(scenario: Scenario, level: ArrayLike) -> Array:
    """The uplink's mean SNR (linear): of a noise in units of the hidden state's RMS it is 1/σ²."""
    x = np.asarray(level, dtype=np.float64)
    return np.asarray(10 ** (x / 10) if scenario.context[level_column(scenario)].name == "snr_db" else 1 / x**2)
