"""One face for every Gymnasium environment: single, a list of singles, or a vector in any autoreset mode.

A :class:`Stream` gives transitions. It hands out the *real* successor of every transition, even where the environment
has already begun the next episode, and marks dead transitions (the reset step of the NEXT_STEP mode) as not live.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from mbrl_split.errors import InvalidInputError, UnsupportedError
from mbrl_split.interaction.source import ZeroSource
from mbrl_split.interaction.spaces import Array, Observations, n_actions

Env = gym.Env[Any, Any] | VectorEnv[Any, Any, Any] | Sequence[gym.Env[Any, Any]]
Info = dict[str, Any]

# Wrappers without a state of their own: the state of the environment inside is the whole state.
STATELESS = (gym.wrappers.OrderEnforcing, gym.wrappers.PassiveEnvChecker)

# Wrappers that hand on observations and rewards as they are.
TRANSPARENT = (
    *STATELESS,
    gym.wrappers.TimeLimit,
    gym.wrappers.RecordEpisodeStatistics,
    gym.wrappers.vector.RecordEpisodeStatistics,
)


@dataclass(slots=True)
class Step:
    """One step of n sub-environments.

    Attributes:
        obs: What to act on next, (n, d) float32; the first observation of a new episode where one began.
        next_obs: The real successor, (n, d); the very same array as ``obs`` unless an episode ended at this step.
        reward: (n,) float64.
        terminated: The successor is a final state: nothing follows, (n,).
        truncated: The episode was cut: the successor has a value, (n,).
        live: False where no transition happened (a reset step): keep such rows out of everything, (n,).
        mask: Allowed actions in ``obs``, (n, A), or None.
        next_mask: Allowed actions in ``next_obs``, (n, A), or None.
        ended: Terminated or truncated, (n,).
    """

    obs: Array
    next_obs: Array
    reward: Array
    terminated: Array
    truncated: Array
    live: Array
    mask: Array | None
    next_mask: Array | None
    ended: Array = field(init=False)

    def __post_init__(self) -> None:
        self.ended = self.terminated | self.truncated


# What an environment gave, before encoding: observations, rewards, terminated, truncated, masks; and of the episodes
# that ended, where new ones have begun, (rows, final observations, their masks).
_Raw = tuple[Any, Any, Any, Any, Array | None, tuple[Array, Any, Array | None] | None]


class Stream(ABC):
    """Transitions of ``num_envs`` sub-environments, with everything needed to continue them exactly.

    If the environment offers ``state_dict()`` and ``load_state_dict()``, its state is saved with the agent. Otherwise
    the actions since the last seeded reset are recorded and replayed; the source of a costly reward is not asked again.
    """

    def __init__(self, env: Any, num_envs: int, observation_space: Any, action_space: Any) -> None:
        self.env, self.num_envs = env, num_envs
        self.observation_space, self.action_space = observation_space, action_space
        self._observations = Observations(observation_space)
        self.n_actions = n_actions(action_space)
        self._start = int(action_space.start)
        self._resetting = np.zeros(num_envs, dtype=bool)  # the next step of these sub-environments is a mere reset
        self._stateful = self._stateful_envs()
        self._seed: int | None = None
        self._log: list[Array] = []
        self.obs: Array = np.zeros((num_envs, self._observations.size), dtype=np.float32)
        self.mask: Array | None = None

    @abstractmethod
    def _reset(self, seed: int) -> tuple[Any, Array | None]:
        """Observations and masks."""

    @abstractmethod
    def _step(self, actions: Array) -> _Raw: ...

    @abstractmethod
    def _parts(self) -> list[Any]:
        """The environments whose states make up the state of the stream."""

    def reset(self, seed: int) -> None:
        """Begin anew; ``obs`` and ``mask`` then hold what to act on."""
        self._seed, self._log = seed, []
        self._resetting = np.zeros(self.num_envs, dtype=bool)
        obs, mask = self._reset(seed)
        self.obs, self.mask = self._observations.rows(obs), self._checked(mask)

    def step(self, actions: Array) -> Step:
        """Take one action (0 … A−1) per sub-environment.

        Raises:
            InvalidInputError: The environment returned arrays of the wrong shape.
        """
        live = ~self._resetting
        given, reward, terminated, truncated, mask, final = self._step(
            actions + self._start if self._start else actions
        )
        mask = self._checked(mask)
        if not self._stateful:  # and the step was taken: a spent budget may have refused it
            self._log.append(actions.astype(np.int32))
        obs = self._observations.rows(given)
        next_obs, next_mask = obs, mask
        if final is not None:
            rows, final_obs, final_mask = final
            next_obs = obs.copy()
            next_obs[rows] = self._observations.rows(final_obs)
            if mask is not None:
                next_mask = mask.copy()
                next_mask[rows] = True if final_mask is None else _or_all(final_mask)
        reward = np.array(reward, dtype=np.float64)  # a copy: environments may reuse their arrays
        terminated, truncated = np.array(terminated, dtype=bool), np.array(truncated, dtype=bool)
        if not (reward.shape == terminated.shape == truncated.shape == (self.num_envs,)) or len(obs) != self.num_envs:
            raise InvalidInputError(
                f"the environment returned rewards {reward.shape}, terminations {terminated.shape}, truncations "
                f"{truncated.shape} and {len(obs)} observations; each must have length {self.num_envs}"
            )
        self.obs, self.mask = obs, mask
        return Step(obs, next_obs, reward, terminated, truncated, live, mask, next_mask)

    def _checked(self, mask: Array | None) -> Array | None:
        """Masks that fit, and that allow something wherever the next step is a mere reset."""
        if mask is not None:
            if mask.shape != (self.num_envs, self.n_actions):
                expected = (self.num_envs, self.n_actions)
                raise InvalidInputError(f"the environment's masks have shape {mask.shape}, expected {expected}")
            if self._resetting.any():
                mask[self._resetting] = _or_all(mask[self._resetting])
        return mask

    # Exact continuation ------------------------------------------------------------------------------------------

    def _stateful_envs(self) -> list[Any]:
        """For each part the layer that offers its whole state; empty if some part does not."""
        layers = [_stateful_layer(part) for part in self._parts()]
        return layers if all(layer is not None for layer in layers) else []

    def state(self) -> dict[str, Any]:
        """Everything that :meth:`restore` needs, as plain data and arrays."""
        common = {
            "obs": self.obs,
            "mask": self.mask,
            "num_envs": self.num_envs,
            "seed": self._seed,
            "resetting": self._resetting,
        }
        if self._stateful:
            return {"kind": "state", "states": [env.state_dict() for env in self._stateful], **common}
        actions = np.stack(self._log) if self._log else np.zeros((0, self.num_envs), dtype=np.int32)
        return {"kind": "replay", "actions": actions, **common}

    def restore(self, state: dict[str, Any]) -> None:
        """Bring the environment to where :meth:`state` was taken.

        Raises:
            InvalidInputError: Another number of sub-environments.
            UnsupportedError: The environment does not retrace its steps, or has lost the ability to give its state.
        """
        if state["num_envs"] != self.num_envs:
            raise InvalidInputError(
                f"the agent was saved with {state['num_envs']} sub-environments, this one has {self.num_envs}"
            )
        if state["kind"] == "state":
            if not self._stateful:
                raise UnsupportedError(
                    "the agent was saved with the state of its environment, which this one cannot load"
                )
            # No reset: it might ask the costly source.
            for part, layer, saved in zip(self._parts(), self._stateful, state["states"], strict=True):
                layer.load_state_dict(saved)
                _as_if_reset(part)
            self._seed, self.obs, self.mask = state["seed"], state["obs"], state["mask"]
            self._resetting = state["resetting"]
            return
        with _unpaid(self._parts()):
            self.reset(state["seed"])
            for actions in state["actions"]:
                self.step(np.asarray(actions, dtype=np.int64))
        if not np.array_equal(self.obs, state["obs"], equal_nan=True):
            raise UnsupportedError(
                "the environment does not retrace its recorded steps, so an exact continuation is impossible"
            )


def make_stream(env: Any) -> Stream:
    """The stream of a single environment, a list of them, or a vector environment.

    Raises:
        InvalidInputError: Not a Gymnasium environment, or a vector that does not say how it resets.
    """
    if isinstance(env, VectorEnv):
        mode = env.metadata.get("autoreset_mode")
        try:
            kind = AutoresetMode(mode)
        except ValueError:
            raise InvalidInputError(
                f"{env} has metadata['autoreset_mode'] = {mode!r}; it must be one of gymnasium.vector.AutoresetMode"
            ) from None
        return _VECTOR_STREAMS[kind](env)
    if isinstance(env, gym.Env):
        return _Singles([env], env)
    if isinstance(env, Sequence) and env and all(isinstance(e, gym.Env) for e in env):
        return _Singles(list(env), env)
    raise InvalidInputError(
        f"learning needs a Gymnasium environment, a list of them or a vector environment, not {env!r}"
    )


class _Singles(Stream):
    """Single environments, stepped in turn and reset in the step that ends an episode."""

    def __init__(self, envs: list[gym.Env[Any, Any]], env: Any) -> None:
        self.envs = envs
        first = envs[0]
        for other in envs[1:]:
            if (other.observation_space, other.action_space) != (first.observation_space, first.action_space):
                raise InvalidInputError("the environments of a list must have the same spaces")
        super().__init__(env, len(envs), first.observation_space, first.action_space)
        self._has_masks = first.has_wrapper_attr("action_masks")

    def _parts(self) -> list[Any]:
        return self.envs

    def _mask_of(self, env: gym.Env[Any, Any], info: Info) -> Any:
        if "action_mask" in info:
            return info["action_mask"]
        return env.get_wrapper_attr("action_masks")() if self._has_masks else None

    def _masks(self, masks: list[Any]) -> Array | None:
        if all(mask is None for mask in masks):
            return None
        everything = np.ones(self.n_actions, dtype=bool)
        return np.stack([everything if mask is None else np.asarray(mask, dtype=bool) for mask in masks])

    def _reset(self, seed: int) -> tuple[Any, Array | None]:
        obs, infos = zip(*(env.reset(seed=seed + i) for i, env in enumerate(self.envs)), strict=True)
        return np.stack(obs), self._masks([self._mask_of(e, info) for e, info in zip(self.envs, infos, strict=True)])

    def _step(self, actions: Array) -> _Raw:
        results: list[Any] = [env.step(a) for env, a in zip(self.envs, actions.tolist(), strict=True)]
        obs, reward, terminated, truncated, infos = (list(column) for column in zip(*results, strict=True))
        ended = [i for i in range(self.num_envs) if terminated[i] or truncated[i]]
        final = None
        if ended:
            final_masks = [self._mask_of(self.envs[i], infos[i]) for i in ended]
            final = np.asarray(ended), np.array([obs[i] for i in ended]), self._masks(final_masks)
            for i in ended:
                obs[i], infos[i] = self.envs[i].reset()
        masks = None
        if self._has_masks or any(infos):  # an empty info holds no mask
            masks = self._masks([self._mask_of(e, info) for e, info in zip(self.envs, infos, strict=True)])
        return np.array(obs), reward, terminated, truncated, masks, final


class _Vector(Stream):
    """What the three kinds of vector environments share."""

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        super().__init__(env, env.num_envs, env.single_observation_space, env.single_action_space)
        self._has_masks = hasattr(env, "action_masks")
        call = getattr(env.unwrapped, "call", None)  # reaches sub-environments in other processes as well
        self._calls_masks = call is not None and all(call("has_wrapper_attr", "action_masks"))

    def _parts(self) -> list[Any]:
        return [self.env]

    def _mask_in(self, info: Info) -> Array | None:
        """The masks in an info dictionary; rows without one allow everything."""
        if "action_mask" not in info:
            return None
        given = np.asarray(info.get("_action_mask", np.ones(self.num_envs)), dtype=bool)
        mask = np.asarray(info["action_mask"])[given]
        out = np.ones((self.num_envs, self.n_actions), dtype=bool)
        if given.any():
            out[given] = np.stack(list(mask))  # rows may be objects
        return out

    def _mask(self, info: Info) -> Array | None:
        mask = self._mask_in(info)
        if mask is None and self._has_masks:
            mask = np.array(self.env.action_masks(), dtype=bool)
        elif mask is None and self._calls_masks:
            mask = np.stack(self.env.unwrapped.call("action_masks")).astype(bool)
        return mask

    def _reset(self, seed: int) -> tuple[Any, Array | None]:
        obs, info = self.env.reset(seed=seed)
        return obs, self._mask(info)


class _SameStep(_Vector):
    """Episodes end and begin in one step; the final observation comes in ``info``."""

    def _step(self, actions: Array) -> _Raw:
        obs, reward, terminated, truncated, info = self.env.step(actions)
        rows = np.flatnonzero(np.logical_or(terminated, truncated))
        final = None
        if len(rows):
            if "final_obs" not in info:
                raise UnsupportedError("the environment resets in the same step but gives no info['final_obs']")
            final_obs = info["final_obs"][rows]
            # Gymnasium keeps the final observations as objects, valid only where an episode ended.
            final_obs = np.stack(list(final_obs)) if final_obs.dtype == object else final_obs
            final_info = info.get("final_info")
            masks = self._mask_in(final_info) if isinstance(final_info, dict) else None
            final = rows, final_obs, None if masks is None else masks[rows]
        return obs, reward, terminated, truncated, self._mask(info), final


class _NextStep(_Vector):
    """The step after an end only resets: its action is ignored and nothing happened in it."""

    def _step(self, actions: Array) -> _Raw:
        obs, reward, terminated, truncated, info = self.env.step(actions)
        self._resetting = np.logical_or(terminated, truncated)
        return obs, reward, terminated, truncated, self._mask(info), None


class _Disabled(_Vector):
    """Ended sub-environments wait to be reset by us."""

    def _step(self, actions: Array) -> _Raw:
        obs, reward, terminated, truncated, info = self.env.step(actions)
        ended = np.logical_or(terminated, truncated)
        mask = self._mask(info)
        if not ended.any():
            return obs, reward, terminated, truncated, mask, None
        rows = np.flatnonzero(ended)
        final_obs, final_mask = np.array(obs)[rows], None if mask is None else mask[rows].copy()
        reward, terminated, truncated = np.array(reward), np.array(terminated), np.array(truncated)
        obs, info = self.env.reset(options={"reset_mask": ended})
        fresh = self._mask(info)
        if mask is not None or fresh is not None:
            mask = np.ones((self.num_envs, self.n_actions), dtype=bool) if mask is None else mask
            mask[rows] = True if fresh is None else fresh[rows]
        return obs, reward, terminated, truncated, mask, (rows, final_obs, final_mask)


_VECTOR_STREAMS: dict[AutoresetMode, Callable[[VectorEnv[Any, Any, Any]], Stream]] = {
    AutoresetMode.SAME_STEP: _SameStep,
    AutoresetMode.NEXT_STEP: _NextStep,
    AutoresetMode.DISABLED: _Disabled,
}


def _or_all(masks: Array) -> Array:
    """Masks of states that ended an episode, where nothing is chosen: one that allows nothing says nothing."""
    return masks | ~masks.any(axis=-1, keepdims=True)


def unwrap_transparent(env: Any) -> Any:
    """The environment under the wrappers that hand on observations and rewards as they are."""
    while isinstance(env, TRANSPARENT) or _is_meter(env):
        env = env.env
    return env


def _is_meter(env: Any) -> bool:
    """Whether a layer charges real steps (``mbrl_split.oracles.Metered``)."""
    return hasattr(type(env), "charging")


def _stateful_layer(env: Any) -> Any | None:
    """The outermost layer of a wrapped environment that gives its whole state, or None."""
    while True:
        if hasattr(env, "state_dict") and hasattr(env, "load_state_dict"):
            return env
        if not isinstance(env, STATELESS):
            return None
        env = env.env


def _costly_rewards(env: Any) -> list[Any]:
    """The wrappers in an environment whose source answers the reward alone, which steers nothing."""
    env = unwrap_transparent(env)
    if isinstance(env, gym.Wrapper | gym.vector.VectorWrapper):
        return [env] if hasattr(env, "set_source") else []
    return [layer for inner in getattr(env, "envs", []) for layer in _costly_rewards(inner)]


def _meters(env: Any) -> Iterator[Any]:
    """The layers that charge real steps, those of a vector's sub-environments included."""
    while isinstance(env, gym.Wrapper | gym.vector.VectorWrapper):
        if _is_meter(env):
            yield env
        env = env.env
    for inner in getattr(env, "envs", []):
        yield from _meters(inner)


@contextmanager
def _unpaid(parts: list[Any]) -> Iterator[None]:
    """Meanwhile the environments' rewards are zeros instead of paid for, and real steps are not charged."""
    layers = [layer for part in parts for layer in _costly_rewards(part)]
    meters = [layer for part in parts for layer in _meters(part)]
    sources = [layer.source for layer in layers]
    try:
        for layer in layers:
            layer.set_source(ZeroSource(layer.columns))
        for meter in meters:
            meter.charging = False
        yield
    finally:
        for layer, source in zip(layers, sources, strict=True):
            layer.set_source(source)
        for meter in meters:
            meter.charging = True


def _as_if_reset(env: Any) -> None:
    """Tell the wrappers that insist on a reset before the first step that there was one."""
    while isinstance(env, STATELESS):
        if isinstance(env, gym.wrappers.OrderEnforcing):
            env._has_reset = True
        env = env.env
