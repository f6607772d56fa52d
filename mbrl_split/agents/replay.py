"""Where an off-policy agent keeps its past: one ring per sub-environment, in one set of arrays.

A reward is stored with the version of the source that gave it. Single steps are stored and n-step returns are made when
sampled, so that a reward given anew reaches every return that contains it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mbrl_split.interaction.spaces import Array
from mbrl_split.interaction.stream import Step

Relabel = Callable[[Array, Array, Array], Array]
"""(obs (n, d), actions (n,), next_obs (n, d)) → rewards (n,), by the present source."""


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
        self._first = np.arange(num_envs) * length  # where each ring begins in the flat view of a field
        self._flat = self._flattened()

    def _flattened(self) -> dict[str, Array]:
        """The fields with one index for ring and place: numpy reads and writes rows fastest by one."""
        return {name: f.reshape(self.num_envs * f.shape[1], *f.shape[2:]) for name, f in self.fields.items()}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_flat"}  # copied, it would be another's

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._flat = self._flattened()

    def __len__(self) -> int:
        return int(self._filled.sum())

    def add(self, obs: Array, actions: Array, step: Step, version: int) -> None:
        """Append the live transitions of one step of every sub-environment."""
        if step.next_mask is not None and not self.masked:
            self._allow_everything(step.next_mask.shape[1])
        rows = slice(None) if step.live.all() else np.flatnonzero(step.live)
        position = self._position[rows]
        at, f = self._first[rows] + position, self._flat
        f["obs"][at], f["next_obs"][at] = obs[rows], step.next_obs[rows]
        f["action"][at], f["reward"][at], f["version"][at] = actions[rows], step.reward[rows], version
        f["terminated"][at], f["ended"][at] = step.terminated[rows], step.ended[rows]
        if self.masked:
            f["next_mask"][at] = True if step.next_mask is None else step.next_mask[rows]
        self._position[rows] = (position + 1) % self.length
        self._filled[rows] = np.minimum(self._filled[rows] + 1, self.length)

    def _allow_everything(self, n_actions: int) -> None:
        """The first mask arrived: all actions were allowed until now."""
        self.masked = True
        self.fields["next_mask"] = np.ones((self.num_envs, self.length, n_actions), dtype=bool)
        self._flat = self._flattened()

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
    ) -> dict[str, Array]:
        """A uniform sample of n-step transitions, with replacement.

        Args:
            size: Transitions to draw.
            rng: Where they are drawn from.
            gamma: Discount per step.
            n_steps: Longest return; shorter at the end of an episode and at the newest transition.
            version: The present version of the reward's source.
            relabel: Gives stale rewards anew; they are stored with the present version.

        Returns:
            One row per transition: ``obs`` (b, d); ``action`` (b,); ``reward``, the sum of γ^i·r_i over the k steps
            taken, (b,); ``next_obs``, the real successor of the last of them, (b, d); ``discount``, γ^k with the real
            k, and 0 where the last step terminated, (b,); where there are masks, ``next_mask``, the allowed actions in
            ``next_obs``, (b, A).
        """
        ends = np.cumsum(self._filled)
        flat = rng.integers(ends[-1], size=size)
        env = np.searchsorted(ends, flat, side="right")
        # Row within the ring, counted from the oldest: the order matters for the successors.
        filled, first, f = self._filled[env], self._first[env], self._flat
        age = flat - (ends[env] - filled)
        place = (self._position[env] - filled + age) % self.length
        at = first + place
        reward, discount = self._rewards(at, version, relabel), np.full(size, gamma)
        last = at.copy()
        running = np.arange(size)
        for k in range(1, n_steps):
            # A return stops at the end of its episode, and at the newest transition of its ring.
            running = running[~f["ended"][last[running]] & (age[running] + k < filled[running])]
            following = first[running] + (place[running] + k) % self.length
            reward[running] += gamma**k * self._rewards(following, version, relabel)
            last[running], discount[running] = following, gamma ** (k + 1)
        discount[f["terminated"].take(last)] = 0.0
        batch = {
            "obs": f["obs"].take(at, axis=0),
            "action": f["action"].take(at),
            "reward": reward,
            "next_obs": f["next_obs"].take(last, axis=0),
            "discount": discount,
        }
        return {**batch, "next_mask": f["next_mask"].take(last, axis=0)} if self.masked else batch

    def _rewards(self, at: Array, version: int, relabel: Relabel | None) -> Array:
        """A fresh array of the rewards at flat places."""
        f = self._flat
        if relabel is not None:
            stale = f["version"].take(at) != version
            if stale.any():
                places = np.unique(at[stale])  # each stored transition once, however often it was drawn
                f["reward"][places] = relabel(f["obs"][places], f["action"][places], f["next_obs"][places])
                f["version"][places] = version
        return np.asarray(f["reward"].take(at))

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
            replay._allow_everything(rows["next_mask"].shape[-1])
        for name, field in replay.fields.items():
            field[:, : rows[name].shape[1]] = rows[name]
        replay._position, replay._filled = state["position"], state["filled"]
        return replay
