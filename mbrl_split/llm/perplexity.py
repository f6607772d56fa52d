"""The perplexity of a text, uncut or through a channel; ``windows`` states the protocol."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from mbrl_split.channels.base import Channel
from mbrl_split.errors import InvalidInputError
from mbrl_split.llm.generate import transmission_seed
from mbrl_split.llm.split_model import SplitModel
from mbrl_split.llm.windows import cut_windows, window_nll


@dataclass(frozen=True)
class Perplexity:
    """A perplexity with all that is needed to compare it.

    Attributes:
        perplexity: exp(nll).
        nll: Token-weighted capped NLL over windows and draws, nats/token.
        std_error: Of ``nll``, between windows; nan with one window.
        mean_of_draws: Mean over channel draws of each draw's perplexity: never below ``perplexity`` (Jensen), and
            equal to it with one draw.
        clean_nll: The same windows without a channel.
        capped: Windows (over all draws) that were capped at ln(vocabulary).
        model, fingerprint, dtype: What was measured, and in which arithmetic.
        split, channel: Where it was cut and what was in between; None: uncut.
        windows, window, tokens, draws, seed: Size of the measurement; ``tokens`` are scored tokens per draw.
        protocol: The rest, in words.
    """

    perplexity: float
    nll: float
    std_error: float
    mean_of_draws: float
    clean_nll: float
    capped: int
    model: str
    fingerprint: str
    dtype: str
    split: int | None
    channel: str | None
    windows: int
    window: int
    tokens: int
    draws: int
    seed: int
    protocol: str

    def __str__(self) -> str:
        return (
            f"perplexity {self.perplexity:.2f} ({self.nll:.4f} ± {self.std_error:.4f} nats/token; clean "
            f"{math.exp(self.clean_nll):.2f}); {self.protocol}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


def perplexity(
    model: SplitModel,
    documents: Sequence[str],
    *,
    split: int | None = None,
    channel: Channel | None = None,
    window: int = 128,
    max_windows: int | None = None,
    draws: int = 1,
    seed: int = 0,
    batch: int = 8,
) -> Perplexity:
    """The perplexity of a text, uncut or through a channel at a split.

    Args:
        model: The model; it needs a tokenizer.
        documents: The text, for instance ``mbrl_split.data.documents("sotu", "replay")``.
        split: Layers before the channel, 1 … L−1; goes together with ``channel``.
        channel: What the radio does to the hidden state.
        window: Scored tokens per window.
        max_windows: Take only the first so many windows.
        draws: Channel draws per window; the seed of a draw follows from (seed, window, draw) alone.
        seed: Seed of the channel.
        batch: Windows per forward pass.

    Raises:
        InvalidInputError: The text is shorter than a window, the window is longer than the model takes, or only one of
            ``split`` and ``channel`` is given.

    Example:
        >>> from mbrl_split.channels import Radio
        >>> from mbrl_split.data import documents
        >>> from mbrl_split.llm import SplitModel, perplexity
        >>> model, text = SplitModel.load("tiny-llama"), documents("sotu", "judge")
        >>> found = perplexity(model, text, split=3, channel=Radio(noise_std=50.0), max_windows=2)
        >>> found.nll > found.clean_nll
        True
    """
    if (split is None) != (channel is None):
        raise InvalidInputError("a channel needs a split and a split a channel: give both, or neither")
    if draws < 1 or batch < 1 or seed < 0:
        raise InvalidInputError(
            f"draws and batch are at least 1 and the seed is not negative: {draws}, {batch}, {seed}"
        )
    if split is not None and not 1 <= split < model.n_layers:
        raise InvalidInputError(f"a split of {model.name} is an integer in [1, {model.n_layers - 1}], not {split!r}")
    windows = cut_windows(documents, model.tokenizer, window)[:max_windows]
    cap = math.log(model.vocab_size)
    clean = torch.empty(len(windows), dtype=torch.float64)
    nll = torch.empty(draws, len(windows), dtype=torch.float64)
    capped = torch.zeros(draws, len(windows), dtype=torch.bool)
    for start in range(0, len(windows), batch):
        ids = windows[start : start + batch]
        rows = slice(start, start + len(ids))
        if split is None or channel is None:
            clean[rows], capped[0, rows] = window_nll(model.logits(ids[:, :-1]), ids, cap)
            nll[:, rows] = clean[rows]
            continue
        states = model.prefix(ids[:, :-1])
        clean[rows], _ = window_nll(model.suffix(states[-1], model.n_layers), ids, cap)
        for draw in range(draws):
            seeds = [transmission_seed(seed, window_index, draw) for window_index in range(start, start + len(ids))]
            received = channel(states[split], seeds=seeds)
            nll[draw, rows], capped[draw, rows] = window_nll(model.suffix(received, split), ids, cap)
    per_window, mean = nll.mean(0), nll.mean().item()
    error = per_window.std().item() / math.sqrt(len(windows)) if len(windows) > 1 else math.nan
    return Perplexity(
        perplexity=math.exp(mean),
        nll=mean,
        std_error=error,
        mean_of_draws=nll.mean(1).exp().mean().item(),
        clean_nll=clean.mean().item(),
        capped=int(capped.sum()),
        model=model.name,
        fingerprint=model.fingerprint,
        dtype=str(model.dtype).removeprefix("torch."),
        split=split,
        channel=None if channel is None else repr(channel),
        windows=len(windows),
        window=window,
        tokens=len(windows) * window,
        draws=draws,
        seed=seed,
        protocol=protocol_line(
            len(windows), window, model.vocab_size, str(model.dtype).removeprefix("torch."), draws, seed
        ),
    )


def protocol_line(windows: int, window: int, vocabulary: int, dtype: str, draws: int, seed: int) -> str:
    """All that is needed to compare a perplexity, in words."""
    return (
        f"{windows * window} scored tokens in {windows} windows of {window} (stride {window + 1}, within documents, "
        f"remainders dropped), no BOS, capped at ln({vocabulary}), {dtype}, {draws} draw(s), seed {seed}"
    )
