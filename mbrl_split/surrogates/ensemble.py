"""Bags of models: honest predictions out of the bag, joint draws from the spread; and the ensemble of networks."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mbrl_split.errors import InvalidInputError
from mbrl_split.surrogates.network import NetworkSurrogate, log_variance
from mbrl_split.surrogates.prediction import Array
from mbrl_split.surrogates.rows import bootstrap_counts
from mbrl_split.surrogates.warped import Latent, OutOfFold, WarpedSurrogate, row_weights

# The fewest times that a fit goes through the rows, unless it stops early.
_EPOCHS = 20


def out_of_bag(means: Array, noise: Array | float, counts: Array) -> OutOfFold:
    """Predictions for training rows by the members that never saw them, where there are enough of them.

    Args:
        means: Predictions of the members, (members, n).
        noise: Noise variance that they predict, (n,) or one for all.
        counts: How often a row was in a member's bootstrap, (members, n).
    """
    unseen = counts == 0
    few = len(means) < 4  # too few members for two of them to have missed the same row often
    rows = np.flatnonzero(unseen.sum(axis=0) >= (1 if few else 2))
    unseen, means = unseen[:, rows], means[:, rows]
    size = unseen.sum(axis=0)
    honest = np.sum(means * unseen, axis=0) / size
    # The spread, too, of those that never saw the row: members that did have learned its noise, and disagree with the
    # others by more than members ever do at a fresh row. A noise model told that spread would leave noise too little.
    outside = np.sum(unseen * (means - honest) ** 2, axis=0) / np.maximum(size - 1, 1)
    noise = np.broadcast_to(noise, len(counts[0]))[rows]
    return rows, Latent(honest, means.var(axis=0, ddof=1) if few else outside, noise)


@dataclass(eq=False, kw_only=True)
class BaggedSurrogate(WarpedSurrogate):
    """Base of the surrogates that bag models, each of which learns a bootstrap of the groups.

    The spread of the members is the epistemic part, and the out-of-bag residuals teach the noise model. A draw is one
    random combination of the members, so that equal generators give the same function at any rows. Unless a subclass
    knows better, ``update`` trains the bag anew on all rows with all settings and scalers kept: going on with new rows
    only would forget the old ones.
    """

    members: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.members < 2:
            raise InvalidInputError("a bag has at least 2 members")

    @abstractmethod
    def _train(self, c: Array, z: Array, counts: Array, weights: Array, *, warm: bool) -> None:
        """Train the members on coordinates (n, d), latent targets (n,), each row occurring ``counts`` (members, n)
        times and weighing ``weights`` (n,)."""

    @abstractmethod
    def _answers(self, c: Array) -> tuple[Array, Array | float]:
        """Means of the members, (members, n), and the noise variance that they predict, (n,), or one."""

    def _learn(self, c: Array, z: Array, known: Array, groups: NDArray[np.int64], *, warm: bool) -> OutOfFold:
        counts = bootstrap_counts(groups, self.members, self.seed)
        self._train(c, z, counts, row_weights(known), warm=warm)
        return out_of_bag(*self._answers(c), counts)

    def _latent(self, c: Array) -> Latent:
        means, noise = self._answers(c)
        return Latent(means.mean(axis=0), means.var(axis=0, ddof=1), noise)

    def _draw(self, c: Array, n: int, rng: np.random.Generator) -> Array:
        means, _ = self._answers(c)
        centre = means.mean(axis=0)
        w = rng.standard_normal((n, len(means))) / np.sqrt(len(means) - 1)
        return np.asarray(centre + w @ (means - centre))


@dataclass(eq=False)
class EnsembleSurrogate(NetworkSurrogate, BaggedSurrogate):
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

    members: int = 5
    _: KW_ONLY
    steps: int = 800

    def _layout(self) -> tuple[int, int]:
        return self.members, 2

    def _train(self, c: Array, z: Array, counts: Array, weights: Array, *, warm: bool) -> None:
        batches = math.ceil(len(z) / self.batch_size)
        # A look asks all rows: four an epoch where there are many, or the looks cost more than the training.
        extent = {"steps": max(self.steps, _EPOCHS * batches), "check_every": max(10, batches // 4)}
        seen, unseen = counts * weights, (counts == 0) * weights
        self._train_network(c, z, seen, unseen, warm=warm, loss="beta-nll", **extent)

    def _answers(self, c: Array) -> tuple[Array, Array]:
        output = self._network.answer(c)
        noise = torch.exp(log_variance(torch.from_numpy(output[..., 1]))).mean(dim=0)
        return output[..., 0], noise.numpy()
