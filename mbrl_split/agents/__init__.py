"""Agents: reinforcement learners, bandits and a planner for discrete actions, on any Gymnasium environment.

The room stands alone: it needs torch, numpy, gymnasium and safetensors, and nothing else of the library but its errors
and its registry.
"""

from mbrl_split.agents.a2c import A2C
from mbrl_split.agents.bandit import Bandit
from mbrl_split.agents.base import Agent, Callback, History
from mbrl_split.agents.callbacks import Callbacks, Checkpoint, StopAt
from mbrl_split.agents.conformance import check_agent
from mbrl_split.agents.context_free import UCB1, EpsilonGreedy, SuccessiveElimination, ThompsonSampling
from mbrl_split.agents.dqn import DQN
from mbrl_split.agents.gae import gae
from mbrl_split.agents.learner import Learner
from mbrl_split.agents.linear import LinTS, LinUCB
from mbrl_split.agents.logging import CSVWriter, JSONLWriter, ProgressBar, TensorBoardWriter
from mbrl_split.agents.planner import Planner, TabularModel, TabularPlan
from mbrl_split.agents.ppo import PPO
from mbrl_split.agents.reinforce import REINFORCE
from mbrl_split.agents.sb3 import to_sb3
from mbrl_split.agents.schedules import Constant, Linear
from mbrl_split.agents.surrogate_bandit import SurrogateBandit
from mbrl_split.agents.zoo import zoo_run, zoo_settings
from mbrl_split.interaction.finite import NonFiniteError

__all__ = [
    "A2C",
    "DQN",
    "PPO",
    "REINFORCE",
    "UCB1",
    "Agent",
    "Bandit",
    "CSVWriter",
    "Callback",
    "Callbacks",
    "Checkpoint",
    "Constant",
    "EpsilonGreedy",
    "History",
    "JSONLWriter",
    "Learner",
    "LinTS",
    "LinUCB",
    "Linear",
    "NonFiniteError",
    "Planner",
    "ProgressBar",
    "StopAt",
    "SuccessiveElimination",
    "SurrogateBandit",
    "TabularModel",
    "TabularPlan",
    "TensorBoardWriter",
    "ThompsonSampling",
    "check_agent",
    "gae",
    "to_sb3",
    "zoo_run",
    "zoo_settings",
]
