"""PPO and DQN on the library's own environment: exact resumption without a single further question to the source."""

import gymnasium as gym
import numpy as np
import pytest

from mbrl_split import scenario
from mbrl_split.agents import DQN, PPO, LinUCB


class ClosedForm:
    """Damage that grows with the noise and falls with depth; counts what it is asked."""

    version = 0

    def __init__(self):
        self.columns, self.asked = tuple(scenario("equalised").columns(12)), 0

    def answer(self, X, *, seeds):
        self.asked += len(np.asarray(X))
        return np.asarray(X)[:, 1] / np.asarray(X)[:, 0] + 0.1 * (np.asarray(seeds) % 1000) / 1000


def vector(source):
    return gym.make_vec("mbrl_split/LLMSplit-v0", num_envs=4, scenario="equalised", model="tiny-llama", source=source)


def single(source):
    return gym.make("mbrl_split/LLMSplit-v0", scenario="equalised", model="tiny-llama", source=source)


@pytest.mark.parametrize("make", [vector, single])
@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (PPO, {"n_steps": 8, "batch_size": 16}),
        (DQN, {"learning_starts": 8, "exploration_initial_eps": 0.2, "exploration_final_eps": 0.2}),
        (LinUCB, {}),
    ],
)
def test_exact_resumption_asks_nothing_twice(make, kind, config, tmp_path):
    def agent():
        env = make(ClosedForm())
        spaces = (
            getattr(env, "single_observation_space", env.observation_space),
            getattr(env, "single_action_space", env.action_space),
        )
        return kind(*spaces, seed=0, **config)

    straight, source = agent(), ClosedForm()
    straight.learn(make(source), 120)
    first = agent()
    first.learn(make(ClosedForm()), 60)
    first.save(tmp_path / "a")
    resumed, again = kind.load(tmp_path / "a"), ClosedForm()
    resumed.learn(make(again), 60)
    assert resumed.history == straight.history
    assert again.asked == source.asked / 2
