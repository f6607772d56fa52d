"""The objective of an environment: what a reward-aware acquisition or a value of information needs to know."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_split.envs import compose_reward
from mbrl_split.refresh import Objective
from mbrl_split.scenarios import Scenario

Array = NDArray[np.float64]


def llm_split_objective(scenario: Scenario, n_layers: int) -> Objective:
    """The reward of a predicted damage, and the share of layers that measuring each split replays.

    Where the scenario's reference is the episode's start, the clean model stands in for it: under the ``log`` reward
    that changes no comparison between splits.
    """

    def reward(damage: Array, X: Array) -> Array:
        return compose_reward(damage, X[:, 0], n_layers, scenario.reward)

    return Objective(scenario.columns(n_layers), reward, cost=lambda X: 1.0 - X[:, 0] / n_layers)


def objective_of(env: Any) -> Objective | None:
    """The objective of a layer-split environment; None for any other, whose user supplies it."""
    inner = getattr(env, "unwrapped", env)
    if hasattr(inner, "scenario") and hasattr(inner, "n_layers"):
        return llm_split_objective(inner.scenario, inner.n_layers)
    return None
