"""Any Gymnasium environment, its reward made costly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, overload

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array
from numpy.typing import ArrayLike, NDArray

from mbrl_split.columns import Column
from mbrl_split.envs.random_stream import RandomStream, entropy, spread_seeds, stream_keys
from mbrl_split.errors import InvalidInputError
from mbrl_split.interaction import Source, ask, check_source

Array = NDArray[np.float64]
Features = Callable[[Any, Any], ArrayLike]
"""(observations, actions), each a batch of n, to queries (n, d)."""
Compose = Callable[[Array, Any, Any], ArrayLike]
"""(answers (n,), observations, actions) to rewards (n,)."""


def flat_features(observation: Any, action: Any) -> Array:
    """Observation and action side by side, each flattened, (n, d): the default features."""
    parts = [np.asarray(part, dtype=np.float64) for part in (observation, action)]
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


class RecordedReward:
    """The wrapped environment's own reward as a function of the query, for a ``FunctionOracle``.

    It knows the transitions that were made and no others: a measurement can only be made where one has been. A query
    that was visited twice has its latest reward.

    Example:
        >>> from mbrl_split.envs import RecordedReward
        >>> own = RecordedReward()
        >>> own.record([[0.0, 1.0]], [-0.5])
        >>> own([[0.0, 1.0]])
        array([-0.5])
    """

    def __init__(self) -> None:
        self._seen: dict[bytes, float] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def record(self, X: Array, reward: Array) -> None:
        """Remember the rewards, (n,), of the queries, (n, d)."""
        for row, value in zip(np.ascontiguousarray(X, dtype=np.float64), reward, strict=True):
            self._seen[row.tobytes()] = float(value)

    def __call__(self, X: ArrayLike) -> Array:
        """The rewards at visited queries, (n,).

        Raises:
            InvalidInputError: The environment has not been at a query.
        """
        rows = np.ascontiguousarray(X, dtype=np.float64)
        unknown = next((row for row in rows if row.tobytes() not in self._seen), None)
        if unknown is not None:
            raise InvalidInputError(
                f"the environment's own reward is known only where it has been, not at {unknown.tolist()}"
            )
        return np.array([self._seen[row.tobytes()] for row in rows], dtype=np.float64)


@overload
def CostlyReward(
    env: VectorEnv[Any, Any, Any],
    source: Source,
    *,
    features: Features = ...,
    compose: Compose | None = ...,
    truth: RecordedReward | None = ...,
) -> CostlyRewardVector: ...
@overload
def CostlyReward(
    env: gym.Env[Any, Any],
    source: Source,
    *,
    features: Features = ...,
    compose: Compose | None = ...,
    truth: RecordedReward | None = ...,
) -> CostlyRewardSingle: ...
def CostlyReward(
    env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any],
    source: Source,
    *,
    features: Features = flat_features,
    compose: Compose | None = None,
    truth: RecordedReward | None = None,
) -> CostlyRewardSingle | CostlyRewardVector:
    """Wrap an environment so that a source answers its reward.

    Everything else is left as it is. Whatever autoreset mode a vector environment declares, the source is asked about
    real transitions only: the step in which a NEXT_STEP environment merely resets has reward 0 and no query. If the
    source raises (a spent budget), the environment's transition is kept: call ``step`` again with the same actions,
    for instance after ``set_source``, and it is answered without moving the environment again.

    ``info`` gets ``query``, ``query_seed``, ``measurement`` (the source's answer) and ``wrapped_reward`` (what the
    environment itself would have paid: for judging, not for learning).

    Args:
        env: A single or a vector environment.
        source: Who answers; its columns say what the features mean.
        features: (observations before the step, actions) → queries (n, d); by default both flattened side by side. A
            single environment is a batch of one.
        compose: (answers, observations before the step, actions) → rewards (n,); by default the answer is the reward.
        truth: Where to record the environment's own reward, when that is what the oracle measures.

    Raises:
        InvalidInputError: The source is no source.

    Example:
        >>> import gymnasium, numpy as np
        >>> from mbrl_split.columns import Column
        >>> from mbrl_split.envs import CostlyReward, OracleSource, RecordedReward
        >>> from mbrl_split.oracles import FunctionOracle, Ledger
        >>> names = [("cos", 1), ("sin", 1), ("speed", 8), ("torque", 2)]
        >>> columns = [Column(name, "1", -high, high) for name, high in names]
        >>> own = RecordedReward()
        >>> ledger = Ledger(FunctionOracle(own, columns), budget=100)
        >>> env = CostlyReward(gymnasium.make("Pendulum-v1"), OracleSource(ledger), truth=own)
        >>> obs, _ = env.reset(seed=0)
        >>> obs, reward, terminated, truncated, info = env.step(np.array([0.5], dtype=np.float32))
        >>> reward == info["wrapped_reward"], ledger.spent
        (True, 1.0)
    """
    kind = CostlyRewardVector if isinstance(env, VectorEnv) else CostlyRewardSingle
    return kind(env, source, features, compose, truth)  # type: ignore[arg-type]


class _Asker:
    """Turns a batch of transitions into rewards: queries, seeds, the source's answers."""

    def __init__(
        self, source: Source, features: Features, compose: Compose | None, truth: RecordedReward | None, n: int
    ) -> None:
        check_source(source, getattr(source, "columns", ()))
        self.source, self.columns = source, tuple(source.columns)
        self.features, self.compose, self.truth = features, compose, truth
        self.keys = np.zeros((n, 2), dtype=np.uint64)
        self.steps = np.full(n, -1, dtype=np.int64)  # since the row's seed; −1: never seeded

    def set_source(self, source: Source) -> None:
        check_source(source, self.columns)
        self.source = source

    def reseed(self, seeds: Sequence[int | None]) -> None:
        for i, seed in enumerate(seeds):
            if seed is not None or self.steps[i] < 0:
                self.keys[i] = stream_keys(entropy() if seed is None else seed, 1)[0]
                self.steps[i] = 0

    def reward(
        self, before: Any, action: Any, own: Array, live: NDArray[np.bool_]
    ) -> tuple[Array, dict[str, NDArray[Any]]]:
        """Rewards (n,), 0 where not live, and what to tell about them."""
        X = np.asarray(self.features(before, action), dtype=np.float64)
        if X.shape != (len(live), len(self.columns)):
            raise InvalidInputError(
                f"features give one row of ({', '.join(c.name for c in self.columns)}) per sub-environment, "
                f"shape ({len(live)}, {len(self.columns)}), not {X.shape}"
            )
        if self.truth is not None:
            self.truth.record(X[live], own[live])
        seeds = RandomStream(self.keys, np.zeros(len(live), np.int64), self.steps).seeds()
        answer = np.zeros(len(live))
        if live.any():
            answer[live] = ask(self.source, X[live], seeds[live])
        reward = answer
        if self.compose is not None:
            reward = np.asarray(self.compose(answer, before, action), dtype=np.float64)
        self.steps = self.steps + 1
        told = {"query": X, "query_seed": seeds, "measurement": answer, "wrapped_reward": own.copy()}
        return np.where(live, reward, 0.0), told


class CostlyRewardVector(gym.vector.VectorWrapper[Any, Any, Any, Any, Any]):
    """:func:`CostlyReward` of a vector environment, in whatever autoreset mode it declares."""

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        source: Source,
        features: Features = flat_features,
        compose: Compose | None = None,
        truth: RecordedReward | None = None,
    ) -> None:
        super().__init__(env)
        mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self._resets_next = AutoresetMode(mode) is AutoresetMode.NEXT_STEP
        self._asker = _Asker(source, features, compose, truth, env.num_envs)
        self._before: Any = None
        self._dead = np.zeros(env.num_envs, dtype=np.bool_)
        self._pending: tuple[Any, Any] | None = None

    @property
    def source(self) -> Source:
        """Who answers the reward."""
        return self._asker.source

    @property
    def columns(self) -> tuple[Column, ...]:
        """What the features mean."""
        return self._asker.columns

    def set_source(self, source: Source) -> None:
        """Let another source with the same columns answer from now on."""
        self._asker.set_source(source)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environment; the source's seeds follow from ``seed`` as well."""
        mask = (options or {}).get("reset_mask")
        obs, info = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        self._asker.reseed(spread_seeds(seed, self.num_envs))
        self._dead = np.zeros_like(self._dead) if mask is None else self._dead & ~np.asarray(mask)
        self._before, self._pending = deepcopy(obs), None
        return obs, info

    def step(self, actions: Any) -> tuple[Any, Array, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Step the environment and ask the source about the transitions that were real."""
        if self._pending is None:
            self._pending = deepcopy(actions), self.env.step(actions)
        obs, own, terminated, truncated, info = _kept(self._pending, actions)
        live = ~self._dead
        reward, told = self._asker.reward(self._before, actions, np.asarray(own, dtype=np.float64), live)
        self._before, self._pending = deepcopy(obs), None
        if self._resets_next:
            self._dead = np.asarray(terminated | truncated, dtype=np.bool_)
        masks = {f"_{name}": live.copy() for name in told}
        return obs, reward, terminated, truncated, {**info, **told, **masks}


class CostlyRewardSingle(gym.Wrapper[Any, Any, Any, Any]):
    """:func:`CostlyReward` of a single environment."""

    def __init__(
        self,
        env: gym.Env[Any, Any],
        source: Source,
        features: Features = flat_features,
        compose: Compose | None = None,
        truth: RecordedReward | None = None,
    ) -> None:
        super().__init__(env)
        self._asker = _Asker(source, features, compose, truth, 1)
        self._before: Any = None
        self._pending: tuple[Any, Any] | None = None

    @property
    def source(self) -> Source:
        """Who answers the reward."""
        return self._asker.source

    @property
    def columns(self) -> tuple[Column, ...]:
        """What the features mean."""
        return self._asker.columns

    def set_source(self, source: Source) -> None:
        """Let another source with the same columns answer from now on."""
        self._asker.set_source(source)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the environment; the source's seeds follow from ``seed`` as well."""
        obs, info = self.env.reset(seed=seed, options=options)
        self._asker.reseed([seed])
        self._before, self._pending = _batch(self.observation_space, obs), None
        return obs, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step the environment and ask the source about the transition."""
        if self._pending is None:
            self._pending = deepcopy(action), self.env.step(action)
        obs, own, terminated, truncated, info = _kept(self._pending, action)
        actions = _batch(self.action_space, action)
        reward, told = self._asker.reward(self._before, actions, np.array([float(own)]), np.array([True]))
        self._before, self._pending = _batch(self.observation_space, obs), None
        one = {name: values[0] if values.ndim > 1 else values[0].item() for name, values in told.items()}
        return obs, float(reward[0]), terminated, truncated, {**info, **one}


def _kept(pending: tuple[Any, Any], actions: Any) -> Any:
    """The environment's answer to the pending step, which these actions must have caused."""
    caused, outcome = pending
    if not data_equivalence(caused, actions, exact=True):
        raise InvalidInputError(
            "the last step waits for its reward: call step() again with the same actions, or reset()"
        )
    return outcome


def _batch(space: gym.Space[Any], value: Any) -> Any:
    """A batch of one, whatever the space; a copy, since environments may reuse their arrays."""
    room: Any = create_empty_array(space, n=1)
    return concatenate(space, [value], room)
