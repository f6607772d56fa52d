"""After a refit an off-policy agent learns from the new surrogate's rewards, also of what it lived through before."""

from __future__ import annotations

import numpy as np

from mbrl_split import scenario
from mbrl_split.agents import DQN
from mbrl_split.envs import LLMSplitVector, OracleSource, rules
from mbrl_split.oracles import FunctionOracle, Ledger
from mbrl_split.refresh import FixedInterval, RandomAcquisition
from mbrl_split.surrogates import MLPSurrogate, TabulatedSurrogate
from mbrl_split.training import ModelBasedTrainer


def test_replayed_rewards_follow_the_refit():
    decision = scenario("equalised")
    oracle = FunctionOracle(lambda X: X[:, 1] / X[:, 0], decision.columns(12), noise_std=0.1)
    ledger = Ledger(oracle)
    env = LLMSplitVector(8, decision, source=OracleSource(Ledger(oracle)))
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
        chunk_steps=256,
        initial_design=12,
        visited=10_000,
    )
    chunks = trainer.chunks()
    assert next(chunks).step >= 256  # and then the surrogate was refitted
    replay, version = agent._replay, trainer.source.version
    n, asked = len(replay), len(trainer.visited.queries)
    before = replay.fields["reward"].copy()
    assert version > 1
    drawn = replay.sample(
        4096, np.random.default_rng(0), gamma=agent.config.gamma, version=version, relabel=agent.relabel
    )
    split, context, _ = rules.unobserve(decision, 12, drawn.obs, drawn.next_obs)
    composed = rules.compose_reward(surrogate.predict(rules.queries(split, context)).mean, split, 12, decision.reward)
    np.testing.assert_allclose(drawn.reward, composed, atol=1e-9)
    filled = np.s_[:, : n // 8]
    assert (replay.fields["version"][filled] == version).mean() > 0.99
    assert np.abs(before - replay.fields["reward"])[filled].mean() > 1e-3, "the refit must have changed something"
    assert len(trainer.visited.queries) == asked, "a replayed transition is no new visit"
    for _ in chunks:
        pass
    assert agent.num_steps >= 512
