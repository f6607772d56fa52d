"""What the receiver puts in the place of what was lost.

A lost element is replaced by its own coordinate of *earlier* tokens only. The mean over the whole transmission would
show a causal model its future: the perplexity would fall for a reason that no decoder has.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Concealment = Literal["zero", "previous", "mean"]


def conceal(hidden: Tensor, keep: Tensor, how: Concealment) -> Tensor:
    """Replace what was lost.

    Args:
        hidden: What was sent, (batch, tokens, d).
        keep: What arrives, boolean, (batch, tokens, d) or (batch, tokens, 1).
        how: ``"zero"``; ``"previous"``, the same coordinate of the last token in which it arrived; ``"mean"``, the
            mean of that coordinate over the tokens so far in which it arrived. Zero where nothing arrived before.

    Returns:
        (batch, tokens, d).
    """
    received = torch.where(keep, hidden, 0)  # where, not a product: 0·inf is nan
    if how == "zero":
        return received
    if how == "previous":
        position = torch.arange(hidden.shape[1], device=hidden.device)[:, None]
        last = torch.where(keep, position, 0).cummax(dim=1).values  # token 0 if lost is 0 in `received` already
        return received.gather(1, last.expand(hidden.shape))
    count = keep.cumsum(dim=1).clamp_min(1)
    mean = received.to(torch.float64).cumsum(dim=1) / count
    return torch.where(keep, hidden, mean.to(hidden.dtype))
