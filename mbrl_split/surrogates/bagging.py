"""What a bag of models knows: honest predictions out of the bag, and joint draws from its spread."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from mbrl_split.surrogates.prediction import Array
from mbrl_split.surrogates.rows import bootstrap_counts
from mbrl_split.surrogates.warped import Latent, OutOfFold, WarpedSurrogate


def out_of_bag(means: Array, noise: Array, counts: Array) -> OutOfFold:
    """Predictions for training rows by the members that never saw them, where there are enough of them.

    Args:
        means: Predictions of the members, (members, n).
        noise: Noise variance that they predict, (n,).
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
    return OutOfFold(rows, Latent(honest, means.var(axis=0, ddof=1) if few else outside, noise[rows]))


def spread_draws(means: Array, n: int, rng: np.random.Generator) -> Array:
    """``n`` joint normal draws, (n, rows), with the mean and the covariance of the members' predictions.

    A draw is one random combination of the members, so equal generators give the same function at any rows.
    """
    centre = means.mean(axis=0)
    w = rng.standard_normal((n, len(means))) / np.sqrt(len(means) - 1)
    return np.asarray(centre + w @ (means - centre))


class BaggedSurrogate(WarpedSurrogate):
    """Base of the surrogates that bag models without uncertainty of their own.

    Each member learns a bootstrap of the groups; the spread of the members is the epistemic part, and the out-of-bag
    residuals teach the noise model. ``update`` trains the bag anew on all rows with all settings and scalers kept:
    going on with new rows only would forget the old ones.
    """

    @abstractmethod
    def _train_members(self, c: Array, z: Array, counts: Array, weights: Array) -> None:
        """Train the members on coordinates (n, d), latent targets (n,), each row occurring ``counts`` (members, n)
        times and weighing ``weights`` (n,)."""

    @abstractmethod
    def _member_means(self, c: Array) -> Array:
        """Predictions of the members, (members, n)."""

    def _learn(self, c: Array, z: Array, known: Array, groups: NDArray[np.int64], *, warm: bool) -> OutOfFold:
        weights = 0.1 / (0.1 + known)
        counts = bootstrap_counts(groups, self._settings["members"], self.seed)
        self._train_members(c, z, counts, weights / weights.mean())
        return out_of_bag(self._member_means(c), np.ones(len(c)), counts)

    def _latent(self, c: Array) -> Latent:
        means = self._member_means(c)
        return Latent(means.mean(axis=0), means.var(axis=0, ddof=1), np.ones(len(c)))

    def _draw(self, c: Array, n: int, rng: np.random.Generator) -> Array:
        return spread_draws(self._member_means(c), n, rng)
