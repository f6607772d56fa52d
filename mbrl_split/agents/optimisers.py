"""Optimisers over one flat vector; each equals its namesake in torch (or TensorFlow) step by step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np

from mbrl_split.agents.checkpoint import Stateful
from mbrl_split.agents.networks import Parameters
from mbrl_split.interaction.finite import NonFiniteError, check_finite
from mbrl_split.interaction.spaces import Array


class Optimiser(Stateful, ABC):
    """Clips the gradient's norm and moves the parameters.

    Args:
        parameters: Where values and gradients are.
        part: Moves only those whose names begin with this.
    """

    def __init__(self, parameters: Parameters, part: str = "") -> None:
        self.parameters, self.part, self.span = parameters, part, parameters.span(part)

    def step(self, learning_rate: float, *, max_grad_norm: float | None, env_step: int) -> float:
        """One step along ``parameters.grad``; returns the norm of the gradient before clipping.

        Raises:
            NonFiniteError: The gradient is not finite; the parameters are untouched.
        """
        value, grad = self.parameters.value[self.span], self.parameters.grad[self.span]
        norm = math.sqrt(np.dot(grad, grad))
        if not math.isfinite(norm):
            for name, tensor in self.parameters.grads.items():
                if name.startswith(self.part):
                    check_finite(f"the gradient of {name}", tensor, env_step)
            raise NonFiniteError(f"the gradient's norm overflows at environment step {env_step}")
        if max_grad_norm is not None and norm > max_grad_norm:
            grad *= max_grad_norm / (norm + 1e-6)
        value -= self._descent(grad, learning_rate)
        return norm

    @abstractmethod
    def _descent(self, g: Array, learning_rate: float) -> Array:
        """What to take from the parameters, given their gradient."""


class Adam(Optimiser):
    """Adam (Kingma and Ba, 2015) without weight decay.

    The moments are kept as plain sums, m/(1 − β₁) and v/(1 − β₂), and every factor that is the same for all parameters
    is drawn into two numbers: ten passes over the vector instead of thirteen.
    """

    kept = ("m", "v", "t")

    def __init__(
        self, parameters: Parameters, part: str = "", *, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-5
    ) -> None:
        super().__init__(parameters, part)
        self.beta1, self.beta2, self.eps = beta1, beta2, eps
        self.m, self.v = (np.zeros_like(parameters.value[self.span]) for _ in range(2))
        self.t = 0
        self._a, self._b = np.empty_like(self.m), np.empty_like(self.m)

    def _descent(self, g: Array, learning_rate: float) -> Array:
        m, v, a, b = self.m, self.v, self._a, self._b
        self.t += 1
        m *= self.beta1
        m += g
        v *= self.beta2
        v += np.multiply(g, g, out=a)
        first = (1 - self.beta1) / (1 - self.beta1**self.t)  # m̂ = first·m, √v̂ = second·√v
        second = math.sqrt((1 - self.beta2) / (1 - self.beta2**self.t))
        np.sqrt(v, out=a)
        a += self.eps / second
        np.divide(m, a, out=b)
        b *= learning_rate * first / second
        return b


class RMSprop(Optimiser):
    """RMSprop (Tieleman and Hinton, 2012) as torch has it: the average starts at zero, eps stands outside the root."""

    kept = ("v",)
    at_first = 0.0

    def __init__(self, parameters: Parameters, part: str = "", *, alpha: float = 0.99, eps: float = 1e-5) -> None:
        super().__init__(parameters, part)
        self.alpha, self.eps = alpha, eps
        self.v = np.full_like(parameters.value[self.span], self.at_first)

    def _descent(self, g: Array, learning_rate: float) -> Array:
        self.v *= self.alpha
        self.v += (1 - self.alpha) * (g * g)
        return np.asarray(learning_rate * (g / self._deviation()))

    def _deviation(self) -> Array:
        return np.asarray(np.sqrt(self.v) + self.eps)


class TensorFlowRMSprop(RMSprop):
    """RMSprop as TensorFlow has it: the average starts at one, so that first steps are short; eps inside the root."""

    at_first = 1.0

    def _deviation(self) -> Array:
        return np.asarray(np.sqrt(self.v + self.eps))
