"""Text generated with the cut in place: read what the noise does.

The prompt's states cross the channel once, all together (prefill); then every new token's state crosses on its own
(decode). Layer l's keys and values belong to the side that runs layer l and are never read by the other: the user
equipment's cache holds layers 1 … p, computed from clean states, the edge server's holds p + 1 … L, computed from
received ones and never repaired afterwards. Both lie in one cache object of transformers, layer by layer, so that masks
and positions are its own and an identity channel generates exactly what the uncut model does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mbrl_split.channels.base import Channel
from mbrl_split.errors import InvalidInputError

if TYPE_CHECKING:
    from mbrl_split.llm.split_model import SplitModel


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


def transmission_seed(seed: int, transmission: int) -> int:
    """The channel seed of the k-th crossing: it follows from (seed, k) alone."""
    return int(np.random.SeedSequence([seed, transmission]).generate_state(1, np.uint64)[0] >> np.uint64(1))


@torch.no_grad()
def generate(
    model: SplitModel,
    prompt: str | Tensor,
    split: int,
    channel: Channel,
    *,
    max_new_tokens: int = 64,
    seed: int = 0,
    **settings: Any,
) -> Generation:
    """See :meth:`mbrl_split.llm.SplitModel.generate`."""
    model._check_split(split, 1, model.n_layers - 1)
    ids = _prompt_ids(model, prompt)
    if max_new_tokens < 1:
        raise InvalidInputError(f"max_new_tokens is at least 1, not {max_new_tokens}")
    if seed < 0:
        raise InvalidInputError(f"a seed is not negative: {seed}")
    if ids.shape[1] + max_new_tokens > model.max_window:
        raise InvalidInputError(
            f"{ids.shape[1]} prompt tokens and {max_new_tokens} new ones do not fit {model.name}, which takes at most "
            f"{model.max_window}"
        )
    transmissions = sent = 0

    def transmit(hidden: Tensor) -> Tensor:
        nonlocal transmissions, sent
        received = channel(hidden, seeds=[transmission_seed(seed, transmissions)])
        transmissions, sent = transmissions + 1, sent + hidden.shape[1]
        return received.to(hidden)

    own = model.model.generation_config
    if own.pad_token_id is None and "pad_token_id" not in settings:
        settings["pad_token_id"] = 0  # a batch of one is never padded; transformers only wants to be told
    devices = [ids.device] if ids.device.type == "cuda" else []
    with model.stack.transformed(split, transmit), torch.random.fork_rng(devices):
        torch.manual_seed(seed)  # of a sampled continuation (do_sample=True); the caller's generator is left alone
        out = model.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=max_new_tokens,
            **{"do_sample": False, "num_beams": 1, "use_cache": True, **settings},
        )
    new = out[0, ids.shape[1] :]
    text = "" if model.tokenizer is None else model.tokenizer.decode(new, skip_special_tokens=True)
    return Generation(text, ids[0].cpu(), new.cpu(), split, transmissions, sent)


def _prompt_ids(model: SplitModel, prompt: str | Tensor) -> Tensor:
    """The prompt as ids, (1, tokens); text is tokenised without special tokens, as the evaluation windows are."""
    if isinstance(prompt, str):
        if model.tokenizer is None:
            raise InvalidInputError(f"{model.name} has no tokenizer: give the prompt as token ids, (1, tokens)")
        prompt = torch.tensor([model.tokenizer(prompt, add_special_tokens=False)["input_ids"]], dtype=torch.long)
        if prompt.shape[1] == 0:
            raise InvalidInputError("the prompt is empty")
    if prompt.ndim != 2 or prompt.shape[0] != 1:
        raise InvalidInputError(f"a prompt of token ids has shape (1, tokens), not {tuple(prompt.shape)}")
    return model._checked(prompt)
