"""What a user would otherwise pick, each as it comes: none of this library's warps or noise models.

Every peer sees columns scaled to [0, 1] (logarithmic ones by their logarithm), answers with a normal distribution. Its
uncertainty is its own where it has one; else the residuals of five-fold cross-validation, one spread for all rows.
"""

from __future__ import annotations

import itertools
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import RegularGridInterpolator
from sklearn.base import clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from mbrl_split.columns import Column
from mbrl_split.surrogates import Prediction

Array = NDArray[np.float64]


class Peer(ABC):
    """``fit``, ``predict`` and ``sample`` as FadingSurrogate asks for them.

    ``sample`` shifts a whole function up or down by the epistemic spread: a peer without joint draws has no better.
    """

    columns: tuple[Column, ...]

    def fit(self, X: Any, y: Any, *, std_error: Any = None, groups: Any = None, columns: Sequence[Column] = ()) -> Self:
        self.columns = tuple(columns)
        label = np.arange(len(y)) if groups is None else np.asarray(groups)
        self.learn(self.unit(X), np.asarray(y, dtype=np.float64), label)
        return self

    def unit(self, X: Any) -> Array:
        x = np.asarray(X, dtype=np.float64)
        return np.column_stack([c.to_unit(x[:, i]) for i, c in enumerate(self.columns)])

    def predict(self, X: Any) -> Prediction:
        return Prediction(*self.answer(self.unit(X)))

    def sample(self, X: Any, n: int, rng: np.random.Generator) -> Array:
        p = self.predict(X)
        return p.mean + rng.standard_normal((n, 1)) * p.std_epistemic

    @abstractmethod
    def learn(self, u: Array, y: Array, groups: Array) -> None:
        """Learn rows (n, d) in the unit cube, targets (n,) and the evaluation (n,) each belongs to."""

    @abstractmethod
    def answer(self, u: Array) -> tuple[Array, Array, Array]:
        """Mean, epistemic and aleatoric standard deviation."""


class Point(Peer):
    """A regressor without uncertainty; its noise is the spread of cross-validated residuals."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def learn(self, u: Array, y: Array, groups: Array) -> None:
        gaps = []
        for seen, unseen in GroupKFold(5).split(u, y, groups):
            gaps.append(y[unseen] - clone(self.estimator).fit(u[seen], y[seen]).predict(u[unseen]))
        self.noise = float(np.sqrt(np.mean(np.concatenate(gaps) ** 2)))
        self.fitted = clone(self.estimator).fit(u, y)

    def answer(self, u: Array) -> tuple[Array, Array, Array]:
        mean = np.asarray(self.fitted.predict(u), dtype=np.float64)
        return mean, np.zeros_like(mean), np.full_like(mean, self.noise)


class Forest(Peer):
    """A random forest; the spread of its trees, each a leaf of its own bootstrap, stands for a fresh target's."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def learn(self, u: Array, y: Array, groups: Array) -> None:
        self.fitted = RandomForestRegressor(200, random_state=self.seed).fit(u, y)

    def answer(self, u: Array) -> tuple[Array, Array, Array]:
        trees = np.array([tree.predict(u) for tree in self.fitted.estimators_])
        return trees.mean(axis=0), np.zeros(len(u)), trees.std(axis=0, ddof=1)


class SklearnGP(Peer):
    """Matérn-5/2 with a length scale per column and white noise; hyper-parameters from at most 500 rows, 2,000 kept."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def learn(self, u: Array, y: Array, groups: Array) -> None:
        order = np.random.default_rng(self.seed).permutation(len(y))
        u, y = u[order], y[order]
        kernel = ConstantKernel() * Matern(np.ones(u.shape[1]), nu=2.5) + WhiteKernel()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=1, random_state=self.seed)
            found.fit(u[:500], y[:500])
            if len(y) > 500:
                found = GaussianProcessRegressor(found.kernel_, normalize_y=True, optimizer=None)
                found.fit(u[:2000], y[:2000])
        self.fitted, self.noise = found, float(np.sqrt(found.kernel_.k2.noise_level)) * float(found._y_train_std)

    def answer(self, u: Array) -> tuple[Array, Array, Array]:
        mean, std = self.fitted.predict(u, return_std=True)
        return mean, np.sqrt(np.maximum(std**2 - self.noise**2, 0)), np.full(len(u), self.noise)


class BoTorchGP(Peer):
    """SingleTaskGP as it comes, with its own kernel, priors and standardised targets."""

    def learn(self, u: Array, y: Array, groups: Array) -> None:
        from botorch.fit import fit_gpytorch_mll
        from botorch.models import SingleTaskGP
        from gpytorch.mlls import ExactMarginalLogLikelihood

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.fitted = SingleTaskGP(torch.from_numpy(u), torch.from_numpy(y)[:, None])
            fit_gpytorch_mll(ExactMarginalLogLikelihood(self.fitted.likelihood, self.fitted))

    def answer(self, u: Array) -> tuple[Array, Array, Array]:
        means, stds, noises = [], [], []
        with torch.no_grad():
            for part in torch.split(torch.from_numpy(u), 1000):
                plain, noisy = self.fitted.posterior(part), self.fitted.posterior(part, observation_noise=True)
                means.append(plain.mean[:, 0].numpy())
                stds.append(plain.variance[:, 0].clamp_min(0).sqrt().numpy())
                noises.append((noisy.variance - plain.variance)[:, 0].clamp_min(0).sqrt().numpy())
        return np.concatenate(means), np.concatenate(stds), np.concatenate(noises)


class MbrlLibEnsemble(Peer):
    """The recipe of mbrl-lib's Gaussian MLP ensemble, one network after the other.

    Five networks of three hidden layers of 200 with SiLU, a mean and a log variance held softly within learned bounds,
    the Gaussian likelihood plus .01·(upper − lower bound), Adam at 1e-3 with weight decay 5e-5, batches of 32; inputs
    standardised, targets not; a fifth of the rows held out by row. Training ends after 10 epochs without an improvement
    of 1 % (at the latest after 100), and all networks return to the moment at which any of them last improved.
    """

    def __init__(self, seed: int, epochs: int = 100) -> None:
        self.seed, self.epochs = seed, epochs

    def learn(self, u: Array, y: Array, groups: Array) -> None:
        rng, torch_rng = np.random.default_rng(self.seed), torch.Generator().manual_seed(self.seed)
        self.centre, self.spread = u.mean(axis=0), np.maximum(u.std(axis=0), 1e-6)
        order = rng.permutation(len(y))
        held = max(1, len(y) // 5)
        x, z = self._inputs(u), torch.tensor(y, dtype=torch.float32)
        test, train = order[:held], order[held:]
        bootstraps = [rng.choice(train, len(train)) for _ in range(5)]
        sizes = [u.shape[1], 200, 200, 200, 2]
        self.networks = []
        for _ in range(5):
            layers = []
            for a, b in itertools.pairwise(sizes):
                w = torch.nn.init.trunc_normal_(torch.empty(a, b), std=1 / (2 * a**0.5), generator=torch_rng)
                layers += [w.requires_grad_(), torch.zeros(b, requires_grad=True)]
            layers += [torch.tensor(0.5, requires_grad=True), torch.tensor(-10.0, requires_grad=True)]
            self.networks.append(layers)
        optimisers = [torch.optim.Adam(layers, lr=1e-3, weight_decay=5e-5) for layers in self.networks]
        best, stale = np.full(5, np.inf), 0
        kept = [[p.detach().clone() for p in layers] for layers in self.networks]
        for _ in range(self.epochs):
            for layers, optimiser, rows in zip(self.networks, optimisers, bootstraps, strict=True):
                for batch in np.array_split(rng.permutation(rows), max(1, len(rows) // 32)):
                    mean, log_variance = _network(layers, x[batch])
                    nll = ((z[batch] - mean) ** 2 * torch.exp(-log_variance) + log_variance).mean()
                    optimiser.zero_grad()
                    torch.autograd.backward(nll + 0.01 * (layers[-2] - layers[-1]))
                    optimiser.step()
            with torch.no_grad():
                now = [float(((z[test] - _network(p, x[test])[0]) ** 2).mean()) for p in self.networks]
            better = (best - now) / np.where(np.isinf(best), 1, np.abs(best)) > 0.01
            better |= np.isinf(best)
            best = np.where(better, now, best)
            stale = 0 if better.any() else stale + 1
            if better.any():
                kept = [[p.detach().clone() for p in layers] for layers in self.networks]
            if stale >= 10:
                break
        self.networks = kept

    def answer(self, u: Array) -> tuple[Array, Array, Array]:
        with torch.no_grad():
            found = [_network(p, self._inputs(u)) for p in self.networks]
        means = np.array([m.numpy() for m, _ in found], dtype=np.float64)
        noise = np.mean([np.exp(v.numpy().astype(np.float64)) for _, v in found], axis=0)
        return means.mean(axis=0), means.std(axis=0), np.sqrt(noise)

    def _inputs(self, u: Array) -> torch.Tensor:
        return torch.tensor((u - self.centre) / self.spread, dtype=torch.float32)


def _network(layers: list[torch.Tensor], h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    for w, b in zip(layers[0:6:2], layers[1:6:2], strict=True):
        h = torch.nn.functional.silu(h @ w + b)
    mean, raw = (h @ layers[6] + layers[7]).unbind(dim=-1)
    upper, lower = layers[8], layers[9]
    raw = upper - torch.nn.functional.softplus(upper - raw)
    return mean, lower + torch.nn.functional.softplus(raw - lower)


class Table:
    """Linear interpolation of a table of (split, noise, m) measured exhaustively, with the known errors of its cells.

    Its rows are not random: :meth:`grid` says what to measure, the finest table of at most n cells.
    """

    def grid(self, n: int, columns: Sequence[Column]) -> Array:
        splits = int(columns[0].high - columns[0].low) + 1
        shapes = [
            (a, b, c)
            for a in range(2, splits + 1)
            for b in range(2, 40)
            for c in range(2, 12)
            if n / 2 < a * b * c <= n
        ]
        # Steps in proportion to what the damage asks: splits and noise alike, the fading shape half as fine.
        shape = min(shapes, key=lambda s: np.ptp(np.log([s[0], s[1], 2 * s[2]])) - 0.5 * np.log(np.prod(s)))
        self.levels = [np.unique(c.from_unit(np.linspace(0, 1, k))) for c, k in zip(columns, shape, strict=True)]
        self.levels[0] = np.unique(np.rint(self.levels[0]))
        return np.stack([a.ravel() for a in np.meshgrid(*self.levels, indexing="ij")], axis=1)

    def fit(self, X: Any, y: Any, *, std_error: Any = None, groups: Any = None, columns: Sequence[Column] = ()) -> Self:
        axes = [c.to_unit(levels) for c, levels in zip(columns, self.levels, strict=True)]
        shape = [len(a) for a in axes]
        self.columns = tuple(columns)
        self.mean = RegularGridInterpolator(axes, np.reshape(y, shape))
        self.error = RegularGridInterpolator(axes, np.reshape(std_error, shape))
        return self

    def predict(self, X: Any) -> Prediction:
        u = np.column_stack([c.to_unit(np.asarray(X)[:, i]) for i, c in enumerate(self.columns)])
        error = self.error(u)
        return Prediction(self.mean(u), error, error)


def _plain_xgboost(seed: int) -> Peer:
    from xgboost import XGBRegressor

    return Point(XGBRegressor(n_jobs=1, random_state=seed))


PEERS: dict[str, Callable[[int], Any]] = {
    "sklearn-gp": SklearnGP,
    "sklearn-forest": Forest,
    "knn": lambda seed: Point(KNeighborsRegressor(5, weights="distance")),
    "quadratic": lambda seed: Point(make_pipeline(PolynomialFeatures(2), Ridge(1e-3))),
    "plain-xgboost": _plain_xgboost,
    "mbrl-lib-ensemble": MbrlLibEnsemble,
    "botorch-single-task-gp": lambda seed: BoTorchGP(),
    "table": lambda seed: Table(),
}
