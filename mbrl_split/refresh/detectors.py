"""Change detectors on a short series of standardised residuals, recomputed from the series: no state is kept."""

from __future__ import annotations

from collections.abc import Iterable


def cusum(residuals: Iterable[float], slack: float) -> float:
    """Two-sided CUSUM of Page (1954) against a mean of 0: the larger of the sums of what exceeds ±slack, reset at 0."""
    up = down = 0.0
    for z in residuals:
        up = max(0.0, up + z - slack)
        down = max(0.0, down - z - slack)
    return max(up, down)


def page_hinkley(residuals: Iterable[float], slack: float) -> float:
    """Two-sided Page–Hinkley: as CUSUM, but against the running mean of the series itself.

    Blind to an error that was there from the first audit; sees a change, whatever the level before it.
    """
    up = down = mean = 0.0
    for k, z in enumerate(residuals, start=1):
        mean += (z - mean) / k
        up = max(0.0, up + z - mean - slack)
        down = max(0.0, down - z + mean - slack)
    return max(up, down)
