"""Deep Q-learning (Mnih et al., 2015), double (van Hasselt et al., 2016), n-step, dueling (Wang et al., 2016)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from typing import Annotated, Any, ClassVar, Self

import numpy as np

from mbrl_split.agents import categorical
from mbrl_split.agents.base import multiple_above
from mbrl_split.agents.config import Count, NetworkConfig, Rule, Share
from mbrl_split.agents.learner import Learner
from mbrl_split.agents.networks import Activation
from mbrl_split.agents.optimisers import Adam
from mbrl_split.agents.q_network import QNetwork
from mbrl_split.agents.replay import Relabel, Replay
from mbrl_split.agents.schedules import Linear
from mbrl_split.interaction.finite import check_finite
from mbrl_split.interaction.spaces import Array
from mbrl_split.interaction.stream import Stream, unwrap_transparent

DRAWN_TOGETHER = 512
"""Transitions sampled at once: fewer calls, and the activations still fit the cache."""


@dataclass(frozen=True)
class DQNConfig(NetworkConfig):
    """Hyper-parameters of :class:`DQN` beside those of every network, sized for classic control.

    Attributes:
        buffer_size: Transitions kept, over all sub-environments.
        learning_starts: Environment steps of uniformly random actions before learning.
        batch_size: Transitions of a gradient step.
        tau: Share of the online network mixed into the target network at its update; 1 copies it.
        train_freq: Steps of every sub-environment between updates.
        gradient_steps: Gradient steps of an update; −1 makes as many as transitions were collected.
        n_steps: Longest return before bootstrapping.
        target_update_interval: Environment steps (over all sub-environments) between updates of the target network.
        exploration_fraction: Share of the learning over which ε falls.
        exploration_initial_eps: ε at first.
        exploration_final_eps: ε at last.
        double: The online network chooses the action of the target.
        dueling: A value and an advantage stream on top of the hidden layers.
    """

    buffer_size: Count = 50_000
    learning_starts: int = 1_000
    batch_size: Count = 64
    tau: Share = 1.0
    train_freq: Count = 4
    gradient_steps: Annotated[int, Rule("> 0 or −1", lambda v: v == -1 or v > 0)] = 1
    n_steps: Count = 1
    target_update_interval: Count = 250
    exploration_fraction: Share = 0.1
    exploration_initial_eps: Share = 1.0
    exploration_final_eps: Share = 0.05
    max_grad_norm: float | None = 10.0
    double: bool = True
    dueling: bool = False
    activation: Activation = "relu"


class DQN(Learner):
    """Q-learning from a replay buffer, with ε-greedy exploration drawn for each sub-environment on its own.

    When the reward's source changes, stored rewards are stale. With ``relabel`` they are given anew when sampled;
    without it, or where the new source is the truth (version 0), they are forgotten.

    Attributes:
        relabel: (obs (n, d), actions (n,) from 0, next_obs (n, d)) → rewards (n,) by the present source. Taken from the
            environment's method ``relabel`` at :meth:`start` if it has one and none was set; not from under wrappers
            that may change observations or rewards.

    Example:
        >>> import gymnasium as gym
        >>> from mbrl_split.agents import DQN
        >>> env = gym.make_vec("CartPole-v1", num_envs=8)
        >>> agent = DQN(env.single_observation_space, env.single_action_space, seed=0, learning_starts=128)
        >>> history = agent.learn(env, 512)
        >>> agent.act(env.reset(seed=0)[0], deterministic=True).shape
        (8,)
    """

    Config = DQNConfig
    paced_by: ClassVar[tuple[str, ...]] = ("learning_starts", "train_freq")

    def _build(self) -> None:
        c = self.config
        self.network = QNetwork(
            self._encoding.size,
            self.n_actions,
            c.net_arch,
            c.activation,
            self._rng["init"],
            dueling=c.dueling,
            device=self.device,
        )
        self.optimiser = Adam(self.network.parameters, eps=1e-8)
        self.exploration = Linear(c.exploration_initial_eps, c.exploration_final_eps, c.exploration_fraction)
        self.relabel: Relabel | None = None
        self._replay: Replay | None = None
        self._steps_since_update = 0
        self._collected_since_update = 0
        self._target_updates = 0

    def next_update(self, after: int = 0, *, num_envs: int = 1, episode_steps: int = 1) -> int:
        return multiple_above(max(after, int(self.config.learning_starts)), int(self.config.train_freq) * num_envs)

    def on_source_changed(self, version: int) -> None:
        super().on_source_changed(version)
        # Version 0 is the truth, which nobody asks again about the past.
        if (self.relabel is None or version == 0) and self._replay is not None:
            self._replay.clear()

    def reload(self, path: str | PathLike[str]) -> Self:
        agent = super().reload(path)
        agent.relabel = self.relabel
        return agent

    def _begin(self, stream: Stream) -> None:
        if self._replay is not None and self._replay.num_envs == stream.num_envs:
            self._replay.cut()
        else:
            self._replay = Replay(self.config.buffer_size, stream.num_envs, self._observations.size, self.n_actions)

    def _enter(self, stream: Stream, restart: bool) -> None:
        super()._enter(stream, restart)
        if self.relabel is None:
            self.relabel = getattr(unwrap_transparent(stream.env), "relabel", None)

    def _choose(self, rows: Array, mask: Array | None, deterministic: bool, rng: np.random.Generator) -> Array:
        greedy = categorical.best_of_numbers("the action value", self.network(rows), mask)
        if deterministic:
            return greedy
        return self._explore(greedy, mask, self.exploration(self._progress), rng)

    def _explore(self, greedy: Array, mask: Array | None, eps: float, rng: np.random.Generator) -> Array:
        """Each row on its own: with probability ε a uniform draw from the allowed actions."""
        n = len(greedy)
        explores = rng.random(n) < eps
        if not explores.any():
            return greedy
        random = rng.integers(self.n_actions, size=n) if mask is None else categorical.sample(mask, rng)
        return np.where(explores, random, greedy)

    def _collect_step(self, stream: Stream) -> None:
        replay, rng = self._replay, self._rng["policy"]
        assert replay is not None
        obs, mask = stream.obs, stream.mask
        if self.num_steps < self.config.learning_starts:
            actions = self._explore(np.zeros(stream.num_envs, dtype=np.int64), mask, 1.0, rng)
        else:
            actions = self._choose(self._encoding(obs), mask, False, rng)
        before = self.num_steps
        step = self._advance(stream, actions)
        if self._encoding.moments is not None:  # else the rows need not even be picked
            self._encoding.update(obs[step.live])
        replay.add(obs, actions, step, self.source_version)
        self._steps_since_update += 1
        self._collected_since_update += self.num_steps - before
        if self.num_steps <= self.config.learning_starts and self._steps_since_update >= self.config.train_freq:
            self._steps_since_update = self._collected_since_update = 0
        intervals = self.num_steps // self.config.target_update_interval
        if intervals > self._target_updates:
            self._target_updates = intervals
            self.network.update_target(self.config.tau)

    @property
    def update_due(self) -> bool:
        c = self.config
        return (
            self._steps_since_update >= c.train_freq and self.num_steps > c.learning_starts and self._replay is not None
        )

    def update(self) -> dict[str, float]:
        """Gradient steps on samples of the replay buffer; {} if it is empty."""
        replay, c = self._replay, self.config
        steps = self._collected_since_update if c.gradient_steps == -1 else c.gradient_steps
        self._steps_since_update = self._collected_since_update = 0
        if replay is None or len(replay) == 0:
            return {}
        learning_rate = c.learning_rate(self._progress)
        loss = value = 0.0
        for obs, actions, targets in self._batches(replay, steps):
            step_loss, step_value = self.network.gradient(obs, actions, targets)
            if not np.isfinite(step_loss):
                check_finite("the Q-learning loss", step_loss, self.num_steps)
            self.optimiser.step(learning_rate, max_grad_norm=c.max_grad_norm, env_step=self.num_steps)
            loss, value = loss + step_loss / steps, value + step_value / steps
        return self._record(
            {
                "train/loss": loss,
                "train/q": value,
                "train/epsilon": self.exploration(self._progress),
                "train/learning_rate": learning_rate,
            }
        )

    def _batches(self, replay: Replay, count: int) -> Iterator[tuple[Array, Array, Array]]:
        """Observations, actions and targets of ``count`` minibatches; learn from each before asking for the next.

        Nothing is stored and the lagging network stands still during an update, so several minibatches are drawn, and
        valued by it, together. The online network moves with every step: its choice of actions (double) waits.
        """
        c, network, size = self.config, self.network, self.config.batch_size
        together = max(DRAWN_TOGETHER // size, 1)
        for first in range(0, count, together):
            drawn = replay.sample(
                min(together, count - first) * size,
                self._rng["batch"],
                gamma=c.gamma,
                n_steps=c.n_steps,
                version=self.source_version,
                relabel=self.relabel,
            )
            for name in ("obs", "next_obs"):
                drawn[name] = self._encoding(drawn[name])
            lagging = network.lagging_values(drawn["next_obs"])
            if not c.double:
                drawn["target"] = network.targets(drawn, lagging, double=False)
            for start in range(0, len(lagging), size):
                rows = slice(start, start + size)
                batch = {name: values[rows] for name, values in drawn.items()}
                if c.double:
                    batch["target"] = network.targets(batch, lagging[rows], double=True)
                yield batch["obs"], batch["action"], batch["target"]

    def _state(self) -> dict[str, Any]:
        return {
            "parameters": self.network.parameters.views,
            "target": self.network.target_parameters.value,
            "optimiser": self.optimiser.state(),
            "replay": None if self._replay is None else self._replay.state(),
            "counters": [self._steps_since_update, self._collected_since_update, self._target_updates],
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.network.parameters.restore(state["parameters"])
        self.network.target_parameters.value[...] = state["target"]
        self.optimiser.restore(state["optimiser"])
        self._replay = None if state["replay"] is None else Replay.from_state(state["replay"])
        self._steps_since_update, self._collected_since_update, self._target_updates = state["counters"]
