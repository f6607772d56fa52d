"""Reinforcement learning when truth is costly.

Core rooms: ``interaction``, ``oracles``, ``surrogates``, ``refresh``, ``envs``, ``agents``, ``evaluation``,
``training``, ``tuning``, ``bench``; the wing of the flagship problem, ``layer_split``, stands on ``llm``, ``channels``
and ``data``. Importing this package registers the Gymnasium environments by name and loads none of the rooms (and no
torch): import the room you need, for instance ``from mbrl_split.surrogates import GPSurrogate``.
"""

from __future__ import annotations

from typing import Any

import gymnasium as _gymnasium

from mbrl_split.errors import BudgetExhaustedError, InvalidInputError, MbrlSplitError, UnsupportedError

__version__ = "0.1.0"
__all__ = [
    "SCENARIOS",
    "BudgetExhaustedError",
    "InvalidInputError",
    "MbrlSplitError",
    "Scenario",
    "UnsupportedError",
    "scenario",
]

_gymnasium.register(
    "mbrl_split/LLMSplit-v0",
    entry_point="mbrl_split.layer_split:LLMSplit",
    vector_entry_point="mbrl_split.layer_split:LLMSplitVector",
    disable_env_checker=True,
)


def __getattr__(name: str) -> Any:
    if name in ("SCENARIOS", "Scenario", "scenario"):  # the wing's, which only those who ask for it load
        from importlib import import_module

        return getattr(import_module("mbrl_split.layer_split.scenarios"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
