"""Rollouts: episodes are counted without bias, in every autoreset mode."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from mbrl_split.errors import InvalidInputError
from mbrl_split.evaluation import evaluate


class Countdown(gym.Env):
    """Episode k lasts lengths[k] steps; step j pays j; the first observation is 0."""

    observation_space = gym.spaces.Box(0, 100, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, lengths):
        self.lengths, self.episode = lengths, -1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.t = (0 if seed is not None else self.episode + 1), 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.full(1, self.t, np.float32), float(self.t), self.t >= self.lengths[self.episode], False, {}


class Nothing:
    def act(self, obs, *, deterministic=False):
        assert deterministic
        return np.zeros(np.shape(obs)[0] if np.ndim(obs) > 1 else (), np.int64)


SHORT, LONG = [2] * 40, [9, 7, 9, 7]


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_quota_per_sub_environment_in_every_mode(mode):
    env = SyncVectorEnv([lambda: Countdown(SHORT), lambda: Countdown(LONG)], autoreset_mode=mode)
    episodes = evaluate(Nothing(), env, 5, seed=0)
    # Three each. The first five to finish would have been four short ones and a long one.
    assert episodes.lengths.tolist() == [2, 2, 2, 9, 7, 9]
    assert episodes.returns.tolist() == [3, 3, 3, 45, 28, 45]


def test_a_single_environment():
    episodes = evaluate(Nothing(), Countdown(LONG), 3, seed=0)
    assert episodes.lengths.tolist() == [9, 7, 9]
    with pytest.raises(InvalidInputError):
        evaluate(Nothing(), Countdown(LONG), 0)
