"""Advantage actor-critic, the synchronous form (Mnih et al., 2016, arXiv:1602.01783)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

from mbrl_split.agents.config import Count, OnPolicyConfig, Scheduled, Share
from mbrl_split.agents.on_policy import OnPolicy, standardised
from mbrl_split.agents.optimisers import Adam, RMSprop, TensorFlowRMSprop
from mbrl_split.interaction.spaces import Array


@dataclass(frozen=True)
class A2CConfig(OnPolicyConfig):
    """Hyper-parameters of :class:`A2C` beside those of every policy-gradient agent.

    Attributes:
        n_steps: Steps per sub-environment between updates.
        gae_lambda: λ of the advantages; 1 is the classic n-step advantage.
        vf_coef: Weight of the value loss.
        use_rms_prop: RMSprop, else Adam.
        rms_prop: ``"torch"``, as Stable-Baselines3 by default; or ``"tensorflow"``, its ``RMSpropTFLike``, whose first
            steps are many times shorter.
        rms_prop_eps: eps of RMSprop (or of Adam).
    """

    learning_rate: Scheduled = 7e-4
    n_steps: Count = 5
    gae_lambda: Share = 1.0
    vf_coef: float = 0.5
    use_rms_prop: bool = True
    rms_prop: Literal["torch", "tensorflow"] = "torch"
    rms_prop_eps: float = 1e-5
    normalize_advantage: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(self.use_rms_prop or self.rms_prop == "torch", "rms_prop", "'torch' where use_rms_prop is off")


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

    def _build(self) -> None:
        super()._build()
        parameters, c = self.networks.parameters, self.config
        rms_prop = TensorFlowRMSprop if c.rms_prop == "tensorflow" else RMSprop
        self.optimiser = (rms_prop if c.use_rms_prop else Adam)(parameters, eps=c.rms_prop_eps)

    @classmethod
    def _of(cls, tree: dict[str, Any], **given: Any) -> Self:
        # A file from before there were two kinds: its averages are TensorFlow's.
        tree["config"].setdefault("rms_prop", "tensorflow" if tree["config"]["use_rms_prop"] else "torch")
        return super()._of(tree, **given)

    def _improve(self, batch: dict[str, Array], learning_rate: float) -> dict[str, float]:
        """One step on the whole rollout."""
        c = self.config
        if c.normalize_advantage:
            batch["advantage"] = standardised(batch["advantage"], len(batch["advantage"]))
        # At a ratio of one the unclipped gain ρ·A has the gradient A·∇log π: the actor-critic's own.
        losses = self.networks.gradient(batch, ent_coef=c.ent_coef, vf_coef=c.vf_coef)
        self._check_losses(losses)
        self.optimiser.step(learning_rate, max_grad_norm=c.max_grad_norm, env_step=self.num_steps)
        return {name: losses[name] for name in ("policy_loss", "value_loss", "entropy")}
