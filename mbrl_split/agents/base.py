"""The contract of an agent: acts on observations, learns from any Gymnasium environment with discrete actions."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, ClassVar, Protocol, Self

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from mbrl_split.interaction import Policy


@dataclass
class History:
    """What happened while learning: one dictionary of scalars per record, in order.

    Each record has ``step`` (environment steps so far, summed over sub-environments) and any scalars that the agent
    or a callback logged there, such as ``train/policy_loss`` or ``episode/return``.

    Example:
        >>> from mbrl_split.agents import History
        >>> history = History()
        >>> history.log(100, loss=0.5)
        >>> history.log(200, loss=0.25)
        >>> history.column("loss")
        (array([100., 200.]), array([0.5 , 0.25]))
    """

    records: list[dict[str, float]] = field(default_factory=list)

    def log(self, step: int, **scalars: float) -> None:
        self.records.append({"step": float(step), **scalars})

    def column(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(steps, values) of the records that have ``name``."""
        rows = [(r["step"], r[name]) for r in self.records if name in r]
        steps, values = zip(*rows, strict=True) if rows else ((), ())
        return np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)


class Callback(Protocol):
    """Called after every update; returning True stops the learning.

    ``record`` is the newest record of the agent's history and may be extended in place.
    """

    def __call__(self, agent: Agent, record: dict[str, float]) -> bool | None: ...


class Agent(Policy):
    """A learner on Box observations (or Discrete ones, one-hot) and Discrete actions.

    Works on a single Gymnasium environment and on any vector environment, whichever autoreset mode it declares.
    Hyper-parameters carry the names of Stable-Baselines3.
    """

    paced_by: ClassVar[tuple[str, ...]] = ()
    """Hyper-parameters that :meth:`next_update` follows from."""

    def __init__(
        self,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        *,
        seed: int | None = None,
        device: str = "cpu",
        **config: Any,
    ) -> None:
        self.observation_space = observation_space
        self.action_space = action_space
        self.seed = seed
        self.device = device
        self.source_version = 0

    @abstractmethod
    def learn(
        self,
        env: gym.Env[Any, Any] | gym.vector.VectorEnv[Any, Any, Any],
        total_steps: int,
        *,
        callback: Callback | None = None,
    ) -> History:
        """Learn for ``total_steps`` environment steps (summed over sub-environments); a further call continues."""

    def next_update(self, after: int = 0, *, num_envs: int = 1, episode_steps: int = 1) -> int:
        """The environment step, above ``after``, before which no further update can come.

        ``next_update()`` of a fresh agent is the least that a learning takes to learn anything. An agent that does not
        say otherwise may learn at every step.

        Args:
            after: Environment steps so far, summed over sub-environments; 0, or those at which an update came.
            num_envs: Sub-environments, which step together and lose no step between episodes.
            episode_steps: Steps of the shortest episode.
        """
        return multiple_above(after, num_envs)

    def on_source_changed(self, version: int) -> None:
        """The reward's source changed: relabel on sample (off-policy) or drop the open rollout (on-policy)."""
        self.source_version = version

    @abstractmethod
    def save(self, path: str | PathLike[str]) -> None:
        """Write everything that learning needs to go on bit for bit (safetensors + JSON in a folder)."""

    @classmethod
    @abstractmethod
    def load(cls, path: str | PathLike[str], *, device: str = "cpu") -> Self:
        """Read what :meth:`save` wrote."""

    def reload(self, path: str | PathLike[str]) -> Self:
        """:meth:`load`, with whatever this agent was given that :meth:`save` does not write."""
        return self.load(path, device=self.device)


def multiple_above(n: int, period: int) -> int:
    """The least multiple of ``period`` above ``n``."""
    return (n // period + 1) * period
