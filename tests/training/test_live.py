"""The loop on a real language model: the same few lines, only the oracle is another."""

from __future__ import annotations

import numpy as np

from mbrl_split.agents import PPO
from mbrl_split.envs import OracleSource
from mbrl_split.layer_split import LLMSplitVector, PerplexityOracle, argmax_policy, scenario
from mbrl_split.oracles import Ledger, open_store
from mbrl_split.refresh import ErrorTriggered, Thompson
from mbrl_split.surrogates import MLPSurrogate, TabulatedSurrogate
from mbrl_split.training import ModelBasedTrainer, RunLogger

SMALL = scenario("equalised", windows=2, window=64, pool=8)


def train(folder, oracle, store):
    ledger = Ledger(oracle, store, budget=54)
    env = LLMSplitVector(8, SMALL, source=OracleSource(ledger))
    agent = PPO(env.single_observation_space, env.single_action_space, n_steps=16, seed=0)
    trainer = ModelBasedTrainer(
        env,
        agent,
        TabulatedSurrogate(MLPSurrogate(hidden=(32, 32), steps=150), 9),
        ErrorTriggered(n=4, audit_every=128, audit_n=1, threshold=0.5, slack=0.0),
        Thompson(),
        ledger,
        total_steps=512,
        initial_design=40,
        segment_steps=128,
        logger=RunLogger(folder, tensorboard=False),
        checkpoint_dir=folder / "checkpoint",
    )
    trainer.run()
    return trainer


def test_training_on_tiny_llama_pays_for_text_and_repeats_bit_for_bit(tmp_path):
    oracle = PerplexityOracle.load("tiny-llama", SMALL)
    store = open_store(tmp_path / "store.sqlite")
    first = train(tmp_path / "a", oracle, store)
    entries = first.ledger.entries
    # Clean references are paid once per window: 8 windows of 64 tokens are 4 evaluations of 128.
    assert first.ledger.spent == len(entries) + 4
    assert len(entries) > 41  # audits and refreshes followed the first 40
    assert np.isfinite(entries.y).all()
    # Deep splits survive what shallow ones do not: the surrogate has learnt it from real text.
    quiet, loud, deep = first.surrogate.predict([[1, 0.05, 4.0], [1, 1.0, 4.0], [11, 1.0, 4.0]]).mean
    assert max(quiet, deep) + 0.1 < loud
    policy = argmax_policy(lambda X: first.surrogate.predict(X).mean, SMALL, 12)
    quiet, loud = (policy(np.array([[s, 4.0]]), np.array([1])) for s in (0.05, 1.0))
    assert quiet < loud
    again = train(tmp_path / "b", oracle, store)  # answered by the store, charged all the same
    assert again.ledger.spent == first.ledger.spent
    assert (tmp_path / "a" / "metrics.jsonl").read_bytes() == (tmp_path / "b" / "metrics.jsonl").read_bytes()
