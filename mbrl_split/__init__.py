"""Reinforcement learning when the reward is costly to measure.

Rooms: ``channels``, ``llm``, ``oracles``, ``surrogates``, ``refresh``, ``envs``, ``agents``, ``evaluation``,
``training``, ``tuning``, ``bench``. Importing this package registers the Gymnasium environments by name and loads none
of the rooms (and no torch): import the room you need, for instance ``from mbrl_split.surrogates import GPSurrogate``.
"""

from __future__ import annotations

import gymnasium as _gymnasium

from mbrl_split.errors import BadInput, BudgetExhausted, MbrlSplitError, Refused
from mbrl_split.scenarios import SCENARIOS, Scenario, scenario

__version__ = "0.1.0"
__all__ = ["SCENARIOS", "BadInput", "BudgetExhausted", "MbrlSplitError", "Refused", "Scenario", "scenario"]

_gymnasium.register(
    "mbrl_split/LLMSplit-v0",
    entry_point="mbrl_split.envs:LLMSplit",
    vector_entry_point="mbrl_split.envs:LLMSplitVector",
    disable_env_checker=True,
)
