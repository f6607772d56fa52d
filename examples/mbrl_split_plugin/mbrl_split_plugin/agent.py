"""An agent: the gradient bandit (Sutton and Barto, Reinforcement Learning, 2018, section 2.8)."""

import numpy as np
from scipy.special import softmax

from mbrl_split.agents import Bandit


class GradientBandit(Bandit):
    """A softmax over preferences; each pull moves them along the gradient of the expected reward."""

    def __init__(self, observation_space, action_space, **config):
        super().__init__(observation_space, action_space, **config)
        self.preferences, self.mean, self.pulls = np.zeros(self.n_actions), 0.0, 0

    def scores(self, contexts, rng):
        scores = np.tile(self.preferences, (len(contexts), 1))
        # With Gumbel noise the argmax is a draw from the softmax.
        return scores if rng is None else scores + rng.gumbel(size=scores.shape)

    def _learn(self, contexts, arms, rewards):
        for arm, reward in zip(arms, rewards, strict=True):
            self.pulls += 1
            self.mean += (reward - self.mean) / self.pulls
            chosen = np.eye(self.n_actions)[arm]
            self.preferences += 0.5 * (reward - self.mean) * (chosen - softmax(self.preferences))

    def _state(self):
        own = {"preferences": self.preferences, "mean": self.mean, "pulls": self.pulls}
        return {**super()._state(), "gradient": own}

    def _restore(self, state):
        super()._restore(state)
        own = state["gradient"]
        self.preferences, self.mean, self.pulls = own["preferences"], own["mean"], own["pulls"]
