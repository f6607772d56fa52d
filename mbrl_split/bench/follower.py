"""An agent that learns nothing of its own: it does what its surrogate says is best, and asks again after a refresh."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.agents import Agent, Callback, History
from mbrl_split.agents.base import multiple_above
from mbrl_split.envs import LLMSplitVector
from mbrl_split.errors import BadInput


class Follower(Agent):
    """Argmax or plan of a surrogate, in the seat of an agent: so that a schedule can be asked what it is worth to both.

    It walks through the environment, which shows the loop where a good policy goes, and reads its policy anew whenever
    truth was learnt.

    Args:
        env: Where it walks.
        read: The policy that the surrogate, as it is now, gives; acts on observations.
        seed: Of the walk.
        n_steps: Steps of each sub-environment between two records.
    """

    def __init__(self, env: LLMSplitVector, read: Callable[[], Any], *, seed: int, n_steps: int = 8) -> None:
        super().__init__(env.single_observation_space, env.single_action_space, seed=seed)
        if n_steps < 1:
            raise BadInput(f"n_steps is at least 1, not {n_steps}")
        self._read, self.n_steps = read, n_steps
        self._policy: Any = None
        self.num_steps = 0
        self._obs: NDArray[Any] | None = None

    def current(self) -> Any:
        """The policy of the surrogate as it is now; the same object until truth was learnt."""
        if self._policy is None:
            self._policy = self._read()
        return self._policy

    def act(self, obs: ArrayLike, *, deterministic: bool = True, mask: ArrayLike | None = None) -> NDArray[np.int64]:
        return np.asarray(self.current().act(obs, deterministic=True))

    def learn(self, env: Any, total_steps: int, *, callback: Callback | None = None) -> History:
        history, last = History(), self.num_steps + total_steps
        if self._obs is None:
            self._obs = env.reset(seed=self.seed)[0]
        while self.num_steps < last:
            for _ in range(self.n_steps):
                # The environment resets itself in the same step: what it returns is always the next to act on.
                self._obs = env.step(self.act(self._obs))[0]
            self.num_steps += self.n_steps * env.num_envs
            history.log(self.num_steps)
            if callback is not None and callback(self, history.records[-1]):
                break
        return history

    def next_update(self, after: int = 0, *, num_envs: int = 1, episode_steps: int = 1) -> int:
        return multiple_above(after, self.n_steps * num_envs)

    def on_source_changed(self, version: int) -> None:
        super().on_source_changed(version)
        self._policy = None

    def save(self, path: str | PathLike[str]) -> None:
        raise BadInput("a follower is its surrogate: save that")

    @classmethod
    def load(cls, path: str | PathLike[str], *, device: str = "cpu") -> Self:
        raise BadInput("a follower is its surrogate: load that")
