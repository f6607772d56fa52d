"""What the judges of layer splits share: an expected damage from two disjoint parts of the judge half."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from mbrl_split.errors import InvalidInputError
from mbrl_split.evaluation import Estimate, Judge, Judgement, Regret
from mbrl_split.layer_split.judging.about import about
from mbrl_split.layer_split.scenarios import Scenario
from mbrl_split.layer_split.tables.table import TableOracle
from mbrl_split.registry import unknown

Array = NDArray[np.float64]
Part = Literal["choose", "value"]
PARTS: tuple[Part, Part] = ("choose", "value")


class ExpectedDamage(Protocol):
    """What a judge is built on: the expected damage, known from two disjoint parts of the judge half."""

    def __call__(self, X: Array, *, part: Part) -> tuple[Array, Array]:
        """(mean, standard error) of the damage at queries (n, d), nats/token; each (n,)."""
        ...


class DamageByWindow(Protocol):
    """The same, before averaging over text windows; ``TableOracle.by_window``."""

    def __call__(self, X: Array, part: Part) -> Array:
        """The damage at queries (n, d) in each window of a part, (n, windows); the windows are the same in all rows."""
        ...


def from_function(damage: Callable[[Array], Array]) -> ExpectedDamage:
    """A known function of the query as an expected damage without error."""

    def expected(X: Array, *, part: Part) -> tuple[Array, Array]:
        d = np.asarray(damage(X), dtype=np.float64)
        return d, np.zeros_like(d)

    return expected


class DamageJudge(Judge):
    """A judge of one scenario on one model.

    Whatever is chosen by looking at rewards is chosen on one part and valued on the other, both ways, and averaged:
    neither the optimum nor the best fixed split profits from its own noise.

    Attributes:
        scenario: The scenario.
        n_layers: L of the model.
        table: The measured table behind the expected damage, where there is one.
    """

    names: ClassVar[tuple[str, ...]]
    unit: ClassVar[str]
    scenario: Scenario
    n_layers: int
    table: TableOracle | None

    @abstractmethod
    def __init__(self, scenario: Scenario, n_layers: int, expected: ExpectedDamage, **settings: Any) -> None: ...

    @property
    @abstractmethod
    def _optimal(self) -> Array:
        """Values of the optimal policy in each context, (n,), or (2, n) where the two ways are kept apart."""

    @property
    @abstractmethod
    def _best_fixed(self) -> Array:
        """The same of the best fixed split."""

    @classmethod
    def of_table(cls, table: TableOracle, n_contexts: int | None = None, seed: int = 0) -> Self:
        """The judge that a measured table makes (its judge half, as a rule)."""
        settings: dict[str, Any] = {"seed": seed, "by_window": table.by_window, "table": table}
        if n_contexts is not None:
            settings["n_contexts"] = n_contexts
        return cls(table.scenario, table.n_layers, table.expected, **settings)

    @classmethod
    def of_function(
        cls,
        scenario: Scenario,
        n_layers: int,
        damage: Callable[[Array], Array],
        n_contexts: int | None = None,
        seed: int = 0,
        **settings: Any,
    ) -> Self:
        """The judge that a known damage function of the queries (n, d) makes."""
        if n_contexts is not None:
            settings["n_contexts"] = n_contexts
        return cls(scenario, n_layers, from_function(damage), seed=seed, **settings)

    @cached_property
    def optimal(self) -> float:
        """The value of the best policy."""
        return float(self._optimal.mean())

    @cached_property
    def best_fixed(self) -> float:
        """The value of the best single split for all contexts, gone to as fast as allowed."""
        return float(self._best_fixed.mean())

    @property
    @abstractmethod
    def fixed_split(self) -> int:
        """The best fixed split (both parts together)."""

    def exact(self, name: str) -> float:
        """The value of an exact policy by its name, one of :attr:`names`.

        Raises:
            InvalidInputError: An unknown name.
        """
        if name not in self.names:
            raise InvalidInputError(unknown("exact policy", name, self.names))
        return float(getattr(self, name.replace("-", "_")))

    @cached_property
    def headroom(self) -> Estimate:
        """Optimal − best fixed, with its standard error.

        Two sources of error, added in quadrature: which contexts (or sessions) were drawn, paired, and the measurements
        behind the damage.
        """
        gain = self._optimal - self._best_fixed
        each = gain.reshape(-1, gain.shape[-1]).mean(axis=0)
        from_contexts = each.std(ddof=1) / np.sqrt(len(each))
        return Estimate(float(gain.mean()), float(np.hypot(from_contexts, self._measurement_error())))

    @abstractmethod
    def _measurement_error(self) -> float:
        """Standard error of the headroom from the measurements."""

    @abstractmethod
    def _values(self, policy: Any) -> Array:
        """Mean expected reward per step of a policy in each context, (n,)."""

    def judge(self, policy: Any) -> Judgement:
        """What a policy is worth: anything that acts on observations; of plain splits also a function of (context,
        split, step)."""
        return Judgement.of(self._values(policy), self.unit)

    def achieved(self, policy: Any) -> float:
        """The value of a policy: mean expected reward per step."""
        return self.judge(policy).value

    def regret(self, policy: Any) -> Regret:
        """What a policy loses against the optimum."""
        return self.regret_of(self.achieved(policy))

    def regret_of(self, achieved: float) -> Regret:
        """What a value loses against the optimum."""
        return Regret.of(achieved, self.optimal, self.headroom)

    def reference(self, name: str) -> Judgement:
        value = self.exact(name)
        known = {"optimal": "_optimal", "best-fixed": "_best_fixed"}
        if name not in known:
            return Judgement(value, float("nan"), np.empty(0), self.unit)
        each = getattr(self, known[name])
        return replace(Judgement.of(each.reshape(-1, each.shape[-1]).mean(axis=0), self.unit), value=value)

    def about(self) -> dict[str, Any]:
        return about(self.scenario, self.n_layers, len(self._optimal.T), self.fixed_split, self.table)
