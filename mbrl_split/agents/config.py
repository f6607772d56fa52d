"""Hyper-parameters as frozen dataclasses: typed, checked, and plain data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args, get_origin, get_type_hints

from mbrl_split.agents import schedules
from mbrl_split.agents.networks import Activation
from mbrl_split.errors import InvalidInputError
from mbrl_split.registry import unknown


class Rule(NamedTuple):
    """What a number must be, in words and as a test."""

    words: str
    holds: Callable[[Any], bool]


def layers(value: Sequence[int]) -> tuple[int, ...]:
    """Hidden layer sizes as a tuple of positive integers."""
    sizes = tuple(int(v) for v in value)
    if not all(v > 0 for v in sizes):
        raise InvalidInputError(f"net_arch must hold positive numbers of units, not {value!r}")
    return sizes


# The types of hyper-parameters: each carries what is asked of a value (a Rule), or what reads it (a function).
Count = Annotated[int, Rule("a positive whole number", lambda v: isinstance(v, Integral) and v > 0)]
Share = Annotated[float, Rule("between 0 and 1", lambda v: 0 <= v <= 1)]
Positive = Annotated[float, Rule("positive", lambda v: v > 0)]
NonNegative = Annotated[float, Rule("non-negative", lambda v: v >= 0)]
Scheduled = Annotated[float | schedules.Schedule, schedules.schedule]
Layers = Annotated[tuple[int, ...], layers]


@dataclass(frozen=True)
class AgentConfig:
    """Hyper-parameters of a class of agents; each field's type says what it must be."""

    @classmethod
    def make(cls, owner: str, values: dict[str, Any]) -> Self:
        """An instance, or one clear line that begins with the name of the agent's class.

        Raises:
            InvalidInputError: Unknown name, or a value that the configuration refuses.
        """
        known = [f.name for f in fields(cls)]
        for name in values:
            if name not in known:
                raise InvalidInputError(unknown(f"hyper-parameter of {owner}", name, known))
        try:
            return cls(**values)
        except InvalidInputError as error:
            raise InvalidInputError(f"{owner}: {error}") from None

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self), include_extras=True).items():
            if get_origin(kind) is Literal:
                self._require(getattr(self, name) in get_args(kind), name, f"one of {get_args(kind)}")
            for asked in getattr(kind, "__metadata__", ()):
                value = getattr(self, name)
                if isinstance(asked, Rule):
                    self._require(isinstance(value, Real) and asked.holds(value), name, asked.words)
                else:
                    object.__setattr__(self, name, asked(value))

    def _require(self, holds: bool, name: str, words: str) -> None:
        """Raise one clear line unless ``holds``."""
        if not holds:
            raise InvalidInputError(f"{name} must be {words}, not {getattr(self, name)!r}")

    def data(self) -> dict[str, Any]:
        """The fields as plain data; schedules become dictionaries."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {n: schedules.to_data(v) if isinstance(v, schedules.Schedule) else v for n, v in values.items()}


@dataclass(frozen=True)
class NetworkConfig(AgentConfig):
    """Hyper-parameters of every agent with networks, named as in Stable-Baselines3.

    Attributes:
        learning_rate: The optimiser's step size; a number or a schedule.
        gamma: Discount per step.
        max_grad_norm: Longest gradient; None leaves it.
        net_arch: Units of the hidden layers, of actor and critic alike, which are separate.
        activation: ``"tanh"`` or ``"relu"``.
        normalize_observations: Standardise observations by running statistics.
        n_basis: Hat functions per bounded component of an observation, see
            :class:`~mbrl_split.agents.encoding.Encoding`.
    """

    learning_rate: Scheduled = 1e-3
    gamma: Share = 0.99
    max_grad_norm: float | None = 0.5
    net_arch: Layers = (64, 64)
    activation: Activation = "tanh"
    normalize_observations: bool = False
    n_basis: int = 0


@dataclass(frozen=True)
class OnPolicyConfig(NetworkConfig):
    """Hyper-parameters of every policy-gradient agent, beside those of :class:`NetworkConfig`.

    Attributes:
        ent_coef: Weight of the entropy bonus.
        normalize_advantage: Standardise the advantages of an update (PPO: of each minibatch).
        normalize_reward: Divide rewards by the running deviation of the discounted return.
    """

    ent_coef: float = 0.0
    normalize_advantage: bool = True
    normalize_reward: bool = False
