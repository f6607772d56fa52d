"""The exhaustive table: measure every split on a grid of contexts, interpolate, take the argmax.

What an engineer without machine learning would do with the same number of evaluations. The grid is as fine as the
budget allows, finer along the first context column (the noise) than along the others; between grid points the damage
is interpolated linearly along each column's scale. All splits of one grid point share their text windows and channel
seeds, so that the differences between splits, which are what the argmax needs, carry less noise.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.interpolate import RegularGridInterpolator

from mbrl_split import InvalidInputError
from mbrl_split.bench.base import Array, CurvePoint, Method, Task


def grid_shape(cells: int, columns: int) -> tuple[int, ...]:
    """Points per context column: their product at most ``cells``, the first about 1.6 times the others."""
    if columns == 1:
        return (cells,)
    rest = max(2, int((cells / 1.6) ** (1 / columns)))
    return (cells // rest ** (columns - 1), *([rest] * (columns - 1)))


class ExhaustiveTable(Method):
    """Every split on a grid, in one go."""

    def learn(self, task: Task) -> Iterator[CurvePoint]:
        splits, columns = task.actions, task.context_columns
        varying = [j for j, c in enumerate(columns) if c.low < c.high]
        # Shared references are charged once: set that aside before sizing the grid.
        clean = task.ledger.oracle.reference_evaluations
        budget = task.ledger.remaining
        shape = grid_shape(int((budget - clean) // len(splits)), len(varying))
        if min(shape) < 2:
            raise InvalidInputError(
                f"an exhaustive table of {len(splits)} splits needs {int(clean) + len(splits) * 2 ** len(varying)} "
                f"true evaluations or more, not {budget:g}"
            )
        axes = [np.linspace(0.0, 1.0, k) for k in shape]
        points = np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=1)
        context = np.column_stack([np.full(len(points), c.low) for c in columns])
        for axis, j in enumerate(varying):
            context[:, j] = columns[j].from_unit(points[:, axis])
        seeds = task.rng(1).integers(0, 2**31, size=len(context))
        X = task.query(np.repeat(splits, len(context)), np.tile(context, (len(splits), 1)))
        damage = task.ledger.measure(X, seeds=np.tile(seeds, len(splits))).mean
        table = RegularGridInterpolator([splits.astype(float), *axes], damage.reshape(len(splits), *shape))

        def interpolate(rows: Array) -> Array:
            unit = [np.clip(columns[j].to_unit(rows[:, j + 1]), 0.0, 1.0) for j in varying]
            return np.asarray(table(np.column_stack([rows[:, 0], *unit])))

        yield CurvePoint(task.lookup(interpolate))
