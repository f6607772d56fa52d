"""The clean passes of an oracle's text windows, made once each and kept as long as memory allows."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor

from mbrl_split.llm import SplitModel, window_nll


@dataclass(frozen=True)
class Clean:
    """What one window gives without a channel.

    Attributes:
        states: Hidden states after 0 … L layers, (L + 1, window, d).
        nll: Capped NLL, nats/token.
    """

    states: Tensor
    nll: float


class CleanPasses:
    """Clean passes by window, the least recently used forgotten first.

    Each window is passed alone. Its bits then cannot depend on company or on what is cached, and a run that needs
    eight windows pays for eight.

    Args:
        model: The model.
        windows: Token ids of all windows, (n, window + 1).
        max_bytes: Most bytes of states to keep; at least one window is kept.
    """

    def __init__(self, model: SplitModel, windows: Tensor, max_bytes: int) -> None:
        self.model, self.windows, self.max_bytes = model, windows, max_bytes
        self._kept: OrderedDict[int, Clean] = OrderedDict()

    def __getitem__(self, index: int) -> Clean:
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        ids = self.windows[index : index + 1]
        states = self.model.prefix(ids[:, :-1])
        logits = self.model.suffix(states[-1], self.model.n_layers)
        nll, _ = window_nll(logits, ids, math.log(self.model.vocab_size))
        clean = Clean(states[:, 0], float(nll[0]))
        self._kept[index] = clean
        size = clean.states.numel() * clean.states.element_size()
        while len(self._kept) > max(1, self.max_bytes // size):
            self._kept.popitem(last=False)
        return clean
