"""The bill of a turn: seconds and joules by part, and the share of the load term that they take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.errors import InvalidInputError
from mbrl_split.layer_split.costs.profiles import DEVICES, MODELS, RADIOS, Device
from mbrl_split.layer_split.costs.rules import cache_bits, layer_seconds, link_rate, memory_bytes, queued
from mbrl_split.layer_split.sessions import ContextProcessSpec, CostSpec
from mbrl_split.registry import unknown

Array = NDArray[np.float64]

TOKEN_BITS = 32
"""An answer token on its way back to the device."""


@dataclass(frozen=True)
class Turn:
    """Seconds and joules of turns; arrays that broadcast against each other.

    Attributes:
        device: Seconds in which the device computes, prefill and decoding.
        uplink: Seconds in which hidden states are sent.
        downlink: Seconds in which tokens are received.
        edge: Seconds in which the server computes, waiting in its queue included.
        moving: Seconds of moving the cache to where the split now is.
        fixed: Seconds of round trips and per-message overhead, the same for every split.
        moving_joules: Energy of the device's radio for that.
        compute_joules: Energy of the device's processor.
        joules: Energy of the device: processor and radio, moving included.
    """

    device: Array
    uplink: Array
    downlink: Array
    edge: Array
    moving: Array
    fixed: float
    moving_joules: Array
    compute_joules: Array
    joules: Array

    @property
    def seconds(self) -> Array:
        """From prompt to last token."""
        return self.device + self.uplink + self.downlink + self.edge + self.moving + self.fixed


class Prices:
    """What the turns of a session cost on one device, link and server.

    A turn at split p with a cache of T tokens: if the split moved by Δ layers, their keys and values cross the link
    (down to the device when it got deeper, up when it got shallower). Then prefill: the prompt's tokens pass p layers
    on the device, one message carries their hidden states, the server runs the rest and returns the first answer
    token. Then decoding: each further token makes the same way alone. Embedding and head are the same for every split
    and left out.

    The first turn's split is free: the context of the start is run where the session begins, and setting a session up
    is not billed. Were the first move paid for, from a split drawn at random, a policy could win much by never leaving
    a split that chance has put it on, and the best fixed split would be judged by the way to it.

    **Share of the load term.** The reward is quality term + load·(1 − share), where

        share = (1 − β)·price·E/E_ref + β·(t − t_fixed)/t_ref.

    E_ref and t_ref are energy and seconds of all layers on the device alone, with the cache halfway through the
    session: with a free link and an infinitely fast server the share is p/L. The fixed seconds are the same whatever
    the agent does; leaving them out moves every reward by the same constant.

    Args:
        costs: Names of the profiles, and how costs are weighed.
        context_process: Tokens of a turn, and of the cache at the start.
        n_layers: L of the model that is measured.
        turns: Turns of a session.

    Attributes:
        tokens: Tokens in the cache before each turn, and after the last, shape (turns + 1,).
        fixed: Seconds of round trips and overhead of a turn.
        reference_seconds: t_ref.
        reference_joules: E_ref.
        memory: Bytes that weights and cache may take on the device.

    Raises:
        InvalidInputError: An unknown profile, or a memory that does not hold even one layer.
    """

    def __init__(self, costs: CostSpec, context_process: ContextProcessSpec, n_layers: int, turns: int) -> None:
        self.costs, self.context_process, self.n_layers = costs, context_process, n_layers
        for what, name, known in (
            ("device", costs.device, DEVICES),
            ("device", costs.edge, DEVICES),
            ("radio", costs.radio, RADIOS),
            ("model size", costs.model, MODELS),
        ):
            if name not in known:
                raise InvalidInputError(unknown(what, name, known))
        self.device, self.edge = DEVICES[costs.device], DEVICES[costs.edge]
        self.radio, self.size = RADIOS[costs.radio], MODELS[costs.model]
        prompt, answer = context_process.prompt_tokens, context_process.answer_tokens
        grown = np.arange(turns + 1) * (prompt + answer) if context_process.session else np.zeros(turns + 1)
        self.tokens = (context_process.start_tokens if context_process.session else 0) + grown.astype(np.float64)
        self.fixed = answer * (self.radio.round_trip + self.radio.overhead)
        self._hidden_bits = float((prompt + answer - 1) * self.size.d * costs.bits)
        self._token_bits = float(answer * TOKEN_BITS)
        self._prefill_device, self._layer_device = self._of_a_layer(self.device)
        self._prefill_edge, self._layer_edge = self._of_a_layer(self.edge)
        # Independent requests leave no cache behind, and before the first turn there is none yet: nothing moves.
        moved = np.where(np.arange(turns + 1) > 0, self.tokens, 0.0) if context_process.session else 0 * self.tokens
        self._moving_bits = cache_bits(self.size, 1.0, moved, costs.bits)
        self.reference_seconds = float(n_layers * self._layer_device[turns // 2])
        self.reference_joules = self.reference_seconds * self.device.watts
        self.memory = self.device.memory if costs.memory is None else costs.memory
        # A turn must fit with the tokens it adds.
        self._layer_bytes = memory_bytes(self.size, 1.0, self.tokens + prompt + answer)
        if self._layer_bytes[: max(1, turns)].max() > self.memory:
            raise InvalidInputError(
                f"one layer of {costs.model} and its cache take {self._layer_bytes.max():.3g} bytes, more than the "
                f"{self.memory:.3g} granted on the device"
            )

    def _of_a_layer(self, device: Device) -> tuple[Array, Array]:
        """Seconds of one layer for each turn: of its prefill, and of the whole of it, decoding included."""
        prompt, answer = self.context_process.prompt_tokens, self.context_process.answer_tokens
        prefill = layer_seconds(device, self.size, prompt, self.tokens + prompt / 2)
        decode = layer_seconds(device, self.size, 1, self.tokens + prompt + answer / 2)
        prefill = np.asarray(prefill * (prompt > 0))
        return prefill, np.asarray(prefill + (answer - 1) * decode)

    def turn(self, split: ArrayLike, before: ArrayLike, snr: ArrayLike, load: ArrayLike, turn: ArrayLike) -> Turn:
        """The bill of turns; the arguments broadcast.

        Args:
            split: p of the turn.
            before: Where the split, and so the cache, was.
            snr: Mean SNR of the uplink, linear.
            load: Utilisation of the server.
            turn: How many turns went before.
        """
        p, t = np.asarray(split), np.asarray(turn)
        up, down = link_rate(self.radio, snr, True), link_rate(self.radio, snr, False)
        moved = p - np.asarray(before)
        bits = np.abs(moved) * self._moving_bits[t]
        moving = bits / np.where(moved > 0, down, up)
        moving_joules = moving * np.where(moved > 0, self.radio.receive_watts, self.radio.send_watts)
        device = p * self._layer_device[t]
        uplink, downlink = self._hidden_bits / up, self._token_bits / down
        edge = queued((self.n_layers - p) * self._layer_edge[t], load)
        compute_joules = device * self.device.watts
        joules = compute_joules + uplink * self.radio.send_watts + downlink * self.radio.receive_watts + moving_joules
        return Turn(device, uplink, downlink, edge, moving, self.fixed, moving_joules, compute_joules, joules)

    def first_token(self, bill: Turn, split: ArrayLike, load: ArrayLike, turn: ArrayLike) -> Array:
        """Seconds of a bill until the first answer token arrives: moving, then the prefill; the rest is decoding."""
        p, t = np.asarray(split), np.asarray(turn)
        prompt, answer = self.context_process.prompt_tokens, self.context_process.answer_tokens
        sent = prompt / max(1, prompt + answer - 1)  # of the turn's hidden states
        edge = queued((self.n_layers - p) * self._prefill_edge[t], load)
        prefill = p * self._prefill_device[t] + bill.uplink * sent + edge
        return np.asarray(bill.moving + prefill + (bill.downlink + bill.fixed) / answer)

    def memory_of(self, split: ArrayLike, turn: ArrayLike) -> Array:
        """Bytes of weights and cache on the device at the end of a turn."""
        return np.asarray(np.asarray(split) * self._layer_bytes[np.asarray(turn)])

    def share(self, bill: Turn, price: ArrayLike = 1.0) -> Array:
        """The share of the load term that a turn takes, at a price of a joule (1 at full charge)."""
        beta = self.costs.time_share
        seconds = (bill.seconds - bill.fixed) / self.reference_seconds
        return np.asarray((1 - beta) * np.asarray(price) * bill.joules / self.reference_joules + beta * seconds)

    def fits(self, split: ArrayLike, turn: ArrayLike) -> NDArray[np.bool_]:
        """Whether weights and cache of p layers fit the device through a turn."""
        return np.asarray(self.memory_of(split, turn) <= self.memory)
