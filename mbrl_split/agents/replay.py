"""Where an off-policy agent keeps its past: one ring per sub-environment, in one set of arrays.

A reward is stored with the version of the source that gave it. Single steps are stored and n-step returns are made when
sampled, so that a reward given anew reaches every return that contains it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_split.agents.vector import Step

Array = NDArray[Any]
Relabel = Callable[[Array, Array, Array], Array]
"""(obs (n, d), actions (n,), next_obs (n, d)) → rewards (n,), by the present source."""


@dataclass(slots=True)
class Batch:
    """A sample of n-step transitions, each array with one row per transition.

    Attributes:
        obs: (b, d).
        action: (b,).
        reward: Sum of γ^i·r_i over the k steps taken, (b,).
        next_obs: The real successor of the last of the k steps, (b, d).
        discount: γ^k with the real k, and 0 where the last step terminated, (b,).
        next_mask: Allowed actions in ``next_obs``, (b, A), or None.
        steps: The real k, (b,).
    """

    obs: Array
    action: Array
    reward: Array
    next_obs: Array
    discount: Array
    next_mask: Array | None
    steps: Array


class Replay:
    """A ring of ``capacity`` transitions in all, shared evenly by the sub-environments; dead ones never enter."""

    def __init__(self, capacity: int, num_envs: int, size: int, n_actions: int) -> None:
        length = max(capacity // num_envs, 1)
        self.num_envs, self.length = num_envs, length
        self.masked = False
        self._position = np.zeros(num_envs, dtype=np.int64)  # where each ring writes next
        self._filled = np.zeros(num_envs, dtype=np.int64)
        self.fields: dict[str, Array] = {
            "obs": np.zeros((num_envs, length, size), dtype=np.float32),
            "next_obs": np.zeros((num_envs, length, size), dtype=np.float32),
            "action": np.zeros((num_envs, length), dtype=np.int64),
            "reward": np.zeros((num_envs, length), dtype=np.float64),
            "version": np.zeros((num_envs, length), dtype=np.int64),
            "terminated": np.zeros((num_envs, length), dtype=bool),
            "ended": np.zeros((num_envs, length), dtype=bool),
            "next_mask": np.zeros((num_envs, 0, n_actions), dtype=bool),  # made when the first mask arrives
        }

    def __len__(self) -> int:
        return int(self._filled.sum())

    def add(self, obs: Array, actions: Array, step: Step, version: int) -> None:
        """Append the live transitions of one step of every sub-environment."""
        if step.next_mask is not None and not self.masked:
            self.masked = True
            self.fields["next_mask"] = np.ones((self.num_envs, self.length, step.next_mask.shape[1]), dtype=bool)
        rows = np.flatnonzero(step.live)
        at = self._position[rows]
        f = self.fields
        f["obs"][rows, at], f["next_obs"][rows, at] = obs[rows], step.next_obs[rows]
        f["action"][rows, at], f["reward"][rows, at], f["version"][rows, at] = actions[rows], step.reward[rows], version
        f["terminated"][rows, at], f["ended"][rows, at] = step.terminated[rows], step.ended[rows]
        if self.masked:
            f["next_mask"][rows, at] = True if step.next_mask is None else step.next_mask[rows]
        self._position[rows] = (at + 1) % self.length
        self._filled[rows] = np.minimum(self._filled[rows] + 1, self.length)

    def cut(self) -> None:
        """What follows does not continue what is stored: no n-step return runs across."""
        rows = np.flatnonzero(self._filled)
        self.fields["ended"][rows, self._position[rows] - 1] = True

    def clear(self) -> None:
        """Forget everything."""
        self._position[:], self._filled[:] = 0, 0

    def sample(
        self,
        size: int,
        rng: np.random.Generator,
        *,
        gamma: float,
        n_steps: int = 1,
        version: int = 0,
        relabel: Relabel | None = None,
    ) -> Batch:
        """A uniform sample with replacement.

        Args:
            size: Transitions to draw.
            rng: Where they are drawn from.
            gamma: Discount per step.
            n_steps: Longest return; shorter at the end of an episode and at the newest transition.
            version: The present version of the reward's source.
            relabel: Gives stale rewards anew; they are stored with the present version.
        """
        ends = np.cumsum(self._filled)
        flat = rng.integers(ends[-1], size=size)
        env = np.searchsorted(ends, flat, side="right")
        # Row within the ring, counted from the oldest: the order matters for the successors.
        age = flat - (ends[env] - self._filled[env])
        at = (self._position[env] - self._filled[env] + age) % self.length
        remaining = self._filled[env] - age  # steps up to and including the newest
        f = self.fields
        reward, discount = self._rewards(env, at, version, relabel).copy(), np.full(size, gamma)
        last, steps = at, np.ones(size, dtype=np.int64)
        running = ~f["ended"][env, at]
        for k in range(1, n_steps):
            running &= remaining > k
            if not running.any():
                break
            rows = np.flatnonzero(running)
            following = (at[rows] + k) % self.length
            reward[rows] += gamma**k * self._rewards(env[rows], following, version, relabel)
            last = last.copy()
            last[rows], steps[rows], discount[rows] = following, k + 1, gamma ** (k + 1)
            running[rows] = ~f["ended"][env[rows], following]
        return Batch(
            obs=f["obs"][env, at],
            action=f["action"][env, at],
            reward=reward,
            next_obs=f["next_obs"][env, last],
            discount=np.where(f["terminated"][env, last], 0.0, discount),
            next_mask=f["next_mask"][env, last] if self.masked else None,
            steps=steps,
        )

    def _rewards(self, env: Array, at: Array, version: int, relabel: Relabel | None) -> Array:
        f = self.fields
        if relabel is not None:
            stale = f["version"][env, at] != version
            if stale.any():
                # Each stored transition once, however often it was drawn.
                e, a = np.unravel_index(np.unique(env[stale] * self.length + at[stale]), f["reward"].shape)
                f["reward"][e, a] = relabel(f["obs"][e, a], f["action"][e, a], f["next_obs"][e, a])
                f["version"][e, a] = version
        return np.asarray(f["reward"][env, at])

    def state(self) -> dict[str, Any]:
        filled = int(self._filled.max(initial=0))  # below that, the rings have never been written
        rows = {name: np.ascontiguousarray(f[:, :filled]) for name, f in self.fields.items()}
        return {"rows": rows, "length": self.length, "position": self._position, "filled": self._filled}

    @staticmethod
    def from_state(state: dict[str, Any]) -> Replay:
        rows = state["rows"]
        num_envs, _, size = rows["obs"].shape
        replay = Replay(state["length"] * num_envs, num_envs, size, rows["next_mask"].shape[-1])
        if rows["next_mask"].shape[1]:
            replay.masked = True
            replay.fields["next_mask"] = np.ones((num_envs, replay.length, rows["next_mask"].shape[-1]), dtype=bool)
        for name, field in replay.fields.items():
            field[:, : rows[name].shape[1]] = rows[name]
        replay._position, replay._filled = state["position"], state["filled"]
        return replay
