"""Mean SNR along a way: path loss and shadowing, made by a formula or read from a file."""

from __future__ import annotations

import csv
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mbrl_split.channels.doppler import shadowing_correlation
from mbrl_split.errors import InvalidInputError
from mbrl_split.layer_split.sessions import ContextProcessSpec

Array = NDArray[np.float64]

LOSS_PER_DECADE = 31.9
"""dB per tenfold distance, 3GPP TR 38.901 table 7.4.1-1, urban micro street canyon without line of sight (optional)."""
SHADOWING_DB = 8.2
"""Standard deviation of its shadowing, dB, same row."""

_SYNTHETIC_TURNS = 4096


def drive_by(
    turns: int,
    context_process: ContextProcessSpec,
    rng: np.random.Generator,
    *,
    spacing: float = 400.0,
    offset: float = 30.0,
    shadowing: float = SHADOWING_DB,
) -> Array:
    """Mean SNR at each turn of a drive along a road past base stations, dB relative to its own median, (turns,).

    The nearest station serves: distance √(offset² + x²), x the way to it along the road; path loss
    31.9·log10(distance), shadowing a Gauss–Markov process of the way travelled.

    Args:
        turns: Length.
        context_process: Speed, time between turns, decorrelation distance.
        rng: Draws the starting place and the shadowing.
        spacing: Between stations, m.
        offset: Of the stations from the road, m.
        shadowing: Standard deviation, dB.
    """
    way = rng.uniform(0, spacing) + context_process.speed * context_process.turn_seconds * np.arange(turns)
    along = (way + spacing / 2) % spacing - spacing / 2
    loss = LOSS_PER_DECADE * np.log10(np.hypot(offset, along))
    rho = shadowing_correlation(context_process.speed, context_process.turn_seconds, context_process.decorrelation)
    fading = accumulate(rng.standard_normal(turns), lambda z, fresh: rho * z + np.sqrt(1 - rho * rho) * fresh)
    snr = -loss + shadowing * np.array(list(fading))
    return np.asarray(snr - np.median(snr))


def read_trace(path: str | Path) -> Array:
    """Mean SNRs in dB from the column ``snr_db`` of a CSV file, one row per turn.

    Raises:
        InvalidInputError: The file cannot be read, lacks the column, holds fewer than two rows or a value that is no
            number.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"cannot read the trace {path}: {error}") from None
    if len(rows) < 2 or "snr_db" not in rows[0]:
        raise InvalidInputError(f"the trace {path} needs a column snr_db and at least two rows")
    found = []
    for number, row in enumerate(rows, start=2):
        try:
            value = float(row["snr_db"])
        except (TypeError, ValueError):
            value = float("nan")
        if not np.isfinite(value):
            raise InvalidInputError(f"{path}, line {number}: snr_db is {row['snr_db']!r}, not a finite number")
        found.append(value)
    return np.array(found)


def trace_of(context_process: ContextProcessSpec, middle_db: float) -> Array:
    """The trace a scenario names, mean SNR in dB: a file's own values, or the synthetic drive about ``middle_db``."""
    assert context_process.trace is not None
    if context_process.trace == "synthetic":
        return middle_db + drive_by(_SYNTHETIC_TURNS, context_process, np.random.default_rng(0))
    return read_trace(context_process.trace)
