"""Gymnasium environments whose reward is costly to measure: the layer split, and a wrapper for any other."""

from mbrl_split.envs.base import CostlyEnv, State
from mbrl_split.envs.conformance import check_environment
from mbrl_split.envs.costly_reward import CostlyReward, CostlyRewardSingle, CostlyRewardVector, OwnReward, flat_features
from mbrl_split.envs.draws import Draws
from mbrl_split.envs.llm_split import LLMSplit, LLMSplitVector
from mbrl_split.envs.rules import compose_reward, load_term, next_split, observe, quality_term, queries
from mbrl_split.envs.single import Single
from mbrl_split.envs.source import OracleSource, Source, SurrogateSource, TableSource

__all__ = [
    "CostlyEnv",
    "CostlyReward",
    "CostlyRewardSingle",
    "CostlyRewardVector",
    "Draws",
    "LLMSplit",
    "LLMSplitVector",
    "OracleSource",
    "OwnReward",
    "Single",
    "Source",
    "State",
    "SurrogateSource",
    "TableSource",
    "check_environment",
    "compose_reward",
    "flat_features",
    "load_term",
    "next_split",
    "observe",
    "quality_term",
    "queries",
]
