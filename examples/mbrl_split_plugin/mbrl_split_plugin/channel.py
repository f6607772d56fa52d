"""A channel: noise, then the amplitudes that a receiver can still represent."""

from dataclasses import dataclass

import torch

from mbrl_split.channels import Channel, Nakagami, Radio


@dataclass(frozen=True)
class Saturated(Channel):
    """What a radio delivers, clipped to ± `limit` times the token's root mean square."""

    radio: Radio
    limit: float = 3.0

    def sample(self, shape, seeds):
        return self.radio.sample(shape, seeds)

    def apply(self, hidden, realisation):
        received = self.radio.apply(hidden, realisation)
        bound = self.limit * received.float().square().mean(dim=-1, keepdim=True).sqrt().to(hidden.dtype)
        return torch.clamp(received, -bound, bound)


def saturated(spec, context, reference_rms):
    """Called with the scenario's `ChannelSpec`, the context by name, and the unit of its noise."""
    radio = Radio(context["noise"] * reference_rms, fading=Nakagami(context["m"]), csi=spec.csi)
    return Saturated(radio, **(spec.settings or {}))
