"""A bag of gradient-boosted trees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from mbrl_split.errors import BadInput
from mbrl_split.registry import unknown
from mbrl_split.surrogates.bagging import BaggedSurrogate
from mbrl_split.surrogates.prediction import Array


class XGBoostSurrogate(BaggedSurrogate):
    """Ten boosters on bootstraps of the groups, with a noise model fitted to their out-of-bag residuals.

    Works with either package, ``xgboost`` or ``xgboost-cpu``; imported on first use.

    Args:
        members: How many boosters, at least 2.
        rounds: Trees per booster.
        depth: Most splits on the way to a leaf.
        learning_rate: Shrinkage of each tree.
        min_child_weight: Least weight of rows in a leaf.
        increasing: Names of columns along which the prediction may not fall (needs ``columns`` in ``fit``).
        decreasing: Names of columns along which it may not rise.
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
        rounds: int = 150,
        depth: int = 4,
        learning_rate: float = 0.1,
        min_child_weight: float = 2.0,
        increasing: Sequence[str] = (),
        decreasing: Sequence[str] = (),
        warp: Literal["auto", "none"] = "auto",
        seed: int = 0,
    ) -> None:
        if members < 2 or min(rounds, depth) < 1:
            raise BadInput("a bag has at least 2 members; rounds and depth are at least 1")
        settings = {
            "members": members,
            "rounds": rounds,
            "depth": depth,
            "learning_rate": learning_rate,
            "min_child_weight": min_child_weight,
            "increasing": list(increasing),
            "decreasing": list(decreasing),
        }
        super().__init__(warp=warp, seed=seed, settings=settings)
        self._boosters: list[Any]

    def _train_members(self, c: Array, z: Array, counts: Array, weights: Array) -> None:
        xgboost, s = _xgboost(), self._settings
        self._boosters = []
        for k, w in enumerate(counts * weights):
            seen = w > 0
            parameters = {
                "max_depth": s["depth"],
                "eta": s["learning_rate"],
                "min_child_weight": s["min_child_weight"],
                "monotone_constraints": self._constraints(c.shape[1]),
                "seed": (self.seed + k) % 2**31,
                "nthread": 1,
                "verbosity": 0,
                "base_score": float(np.average(z[seen], weights=w[seen])),
            }
            data = xgboost.DMatrix(c[seen], label=z[seen], weight=w[seen], nthread=1)
            self._boosters.append(xgboost.train(parameters, data, num_boost_round=s["rounds"]))

    def _constraints(self, width: int) -> str:
        signs = dict.fromkeys(self._settings["increasing"], 1) | dict.fromkeys(self._settings["decreasing"], -1)
        if not signs:
            return "(" + ",".join(["0"] * width) + ")"
        if self.columns is None:
            raise BadInput("monotone columns are given by name: fit(..., columns=...)")
        names = [c.name for c in self.columns]
        for name in signs:
            if name not in names:
                raise BadInput(unknown("column", name, names))
        return "(" + ",".join(str(signs.get(name, 0)) for name in names) + ")"

    def _member_means(self, c: Array) -> Array:
        data = _xgboost().DMatrix(c, nthread=1)
        return np.array([b.predict(data) for b in self._boosters], dtype=np.float64)

    def _files(self) -> dict[str, bytes]:
        return {f"booster{k}.ubj": bytes(b.save_raw("ubj")) for k, b in enumerate(self._boosters)}

    def _restore(self, files: dict[str, bytes]) -> None:
        self._boosters = []
        for k in range(self._settings["members"]):
            booster = _xgboost().Booster({"nthread": 1})
            booster.load_model(bytearray(files[f"booster{k}.ubj"]))
            self._boosters.append(booster)


def _xgboost() -> Any:
    try:
        import xgboost
    except ImportError:
        raise BadInput(
            "XGBoostSurrogate needs xgboost: pip install 'mbrl-split[xgboost-cpu]' (or [xgboost], with GPU support)"
        ) from None
    return xgboost
