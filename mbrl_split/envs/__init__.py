"""Gymnasium environments whose reward is costly to measure: their contract, and a wrapper for any other."""

from mbrl_split.envs.base import CostlyEnv, State
from mbrl_split.envs.conformance import check_environment
from mbrl_split.envs.costly_reward import (
    CostlyReward,
    CostlyRewardSingle,
    CostlyRewardVector,
    RecordedReward,
    flat_features,
)
from mbrl_split.envs.random_stream import RandomStream
from mbrl_split.envs.single import VectorToSingle
from mbrl_split.envs.source import OracleSource, SurrogateSource

__all__ = [
    "CostlyEnv",
    "CostlyReward",
    "CostlyRewardSingle",
    "CostlyRewardVector",
    "OracleSource",
    "RandomStream",
    "RecordedReward",
    "State",
    "SurrogateSource",
    "VectorToSingle",
    "check_environment",
    "flat_features",
]
