"""Settings that are known to work, per agent and environment, most from the tuned collection rl-baselines3-zoo.

``n_envs`` is the number of sub-environments that the settings were tuned with and ``steps`` the total; the rest are the
agent's hyper-parameters.
"""

from __future__ import annotations

from typing import Any

from mbrl_split.agents.schedules import Linear
from mbrl_split.errors import InvalidInputError
from mbrl_split.registry import unknown

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "PPO": {
        # The collection's, with rollouts twice as long: with its own a rare seed forgets what it learned.
        "CartPole-v1": {
            "n_envs": 8,
            "steps": 100_000,
            "n_steps": 64,
            "batch_size": 256,
            "gae_lambda": 0.8,
            "gamma": 0.98,
            "n_epochs": 20,
            "ent_coef": 0.0,
            "learning_rate": Linear(1e-3),
            "clip_range": Linear(0.2),
        },
        "Acrobot-v1": {
            "n_envs": 16,
            "steps": 1_000_000,
            "normalize_observations": True,
            "normalize_reward": True,
            "n_steps": 256,
            "gae_lambda": 0.94,
            "gamma": 0.99,
            "n_epochs": 4,
            "ent_coef": 0.0,
        },
        "LunarLander-v3": {
            "n_envs": 16,
            "steps": 1_000_000,
            "n_steps": 1024,
            "batch_size": 64,
            "gae_lambda": 0.98,
            "gamma": 0.999,
            "n_epochs": 4,
            "ent_coef": 0.01,
        },
    },
    # Of the collection's A2C, Atari alone asks for TensorFlow's RMSprop; these have Stable-Baselines3's default.
    "A2C": {
        "CartPole-v1": {"n_envs": 8, "steps": 500_000, "ent_coef": 0.0},
        "Acrobot-v1": {
            "n_envs": 16,
            "steps": 500_000,
            "normalize_observations": True,
            "normalize_reward": True,
            "ent_coef": 0.0,
        },
        "LunarLander-v3": {
            "n_envs": 8,
            "steps": 200_000,
            "gamma": 0.995,
            "n_steps": 5,
            "learning_rate": Linear(0.00083),
            "ent_coef": 1e-5,
        },
    },
    "DQN": {
        # Ours: the collection's setting forgets what it learned on some seeds, in this library and in others. Longer
        # returns, a target that follows smoothly and a falling step size do not.
        "CartPole-v1": {
            "n_envs": 1,
            "steps": 50_000,
            "learning_rate": Linear(2e-3),
            "batch_size": 128,
            "buffer_size": 100_000,
            "learning_starts": 1_000,
            "gamma": 0.99,
            "n_steps": 5,
            "double": False,
            "tau": 0.2,
            "target_update_interval": 32,
            "train_freq": 32,
            "gradient_steps": 16,
            "exploration_fraction": 0.16,
            "exploration_final_eps": 0.04,
            "net_arch": (64, 64),
        },
        # Ours: a small network and half the updates of the collection's setting, for a fraction of its time.
        "Acrobot-v1": {
            "n_envs": 1,
            "steps": 100_000,
            "learning_rate": Linear(1e-3),
            "batch_size": 128,
            "buffer_size": 50_000,
            "learning_starts": 1_000,
            "gamma": 0.99,
            "double": False,
            "target_update_interval": 250,
            "train_freq": 16,
            "gradient_steps": 8,
            "exploration_fraction": 0.12,
            "exploration_final_eps": 0.05,
            "net_arch": (64, 64),
        },
        "LunarLander-v3": {
            "n_envs": 1,
            "steps": 100_000,
            "learning_rate": 6.3e-4,
            "batch_size": 128,
            "buffer_size": 50_000,
            "learning_starts": 0,
            "gamma": 0.99,
            "target_update_interval": 250,
            "train_freq": 4,
            "gradient_steps": -1,
            "exploration_fraction": 0.12,
            "exploration_final_eps": 0.1,
            "net_arch": (256, 256),
        },
    },
    # Ours: the collection has no REINFORCE.
    "REINFORCE": {
        "CartPole-v1": {"n_envs": 8, "steps": 500_000, "n_episodes": 16, "gamma": 0.99, "learning_rate": 2e-3},
    },
}


def zoo_settings(agent: str, env_id: str) -> dict[str, Any]:
    """Hyper-parameters for an agent on an environment, ready for its constructor.

    Raises:
        InvalidInputError: There is none.
    """
    settings = zoo_run(agent, env_id)
    return {name: value for name, value in settings.items() if name not in ("n_envs", "steps")}


def zoo_run(agent: str, env_id: str) -> dict[str, Any]:
    """As :func:`zoo_settings`, with ``n_envs`` and ``steps``."""
    known = PRESETS.get(agent, {})
    if env_id not in known:
        raise InvalidInputError(
            unknown(f"zoo settings of {agent}", env_id, known) if known else f"{agent} has no zoo settings"
        )
    return dict(known[env_id])
