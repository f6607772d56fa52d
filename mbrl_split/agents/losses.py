"""The losses of the policy-gradient agents with their derivatives written out, and the same losses under autograd.

The derivatives are short: for a categorical policy, ∂log p_a/∂logits = onehot(a) − p and
∂H/∂logits = −p·(log p + H). The tests hold them against torch's autograd.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mbrl_split.agents.categorical import log_softmax

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]


@dataclass(slots=True)
class PolicyLoss:
    """Loss of a minibatch and its derivative by the logits.

    Attributes:
        loss: Mean policy loss, the entropy bonus not included.
        entropy: Mean entropy, nats.
        d_logits: Derivative of loss − ent_coef·entropy, (n, A).
        kl: Estimate of KL(old ‖ new), mean of (ratio − 1) − log ratio (Schulman's k3).
        clip_fraction: Share of rows whose ratio lies outside the clip range.
    """

    loss: float
    entropy: float
    d_logits: Array
    kl: float
    clip_fraction: float


def clipped_policy_loss(
    logits: Array,
    actions: Array,
    advantages: Array,
    old_log_prob: Array,
    mask: Array | None,
    *,
    clip_range: float,
    ent_coef: float,
) -> PolicyLoss:
    """PPO's loss −min(ρ·A, clip(ρ, 1 ± ε)·A) (Schulman et al., 2017). An infinite clip range gives the plain ρ·A."""
    n = len(actions)
    rows = np.arange(n)
    log_p, p = log_softmax(logits, mask)
    log_ratio = log_p[rows, actions] - old_log_prob
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
    return PolicyLoss(
        loss=-_mean(np.minimum(gain, clipped_gain)),
        entropy=-float(np.add.reduce(summand, axis=None)) / n,
        d_logits=d_logits,
        kl=_mean(ratio) - 1 - _mean(log_ratio),
        clip_fraction=np.count_nonzero(ratio != clipped) / n,
    )


def _mean(x: Array) -> float:
    """As ``x.mean()`` of a vector, without that method's overhead."""
    return float(np.add.reduce(x)) / len(x)


def value_loss(values: Array, returns: Array, old_values: Array, clip_range_vf: float | None) -> tuple[float, Array]:
    """Mean squared error of the values and its derivative by them, each (n,); optionally PPO's clipped variant."""
    n = len(values)
    if clip_range_vf is None:
        error = values - returns
        return float(np.dot(error, error) / n), error * (2 / n)
    change = values - old_values
    error = old_values + np.clip(change, -clip_range_vf, clip_range_vf) - returns
    return float(np.dot(error, error) / n), np.where(np.abs(change) <= clip_range_vf, error * (2 / n), 0)


def clipped_policy_loss_torch(
    logits: torch.Tensor,
    actions: torch.Tensor,
    advantages: torch.Tensor,
    old_log_prob: torch.Tensor,
    mask: torch.Tensor | None,
    *,
    clip_range: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """(loss, mean entropy, KL estimate, clip fraction) as :func:`clipped_policy_loss`, differentiable by autograd."""
    import torch

    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf)
    log_p = logits.log_softmax(dim=1)
    p = log_p.exp()
    if mask is not None:
        log_p = log_p.masked_fill(~mask, 0.0)
    log_ratio = log_p.gather(1, actions[:, None])[:, 0] - old_log_prob
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    loss = -torch.minimum(ratio * advantages, clipped * advantages).mean()
    entropy = -(p * log_p).sum(dim=1).mean()
    kl = (ratio - 1 - log_ratio).mean()
    return loss, entropy, kl, ((ratio - 1).abs() > clip_range).float().mean()


def value_loss_torch(
    values: torch.Tensor, returns: torch.Tensor, old_values: torch.Tensor, clip_range_vf: float | None
) -> torch.Tensor:
    """:func:`value_loss`, differentiable by autograd."""
    if clip_range_vf is not None:
        values = old_values + (values - old_values).clamp(-clip_range_vf, clip_range_vf)
    return (values - returns).square().mean()
