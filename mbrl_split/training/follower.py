"""A policy that learns nothing of its own: it does what a surrogate says is best, and asks again after a refresh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.agents import History
from mbrl_split.agents.base import multiple_above
from mbrl_split.errors import InvalidInputError
from mbrl_split.interaction import Policy


class Follower(Policy):
    """Argmax or plan of a surrogate, in the seat of an agent: so that a schedule can be asked what it is worth to both.

    It walks through the environment, which shows the loop where a good policy goes, and reads its policy anew whenever
    truth was learnt.

    Args:
        read: The policy that the surrogate, as it is now, gives; acts on observations.
        seed: Of the walk.
        n_steps: Steps of each sub-environment between two records.
    """

    def __init__(self, read: Callable[[], Policy], *, seed: int, n_steps: int = 8) -> None:
        if n_steps < 1:
            raise InvalidInputError(f"n_steps is at least 1, not {n_steps}")
        self._read, self.seed, self.n_steps = read, seed, n_steps
        self._policy: Policy | None = None
        self.num_steps = 0
        self._obs: NDArray[Any] | None = None

    def current(self) -> Policy:
        """The policy of the surrogate as it is now; the same object until truth was learnt."""
        if self._policy is None:
            self._policy = self._read()
        return self._policy

    def act(self, obs: ArrayLike, *, deterministic: bool = True, mask: ArrayLike | None = None) -> NDArray[Any]:
        return np.asarray(self.current().act(obs, deterministic=True))

    def reset(self, mask: ArrayLike | None = None) -> None:
        self.current().reset(mask)

    def walk(
        self, env: Any, total_steps: int, *, callback: Callable[[Any, dict[str, float]], bool | None] | None = None
    ) -> History:
        """Act for ``total_steps`` environment steps, summed over sub-environments; a further call goes on."""
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
        """The environment step, above ``after``, at which the next record comes; see ``Agent.next_update``."""
        return multiple_above(after, self.n_steps * num_envs)

    def on_source_changed(self, version: int) -> None:
        """Truth was learnt: the policy is read anew when it is asked for."""
        self._policy = None
