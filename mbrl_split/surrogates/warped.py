"""What the learned surrogates share: rows in, a warped target scale, honest noise, and a distribution out."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.columns import Column
from mbrl_split.errors import InvalidInputError
from mbrl_split.surrogates import storage
from mbrl_split.surrogates.base import Surrogate
from mbrl_split.surrogates.noise import NoiseModel
from mbrl_split.surrogates.prediction import Array
from mbrl_split.surrogates.rows import Rows, check_queries, checked_rows
from mbrl_split.surrogates.scaling import InputScaler
from mbrl_split.surrogates.warp import Shape, Warp, WarpedPrediction, choose_scale


@dataclass(frozen=True)
class Latent:
    """A normal distribution of the mean function per row, on the warped scale; all (n,).

    Attributes:
        mean: Posterior mean.
        variance: Posterior variance of the mean function.
        noise: Noise variance that the model itself predicts; ones where it predicts none.
    """

    mean: Array
    variance: Array
    noise: Array


@dataclass(frozen=True)
class OutOfFold:
    """Predictions for training rows by models that did not see them (or their group).

    Attributes:
        rows: Which training rows, (k,).
        latent: Their predictions.
    """

    rows: NDArray[np.int64]
    latent: Latent


def shrink_variances(known: Array, c: Array, z: Array) -> Array:
    """Known noise variances (n,), halfway (geometrically) to their own trend over coordinates and targets.

    A standard error is itself estimated, often from a few skewed parts, and comes out small where the mean does:
    taken at its word it would pull every fit towards the low targets. A row whose error is unknown (nan: one part
    says nothing of its own) is given the trend, lest it pass for exact; zeros where no row knows better.
    """
    on, unknown = known > 0, np.isnan(known)
    out = np.zeros_like(known)
    if on.any():
        trend = NoiseModel.fit(c[on], z[on], np.zeros(on.sum()), np.sqrt(known[on]), np.ones(on.sum()))
        out[on] = np.sqrt(known[on] * trend.variance(c[on], z[on], np.ones(on.sum())))
        out[unknown] = trend.variance(c[unknown], z[unknown], np.ones(unknown.sum()))
    return out


class WarpedSurrogate(Surrogate):
    """Base of the surrogates that learn: subclasses model a standardised latent target, this class the rest.

    Inputs become dimensionless coordinates, targets are warped (:class:`~mbrl_split.surrogates.warp.Warp`). Noise, the
    shape of its distribution and a factor on the epistemic part are learned from the subclass's honest predictions.

    Subclasses implement ``_learn``, ``_latent``, ``_draw`` on coordinates and latent targets, and ``_files`` and
    ``_restore`` for their weights. They never override what is implemented here.

    Args:
        warp: ``"auto"`` chooses the scale of asinh(y/scale) by marginal likelihood (no warp included); ``"none"``
            learns the target as it is; ``"unless-std-error"`` is ``"auto"`` unless known errors above 0 speak against
            the warp: it is there to make noise even, so it stays away where they are no evener on the warped scale. An
            update with such errors makes a warped fit learn anew, from all rows.
        seed: Everything random follows from it.
        settings: The subclass's own constructor arguments, as plain data.
    """

    def __init__(
        self, *, warp: Literal["unless-std-error", "auto", "none"], seed: int, settings: Mapping[str, Any]
    ) -> None:
        if warp not in ("unless-std-error", "auto", "none"):
            raise InvalidInputError(f"warp is 'unless-std-error', 'auto' or 'none', not {warp!r}")
        if int(seed) != seed or seed < 0:
            raise InvalidInputError(f"seed is a non-negative integer, not {seed!r}")
        self._settings = {**settings, "warp": warp, "seed": int(seed)}
        self.seed = int(seed)
        self._rows: Rows | None = None
        self._scaler: InputScaler
        self._warp: Warp
        self._noise: NoiseModel
        self._shape: Shape

    # What a subclass provides

    @abstractmethod
    def _learn(self, c: Array, z: Array, known: Array, groups: NDArray[np.int64], *, warm: bool) -> OutOfFold:
        """Learn latent targets ``z`` (n,) at coordinates ``c`` (n, d); ``known`` (n,) are known noise variances.
        ``warm``: rows were added to an earlier fit, hyper-parameters stay."""

    @abstractmethod
    def _latent(self, c: Array) -> Latent:
        """The latent prediction at coordinates ``c`` (n, d)."""

    @abstractmethod
    def _draw(self, c: Array, n: int, rng: np.random.Generator) -> Array:
        """``n`` joint draws of the latent mean function, (n, len(c))."""

    @abstractmethod
    def _files(self) -> dict[str, bytes]:
        """The fitted weights: contents by file name."""

    @abstractmethod
    def _restore(self, files: dict[str, bytes]) -> None:
        """The inverse of :meth:`_files`; rows, scalers and noise are already in place."""

    # What every subclass shares

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        std_error: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        columns: Sequence[Column] | None = None,
    ) -> Self:
        rows = checked_rows(X, y, std_error, groups, columns=columns)
        self.columns = None if columns is None else tuple(columns)
        self._scaler = InputScaler.fit(rows.x, columns)
        scale = np.inf if self._settings["warp"] == "none" else choose_scale(self._scaler(rows.x), rows.y)
        self._warp = Warp.fit(rows.y, scale)
        if not self._warp_holds(rows):
            self._warp = Warp.fit(rows.y, np.inf)
        return self._learn_rows(rows, warm=False)

    def update(
        self, X: ArrayLike, y: ArrayLike, *, std_error: ArrayLike | None = None, groups: ArrayLike | None = None
    ) -> Self:
        old = self._fitted()
        new = checked_rows(
            X,
            y,
            std_error,
            groups,
            columns=self.columns,
            width=old.x.shape[1],
            first_group=int(old.groups.max()) + 1,
        )
        rows = old.join(new)
        if not self._warp_holds(rows):
            # What was learnt on the warped scale means nothing without it.
            self._warp = Warp.fit(rows.y, np.inf)
            return self._learn_rows(rows, warm=False)
        self._warp = self._warp.bounded(rows.y)
        return self._learn_rows(rows, warm=True)

    def _warp_holds(self, rows: Rows) -> bool:
        """Whether the known errors are evener on the scale of the warp: their logarithms spread less.

        The choice of the scale takes every scatter for the target's own noise, and a known error is carried over by the
        slope at the noisy target: too small where noise made the target large. Errors that grow with the target, as
        those of a mean of costs do, bear both.
        """
        on = rows.std_error > 0
        if np.isinf(self._warp.scale) or self._settings["warp"] == "auto" or not on.any():
            return True
        plain = np.log(rows.std_error[on])
        return bool(np.std(plain + np.log(self._warp.slope(rows.y[on]))) < np.std(plain))

    def _learn_rows(self, rows: Rows, *, warm: bool) -> Self:
        c, z = self._scaler(rows.x), self._warp.to_latent(rows.y)
        known = shrink_variances((rows.std_error * self._warp.slope(rows.y)) ** 2, c, z)
        honest = self._learn(c, z, known, rows.groups, warm=warm)
        p, residuals = honest.latent, z[honest.rows] - honest.latent.mean
        self._noise = NoiseModel.fit(c[honest.rows], p.mean, p.variance, residuals, p.noise)
        noise = self._noise.variance(c[honest.rows], p.mean, p.noise)
        self._shape = Shape.fit(residuals / np.sqrt(noise + self._noise.inflation**2 * p.variance + 1e-12))
        self._rows = rows
        return self

    def predict(self, X: ArrayLike) -> WarpedPrediction:
        c = self._coordinates(X)
        p = self._latent(c)
        return WarpedPrediction.of(
            p.mean,
            self._noise.inflation * np.sqrt(p.variance),
            np.sqrt(self._noise.variance(c, p.mean, p.noise)),
            self._warp,
            self._shape,
        )

    def sample(self, X: ArrayLike, n: int, rng: np.random.Generator) -> Array:
        c = self._coordinates(X)
        p = self._latent(c)
        z = p.mean + self._noise.inflation * (self._draw(c, n, rng) - p.mean)
        noise = np.sqrt(self._noise.variance(c, p.mean, p.noise))
        return self._warp.noisy_mean(z, np.broadcast_to(noise, z.shape), self._shape)[0]

    def clone(self, *, seed: int | None = None) -> Self:
        return type(self)(**{**self._settings, **({} if seed is None else {"seed": seed})})

    def config(self) -> dict[str, Any]:
        for name, value in self._settings.items():
            try:
                json.dumps(value)
            except TypeError:
                raise InvalidInputError(
                    f"{name} = {value!r} is not plain data, so this surrogate cannot be saved"
                ) from None
        return dict(self._settings)

    def save(self, path: str | PathLike[str]) -> None:
        rows = self._fitted()
        state = {
            "config": self.config(),
            "columns": storage.columns_to_data(self.columns),
            "warp": dict(vars(self._warp)),
            "inflation": self._noise.inflation,
        }
        shared = {
            **{f"rows.{name}": value for name, value in vars(rows).items()},
            **{f"scaler.{name}": value for name, value in vars(self._scaler).items()},
            "noise.weights": self._noise.weights,
            "shape.nodes": self._shape.nodes,
        }
        files = {"shared.safetensors": storage.pack(shared), **self._files()}
        storage.write(path, type(self).__name__, state, files)

    @classmethod
    def load(cls, path: str | PathLike[str], *, device: str = "cpu") -> Self:
        _, state, files = storage.read(path, cls.__name__)
        config = state["config"]
        self = cls(**({**config, "device": device} if "device" in config else config))
        shared = storage.unpack(files["shared.safetensors"])
        self.columns = storage.columns_from_data(state["columns"])
        self._rows = Rows(**{n: shared[f"rows.{n}"] for n in ("x", "y", "std_error", "groups")})
        self._scaler = InputScaler(**{n: shared[f"scaler.{n}"] for n in ("log", "centre", "spread")})
        self._warp = Warp(**state["warp"])
        self._noise = NoiseModel(shared["noise.weights"], state["inflation"])
        self._shape = Shape(shared["shape.nodes"])
        self._restore(files)
        return self

    def _coordinates(self, X: ArrayLike) -> Array:
        rows = self._fitted()
        return self._scaler(check_queries(X, rows.x.shape[1], self.columns))

    def _fitted(self) -> Rows:
        if self._rows is None:
            raise InvalidInputError(f"this {type(self).__name__} has learned nothing yet: call fit(X, y) first")
        return self._rows
