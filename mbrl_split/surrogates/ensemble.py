"""An ensemble of networks that each predict a mean and a noise variance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from mbrl_split.errors import InvalidInputError
from mbrl_split.surrogates import storage
from mbrl_split.surrogates.bagging import out_of_bag, spread_draws
from mbrl_split.surrogates.network import StackedNetwork, log_variance, train
from mbrl_split.surrogates.prediction import Array
from mbrl_split.surrogates.rows import bootstrap_counts
from mbrl_split.surrogates.warped import Latent, OutOfFold, WarpedSurrogate

# The fewest times that a fit goes through the rows, unless it stops early.
_EPOCHS = 20


class EnsembleSurrogate(WarpedSurrogate):
    """Heteroscedastic networks, trained and asked as one batched product.

    Each member has its own initial weights, its own bootstrap of the groups, and keeps the weights that did best on
    the rows outside it. The loss is β-NLL. Epistemic is the variance of the members' means, aleatoric the mean of
    their variances, corrected by the out-of-bag residuals.

    ``update`` goes on from the present weights with all rows, scalers frozen; what was outside a member's bootstrap
    stays outside.

    Args:
        members: How many networks, at least 2.
        hidden: Width of each hidden layer.
        steps: Most optimiser steps of a fit, or twenty times through the rows if that is more; an update takes a third.
        batch_size: Rows per step, for each member.
        learning_rate: Of Adam.
        weight_decay: Decoupled.
        warp: See :class:`~mbrl_split.surrogates.warped.WarpedSurrogate`.
        seed: Everything random follows from it.
        device: Where the networks live.

    Example:
        >>> import numpy as np
        >>> from mbrl_split.surrogates import EnsembleSurrogate
        >>> X = np.random.default_rng(0).random((100, 2))
        >>> surrogate = EnsembleSurrogate(seed=1).fit(X, np.sin(3 * X[:, 0]) + X[:, 1])
        >>> bool(abs(surrogate.predict([[0.5, 0.5]]).mean[0] - 1.4975) < 0.1)
        True
    """

    def __init__(
        self,
        members: int = 5,
        *,
        hidden: Sequence[int] = (128, 128),
        steps: int = 800,
        batch_size: int = 64,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-3,
        warp: Literal["unless-std-error", "auto", "none"] = "unless-std-error",
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        if members < 2 or not hidden or min(hidden) < 1 or min(steps, batch_size) < 1:
            raise InvalidInputError(
                "an ensemble has at least 2 members; hidden widths, steps and batch_size are at least 1"
            )
        settings = {
            "members": members,
            "hidden": [int(h) for h in hidden],
            "steps": steps,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "weight_decay": weight_decay,
            "device": device,
        }
        super().__init__(warp=warp, seed=seed, settings=settings)
        self._network: StackedNetwork

    def _learn(self, c: Array, z: Array, known: Array, groups: NDArray[np.int64], *, warm: bool) -> OutOfFold:
        s = self._settings
        if not warm:
            self._network = self._new_network(c.shape[1])
        weights = 0.1 / (0.1 + known)
        weights = weights / weights.mean()
        counts = bootstrap_counts(groups, s["members"], self.seed)
        batches = math.ceil(len(z) / s["batch_size"])
        steps = max(s["steps"], _EPOCHS * batches)
        train(
            self._network,
            c,
            z,
            counts * weights,
            (counts == 0) * weights,
            loss="beta-nll",
            steps=max(1, steps // 3) if warm else steps,
            batch_size=s["batch_size"],
            learning_rate=s["learning_rate"] / (3 if warm else 1),
            weight_decay=s["weight_decay"],
            seed=self.seed,
            # A look asks all rows: four an epoch where there are many, or the looks cost more than the training.
            check_every=max(10, batches // 4),
        )
        means, noise = self._members(c)
        return out_of_bag(means, noise, counts)

    def _latent(self, c: Array) -> Latent:
        means, noise = self._members(c)
        return Latent(means.mean(axis=0), means.var(axis=0, ddof=1), noise)

    def _draw(self, c: Array, n: int, rng: np.random.Generator) -> Array:
        return spread_draws(self._members(c)[0], n, rng)

    def _files(self) -> dict[str, bytes]:
        return {"model.safetensors": storage.pack(self._network.arrays())}

    def _restore(self, files: dict[str, bytes]) -> None:
        self._network = self._new_network(len(self._scaler.centre))
        self._network.restore(storage.unpack(files["model.safetensors"]))

    def _new_network(self, width: int) -> StackedNetwork:
        s = self._settings
        return StackedNetwork(s["members"], [width, *s["hidden"], 2], seed=self.seed, device=s["device"])

    def _members(self, c: Array) -> tuple[Array, Array]:
        """Means of the members, (members, n), and the mean of their noise variances, (n,)."""
        output = self._network.answer(c)
        noise = torch.exp(log_variance(torch.from_numpy(output[..., 1]))).mean(dim=0)
        return output[..., 0], noise.numpy()
