"""Where an on-policy agent keeps its newest transitions: preallocated arrays of (steps, sub-environments)."""

from __future__ import annotations

from typing import Any

import numpy as np

from mbrl_split.interaction.spaces import Array
from mbrl_split.interaction.stream import Step


class Rollout:
    """Rows ``[:pos]`` are filled; dead transitions occupy a place but are marked and never learned from.

    ``episodes`` counts those that ended in them. Observations are stored as the policy saw them (scaled, if it scales).

    Args:
        steps: Rows to begin with; :meth:`add` grows the arrays when they are full.
        num_envs: Columns.
        size: Length of an observation.
        n_actions: Number of actions.
    """

    def __init__(self, steps: int, num_envs: int, size: int, n_actions: int) -> None:
        self.num_envs = num_envs
        self.pos, self.episodes, self.masked = 0, 0, False
        self.fields: dict[str, Array] = {
            "obs": np.zeros((steps, num_envs, size), dtype=np.float32),
            "final_obs": np.zeros((steps, num_envs, size), dtype=np.float32),  # filled where an episode ended
            "action": np.zeros((steps, num_envs), dtype=np.int64),
            "reward": np.zeros((steps, num_envs), dtype=np.float32),
            "terminated": np.zeros((steps, num_envs), dtype=bool),
            "ended": np.zeros((steps, num_envs), dtype=bool),
            "live": np.zeros((steps, num_envs), dtype=bool),
            "mask": np.zeros((steps, num_envs, n_actions), dtype=bool),
        }

    @property
    def capacity(self) -> int:
        return len(self.fields["reward"])

    def add(self, obs: Array, actions: Array, mask: Array | None, rewards: Array, step: Step, final_obs: Array) -> None:
        """Append one step; ``final_obs`` are the encoded successors, read only where an episode ended."""
        if self.pos == self.capacity:
            self.fields = {name: np.concatenate([f, np.zeros_like(f)]) for name, f in self.fields.items()}
        f, t = self.fields, self.pos
        ended = step.ended
        f["obs"][t], f["action"][t], f["reward"][t] = obs, actions, rewards
        f["terminated"][t], f["ended"][t], f["live"][t] = step.terminated, ended, step.live
        if ended.any():
            f["final_obs"][t, ended] = final_obs[ended]
            self.episodes += int(ended.sum())
        if mask is not None:
            if not self.masked:
                f["mask"][:t] = True
            self.masked = True
            f["mask"][t] = mask
        elif self.masked:
            f["mask"][t] = True
        self.pos = t + 1

    def clear(self) -> None:
        """Forget everything."""
        self.pos, self.episodes, self.masked = 0, 0, False

    def filled(self, name: str) -> Array:
        """The filled rows of a field, (pos, num_envs, …)."""
        return self.fields[name][: self.pos]

    def state(self) -> dict[str, Any]:
        rows = {name: self.filled(name).copy() for name in self.fields}
        return {"rows": rows, "masked": self.masked, "capacity": self.capacity}

    @staticmethod
    def from_state(state: dict[str, Any]) -> Rollout:
        rows = state["rows"]
        pos, num_envs, size = rows["obs"].shape
        rollout = Rollout(state["capacity"], num_envs, size, rows["mask"].shape[-1])
        for name, field in rollout.fields.items():
            field[:pos] = rows[name]
        rollout.pos, rollout.episodes, rollout.masked = pos, int(rows["ended"].sum()), state["masked"]
        return rollout
