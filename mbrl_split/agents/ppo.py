"""Proximal policy optimisation (Schulman et al., 2017, arXiv:1707.06347)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from mbrl_split.agents import schedules
from mbrl_split.agents.config import require
from mbrl_split.agents.learner import net_arch
from mbrl_split.agents.networks import Activation
from mbrl_split.agents.on_policy import OnPolicy
from mbrl_split.agents.optimisers import Adam
from mbrl_split.agents.schedules import Schedule
from mbrl_split.agents.zoo import zoo_settings

Array = NDArray[Any]


@dataclass(frozen=True)
class PPOConfig:
    """Hyper-parameters of :class:`PPO`, named as in Stable-Baselines3.

    Attributes:
        learning_rate: Adam's step size; a number or a schedule.
        n_steps: Steps per sub-environment in a rollout.
        batch_size: Rows of a minibatch; the last one of an epoch may be smaller.
        n_epochs: Passes over a rollout.
        gamma: Discount per step.
        gae_lambda: λ of the advantages.
        clip_range: ε of the ratio; a number or a schedule.
        clip_range_vf: ε of the values; None leaves them unclipped.
        normalize_advantage: Standardise the advantages of each minibatch.
        ent_coef: Weight of the entropy bonus.
        vf_coef: Weight of the value loss.
        max_grad_norm: Longest gradient; None leaves it.
        target_kl: Stop the update before a step whose minibatch shows a KL above 1.5 times this.
        net_arch: Units of the hidden layers of actor and critic, which are separate.
        activation: ``"tanh"`` or ``"relu"``.
        normalize_observations: Standardise observations by running statistics.
        n_basis: Hat functions per bounded component of an observation, see
            :class:`~mbrl_split.agents.encoding.Encoding`.
        normalize_reward: Divide rewards by the running deviation of the discounted return.
    """

    learning_rate: float | Schedule = 3e-4
    n_steps: int = 2048
    batch_size: int = 64
    n_epochs: int = 10
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip_range: float | Schedule = 0.2
    clip_range_vf: float | None = None
    normalize_advantage: bool = True
    ent_coef: float = 0.0
    vf_coef: float = 0.5
    max_grad_norm: float | None = 0.5
    target_kl: float | None = None
    net_arch: tuple[int, ...] = field(default=(64, 64))
    activation: Activation = "tanh"
    normalize_observations: bool = False
    n_basis: int = 0
    normalize_reward: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "learning_rate", schedules.schedule(self.learning_rate))
        object.__setattr__(self, "clip_range", schedules.schedule(self.clip_range))
        object.__setattr__(self, "net_arch", net_arch(self.net_arch))
        for name in ("n_steps", "batch_size", "n_epochs"):
            value = getattr(self, name)
            require(isinstance(value, int | np.integer) and value > 0, "PPO", name, value, "a positive whole number")
        for name in ("gamma", "gae_lambda"):
            value = getattr(self, name)
            require(0 <= value <= 1, "PPO", name, value, "between 0 and 1")
        require(self.activation in ("tanh", "relu"), "PPO", "activation", self.activation, "'tanh' or 'relu'")


class PPO(OnPolicy):
    """PPO with a clipped ratio, for Box or Discrete observations and Discrete actions.

    Separate actor and critic, orthogonal initial weights, Adam (eps 1e-5). An update learns from ``n_steps`` × number
    of sub-environments transitions (fewer where a vector environment inserts reset steps).

    Args:
        observation_space: Box (flattened) or Discrete (one-hot).
        action_space: Discrete.
        seed: Fixes everything: weights, actions, minibatches and the environment's seed.
        device: Where gradients are computed; see :class:`~mbrl_split.agents.actor_critic.ActorCritic`.
        **config: See :class:`PPOConfig`.

    Example:
        >>> import gymnasium as gym
        >>> from mbrl_split.agents import PPO
        >>> env = gym.make_vec("CartPole-v1", num_envs=8)
        >>> settings = PPO.zoo_settings("CartPole-v1")
        >>> agent = PPO(env.single_observation_space, env.single_action_space, seed=0, **settings)
        >>> history = agent.learn(env, 1024)
    """

    Config = PPOConfig

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
        self.optimiser = Adam(self.networks.parameters)

    @staticmethod
    def zoo_settings(env_id: str) -> dict[str, Any]:
        """Hyper-parameters known to work on a classic environment."""
        return zoo_settings("PPO", env_id)

    def _rollout_steps(self) -> int:
        return int(self.config.n_steps)

    @property
    def update_due(self) -> bool:
        return self._rollout is not None and self._rollout.pos >= self.config.n_steps

    def update(self) -> dict[str, float]:
        """Several passes over the rollout so far, which is then forgotten; {} if it is empty."""
        rollout, c = self._rollout, self.config
        if rollout is None or not rollout.filled("live").any():
            return {}
        data, explained = self._batch(gamma=c.gamma, gae_lambda=c.gae_lambda)
        learning_rate, clip_range = c.learning_rate(self._progress), c.clip_range(self._progress)
        n = len(data["action"])
        seen: list[dict[str, float]] = []
        stopped = False
        for _ in range(c.n_epochs):
            order = self._rng["batch"].permutation(n)
            shuffled = {name: a.take(order, axis=0) for name, a in data.items()}
            if c.normalize_advantage:
                shuffled["advantage"] = standardised(shuffled["advantage"], c.batch_size)
            for first in range(0, n, c.batch_size):
                batch = {name: a[first : first + c.batch_size] for name, a in shuffled.items()}
                losses = self.networks.gradient(
                    batch,
                    clip_range=clip_range,
                    clip_range_vf=c.clip_range_vf,
                    ent_coef=c.ent_coef,
                    vf_coef=c.vf_coef,
                )
                seen.append(losses)
                if c.target_kl is not None and losses["approx_kl"] > 1.5 * c.target_kl:
                    stopped = True
                    break
                self._check_losses(losses)
                self.optimiser.step(learning_rate, max_grad_norm=c.max_grad_norm, env_step=self.num_steps)
            if stopped:
                break
        rollout.clear()
        means = {f"train/{name}": float(np.mean([s[name] for s in seen])) for name in seen[0]}
        return self._record(
            {
                **means,
                "train/explained_variance": explained,
                "train/learning_rate": learning_rate,
                "train/clip_range": clip_range,
                "train/gradient_steps": float(len(seen) - stopped),
            }
        )


def standardised(advantages: Array, size: int) -> Array:
    """Each run of ``size`` entries (the last may be shorter) less its mean, by its deviation; a single one as it is."""
    whole = len(advantages) // size * size
    parts = (advantages[:whole].reshape(-1, size), advantages[whole:].reshape(1, -1))
    scaled = [
        (a - a.mean(axis=1, keepdims=True)) / (a.std(axis=1, ddof=1, keepdims=True) + 1e-8) if a.shape[1] > 1 else a
        for a in parts
    ]
    return np.concatenate([a.reshape(-1) for a in scaled])
