"""Optimisers over one flat vector; each equals its namesake in torch (or TensorFlow) step by step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_split.agents.networks import Parameters
from mbrl_split.interaction.finite import NonFiniteError, check_finite

Array = NDArray[Any]


class Optimiser(ABC):
    """Clips the gradient's norm and moves the parameters."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def step(self, learning_rate: float, *, max_grad_norm: float | None, env_step: int) -> float:
        """One step along ``parameters.grad``; returns the norm of the gradient before clipping.

        Raises:
            NonFiniteError: The gradient is not finite; the parameters are untouched.
        """
        grad = self.parameters.grad
        norm = math.sqrt(np.dot(grad, grad))
        if not math.isfinite(norm):
            for name, part in self.parameters.grads.items():
                check_finite(f"the gradient of {name}", part, env_step)
            raise NonFiniteError(f"the gradient's norm overflows at environment step {env_step}")
        if max_grad_norm is not None and norm > max_grad_norm:
            grad *= max_grad_norm / (norm + 1e-6)
        self._move(learning_rate)
        return norm

    @abstractmethod
    def _move(self, learning_rate: float) -> None: ...

    @abstractmethod
    def state(self) -> dict[str, Any]: ...

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None: ...


class Adam(Optimiser):
    """Adam (Kingma and Ba, 2015) without weight decay.

    The moments are kept as plain sums, m/(1 − β₁) and v/(1 − β₂), and every factor that is the same for all parameters
    is drawn into two numbers: ten passes over the vector instead of thirteen.
    """

    def __init__(self, parameters: Parameters, *, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-5) -> None:
        super().__init__(parameters)
        self.beta1, self.beta2, self.eps = beta1, beta2, eps
        self._m, self._v = np.zeros_like(parameters.value), np.zeros_like(parameters.value)
        self._t = 0
        self._a, self._b = np.empty_like(self._m), np.empty_like(self._m)

    def _move(self, learning_rate: float) -> None:
        g, m, v, a, b = self.parameters.grad, self._m, self._v, self._a, self._b
        self._t += 1
        m *= self.beta1
        m += g
        v *= self.beta2
        v += np.multiply(g, g, out=a)
        first = (1 - self.beta1) / (1 - self.beta1**self._t)  # m̂ = first·m, √v̂ = second·√v
        second = math.sqrt((1 - self.beta2) / (1 - self.beta2**self._t))
        np.sqrt(v, out=a)
        a += self.eps / second
        np.divide(m, a, out=b)
        b *= learning_rate * first / second
        self.parameters.value -= b

    def state(self) -> dict[str, Any]:
        return {"m": self._m, "v": self._v, "t": self._t}

    def restore(self, state: dict[str, Any]) -> None:
        self._m[...], self._v[...], self._t = state["m"], state["v"], state["t"]


class RMSprop(Optimiser):
    """RMSprop (Tieleman and Hinton, 2012) as torch has it: the average starts at zero, eps stands outside the root."""

    def __init__(self, parameters: Parameters, *, alpha: float = 0.99, eps: float = 1e-5) -> None:
        super().__init__(parameters)
        self.alpha, self.eps = alpha, eps
        self._v = np.zeros_like(parameters.value)

    def _move(self, learning_rate: float) -> None:
        g, v = self.parameters.grad, self._v
        v *= self.alpha
        v += (1 - self.alpha) * (g * g)
        self.parameters.value -= learning_rate * (g / self._deviation())

    def _deviation(self) -> Array:
        return np.asarray(np.sqrt(self._v) + self.eps)

    def state(self) -> dict[str, Any]:
        return {"v": self._v}

    def restore(self, state: dict[str, Any]) -> None:
        self._v[...] = state["v"]


class TensorFlowRMSprop(RMSprop):
    """RMSprop as TensorFlow has it: the average starts at one, so that first steps are short; eps inside the root."""

    def __init__(self, parameters: Parameters, *, alpha: float = 0.99, eps: float = 1e-5) -> None:
        super().__init__(parameters, alpha=alpha, eps=eps)
        self._v[...] = 1.0

    def _deviation(self) -> Array:
        return np.asarray(np.sqrt(self._v + self.eps))
