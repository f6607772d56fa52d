"""Names to classes, with plug-ins by entry point.

A registry maps a short name to ``"module:attribute"`` and imports only what is asked for. Packages of third parties
add names by an entry point in the group ``mbrl_split.<kind>`` (for instance ``mbrl_split.surrogates``).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from mbrl_split.errors import BadInput


class Registry:
    """The named members of one kind: ``registry["mlp"]`` imports and returns the class."""

    def __init__(self, kind: str, members: dict[str, str]) -> None:
        self.kind = kind
        self._members = dict(members)
        self._plugins_loaded = False

    def _load_plugins(self) -> None:
        if not self._plugins_loaded:
            self._plugins_loaded = True
            for point in entry_points(group=f"mbrl_split.{self.kind}"):
                self._members.setdefault(point.name, point.value)

    def __getitem__(self, name: str) -> Any:
        if name not in self._members:
            self._load_plugins()
        if name not in self._members:
            raise BadInput(unknown(self.kind.removesuffix("s"), name, self))
        module, _, attribute = self._members[name].partition(":")
        return getattr(import_module(module), attribute)

    def __iter__(self) -> Iterator[str]:
        self._load_plugins()
        return iter(sorted(self._members))

    def __contains__(self, name: object) -> bool:
        return name in list(self)


def unknown(what: str, name: str, known: Any) -> str:
    """One line for an unknown name, with the nearest known one where there is one."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {what} {name!r}{hint} (known: {', '.join(names)})"


# One table for the whole library, so that a newcomer sees every name in one place.
SURROGATES = Registry(
    "surrogates",
    {
        "mlp": "mbrl_split.surrogates:MLPSurrogate",
        "ensemble": "mbrl_split.surrogates:EnsembleSurrogate",
        "gp": "mbrl_split.surrogates:GPSurrogate",
        "xgboost": "mbrl_split.surrogates:XGBoostSurrogate",
        "fading-gp": "mbrl_split.surrogates:fading_gp",
        "fading-mlp": "mbrl_split.surrogates:fading_mlp",
    },
)
AGENTS = Registry(
    "agents",
    {
        "ppo": "mbrl_split.agents:PPO",
        "a2c": "mbrl_split.agents:A2C",
        "dqn": "mbrl_split.agents:DQN",
        "reinforce": "mbrl_split.agents:REINFORCE",
        "epsilon-greedy": "mbrl_split.agents:EpsilonGreedy",
        "ucb1": "mbrl_split.agents:UCB1",
        "thompson": "mbrl_split.agents:ThompsonSampling",
        "linucb": "mbrl_split.agents:LinUCB",
        "lints": "mbrl_split.agents:LinTS",
        "successive-elimination": "mbrl_split.agents:SuccessiveElimination",
        "surrogate-bandit": "mbrl_split.agents:SurrogateBandit",
    },
)
SCHEDULES = Registry(
    "schedules",
    {
        "never": "mbrl_split.refresh:Never",
        "always": "mbrl_split.refresh:Always",
        "fixed": "mbrl_split.refresh:FixedInterval",
        "geometric": "mbrl_split.refresh:Geometric",
        "doubling": "mbrl_split.refresh:Doubling",
        "paced": "mbrl_split.refresh:Paced",
        "uncertainty": "mbrl_split.refresh:UncertaintyTriggered",
        "error": "mbrl_split.refresh:ErrorTriggered",
        "voi": "mbrl_split.refresh:ValueOfInformation",
    },
)
ACQUISITIONS = Registry(
    "acquisitions",
    {
        "random": "mbrl_split.refresh:RandomAcquisition",
        "on-policy": "mbrl_split.refresh:OnPolicyAcquisition",
        "epistemic": "mbrl_split.refresh:MaxEpistemic",
        "integrated-variance": "mbrl_split.refresh:IntegratedVariance",
        "disagreement": "mbrl_split.refresh:Disagreement",
        "ucb": "mbrl_split.refresh:UCB",
        "thompson": "mbrl_split.refresh:Thompson",
        "top-two": "mbrl_split.refresh:TopTwo",
        "cost-aware": "mbrl_split.refresh:cost_aware",
        "diverse": "mbrl_split.refresh:diverse",
    },
)
