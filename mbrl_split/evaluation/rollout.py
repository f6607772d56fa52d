"""Full episodes of a policy in any Gymnasium environment, every sub-environment with its own quota."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from mbrl_split.errors import InvalidInputError
from mbrl_split.interaction import Policy


@dataclass(frozen=True)
class Episodes:
    """Finished episodes, ordered by sub-environment, then by time.

    Attributes:
        returns: Undiscounted sum of rewards, (episodes,).
        lengths: Steps, (episodes,).
    """

    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]


def evaluate(
    agent: Policy,
    env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any],
    episodes: int,
    *,
    seed: int | None = None,
    deterministic: bool = True,
) -> Episodes:
    """Run at least ``episodes`` full episodes, equally many in every sub-environment.

    The first episodes to finish would be the short ones: a quota per sub-environment keeps the sample unbiased, so
    that n sub-environments run ⌈episodes/n⌉ episodes each, and what they do beyond it is ignored.

    Args:
        agent: Acts on observations; told by ``reset`` where episodes begin.
        env: A single or a vector environment, in any autoreset mode; it is reset first.
        episodes: Least number of episodes.
        seed: Of the reset.
        deterministic: Whether the agent acts without drawing.

    Raises:
        InvalidInputError: No episodes are asked for.

    Example:
        >>> import gymnasium as gym
        >>> from mbrl_split.agents import PPO
        >>> from mbrl_split.evaluation import evaluate
        >>> env = gym.make_vec("CartPole-v1", num_envs=4)
        >>> agent = PPO(env.single_observation_space, env.single_action_space, seed=0)
        >>> evaluate(agent, env, episodes=8, seed=0).returns.shape
        (8,)
    """
    if episodes < 1:
        raise InvalidInputError(f"at least one episode is evaluated, not {episodes}")
    if not isinstance(env, VectorEnv):
        return _single(agent, env, episodes, seed, deterministic)
    n, mode = env.num_envs, AutoresetMode(env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP))
    quota = -(-episodes // n)
    finished: list[list[tuple[float, int]]] = [[] for _ in range(n)]
    total, length = np.zeros(n), np.zeros(n, np.int64)
    resetting = np.zeros(n, dtype=bool)
    obs, _ = env.reset(seed=seed)
    _episodes_begin(agent)
    while min(len(f) for f in finished) < quota:
        action = agent.act(obs, deterministic=deterministic)
        obs, reward, terminated, truncated, _ = env.step(np.asarray(action))
        live = ~resetting
        total[live] += np.asarray(reward, dtype=np.float64)[live]
        length[live] += 1
        ended = np.logical_or(terminated, truncated) & live
        for i in np.flatnonzero(ended):
            finished[i].append((float(total[i]), int(length[i])))
        total[ended], length[ended] = 0.0, 0
        began = ended
        if mode is AutoresetMode.NEXT_STEP:  # the next step of these only resets: nothing happens in it
            began, resetting = resetting, ended
        elif mode is AutoresetMode.DISABLED and ended.any():
            obs, _ = env.reset(options={"reset_mask": ended})
        if began.any():
            _episodes_begin(agent, began)
    kept = [episode for f in finished for episode in f[:quota]]
    return Episodes(np.array([r for r, _ in kept]), np.array([k for _, k in kept], dtype=np.int64))


def _single(agent: Policy, env: gym.Env[Any, Any], episodes: int, seed: int | None, deterministic: bool) -> Episodes:
    returns, lengths = np.zeros(episodes), np.zeros(episodes, np.int64)
    for k in range(episodes):
        obs, _ = env.reset(seed=seed if k == 0 else None)
        _episodes_begin(agent)
        over = False
        while not over:
            obs, reward, terminated, truncated, _ = env.step(agent.act(obs, deterministic=deterministic))
            returns[k] += float(reward)
            lengths[k] += 1
            over = bool(terminated or truncated)
    return Episodes(returns, lengths)


def _episodes_begin(agent: Any, rows: NDArray[np.bool_] | None = None) -> None:
    """Tell a policy; what merely acts on observations keeps nothing between them."""
    if hasattr(agent, "reset"):
        agent.reset(rows)
