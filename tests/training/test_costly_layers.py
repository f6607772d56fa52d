"""Any environment, its reward made costly, under whatever wrappers: trainers find the source that they exchange."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import vector as wrappers

from mbrl_split.agents import PPO
from mbrl_split.columns import Column
from mbrl_split.envs import CostlyReward
from mbrl_split.errors import BudgetExhaustedError, InvalidInputError
from mbrl_split.interaction import ZeroSource
from mbrl_split.oracles import FunctionOracle, Ledger, Metered
from mbrl_split.refresh import FixedInterval, RandomAcquisition
from mbrl_split.surrogates import GPSurrogate
from mbrl_split.training import ModelBasedTrainer, TruthTrainer

COLUMNS = (Column("position", "1", -1.5, 1.5),)


def height(X):
    return np.sin(3 * X[:, 0])


def cars(wrap):
    plain = gym.make_vec("MountainCar-v0", num_envs=4)
    return wrap(CostlyReward(plain, ZeroSource(COLUMNS), features=lambda obs, action: obs[:, :1]))


WRAPS = {
    "bare": lambda env: env,
    "statistics": wrappers.RecordEpisodeStatistics,
    "two": lambda env: wrappers.RecordEpisodeStatistics(wrappers.ClipReward(env, -1.0, 1.0)),
}


def agent_of(env):
    return PPO(env.single_observation_space, env.single_action_space, n_steps=8, batch_size=32, n_epochs=1, seed=0)


@pytest.mark.parametrize("name", WRAPS)
def test_trainers_reach_the_costly_layer(name):
    env, ledger = cars(WRAPS[name]), Ledger(FunctionOracle(height, COLUMNS), budget=128)
    TruthTrainer(env, agent_of(env), ledger, total_steps=96).run()
    assert ledger.spent == 96
    visited = ledger.entries.X
    assert ((visited > -0.7) & (visited < -0.3)).all()  # where the cars begin
    env, ledger = cars(WRAPS[name]), Ledger(FunctionOracle(height, COLUMNS), budget=24)
    trainer = ModelBasedTrainer(
        env, agent_of(env), GPSurrogate(), FixedInterval(32, n=8), RandomAcquisition(), ledger,
        total_steps=96, segment_steps=32, initial_design=8,
    )  # fmt: skip
    trainer.run()
    assert ledger.spent == 24
    assert len(trainer.visited.queries) == 96
    grid = np.linspace(-1.4, 1.4, 29)[:, None]
    assert np.abs(trainer.surrogate.predict(grid).mean - height(grid)).max() < 0.05


def test_an_environment_without_a_costly_layer_is_refused():
    env = gym.make_vec("MountainCar-v0", num_envs=2)
    with pytest.raises(InvalidInputError, match="has no costly source"):
        TruthTrainer(env, agent_of(env), Ledger(FunctionOracle(height, COLUMNS)), total_steps=8).run()


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_real_steps_are_the_truth_of_a_metered_environment(mode):
    """One evaluation per live step; the step that only resets is free. The budget ends the run."""
    ledger = Ledger(budget=300)
    plain = gym.make_vec("CartPole-v1", 4, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode})
    env = Metered(plain, ledger)
    trainer = TruthTrainer(env, agent_of(env), ledger, total_steps=10_000)
    agent = trainer.run()
    assert trainer.finished
    assert 296 < ledger.spent <= 300
    assert agent.num_steps == trainer.step == ledger.spent
    assert len(ledger.entries) == 0
    assert ledger.charged == {"train": ledger.spent}
    ledger.budget = ledger.spent + 3
    env.reset(seed=0)
    with pytest.raises(BudgetExhaustedError):
        env.step(np.zeros(4, np.int64))
    assert ledger.spent == trainer.step
