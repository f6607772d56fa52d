"""What changes from turn to turn of a session, and what a turn costs: the parts of a scenario in which planning pays.

Plain data; the rules stand in ``mbrl_split.layer_split.context_process`` and ``mbrl_split.layer_split.costs``. A
scenario with a :class:`ContextProcessSpec` is a session: a step is one turn of a conversation, the channel and the
server's load have memory, and the model's cache lies where the split was, so that moving the split moves a cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mbrl_split.errors import InvalidInputError
from mbrl_split.registry import unknown


@dataclass(frozen=True)
class ContextProcessSpec:
    """What changes between the turns of a session.

    The defaults follow from sources, not from results: the user walks at the 3 km/h of the ITU's indoor and
    micro-cellular test environments (reports M.2135 and M.2412); a turn lasts as long as it takes to say a prompt of 64
    tokens (150 words/min) and to read an answer of 64 (238 words/min, Brysbaert 2019), at .75 words per token.

    Attributes:
        correlation: Of the latent (Gaussian) noise level between turns; None: exp(−speed·turn_seconds/decorrelation).
        speed: Of the user, m/s.
        turn_seconds: From one turn to the next, s.
        decorrelation: Distance over which shadowing loses all but 1/e of its correlation, m. 3GPP TR 38.901 table
            7.5-6: 50 m (urban macro, no line of sight), 13 m (urban micro, no line of sight), 37 and 10 m with it.
        marginal: Stationary law of the noise along its column's scale: ``"uniform"``, as in the plain scenarios, or
            ``"normal"``, a normal law cut at the column's ends (on a log scale: log-normal shadowing).
        spread: Standard deviations from the middle of the column to its ends (``"normal"`` only).
        trace: Instead of the Gauss–Markov level: a CSV file of mean SNRs (see ``context_process.mobility``), or
            ``"synthetic"``, one long drive past base stations. An episode starts anywhere on it.
        fading: The gain is a state with memory, and the damage that of its instantaneous value. Needs a channel with
            ``fading="none"`` and receiver knowledge: what is asked is the noise σ/h.
        m: Nakagami shape of that gain.
        doppler: f_D·T of that gain between turns; at most 0.38. None: from speed, carrier and slot.
        carrier_ghz: Carrier frequency, GHz.
        slot_seconds: Time between two values of the gain, s.
        sees_gain: The gain belongs to the observation.
        edge_load: Utilisations of the server, each in [0, 1).
        edge_stay: Chance that the load stays where it is for a turn; else it goes to any other level alike.
        session: The context grows and its cache moves with the split; False: independent requests, which move free.
        start_tokens: Tokens of context when the episode starts; they are run at the first turn's split, unbilled.
        prompt_tokens: Tokens of a turn's prompt.
        answer_tokens: Tokens of a turn's answer.
        battery_joules: Capacity of the battery, J; None: mains.
        background_watts: What the device draws beside the model, W.
        delay: The agent knows the noise as it was so many turns ago.
        knowledge_error: Standard deviation of what the agent knows of the noise, dB.

    Raises:
        InvalidInputError: A value outside its range.
    """

    correlation: float | None = None
    speed: float = 0.83
    turn_seconds: float = 30.0
    decorrelation: float = 50.0
    marginal: Literal["uniform", "normal"] = "uniform"
    spread: float = 2.0
    trace: str | None = None
    fading: bool = False
    m: float = 2.0
    doppler: float | None = None
    carrier_ghz: float = 3.5
    slot_seconds: float = 0.001
    sees_gain: bool = False
    edge_load: tuple[float, ...] = (0.2, 0.8)
    edge_stay: float = 0.8
    session: bool = True
    start_tokens: int = 512
    prompt_tokens: int = 64
    answer_tokens: int = 64
    battery_joules: float | None = 50_000.0
    background_watts: float = 1.0
    delay: int = 0
    knowledge_error: float = 0.0

    def __post_init__(self) -> None:
        if self.correlation is not None and not 0 <= self.correlation < 1:
            raise InvalidInputError(f"correlation lies in [0, 1), not {self.correlation}")
        if self.marginal not in ("uniform", "normal"):
            raise InvalidInputError(unknown("marginal", str(self.marginal), ("uniform", "normal")))
        object.__setattr__(self, "edge_load", tuple(float(u) for u in self.edge_load))  # a suite gives a list
        if not self.edge_load or not all(0 <= u < 1 for u in self.edge_load):
            raise InvalidInputError(f"edge_load holds utilisations in [0, 1), not {self.edge_load}")
        if not 0 <= self.edge_stay <= 1:
            raise InvalidInputError(f"edge_stay is a probability, not {self.edge_stay}")
        for name in ("turn_seconds", "decorrelation", "spread", "carrier_ghz", "slot_seconds"):
            _positive(name, getattr(self, name))
        for name in ("speed", "background_watts", "knowledge_error", "delay", "start_tokens", "prompt_tokens"):
            if not getattr(self, name) >= 0:
                raise InvalidInputError(f"{name} is at least 0, not {getattr(self, name)}")
        if self.answer_tokens < 1:
            raise InvalidInputError(f"answer_tokens is at least 1, not {self.answer_tokens}")
        if self.battery_joules is not None:
            _positive("battery_joules", self.battery_joules)
        if self.m < 0.5:
            raise InvalidInputError(f"a Nakagami shape m is at least 0.5, not {self.m}")
        if self.sees_gain and not self.fading:
            raise InvalidInputError("sees_gain shows the gain of a context process with fading=True")


@dataclass(frozen=True)
class CostSpec:
    """What a turn costs; names of profiles in ``mbrl_split.layer_split.costs``.

    The load term of the reward becomes load·(1 − share): with a free link and an idle, infinitely fast server the
    share is p/L, the plain scenarios' term. See ``costs.turn``.

    Attributes:
        device: Profile of the user's device.
        edge: Profile of the server.
        radio: Profile of the link.
        model: Sizes of the language model whose costs are counted; its number of layers is the measured model's.
        bits: Of a transmitted number, hidden states and cache alike.
        time_share: β: the share of seconds in the costs; the rest is the device's energy.
        deadline: Longest turn, s; splits that take longer are masked. None: no deadline.
        memory: Bytes of the device that weights and cache may take; None: what the device's profile grants.
        low_battery: The price of a joule rises linearly from 1 (full) to 1 + low_battery (empty).
    """

    device: str = "phone"
    edge: str = "l4"
    radio: str = "5g"
    model: str = "smollm2-135m"
    bits: int = 16
    time_share: float = 0.5
    deadline: float | None = None
    memory: float | None = None
    low_battery: float = 1.0

    def __post_init__(self) -> None:
        _positive("bits", self.bits)
        if not 0 <= self.time_share <= 1:
            raise InvalidInputError(f"time_share lies in [0, 1], not {self.time_share}")
        for name in ("deadline", "memory"):
            if getattr(self, name) is not None:
                _positive(name, getattr(self, name))
        if self.low_battery < 0:
            raise InvalidInputError(f"low_battery is at least 0, not {self.low_battery}")


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise InvalidInputError(f"{name} is positive, not {value}")
