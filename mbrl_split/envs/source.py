"""Who answers the costly number: the one thing that differs between RL and MBRL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.columns import Column
from mbrl_split.errors import InvalidInputError

if TYPE_CHECKING:  # an environment that is handed its source need not load these rooms
    from mbrl_split.oracles import Ledger
    from mbrl_split.surrogates.base import Surrogate


class OracleSource:
    """The truth, one true evaluation per row, paid through a ledger.

    A deep copy is the same source: what it pays must be counted in one place, even where Gymnasium copies the
    arguments an environment was made with.

    Example:
        >>> from mbrl_split.columns import Column
        >>> from mbrl_split.envs import OracleSource
        >>> from mbrl_split.oracles import FunctionOracle, Ledger
        >>> source = OracleSource(Ledger(FunctionOracle(lambda X: X[:, 0] ** 2, [Column("x", "1", 0, 9)]), budget=3))
        >>> source.answer([[1.0], [2.0]], seeds=[0, 1]), source.ledger.spent
        (array([1., 4.]), 2.0)
    """

    version = 0

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.columns = ledger.oracle.columns

    def answer(self, X: ArrayLike, *, seeds: ArrayLike) -> NDArray[np.float64]:
        return self.ledger.measure(X, seeds=seeds).mean

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


class SurrogateSource:
    """A surrogate in place of the truth.

    Args:
        surrogate: Any fitted surrogate of the costly number.
        columns: What the columns of a query mean.
        mode: ``"mean"``; ``"lcb"``, pessimistic about a number that is a cost: mean + kappa·std_epistemic;
            ``"sample"``, one posterior draw per distinct seed.
        kappa: Width of the pessimism, in epistemic standard deviations.

    Example:
        >>> import numpy as np
        >>> from mbrl_split.columns import Column
        >>> from mbrl_split.envs import SurrogateSource
        >>> from mbrl_split.surrogates import GPSurrogate
        >>> columns, X = (Column("x", "1", 0, 9),), np.linspace(0, 9, 20)[:, None]
        >>> surrogate = GPSurrogate().fit(X, X[:, 0] ** 2, columns=columns)
        >>> round(float(SurrogateSource(surrogate, columns).answer([[3.0]], seeds=[0])[0]), 1)
        9.0
    """

    def __init__(
        self,
        surrogate: Surrogate,
        columns: tuple[Column, ...],
        mode: Literal["mean", "lcb", "sample"] = "mean",
        kappa: float = 1.0,
    ) -> None:
        if mode not in ("mean", "lcb", "sample"):
            raise InvalidInputError(f"mode is 'mean', 'lcb' or 'sample', not {mode!r}")
        self.surrogate, self.columns, self.mode, self.kappa = surrogate, columns, mode, kappa
        self.version = 1

    def replace(self, surrogate: Surrogate) -> None:
        """Answer from another (refitted) surrogate from now on."""
        self.surrogate = surrogate
        self.version += 1

    def answer(self, X: ArrayLike, *, seeds: ArrayLike) -> NDArray[np.float64]:
        if self.mode == "sample":
            x, s = np.asarray(X, dtype=np.float64), np.asarray(seeds)
            out = np.empty(len(x))
            for seed in np.unique(s):
                rows = s == seed
                out[rows] = self.surrogate.sample(x[rows], 1, np.random.default_rng(int(seed)))[0]
            return out
        p = self.surrogate.predict(X)
        return p.mean if self.mode == "mean" else p.mean + self.kappa * p.std_epistemic
