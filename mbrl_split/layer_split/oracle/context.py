"""From a scenario's channel family and one context to the channel itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mbrl_split.channels import Channel, Erasure, Fading, Nakagami, Quantize, Radio, Rayleigh, Rice
from mbrl_split.errors import InvalidInputError
from mbrl_split.layer_split.scenarios import ChannelSpec
from mbrl_split.registry import CHANNELS

# The column that sets a family's intensity, and whether its channel fades.
_INTENSITY = {
    "radio": ("noise", True),
    "snr": ("snr_db", True),
    "erasure": ("loss", False),
    "packet": ("snr_db", True),
    "quantise": ("bits", False),
}
_SHAPE = {"nakagami": {"m"}, "rice": {"k"}, "rayleigh": set[str](), "none": set[str]()}


def check_context(spec: ChannelSpec, names: Sequence[str]) -> None:
    """Refuse context columns that do not say, or say twice, which channel is meant.

    Which columns a plug-in reads is known to the plug-in alone: of its kinds all columns are accepted here.

    Raises:
        InvalidInputError: A column is missing, or would be ignored.
    """
    if spec.kind not in _INTENSITY:
        return
    intensity, fades = _INTENSITY[spec.kind]
    allowed = [{intensity} | (_SHAPE[spec.fading] if fades else set())]
    if fades and spec.kind != "packet":
        allowed.append({intensity, "gain"})
    if set(names) not in allowed:
        wanted = " or ".join(", ".join(sorted(a)) for a in allowed)
        raise InvalidInputError(
            f"a {spec.kind!r} channel with fading {spec.fading!r} has the context {wanted}, not {', '.join(names)}"
        )


def channel_of(spec: ChannelSpec, context: Mapping[str, float], reference_rms: float) -> Channel:
    """The channel of one context.

    Args:
        spec: The family. Its kind names one of the functions below, or that of a plug-in, with these three arguments.
        context: Values by column name: ``noise`` (σ in units of the reference RMS), ``m`` or ``k``, ``gain`` (a fixed
            amplitude |h|), ``snr_db``, ``loss`` or ``bits``.
        reference_rms: The model's median token RMS after layer 1.

    Raises:
        InvalidInputError: A value is out of the channel's range, or a plug-in misses a column or a setting.
    """
    try:
        channel: Channel = CHANNELS[spec.kind](spec, context, reference_rms)
    except (KeyError, TypeError) as error:
        reason = f"it needs {error}" if isinstance(error, KeyError) else str(error)
        raise InvalidInputError(f"channel {spec.kind!r} with the context {', '.join(context)}: {reason}") from error
    return channel


def radio(spec: ChannelSpec, context: Mapping[str, float], reference_rms: float) -> Channel:
    """Noise of a given strength."""
    noise_std, gain = context["noise"] * reference_rms, context.get("gain")
    return Radio(noise_std, fading=_fading(spec, context), csi=spec.csi, block=spec.block, gain=gain)


def snr(spec: ChannelSpec, context: Mapping[str, float], reference_rms: float) -> Channel:
    """Noise relative to what is sent."""
    fading, gain = _fading(spec, context), context.get("gain")
    return Radio(snr_db=context["snr_db"], power=spec.power, fading=fading, csi=spec.csi, block=spec.block, gain=gain)


def erasure(spec: ChannelSpec, context: Mapping[str, float], reference_rms: float) -> Channel:
    """Units are lost."""
    return Erasure(
        context["loss"], spec.unit, spec.conceal, mtu=spec.mtu, header=spec.header, interleave=spec.interleave
    )


def packet(spec: ChannelSpec, context: Mapping[str, float], reference_rms: float) -> Channel:
    """Packets are lost by outage, each of them its own fading block."""
    return Erasure(
        None,
        "packet",
        spec.conceal,
        mtu=spec.mtu,
        header=spec.header,
        interleave=spec.interleave,
        snr_db=context["snr_db"],
        fading=_fading(spec, context),
    )


def quantise(spec: ChannelSpec, context: Mapping[str, float], reference_rms: float) -> Channel:
    """Integers with a shared scale."""
    return Quantize(int(context["bits"]), spec.scale)


def _fading(spec: ChannelSpec, context: Mapping[str, float]) -> Fading | None:
    if "gain" in context:
        return None
    if "m" in context:
        return Nakagami(context["m"])
    if "k" in context:
        return Rice(context["k"])
    return Rayleigh() if spec.fading == "rayleigh" else None
