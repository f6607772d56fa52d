"""Channel families of measured tables: what is held fixed while measuring, and what is integrated afterwards.

Given the instantaneous gain, damage does not depend on the fading law. So a table is measured without fading, at the
*levels* of its family, and serves every scenario of that family: any Nakagami shape, any range of noise or SNR.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mbrl_split.columns import Column
from mbrl_split.errors import InvalidInputError, UnsupportedError
from mbrl_split.layer_split.scenarios import ChannelSpec, Scenario
from mbrl_split.layer_split.tables.grids import GainGrid, Grid, LossGrid, RatioGrid
from mbrl_split.registry import unknown

Levels: TypeAlias = Mapping[str, tuple[float, ...]]
"""Where a family is measured, by axis: ascending numbers."""

PURE_NOISE = 1e6
"""Stands for noise/h = ∞: the received state is noise a million times larger than what was sent, and the model's
norms bring it back to scale. Measured in every family in which the receiver divides by the gain."""


@dataclass(frozen=True)
class Family:
    """One channel family.

    Attributes:
        name: For instance ``"equalised"``.
        channel: The channel while measuring.
        intensity: The context column that says how bad the channel is.
        levels: Default levels.
        points: Contexts to measure, (knots, columns), from levels.
        columns: Names of those contexts' columns.
        grid: How to read between them.
    """

    name: str
    channel: ChannelSpec
    intensity: str
    levels: Levels
    columns: tuple[str, ...]
    points: Callable[[Levels], NDArray[np.float64]]
    grid: Callable[[Levels], Grid]

    def check_levels(self, levels: Levels) -> None:
        """Refuse levels that cannot be measured or read.

        Raises:
            InvalidInputError: An axis is missing, unknown, or not ascending.
        """
        if set(levels) != set(self.levels):
            raise InvalidInputError(
                f"family {self.name!r} has the levels {', '.join(self.levels)}, not {', '.join(levels)}"
            )
        for axis, values in levels.items():
            x = np.asarray(values, dtype=np.float64)
            if x.ndim != 1 or len(x) < 2 or not np.isfinite(x).all() or (np.diff(x) <= 0).any():
                raise InvalidInputError(f"levels of {axis} are at least two finite numbers, ascending, not {values}")
            if axis in ("noise", "loss") and x[0] <= 0:
                raise InvalidInputError(f"levels of {axis} start above 0, not at {x[0]:g}")
            if axis == "gain" and x[0] != 0:
                raise InvalidInputError(f"levels of gain start at 0, not at {x[0]:g}")
            if axis == "bits" and ((x != np.rint(x)).any() or x[0] < 2 or x[-1] > 16):
                raise InvalidInputError(f"levels of bits are integers from 2 to 16, not {values}")
            if axis == "loss" and x[-1] > 1:
                raise InvalidInputError(f"levels of loss are at most 1, not {x[-1]:g}")

    def measured(self, scenario: Scenario, levels: Levels) -> Scenario:
        """The scenario as it is measured: the instantaneous channel, with contexts at :attr:`points`."""
        at = self.points(levels)
        context = tuple(
            Column(name, "", float(low), float(high), "ordinal" if name == "bits" else "linear")
            for name, low, high in zip(self.columns, at.min(0), at.max(0), strict=True)
        )
        return replace(scenario, name=f"{scenario.name} ({self.name})", channel=self.channel, context=context)


def _snr_points(levels: Levels) -> NDArray[np.float64]:
    return np.array([*levels["snr_db"][::-1], -20 * np.log10(PURE_NOISE)])[:, None]


def _snr_grid(levels: Levels) -> Grid:
    return RatioGrid(tuple(float(10 ** (-snr / 20)) for snr in levels["snr_db"][::-1]), in_db=True)


def _raw_points(levels: Levels) -> NDArray[np.float64]:
    noise, gain = np.meshgrid(levels["noise"], levels["gain"], indexing="ij")
    return np.column_stack([noise.ravel(), gain.ravel()])


def _packet_points(levels: Levels) -> NDArray[np.float64]:
    # A packet of the outage channel is lost where its uniform is below the loss probability, whatever the law; under
    # Rayleigh fading and a threshold of 0 dB that is 1 − exp(−1/γ̄).
    loss = np.minimum(levels["loss"], 1 - 1e-12)
    snr_db = -10 * np.log10(-np.log1p(-loss))
    return np.column_stack([snr_db, np.ones_like(snr_db)])


_SNR: Levels = {"snr_db": tuple(float(x) for x in np.arange(-15, 33, 3))}
_LOSS: Levels = {"loss": (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)}
_BITS: Levels = {"bits": tuple(float(x) for x in range(2, 17))}
_STILL = ChannelSpec(fading="none")


def _numbered(name: str, axis: Literal["loss", "bits"], levels: Levels, channel: ChannelSpec) -> Family:
    """A family whose one axis is the context's number itself."""
    return Family(
        name,
        channel,
        axis,
        levels,
        (axis,),
        lambda levels: np.array(levels[axis])[:, None],
        lambda levels: LossGrid(tuple(levels[axis]), from_zero=axis == "loss"),
    )


def _snr(power: Literal["token", "tensor"]) -> Family:
    channel = replace(_STILL, kind="snr", power=power)
    return Family(f"snr-{power}", channel, "snr_db", _SNR, ("snr_db",), _snr_points, _snr_grid)


FAMILIES: dict[str, Family] = {
    f.name: f
    for f in (
        Family(
            "equalised",
            _STILL,
            "noise",
            {"noise": tuple(float(f"{x:.4g}") for x in np.geomspace(0.1, 100, 16))},
            ("noise",),
            lambda levels: np.array([*levels["noise"], PURE_NOISE])[:, None],
            lambda levels: RatioGrid(tuple(levels["noise"])),
        ),
        Family(
            "raw",
            replace(_STILL, csi="none"),
            "noise",
            {
                "noise": tuple(float(f"{x:.4g}") for x in np.geomspace(0.03, 3, 7)),
                "gain": (0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 1.9, 2.5, 3.3),
            },
            ("noise", "gain"),
            _raw_points,
            lambda levels: GainGrid(tuple(levels["noise"]), tuple(levels["gain"])),
        ),
        _snr("token"),
        _snr("tensor"),
        _numbered("erasure-element", "loss", _LOSS, replace(_STILL, kind="erasure", unit="element")),
        _numbered("erasure-token", "loss", _LOSS, replace(_STILL, kind="erasure", unit="token")),
        Family(
            "erasure-packet",
            ChannelSpec(kind="packet"),
            "snr_db",
            _LOSS,
            ("snr_db", "m"),
            _packet_points,
            lambda levels: LossGrid(tuple(levels["loss"]), outage_db=0.0),
        ),
        _numbered("quantise-token", "bits", _BITS, replace(_STILL, kind="quantise", scale="token")),
        _numbered("quantise-tensor", "bits", _BITS, replace(_STILL, kind="quantise", scale="tensor")),
    )
}
"""The families of channels that share a measured table, by name."""

_HEEDED = {
    "radio": ("csi",),
    "snr": ("csi", "power"),
    "erasure": ("unit", "conceal"),
    "packet": ("conceal", "mtu", "header", "interleave"),
    "quantise": ("scale",),
}
"""What each kind of channel heeds, apart from the law of the gain, which is integrated afterwards."""


def family_named(name: str) -> Family:
    """The family of a name.

    Raises:
        InvalidInputError: There is none.
    """
    if name not in FAMILIES:
        raise InvalidInputError(unknown("channel family", name, FAMILIES))
    return FAMILIES[name]


def family_of(channel: ChannelSpec) -> Family:
    """The family whose table serves a scenario's channel.

    Raises:
        UnsupportedError: No family does: the gain varies within a window, a raw channel at a given SNR, or a plug-in's
            channel.
    """
    if channel.kind not in _HEEDED:
        raise UnsupportedError(f"tables know no channel of kind {channel.kind!r}; measure it live")
    if channel.kind in ("radio", "snr") and not channel.block:
        raise UnsupportedError(
            "tables hold one gain per window (block fading); measure a channel with block=False live"
        )
    if channel.kind == "erasure" and channel.unit == "packet":
        # A packet is lost where its uniform is below the loss probability, given or by outage: one table serves both.
        by_outage = family_of(_bare(replace(channel, kind="packet")))
        return replace(by_outage, intensity="loss", grid=lambda levels: LossGrid(tuple(levels["loss"])))
    for family in FAMILIES.values():
        if _bare(family.channel) == _bare(channel):
            return family
    raise UnsupportedError(f"no table family serves the channel {dataclasses.asdict(channel)}; measure it live")


def _bare(channel: ChannelSpec) -> ChannelSpec:
    """The channel without what its kind ignores, and without its fading."""
    heeded = {name: getattr(channel, name) for name in _HEEDED[channel.kind]}
    return ChannelSpec(kind=channel.kind, fading="none", **heeded)
