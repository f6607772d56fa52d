"""Named, frozen scenarios: which text is measured, through which channel, in which contexts, for which reward.

A scenario is data. Override any field by keyword: ``scenario("equalised", episode_steps=1)``, on the command line and
in a suite alike. It names no model: the same scenario is posed to every model, with the noise in units of the model's
own *reference RMS* (the median over tokens of the root mean square of the hidden state after layer 1, kept in the
model's card), so that a range fits models of different scale.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mbrl_split.columns import Column
from mbrl_split.errors import BadInput
from mbrl_split.registry import unknown

PROTOCOL_VERSION = 1
"""Raised whenever the same query would measure something else; part of every stored measurement's key."""


@dataclass(frozen=True)
class RewardSpec:
    """How a reward is composed from the damage D (nats/token) and the split p of L layers.

    ``"log"``: r = −quality·D + load·(1 − p/L).
    ``"relative"`` (the paper's form): r = quality·(1 − exp(D)) + load·(1 − p/L).
    """

    kind: Literal["log", "relative"] = "log"
    quality: float = 3.0
    load: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in ("log", "relative"):
            raise BadInput(f"reward kind is 'log' or 'relative', not {self.kind!r}")


@dataclass(frozen=True)
class ChannelSpec:
    """The channel family of a scenario; the context supplies its intensity.

    Attributes:
        kind: ``"radio"`` (context: noise, m), ``"snr"`` (context: snr_db, m), ``"erasure"`` (context: loss) or
            ``"packet"`` (context: snr_db, m; each packet is its own fading block, lost by outage). A context column
            ``gain`` in place of ``m`` fixes the instantaneous gain.
        csi: ``"receiver"`` divides by the known gain; ``"none"`` passes the raw h·x + n.
        power: Reference power of the noise: ``"absolute"`` (σ itself) or ``"token"`` / ``"tensor"`` (from an SNR).
        block: One gain per window; False draws one per token.
        fading: Law of the gain: ``"nakagami"`` (shape m from the context), or ``"none"``: the gain is 1, or the
            context's ``gain``. Tables are measured on the instantaneous channel, and the law is integrated afterwards.
    """

    kind: Literal["radio", "snr", "erasure", "packet"] = "radio"
    csi: Literal["receiver", "none"] = "receiver"
    power: Literal["absolute", "token", "tensor"] = "absolute"
    block: bool = True
    fading: Literal["nakagami", "none"] = "nakagami"

    def __post_init__(self) -> None:
        for name, known in (
            ("kind", ("radio", "snr", "erasure", "packet")),
            ("csi", ("receiver", "none")),
            ("power", ("absolute", "token", "tensor")),
            ("fading", ("nakagami", "none")),
        ):
            if getattr(self, name) not in known:
                raise BadInput(unknown(f"channel {name}", str(getattr(self, name)), known))


@dataclass(frozen=True)
class Scenario:
    """One decision problem.

    Attributes:
        name: The scenario's name.
        channel: What the radio does to the hidden state.
        context: What the agent cannot choose, as columns; drawn once per episode, uniform along each scale.
        reward: How the reward is composed.
        text: Name of the shipped text, or a path.
        windows: Windows per true evaluation.
        window: Scored tokens per window (each window holds one more, its first, as context).
        pool: Windows of the text that learning may use; each one's clean reference is charged once per ledger.
        actions: ``"absolute"`` picks the next split; ``"relative"`` moves by −max_move … +max_move, clipped.
        max_move: Largest relative move, in layers.
        episode_steps: Decisions per episode; the episode then is truncated.
        drift: The noise falls by exp(−drift·Δ) when the split moves Δ layers deeper (the paper's 0.0005).
        reference: ``"clean"``: damage is relative to the clean model; ``"start"``: the paper's code, relative to the
            perplexity at the episode's start, which then belongs to the observation and costs one measurement.
    """

    name: str
    channel: ChannelSpec
    context: tuple[Column, ...]
    reward: RewardSpec = field(default_factory=RewardSpec)
    text: str = "sotu"
    windows: int = 8
    window: int = 128
    pool: int = 128
    actions: Literal["absolute", "relative"] = "absolute"
    max_move: int = 4
    episode_steps: int = 5
    drift: float = 0.0
    reference: Literal["clean", "start"] = "clean"

    def __post_init__(self) -> None:
        if self.actions not in ("absolute", "relative"):
            raise BadInput(f"actions is 'absolute' or 'relative', not {self.actions!r}")
        if self.reference not in ("clean", "start"):
            raise BadInput(f"reference is 'clean' or 'start', not {self.reference!r}")
        for name in ("windows", "window", "pool", "max_move", "episode_steps"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} is at least 1, not {getattr(self, name)}")
        if self.pool < self.windows:
            raise BadInput(f"pool ({self.pool}) holds at least the {self.windows} windows of one evaluation")
        for column in self.context:
            if column.name == "m" and column.low < 0.5:
                raise BadInput(f"a Nakagami shape m is at least 0.5, not {column.low}")

    @property
    def tokens(self) -> int:
        """Scored tokens of one true evaluation."""
        return self.windows * self.window

    def columns(self, n_layers: int) -> tuple[Column, ...]:
        """The columns of a query: the split (1 … L−1), then the context."""
        return (Column("split", "layers", 1, n_layers - 1, "ordinal"), *self.context)


_NOISE = Column("noise", "RMS", 0.05, 1.0, "log")
_M = Column("m", "1", 0.5, 8.0, "log")

# The noise ranges stand for "the best split moves by at least L/3 between quiet and loud" (see the landscape page);
# the paper's cases L, H and A are not public, so these are ours.
SCENARIOS: dict[str, Scenario] = {
    s.name: s
    for s in (
        Scenario("equalised", ChannelSpec(), (_NOISE, _M)),
        Scenario(
            "paper-a",
            ChannelSpec(csi="none"),
            (_NOISE, _M),
            RewardSpec("relative", quality=10.0),
            drift=0.0005,
        ),
    )
}


def scenario(name: str | Scenario, **overrides: Any) -> Scenario:
    """The named scenario, with any field replaced.

    The composite fields also take plain data, as a suite or the command line has it: ``reward={"quality": 10}`` and
    ``channel={"csi": "none"}`` change the named parts, ``context={"noise": [0.1, 1.0]}`` the range of a column.

    Raises:
        BadInput: The name or a field is unknown, or a value is out of range.
    """
    if isinstance(name, Scenario):
        base = name
    elif name in SCENARIOS:
        base = SCENARIOS[name]
    else:
        raise BadInput(unknown("scenario", name, SCENARIOS))
    changes = {}
    for key, value in overrides.items():
        _known("scenario field", key, Scenario)
        changes[key] = _part(base, key, value) if isinstance(value, Mapping) else value
    return dataclasses.replace(base, **changes)


def _part(base: Scenario, key: str, changes: Mapping[str, Any]) -> Any:
    """A composite field with some of its parts replaced."""
    old = getattr(base, key)
    if key == "context":
        columns = {c.name: c for c in old}
        for name, ends in changes.items():
            if name not in columns:
                raise BadInput(unknown("context column", name, columns))
            try:
                low, high = (float(x) for x in ends)
            except (TypeError, ValueError):
                raise BadInput(f"the range of {name} is [low, high], not {ends!r}") from None
            columns[name] = dataclasses.replace(columns[name], low=low, high=high)
        return tuple(columns.values())
    if not dataclasses.is_dataclass(old) or isinstance(old, type):
        raise BadInput(f"{key} is a plain value, not {dict(changes)}")
    for name in changes:
        _known(f"{key} field", name, type(old))
    return dataclasses.replace(old, **changes)


def _known(what: str, name: str, cls: Any) -> None:
    fields = [f.name for f in dataclasses.fields(cls)]
    if name not in fields:
        raise BadInput(unknown(what, name, fields))
