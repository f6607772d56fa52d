"""Every agent against the contract: masks, seeds, exact resumption in every mode; and agents that break it."""

import numpy as np
import pytest

from mbrl_split.agents import (
    A2C,
    DQN,
    PPO,
    REINFORCE,
    UCB1,
    EpsilonGreedy,
    LinTS,
    LinUCB,
    SuccessiveElimination,
    ThompsonSampling,
    check_agent,
)

CASES = [
    (
        PPO,
        {
            "n_steps": 10,
            "batch_size": 16,
            "n_epochs": 2,
            "net_arch": (8,),
            "normalize_observations": True,
            "normalize_reward": True,
            "ent_coef": 0.01,
        },
    ),
    (PPO, {"n_steps": 8, "batch_size": 8, "n_epochs": 3, "target_kl": 1e-4, "clip_range_vf": 0.2}),
    (A2C, {"net_arch": (8,)}),
    (A2C, {"rms_prop": "tensorflow", "ent_coef": 0.01}),
    (A2C, {"use_rms_prop": False, "normalize_advantage": True, "normalize_reward": True}),
    (
        DQN,
        {
            "learning_starts": 10,
            "batch_size": 8,
            "train_freq": 3,
            "n_steps": 3,
            "target_update_interval": 20,
            "buffer_size": 60,
            "normalize_observations": True,
        },
    ),
    (
        DQN,
        {
            "learning_starts": 5,
            "gradient_steps": -1,
            "dueling": True,
            "tau": 0.1,
            "target_update_interval": 1,
            "exploration_initial_eps": 0.3,
            "exploration_final_eps": 0.3,
        },
    ),
    (REINFORCE, {"n_episodes": 2}),
    (REINFORCE, {"n_episodes": 3, "baseline": "leave-one-out", "max_steps": 20}),
    (EpsilonGreedy, {}),
    (UCB1, {"n_steps": 2}),
    (ThompsonSampling, {}),
    (ThompsonSampling, {"likelihood": "bernoulli"}),
    (SuccessiveElimination, {}),
    (LinUCB, {}),
    (LinTS, {"keep_log": True, "propensity_draws": 5}),
]


@pytest.mark.parametrize(("kind", "config"), CASES, ids=lambda x: x.__name__ if isinstance(x, type) else "")
def test_contract(kind, config):
    check_agent(kind, steps=36, num_envs=2, **config)


class ForgetsItsMomentum(PPO):
    def _restore(self, state):
        super()._restore(state)
        self.optimiser.m[:] = 0


class IgnoresMasks(PPO):
    def act(self, obs, *, deterministic=False, mask=None):
        return super().act(obs, deterministic=deterministic)


class UnseededPolicy(PPO):
    def _choose(self, rows, mask, deterministic, rng):
        return super()._choose(rows, mask, deterministic, np.random.default_rng())


class HoldsAView(PPO):
    """Its optimiser moves a vector whose copy is no longer the network's."""

    def __init__(self, *args, **config):
        super().__init__(*args, **config)
        self.bias = self.networks.actor.layers[-1][1]

    def update(self):
        self.bias += [0.5, 0.0, 0.0]
        return super().update()


class ActsOnAnything(PPO):
    def act(self, obs, *, deterministic=False, mask=None):
        known = np.isfinite(np.atleast_2d(obs)).all(axis=1)
        chosen = super().act(np.nan_to_num(obs, posinf=0), deterministic=deterministic, mask=mask)
        return np.where(known, chosen, 3) if np.ndim(chosen) else chosen


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (ForgetsItsMomentum, "bit for bit"),
        (IgnoresMasks, "the only action that a mask allows"),
        (UnseededPolicy, "the same seed must give the same history"),
        (HoldsAView, "a copy must go on learning"),
        (ActsOnAnything, "led outside the space"),
    ],
)
def test_the_suite_catches_broken_agents(kind, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_agent(kind, steps=36, n_steps=6, batch_size=6, n_epochs=1)
