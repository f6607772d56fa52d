"""Rollouts: episodes are counted without bias, in every autoreset mode."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from mbrl_split.errors import InvalidInputError
from mbrl_split.evaluation import evaluate
from mbrl_split.interaction import Policy


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


class Remembers(Policy):
    """Counts its decisions of an episode, and checks that the environment has taken as many."""

    def __init__(self):
        self.count, self.told = None, []

    def reset(self, mask=None):
        self.told.append(None if mask is None else np.asarray(mask).tolist())
        if mask is None:
            self.count = None
        else:
            self.count[np.asarray(mask)] = 0

    def act(self, obs, *, deterministic=False, mask=None):
        step = np.asarray(obs)[..., 0]
        self.count = np.zeros(step.shape) if self.count is None else self.count
        acting = step < self.lengths  # in NEXT_STEP mode the step after an end only resets
        np.testing.assert_array_equal(np.where(acting, self.count, 0), np.where(acting, step, 0))
        self.count = self.count + 1
        return np.zeros(step.shape, np.int64)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_policy_is_told_where_episodes_begin(mode):
    env = SyncVectorEnv([lambda: Countdown([2] * 20), lambda: Countdown([3] * 20)], autoreset_mode=mode)
    policy = Remembers()
    policy.lengths = np.array([2, 3])
    evaluate(policy, env, 6, seed=0)
    assert policy.told[:3] == [None, [True, False], [False, True]]
    assert policy.told.count([True, False]) + policy.told.count([True, True]) >= 3
    alone = Remembers()
    alone.lengths = np.array(2)
    evaluate(alone, Countdown([2] * 5), 3, seed=0)
    assert alone.told == [None] * 3
