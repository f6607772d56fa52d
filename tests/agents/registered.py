"""Settings with which every registered agent learns within a few steps, and what it then knows."""

import copy

import numpy as np

SETTINGS = {
    "ppo": {"n_steps": 8, "batch_size": 8, "n_epochs": 2, "normalize_observations": True, "normalize_reward": True},
    "a2c": {"n_steps": 4},
    "dqn": {"learning_starts": 10, "batch_size": 8, "train_freq": 2, "n_steps": 3, "tau": 0.5, "buffer_size": 60},
    "reinforce": {"n_episodes": 2, "max_steps": 15},
    "epsilon-greedy": {},
    "ucb1": {"n_steps": 2},
    "thompson": {},
    "linucb": {},
    "lints": {"keep_log": True, "propensity_draws": 3},
    "successive-elimination": {},
    "surrogate-bandit": {"surrogate": "gp", "cold_start": 8, "fit_every": 16, "n_steps": 3},
}


def same(a, b):
    """Trees of data and arrays are equal to the last bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b


def knowledge(agent):
    """What an agent has learned and where it stands, as a tree of its own."""
    size = agent._observations.size
    moments = agent._encoding.moments and agent._encoding.moments.state()
    rng = {name: r.bit_generator.state for name, r in agent._rng.items()}
    seen = np.random.default_rng(0).uniform(-1, 1, (200, size)).astype(np.float32)
    told = {
        "best": agent.act(seen, deterministic=True),
        "rng": rng,
        "moments": moments,
        "records": agent.history.records,
    }
    return copy.deepcopy(
        {**told, "state": agent._state(), "episodes": (agent._returns, agent._lengths, agent._finished)}
    )
