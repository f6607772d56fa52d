"""Callbacks: several in one, checkpoints, stopping early."""

from __future__ import annotations

from os import PathLike

import numpy as np

from mbrl_split.agents.base import Agent, Callback


class Callbacks:
    """Several callbacks as one, in order; learning stops when any of them says so (all of them are called).

    Example:
        >>> import gymnasium as gym
        >>> from mbrl_split.agents import PPO, Callbacks
        >>> env = gym.make_vec("CartPole-v1", num_envs=8)
        >>> agent = PPO(env.single_observation_space, env.single_action_space, n_steps=32, seed=0)
        >>> heard = []
        >>> note = lambda agent, record: heard.append(record["step"])
        >>> stop = lambda agent, record: record["step"] >= 512
        >>> history = agent.learn(env, 10_000, callback=Callbacks(note, stop))
        >>> heard
        [246.0, 492.0, 740.0]
    """

    def __init__(self, *callbacks: Callback) -> None:
        self.callbacks = callbacks

    def __call__(self, agent: Agent, record: dict[str, float]) -> bool:
        stops = [callback(agent, record) for callback in self.callbacks]
        return any(stops)


class Checkpoint:
    """Saves the agent whenever at least ``every`` environment steps have passed, always to the same folder.

    A killed process leaves the previous checkpoint whole. To go on: ``load``, then ``learn`` the remaining steps.

    Example:
        >>> import gymnasium as gym
        >>> from mbrl_split.agents import PPO, Checkpoint
        >>> env = gym.make_vec("CartPole-v1", num_envs=8)
        >>> agent = PPO(env.single_observation_space, env.single_action_space, n_steps=32, seed=0)
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp()) / "agent"
        >>> history = agent.learn(env, 512, callback=Checkpoint(folder, every=256))
        >>> PPO.load(folder).num_steps
        492
    """

    def __init__(self, path: str | PathLike[str], every: int) -> None:
        self.path, self.every = path, every
        self._next = every

    def __call__(self, agent: Agent, record: dict[str, float]) -> None:
        if record["step"] >= self._next:
            agent.save(self.path)
            self._next = (int(record["step"]) // self.every + 1) * self.every


class StopAt:
    """Stops when the mean of the last ``window`` values of a scalar reaches a threshold.

    The scalar must be one that is measured on the true reward if the agent learns from a surrogate.

    Example:
        >>> import gymnasium as gym
        >>> from mbrl_split.agents import PPO, StopAt
        >>> env = gym.make_vec("CartPole-v1", num_envs=8)
        >>> agent = PPO(env.single_observation_space, env.single_action_space, n_steps=32, seed=0)
        >>> history = agent.learn(env, 10_000, callback=StopAt(15.0, window=1))
        >>> agent.num_steps < 10_000
        True
    """

    def __init__(self, threshold: float, scalar: str = "episode/return", window: int = 10) -> None:
        self.threshold, self.scalar, self.window = threshold, scalar, window
        self._values: list[float] = []

    def __call__(self, agent: Agent, record: dict[str, float]) -> bool:
        if self.scalar in record:
            self._values = [*self._values, record[self.scalar]][-self.window :]
        return len(self._values) == self.window and float(np.mean(self._values)) >= self.threshold
