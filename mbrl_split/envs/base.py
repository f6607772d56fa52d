"""The contract of an environment whose reward is costly: exact and cheap everywhere, except for one measured number."""

from __future__ import annotations

import copy
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self, final

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from mbrl_split.columns import Column
from mbrl_split.envs.random_stream import RandomStream, entropy, spread_seeds, stream_keys
from mbrl_split.errors import InvalidInputError
from mbrl_split.interaction import Source, ask, check_source

Array = NDArray[np.float64]
State = dict[str, NDArray[Any]]
"""The state of n sub-environments: named arrays whose first axis is the batch."""

_CONTEXT, _TRANSITION, _MEASUREMENT = range(3)


class CostlyEnv(VectorEnv[NDArray[np.float32], NDArray[Any], NDArray[Any]], ABC):
    """A batch of sub-environments that ask a source for the costly part of their reward.

    A step of a sub-environment in state s under action a:

    1. the query ``features(s, a)`` is sent to :attr:`source` with one seed per row; the answer is the measurement y;
    2. the reward is ``compose(y, s, a)``: a function of state, action and the measurement's randomness alone;
    3. the next state is ``transition(s, a, draws)``; after ``episode_steps`` steps the episode is truncated
       (nothing ever terminates) and the sub-environment starts its next episode in the same step (SAME_STEP).

    Subclasses supply these three, :meth:`initial_state` and :meth:`observe`, all for batches of *any* size, and keep
    nothing per sub-environment outside the state. An episode that needs a measurement before its first step overrides
    :meth:`start_features` and :meth:`start`; such questions travel together with those of the step, so that one call
    of the source pays for everything. If it raises (a spent budget), the step was not taken: state, episode and
    randomness are as before, and the same ``step`` can be tried again, for instance with another source.

    **Randomness.** ``reset(seed=…)`` takes Gymnasium's forms: an integer s seeds sub-environment i with s + i, a list
    gives each its own seed, None (or None in the list) starts the next episode of the stream at hand. Each seed is a
    ``SeedSequence`` that spawns one key per consumer (context, transition, measurement), and every number is a
    function of (key, episode, step): see :class:`~mbrl_split.envs.random_stream.RandomStream`. So sub-environment i
    behaves, bit for bit, as a batch of one reset with its seed. Replications that must be independent take seeds that
    are further apart than ``num_envs``: draw them from a ``SeedSequence``, do not count 0, 1, 2.

    **Info** of a step holds, for every sub-environment and about the transition just made: ``measurement`` (n,), the
    answer of the source; ``query`` (n, d) and ``query_seed`` (n,), which were sent to it; and the arrays of
    :meth:`terms`; each with its mask ``_name``. Beside them, as in the info of ``reset``, stand the arrays of
    :meth:`outlook`, about the decision that comes next. Where episodes ended, ``final_obs`` / ``_final_obs`` hold the
    last observations (an object array, as Gymnasium has it) and ``final_info`` / ``_final_info`` the same arrays with
    ``episode_return`` and ``episode_length``.

    Args:
        source: Who answers the costly number; may be exchanged by :meth:`set_source`.
        columns: What the columns of a query mean.
        observation_space: Of one sub-environment, with finite bounds.
        action_space: Of one sub-environment.
        episode_steps: Steps per episode.
        num_envs: Sub-environments.

    Raises:
        InvalidInputError: A size is below 1, or the source answers other columns.
    """

    metadata: ClassVar[dict[str, Any]] = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}  # type: ignore[misc]

    # One entry per sub-environment; replaced, never written in place, until nothing can fail any more.
    _state: State | None  # None before the first reset
    _seeds: list[int]  # −1: never seeded
    _keys: NDArray[np.uint64]  # (n, consumer, 2)
    _episode: NDArray[np.int64]  # counts the episodes of the seed
    _step: NDArray[np.int64]  # steps taken in the episode
    _returns: Array  # sum of the episode's rewards

    def __init__(
        self,
        *,
        source: Source,
        columns: Sequence[Column],
        observation_space: gym.spaces.Box,
        action_space: gym.Space[Any],
        episode_steps: int,
        num_envs: int = 1,
    ) -> None:
        if episode_steps < 1:
            raise InvalidInputError(f"episode_steps is at least 1, not {episode_steps}")
        self.columns = tuple(columns)
        self.episode_steps = episode_steps
        self.single_observation_space = observation_space
        self.single_action_space = action_space
        self.set_source(source)
        self._resize(num_envs)

    # ---- what a subclass supplies -------------------------------------------------------------------------------

    @abstractmethod
    def initial_state(self, draws: RandomStream) -> State:
        """``len(draws)`` fresh states."""

    @abstractmethod
    def observe(self, state: State) -> NDArray[np.float32]:
        """What the agent sees of each state, shape (n, …)."""

    @abstractmethod
    def features(self, state: State, action: NDArray[Any]) -> Array:
        """The query of each state and action, shape (n, len(columns)), inside the columns' ranges."""

    @abstractmethod
    def transition(self, state: State, action: NDArray[Any], draws: RandomStream) -> State:
        """The states that follow; must leave ``state`` as it was."""

    @abstractmethod
    def compose(self, measured: ArrayLike, state: State, action: NDArray[Any]) -> Array:
        """The reward, shape (n,), of a number measured (or predicted) at ``features(state, action)``."""

    def terms(self, measured: Array, state: State, action: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Arrays (n, …) worth reporting in ``info``, for instance the parts of the reward."""
        return {}

    def outlook(self, state: State) -> dict[str, NDArray[Any]]:
        """Arrays (n, …) about the decision that comes next in each state, for instance ``action_mask``.

        They stand in the ``info`` of ``reset`` and ``step``, and about the last state of an episode in ``final_info``.
        """
        return {}

    def start_features(self, state: State) -> Array | None:
        """The query each fresh state needs answered before its first step, shape (n, len(columns)); None for none."""
        return None

    def start(self, state: State, measured: Array) -> State:
        """The fresh states, with the answers to :meth:`start_features`."""
        return state

    def settings(self) -> dict[str, Any]:
        """What distinguishes this environment from others of its class, as plain data: a saved state must match it."""
        return {}

    # ---- the source ---------------------------------------------------------------------------------------------

    @property
    def source(self) -> Source:
        """Who answers the costly number."""
        return self._source

    def set_source(self, source: Source) -> None:
        """Let another source answer from the next step on.

        Raises:
            InvalidInputError: Its columns differ, or do not cover the environment's ranges.
        """
        check_source(source, self.columns)
        self._source = source

    # ---- the episode loop ---------------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start an episode in every sub-environment (or in those of ``options["reset_mask"]``).

        Args:
            seed: An integer s for s, s + 1, …; one seed or None per sub-environment; or None.
            options: ``reset_mask``, booleans of shape (num_envs,): the other sub-environments go on as they are.

        Raises:
            InvalidInputError: A seed is negative, their number is wrong, or an unknown option.
        """
        rows = np.flatnonzero(self._reset_mask(options))
        seeds, fresh = self._new_seeds(seed, rows)
        keys = self._keys.copy()
        for i in np.flatnonzero(fresh):
            keys[i] = stream_keys(seeds[i], 3)
        episode = np.where(fresh, 0, self._episode + 1)[rows]
        started = self.initial_state(self._draw(_CONTEXT, rows, episode, keys=keys))
        X = self.start_features(started)
        if X is not None:
            started = self.start(
                started, ask(self.source, X, self._draw(_MEASUREMENT, rows, episode, keys=keys).seeds())
            )
        # Nothing can fail from here on.
        if isinstance(seed, (int, np.integer)):
            super().reset(seed=int(seed))
        elif fresh.any():
            super().reset(seed=seeds[int(np.flatnonzero(fresh)[0])])
        self._seeds, self._keys = seeds, keys
        self._begin(rows, started, episode)
        return self.observe(self._current), self._ahead()

    def step(
        self, actions: ArrayLike
    ) -> tuple[NDArray[np.float32], Array, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """One step of every sub-environment; ended episodes give way to the next one in the same step.

        Args:
            actions: One action per sub-environment, shape (num_envs, …).

        Returns:
            Observations (n, …), rewards (n,), terminated (n,) (always False), truncated (n,), info.

        Raises:
            InvalidInputError: An action outside the action space, or an answer of the source that is no number.
            BudgetExhaustedError: The source cannot pay; the step was not taken.
        """
        return self._advance(actions, autoreset=True)

    def _advance(
        self, actions: ArrayLike, *, autoreset: bool
    ) -> tuple[NDArray[np.float32], Array, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        state = self._current
        action = self._check_actions(actions)
        everyone = np.arange(self.num_envs)
        step = self._step + 1
        if (step > self.episode_steps).any():
            raise ResetNeeded("the episode is over: call reset() before the next step()")
        ended = step == self.episode_steps

        query = self.features(state, action)
        seeds = self._draw(_MEASUREMENT, everyone, self._episode, step).seeds()
        after = self.transition(state, action, self._draw(_TRANSITION, everyone, self._episode, step))
        rows = np.flatnonzero(ended) if autoreset else np.empty(0, np.int64)
        episode = self._episode[rows] + 1
        started = self.initial_state(self._draw(_CONTEXT, rows, episode)) if rows.size else None
        start_query = None if started is None else self.start_features(started)
        if started is None or start_query is None:
            measured = ask(self.source, query, seeds)
        else:
            start_seeds = self._draw(_MEASUREMENT, rows, episode).seeds()
            both = np.concatenate([query, start_query]), np.concatenate([seeds, start_seeds])
            answers = ask(self.source, *both)
            measured = answers[: self.num_envs]
            started = self.start(started, answers[self.num_envs :])
        reward = np.asarray(self.compose(measured, state, action), dtype=np.float64)
        told = {"measurement": measured, "query": query, "query_seed": seeds, **self.terms(measured, state, action)}

        # Nothing can fail from here on.
        self._state, self._step = after, step
        self._returns = self._returns + reward
        info = _masked(told, np.ones(self.num_envs, dtype=np.bool_))
        observation = self.observe(after)
        if ended.any():
            told |= {"episode_return": self._returns, "episode_length": step, **self.outlook(after)}
            info |= {"final_info": _masked(told, ended), "_final_info": ended.copy()}
        if started is not None:
            info |= {"final_obs": _object_rows(observation, ended), "_final_obs": ended.copy()}
            self._begin(rows, started, episode)
            observation = self.observe(self._current)
        info |= self._ahead()
        return observation, reward, np.zeros(self.num_envs, dtype=np.bool_), ended, info

    def _begin(self, rows: NDArray[np.int64], started: State, episode: NDArray[np.int64]) -> None:
        """Put the given rows at the start of the given episode."""
        state = started
        if len(rows) < self.num_envs:
            state = {name: values.copy() for name, values in self._current.items()}
            for name, values in started.items():
                state[name][rows] = values
        self._state = state
        self._episode, self._step, self._returns = self._episode.copy(), self._step.copy(), self._returns.copy()
        self._episode[rows], self._step[rows], self._returns[rows] = episode, 0, 0.0

    def _ahead(self) -> dict[str, Any]:
        return _masked(self.outlook(self._current), np.ones(self.num_envs, dtype=np.bool_))

    @property
    def _current(self) -> State:
        if self._state is None:
            raise ResetNeeded("call reset() before step()")
        return self._state

    def _draw(
        self,
        consumer: int,
        rows: NDArray[np.int64],
        episode: NDArray[np.int64],
        step: ArrayLike | None = None,
        keys: NDArray[np.uint64] | None = None,
    ) -> RandomStream:
        chosen = (self._keys if keys is None else keys)[rows, consumer]
        return RandomStream(chosen, episode, np.zeros(len(rows), np.int64) if step is None else step)

    def _check_actions(self, actions: ArrayLike) -> NDArray[Any]:
        space = self.single_action_space
        action = np.asarray(actions)
        if action.shape != (self.num_envs, *(space.shape or ())):
            raise InvalidInputError(f"actions have shape {(self.num_envs, *(space.shape or ()))}, not {action.shape}")
        if isinstance(space, gym.spaces.Discrete):
            first, last = int(space.start), int(space.start + space.n) - 1
            if action.dtype.kind not in "iu" or ((action < first) | (action > last)).any():
                raise InvalidInputError(f"actions are integers in {first} … {last}, not {action.tolist()}")
        return action

    def _new_seeds(
        self, seed: int | Sequence[int | None] | None, rows: NDArray[np.int64]
    ) -> tuple[list[int], NDArray[np.bool_]]:
        """The sub-environments' seeds, and which of them are new."""
        asked = spread_seeds(seed, self.num_envs)
        seeds, fresh = list(self._seeds), np.zeros(self.num_envs, dtype=np.bool_)
        for i in rows:
            wanted = entropy() if asked[i] is None and seeds[i] < 0 else asked[i]
            if wanted is not None:
                seeds[i], fresh[i] = wanted, True
        return seeds, fresh

    def _reset_mask(self, options: dict[str, Any] | None) -> NDArray[np.bool_]:
        everyone = np.ones(self.num_envs, dtype=np.bool_)
        unknown = set(options or {}) - {"reset_mask"}
        if unknown:
            raise InvalidInputError(f"unknown reset option {sorted(unknown)[0]!r} (known: reset_mask)")
        if not options:
            return everyone
        mask = np.asarray(options["reset_mask"])
        if mask.dtype != np.bool_ or mask.shape != everyone.shape or not mask.any():
            raise InvalidInputError(f"reset_mask holds {self.num_envs} booleans, at least one of them True")
        if self._state is None and not mask.all():
            raise InvalidInputError("the first reset is of all sub-environments: it takes no reset_mask")
        return mask

    # ---- other sizes, saving ------------------------------------------------------------------------------------

    def resized(self, num_envs: int) -> Self:
        """The same environment with another number of sub-environments and the same source; not reset yet."""
        other = copy.copy(self)
        other._resize(num_envs)
        return other

    def _resize(self, num_envs: int) -> None:
        if num_envs < 1:
            raise InvalidInputError(f"num_envs is at least 1, not {num_envs}")
        self.num_envs = num_envs
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._state = None
        self._seeds = [-1] * num_envs
        self._keys = np.zeros((num_envs, 3, 2), dtype=np.uint64)
        self._episode = np.full(num_envs, -1, dtype=np.int64)
        self._step = np.zeros(num_envs, dtype=np.int64)
        self._returns = np.zeros(num_envs)

    @final
    def state_dict(self) -> dict[str, Any]:
        """All that continuing bit for bit needs, as plain data that JSON holds exactly.

        The source is not part of it: a ledger or a surrogate saves itself.
        """
        return {
            "environment": self._identity(),
            "seeds": list(self._seeds),
            "episode": self._episode.tolist(),
            "step": self._step.tolist(),
            "returns": self._returns.tolist(),
            "state": None if self._state is None else {k: v.tolist() for k, v in self._state.items()},
        }

    @final
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where :meth:`state_dict` was taken; ``reset`` must not be called in between.

        Raises:
            InvalidInputError: The state is of another environment, or of another number of sub-environments.
        """
        ours, theirs = self._identity(), state.get("environment")
        if theirs != ours:
            theirs = theirs if isinstance(theirs, dict) else {}
            name = next((k for k in ours if ours[k] != theirs.get(k)), "environment")
            raise InvalidInputError(
                f"the saved state is of another environment: {name} is {theirs.get(name)}, not {ours.get(name)}"
            )
        self._resize(self.num_envs)
        self._seeds = [int(s) for s in state["seeds"]]
        for i, seed in enumerate(self._seeds):
            if seed >= 0:
                self._keys[i] = stream_keys(seed, 3)
        self._episode = np.array(state["episode"], dtype=np.int64)
        self._step = np.array(state["step"], dtype=np.int64)
        self._returns = np.array(state["returns"], dtype=np.float64)
        self._state = None if state["state"] is None else {k: np.array(v) for k, v in state["state"].items()}

    def _identity(self) -> dict[str, Any]:
        identity = {
            "class": type(self).__name__,
            "num_envs": self.num_envs,
            "episode_steps": self.episode_steps,
            "columns": [[c.name, c.unit, c.low, c.high, c.scale] for c in self.columns],
            **self.settings(),
        }
        plain: dict[str, Any] = json.loads(json.dumps(identity))  # tuples become lists, as in a file
        return plain


def _masked(told: dict[str, NDArray[Any]], mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Gymnasium's form of vector information: each array with its mask ``_name``, zero where the mask is False."""
    info: dict[str, Any] = {}
    if mask.all():
        for name, values in told.items():
            info[name], info[f"_{name}"] = values.copy(), mask.copy()
        return info
    for name, values in told.items():
        kept = mask.reshape(-1, *[1] * (values.ndim - 1))
        info[name] = np.where(kept, values, np.zeros((), values.dtype))
        info[f"_{name}"] = mask.copy()
    return info


def _object_rows(values: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[np.object_]:
    """The rows under the mask as an array of arrays, None elsewhere."""
    rows = np.full(len(values), None, dtype=object)
    for i in np.flatnonzero(mask):  # numpy would otherwise try to broadcast the rows' contents
        rows[i] = values[i]
    return rows
