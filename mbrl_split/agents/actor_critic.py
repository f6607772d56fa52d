"""An actor and a critic, separate perceptrons in one flat parameter vector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mbrl_split.agents import losses
from mbrl_split.agents.networks import MLP, Activation, Parameters
from mbrl_split.interaction.spaces import Array

if TYPE_CHECKING:
    import torch

    from mbrl_split.agents.networks import Tensors


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
        clip_range: float = np.inf,
        clip_range_vf: float | None = None,
        ent_coef: float = 0.0,
        vf_coef: float = 1.0,
        autograd: bool = False,
    ) -> dict[str, float]:
        """Write the gradient of policy loss − ent_coef·entropy + vf_coef·value loss into ``parameters.grad``.

        Args:
            batch: ``obs``, ``action``, ``advantage``, ``log_prob``, ``return``, ``value`` (old) and perhaps ``mask``.
            clip_range: PPO's ε; infinite for the plain policy gradient.
            clip_range_vf: ε of the values, or None.
            ent_coef: Weight of the entropy bonus.
            vf_coef: Weight of the value loss.
            autograd: Let torch compute it, on the CPU as well.

        Returns:
            Losses and diagnostics of the minibatch.
        """
        if autograd or self.device != "cpu":

            def loss(flat: torch.Tensor, told: Tensors) -> tuple[torch.Tensor, Tensors]:
                found = losses.clipped_policy_loss_torch(
                    self.actor.torch(flat, told["obs"]), told, clip_range=clip_range
                )
                values = self.critic.torch(flat, told["obs"])[:, 0]
                found["value_loss"] = losses.value_loss_torch(values, told, clip_range_vf)
                return found["policy_loss"] - ent_coef * found["entropy"] + vf_coef * found["value_loss"], found

            return self.parameters.autograd(loss, batch, self.device)
        scalars, d_logits = losses.clipped_policy_loss(
            self.actor.forward(batch["obs"]), batch, clip_range=clip_range, ent_coef=ent_coef
        )
        values = self.critic.forward(batch["obs"])[:, 0]
        scalars["value_loss"], d_values = losses.value_loss(values, batch, clip_range_vf)
        self.actor.backward(d_logits)
        self.critic.backward(vf_coef * d_values[:, None])
        return scalars

    def value_gradient(self, batch: dict[str, Array]) -> float:
        """Write the gradient of the mean squared error of the values, and of nothing else; returns the loss."""
        if self.device != "cpu":
            still = dict(batch, advantage=np.zeros_like(batch["advantage"]))
            return self.gradient(still)["value_loss"]
        self.parameters.grad[...] = 0
        loss, d_values = losses.value_loss(self.critic.forward(batch["obs"])[:, 0], batch, None)
        self.critic.backward(d_values[:, None])
        return loss
