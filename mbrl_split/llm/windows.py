"""A text in windows, their NLL, and the protocol without which a perplexity cannot be compared.

**Protocol.** Each document is tokenised on its own, without special tokens (no BOS in any window), and cut into
consecutive windows of ``window + 1`` tokens that do not overlap; what is left at a document's end is dropped. The first
token of a window is context only, so ``window`` tokens are scored. The NLL of a window is the mean over its scored
tokens of −ln p(token | earlier tokens of the window), in nats, accumulated in float64 and capped at ln(vocabulary):
what uniform guessing would cost. A value that is not finite counts as the cap; what was capped is flagged, never
dropped. All windows hold equally many tokens, so the mean over windows is token-weighted, and
perplexity = exp(total NLL / scored tokens), never a mean of windows' perplexities.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mbrl_split.errors import InvalidInputError


def cut_windows(documents: Sequence[str], tokenizer: Any, window: int) -> Tensor:
    """Token ids of all windows of the documents, (n, window + 1), in order; see the protocol above.

    Raises:
        InvalidInputError: ``window`` is below 1, or no document is as long as one window.
    """
    if window < 1:
        raise InvalidInputError(f"a window scores at least 1 token, not {window}")
    if tokenizer is None:
        raise InvalidInputError("cutting a text into windows needs a tokenizer")
    cut, longest = [], 0
    for document in documents:
        # verbose=False: a document longer than the model's context is no mistake here.
        ids = torch.tensor(tokenizer(document, add_special_tokens=False, verbose=False)["input_ids"], dtype=torch.long)
        count = len(ids) // (window + 1)
        longest = max(longest, len(ids))
        cut.append(ids[: count * (window + 1)].reshape(count, window + 1))
    windows = torch.cat(cut) if cut else torch.empty(0, window + 1, dtype=torch.long)
    if not len(windows):
        raise InvalidInputError(
            f"the text is shorter than a window: its longest document has {longest} tokens, a window {window + 1} "
            "(in one file, blank lines separate documents; a folder of files has one document per file)"
        )
    return windows


def window_nll(logits: Tensor, ids: Tensor, cap: float) -> tuple[Tensor, Tensor]:
    """NLL of each window, capped.

    Args:
        logits: Predictions from the inputs ``ids[:, :-1]``, (batch, window, vocabulary).
        ids: Token ids of the windows, (batch, window + 1).
        cap: Largest NLL a window can have, in nats/token: ln(vocabulary).

    Returns:
        Mean NLL per scored token of each window in nats, (batch,) float64, at most ``cap``; and whether it was capped
        (above the cap, or not finite), (batch,) bool.
    """
    if logits.shape[:2] != (ids.shape[0], ids.shape[1] - 1):
        raise InvalidInputError(
            f"logits {tuple(logits.shape)} do not belong to the inputs of windows {tuple(ids.shape)}"
        )
    targets = ids[:, 1:].to(logits.device)
    # Window by window: the log-softmax of one stays in cache, and no second copy of all logits is made.
    nll = torch.stack(
        [
            functional.cross_entropy(row.float(), target, reduction="none").double().mean()
            for row, target in zip(logits, targets, strict=True)
        ]
    )
    capped = ~torch.isfinite(nll) | (nll > cap * (1 + 1e-6))  # uniform guessing itself is not capped by a rounding
    return torch.where(capped, torch.full_like(nll, cap), nll.clamp(max=cap)), capped
