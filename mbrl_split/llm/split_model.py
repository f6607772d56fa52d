"""A causal language model cut at a layer: the first p layers on the user equipment, the rest on the edge server."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

from mbrl_split.channels.base import Channel
from mbrl_split.errors import InvalidInputError, UnsupportedError
from mbrl_split.llm.fingerprint import fingerprint
from mbrl_split.llm.generate import Generation, generate
from mbrl_split.llm.load import load_pretrained
from mbrl_split.llm.residual import first_layer_rms, sample_ids
from mbrl_split.llm.stack import Stack, find_layers, largest_difference, refuse_uncuttable

# Share of the largest logit by which an identity cut may miss; where the same kernels run it is bit-equal.
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 5e-3, torch.float64: 1e-10}


class SplitModel:
    """Any decoder-only Hugging Face causal LM, with the states that would cross a channel at each split.

    Split p means: p layers run before the channel, L − p after it. The model's own forward does all the work, so that
    masks, positions and caches are its own; the model is put in evaluation mode, and its layers are meddled with only
    during a call (which is therefore not to be made from two threads at once).

    Args:
        hf_model: A causal LM of transformers, weights loaded.
        tokenizer: Its tokenizer; needed by whatever starts from text.
        name: What to call it in reports; default the name it was loaded under.

    Attributes:
        model: The Hugging Face model.
        card: What is known of a shipped or fetched model (perplexities, residual sizes, provenance); else empty.

    Raises:
        UnsupportedError: The model cannot be cut: an encoder-decoder, a state-space model, remote code, not causal,
            or a model whose identity cut does not reproduce its own logits.

    Example:
        >>> import torch
        >>> from mbrl_split.llm import SplitModel
        >>> model = SplitModel.load("tiny-llama")
        >>> tokens = torch.arange(20, 30)[None]
        >>> states = model.prefix(tokens)  # (layers + 1, batch, tokens, width), in one pass
        >>> torch.allclose(model.suffix(states[4], 4), model.logits(tokens), atol=1e-5)
        True
    """

    def __init__(self, hf_model: Any, tokenizer: Any = None, *, name: str | None = None) -> None:
        refuse_uncuttable(hf_model)
        self.model: Any = hf_model.eval()
        self.tokenizer: Any = tokenizer
        self.stack = Stack(find_layers(hf_model))
        self.config: Any = hf_model.config.get_text_config()
        self.name: str = name or getattr(hf_model.config, "name_or_path", "") or type(hf_model).__name__
        self.card: dict[str, Any] = {}
        self._check_identity()

    @classmethod
    def load(cls, name: str, *, device: str = "cpu", dtype: str = "float32") -> Self:
        """A shipped model, a fetched one, a local folder, or a model of the Hugging Face hub.

        Args:
            name: ``"tiny-llama"``, ``"tiny-gpt2"``; ``"smollm2-135m"`` (once fetched); a path; or a hub id.
            device: Any torch device, ``"cpu"``, ``"cuda"``, ``"cuda:1"``.
            dtype: ``"float32"`` or ``"bfloat16"``.

        Raises:
            InvalidInputError: No such model, device or dtype, or the hub cannot be reached.
            UnsupportedError: The model cannot be cut.
        """
        model, tokenizer, card = load_pretrained(name, device=device, dtype=dtype)
        loaded = cls(model, tokenizer, name=str(name))
        loaded.card = card
        return loaded

    @property
    def n_layers(self) -> int:
        """L, the number of decoder layers."""
        return len(self.stack)

    @property
    def hidden_size(self) -> int:
        """d, the width of the hidden state."""
        return int(self.config.hidden_size)

    @property
    def vocab_size(self) -> int:
        return int(self.config.vocab_size)

    @property
    def max_window(self) -> int:
        """Most tokens one forward pass may hold, as the config states it (2**20 where it states none)."""
        for key in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
            if isinstance(limit := getattr(self.config, key, None), int):
                return limit
        return 2**20

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device  # type: ignore[no-any-return]

    @property
    def dtype(self) -> torch.dtype:
        return next(self.model.parameters()).dtype  # type: ignore[no-any-return]

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of the SHA-256 over architecture, config and weights."""
        return fingerprint(self.model)

    @cached_property
    def reference_rms(self) -> float:
        """Unit of the scenarios' noise: median token RMS of the hidden state after layer 1, on the shipped text.

        Taken from a shipped model's card, else measured once (see ``mbrl_split.llm.residual``).
        """
        if "reference_rms" in self.card:
            return float(self.card["reference_rms"])
        if self.tokenizer is None:
            raise InvalidInputError(f"{self.name} has no tokenizer, which measuring its reference RMS needs")
        return first_layer_rms(self.model, self.stack, self._checked(sample_ids(self.tokenizer, self.max_window)))

    @torch.no_grad()
    def prefix(self, input_ids: Tensor) -> Tensor:
        """What would cross the channel at every split, in one forward pass.

        Args:
            input_ids: Token ids, (batch, tokens).

        Returns:
            States, (L+1, batch, tokens, d): ``states[p]`` is the hidden state after p layers; ``states[0]`` are the
            embeddings, ``states[L]`` comes before the final norm.
        """
        ids = self._checked(input_ids)
        states: Tensor | None = None

        def keep(p: int, hidden: Tensor) -> None:
            nonlocal states
            if states is None:
                states = hidden.new_empty((self.n_layers + 1, *hidden.shape))
            states[p] = hidden

        with self.stack.observed(keep):
            self.model.base_model(input_ids=ids, use_cache=False)  # without the head
        if states is None or states.shape[1:3] != ids.shape:
            raise UnsupportedError(
                f"{type(self.model).__name__} cannot be cut: its layers carry no (batch, tokens, d) state"
            )
        return states

    @torch.no_grad()
    def suffix(self, hidden: Tensor, split: int, *, input_ids: Tensor | None = None) -> Tensor:
        """Run the layers behind the cut on a received hidden state: exact replay, the rest is skipped.

        Args:
            hidden: Received state, (batch, tokens, d), for the positions 0 … tokens − 1.
            split: Layers that have already been run, 0 … L.
            input_ids: Token ids, (batch, tokens); only for a model whose later layers read them again.

        Returns:
            Logits, (batch, tokens, vocabulary).

        Raises:
            InvalidInputError: The split is not in 0 … L or the state has another shape.
        """
        self._check_split(split, 0, self.n_layers)
        if hidden.ndim != 3 or hidden.shape[-1] != self.hidden_size:
            raise InvalidInputError(
                f"a received state has shape (batch, tokens, {self.hidden_size}), not {tuple(hidden.shape)}"
            )
        hidden = hidden.to(self.device, self.dtype)
        if input_ids is None:
            input_ids = self._placeholder.expand(hidden.shape[:2])
        with self.stack.transformed(0, lambda _: hidden) if split == 0 else self.stack.skipped(0, split, hidden):
            logits: Tensor = self.model(input_ids=input_ids, use_cache=False).logits
        return logits

    @torch.no_grad()
    def logits(self, input_ids: Tensor) -> Tensor:
        """The uncut model's logits, (batch, tokens, vocabulary)."""
        logits: Tensor = self.model(input_ids=self._checked(input_ids), use_cache=False).logits
        return logits

    def generate(
        self,
        prompt: str | Tensor,
        split: int,
        channel: Channel,
        *,
        max_new_tokens: int = 64,
        seed: int = 0,
        **settings: Any,
    ) -> Generation:
        """Continue a text with the cut in place: prefill and decode, the channel applied to every transmitted state.

        Args:
            prompt: Text, or token ids (1, tokens).
            split: Layers before the channel, 1 … L−1.
            channel: What the radio does to a hidden state; ``Identity()`` generates exactly what the uncut model does.
            max_new_tokens: Most tokens to generate; an end-of-text token ends earlier.
            seed: The k-th crossing of the channel has its own seed, which follows from (seed, k).
            **settings: Any of transformers' generation settings; the default is greedy. ``repetition_penalty=1.2``
                keeps a small model from going in circles; ``do_sample=True`` samples, from ``seed`` too.

        Raises:
            InvalidInputError: The split is out of range, or the prompt is empty or too long.
        """
        self._check_split(split, 1, self.n_layers - 1)
        ids = self._prompt_ids(prompt)
        if max_new_tokens < 1:
            raise InvalidInputError(f"max_new_tokens is at least 1, not {max_new_tokens}")
        if seed < 0:
            raise InvalidInputError(f"a seed is not negative: {seed}")
        if ids.shape[1] + max_new_tokens > self.max_window:
            raise InvalidInputError(
                f"{ids.shape[1]} prompt tokens and {max_new_tokens} new ones do not fit {self.name}, which takes at "
                f"most {self.max_window}"
            )
        new, sent = generate(self.model, self.stack, ids, split, channel, max_new_tokens, seed, settings)
        text = "" if self.tokenizer is None else self.tokenizer.decode(new, skip_special_tokens=True)
        return Generation(text, ids[0].cpu(), new.cpu(), split, len(sent), sum(sent))

    @cached_property
    def _placeholder(self) -> Tensor:
        """A token id, (1, 1), whose embedding is thrown away; not the padding id, about which models warn."""
        padding = getattr(self.config, "pad_token_id", None)
        return torch.tensor([[1 if padding == 0 else 0]], device=self.device)

    def _check_split(self, split: int, low: int, high: int) -> None:
        if isinstance(split, bool) or int(split) != split or not low <= split <= high:
            raise InvalidInputError(f"a split of {self.name} is an integer in [{low}, {high}], not {split!r}")

    def _prompt_ids(self, prompt: str | Tensor) -> Tensor:
        """The prompt as ids, (1, tokens); text is tokenised without special tokens, as the evaluation windows are."""
        if isinstance(prompt, str):
            if self.tokenizer is None:
                raise InvalidInputError(f"{self.name} has no tokenizer: give the prompt as token ids, (1, tokens)")
            prompt = torch.tensor([self.tokenizer(prompt, add_special_tokens=False)["input_ids"]], dtype=torch.long)
            if prompt.shape[1] == 0:
                raise InvalidInputError("the prompt is empty")
        if prompt.ndim != 2 or prompt.shape[0] != 1:
            raise InvalidInputError(f"a prompt of token ids has shape (1, tokens), not {tuple(prompt.shape)}")
        return self._checked(prompt)

    def _checked(self, input_ids: Tensor) -> Tensor:
        if input_ids.ndim != 2 or 0 in input_ids.shape:
            raise InvalidInputError(f"token ids have shape (batch, tokens), not {tuple(input_ids.shape)}")
        if input_ids.shape[1] > self.max_window:
            raise InvalidInputError(
                f"{input_ids.shape[1]} tokens do not fit {self.name}, which takes at most {self.max_window}"
            )
        low, high = int(input_ids.min()), int(input_ids.max())
        if low < 0 or high >= self.vocab_size:
            raise InvalidInputError(
                f"token ids of {self.name} are in [0, {self.vocab_size - 1}], not {low if low < 0 else high}"
            )
        return input_ids.to(self.device)

    def _check_identity(self) -> None:
        """Refuse a model whose cut, with nothing in between, changes its logits, or that looks ahead."""
        what = type(self.model).__name__
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(self.vocab_size, (2, min(8, self.max_window)), generator=generator)
        try:
            whole = self.logits(ids)
            half = ids.shape[1] // 2
            ahead = largest_difference(self.logits(ids[:, :half]), whole[:, :half])
            states = self.prefix(ids)
            splits = sorted({1, self.n_layers // 2, self.n_layers - 1})
            errors = {p: largest_difference(self.suffix(states[p], p), whole) for p in splits}
        except UnsupportedError:
            raise
        except Exception as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise UnsupportedError(f"{what} cannot be cut: running part of its layers fails ({reason})") from error
        allowed = TOLERANCE.get(self.dtype, 1e-4) * whole.abs().max().item()
        split, worst = max(errors.items(), key=lambda item: item[1])
        if not worst <= allowed:
            raise UnsupportedError(
                f"{what} cannot be cut: at split {split} an identity channel changes its logits by {worst:.2g} "
                "(its later layers need more than the hidden state)"
            )
        if not ahead <= allowed:
            raise UnsupportedError(f"{what} is not causal: its logits change with later tokens")
