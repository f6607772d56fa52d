"""The decoder layers of a Hugging Face causal LM, and how a forward pass runs only some of them.

Layers are never called by hand: masks, rotary embeddings, soft-capping and caches stay in the model's own forward.
A skipped layer keeps its place in the stack; for one forward it answers with a given tensor instead of computing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mbrl_split.errors import UnsupportedError


def find_layers(model: Any) -> nn.ModuleList:
    """The decoder stack: the ``ModuleList`` as long as the config's ``num_hidden_layers``, the largest if several are.

    Raises:
        UnsupportedError: There is none, or it has fewer than two layers.
    """
    n_layers = model.config.get_text_config().num_hidden_layers
    stacks = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == n_layers]
    if not stacks or n_layers < 2:
        raise UnsupportedError(f"{type(model).__name__} cannot be cut: it has no stack of at least two decoder layers")
    return max(stacks, key=lambda stack: sum(p.numel() for p in stack.parameters()))


def hidden_of(output: Any) -> Any:
    """The hidden state in what a layer returned: the tensor itself or the first of a tuple."""
    return output[0] if isinstance(output, tuple) else output


def _with_hidden(args: tuple[Any, ...], kwargs: dict[str, Any], hidden: Tensor) -> tuple[Any, Any]:
    """A layer's call with another hidden state (positional everywhere we know, by name to be safe)."""
    return ((hidden, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": hidden})


class Stack:
    """The layers, with the three ways to meddle in one forward pass: observe, transform, skip.

    Attributes:
        layers: The model's own decoder layers.
        tuple_lengths: What each layer returns, as far as observed: None, the bare hidden state; n, a tuple of n with
            the hidden state first.
    """

    def __init__(self, layers: nn.ModuleList) -> None:
        self.layers = layers
        self.tuple_lengths: list[int | None] = [None] * len(layers)

    def __len__(self) -> int:
        return len(self.layers)

    @contextmanager
    def observed(self, see: Callable[[int, Tensor], None]) -> Iterator[None]:
        """Call ``see(p, hidden state after p layers)`` for p = 0 … L during the forward passes inside."""

        def entering(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            see(0, args[0] if args else kwargs["hidden_states"])

        def leaving(index: int) -> Callable[[nn.Module, Any, Any], None]:
            def hook(_: nn.Module, __: Any, output: Any) -> None:
                self.tuple_lengths[index] = len(output) if isinstance(output, tuple) else None
                see(index + 1, hidden_of(output))

            return hook

        with ExitStack() as hooks:
            hooks.callback(self.layers[0].register_forward_pre_hook(entering, with_kwargs=True).remove)
            for index, layer in enumerate(self.layers):
                hooks.callback(layer.register_forward_hook(leaving(index)).remove)
            yield

    @contextmanager
    def transformed(self, split: int, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
        """Replace the hidden state that enters layer ``split`` (0 … L−1, counted from 0) by ``change`` of it."""

        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
            return _with_hidden(args, kwargs, change(args[0] if args else kwargs["hidden_states"]))

        handle = self.layers[split].register_forward_pre_hook(hook, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()

    @contextmanager
    def skipped(self, first: int, last: int, received: Tensor | None = None) -> Iterator[None]:
        """Let layers ``first`` … ``last − 1`` return ``received`` (None: their own input) without computing."""

        def skip(length: int | None) -> Callable[..., Any]:
            def forward(*args: Any, **kwargs: Any) -> Any:
                hidden = received
                if hidden is None:
                    hidden = args[0] if args else kwargs["hidden_states"]
                return hidden if length is None else (hidden, *(None,) * (length - 1))

            return forward

        chosen = list(range(first, last))
        shadowed = {index: vars(self.layers[index]).get("forward") for index in chosen}
        try:
            for index in chosen:
                # An attribute of the instance hides the method of its class, hooks and attributes stay.
                self.layers[index].forward = skip(self.tuple_lengths[index])
            yield
        finally:
            for index, before in shadowed.items():
                vars(self.layers[index]).pop("forward", None)
                if before is not None:
                    self.layers[index].forward = before


def refuse_uncuttable(model: Any) -> None:
    """Refuse kinds of model whose layers do not hand over everything in one hidden state.

    Raises:
        UnsupportedError: An encoder-decoder, a state-space or recurrent model, or code that is not transformers' own.
    """
    name = type(model).__name__
    config = getattr(model, "config", None)
    if config is None or not hasattr(config, "get_text_config"):
        raise UnsupportedError(f"{name} is not a Hugging Face model: SplitModel takes a causal LM of transformers")
    if type(model).__module__.startswith("transformers_modules."):
        raise UnsupportedError(f"{name} runs remote code: only architectures that are part of transformers can be cut")
    if config.is_encoder_decoder:
        raise UnsupportedError(f"{name} is an encoder-decoder model: the cut needs one stack of decoder layers")
    if getattr(model, "_is_stateful", False):
        raise UnsupportedError(
            f"{name} is a state-space or recurrent model: its layers keep a state that the cut cannot send"
        )


@torch.no_grad()
def largest_difference(a: Tensor, b: Tensor) -> float:
    """max |a − b|, inf where a value is not finite or the shapes differ."""
    if a.shape != b.shape:
        return float("inf")
    difference = (a.double() - b.double()).abs().max().item()
    return difference if difference == difference else float("inf")
