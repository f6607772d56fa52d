"""Agents: reinforcement learners and bandits for discrete actions, usable alone on any Gymnasium environment."""

from mbrl_split.agents.base import Agent, Callback, History
from mbrl_split.agents.finite import NonFinite
from mbrl_split.agents.ppo import PPO
from mbrl_split.agents.schedules import Constant, Linear

__all__ = ["PPO", "Agent", "Callback", "Constant", "History", "Linear", "NonFinite"]
