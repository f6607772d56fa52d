"""REINFORCE (Williams, 1992) with reward-to-go and a baseline."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from mbrl_split.agents.base import multiple_above
from mbrl_split.agents.config import Count, OnPolicyConfig
from mbrl_split.agents.on_policy import OnPolicy, standardised
from mbrl_split.agents.optimisers import Adam
from mbrl_split.interaction.spaces import Array


@dataclass(frozen=True)
class REINFORCEConfig(OnPolicyConfig):
    """Hyper-parameters of :class:`REINFORCE` beside those of every policy-gradient agent.

    Attributes:
        n_episodes: Ended episodes (over all sub-environments) before an update.
        max_steps: Steps per sub-environment before an update in any case.
        baseline: ``"value"``, learned; ``"leave-one-out"``, the mean return from the same age in the other episodes of
            the batch; ``"none"``.
        value_steps: Gradient steps of the values for each one of the policy.
    """

    n_episodes: Count = 8
    max_steps: Count = 4096
    baseline: Literal["value", "leave-one-out", "none"] = "value"
    value_steps: Count = 5


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

    def _build(self) -> None:
        super()._build()
        # Two optimisers, so that further steps of the values leave the policy where it is.
        self.optimiser = Adam(self.networks.parameters, "actor")
        self.value_optimiser = Adam(self.networks.parameters, "critic")
        self._ages = np.zeros(0, dtype=np.int64)  # steps already taken in the episodes open at the rollout's start

    def next_update(self, after: int = 0, *, num_envs: int = 1, episode_steps: int = 1) -> int:
        c = self.config
        first = min(math.ceil(c.n_episodes / num_envs) * episode_steps, int(c.max_steps)) * num_envs
        # When a later one comes depends on how old the open episodes are.
        return first if after < first else multiple_above(after, num_envs)

    def _rollout_steps(self) -> int:
        return 256  # grows with the episodes

    @property
    def update_due(self) -> bool:
        rollout, c = self._rollout, self.config
        return rollout is not None and (rollout.episodes >= c.n_episodes or rollout.pos >= c.max_steps)

    def _forget(self) -> None:
        super()._forget()
        self._ages = self._lengths.copy()

    def _improve(self, batch: dict[str, Array], learning_rate: float) -> dict[str, float]:
        """One policy step on the episodes so far."""
        c, rollout = self.config, self._rollout
        if c.baseline == "none":
            batch["advantage"] = batch["return"].copy()
        elif c.baseline == "leave-one-out":
            assert rollout is not None
            episode, age = _episodes(rollout.filled("live"), rollout.filled("ended"), self._ages)
            batch["advantage"] = batch["return"] - leave_one_out(batch["return"], episode, age)
        if c.normalize_advantage:
            batch["advantage"] = standardised(batch["advantage"], len(batch["advantage"]))
        losses = self.networks.gradient(batch, ent_coef=c.ent_coef)
        self._check_losses(losses)
        self.optimiser.step(learning_rate, max_grad_norm=c.max_grad_norm, env_step=self.num_steps)
        for i in range(c.value_steps):
            if i:
                self.networks.value_gradient(batch)
            self.value_optimiser.step(learning_rate, max_grad_norm=c.max_grad_norm, env_step=self.num_steps)
        return {name: losses[name] for name in ("policy_loss", "value_loss", "entropy")}

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "value_optimiser": self.value_optimiser.state(), "ages": self._ages}

    def _restore(self, state: dict[str, Any]) -> None:
        super()._restore(state)
        self.value_optimiser.restore(state["value_optimiser"])
        self._ages = state["ages"]


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
