"""One sub-environment as a plain Gymnasium environment."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.columns import Column
from mbrl_split.envs.base import CostlyEnv
from mbrl_split.errors import InvalidInputError
from mbrl_split.interaction import Source

V = TypeVar("V", bound=CostlyEnv)


class VectorToSingle(gym.Env[NDArray[np.float32], Any], Generic[V]):
    """A :class:`~mbrl_split.envs.base.CostlyEnv` of one sub-environment in Gymnasium's single form.

    Steps and seeds are those of the batch, bit for bit; only the automatic reset is off, so that a wrapper or a
    Stable-Baselines3 ``DummyVecEnv`` resets when it wants to. ``info`` holds the batch's arrays without their batch
    axis and masks; at an episode's end also ``episode_return`` and ``episode_length``.

    Args:
        batch: The environment to present; it must have exactly one sub-environment.

    Raises:
        InvalidInputError: The batch has another size.

    Example:
        >>> import gymnasium as gym, numpy as np
        >>> from mbrl_split.columns import Column
        >>> from mbrl_split.envs import CostlyEnv, OracleSource, VectorToSingle
        >>> from mbrl_split.oracles import FunctionOracle, Ledger
        >>> LOAD = Column("load", "1", 0, 1)
        >>> class Fan(CostlyEnv):  # cooling or not, while a load comes and goes; only the heat is costly to measure
        ...     def __init__(self, source):
        ...         spaces = {"observation_space": gym.spaces.Box(0, 1, (1,)), "action_space": gym.spaces.Discrete(2)}
        ...         super().__init__(source=source, columns=[LOAD], episode_steps=5, **spaces)
        ...     def initial_state(self, draws):
        ...         return {"load": draws.uniform(1)}
        ...     def observe(self, state):
        ...         return state["load"].astype(np.float32)
        ...     def features(self, state, action):
        ...         return state["load"]
        ...     def transition(self, state, action, draws):
        ...         return {"load": draws.uniform(1)}
        ...     def compose(self, measured, state, action):
        ...         return -measured * (1 - action) - 0.3 * action
        >>> ledger = Ledger(FunctionOracle(lambda X: X[:, 0] ** 2, [LOAD]))
        >>> env = VectorToSingle(Fan(OracleSource(ledger)))
        >>> obs, info = env.reset(seed=0)
        >>> obs, reward, terminated, truncated, info = env.step(1)
        >>> reward, ledger.spent
        (-0.3, 1.0)
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # type: ignore[misc]

    def __init__(self, batch: V) -> None:
        if batch.num_envs != 1:
            raise InvalidInputError(f"the single form presents a batch of one, not of {batch.num_envs}; use resized(1)")
        self.batch = batch
        self.observation_space = batch.single_observation_space
        self.action_space = batch.single_action_space

    @property
    def source(self) -> Source:
        """Who answers the costly number."""
        return self.batch.source

    @property
    def columns(self) -> tuple[Column, ...]:
        """What the columns of a query mean."""
        return self.batch.columns

    @property
    def relabel(self) -> Any:
        """The batch's method of that name, or None: rewards of stored transitions, by the present source."""
        return getattr(self.batch, "relabel", None)

    def set_source(self, source: Source) -> None:
        """Let another source answer from the next step on."""
        self.batch.set_source(source)

    def state_dict(self) -> dict[str, Any]:
        """All that continuing bit for bit needs, as plain data."""
        return self.batch.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where :meth:`state_dict` was taken."""
        self.batch.load_state_dict(state)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start an episode: the first one of ``seed``, or the next one of the stream at hand."""
        observation, info = self.batch.reset(seed=seed, options=options)
        super().reset(seed=seed)
        return observation[0], _one(info)

    def step(self, action: ArrayLike) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """One step; after ``truncated`` comes ``reset``.

        Raises:
            InvalidInputError: An action outside the action space.
            BudgetExhaustedError: The source cannot pay; the step was not taken.
            gymnasium.error.ResetNeeded: The episode is over.
        """
        actions = np.asarray(action)[None]
        observation, reward, _, truncated, info = self.batch._advance(actions, autoreset=False)
        return observation[0], float(reward[0]), False, bool(truncated[0]), _one(info.get("final_info", info))


def _one(told: dict[str, Any]) -> dict[str, Any]:
    """The arrays without their batch axis and masks."""
    return {name: _plain(values[0]) for name, values in told.items() if f"_{name}" in told}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
