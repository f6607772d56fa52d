"""How a damage becomes a reward: what reward-aware acquisitions and the value of information need to know."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mbrl_split.layer_split.envs.rules import compose_reward
from mbrl_split.layer_split.scenarios import Scenario
from mbrl_split.refresh import RewardFunction

Array = NDArray[np.float64]


def split_reward(scenario: Scenario, n_layers: int) -> RewardFunction:
    """The reward of a predicted damage, and the share of layers that measuring each split replays.

    Where the scenario's reference is the episode's start, the clean model stands in for it: under the ``log`` reward
    that changes no comparison between splits.
    """

    def reward(damage: Array, X: Array) -> Array:
        return compose_reward(damage, X[:, 0], n_layers, scenario.reward)

    return RewardFunction(scenario.columns(n_layers), reward, cost=lambda X: 1.0 - X[:, 0] / n_layers)
