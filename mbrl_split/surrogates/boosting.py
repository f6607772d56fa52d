"""A bag of gradient-boosted trees, on a smooth trend where that pays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

import numpy as np

from mbrl_split.errors import InvalidInputError
from mbrl_split.registry import unknown
from mbrl_split.surrogates.ensemble import BaggedSurrogate, out_of_bag
from mbrl_split.surrogates.polynomial import Polynomial
from mbrl_split.surrogates.prediction import Array
from mbrl_split.surrogates.storage import take

MOST_COLUMNS = 6
"""A cubic in more has over a hundred terms."""


@dataclass(eq=False)
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

    members: int = 10
    _: KW_ONLY
    rounds: int = 100
    depth: int = 4
    learning_rate: float = 0.1
    min_child_weight: float = 2.0
    increasing: Sequence[str] = ()
    decreasing: Sequence[str] = ()
    trend: Literal["auto", "cubic", "none"] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.increasing, self.decreasing = list(self.increasing), list(self.decreasing)
        if min(self.rounds, self.depth) < 1:
            raise InvalidInputError("rounds and depth are at least 1")
        if self.trend not in ("auto", "cubic", "none"):
            raise InvalidInputError(f"trend is 'auto', 'cubic' or 'none', not {self.trend!r}")
        if self.trend == "cubic" and (self.increasing or self.decreasing):
            raise InvalidInputError("a cubic trend cannot be held to monotone columns: trend is 'auto' or 'none' there")

    def _train(self, c: Array, z: Array, counts: Array, weights: Array, *, warm: bool) -> None:
        weights = counts * weights
        possible = c.shape[1] <= MOST_COLUMNS and not self.increasing and not self.decreasing
        if self.trend == "cubic" and not possible:
            raise InvalidInputError(f"a cubic trend takes at most {MOST_COLUMNS} columns, not {c.shape[1]}")
        trends: list[list[Polynomial]] = [] if self.trend == "cubic" else [[]]  # []: all start from a constant
        if self.trend != "none" and possible:
            trends.append([Polynomial.fit(c, z, w) for w in weights])
        fits = [(self._boosted(c, z, weights, t), t) for t in trends]
        self._boosters, self._trends = min(fits, key=lambda fit: _unseen_error(c, z, counts, *fit))

    def _boosted(self, c: Array, z: Array, weights: Array, trends: Sequence[Polynomial]) -> list[Any]:
        xgboost, boosters = _xgboost(), []
        shared = {
            "max_depth": self.depth,
            "eta": self.learning_rate,
            "min_child_weight": self.min_child_weight,
            "monotone_constraints": self._constraints(c.shape[1]),
            "nthread": 1,
            "verbosity": 0,
        }
        for k, w in enumerate(weights):
            seen = w > 0
            label = z[seen] - trends[k](c[seen]) if trends else z[seen]
            start = 0.0 if trends else float(np.average(z[seen], weights=w[seen]))
            data = xgboost.DMatrix(c[seen], label=label, weight=w[seen], nthread=1)
            parameters = shared | {"seed": (self.seed + k) % 2**31, "base_score": start}
            boosters.append(xgboost.train(parameters, data, num_boost_round=self.rounds))
        return boosters

    def _constraints(self, width: int) -> str:
        signs = dict.fromkeys(self.increasing, 1) | dict.fromkeys(self.decreasing, -1)
        if signs and self.columns is None:
            raise InvalidInputError("monotone columns are given by name: fit(..., columns=...)")
        names = [c.name for c in self.columns or ()] or [""] * width
        for name in signs:
            if name not in names:
                raise InvalidInputError(unknown("column", name, names))
        return "(" + ",".join(str(signs.get(name, 0)) for name in names) + ")"

    def _answers(self, c: Array) -> tuple[Array, float]:
        return _predicted(c, self._boosters, self._trends), 1.0

    def _state(self) -> dict[str, Any]:
        state = super()._state() | {f"trend{k}": trend for k, trend in enumerate(self._trends)}
        raw = {f"booster{k}": np.frombuffer(b.save_raw("ubj"), np.uint8) for k, b in enumerate(self._boosters)}
        return state | raw

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        members = range(self.members)
        self._boosters = [_xgboost().Booster({"nthread": 1}) for _ in members]
        for k, booster in enumerate(self._boosters):
            booster.load_model(bytearray(state[f"booster{k}"]))
        self._trends = [take(state, f"trend{k}", Polynomial) for k in members if f"trend{k}.weights" in state]


def _unseen_error(c: Array, z: Array, counts: Array, boosters: list[Any], trends: list[Polynomial]) -> float:
    """Mean square error of predictions out of the bag."""
    rows, honest = out_of_bag(_predicted(c, boosters, trends), 1.0, counts)
    return float(np.mean((z[rows] - honest.mean) ** 2)) if len(rows) else np.inf


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
