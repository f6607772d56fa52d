"""Names to what they stand for, with plug-ins by entry point.

A registry maps a short name to ``"module:attribute"`` and imports only what is asked for. Packages of third parties
add names by an entry point in the group ``mbrl_split.<kind>`` (for instance ``mbrl_split.surrogates``); what a name
stands for is said beside each kind below.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from functools import reduce
from importlib import import_module
from typing import Any

from mbrl_split.errors import InvalidInputError


class Registry:
    """The named members of one kind: ``registry["mlp"]`` imports and returns the class.

    A name of the library's own is never taken by a plug-in. Installed packages are searched only for a name that the
    library does not know, and when all names are listed.

    Example:
        >>> from mbrl_split.registry import AGENTS, SURROGATES
        >>> SURROGATES["mlp"].__name__
        'MLPSurrogate'
        >>> "ppo" in AGENTS, "pppo" in AGENTS
        (True, False)
    """

    def __init__(self, kind: str, members: dict[str, str]) -> None:
        self.kind = kind
        self._members = dict(members)
        self._origins: dict[str, str] = {}
        self._plugins_loaded = False

    def _load_plugins(self) -> None:
        if not self._plugins_loaded:
            from importlib.metadata import entry_points  # not needed, and not cheap, where only our own names are used

            self._plugins_loaded = True
            for point in entry_points(group=f"mbrl_split.{self.kind}"):
                if point.name not in self._members:
                    self._members[point.name] = point.value
                    package = point.dist
                    self._origins[point.name] = f"{package.name} {package.version}" if package else point.value

    def __getitem__(self, name: str) -> Any:
        if name not in self:
            raise InvalidInputError(unknown(self.kind.removesuffix("s"), name, self))
        try:
            return resolve(self._members[name])
        except (ImportError, AttributeError) as error:
            if name not in self._origins:
                raise
            what = f"{self.kind.removesuffix('s')} {name!r}"
            raise InvalidInputError(f"{what} of the package {self._origins[name]} cannot be loaded: {error}") from error

    def __iter__(self) -> Iterator[str]:
        self._load_plugins()
        return iter(sorted(self._members))

    def __contains__(self, name: object) -> bool:
        if name not in self._members:
            self._load_plugins()
        return name in self._members

    def origin(self, name: str) -> str:
        """The package and version that a plug-in's name comes from; empty for the library's own names."""
        return self._origins.get(name, "") if name in self else ""


def resolve(reference: str) -> Any:
    """What ``"module:attribute"`` stands for; imports the module."""
    module, _, path = reference.partition(":")
    return reduce(getattr, path.split("."), import_module(module))


def unknown(what: str, name: str, known: Any) -> str:
    """One line for an unknown name, with the nearest known one where there is one."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {what} {name!r}{hint} (known: {', '.join(names)})"


# One table for the whole library, so that a newcomer sees every name in one place.

# A subclass of Surrogate, or a function that makes one; called with seed= and the row's settings.
SURROGATES = Registry(
    "surrogates",
    {
        "mlp": "mbrl_split.surrogates:MLPSurrogate",
        "ensemble": "mbrl_split.surrogates:EnsembleSurrogate",
        "gp": "mbrl_split.surrogates:GPSurrogate",
        "xgboost": "mbrl_split.surrogates:XGBoostSurrogate",
        "fading-gp": "mbrl_split.layer_split:fading_gp",
        "fading-mlp": "mbrl_split.layer_split:fading_mlp",
    },
)
# A subclass of Agent; called with (observation_space, action_space, seed=) and the row's settings.
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
# A RefreshSchedule; called with the row's settings.
SCHEDULES = Registry(
    "schedules",
    {
        "never": "mbrl_split.refresh:Never",
        "always": "mbrl_split.refresh:Always",
        "fixed": "mbrl_split.refresh:FixedInterval",
        "geometric": "mbrl_split.refresh:Geometric",
        "doubling": "mbrl_split.refresh:Doubling",
        "paced": "mbrl_split.refresh:PowerLawBudget",
        "uncertainty": "mbrl_split.refresh:UncertaintyTriggered",
        "error": "mbrl_split.refresh:ErrorTriggered",
        "voi": "mbrl_split.refresh:ValueOfInformation",
    },
)
# An Acquisition; called with the row's settings.
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
        "cost-aware": "mbrl_split.refresh:CostAware",
        "diverse": "mbrl_split.refresh:Diverse",
    },
)
# The kind of a layer split's channel: a function (spec, context, reference_rms) -> Channel; see `channel_of`.
CHANNELS = Registry(
    "channels",
    {
        "radio": "mbrl_split.layer_split.oracle.context:radio",
        "snr": "mbrl_split.layer_split.oracle.context:snr",
        "erasure": "mbrl_split.layer_split.oracle.context:erasure",
        "packet": "mbrl_split.layer_split.oracle.context:packet",
        "quantise": "mbrl_split.layer_split.oracle.context:quantise",
    },
)
# The truth of a layer split: a function (model, scenario) -> Oracle.
ORACLES = Registry(
    "oracles",
    {
        "live": "mbrl_split.layer_split:PerplexityOracle.load",
        "table": "mbrl_split.layer_split:TableOracle.load",
    },
)
# A subclass of Problem; called with the settings that a suite gives it.
PROBLEMS = Registry(
    "problems",
    {
        "layer-split": "mbrl_split.layer_split:LayerSplit",
        "gym": "mbrl_split.evaluation:GymProblem",
    },
)
# Commands of the command line beside its own: functions whose arguments and docstring tyro reads; "group name".
COMMANDS = Registry(
    "commands",
    {
        "models list": "mbrl_split.layer_split.commands:models_list",
        "models fetch": "mbrl_split.layer_split.commands:models_fetch",
        "measure": "mbrl_split.layer_split.commands:measure",
        "landscape": "mbrl_split.layer_split.commands:landscape",
    },
)
# A subclass of Method; called with the row's settings. Ours are files in baselines/, which suites name as well.
BASELINES = Registry("baselines", {})

KINDS = (SURROGATES, AGENTS, SCHEDULES, ACQUISITIONS, CHANNELS, ORACLES, PROBLEMS, COMMANDS, BASELINES)

# What `mbrl-split info` lists besides: named things that are data.
NAMED = {"models": "mbrl_split.data:MODELS", "scenarios": "mbrl_split.layer_split:SCENARIOS"}
