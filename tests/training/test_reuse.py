"""An agent that comes from another trainer leaves the rewards of the other source behind."""

from __future__ import annotations

import numpy as np
import pytest

from mbrl_split.agents import DQN, PPO
from mbrl_split.envs import OracleSource
from mbrl_split.layer_split import LLMSplitVector, scenario
from mbrl_split.oracles import FunctionOracle, Ledger
from mbrl_split.refresh import Never, RandomAcquisition
from mbrl_split.surrogates import MLPSurrogate
from mbrl_split.training import ModelBasedTrainer, TruthTrainer

DECISION = scenario("equalised")


def ledger(shift=0.0):
    return Ledger(FunctionOracle(lambda X: X[:, 1] / X[:, 0] + shift, DECISION.columns(12)))


def on_surrogate(env, agent, shift, total=512):
    ModelBasedTrainer(
        env,
        agent,
        MLPSurrogate(hidden=(8,), steps=50, seed=0),
        Never(),
        RandomAcquisition(),
        ledger(shift),
        total_steps=total,
        initial_design=16,
        segment_steps=total,
    ).run()


def on_truth(env, agent, shift):
    TruthTrainer(env, agent, ledger(shift), total_steps=256, segment_steps=64).run()


@pytest.mark.parametrize("then", [on_truth, on_surrogate])
def test_a_replay_buffer_holds_one_source_only(then):
    """Rewards of the first source lie below −10. Two fresh trainers give their sources the same version."""
    env = LLMSplitVector(8, DECISION, source=OracleSource(ledger()))
    agent = DQN(env.single_observation_space, env.single_action_space, seed=0, learning_starts=64, train_freq=8)
    on_surrogate(env, agent, shift=5.0)
    replay = agent._replay
    assert (replay.fields["reward"][:, : len(replay) // 8] < -10).all()
    version = agent.source_version
    then(env, agent, 0.0)
    assert agent.source_version == (0 if then is on_truth else version)
    stored = replay.fields["reward"][:, : len(replay) // 8]
    assert stored.shape[1] >= 32
    assert stored.min() > -10


def test_an_open_rollout_is_dropped():
    env = LLMSplitVector(8, DECISION, source=OracleSource(ledger()))
    agent = PPO(env.single_observation_space, env.single_action_space, seed=0, n_steps=24, batch_size=32)
    on_surrogate(env, agent, shift=5.0)
    assert agent._rollout.pos == 64 % 24
    learnt, update = [], agent.update
    agent.update = lambda: (learnt.append(agent._rollout.filled("reward").copy()), update())[1]
    on_truth(env, agent, 0.0)
    assert len(learnt) == 1
    assert np.min(learnt) > -10
