"""How large the hidden state is at each depth."""

from __future__ import annotations

import torch

from mbrl_split.llm.residual import sample_ids, token_rms
from mbrl_split.llm.split_model import SplitModel


def residual_rms(model: SplitModel) -> list[float]:
    """Median over tokens of the RMS of the hidden state after 0 … L layers, L + 1 numbers; entry 1 is the reference."""
    batches = torch.split(sample_ids(model.tokenizer, model.max_window), 8)
    rms = torch.cat([token_rms(model.prefix(ids)) for ids in batches], dim=1)
    return [float(x) for x in rms.flatten(1).median(dim=1).values]
