"""One network with a Bayesian last layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_split.surrogates.bayesian_linear import BayesianLinear
from mbrl_split.surrogates.network import NetworkSurrogate
from mbrl_split.surrogates.prediction import Array
from mbrl_split.surrogates.rows import folds
from mbrl_split.surrogates.storage import take
from mbrl_split.surrogates.warped import Latent, OutOfFold, row_weights

_FOLDS = 4


@dataclass(eq=False)
class MLPSurrogate(NetworkSurrogate):
    """A multi-layer perceptron trained on squared error, whose last layer is Bayesian linear regression.

    Beside the network, and in one batched product with it, run four more that each hold out a quarter of the groups.
    They tell when to stop, and their held-out residuals teach the noise model, the aleatoric part. The network itself
    learns from every row; its last layer is then replaced by its closed-form posterior, which gives joint draws and
    the epistemic part. With fewer than ten groups nothing is held out, and leave-one-out residuals of the last layer
    stand in.

    ``update`` goes on from the present weights with all rows, scalers frozen, and each group in its old quarter.

    Args:
        hidden: Width of each hidden layer.
        steps: Most optimiser steps of a fit; an update takes a third.
        batch_size: Rows per step.
        learning_rate: Of Adam.
        weight_decay: Decoupled.
        warp: See :class:`~mbrl_split.surrogates.warped.WarpedSurrogate`.
        seed: Everything random follows from it.
        device: Where the network lives.

    Example:
        >>> import numpy as np
        >>> from mbrl_split.surrogates import MLPSurrogate
        >>> X = np.random.default_rng(0).random((100, 2))
        >>> surrogate = MLPSurrogate(seed=1).fit(X, np.sin(3 * X[:, 0]) + X[:, 1])
        >>> bool(abs(surrogate.predict([[0.5, 0.5]]).mean[0] - 1.4975) < 0.1)
        True
    """

    hidden: Sequence[int] = (128, 128)

    def _layout(self) -> tuple[int, int]:
        return _FOLDS + 1, 1

    def _learn(self, c: Array, z: Array, known: Array, groups: NDArray[np.int64], *, warm: bool) -> OutOfFold:
        weights = row_weights(known)
        held = folds(groups, _FOLDS, self.seed)  # network 0 holds nothing out, network k the k-th fold
        self._train_network(c, z, ~held * weights, held * weights, warm=warm, loss="mse", steps=self.steps)
        phi = self._features(c)
        self._head = BayesianLinear.fit(phi[0], z, weights)
        mean, variance = _leave_one_out(self._head, phi[0], z, weights)
        for k in range(1, len(held)):
            if held[k].any():
                head = BayesianLinear.fit(phi[k, ~held[k]], z[~held[k]], weights[~held[k]])
                mean[held[k]], variance[held[k]] = head.predict(phi[k, held[k]])
        return np.arange(len(z)), Latent(mean, variance)

    def _latent(self, c: Array) -> Latent:
        return Latent(*self._head.predict(self._features(c)[0]))

    def _draw(self, c: Array, n: int, rng: np.random.Generator) -> Array:
        return self._head.draw(self._features(c)[0], n, rng)

    def _state(self) -> dict[str, Any]:
        return super()._state() | {"head": self._head}

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        self._head = take(state, "head", BayesianLinear)

    def _features(self, c: Array) -> Array:
        """(1, coordinates, last hidden layer) of each network, (networks, n, 1 + d + width)."""
        hidden = self._network.answer(c, hidden=True)
        plain = np.concatenate([np.ones((len(c), 1)), c], axis=1)
        return np.concatenate([np.broadcast_to(plain, (len(hidden), *plain.shape)), hidden], axis=2)


def _leave_one_out(head: BayesianLinear, phi: Array, z: Array, weights: Array) -> tuple[Array, Array]:
    """Mean and variance for each row from all others, hyper-parameters kept (rank-one downdate)."""
    mean, variance = head.predict(phi)
    leverage = np.minimum(variance * weights / np.exp(head.log_noise), 1 - 1e-9)
    return z - (z - mean) / (1 - leverage), variance / (1 - leverage)
