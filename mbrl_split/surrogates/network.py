"""Several small networks as one batched product, and what surrogates made of them share."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mbrl_split.errors import InvalidInputError
from mbrl_split.surrogates.prediction import Array
from mbrl_split.surrogates.warped import WarpedSurrogate

_CHUNK = 128


class StackedNetwork:
    """``members`` multi-layer perceptrons of equal shape; each layer is one batched matrix product.

    Args:
        members: How many networks.
        sizes: Width of the input, the hidden layers and the output.
        seed: Each member is initialised by its own generator, so a member does not depend on how many there are.
        device: Where the weights live.
    """

    def __init__(self, members: int, sizes: Sequence[int], *, seed: int, device: str = "cpu") -> None:
        self.weights: list[Tensor] = []
        self.biases: list[Tensor] = []
        generators = [
            torch.Generator().manual_seed(int(s.generate_state(1, np.uint64)[0] >> np.uint64(1)))
            for s in np.random.SeedSequence([seed, 1]).spawn(members)
        ]
        for fan_in, fan_out in itertools.pairwise(sizes):
            stack = [torch.randn(fan_in, fan_out, generator=g) / math.sqrt(fan_in) for g in generators]
            self.weights.append(torch.stack(stack).to(device).requires_grad_())
            self.biases.append(torch.zeros(members, 1, fan_out, device=device, requires_grad=True))
        # On a CPU these share the parameters' memory, which only ever changes in place: worth keeping, since a small
        # question costs little more than the way to the weights.
        self._arrays = self._shared_arrays()

    @property
    def parameters(self) -> list[Tensor]:
        """All weights, then all biases; the first dimension is the member."""
        return [*self.weights, *self.biases]

    def __call__(self, x: Tensor) -> Tensor:
        """Outputs (members, n, out) for inputs (n, d), with gradients."""
        h = x.expand(len(self.weights[0]), *x.shape)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            h = functional.silu(torch.baddbmm(bias, h, weight))
        # Transposed: products with an output one or two wide are slow the other way round.
        return torch.baddbmm(self.biases[-1].mT, self.weights[-1].mT, h.mT).mT

    def answer(self, c: Array, *, hidden: bool = False) -> NDArray[np.float64]:
        """Outputs (members, n, out), or the last hidden layer, for coordinates (n, d): without gradients, in chunks
        whose activations stay in the processor's cache, and multiplied by numpy, whose small products cost less."""
        x = c.astype(np.float32)
        *layers, last = self._arrays or self._as_arrays()
        parts = []
        for start in range(0, max(len(x), 1), _CHUNK):
            h = x[start : start + _CHUNK]
            for weight, bias in layers:
                h = np.matmul(h, weight)
                h += bias
                functional.silu(torch.from_numpy(h), inplace=True)
            parts.append(h if hidden else np.matmul(h, last[0]) + last[1])
        return (parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)).astype(np.float64)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_arrays": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A copy's arrays must share the copy's memory, or it would go on answering by the weights it was copied with.
        vars(self).update(state)
        self._arrays = self._shared_arrays()

    def _shared_arrays(self) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]] | None:
        return self._as_arrays() if self.weights[0].device.type == "cpu" else None

    def _as_arrays(self) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Weights and biases, layer by layer."""
        pairs = zip(self.weights, self.biases, strict=True)
        return [(w.detach().cpu().numpy(), b.detach().cpu().numpy()) for w, b in pairs]

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """The weights by name."""
        return {f"network.{i}": p.detach().cpu().numpy() for i, p in enumerate(self.parameters)}

    @torch.no_grad()
    def restore(self, arrays: Mapping[str, NDArray[np.float32]]) -> None:
        """The inverse of :meth:`arrays`."""
        for i, p in enumerate(self.parameters):
            p.copy_(torch.from_numpy(arrays[f"network.{i}"]))


def log_variance(output: Tensor) -> Tensor:
    """Log noise variance from a member's second output: it bends smoothly into [−9, 3]."""
    return -3 + 6 * torch.tanh(output / 6)


def train(
    network: StackedNetwork,
    x: Array,
    z: Array,
    weights: Array,
    held_out: Array,
    *,
    loss: Literal["mse", "beta-nll"],
    steps: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    seed: int,
    warm: bool = False,
    check_every: int = 10,
    patience: int = 15,
) -> None:
    """Train all members at once; each ends with the weights that did best on its own held-out rows.

    β-NLL (Seitzer et al. 2022, β = 1/2) weighs each row's Gaussian likelihood by its predicted standard deviation, so
    that rows which look noisy early are still fitted.

    Args:
        network: Changed in place.
        x: Inputs, (n, d).
        z: Targets, (n,).
        weights: Weight of each row in the loss of each member, (members, n).
        held_out: Weight of each row in each member's stopping rule, (members, n). A member without any keeps the
            weights of the moment at which the others, together, did best; if there are no others, the last.
        loss: Squared error of output 0, or β-NLL of outputs 0 and 1.
        steps: At most so many optimiser steps.
        batch_size: Rows per step.
        learning_rate: Of Adam; it falls to a twentieth along a half cosine.
        weight_decay: Decoupled.
        seed: Of the order of rows.
        warm: The network goes on from an earlier training: a third of the steps and of the learning rate.
        check_every: Steps between two looks at the held-out rows.
        patience: Looks without any member's improvement before training stops.
    """
    if warm:
        steps, learning_rate = max(1, steps // 3), learning_rate / 3
    parameters = network.parameters
    device = parameters[0].device
    x_all, z_all, w_all, h_all = (
        torch.from_numpy(np.asarray(a, dtype=np.float32)).to(device) for a in (x, z, weights, held_out)
    )
    groups: list[dict[str, Any]] = [{"params": network.weights}, {"params": network.biases, "weight_decay": 0.0}]
    make_optimizer: Any = torch.optim.AdamW  # untyped in torch
    optimizer = make_optimizer(groups, lr=learning_rate, weight_decay=weight_decay, fused=True)
    generator = torch.Generator().manual_seed(seed)
    n = len(x_all)
    order: list[Any] = []
    watched = h_all.sum(dim=1) > 0
    best = torch.full((len(h_all),), torch.inf, device=device)
    snapshot = [p.detach().clone() for p in parameters]
    stale = 0
    for step in range(1, steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * (0.525 + 0.475 * math.cos(math.pi * step / steps))
        if not order and n <= batch_size:
            order = [slice(None)]
        elif not order:
            order = list(torch.split(torch.randperm(n, generator=generator).to(device), batch_size))
        rows = order.pop()
        row_loss, w = _losses(network(x_all[rows]), z_all[rows], loss), w_all[:, rows]
        total = (row_loss * w).sum(dim=1) / w.sum(dim=1).clamp_min(1e-6)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(total.sum())
        optimizer.step()
        if step % check_every == 0 or step == steps:
            with torch.no_grad():
                output = torch.from_numpy(network.answer(x).astype(np.float32)).to(device)
                now = (_losses(output, z_all, "mse" if loss == "mse" else "nll") * h_all).sum(dim=1)
                # A member that holds nothing out looks at the sum over the others.
                now = torch.where(watched, now, now.sum() if bool(watched.any()) else -float(step))
                better = now < best
                best = torch.where(better, now, best)
                for kept, p in zip(snapshot, parameters, strict=True):
                    kept[better] = p.detach()[better]
            stale = 0 if bool(better.any()) else stale + 1
            if stale >= patience:
                break
    with torch.no_grad():
        for kept, p in zip(snapshot, parameters, strict=True):
            p.copy_(kept)


def _losses(output: Tensor, z: Tensor, loss: Literal["mse", "nll", "beta-nll"]) -> Tensor:
    """Loss of each row of each member, (members, n)."""
    if loss == "mse":
        return (output[..., 0] - z) ** 2
    mean, spread = output[..., 0], log_variance(output[..., 1])
    nll = 0.5 * (spread + (z - mean) ** 2 * torch.exp(-spread))
    return nll * torch.exp(0.5 * spread).detach() if loss == "beta-nll" else nll


@dataclass(eq=False, kw_only=True)
class NetworkSurrogate(WarpedSurrogate):
    """Base of the surrogates made of networks: their settings, their training, and their weights on disk."""

    hidden: Sequence[int] = (128, 128)
    steps: int = 600
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3
    device: str = "cpu"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.hidden = [int(h) for h in self.hidden]
        if min(self.hidden, default=0) < 1 or min(self.steps, self.batch_size) < 1:
            raise InvalidInputError("hidden widths, steps and batch_size are at least 1")

    @abstractmethod
    def _layout(self) -> tuple[int, int]:
        """How many networks there are, and how many outputs each has."""

    def _new_network(self, width: int) -> StackedNetwork:
        members, outputs = self._layout()
        return StackedNetwork(members, [width, *self.hidden, outputs], seed=self.seed, device=self.device)

    def _train_network(self, c: Array, z: Array, weights: Array, held_out: Array, *, warm: bool, **more: Any) -> None:
        """:func:`train` with these settings; ``more`` are those that only the subclass knows."""
        if not warm:
            self._network = self._new_network(c.shape[1])
        own = {name: getattr(self, name) for name in ("batch_size", "learning_rate", "weight_decay", "seed")}
        train(self._network, c, z, weights, held_out, warm=warm, **own, **more)

    def _state(self) -> dict[str, Any]:
        return super()._state() | self._network.arrays()

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        self._network = self._new_network(len(self._scaler.centre))
        self._network.restore(state)
