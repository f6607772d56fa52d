"""The contract of an oracle: what truly measures the costly number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.columns import Column, check_rows
from mbrl_split.errors import BadInput

WINDOW_DTYPE = np.dtype(
    [
        ("query", np.int64),  # row of X the window belongs to
        ("window", np.int64),  # index of the text window in the oracle's pool
        ("draw", np.int64),  # channel draw
        ("gain", np.float64),  # |h| of the draw; nan where the channel has no single gain
        ("nll", np.float64),  # capped NLL through the channel, nats/token
        ("clean_nll", np.float64),  # capped NLL of the same window without the channel, nats/token
        ("tokens", np.int64),  # scored tokens
    ]
)
"""One record per window and draw of a measurement."""


@dataclass(frozen=True)
class Measurement:
    """What an oracle found for n queries; every array has shape (n,).

    Attributes:
        mean: The measured number. For a language model the damage D: capped NLL minus clean NLL, nats/token,
            token-weighted over windows and draws.
        std_error: Standard error of ``mean`` (between windows); nan with fewer than two windows.
        n_tokens: Scored tokens, per draw.
        n_draws: Channel draws.
        n_capped: Windows whose NLL was capped (including those that were not finite).
        seconds: Seconds the measurement took when it was truly made.
        windows: Records of :data:`WINDOW_DTYPE`, ordered by query; empty where an oracle has no windows.
    """

    mean: NDArray[np.float64]
    std_error: NDArray[np.float64]
    n_tokens: NDArray[np.int64]
    n_draws: NDArray[np.int64]
    n_capped: NDArray[np.int64]
    seconds: NDArray[np.float64]
    windows: NDArray[np.void] = field(default_factory=lambda: np.empty(0, WINDOW_DTYPE))

    def __len__(self) -> int:
        return len(self.mean)

    @classmethod
    def concatenate(cls, parts: Sequence[Measurement]) -> Measurement:
        """Join measurements row after row; the ``query`` field of the windows is renumbered."""
        offsets = np.cumsum([0, *(len(p) for p in parts)])
        windows = [p.windows.copy() for p in parts]
        for part, offset in zip(windows, offsets, strict=False):
            part["query"] += offset
        names = [f.name for f in fields(cls) if f.name != "windows"]
        joined = {n: np.concatenate([getattr(p, n) for p in parts]) for n in names}
        return cls(**joined, windows=np.concatenate(windows))

    def take(self, keep: ArrayLike) -> Measurement:
        """The rows where ``keep``, shape (n,), is true; the ``query`` field of the windows is renumbered."""
        kept = np.asarray(keep, dtype=np.bool_)
        windows = self.windows[kept[self.windows["query"]]]
        windows["query"] = (np.cumsum(kept) - 1)[windows["query"]]
        names = [f.name for f in fields(self) if f.name != "windows"]
        return Measurement(**{n: getattr(self, n)[kept] for n in names}, windows=windows)

    @classmethod
    def empty(cls) -> Measurement:
        """A measurement of no queries."""
        f, i = np.empty(0), np.empty(0, np.int64)
        return cls(f, f, i, i, i, f)


@dataclass(frozen=True)
class Price:
    """What a measurement will take, known before anything is measured.

    Attributes:
        n_tokens: Scored tokens per row and draw.
        n_draws: Channel draws.
        references: For each row the text windows it uses; a window's clean reference is charged once per ledger.
        reference_tokens: Scored tokens of one window's clean reference.
    """

    n_tokens: int
    n_draws: int
    references: tuple[NDArray[np.int64], ...]
    reference_tokens: int = 0


def check_seeds(seeds: ArrayLike, n: int) -> NDArray[np.int64]:
    """The seeds as int64 of shape (n,).

    Raises:
        BadInput: Not one non-negative integer per row.
    """
    s = np.asarray(seeds)
    if s.shape != (n,):
        raise BadInput(f"seeds holds one integer per row, shape ({n},), not {s.shape}")
    if n and not np.issubdtype(s.dtype, np.integer):
        raise BadInput(f"seeds are integers, not {s.dtype}")
    if n and (s.min() < 0 or s.max() > np.iinfo(np.int64).max):
        raise BadInput(f"seeds are in [0, 2**63), not {s[(s < 0) | (s > np.iinfo(np.int64).max)][0]}")
    return s.astype(np.int64)


class Oracle(ABC):
    """Measures the costly number truly. Implementations know nothing of budgets: ask through a ``Ledger``.

    Attributes:
        columns: What the columns of ``X`` mean.
        identity: A string that fixes everything a stored measurement depends on except (row, seed, size): model,
            text, channel, protocol version. Part of the store's key; empty where nothing can vouch for it, and then
            a ledger refuses to keep the oracle's measurements in a store that others may read.
        tokens_per_evaluation: Size of one *true evaluation*, the unit in which truth is counted.
    """

    columns: tuple[Column, ...]
    identity: str
    tokens_per_evaluation: int

    def price(self, X: ArrayLike, *, seeds: ArrayLike, tokens: int | None = None, draws: int | None = None) -> Price:
        """What :meth:`measure` with the same arguments will take; measures nothing.

        Oracles that read text override it to name the windows of each row.

        Raises:
            BadInput: Whatever :meth:`measure` would refuse.
        """
        x = check_rows(X, self.columns)
        check_seeds(seeds, len(x))
        n_tokens = self.tokens_per_evaluation if tokens is None else tokens
        n_draws = 1 if draws is None else draws
        for name, value in (("tokens", n_tokens), ("draws", n_draws)):
            if value != int(value) or value < 1:
                raise BadInput(f"{name} is an integer of at least 1, not {value}")
        none = np.empty(0, np.int64)
        return Price(int(n_tokens), int(n_draws), (none,) * len(x))

    @abstractmethod
    def measure(
        self, X: ArrayLike, *, seeds: ArrayLike, tokens: int | None = None, draws: int | None = None
    ) -> Measurement:
        """Measure every row of ``X``.

        Args:
            X: Queries, shape (n, len(columns)).
            seeds: One non-negative integer per row: the text windows and the channel of the row follow from it
                alone, so rows with equal seeds share them (common random numbers).
            tokens: Scored tokens per row; default the declared size.
            draws: Channel draws per window; default 1.

        Returns:
            The measurement, row by row; a row's bits do not depend on the other rows.

        Raises:
            BadInput: A row is outside the columns' ranges, or the size cannot be measured.
        """
