"""The layer split: where to cut a language model between a device and an edge server, over a noisy channel.

The wing of the flagship problem. It may use every other room, and no other room knows it: suites and command lines find
its names by registry. What is asked for is imported when it is asked for, so that a scenario loads no language model.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mbrl_split.layer_split.scenarios import PROTOCOL_VERSION as PROTOCOL_VERSION
from mbrl_split.layer_split.scenarios import SCENARIOS as SCENARIOS
from mbrl_split.layer_split.scenarios import ChannelSpec as ChannelSpec
from mbrl_split.layer_split.scenarios import RewardSpec as RewardSpec
from mbrl_split.layer_split.scenarios import Scenario as Scenario
from mbrl_split.layer_split.scenarios import scenario as scenario
from mbrl_split.layer_split.sessions import ContextProcessSpec as ContextProcessSpec
from mbrl_split.layer_split.sessions import CostSpec as CostSpec

if TYPE_CHECKING:
    from mbrl_split.layer_split.envs.llm_split import LLMSplit as LLMSplit
    from mbrl_split.layer_split.envs.llm_split import LLMSplitVector as LLMSplitVector
    from mbrl_split.layer_split.envs.rules import build_inputs as build_inputs
    from mbrl_split.layer_split.envs.rules import compose_reward as compose_reward
    from mbrl_split.layer_split.envs.rules import load_term as load_term
    from mbrl_split.layer_split.envs.rules import next_split as next_split
    from mbrl_split.layer_split.envs.rules import observe as observe
    from mbrl_split.layer_split.envs.rules import quality_term as quality_term
    from mbrl_split.layer_split.envs.session import SessionVector as SessionVector
    from mbrl_split.layer_split.envs.split import SplitVector as SplitVector
    from mbrl_split.layer_split.fading_surrogate import FadingSurrogate as FadingSurrogate
    from mbrl_split.layer_split.fading_surrogate import fading_gp as fading_gp
    from mbrl_split.layer_split.fading_surrogate import fading_mlp as fading_mlp
    from mbrl_split.layer_split.fading_surrogate import window_rows as window_rows
    from mbrl_split.layer_split.judging.base import ExpectedDamage as ExpectedDamage
    from mbrl_split.layer_split.judging.base import from_function as from_function
    from mbrl_split.layer_split.judging.decision import SplitJudge as SplitJudge
    from mbrl_split.layer_split.judging.policy import SplitPolicy as SplitPolicy
    from mbrl_split.layer_split.judging.policy import agent_policy as agent_policy
    from mbrl_split.layer_split.judging.policy import clip_move as clip_move
    from mbrl_split.layer_split.judging.policy import policy_splits as policy_splits
    from mbrl_split.layer_split.judging.session import SessionJudge as SessionJudge
    from mbrl_split.layer_split.judging.session_model import SessionModel as SessionModel
    from mbrl_split.layer_split.judging.session_model import estimated_correlation as estimated_correlation
    from mbrl_split.layer_split.judging.session_model import estimated_loads as estimated_loads
    from mbrl_split.layer_split.oracle.perplexity import PerplexityOracle as PerplexityOracle
    from mbrl_split.layer_split.policies.argmax import SplitRule as SplitRule
    from mbrl_split.layer_split.policies.argmax import argmax_policy as argmax_policy
    from mbrl_split.layer_split.problem import LayerSplit as LayerSplit
    from mbrl_split.layer_split.records import WINDOW_DTYPE as WINDOW_DTYPE
    from mbrl_split.layer_split.reward import split_reward as split_reward
    from mbrl_split.layer_split.tables.families import FAMILIES as FAMILIES
    from mbrl_split.layer_split.tables.families import family_of as family_of
    from mbrl_split.layer_split.tables.plan import MeasurementPlan as MeasurementPlan
    from mbrl_split.layer_split.tables.plan import build_table as build_table
    from mbrl_split.layer_split.tables.plan import default_levels as default_levels
    from mbrl_split.layer_split.tables.plan import measure as measure
    from mbrl_split.layer_split.tables.plan import plan_from as plan_from
    from mbrl_split.layer_split.tables.plan import print_progress as print_progress
    from mbrl_split.layer_split.tables.source import TableSource as TableSource
    from mbrl_split.layer_split.tables.table import TableOracle as TableOracle
    from mbrl_split.layer_split.tables.table_file import TableData as TableData
    from mbrl_split.layer_split.tables.table_file import read_table as read_table
    from mbrl_split.layer_split.tables.table_file import table_path as table_path

_HOME = {
    "envs.llm_split": "LLMSplit LLMSplitVector",
    "envs.rules": "build_inputs compose_reward load_term next_split observe quality_term",
    "envs.session": "SessionVector",
    "envs.split": "SplitVector",
    "fading_surrogate": "FadingSurrogate fading_gp fading_mlp window_rows",
    "judging.base": "ExpectedDamage from_function",
    "judging.decision": "SplitJudge",
    "judging.policy": "SplitPolicy agent_policy clip_move policy_splits",
    "judging.session": "SessionJudge",
    "judging.session_model": "SessionModel estimated_correlation estimated_loads",
    "oracle.perplexity": "PerplexityOracle",
    "policies.argmax": "SplitRule argmax_policy",
    "problem": "LayerSplit",
    "records": "WINDOW_DTYPE",
    "reward": "split_reward",
    "tables.families": "FAMILIES family_of",
    "tables.plan": "MeasurementPlan build_table default_levels measure plan_from print_progress",
    "tables.source": "TableSource",
    "tables.table": "TableOracle",
    "tables.table_file": "TableData read_table table_path",
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names.split()}
_NOW = ("PROTOCOL_VERSION", "SCENARIOS", "ChannelSpec", "ContextProcessSpec", "CostSpec", "RewardSpec", "Scenario")
__all__ = sorted([*_MODULE_OF, *_NOW, "scenario"])


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
