"""Between the measured knots: what a table says about a channel state, and about a fading law, that was not measured.

A grid knows where values were measured (its *knots*) and turns them into a *refined* grid, fine enough to be read
piecewise linearly, by local cubic interpolation. Both readings use the same refined values, so they agree by
construction: :meth:`Grid.locate` reads one channel realisation (a replayed evaluation), :meth:`Grid.weights` gives the
exact expectation over the fading law (the truth that policies are judged by). Everything is linear in the values.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mbrl_split.channels.fading_integral import (
    FadingLaw,
    NakagamiFading,
    NoFading,
    RiceFading,
    gain_weights,
    ratio_weights,
)

Floats = NDArray[np.float64]
Shape: TypeAlias = Floats | FadingLaw | None
"""How the gain of each of n rows fades: Nakagami shapes (n,), a law whose parameters are (n, 1), or not at all."""
Places = tuple[Floats, NDArray[np.int64], Floats]
"""Gains (n, w), refined indices (n, w, j) and their weights (n, w, j)."""


def cubic_places(knots: Floats, points: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Local cubic interpolation through the four nearest knots: their indices and weights, (len(points), 4) each.

    Exact for cubics; with fewer than four knots, for polynomials through all of them. Beyond the ends it extrapolates.
    """
    width = min(4, len(knots))
    interval = np.searchsorted(knots, points, side="right") - 1
    start = np.clip(interval - (width // 2 - 1), 0, len(knots) - width)
    index = start[:, None] + np.arange(width)
    near = knots[index]
    weights = np.ones(index.shape)
    for i in range(width):
        for j in range(width):
            if j != i:
                weights[:, i] *= (points - near[:, j]) / (near[:, i] - near[:, j])
    return index, weights


def cubic_resample(knots: Floats, points: Floats) -> Floats:
    """:func:`cubic_places` as a matrix, shape (len(points), len(knots))."""
    index, weights = cubic_places(knots, points)
    matrix = np.zeros((len(points), len(knots)))
    np.put_along_axis(matrix, index, weights, axis=1)
    return matrix


def refined(knots: Floats, step: float) -> Floats:
    """The knots with even steps of at most ``step`` between them."""
    pieces = [np.linspace(a, b, int(np.ceil((b - a) / step)), endpoint=False) for a, b in pairwise(knots)]
    return np.concatenate([*pieces, knots[-1:]])


def bracket(grid: Floats, x: Floats) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], Floats]:
    """The two neighbours of each ``x`` in an ascending grid, and how far ``x`` is towards the upper one, in [0, 1]."""
    low = np.clip(np.searchsorted(grid, x, side="right") - 1, 0, max(len(grid) - 2, 0))
    high = np.minimum(low + 1, len(grid) - 1)
    width = np.where(high > low, grid[high] - grid[low], 1.0)
    return (low, high), np.clip((x - grid[low]) / width, 0.0, 1.0)


def law_of(m: Shape) -> FadingLaw:
    """The law that a shape stands for."""
    if m is None:
        return NoFading()
    return m if isinstance(m, FadingLaw) else NakagamiFading(np.asarray(m)[:, None])


def shape_of(column: str, values: Floats) -> Shape:
    """The fading of rows whose column ``"m"`` (Nakagami), ``"k"`` (Rice) or ``"gain"`` holds ``values``, (n,)."""
    if column == "gain":
        return NoFading(values[:, None])
    return RiceFading(values[:, None]) if column == "k" else values


class Grid(ABC):
    """Where damage was measured.

    Attributes:
        refinement: Refined values = refinement @ measured values, shape (refined, knots).
    """

    refinement: Floats

    @property
    @abstractmethod
    def limits(self) -> tuple[float, float]:
        """The lowest and the highest intensity that can be read."""

    @abstractmethod
    def weights(self, intensity: Floats, m: Shape) -> Floats:
        """Weights of the measured values in the expected damage, shape (n, knots).

        Args:
            intensity: What the context says of noise, SNR or loss, shape (n,).
            m: How the gain fades: Nakagami shapes, shape (n,); another law; None where there is no fading.
        """

    @abstractmethod
    def locate(self, intensity: Floats, m: Shape, u: Floats) -> Places:
        """Where realisations lie on the refined grid.

        Args:
            intensity: As in :meth:`weights`.
            m: As in :meth:`weights`.
            u: One uniform for the gain of each window, shape (n, w).

        Returns:
            Gains (n, w), nan where the channel has no single gain; indices and weights of refined values (n, w, j).
        """


@dataclass(frozen=True)
class RatioGrid(Grid):
    """A receiver that knows the gain: damage depends on s = noise/h alone.

    Knots: ``ratios`` (ascending, positive), then s = ∞, pure noise. At s = 0 damage is 0 and need not be measured; up
    to the first knot it is quadratic in s, from the last to ∞ linear in 1/s.

    Attributes:
        ratios: Measured s, in the unit of the noise.
        in_db: The intensity is an SNR in dB, and the noise is 10^(−SNR/20).
    """

    ratios: tuple[float, ...]
    in_db: bool = False

    STEP = 0.03
    """Largest step of the refined grid in ln s: linear reading in 1/s then errs by less than 0.1 % of the damage."""

    @cached_property
    def fine(self) -> Floats:
        """The refined finite ratios."""
        return np.exp(refined(np.log(self.ratios), self.STEP))

    @cached_property
    def refinement(self) -> Floats:  # type: ignore[override]
        """Rows: s = 0, the fine ratios, ∞."""
        knots, fine = np.asarray(self.ratios), self.fine
        matrix = np.zeros((len(fine) + 2, len(knots) + 1))
        # D·(1 + 1/s²) is nearly level at both ends, where D itself goes from s² to a plateau: what is interpolated in
        # ln s is that product, which halves the knots needed for the same error.
        level = cubic_resample(np.log(knots), np.log(fine)) * (1 + knots**-2.0)
        matrix[1:-1, :-1] = level / (1 + fine**-2.0)[:, None]
        matrix[-1, -1] = 1
        return matrix

    @property
    def limits(self) -> tuple[float, float]:
        return (-np.inf, np.inf) if self.in_db else (0.0, np.inf)

    def _noise(self, intensity: Floats) -> Floats:
        return 10 ** (-intensity / 20) if self.in_db else intensity

    def weights(self, intensity: Floats, m: Shape) -> Floats:
        return ratio_weights(law_of(m), self._noise(intensity), self.fine) @ self.refinement

    def locate(self, intensity: Floats, m: Shape, u: Floats) -> Places:
        gains = law_of(m).quantile(u)
        fine = self.fine
        last = len(fine) - 1
        # A gain of exactly 0 (u = 0) is s = ∞.
        with np.errstate(divide="ignore", invalid="ignore"):
            s = np.where(gains > 0, self._noise(intensity)[:, None] / gains, np.inf)
        # Cell i lies between refined rows i and i + 1: 0 | fine[0] | … | fine[last] | ∞.
        cell = np.searchsorted(fine, s, side="right")
        left, right = fine[np.maximum(cell - 1, 0)], fine[np.minimum(cell, last)]
        inverse = 1 / np.maximum(s, fine[0])
        width = 1 / left - 1 / right
        part = np.divide(1 / left - inverse, width, out=np.zeros_like(s), where=(cell > 0) & (cell <= last))
        part = np.where(cell > last, 1 - inverse * fine[-1], part)
        part = np.where(cell == 0, (s / fine[0]) ** 2, part)
        return gains, np.stack([cell, cell + 1], axis=-1), np.stack([1 - part, part], axis=-1)


@dataclass(frozen=True)
class GainGrid(Grid):
    """The raw channel h·x + n: damage depends on noise and gain.

    Knots: every pair of ``noises`` (ascending, positive) and ``gains`` (ascending, from 0), the gain varying fastest.
    Damage is constant in h beyond the last gain; the noise must lie within the measured ones.
    """

    noises: tuple[float, ...]
    gains: tuple[float, ...]

    STEP_NOISE, STEP_GAIN = 0.1, 0.03
    """Largest steps of the refined grid, in ln noise and in h."""

    @cached_property
    def fine_noise(self) -> Floats:
        """Refined ln noise."""
        return refined(np.log(self.noises), self.STEP_NOISE)

    @cached_property
    def fine_gain(self) -> Floats:
        """Refined gains, from 0."""
        return refined(np.asarray(self.gains), self.STEP_GAIN)

    @cached_property
    def _resample(self) -> tuple[Floats, Floats]:
        by_noise = cubic_resample(np.log(self.noises), self.fine_noise)
        return by_noise, cubic_resample(np.asarray(self.gains), self.fine_gain)

    @cached_property
    def refinement(self) -> Floats:  # type: ignore[override]
        by_noise, by_gain = self._resample
        return np.asarray(np.kron(by_noise, by_gain), dtype=np.float64)

    @property
    def limits(self) -> tuple[float, float]:
        return self.noises[0], self.noises[-1]

    def weights(self, intensity: Floats, m: Shape) -> Floats:
        by_noise, by_gain = self._resample
        (low, high), part = bracket(self.fine_noise, np.log(intensity))
        noise_weights = (1 - part)[:, None] * by_noise[low] + part[:, None] * by_noise[high]
        gain_part = gain_weights(law_of(m), self.fine_gain) @ by_gain
        return (noise_weights[:, :, None] * gain_part[:, None, :]).reshape(len(intensity), -1)

    def locate(self, intensity: Floats, m: Shape, u: Floats) -> Places:
        gains = law_of(m).quantile(u)
        (quiet, loud), up = bracket(self.fine_noise, np.log(intensity)[:, None])
        (weak, strong), part = bracket(self.fine_gain, gains)
        quiet, loud = quiet * len(self.fine_gain), loud * len(self.fine_gain)
        index = np.stack([quiet + weak, quiet + strong, loud + weak, loud + strong], -1)
        weight = np.stack([(1 - up) * (1 - part), (1 - up) * part, up * (1 - part), up * part], -1)
        return gains, index, weight


@dataclass(frozen=True)
class LossGrid(Grid):
    """Damage depends on one number that the context fixes: a loss probability, or a number of bits.

    Knots: ``losses``, ascending. With a loss, damage at 0 is 0 and need not be measured.

    Attributes:
        losses: Measured losses (or bits).
        outage_db: The intensity is an average SNR in dB, and packets are lost when the instantaneous SNR is under this
            many dB: loss = P(h²·γ̄ < γ_th), for Nakagami fading P(m, m·γ_th/γ̄), the regularised lower incomplete gamma
            function; 1[γ̄ < γ_th] unfaded.
        from_zero: Losses: a curve that starts at (0, 0). False, for bits: linear between the knots.
    """

    losses: tuple[float, ...]
    outage_db: float | None = None
    from_zero: bool = True

    @cached_property
    def fine(self) -> Floats:
        """Refined losses."""
        if not self.from_zero:
            return np.asarray(self.losses)
        return np.unique(np.concatenate([np.linspace(0, self.losses[-1], 201), self.losses]))

    @cached_property
    def refinement(self) -> Floats:  # type: ignore[override]
        if not self.from_zero:
            return np.eye(len(self.losses))
        return cubic_resample(np.array([0.0, *self.losses]), self.fine)[:, 1:]

    @property
    def limits(self) -> tuple[float, float]:
        if self.outage_db is not None:
            return -np.inf, np.inf
        return float(self.fine[0]), self.losses[-1]

    def _loss(self, intensity: Floats, m: Shape) -> Floats:
        if self.outage_db is None:
            return intensity
        least_gain = 10 ** ((self.outage_db - intensity) / 20)
        return law_of(m).below(least_gain[:, None])[:, 0]

    def weights(self, intensity: Floats, m: Shape) -> Floats:
        (low, high), part = bracket(self.fine, self._loss(intensity, m))
        return (1 - part)[:, None] * self.refinement[low] + part[:, None] * self.refinement[high]

    def locate(self, intensity: Floats, m: Shape, u: Floats) -> Places:
        (low, high), part = bracket(self.fine, self._loss(intensity, m))
        index, weight = np.stack([low, high], -1), np.stack([1 - part, part], -1)
        shape = (*u.shape, 2)
        return np.full(u.shape, np.nan), np.broadcast_to(index[:, None], shape), np.broadcast_to(weight[:, None], shape)
