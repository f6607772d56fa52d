"""Proximal policy optimisation (Schulman et al., 2017, arXiv:1707.06347)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mbrl_split.agents.config import Count, OnPolicyConfig, Scheduled, Share
from mbrl_split.agents.on_policy import OnPolicy, standardised
from mbrl_split.agents.optimisers import Adam
from mbrl_split.interaction.spaces import Array


@dataclass(frozen=True)
class PPOConfig(OnPolicyConfig):
    """Hyper-parameters of :class:`PPO` beside those of every policy-gradient agent.

    Attributes:
        n_steps: Steps per sub-environment in a rollout.
        batch_size: Rows of a minibatch; the last one of an epoch may be smaller.
        n_epochs: Passes over a rollout.
        gae_lambda: λ of the advantages.
        clip_range: ε of the ratio; a number or a schedule.
        clip_range_vf: ε of the values; None leaves them unclipped.
        vf_coef: Weight of the value loss.
        target_kl: Stop the update before a step whose minibatch shows a KL above 1.5 times this.
    """

    learning_rate: Scheduled = 3e-4
    n_steps: Count = 2048
    batch_size: Count = 64
    n_epochs: Count = 10
    gae_lambda: Share = 0.95
    clip_range: Scheduled = 0.2
    clip_range_vf: float | None = None
    vf_coef: float = 0.5
    target_kl: float | None = None


class PPO(OnPolicy):
    """PPO with a clipped ratio, for Box or Discrete observations and Discrete actions.

    Separate actor and critic, orthogonal initial weights, Adam (eps 1e-5). An update learns from ``n_steps`` × number
    of sub-environments transitions (fewer where a vector environment inserts reset steps). The settings are those of
    :class:`PPOConfig`.

    Example:
        >>> import gymnasium as gym
        >>> from mbrl_split.agents import PPO
        >>> env = gym.make_vec("CartPole-v1", num_envs=8)
        >>> settings = PPO.zoo_settings("CartPole-v1")
        >>> agent = PPO(env.single_observation_space, env.single_action_space, seed=0, **settings)
        >>> history = agent.learn(env, 1024)
    """

    Config = PPOConfig

    def _build(self) -> None:
        super()._build()
        self.optimiser = Adam(self.networks.parameters)

    def _improve(self, batch: dict[str, Array], learning_rate: float) -> dict[str, float]:
        """Several passes over the rollout, in minibatches."""
        c, clip_range = self.config, self.config.clip_range(self._progress)
        seen: list[dict[str, float]] = []
        steps = 0
        for part in self._minibatches(batch):
            losses = self.networks.gradient(
                part, clip_range=clip_range, clip_range_vf=c.clip_range_vf, ent_coef=c.ent_coef, vf_coef=c.vf_coef
            )
            seen.append(losses)
            if c.target_kl is not None and losses["approx_kl"] > 1.5 * c.target_kl:
                break
            self._check_losses(losses)
            self.optimiser.step(learning_rate, max_grad_norm=c.max_grad_norm, env_step=self.num_steps)
            steps += 1
        means = {name: float(np.mean([s[name] for s in seen])) for name in seen[0]}
        return {**means, "clip_range": clip_range, "gradient_steps": float(steps)}

    def _minibatches(self, batch: dict[str, Array]) -> Iterator[dict[str, Array]]:
        """Every epoch in an order of its own; advantages standardised, if asked, in each minibatch."""
        c, n = self.config, len(batch["action"])
        for _ in range(c.n_epochs):
            order = self._rng["batch"].permutation(n)
            shuffled = {name: a.take(order, axis=0) for name, a in batch.items()}
            if c.normalize_advantage:
                shuffled["advantage"] = standardised(shuffled["advantage"], c.batch_size)
            for first in range(0, n, c.batch_size):
                yield {name: a[first : first + c.batch_size] for name, a in shuffled.items()}
