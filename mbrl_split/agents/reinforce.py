"""REINFORCE (Williams, 1992) with reward-to-go and a baseline."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from mbrl_split.agents import schedules
from mbrl_split.agents.base import multiple_above
from mbrl_split.agents.config import require
from mbrl_split.agents.learner import net_arch
from mbrl_split.agents.networks import Activation
from mbrl_split.agents.on_policy import OnPolicy
from mbrl_split.agents.optimisers import Adam
from mbrl_split.agents.schedules import Schedule
from mbrl_split.agents.zoo import zoo_settings
from mbrl_split.interaction.stream import Step, Stream

Array = NDArray[Any]


@dataclass(frozen=True)
class REINFORCEConfig:
    """Hyper-parameters of :class:`REINFORCE`.

    Attributes:
        learning_rate: Adam's step size; a number or a schedule.
        n_episodes: Ended episodes (over all sub-environments) before an update.
        max_steps: Steps per sub-environment before an update in any case.
        gamma: Discount per step.
        baseline: ``"value"``, learned; ``"leave-one-out"``, the mean return from the same age in the other episodes of
            the batch; ``"none"``.
        normalize_advantage: Standardise the advantages of an update.
        ent_coef: Weight of the entropy bonus.
        value_steps: Gradient steps of the values for each one of the policy.
        max_grad_norm: Longest gradient; None leaves it.
        net_arch: Units of the hidden layers of policy and values, which are separate.
        activation: ``"tanh"`` or ``"relu"``.
        normalize_observations: Standardise observations by running statistics.
        n_basis: Hat functions per bounded component of an observation, see
            :class:`~mbrl_split.agents.encoding.Encoding`.
        normalize_reward: Divide rewards by the running deviation of the discounted return.
    """

    learning_rate: float | Schedule = 1e-3
    n_episodes: int = 8
    max_steps: int = 4096
    gamma: float = 0.99
    baseline: Literal["value", "leave-one-out", "none"] = "value"
    normalize_advantage: bool = True
    ent_coef: float = 0.0
    value_steps: int = 5
    max_grad_norm: float | None = 0.5
    net_arch: tuple[int, ...] = field(default=(64, 64))
    activation: Activation = "tanh"
    normalize_observations: bool = False
    n_basis: int = 0
    normalize_reward: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "learning_rate", schedules.schedule(self.learning_rate))
        object.__setattr__(self, "net_arch", net_arch(self.net_arch))
        for name in ("n_episodes", "max_steps", "value_steps"):
            require(getattr(self, name) > 0, "REINFORCE", name, getattr(self, name), "a positive whole number")
        require(0 <= self.gamma <= 1, "REINFORCE", "gamma", self.gamma, "between 0 and 1")
        known = ("value", "leave-one-out", "none")
        require(self.baseline in known, "REINFORCE", "baseline", self.baseline, f"one of {known}")


class REINFORCE(OnPolicy):
    """Monte Carlo policy gradient on the return from each step on.

    **Truncation.** A truncated episode bootstraps: the learned value of its last observation is added to its return,
    whatever the baseline. So does an episode that is still open when an update comes (only with several
    sub-environments, or after ``max_steps``); it goes on under the new policy. Nothing is discarded, so short episodes
    are not preferred.

    Example:
        >>> import gymnasium as gym
        >>> from mbrl_split.agents import REINFORCE
        >>> env = gym.make_vec("CartPole-v1", num_envs=8)
        >>> agent = REINFORCE(env.single_observation_space, env.single_action_space, seed=0)
        >>> history = agent.learn(env, 512)
        >>> agent.act(env.reset(seed=0)[0], deterministic=True).shape
        (8,)
    """

    Config = REINFORCEConfig
    paced_by: ClassVar[tuple[str, ...]] = ("n_episodes", "max_steps")

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
        # Two optimisers, so that further steps of the values leave the policy where it is.
        self.optimiser = Adam(self.networks.parameters.part("actor"))
        self.value_optimiser = Adam(self.networks.parameters.part("critic"))
        self._ended = 0
        self._ages = np.zeros(0, dtype=np.int64)  # steps already taken in the episodes open at the rollout's start

    @staticmethod
    def zoo_settings(env_id: str) -> dict[str, Any]:
        """Hyper-parameters known to work on a classic environment."""
        return zoo_settings("REINFORCE", env_id)

    def next_update(self, after: int = 0, *, num_envs: int = 1, episode_steps: int = 1) -> int:
        c = self.config
        first = min(math.ceil(c.n_episodes / num_envs) * episode_steps, int(c.max_steps)) * num_envs
        # When a later one comes depends on how old the open episodes are.
        return first if after < first else multiple_above(after, num_envs)

    def _rollout_steps(self) -> int:
        return 256  # grows with the episodes

    @property
    def update_due(self) -> bool:
        steps = 0 if self._rollout is None else self._rollout.pos
        return bool(self._ended >= self.config.n_episodes or steps >= self.config.max_steps)

    def on_source_changed(self, version: int) -> None:
        super().on_source_changed(version)
        self._ended, self._ages = 0, self._lengths.copy()

    def _begin(self, stream: Stream) -> None:
        super()._begin(stream)
        self._ended, self._ages = 0, np.zeros(stream.num_envs, dtype=np.int64)

    def _after_step(self, step: Step) -> None:
        self._ended += int(step.ended.sum())

    def update(self) -> dict[str, float]:
        """One policy step on the episodes so far, which are then forgotten; {} if there are none."""
        rollout, c = self._rollout, self.config
        if rollout is None or not rollout.filled("live").any():
            return {}
        live, ended = rollout.filled("live"), rollout.filled("ended")
        batch, explained = self._batch(gamma=c.gamma, gae_lambda=1.0)  # λ = 1: returns to the end of the episode
        if c.baseline == "none":
            batch["advantage"] = batch["return"].copy()
        elif c.baseline == "leave-one-out":
            episode, age = _episodes(live, ended, self._ages)
            batch["advantage"] = batch["return"] - leave_one_out(batch["return"], episode, age)
        if c.normalize_advantage and len(batch["advantage"]) > 1:
            a = batch["advantage"]
            batch["advantage"] = (a - a.mean()) / (a.std(ddof=1) + 1e-8)
        learning_rate = c.learning_rate(self._progress)
        losses = self.networks.gradient(batch, clip_range=np.inf, clip_range_vf=None, ent_coef=c.ent_coef, vf_coef=1.0)
        self._check_losses(losses)
        self.optimiser.step(learning_rate, max_grad_norm=c.max_grad_norm, env_step=self.num_steps)
        for i in range(c.value_steps):
            if i:
                self.networks.value_gradient(batch)
            self.value_optimiser.step(learning_rate, max_grad_norm=c.max_grad_norm, env_step=self.num_steps)
        rollout.clear()
        self._ended, self._ages = 0, self._lengths.copy()
        kept = {f"train/{name}": losses[name] for name in ("policy_loss", "value_loss", "entropy")}
        return self._record({**kept, "train/explained_variance": explained, "train/learning_rate": learning_rate})

    def _state(self) -> dict[str, Any]:
        return {
            **super()._state(),
            "value_optimiser": self.value_optimiser.state(),
            "ended": self._ended,
            "ages": self._ages,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        super()._restore(state)
        self.value_optimiser.restore(state["value_optimiser"])
        self._ended, self._ages = state["ended"], state["ages"]


def _episodes(live: Array, ended: Array, ages: Array) -> tuple[Array, Array]:
    """Episode number and age of every live transition, flat in the order of the batch.

    Args:
        live: (T, n).
        ended: (T, n).
        ages: Age of the episodes open at the first row, (n,).
    """
    envs = live.shape[1]
    before = np.cumsum(ended, axis=0) - ended  # episodes ended before this row
    episode = before * envs + np.arange(envs)
    lived = np.cumsum(live, axis=0) - live
    first = np.where(np.vstack([np.zeros((1, envs), dtype=bool), ended[:-1]]), lived, 0)
    age = lived - np.maximum.accumulate(first, axis=0) + np.where(before == 0, ages, 0)
    return episode[live], age[live]


def leave_one_out(returns: Array, episode: Array, age: Array) -> Array:
    """For each step the mean return, from the same age, of the *other* episodes of the batch.

    Where no other episode reached that age, the mean return over all steps of the others; 0 if there are no others.
    The baseline of a step depends on other episodes alone, so the gradient stays unbiased (Kool et al., 2019).

    Args:
        returns: Return from each step on, (n,).
        episode: Label of the episode of each step, (n,).
        age: Steps since the episode began, (n,); a pair (episode, age) occurs once.
    """
    at_age, of_episode = np.bincount(age), np.bincount(episode)
    others = at_age[age] - 1
    same_age = np.bincount(age, weights=returns)[age] - returns
    rest = len(returns) - of_episode[episode]
    total = returns.sum(dtype=np.float64) - np.bincount(episode, weights=returns)[episode]
    fallback = np.divide(total, rest, out=np.zeros(len(returns)), where=rest > 0)
    baseline: Array = np.divide(same_age, others, out=fallback, where=others > 0)
    return baseline.astype(returns.dtype)
