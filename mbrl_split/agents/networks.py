"""Small multilayer perceptrons whose parameters are views of one flat vector.

One vector means one optimiser step, one norm and one copy for everything. Products and derivatives are written out in
numpy: at 64 units and batches of a few hundred rows, a framework spends most of its time between the operations.
:meth:`MLP.torch` is the same function under torch's autograd, for devices other than the CPU and for the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mbrl_split.interaction.spaces import Array

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

Activation = Literal["tanh", "relu"]


class Parameters:
    """A flat vector of parameters and its gradient, with named views.

    Args:
        shapes: Name to shape, in the order of the vector.
        dtype: float32, or float64 for numerical checks.
    """

    def __init__(self, shapes: dict[str, tuple[int, ...]], dtype: Any = np.float32) -> None:
        self.offsets: dict[str, tuple[int, int, tuple[int, ...]]] = {}
        size = 0
        for name, shape in shapes.items():
            end = size + int(np.prod(shape))
            self.offsets[name] = (size, end, shape)
            size = end
        self._lay(np.zeros(size, dtype=dtype), np.zeros(size, dtype=dtype))

    def _lay(self, value: Array, grad: Array) -> None:
        self.value, self.grad = value, grad
        self.views, self.grads = self._named(value), self._named(grad)

    def _named(self, flat: Array) -> dict[str, Array]:
        return {name: flat[a:b].reshape(shape) for name, (a, b, shape) in self.offsets.items()}

    def span(self, prefix: str) -> slice:
        """Where the consecutive parameters whose names begin with ``prefix`` lie in the vector."""
        places = [place for name, place in self.offsets.items() if name.startswith(prefix)]
        return slice(places[0][0], places[-1][1])

    def restore(self, views: dict[str, Array]) -> None:
        """Take over the values of named views."""
        for name, view in views.items():
            self.views[name][...] = view

    def autograd(
        self,
        loss: Callable[[torch.Tensor, Tensors], tuple[torch.Tensor, Tensors]],
        batch: dict[str, Array],
        device: str,
    ) -> dict[str, float]:
        """Write a gradient into ``grad`` by torch's autograd, computed on a device.

        Args:
            loss: (flat parameters, batch) → (the loss, further scalars).
            batch: Named arrays.
            device: Any of torch's.

        Returns:
            The further scalars.
        """
        import torch

        flat = torch.from_numpy(self.value).to(device).clone().requires_grad_()
        tensors = {name: torch.from_numpy(np.ascontiguousarray(a)).to(device) for name, a in batch.items()}
        value, scalars = loss(flat, tensors)
        (gradient,) = torch.autograd.grad(value, flat)
        self.grad[...] = gradient.cpu().numpy()
        return {name: scalar.item() for name, scalar in scalars.items()}

    # A copied or pickled view is an array of its own, which no optimiser moves: views are not copied but made anew.

    def __getstate__(self) -> dict[str, Any]:
        return {"offsets": self.offsets, "value": self.value, "grad": self.grad}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.offsets = state["offsets"]
        self._lay(state["value"], state["grad"])


class MLP:
    """A perceptron with hidden layers of one activation and a linear head, y = h(… h(x·W₀ + b₀) …)·W_k + b_k.

    Weights start orthogonal, with gain √2 in hidden layers and ``head_gain`` in the head; biases at zero.

    Args:
        name: Prefix of its parameters: ``name.w0``, ``name.b0``, …
        sizes: Inputs, hidden units of each layer, outputs.
        parameters: Where its parameters live; made with :meth:`shapes`.
        rng: Draws the initial weights; None leaves the parameters as they are.
    """

    def __init__(
        self,
        name: str,
        sizes: Sequence[int],
        parameters: Parameters,
        *,
        activation: Activation = "tanh",
        head_gain: float = 1.0,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.name, self.sizes, self.activation = name, tuple(sizes), activation
        self.parameters = parameters
        self._names = [(f"{name}.w{i}", f"{name}.b{i}") for i in range(len(sizes) - 1)]
        self._look()
        self._tape: list[Array] = []
        if rng is not None:
            for i, (weight, _) in enumerate(self.layers):
                gain = head_gain if i == len(self.layers) - 1 else np.sqrt(2.0)
                weight[...] = gain * orthogonal(weight.shape, rng)

    def _look(self) -> None:
        views, grads = self.parameters.views, self.parameters.grads
        self.layers = [(views[w], views[b]) for w, b in self._names]
        self._grads = [(grads[w], grads[b]) for w, b in self._names]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("layers", "_grads")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._look()

    @staticmethod
    def shapes(name: str, sizes: Sequence[int]) -> dict[str, tuple[int, ...]]:
        """Names and shapes of its parameters."""
        shapes: dict[str, tuple[int, ...]] = {}
        for i, (n_in, n_out) in enumerate(pairwise(sizes)):
            shapes[f"{name}.w{i}"] = (n_in, n_out)
            shapes[f"{name}.b{i}"] = (n_out,)
        return shapes

    def __call__(self, x: Array) -> Array:
        """Outputs of a batch, (n, sizes[0]) to (n, sizes[-1])."""
        for weight, bias in self.layers[:-1]:
            x = x @ weight
            x += bias
            self._activate(x)
        return self._head(x)

    def forward(self, x: Array) -> Array:
        """As calling it, and remembers what :meth:`backward` needs."""
        self._tape = [x]
        for weight, bias in self.layers[:-1]:
            x = x @ weight
            x += bias
            self._activate(x)
            self._tape.append(x)
        return self._head(x)

    def _head(self, x: Array) -> Array:
        weight, bias = self.layers[-1]
        out: Array = x @ weight
        out += bias
        return out

    def backward(self, d_out: Array) -> None:
        """Write the gradient of a loss into ``parameters.grad``, given its derivative by the outputs, (n, out)."""
        d = d_out
        for i in range(len(self.layers) - 1, -1, -1):
            x, (weight, _), (d_weight, d_bias) = self._tape[i], self.layers[i], self._grads[i]
            np.matmul(x.T, d, out=d_weight)
            np.add.reduce(d, axis=0, out=d_bias)
            if i:
                d = d @ weight.T
                if self.activation == "tanh":
                    slope = x * x
                    np.subtract(1.0, slope, out=slope)
                    d *= slope
                else:
                    d *= x > 0

    def _activate(self, x: Array) -> None:
        """In place."""
        if self.activation == "tanh":
            np.tanh(x, out=x)
        else:
            np.maximum(x, 0.0, out=x)

    def torch(self, flat: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The same function of a flat parameter tensor, for autograd on any device."""
        for i, names in enumerate(self._names):
            (a, b, shape), (c, d, _) = (self.parameters.offsets[n] for n in names)
            x = x @ flat[a:b].view(shape) + flat[c:d]
            if i < len(self._names) - 1:
                x = x.tanh() if self.activation == "tanh" else x.relu()
        return x


def orthogonal(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """A matrix with orthonormal rows or columns, uniform over such matrices (QR of a Gaussian, signs fixed)."""
    rows, columns = shape
    gaussian = rng.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(gaussian)
    q = q * np.sign(np.diag(r))
    return q if rows >= columns else q.T
