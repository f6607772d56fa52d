"""Any function as an oracle."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.columns import Column, check_rows
from mbrl_split.errors import InvalidInputError
from mbrl_split.oracles.base import Measurement, Oracle, check_seeds


class FunctionOracle(Oracle):
    """A function of the query, with optional noise that follows from the row's seed.

    The noise is a function of the seed alone, so rows with equal seeds share it (common random numbers). A measurement
    of k times the declared size has noise of ``noise_std``/√k.

    Args:
        f: Maps queries of shape (n, d) to numbers of shape (n,); must be a function of its argument alone.
        columns: What the columns of a query mean.
        noise_std: Standard deviation of one evaluation's Gaussian noise, in the function's units.
        seconds: What one evaluation is said to take, in seconds.
        identity: A name that changes whenever ``f`` or the noise does. Needed to keep measurements in a store.
        evaluation_size: Size of one true evaluation.
        unit: What a size counts.

    Example:
        >>> from mbrl_split.columns import Column
        >>> from mbrl_split.oracles import FunctionOracle
        >>> oracle = FunctionOracle(lambda X: X[:, 0] ** 2, [Column("x", "1", 0, 9)], noise_std=0.1)
        >>> one, same, other = oracle.measure([[3.0], [3.0], [3.0]], seeds=[0, 0, 1]).mean
        >>> bool(one == same), bool(one == other)
        (True, False)
    """

    def __init__(
        self,
        f: Callable[[NDArray[np.float64]], ArrayLike],
        columns: Sequence[Column],
        noise_std: float = 0.0,
        seconds: float = 0.0,
        identity: str = "",
        evaluation_size: int = 1,
        unit: str = "evaluations",
    ) -> None:
        if not (np.isfinite(noise_std) and noise_std >= 0):
            raise InvalidInputError(f"noise_std is a number of at least 0, not {noise_std}")
        if evaluation_size < 1:
            raise InvalidInputError(f"evaluation_size is at least 1, not {evaluation_size}")
        self.f, self.noise_std, self.seconds = f, float(noise_std), float(seconds)
        self.columns = tuple(columns)
        self.identity = f"function {identity} noise {self.noise_std!r}" if identity else ""
        self.evaluation_size, self.unit = evaluation_size, unit

    def measure(self, X: ArrayLike, *, seeds: ArrayLike, size: int | None = None) -> Measurement:
        price = self.price(X, seeds=seeds, size=size)
        x = check_rows(X, self.columns)
        n, evaluations = len(x), price.size / self.evaluation_size
        value = np.empty(n)
        # One row at a time: a batched function may round a row differently in different company.
        for row in range(n):
            answer = np.asarray(self.f(x[row : row + 1]), dtype=np.float64)
            if answer.shape != (1,):
                raise InvalidInputError(
                    f"the function gave shape {answer.shape} for one query of shape (1, {x.shape[1]})"
                )
            value[row] = answer[0]
        if not np.isfinite(value).all():
            row = int(np.flatnonzero(~np.isfinite(value))[0])
            raise InvalidInputError(f"the function gave {value[row]} for the query {x[row].tolist()}")
        std = self.noise_std / np.sqrt(evaluations)
        if std > 0:
            value = value + std * np.array(
                [np.random.default_rng(int(s)).standard_normal() for s in check_seeds(seeds, n)]
            )
        return Measurement(
            mean=value,
            std_error=np.full(n, std),
            size=np.full(n, price.size),
            n_capped=np.zeros(n, np.int64),
            seconds=np.full(n, self.seconds * evaluations),
        )

    def expected(self, X: ArrayLike) -> NDArray[np.float64]:
        """The function without its noise, (n,)."""
        return np.asarray(self.f(check_rows(X, self.columns)), dtype=np.float64)
