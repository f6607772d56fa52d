"""The rows that our own surrogates learn from, for regressors that know nothing of channels.

With a receiver that knows the gain, the damage of a window depends on the split and on noise/gain alone. A measurement
of w windows is w points of that curve; what a context costs is the curve's average over the fading. A baseline that
learns from these rows has the same information as ours, and is called *informed*.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mbrl_split.channels.fading_integral import NakagamiFading, ratio_weights
from mbrl_split.columns import Column
from mbrl_split.errors import InvalidInputError
from mbrl_split.layer_split.fading_surrogate import window_rows
from mbrl_split.layer_split.scenarios import Scenario
from mbrl_split.oracles import Ledger

Array = NDArray[np.float64]

KNOTS = 48
"""Points of the tabulated curve, evenly spaced in the logarithm of the ratio, as in ``FadingSurrogate``."""


class Ratios:
    """Windows as points (split, noise/gain), and curves over them as damages of contexts.

    Args:
        scenario: Its channel is an equalised Nakagami one.
        n_layers: L of the model.
        ledger: Holds the rows.

    Raises:
        InvalidInputError: Another channel or context: there the rows would mean something else.
    """

    def __init__(self, scenario: Scenario, n_layers: int, ledger: Ledger) -> None:
        split, *context = scenario.columns(n_layers)
        channel = scenario.channel
        plain = (channel.kind, channel.csi, channel.power, channel.fading, channel.block)
        expected = ("radio", "receiver", "absolute", "nakagami", True)
        if plain != expected or [c.name for c in context] != ["noise", "m"]:
            raise InvalidInputError(
                f"per-window rows need an equalised Nakagami channel with the context (noise, m), which scenario "
                f"{scenario.name!r} has not"
            )
        noise = context[0]
        self.ledger, self.splits = ledger, np.arange(1, n_layers)
        self.columns = (split, Column("ratio", noise.unit, noise.low / 3, noise.high * 30, "log"))
        self.knots = self.columns[1].from_unit(np.linspace(0.0, 1.0, KNOTS))

    def rows(self) -> tuple[Array, Array, NDArray[np.int64]]:
        """Everything the ledger holds: (split, ratio) in the unit square (k, 2), damages (k,), evaluation of each."""
        rows = self.ledger.rows()
        X, y, groups = window_rows(rows.X, rows.records)
        ratio = np.clip(X[:, 1] / X[:, 3], self.columns[1].low, self.columns[1].high)
        return self.unit(np.column_stack([X[:, 0], ratio])), y, groups

    def unit(self, rows: Array) -> Array:
        """(split, ratio) mapped to the unit square, each along its scale."""
        return np.column_stack([c.to_unit(rows[:, j]) for j, c in enumerate(self.columns)])

    def predict(self, curve: Callable[[Array], Array]) -> Callable[[Array], Array]:
        """The damage of queries from a curve over the unit square: its mean over h² ~ Gamma(m, 1/m).

        The curve is read at the knots; it is 0 where there is no noise, and beyond the last knot what it is there.
        """
        splits = self.splits
        points = np.column_stack([np.repeat(splits, KNOTS), np.tile(self.knots, len(splits))])
        values = np.asarray(curve(self.unit(points))).reshape(len(splits), KNOTS)
        table = np.column_stack([np.zeros(len(splits)), values, values[:, -1]])

        def damage_at(X: Array) -> Array:
            weights = ratio_weights(NakagamiFading(X[:, 2:3]), X[:, 1], self.knots)
            return np.asarray(np.einsum("nk,nk->n", weights, table[X[:, 0].astype(np.int64) - 1]))

        return damage_at
