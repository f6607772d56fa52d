"""An interpolated Kneser-Ney bigram: the yardstick that the tiny models must beat.

Kneser & Ney (1995); interpolated form and discount estimate as in Chen & Goodman (1999), section 3.
"""

from __future__ import annotations

import numpy as np


class KneserNeyBigram:
    """p(w | v) = max(c(v,w) − D, 0)/c(v) + D·N(v·)/c(v)·p₁(w), with p₁ the discounted continuation law."""

    def __init__(self, tokens: np.ndarray, vocabulary: int) -> None:
        pairs = tokens[:-1].astype(np.int64) * vocabulary + tokens[1:]
        seen, counts = np.unique(pairs, return_counts=True)
        left, right = np.divmod(seen, vocabulary)
        once, twice = int((counts == 1).sum()), int((counts == 2).sum())
        self.discount = once / (once + 2 * twice)
        self.vocabulary = vocabulary
        self._seen, self._counts = seen, counts
        self._context = np.bincount(left, weights=counts, minlength=vocabulary)
        self._followers = np.bincount(left, minlength=vocabulary)
        continuation = np.bincount(right, minlength=vocabulary).astype(float)
        # The continuation law itself backs off to the uniform law, so that an unseen token has mass.
        spare = self.discount * (continuation > 0).sum() / continuation.sum()
        self._unigram = np.maximum(continuation - self.discount, 0) / continuation.sum() + spare / vocabulary

    def nll(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """−log p(right | left) in nats, elementwise."""
        key = left.astype(np.int64) * self.vocabulary + right
        at = np.minimum(np.searchsorted(self._seen, key), len(self._seen) - 1)
        count = np.where(self._seen[at] == key, self._counts[at], 0)
        total = self._context[left]
        safe = np.maximum(total, 1)
        bigram = np.maximum(count - self.discount, 0) / safe
        weight = np.where(total > 0, self.discount * self._followers[left] / safe, 1.0)
        return -np.log(bigram + weight * self._unigram[right])
