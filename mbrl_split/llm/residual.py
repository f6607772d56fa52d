"""How large the hidden state is at each depth: the unit in which scenarios state their noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mbrl_split import data
from mbrl_split.errors import InvalidInputError
from mbrl_split.llm.perplexity import cut_windows

if TYPE_CHECKING:
    from mbrl_split.llm.split_model import SplitModel

WINDOWS, WINDOW = 32, 128
"""The sample: this many windows of this many tokens, evenly over the shipped text's replay part."""


def token_rms(states: Tensor) -> Tensor:
    """Root mean square over the last dimension: (…, tokens, d) to (…, tokens)."""
    return states.float().square().mean(-1).sqrt()


def sample_ids(model: SplitModel) -> Tensor:
    """The token ids on which residual sizes are stated, (windows, tokens)."""
    if model.tokenizer is None:
        raise InvalidInputError(f"{model.name} has no tokenizer, which measuring its reference RMS needs")
    window = min(WINDOW, model.max_window)
    ids = cut_windows(data.documents("sotu", "replay"), model.tokenizer, window - 1)
    step = max(1, len(ids) // WINDOWS)
    return ids[::step][:WINDOWS]


def residual_rms(model: SplitModel) -> list[float]:
    """Median over tokens of the RMS of the hidden state after 0 … L layers, L + 1 numbers; entry 1 is the reference."""
    rms = torch.cat([token_rms(model.prefix(ids)) for ids in torch.split(sample_ids(model), 8)], dim=1)
    return [float(x) for x in rms.flatten(1).median(dim=1).values]


def reference_rms(model: SplitModel) -> float:
    """Median over tokens of the RMS of the hidden state after layer 1; from a shipped model's card where it is there.

    Only layer 1 is run, so that it takes seconds with a large model too.
    """
    if "reference_rms" in model.card:
        return float(model.card["reference_rms"])
    kept: list[Tensor] = []

    def keep(p: int, hidden: Tensor) -> None:
        if p == 1:
            kept.append(token_rms(hidden).flatten())

    with torch.no_grad(), model.stack.observed(keep), model.stack.skipped(1, model.n_layers):
        for ids in torch.split(sample_ids(model), 8):
            model.model.base_model(input_ids=ids.to(model.device), use_cache=False)
    return float(torch.cat(kept).median())
