"""Text generated with the cut in place: read what the noise does.

The prompt's states cross the channel once, all together (prefill); then every new token's state crosses on its own
(decode). Layer l's keys and values belong to the side that runs layer l and are never read by the other: the user
equipment's cache holds layers 1 … p, computed from clean states, the edge server's holds p + 1 … L, computed from
received ones and never repaired afterwards. Both lie in one cache object of transformers, layer by layer, so that masks
and positions are its own and an identity channel generates exactly what the uncut model does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mbrl_split.channels.base import Channel
from mbrl_split.llm.stack import Stack


@dataclass(frozen=True)
class Generation:
    """A generated continuation; printing it shows the text.

    Attributes:
        text: The new text alone ("" for a model without a tokenizer).
        prompt_ids: Token ids of the prompt, (tokens,).
        new_ids: Token ids that were generated, (n,).
        split: Layers before the channel.
        transmissions: Crossings of the channel: one for the prompt, then one per token that was fed back.
        sent: Tokens whose state crossed the channel.
    """

    text: str
    prompt_ids: Tensor
    new_ids: Tensor
    split: int
    transmissions: int
    sent: int

    def __str__(self) -> str:
        return self.text


def transmission_seed(seed: int, *crossing: int) -> int:
    """The channel seed of a crossing: it follows from the seed and the crossing's indices alone."""
    return int(np.random.SeedSequence([seed, *crossing]).generate_state(1, np.uint64)[0] >> np.uint64(1))


@torch.no_grad()
def generate(
    model: Any, stack: Stack, ids: Tensor, split: int, channel: Channel, n: int, seed: int, settings: dict[str, Any]
) -> tuple[Tensor, list[int]]:
    """At most n new token ids, (n,), and how many tokens' states crossed the channel in each transmission."""
    sent: list[int] = []

    def transmit(hidden: Tensor) -> Tensor:
        received = channel(hidden, seeds=[transmission_seed(seed, len(sent))])
        sent.append(hidden.shape[1])
        return received.to(hidden)

    if model.generation_config.pad_token_id is None:
        settings = {"pad_token_id": 0, **settings}  # a batch of one is never padded; transformers only wants to be told
    devices = [ids.device] if ids.device.type == "cuda" else []
    with stack.transformed(split, transmit), torch.random.fork_rng(devices):
        torch.manual_seed(seed)  # of a sampled continuation (do_sample=True); the caller's generator is left alone
        out: Tensor = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=n,
            **{"do_sample": False, "num_beams": 1, "use_cache": True, **settings},
        )
    return out[0, ids.shape[1] :], sent
