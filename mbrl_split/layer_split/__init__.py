"""The layer split: where to cut a language model between a device and an edge server, over a noisy channel.

The wing of the flagship problem. It may use every other room, and no other room knows it: suites and command lines find
its names by registry. What is asked for is imported when it is asked for, so that a scenario loads no language model.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mbrl_split.layer_split.scenarios import (
    PROTOCOL_VERSION,
    SCENARIOS,
    ChannelSpec,
    RewardSpec,
    Scenario,
    scenario,
)
from mbrl_split.layer_split.sessions import ContextProcessSpec, CostSpec

if TYPE_CHECKING:
    from mbrl_split.layer_split.envs.llm_split import LLMSplit, LLMSplitVector
    from mbrl_split.layer_split.envs.rules import (
        build_inputs,
        compose_reward,
        load_term,
        next_split,
        observe,
        quality_term,
    )
    from mbrl_split.layer_split.envs.session import SessionVector
    from mbrl_split.layer_split.envs.split import SplitVector
    from mbrl_split.layer_split.fading_surrogate import FadingSurrogate, fading_gp, fading_mlp, window_rows
    from mbrl_split.layer_split.judging.decision import ExpectedDamage, SplitJudge, from_function
    from mbrl_split.layer_split.judging.policy import SplitPolicy, agent_policy, clip_move, policy_splits
    from mbrl_split.layer_split.judging.session import SessionJudge
    from mbrl_split.layer_split.judging.session_model import (
        SessionModel,
        estimated_correlation,
        estimated_loads,
    )
    from mbrl_split.layer_split.oracle.perplexity import PerplexityOracle
    from mbrl_split.layer_split.policies.argmax import SplitRule, argmax_policy
    from mbrl_split.layer_split.problem import LayerSplit
    from mbrl_split.layer_split.records import WINDOW_DTYPE
    from mbrl_split.layer_split.reward import split_reward
    from mbrl_split.layer_split.tables.families import FAMILIES, family_of
    from mbrl_split.layer_split.tables.plan import (
        MeasurementPlan,
        build_table,
        default_levels,
        measure,
        plan_from,
        print_progress,
    )
    from mbrl_split.layer_split.tables.source import TableSource
    from mbrl_split.layer_split.tables.table import TableOracle
    from mbrl_split.layer_split.tables.table_file import TableData, read_table, table_path

_HOME = {
    "envs.llm_split": ("LLMSplit", "LLMSplitVector"),
    "envs.rules": ("build_inputs", "compose_reward", "load_term", "next_split", "observe", "quality_term"),
    "envs.session": ("SessionVector",),
    "envs.split": ("SplitVector",),
    "fading_surrogate": ("FadingSurrogate", "fading_gp", "fading_mlp", "window_rows"),
    "judging.decision": ("ExpectedDamage", "SplitJudge", "from_function"),
    "judging.policy": ("SplitPolicy", "agent_policy", "clip_move", "policy_splits"),
    "judging.session": ("SessionJudge",),
    "judging.session_model": ("SessionModel", "estimated_correlation", "estimated_loads"),
    "oracle.perplexity": ("PerplexityOracle",),
    "policies.argmax": ("SplitRule", "argmax_policy"),
    "problem": ("LayerSplit",),
    "records": ("WINDOW_DTYPE",),
    "reward": ("split_reward",),
    "tables.families": ("FAMILIES", "family_of"),
    "tables.plan": ("MeasurementPlan", "build_table", "default_levels", "measure", "plan_from", "print_progress"),
    "tables.source": ("TableSource",),
    "tables.table": ("TableOracle",),
    "tables.table_file": ("TableData", "read_table", "table_path"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "FAMILIES",
    "PROTOCOL_VERSION",
    "SCENARIOS",
    "WINDOW_DTYPE",
    "ChannelSpec",
    "ContextProcessSpec",
    "CostSpec",
    "ExpectedDamage",
    "FadingSurrogate",
    "LLMSplit",
    "LLMSplitVector",
    "LayerSplit",
    "MeasurementPlan",
    "PerplexityOracle",
    "RewardSpec",
    "Scenario",
    "SessionJudge",
    "SessionModel",
    "SessionVector",
    "SplitJudge",
    "SplitPolicy",
    "SplitRule",
    "SplitVector",
    "TableData",
    "TableOracle",
    "TableSource",
    "agent_policy",
    "argmax_policy",
    "build_inputs",
    "build_table",
    "clip_move",
    "compose_reward",
    "default_levels",
    "estimated_correlation",
    "estimated_loads",
    "fading_gp",
    "fading_mlp",
    "family_of",
    "from_function",
    "load_term",
    "measure",
    "next_split",
    "observe",
    "plan_from",
    "policy_splits",
    "print_progress",
    "quality_term",
    "read_table",
    "scenario",
    "split_reward",
    "table_path",
    "window_rows",
]


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
