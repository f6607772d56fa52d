"""After a refit an off-policy agent learns from the new surrogate's rewards, also of what it lived through before."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import vector as wrappers

from mbrl_split.agents import DQN
from mbrl_split.envs import OracleSource
from mbrl_split.layer_split import LLMSplit, LLMSplitVector, scenario
from mbrl_split.layer_split.envs import rules
from mbrl_split.oracles import FunctionOracle, Ledger
from mbrl_split.refresh import FixedInterval, RandomAcquisition
from mbrl_split.surrogates import MLPSurrogate, TabulatedSurrogate
from mbrl_split.training import ModelBasedTrainer

DECISION = scenario("equalised")


def test_replayed_rewards_follow_the_refit():
    oracle = FunctionOracle(lambda X: X[:, 1] / X[:, 0], DECISION.columns(12), noise_std=0.1)
    ledger = Ledger(oracle)
    env = LLMSplitVector(8, DECISION, source=OracleSource(Ledger(oracle)))
    agent = DQN(
        env.single_observation_space,
        env.single_action_space,
        seed=0,
        learning_starts=64,
        train_freq=8,
        gradient_steps=4,
        batch_size=64,
    )
    surrogate = TabulatedSurrogate(MLPSurrogate(hidden=(16,), steps=50, seed=0), 5)
    trainer = ModelBasedTrainer(
        env,
        agent,
        surrogate,
        FixedInterval(256, n=16),
        RandomAcquisition(),
        ledger,
        total_steps=512,
        segment_steps=256,
        initial_design=12,
        visited=10_000,
    )
    segments = trainer.segments()
    assert next(segments).step >= 256  # and then the surrogate was refitted
    replay, version = agent._replay, trainer.source.version
    n, asked = len(replay), len(trainer.visited.queries)
    before = replay.fields["reward"].copy()
    assert version > 1
    drawn = replay.sample(
        4096, np.random.default_rng(0), gamma=agent.config.gamma, version=version, relabel=agent.relabel
    )
    split, context, _ = rules.unobserve(DECISION, 12, drawn["obs"], drawn["next_obs"])
    composed = rules.compose_reward(
        surrogate.predict(rules.build_inputs(split, context)).mean, split, 12, DECISION.reward
    )
    np.testing.assert_allclose(drawn["reward"], composed, atol=1e-9)
    filled = np.s_[:, : n // 8]
    assert (replay.fields["version"][filled] == version).mean() > 0.99
    assert np.abs(before - replay.fields["reward"])[filled].mean() > 1e-3, "the refit must have changed something"
    assert len(trainer.visited.queries) == asked, "a replayed transition is no new visit"
    for _ in segments:
        pass
    assert agent.num_steps >= 512


def test_wrapped_rewards_are_not_mixed_with_those_from_inside():
    """Under a wrapper that scales rewards, a refit makes the agent forget: relabelled ones would lack the scale."""
    ledger = Ledger(FunctionOracle(lambda X: X[:, 1] / X[:, 0], DECISION.columns(12)))
    inside = LLMSplitVector(8, DECISION, source=OracleSource(ledger))
    env = wrappers.TransformReward(inside, lambda reward: 100 + reward)
    agent = DQN(env.single_observation_space, env.single_action_space, seed=0, learning_starts=64, train_freq=8)
    surrogate = MLPSurrogate(hidden=(8,), steps=50, seed=0)
    settings = {"total_steps": 512, "segment_steps": 256, "initial_design": 12}
    trainer = ModelBasedTrainer(env, agent, surrogate, FixedInterval(256, n=8), RandomAcquisition(), ledger, **settings)
    segments = trainer.segments()
    assert next(segments).source_version > 1
    assert len(agent._replay) == 0
    next(segments)
    assert agent._replay.fields["reward"][:, : len(agent._replay) // 8].min() > 50


@pytest.mark.parametrize(
    ("wrap", "relabels"),
    [
        (lambda env: env, True),
        (gym.wrappers.OrderEnforcing, True),
        (lambda env: gym.wrappers.RecordEpisodeStatistics(gym.wrappers.TimeLimit(env, 5)), True),
        (lambda env: gym.wrappers.TransformReward(env, lambda reward: 2 * reward), False),
        (lambda env: gym.wrappers.OrderEnforcing(gym.wrappers.RescaleObservation(env, -1, 1)), False),
    ],
)
def test_relabelling_is_taken_through_wrappers_that_change_nothing(wrap, relabels):
    source = OracleSource(Ledger(FunctionOracle(lambda X: X[:, 1] / X[:, 0], DECISION.columns(12))))
    env = wrap(LLMSplit(DECISION, source=source))
    agent = DQN(env.observation_space, env.action_space, seed=0)
    agent.start(env)
    assert (agent.relabel is not None) == relabels
