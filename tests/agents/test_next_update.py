"""When an agent can learn at the earliest is what it says, step by step."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from mbrl_split.agents import A2C, DQN, PPO, REINFORCE, UCB1, LinUCB, SurrogateBandit
from mbrl_split.agents.base import Agent

EPISODE = 5


class Clockwork(gym.Env):
    """Episodes of five steps, whatever is done."""

    observation_space, action_space = gym.spaces.Box(0.0, 1.0, (1,), np.float32), gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._seen(), {}

    def step(self, action):
        self.steps += 1
        return self._seen(), float(action), False, self.steps >= EPISODE, {}

    def _seen(self):
        return self.np_random.random(1, dtype=np.float32)


def updates(agent: Agent, num_envs: int, total: int) -> list[int]:
    """The steps at which the agent learnt."""
    seen: list[int] = []
    env = SyncVectorEnv([Clockwork] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)
    agent.learn(env, total, callback=lambda agent, record: seen.append(int(record["step"])))
    return seen


@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (PPO, {"n_steps": 8, "batch_size": 8}),
        (A2C, {}),
        (DQN, {"learning_starts": 50, "train_freq": 4}),
        (DQN, {"learning_starts": 48, "train_freq": 4}),  # a border that is no update yet
        (DQN, {"learning_starts": 0}),
        (REINFORCE, {"n_episodes": 4}),
        (REINFORCE, {"n_episodes": 4, "max_steps": 7}),
        (UCB1, {}),
        (LinUCB, {"n_steps": 6}),
        (SurrogateBandit, {"surrogate": "gp", "fit_every": 0, "n_steps": 4}),
    ],
)
def test_updates_come_when_the_agent_says_and_never_earlier(kind: type[Agent], config: dict, num_envs: int) -> None:
    agent = kind(Clockwork.observation_space, Clockwork.action_space, seed=0, **config)
    if isinstance(agent, SurrogateBandit):  # fitted elsewhere
        agent.surrogate.fit([[0.0, 0.0], [1.0, 1.0], [0.5, 0.0]], [0.0, 1.0, 0.0])
    seen = updates(agent, num_envs, 200)
    said = partial(agent.next_update, num_envs=num_envs, episode_steps=EPISODE)
    assert seen[0] == said()
    assert len(seen) > 2
    for before, now in pairwise(seen):
        assert said(before) == now if kind is not REINFORCE else before < said(before) <= now
    assert set(agent.paced_by) <= set(vars(agent.config))


def test_a_learning_that_ends_just_before_the_first_update_has_none() -> None:
    for steps, expected in ((60, []), (61, [64])):
        agent = PPO(Clockwork.observation_space, Clockwork.action_space, seed=0, n_steps=16)
        assert agent.next_update(num_envs=4) == 64
        assert updates(agent, 4, steps) == expected


def test_pulls_before_the_first_fit_are_no_update() -> None:
    agent = SurrogateBandit(
        Clockwork.observation_space, Clockwork.action_space, surrogate="gp", seed=0, cold_start=10, n_steps=2
    )
    first = agent.next_update(num_envs=3)
    updates(agent, 3, first - 3)
    assert agent._fitted_at == 0
    updates(agent, 3, 3)
    assert agent._fitted_at == first == 12


def test_an_agent_that_says_nothing_may_learn_at_every_step() -> None:
    class Silent(PPO):
        next_update = Agent.next_update

    agent = Silent(Clockwork.observation_space, Clockwork.action_space, n_steps=100)
    assert [agent.next_update(after, num_envs=4) for after in (0, 4, 8)] == [4, 8, 12]
