"""An actor and a critic, separate perceptrons in one flat parameter vector."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_split.agents import losses
from mbrl_split.agents.networks import MLP, Activation, Parameters

Array = NDArray[Any]


class ActorCritic:
    """Logits from the one network, values from the other, and the gradient of a policy-gradient loss.

    Args:
        size: Length of an observation.
        n_actions: Number of actions.
        hidden: Units of the hidden layers, the same for both.
        activation: ``"tanh"`` or ``"relu"``.
        rng: Draws the initial weights (gain √2, .01 for the actor's head, 1 for the critic's).
        device: Where gradients are computed. On ``"cpu"`` they are written out in numpy; on any other device torch's
            autograd computes them. Parameters and optimiser stay on the CPU.
        dtype: float64 in numerical checks.
    """

    def __init__(
        self,
        size: int,
        n_actions: int,
        hidden: tuple[int, ...],
        activation: Activation,
        rng: np.random.Generator,
        *,
        device: str = "cpu",
        dtype: Any = np.float32,
    ) -> None:
        actor, critic = (size, *hidden, n_actions), (size, *hidden, 1)
        self.parameters = Parameters({**MLP.shapes("actor", actor), **MLP.shapes("critic", critic)}, dtype)
        self.actor = MLP("actor", actor, self.parameters, activation=activation, head_gain=0.01, rng=rng)
        self.critic = MLP("critic", critic, self.parameters, activation=activation, head_gain=1.0, rng=rng)
        self.device = device

    def values(self, obs: Array) -> Array:
        """V of encoded observations, (n,)."""
        return self.critic(obs)[:, 0]

    def gradient(
        self,
        batch: dict[str, Array],
        *,
        clip_range: float,
        clip_range_vf: float | None,
        ent_coef: float,
        vf_coef: float,
    ) -> dict[str, float]:
        """Write the gradient of policy loss − ent_coef·entropy + vf_coef·value loss into ``parameters.grad``.

        Args:
            batch: ``obs``, ``action``, ``advantage``, ``log_prob``, ``return``, ``value`` (old) and perhaps ``mask``.
            clip_range: PPO's ε.
            clip_range_vf: ε of the values, or None.
            ent_coef: Weight of the entropy bonus.
            vf_coef: Weight of the value loss.

        Returns:
            Losses and diagnostics of the minibatch.
        """
        if self.device != "cpu":
            return self.gradient_autograd(
                batch, clip_range=clip_range, clip_range_vf=clip_range_vf, ent_coef=ent_coef, vf_coef=vf_coef
            )
        policy = losses.clipped_policy_loss(
            self.actor.forward(batch["obs"]),
            batch["action"],
            batch["advantage"],
            batch["log_prob"],
            batch.get("mask"),
            clip_range=clip_range,
            ent_coef=ent_coef,
        )
        values = self.critic.forward(batch["obs"])[:, 0]
        value_loss, d_values = losses.value_loss(values, batch["return"], batch["value"], clip_range_vf)
        self.actor.backward(policy.d_logits)
        self.critic.backward(vf_coef * d_values[:, None])
        return {
            "policy_loss": policy.loss,
            "value_loss": value_loss,
            "entropy": policy.entropy,
            "approx_kl": policy.kl,
            "clip_fraction": policy.clip_fraction,
        }

    def value_gradient(self, batch: dict[str, Array]) -> float:
        """Write the gradient of the mean squared error of the values, and of nothing else; returns the loss."""
        if self.device != "cpu":
            still = dict(batch, advantage=np.zeros_like(batch["advantage"]))
            losses_ = self.gradient_autograd(still, clip_range=np.inf, clip_range_vf=None, ent_coef=0.0, vf_coef=1.0)
            return losses_["value_loss"]
        self.parameters.grad[...] = 0
        loss, d_values = losses.value_loss(
            self.critic.forward(batch["obs"])[:, 0], batch["return"], batch["value"], None
        )
        self.critic.backward(d_values[:, None])
        return loss

    def gradient_autograd(
        self,
        batch: dict[str, Array],
        *,
        clip_range: float,
        clip_range_vf: float | None,
        ent_coef: float,
        vf_coef: float,
    ) -> dict[str, float]:
        """:meth:`gradient` by torch's autograd on ``device``."""
        import torch

        flat = torch.from_numpy(self.parameters.value).to(self.device).clone().requires_grad_()
        tensors = {name: torch.from_numpy(np.ascontiguousarray(a)).to(self.device) for name, a in batch.items()}
        policy, entropy, kl, clip_fraction = losses.clipped_policy_loss_torch(
            self.actor.torch(flat, tensors["obs"]),
            tensors["action"],
            tensors["advantage"],
            tensors["log_prob"],
            tensors.get("mask"),
            clip_range=clip_range,
        )
        values = self.critic.torch(flat, tensors["obs"])[:, 0]
        value_loss = losses.value_loss_torch(values, tensors["return"], tensors["value"], clip_range_vf)
        (gradient,) = torch.autograd.grad(policy - ent_coef * entropy + vf_coef * value_loss, flat)
        self.parameters.grad[...] = gradient.cpu().numpy()
        return {
            "policy_loss": policy.item(),
            "value_loss": value_loss.item(),
            "entropy": entropy.item(),
            "approx_kl": kl.item(),
            "clip_fraction": clip_fraction.item(),
        }
