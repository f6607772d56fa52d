"""A bag of gradient-boosted trees, on a smooth trend where that pays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from mbrl_split.errors import InvalidInputError
from mbrl_split.registry import unknown
from mbrl_split.surrogates import storage
from mbrl_split.surrogates.bagging import BaggedSurrogate, out_of_bag
from mbrl_split.surrogates.polynomial import Polynomial
from mbrl_split.surrogates.prediction import Array

MOST_COLUMNS = 6
"""A cubic in more has over a hundred terms."""


class XGBoostSurrogate(BaggedSurrogate):
    """Ten boosters on bootstraps of the groups, with a noise model fitted to their out-of-bag residuals.

    Trees alone answer in steps, which a hundred rows cannot make fine. Each booster may therefore start from a cubic
    polynomial of its own bootstrap and learn what that leaves. Works with either package, ``xgboost`` or
    ``xgboost-cpu``; imported on first use.

    Args:
        members: How many boosters, at least 2.
        rounds: Trees per booster.
        depth: Most splits on the way to a leaf.
        learning_rate: Shrinkage of each tree.
        min_child_weight: Least weight of rows in a leaf.
        increasing: Names of columns along which the prediction may not fall (needs ``columns`` in ``fit``).
        decreasing: Names of columns along which it may not rise.
        trend: What the trees start from: ``"cubic"`` (at most 6 columns, none of them monotone), ``"none"`` (a
            constant), or ``"auto"``, whichever of the two predicts better out of the bag.
        warp: See :class:`~mbrl_split.surrogates.warped.WarpedSurrogate`.
        seed: Everything random follows from it.

    Example:
        >>> import numpy as np
        >>> from mbrl_split.surrogates import XGBoostSurrogate
        >>> X = np.random.default_rng(0).random((100, 2))
        >>> surrogate = XGBoostSurrogate(seed=1).fit(X, np.sin(3 * X[:, 0]) + X[:, 1])
        >>> bool(abs(surrogate.predict([[0.5, 0.5]]).mean[0] - 1.4975) < 0.2)
        True
    """

    def __init__(
        self,
        members: int = 10,
        *,
        rounds: int = 100,
        depth: int = 4,
        learning_rate: float = 0.1,
        min_child_weight: float = 2.0,
        increasing: Sequence[str] = (),
        decreasing: Sequence[str] = (),
        trend: Literal["auto", "cubic", "none"] = "auto",
        warp: Literal["unless-std-error", "auto", "none"] = "unless-std-error",
        seed: int = 0,
    ) -> None:
        if members < 2 or min(rounds, depth) < 1:
            raise InvalidInputError("a bag has at least 2 members; rounds and depth are at least 1")
        if trend not in ("auto", "cubic", "none"):
            raise InvalidInputError(f"trend is 'auto', 'cubic' or 'none', not {trend!r}")
        if trend == "cubic" and (increasing or decreasing):
            raise InvalidInputError("a cubic trend cannot be held to monotone columns: trend is 'auto' or 'none' there")
        settings = {
            "members": members,
            "rounds": rounds,
            "depth": depth,
            "learning_rate": learning_rate,
            "min_child_weight": min_child_weight,
            "increasing": list(increasing),
            "decreasing": list(decreasing),
            "trend": trend,
        }
        super().__init__(warp=warp, seed=seed, settings=settings)
        self._boosters: list[Any]
        self._trends: list[Polynomial]  # none: the boosters start from a constant

    def _train_members(self, c: Array, z: Array, counts: Array, weights: Array) -> None:
        s, weights = self._settings, counts * weights
        possible = c.shape[1] <= MOST_COLUMNS and not s["increasing"] and not s["decreasing"]
        if s["trend"] == "cubic" and not possible:
            raise InvalidInputError(f"a cubic trend takes at most {MOST_COLUMNS} columns, not {c.shape[1]}")
        trends: list[list[Polynomial]] = [] if s["trend"] == "cubic" else [[]]
        if s["trend"] != "none" and possible:
            trends.append([Polynomial.fit(c, z, w) for w in weights])
        fits = [(self._boosted(c, z, weights, t), t) for t in trends]
        self._boosters, self._trends = min(fits, key=lambda fit: self._unseen_error(c, z, counts, *fit))

    def _boosted(self, c: Array, z: Array, weights: Array, trends: Sequence[Polynomial]) -> list[Any]:
        xgboost, s, boosters = _xgboost(), self._settings, []
        for k, w in enumerate(weights):
            seen = w > 0
            parameters = {
                "max_depth": s["depth"],
                "eta": s["learning_rate"],
                "min_child_weight": s["min_child_weight"],
                "monotone_constraints": self._constraints(c.shape[1]),
                "seed": (self.seed + k) % 2**31,
                "nthread": 1,
                "verbosity": 0,
                "base_score": 0.0 if trends else float(np.average(z[seen], weights=w[seen])),
            }
            label = z[seen] - trends[k](c[seen]) if trends else z[seen]
            data = xgboost.DMatrix(c[seen], label=label, weight=w[seen], nthread=1)
            boosters.append(xgboost.train(parameters, data, num_boost_round=s["rounds"]))
        return boosters

    @staticmethod
    def _unseen_error(c: Array, z: Array, counts: Array, boosters: list[Any], trends: list[Polynomial]) -> float:
        """Mean square error of predictions out of the bag."""
        honest = out_of_bag(_predicted(c, boosters, trends), np.ones(len(c)), counts)
        return float(np.mean((z[honest.rows] - honest.latent.mean) ** 2)) if len(honest.rows) else np.inf

    def _constraints(self, width: int) -> str:
        signs = dict.fromkeys(self._settings["increasing"], 1) | dict.fromkeys(self._settings["decreasing"], -1)
        if not signs:
            return "(" + ",".join(["0"] * width) + ")"
        if self.columns is None:
            raise InvalidInputError("monotone columns are given by name: fit(..., columns=...)")
        names = [c.name for c in self.columns]
        for name in signs:
            if name not in names:
                raise InvalidInputError(unknown("column", name, names))
        return "(" + ",".join(str(signs.get(name, 0)) for name in names) + ")"

    def _member_means(self, c: Array) -> Array:
        return _predicted(c, self._boosters, self._trends)

    def _files(self) -> dict[str, bytes]:
        files = {f"booster{k}.ubj": bytes(b.save_raw("ubj")) for k, b in enumerate(self._boosters)}
        trends = {f"{k}.{name}": value for k, trend in enumerate(self._trends) for name, value in vars(trend).items()}
        return files | ({"trends.safetensors": storage.pack(trends)} if trends else {})

    def _restore(self, files: dict[str, bytes]) -> None:
        self._boosters = []
        for k in range(self._settings["members"]):
            booster = _xgboost().Booster({"nthread": 1})
            booster.load_model(bytearray(files[f"booster{k}.ubj"]))
            self._boosters.append(booster)
        kept = storage.unpack(files["trends.safetensors"]) if "trends.safetensors" in files else {}
        self._trends = [
            Polynomial(**{name: kept[f"{k}.{name}"] for name in ("weights", "low", "high")})
            for k in range(self._settings["members"] if kept else 0)
        ]


def _predicted(c: Array, boosters: Sequence[Any], trends: Sequence[Polynomial]) -> Array:
    """Predictions of the members, (members, n)."""
    data = _xgboost().DMatrix(c, nthread=1)
    means = np.array([b.predict(data) for b in boosters], dtype=np.float64)
    return means + np.array([trend(c) for trend in trends]) if trends else means


def _xgboost() -> Any:
    try:
        import xgboost
    except ImportError:
        raise InvalidInputError(
            "XGBoostSurrogate needs xgboost: pip install 'mbrl-split[xgboost-cpu]' (or [xgboost], with GPU support)"
        ) from None
    return xgboost
