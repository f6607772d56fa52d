"""A pottery kiln: which firing programme suits a batch of clay? Only a firing tells what share of it is lost."""

import gymnasium as gym
import numpy as np

from mbrl_split.columns import Column
from mbrl_split.evaluation import FunctionProblem
from mbrl_split.oracles import FunctionOracle


class Batches(gym.Env):  # each batch is an episode of one step; its reward comes from the firing
    observation_space, action_space = gym.spaces.Box(np.float32([4, 0]), np.float32([16, 8])), gym.spaces.Discrete(6)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.uniform([4, 0], [16, 8]).astype(np.float32), {}

    def step(self, action):
        return np.float32([4, 0]), 0.0, True, False, {}


class Kiln(FunctionProblem):  # thick walls need the hotter programmes, iron in the clay the cooler ones
    unit, action_word = "firing", "programme"

    def __init__(self):
        columns = Column("wall", "mm", 4, 16), Column("iron", "%", 0, 8), Column("programme", "1", 0, 5, "ordinal")
        oracle = FunctionOracle(
            lambda X: 0.02 + 0.025 * (X[:, 2] - 2 - X[:, 0] / 4 + X[:, 1] / 2) ** 2, columns, 0.05, identity="kiln 1"
        )
        super().__init__(Batches, oracle, has_consequences=False, action=2)
