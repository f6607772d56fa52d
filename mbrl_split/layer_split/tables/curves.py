"""The expected damage over all contexts, tabulated once so that looking it up costs next to nothing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mbrl_split.columns import Column
from mbrl_split.layer_split.tables.grids import Grid, bracket, cubic_resample, shape_of

Floats = NDArray[np.float64]

STEP_NOISE, STEP_DB, STEP_SHAPE = 0.05, 0.4, 0.1
"""Largest steps of exact integration: along ln noise, along dB, along ln m. The fading law has smoothed the surface, so
cubics between them do; the surface is kept :data:`FINER` times finer, to be read bilinearly."""
FINER = 4


@dataclass(frozen=True)
class Landscape:
    """Mean and standard error of the expected damage, over the contexts of a scenario.

    Attributes:
        intensity: Nodes along the intensity, in the column's unit scale [0, 1], shape (a,).
        shape: Nodes along the shape of the fading, likewise, shape (b,).
        values: Mean and standard error, shape (splits·a·b, 2).
    """

    intensity: Floats
    shape: Floats
    values: Floats

    @classmethod
    def of(cls, nodes: tuple[Floats, Floats], values: Floats) -> Landscape:
        """From values at the nodes of :func:`node_weights`, shape (splits, a·b, 2)."""
        a, b = (_finer(x) for x in nodes)
        coarse = values.reshape(len(values), len(nodes[0]), len(nodes[1]), 2)
        fine = np.einsum(
            "ai,bj,pijv->pabv", cubic_resample(nodes[0], a), cubic_resample(nodes[1], b), coarse, optimize=True
        )
        fine[..., 1] = np.maximum(fine[..., 1], 0.0)  # a cubic undershoots where the damage falls to nothing
        return cls(a, b, np.ascontiguousarray(fine.reshape(-1, 2)))

    def read(self, split: NDArray[np.int64], intensity: Floats, shape: Floats) -> tuple[Floats, Floats]:
        """Mean and standard error at unit coordinates, (n,) each; ``split`` counts the splits of ``values``."""
        (i, i_up), x = bracket(self.intensity, intensity)
        (j, j_up), y = bracket(self.shape, shape)
        row = split * len(self.intensity)
        low, high = (row + i) * len(self.shape), (row + i_up) * len(self.shape)
        x, y = x[:, None], y[:, None]
        found = (1 - x) * ((1 - y) * self.values[low + j] + y * self.values[low + j_up])
        found += x * ((1 - y) * self.values[high + j] + y * self.values[high + j_up])
        return found[:, 0], found[:, 1]


@lru_cache(maxsize=16)
def node_weights(grid: Grid, intensity: Column, m: Column) -> tuple[tuple[Floats, Floats], Floats]:
    """Nodes along intensity and shape (unit scales), and the exact weights of the measured values at all pairs."""
    a = _nodes(intensity, STEP_DB if intensity.name == "snr_db" else STEP_NOISE)
    b = _nodes(m, STEP_SHAPE)
    x, y = np.meshgrid(intensity.from_unit(a), m.from_unit(b), indexing="ij")
    return (a, b), grid.weights(x.ravel(), shape_of(m.name, y.ravel()))


def _nodes(column: Column, step: float) -> Floats:
    """Nodes on the unit scale, ``step`` apart at most in ln of the coordinate, or in dB."""
    if column.low == column.high:
        return np.zeros(1)
    if column.scale == "log" or column.name == "snr_db":
        length = np.log(column.high / column.low) if column.scale == "log" else column.high - column.low
        return np.linspace(0, 1, max(4, int(np.ceil(length / step)) + 1))
    # A linear scale that may start at 0: even in ln from 1e-4 of its end, where damage is next to nothing.
    start = max(column.low, column.high / 10_000)
    nodes = np.geomspace(start, column.high, max(4, int(np.ceil(np.log(column.high / start) / step)) + 1))
    return np.unique(np.concatenate([[0.0], np.clip(column.to_unit(nodes), 0, 1)]))


def _finer(nodes: Floats) -> Floats:
    places = np.linspace(0, len(nodes) - 1, (len(nodes) - 1) * FINER + 1)
    return np.interp(places, np.arange(len(nodes)), nodes)
