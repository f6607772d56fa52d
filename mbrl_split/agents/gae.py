"""Generalised advantage estimation with the two masks it needs."""

from __future__ import annotations

import numpy as np

from mbrl_split.interaction.spaces import Array


def gae(
    rewards: Array,
    values: Array,
    next_values: Array,
    terminated: Array,
    ended: Array,
    *,
    gamma: float,
    gae_lambda: float,
) -> Array:
    """Advantages A_t = δ_t + γλ·A_{t+1} within an episode, δ_t = r_t + γ·V(s'_t) − V(s_t) (Schulman et al., 2016).

    Two masks: the value of the successor counts unless the episode *terminated*; the recursion stops wherever the
    episode *ended*, a truncation included. Selection by ``where``, so that a NaN beyond an end stays there.

    Args:
        rewards: (T, n).
        values: V(s_t), (T, n).
        next_values: V(s'_t) of the real successors, (T, n).
        terminated: The successor is a final state, (T, n).
        ended: Terminated or truncated, (T, n).
        gamma: Discount per step.
        gae_lambda: 0 is the one-step advantage, 1 the Monte Carlo return minus the value.

    Returns:
        Advantages, (T, n), in the dtype of ``values``.
    """
    delta = rewards + np.where(terminated, 0.0, gamma * next_values) - values
    advantages = np.empty_like(values)
    last = np.zeros(values.shape[1:], dtype=values.dtype)
    decay = gamma * gae_lambda
    for t in range(len(values) - 1, -1, -1):
        last = delta[t] + np.where(ended[t], 0.0, decay * last)
        advantages[t] = last
    return advantages
