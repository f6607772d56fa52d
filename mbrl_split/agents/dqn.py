"""Deep Q-learning (Mnih et al., 2015), double (van Hasselt et al., 2016), n-step, dueling (Wang et al., 2016)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, ClassVar, Self

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from mbrl_split.agents import categorical, schedules
from mbrl_split.agents.base import multiple_above
from mbrl_split.agents.config import require
from mbrl_split.agents.learner import Learner, net_arch
from mbrl_split.agents.networks import Activation
from mbrl_split.agents.optimisers import Adam
from mbrl_split.agents.q_network import QNetwork
from mbrl_split.agents.replay import Relabel, Replay
from mbrl_split.agents.schedules import Linear, Schedule
from mbrl_split.agents.zoo import zoo_settings
from mbrl_split.interaction.finite import check_finite
from mbrl_split.interaction.stream import Stream, unwrap_transparent

Array = NDArray[Any]

DRAWN_TOGETHER = 512
"""Transitions sampled at once: fewer calls, and the activations still fit the cache."""


@dataclass(frozen=True)
class DQNConfig:
    """Hyper-parameters of :class:`DQN`, named as in Stable-Baselines3, sized for classic control.

    Attributes:
        learning_rate: Adam's step size; a number or a schedule.
        buffer_size: Transitions kept, over all sub-environments.
        learning_starts: Environment steps of uniformly random actions before learning.
        batch_size: Transitions of a gradient step.
        tau: Share of the online network mixed into the target network at its update; 1 copies it.
        gamma: Discount per step.
        train_freq: Steps of every sub-environment between updates.
        gradient_steps: Gradient steps of an update; −1 makes as many as transitions were collected.
        n_steps: Longest return before bootstrapping.
        target_update_interval: Environment steps (over all sub-environments) between updates of the target network.
        exploration_fraction: Share of the learning over which ε falls.
        exploration_initial_eps: ε at first.
        exploration_final_eps: ε at last.
        max_grad_norm: Longest gradient; None leaves it.
        double: The online network chooses the action of the target.
        dueling: A value and an advantage stream on top of the hidden layers.
        net_arch: Units of the hidden layers.
        activation: ``"relu"`` or ``"tanh"``.
        normalize_observations: Standardise observations by running statistics; stored raw, scaled when sampled.
        n_basis: Hat functions per bounded component of an observation, see
            :class:`~mbrl_split.agents.encoding.Encoding`.
    """

    learning_rate: float | Schedule = 1e-3
    buffer_size: int = 50_000
    learning_starts: int = 1_000
    batch_size: int = 64
    tau: float = 1.0
    gamma: float = 0.99
    train_freq: int = 4
    gradient_steps: int = 1
    n_steps: int = 1
    target_update_interval: int = 250
    exploration_fraction: float = 0.1
    exploration_initial_eps: float = 1.0
    exploration_final_eps: float = 0.05
    max_grad_norm: float | None = 10.0
    double: bool = True
    dueling: bool = False
    net_arch: tuple[int, ...] = field(default=(64, 64))
    activation: Activation = "relu"
    normalize_observations: bool = False
    n_basis: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "learning_rate", schedules.schedule(self.learning_rate))
        object.__setattr__(self, "net_arch", net_arch(self.net_arch))
        for name in ("buffer_size", "batch_size", "train_freq", "n_steps", "target_update_interval"):
            require(getattr(self, name) > 0, "DQN", name, getattr(self, name), "a positive whole number")
        for name in ("tau", "gamma", "exploration_fraction", "exploration_initial_eps", "exploration_final_eps"):
            require(0 <= getattr(self, name) <= 1, "DQN", name, getattr(self, name), "between 0 and 1")
        require(
            self.gradient_steps == -1 or self.gradient_steps > 0,
            "DQN",
            "gradient_steps",
            self.gradient_steps,
            "> 0 or −1",
        )
        require(self.activation in ("tanh", "relu"), "DQN", "activation", self.activation, "'tanh' or 'relu'")


class DQN(Learner):
    """Q-learning from a replay buffer, with ε-greedy exploration drawn for each sub-environment on its own.

    When the reward's source changes, stored rewards are stale. With :attr:`relabel` they are given anew when sampled;
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

    def __init__(
        self,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        *,
        seed: int | None = None,
        device: str = "cpu",
        **config: Any,
    ) -> None:
        super().__init__(observation_space, action_space, seed=seed, device=device, **config)
        c = self.config
        self.network = QNetwork(
            self._encoding.size,
            self.n_actions,
            c.net_arch,
            c.activation,
            self._rng["init"],
            dueling=c.dueling,
            device=device,
        )
        self.optimiser = Adam(self.network.parameters, eps=1e-8)
        self.exploration = Linear(c.exploration_initial_eps, c.exploration_final_eps, c.exploration_fraction)
        self.relabel: Relabel | None = None
        self._replay: Replay | None = None
        self._steps_since_update = 0
        self._collected_since_update = 0
        self._target_updates = 0

    @staticmethod
    def zoo_settings(env_id: str) -> dict[str, Any]:
        """Hyper-parameters known to work on a classic environment."""
        return zoo_settings("DQN", env_id)

    def next_update(self, after: int = 0, *, num_envs: int = 1, episode_steps: int = 1) -> int:
        return multiple_above(max(after, int(self.config.learning_starts)), int(self.config.train_freq) * num_envs)

    def on_source_changed(self, version: int) -> None:
        self.source_version = version
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
        if self._encoding.scaler is not None:  # else the rows need not even be picked
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
            drawn.obs, drawn.next_obs = self._encoding(drawn.obs), self._encoding(drawn.next_obs)
            lagging = network.lagging_values(drawn.next_obs)
            targets = None if c.double else network.targets(drawn, lagging, double=False)
            for start in range(0, len(drawn.action), size):
                rows = slice(start, start + size)
                batch = drawn.rows(rows)
                if targets is not None:
                    yield batch.obs, batch.action, targets[rows]
                else:
                    yield batch.obs, batch.action, network.targets(batch, lagging[rows], double=True)

    def _state(self) -> dict[str, Any]:
        return {
            "parameters": self.network.parameters.views,
            "target": self.network.target_parameters.value,
            "optimiser": self.optimiser.state(),
            "replay": None if self._replay is None else self._replay.state(),
            "counters": [self._steps_since_update, self._collected_since_update, self._target_updates],
        }

    def _restore(self, state: dict[str, Any]) -> None:
        for name, array in state["parameters"].items():
            self.network.parameters.views[name][...] = array
        self.network.target_parameters.value[...] = state["target"]
        self.optimiser.restore(state["optimiser"])
        self._replay = None if state["replay"] is None else Replay.from_state(state["replay"])
        self._steps_since_update, self._collected_since_update, self._target_updates = state["counters"]
