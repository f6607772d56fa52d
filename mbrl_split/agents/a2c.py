"""Advantage actor-critic, the synchronous form (Mnih et al., 2016, arXiv:1602.01783)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import gymnasium as gym
import numpy as np

from mbrl_split.agents import schedules
from mbrl_split.agents.config import require
from mbrl_split.agents.learner import net_arch
from mbrl_split.agents.networks import Activation
from mbrl_split.agents.on_policy import OnPolicy
from mbrl_split.agents.optimisers import Adam, RMSprop, TensorFlowRMSprop
from mbrl_split.agents.schedules import Schedule
from mbrl_split.agents.zoo import zoo_settings


@dataclass(frozen=True)
class A2CConfig:
    """Hyper-parameters of :class:`A2C`, named as in Stable-Baselines3.

    Attributes:
        learning_rate: Step size; a number or a schedule.
        n_steps: Steps per sub-environment between updates.
        gamma: Discount per step.
        gae_lambda: λ of the advantages; 1 is the classic n-step advantage.
        ent_coef: Weight of the entropy bonus.
        vf_coef: Weight of the value loss.
        max_grad_norm: Longest gradient; None leaves it.
        use_rms_prop: RMSprop, else Adam.
        rms_prop: ``"torch"``, as Stable-Baselines3 by default; or ``"tensorflow"``, its ``RMSpropTFLike``, whose first
            steps are many times shorter.
        rms_prop_eps: eps of RMSprop (or of Adam).
        normalize_advantage: Standardise the advantages of an update.
        net_arch: Units of the hidden layers of actor and critic, which are separate.
        activation: ``"tanh"`` or ``"relu"``.
        normalize_observations: Standardise observations by running statistics.
        n_basis: Hat functions per bounded component of an observation, see
            :class:`~mbrl_split.agents.encoding.Encoding`.
        normalize_reward: Divide rewards by the running deviation of the discounted return.
    """

    learning_rate: float | Schedule = 7e-4
    n_steps: int = 5
    gamma: float = 0.99
    gae_lambda: float = 1.0
    ent_coef: float = 0.0
    vf_coef: float = 0.5
    max_grad_norm: float | None = 0.5
    use_rms_prop: bool = True
    rms_prop: Literal["torch", "tensorflow"] = "torch"
    rms_prop_eps: float = 1e-5
    normalize_advantage: bool = False
    net_arch: tuple[int, ...] = field(default=(64, 64))
    activation: Activation = "tanh"
    normalize_observations: bool = False
    n_basis: int = 0
    normalize_reward: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "learning_rate", schedules.schedule(self.learning_rate))
        object.__setattr__(self, "net_arch", net_arch(self.net_arch))
        require(self.n_steps > 0, "A2C", "n_steps", self.n_steps, "a positive whole number")
        for name in ("gamma", "gae_lambda"):
            value = getattr(self, name)
            require(0 <= value <= 1, "A2C", name, value, "between 0 and 1")
        known = ("torch", "tensorflow") if self.use_rms_prop else ("torch",)  # which one means nothing to Adam
        require(self.rms_prop in known, "A2C", "rms_prop", self.rms_prop, f"one of {known}")
        require(self.activation in ("tanh", "relu"), "A2C", "activation", self.activation, "'tanh' or 'relu'")


class A2C(OnPolicy):
    """One gradient step per short rollout of every sub-environment; see :class:`A2CConfig` for the settings.

    Example:
        >>> import gymnasium as gym
        >>> from mbrl_split.agents import A2C
        >>> env = gym.make_vec("CartPole-v1", num_envs=8)
        >>> agent = A2C(env.single_observation_space, env.single_action_space, seed=0)
        >>> history = agent.learn(env, 512)
        >>> agent.act(env.reset(seed=0)[0], deterministic=True).shape
        (8,)
    """

    Config = A2CConfig

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
        parameters, c = self.networks.parameters, self.config
        rms_prop = TensorFlowRMSprop if c.rms_prop == "tensorflow" else RMSprop
        self.optimiser = (rms_prop if c.use_rms_prop else Adam)(parameters, eps=c.rms_prop_eps)

    @staticmethod
    def zoo_settings(env_id: str) -> dict[str, Any]:
        """Hyper-parameters known to work on a classic environment."""
        return zoo_settings("A2C", env_id)

    @classmethod
    def _settings(cls, saved: dict[str, Any]) -> dict[str, Any]:
        # A file from before there were two kinds: its averages are TensorFlow's.
        return {"rms_prop": "tensorflow" if saved["use_rms_prop"] else "torch", **saved}

    def _rollout_steps(self) -> int:
        return int(self.config.n_steps)

    @property
    def update_due(self) -> bool:
        return self._rollout is not None and self._rollout.pos >= self.config.n_steps

    def update(self) -> dict[str, float]:
        """One step on the whole rollout so far, which is then forgotten; {} if it is empty."""
        rollout, c = self._rollout, self.config
        if rollout is None or not rollout.filled("live").any():
            return {}
        batch, explained = self._batch(gamma=c.gamma, gae_lambda=c.gae_lambda)
        if c.normalize_advantage and len(batch["advantage"]) > 1:
            a = batch["advantage"]
            batch["advantage"] = (a - a.mean()) / (a.std(ddof=1) + 1e-8)
        # At a ratio of one the unclipped gain ρ·A has the gradient A·∇log π: the actor-critic's own.
        losses = self.networks.gradient(
            batch, clip_range=np.inf, clip_range_vf=None, ent_coef=c.ent_coef, vf_coef=c.vf_coef
        )
        self._check_losses(losses)
        learning_rate = c.learning_rate(self._progress)
        self.optimiser.step(learning_rate, max_grad_norm=c.max_grad_norm, env_step=self.num_steps)
        rollout.clear()
        kept = {f"train/{name}": losses[name] for name in ("policy_loss", "value_loss", "entropy")}
        return self._record({**kept, "train/explained_variance": explained, "train/learning_rate": learning_rate})
