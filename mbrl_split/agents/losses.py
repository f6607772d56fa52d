"""The losses of the policy-gradient agents with their derivatives written out, and the same losses under autograd.

The derivatives are short: for a categorical policy, ∂log p_a/∂logits = onehot(a) − p and
∂H/∂logits = −p·(log p + H). The tests hold them against torch's autograd.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mbrl_split.agents.categorical import log_softmax
from mbrl_split.interaction.spaces import Array

if TYPE_CHECKING:
    import torch

    from mbrl_split.agents.networks import Tensors


def clipped_policy_loss(
    logits: Array, batch: dict[str, Array], *, clip_range: float, ent_coef: float
) -> tuple[dict[str, float], Array]:
    """PPO's loss −min(ρ·A, clip(ρ, 1 ± ε)·A) (Schulman et al., 2017). An infinite clip range gives the plain ρ·A.

    Args:
        logits: (n, A).
        batch: ``action``, ``advantage``, ``log_prob`` (by the policy that acted), each (n,); perhaps ``mask``, (n, A).
        clip_range: ε.
        ent_coef: Weight of the entropy bonus.

    Returns:
        Scalars of the minibatch: ``policy_loss``, its mean without the entropy bonus; ``entropy``, the mean, nats;
        ``approx_kl``, an estimate of KL(old ‖ new), mean of (ratio − 1) − log ratio (Schulman's k3);
        ``clip_fraction``, the share of rows whose ratio lies outside the clip range. And the derivative of
        loss − ent_coef·entropy by the logits, (n, A).
    """
    actions, advantages = batch["action"], batch["advantage"]
    n = len(actions)
    rows = np.arange(n)
    log_p, p = log_softmax(logits, batch.get("mask"))
    log_ratio = log_p[rows, actions] - batch["log_prob"]
    ratio = np.exp(log_ratio)
    clipped = np.minimum(np.maximum(ratio, 1 - clip_range), 1 + clip_range)
    gain, clipped_gain = ratio * advantages, clipped * advantages
    summand = p * log_p  # of the negative entropy
    # Where the clipped gain is the smaller one, the ratio is a constant and pulls no more.
    d_log_prob = np.where(gain <= clipped_gain, gain, 0)
    d_log_prob /= -n
    d_logits = p * -d_log_prob[:, None]
    d_logits[rows, actions] += d_log_prob
    if ent_coef:
        d_logits += (ent_coef / n) * (summand - p * summand.sum(axis=1, keepdims=True))
    scalars = {
        "policy_loss": -_mean(np.minimum(gain, clipped_gain)),
        "entropy": -float(np.add.reduce(summand, axis=None)) / n,
        "approx_kl": _mean(ratio) - 1 - _mean(log_ratio),
        "clip_fraction": np.count_nonzero(ratio != clipped) / n,
    }
    return scalars, d_logits


def _mean(x: Array) -> float:
    """As ``x.mean()`` of a vector, without that method's overhead."""
    return float(np.add.reduce(x)) / len(x)


def value_loss(values: Array, batch: dict[str, Array], clip_range_vf: float | None) -> tuple[float, Array]:
    """Mean squared error of the values and its derivative by them, each (n,); optionally PPO's clipped variant.

    Args:
        values: (n,).
        batch: ``return`` and ``value`` (of the network that acted), each (n,).
        clip_range_vf: PPO's ε of the values, or None.
    """
    n, returns, old_values = len(values), batch["return"], batch["value"]
    if clip_range_vf is None:
        error = values - returns
        return float(np.dot(error, error) / n), error * (2 / n)
    change = values - old_values
    error = old_values + np.clip(change, -clip_range_vf, clip_range_vf) - returns
    return float(np.dot(error, error) / n), np.where(np.abs(change) <= clip_range_vf, error * (2 / n), 0)


def clipped_policy_loss_torch(logits: torch.Tensor, batch: Tensors, *, clip_range: float) -> Tensors:
    """The scalars of :func:`clipped_policy_loss`, differentiable by autograd."""
    import torch

    advantages, mask = batch["advantage"], batch.get("mask")
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf)
    log_p = logits.log_softmax(dim=1)
    p = log_p.exp()
    if mask is not None:
        log_p = log_p.masked_fill(~mask, 0.0)
    log_ratio = log_p.gather(1, batch["action"][:, None])[:, 0] - batch["log_prob"]
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    return {
        "policy_loss": -torch.minimum(ratio * advantages, clipped * advantages).mean(),
        "entropy": -(p * log_p).sum(dim=1).mean(),
        "approx_kl": (ratio - 1 - log_ratio).mean(),
        "clip_fraction": ((ratio - 1).abs() > clip_range).float().mean(),
    }


def value_loss_torch(values: torch.Tensor, batch: Tensors, clip_range_vf: float | None) -> torch.Tensor:
    """:func:`value_loss`, differentiable by autograd."""
    if clip_range_vf is not None:
        values = batch["value"] + (values - batch["value"]).clamp(-clip_range_vf, clip_range_vf)
    return (values - batch["return"]).square().mean()
