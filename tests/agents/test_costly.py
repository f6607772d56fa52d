"""PPO and DQN on the library's own environment: exact resumption without a single further question to the source."""

from functools import partial

import gymnasium as gym
import numpy as np
import pytest

from mbrl_split.agents import DQN, PPO, LinUCB
from mbrl_split.columns import Column
from mbrl_split.envs import CostlyReward, OracleSource
from mbrl_split.errors import BudgetExhaustedError
from mbrl_split.layer_split import scenario
from mbrl_split.oracles import FunctionOracle, Ledger


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


QUERY = [Column(name, "1", -50, 50) for name in ("x", "v", "angle", "turn", "action")]


def pole(source):
    return CostlyReward(gym.make("CartPole-v1"), source)


COSTLY = {
    "single": pole,
    "list": lambda source: [pole(source), pole(source)],
    "inside": lambda source: gym.vector.SyncVectorEnv([partial(pole, source)] * 2),
    "outside": lambda source: CostlyReward(gym.make_vec("CartPole-v1", 2, vectorization_mode="sync"), source),
    "statistics": lambda source: gym.wrappers.RecordEpisodeStatistics(pole(source)),
}


def paying(budget=None):
    return OracleSource(Ledger(FunctionOracle(lambda X: X[:, 2], QUERY), budget=budget))


def poles_agent():
    env = pole(paying())
    return PPO(env.observation_space, env.action_space, seed=0, n_steps=10, batch_size=10)


@pytest.mark.parametrize("name", COSTLY)
def test_what_is_replayed_is_not_paid_again(name, tmp_path):
    """CartPole does not give its state: the recorded actions are taken again."""
    make, source = COSTLY[name], paying()
    straight = poles_agent()
    straight.learn(make(source), 200)
    first, again = poles_agent(), paying()
    first.learn(make(again), 100)
    first.save(tmp_path)
    resumed = PPO.load(tmp_path)
    resumed.learn(make(again), 100)
    assert resumed.history == straight.history
    assert again.ledger.state_dict() == source.ledger.state_dict()


def test_a_step_that_the_budget_refused_is_not_replayed(tmp_path):
    source = paying(budget=55)
    agent = poles_agent()
    with pytest.raises(BudgetExhaustedError):
        agent.learn(pole(source), 100)
    agent.save(tmp_path)
    resumed = PPO.load(tmp_path)
    source.ledger.budget = 100
    resumed.learn(pole(source), 45)
    assert (resumed.num_steps, source.ledger.spent) == (100, 100)
