"""The truth about a language model: its perplexity through a channel, measured live."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from mbrl_split.channels import Channel
from mbrl_split.columns import check_rows
from mbrl_split.data import documents as read_documents
from mbrl_split.errors import InvalidInputError
from mbrl_split.layer_split.oracle.clean import CleanPasses
from mbrl_split.layer_split.oracle.context import channel_of, check_context
from mbrl_split.layer_split.records import WINDOW_DTYPE
from mbrl_split.layer_split.scenarios import PROTOCOL_VERSION, Scenario
from mbrl_split.layer_split.scenarios import scenario as named_scenario
from mbrl_split.llm import SplitModel, cut_windows, protocol_line, window_nll
from mbrl_split.oracles.base import Measurement, Oracle, Price, check_seeds, measurement_key
from mbrl_split.registry import CHANNELS
from mbrl_split.threads import one_torch_thread

CACHE_BYTES = 1_500_000_000
"""Clean states kept by default; with SmolLM2-135M (0.5 GB of weights, 9 MB a window) a pool of 128 fits."""

_WINDOWS, _CHANNEL = 0, 1  # what a row's seed is used for: two independent streams


class PerplexityOracle(Oracle):
    """Measures the damage D of a cut language model: capped NLL through the channel minus clean NLL, nats/token.

    A row is a split and a context. Its seed fixes which windows of the pool are read (without replacement) and the
    channel's randomness, whatever the split and the context: rows with equal seeds share text and standard normal
    noise (common random numbers). One evaluation is one batch of ``scenario.windows`` windows; larger sizes are
    several such batches, of which the first is the smaller evaluation of the same seed. While measuring, torch runs
    one thread, so that a row's bits depend on row, seed and size alone.

    Args:
        model: The model; it needs a tokenizer.
        scenario: What is measured, through which channel, at which size; or its name.
        documents: The text.
        pool: Windows the oracle may read, spread evenly over the text; 0: all. Default ``scenario.pool``.
        draws: Channel draws per window, all of which count in the size.
        cache_bytes: Most bytes of clean hidden states to keep.

    Attributes:
        windows: Token ids of the pool, (pool, window + 1).
        reference_rms: Unit of the context's noise, to six digits.

    Raises:
        InvalidInputError: The text holds too few windows, the window does not fit the model, or the context's columns
            do not fit the channel.

    Example:
        >>> from mbrl_split.oracles import Ledger
        >>> from mbrl_split.layer_split import PerplexityOracle
        >>> oracle = PerplexityOracle.load("tiny-llama", "equalised")
        >>> ledger = Ledger(oracle, budget=10)
        >>> early, late = ledger.measure([[2, 0.5, 1.0], [10, 0.5, 1.0]], seeds=[0, 0]).mean  # split, noise, m
        >>> bool(early > late), round(ledger.spent, 2)  # two evaluations, and the clean reading of their eight windows
        (True, 3.0)
    """

    def __init__(
        self,
        model: SplitModel,
        scenario: str | Scenario,
        documents: Sequence[str],
        *,
        pool: int | None = None,
        draws: int = 1,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        scenario = named_scenario(scenario)
        check_context(scenario.channel, [column.name for column in scenario.context])
        if scenario.window > model.max_window:
            raise InvalidInputError(
                f"a window of {scenario.window} does not fit {model.name}, which takes {model.max_window} tokens"
            )
        wanted = scenario.pool if pool is None else pool
        if draws != int(draws) or draws < 1:
            raise InvalidInputError(f"draws is an integer of at least 1, not {draws}")
        if wanted < 0:
            raise InvalidInputError(f"a pool is a number of windows, or 0 for all, not {wanted}")
        every = cut_windows(documents, model.tokenizer, scenario.window)
        size = min(len(every), wanted) or len(every)
        if size < scenario.windows:
            raise InvalidInputError(f"the text gives {size} windows, and one evaluation reads {scenario.windows}")
        self.model, self.scenario, self.draws = model, scenario, int(draws)
        self.windows = every[torch.arange(size) * len(every) // size]
        # Six digits: the last bits of a measured RMS may differ between machines, and would orphan stored measurements.
        self.reference_rms = float(f"{model.reference_rms:.6g}")
        for end in ("low", "high"):  # a range that the channel refuses is refused now, not at some later row
            channel_of(scenario.channel, {c.name: getattr(c, end) for c in scenario.context}, self.reference_rms)
        self.columns = scenario.columns(model.n_layers)
        self.evaluation_size, self.unit = scenario.tokens, "tokens"
        self.reference_evaluations = scenario.pool / scenario.windows
        self.identity = self._identity()
        self._cap = math.log(model.vocab_size)
        self._clean = CleanPasses(model, self.windows, cache_bytes)

    @classmethod
    def load(
        cls,
        model: str | SplitModel,
        scenario: str | Scenario,
        *,
        part: str = "replay",
        device: str = "cpu",
        pool: int | None = None,
        draws: int = 1,
        cache_bytes: int = CACHE_BYTES,
    ) -> Self:
        """The oracle of a named model on one part of the scenario's text.

        Args:
            model: A name :meth:`SplitModel.load` knows, or a loaded model (then ``device`` is the model's own).
            scenario: A scenario or its name.
            part: ``"replay"`` (learning), ``"judge"`` or ``"lockbox"``.
            device: Any torch device.
            pool: As for the class; default ``scenario.pool`` for ``"replay"`` and all windows elsewhere.
            draws: As for the class.
            cache_bytes: As for the class.

        Raises:
            InvalidInputError: An unknown model, scenario, part or device, or what the class refuses.
        """
        scenario = named_scenario(scenario)
        text = read_documents(scenario.text, part)
        if pool is None and part != "replay":
            pool = 0
        loaded = model if isinstance(model, SplitModel) else SplitModel.load(model, device=device)
        return cls(loaded, scenario, text, pool=pool, draws=draws, cache_bytes=cache_bytes)

    @property
    def protocol(self) -> str:
        """How one true evaluation measures perplexity, in words."""
        scenario, dtype = self.scenario, str(self.model.dtype).removeprefix("torch.")
        words = protocol_line(scenario.windows, scenario.window, self.model.vocab_size, dtype, 1, 0)
        return f"text {scenario.text!r}, {words.partition(', seed')[0]} per evaluation; protocol {PROTOCOL_VERSION}"

    def price(self, X: ArrayLike, *, seeds: ArrayLike, size: int | None = None) -> Price:
        plain, window = super().price(X, seeds=seeds, size=size), self.scenario.window
        count, rest = divmod(plain.size, window * self.draws)
        if rest or count > len(self.windows):
            raise InvalidInputError(
                f"size is a multiple of the window's tokens times the draws, {window * self.draws}, and at most "
                f"{window * self.draws * len(self.windows)} (the pool's {len(self.windows)} windows), not {plain.size}"
            )
        references = tuple(self._windows_of(int(seed), count) for seed in np.asarray(seeds))
        return replace(plain, references=references, reference_size=window)

    def key(self, row: ArrayLike, *, seed: int, size: int) -> str:
        sizes = (size // self.draws, self.draws)
        return measurement_key(self.identity, row, seed=seed, sizes=sizes, version=PROTOCOL_VERSION)

    def measure(self, X: ArrayLike, *, seeds: ArrayLike, size: int | None = None) -> Measurement:
        x = check_rows(X, self.columns)
        price = self.price(x, seeds=seeds, size=size)
        s = check_seeds(seeds, len(x))
        with one_torch_thread():
            parts = [
                self._measure_row(row, int(seed), windows)
                for row, seed, windows in zip(x, s, price.references, strict=True)
            ]
        return Measurement.concatenate(parts) if parts else Measurement.empty()

    def _measure_row(self, row: NDArray[np.float64], seed: int, windows: NDArray[np.int64]) -> Measurement:
        started = time.perf_counter()
        split = int(row[0])
        context = {column.name: float(value) for column, value in zip(self.scenario.context, row[1:], strict=True)}
        channel = channel_of(self.scenario.channel, context, self.reference_rms)
        size = self.scenario.windows
        records, n_capped = [], 0
        for draw in range(self.draws):
            for start in range(0, len(windows), size):
                batch, capped = self._measure_batch(channel, split, seed, windows[start : start + size], draw)
                records.append(batch)
                n_capped += capped
        found = np.concatenate(records)
        damage = found["nll"] - found["clean_nll"]
        # All windows hold equally many tokens, so plain means are token-weighted.
        by_window = damage.reshape(self.draws, len(windows)).mean(axis=0)
        n = len(by_window)
        return Measurement(
            mean=np.array([damage.mean()]),
            std_error=np.array([by_window.std(ddof=1) / math.sqrt(n) if n > 1 else math.nan]),
            size=np.array([n * self.scenario.window * self.draws]),
            n_capped=np.array([n_capped]),
            seconds=np.array([time.perf_counter() - started]),
            records=found,
        )

    def _measure_batch(
        self, channel: Channel, split: int, seed: int, windows: NDArray[np.int64], draw: int
    ) -> tuple[NDArray[np.void], int]:
        """The records of one batch of windows, and how many of them were capped."""
        clean = [self._clean[int(i)] for i in windows]
        sent = torch.stack([c.states[split] for c in clean])
        realisation = channel.sample(sent.shape, _channel_seeds(seed, windows, draw))
        received = channel.apply(sent, realisation)
        nll, capped = window_nll(self.model.suffix(received, split), self.windows[windows], self._cap)
        gains = realisation.block_gains
        records = np.zeros(len(windows), WINDOW_DTYPE)
        records["window"], records["draw"], records["tokens"] = windows, draw, self.scenario.window
        records["gain"] = np.nan if gains is None else gains
        records["nll"] = nll.cpu().numpy()
        records["clean_nll"] = [c.nll for c in clean]
        return records, int(capped.sum())

    def _windows_of(self, seed: int, count: int) -> NDArray[np.int64]:
        """The windows a seed reads: the first of one permutation, so that a larger size begins like a smaller one."""
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_WINDOWS,)))
        return rng.permutation(len(self.windows))[:count].astype(np.int64)

    def _identity(self) -> str:
        model, scenario = self.model, self.scenario
        text = hashlib.sha256(self.windows.numpy().astype("<i8").tobytes()).hexdigest()[:16]
        # Fields at their defaults are left out, so that a later field does not orphan earlier measurements.
        spec = scenario.channel
        told = {f.name: getattr(spec, f.name) for f in fields(spec) if getattr(spec, f.name) != f.default}
        if CHANNELS.origin(spec.kind):  # another version of the package may do something else
            told["by"] = CHANNELS.origin(spec.kind)
        channel = " ".join(f"{k}={v}" for k, v in {"kind": spec.kind, **told}.items())
        columns = ",".join(column.name for column in self.columns)
        return (
            f"perplexity model={model.fingerprint} dtype={model.dtype} device={model.device.type} "
            f"rms={self.reference_rms!r} text={text} pool={len(self.windows)} window={scenario.window} "
            f"windows={scenario.windows} {channel} columns={columns}"
        )


def _channel_seeds(seed: int, windows: NDArray[np.int64], draw: int) -> NDArray[np.uint64]:
    """The channel's seeds for one draw of some windows: neither split nor context has a part in them."""
    keys = [(_CHANNEL, int(window), draw) for window in windows]
    return np.concatenate([np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64) for key in keys])
