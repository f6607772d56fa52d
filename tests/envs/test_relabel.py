"""Stored transitions get the rewards that another source would have given."""

from __future__ import annotations

import numpy as np
import pytest

from mbrl_split.envs import OracleSource
from mbrl_split.errors import UnsupportedError
from mbrl_split.layer_split import LLMSplit, LLMSplitVector, scenario
from mbrl_split.oracles import FunctionOracle, Ledger


class Answers:
    """A surrogate's source in closed form: more noise, more damage; less with depth."""

    def __init__(self, columns, slope):
        self.columns, self.slope, self.version = columns, slope, 1

    def answer(self, X, *, seeds):
        X = np.asarray(X)
        return self.slope * X[:, 1] / X[:, 0]


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"actions": "relative", "drift": 0.05},
        {"actions": "relative", "drift": 0.05, "reference": "start"},
    ],
    ids=["absolute", "drifting", "reference at the start"],
)
def test_rewards_given_anew_are_those_of_the_new_source(overrides):
    decision = scenario("equalised", **overrides)
    first, second = (Answers(decision.columns(12), slope) for slope in (1.0, 2.5))
    one, other = (LLMSplitVector(16, decision, source=source) for source in (first, second))
    obs, _ = one.reset(seed=0)
    other.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(decision.episode_steps):
        actions = rng.integers(one.single_action_space.n, size=16)
        following, reward, _, truncated, info = one.step(actions)
        expected = other.step(actions)[1]
        after = np.stack(list(info["final_obs"])) if truncated.any() else following
        np.testing.assert_allclose(one.relabel(obs, actions, after), reward, atol=2e-5)
        if decision.reference == "clean":  # a reference that was seen stays what it was
            np.testing.assert_allclose(one.relabel(obs, actions, after, source=second), expected, atol=2e-5)
            assert np.abs(expected - reward).max() > 0.01
        obs = following


def test_the_truth_is_never_paid_for_again():
    decision = scenario("equalised")
    ledger = Ledger(FunctionOracle(lambda X: X[:, 1] / X[:, 0], decision.columns(12)))
    env = LLMSplitVector(4, decision, source=OracleSource(ledger))
    obs, _ = env.reset(seed=0)
    actions = np.arange(4)
    after, *_ = env.step(actions)
    spent = ledger.spent
    with pytest.raises(UnsupportedError, match="never by paying for the truth again"):
        env.relabel(obs, actions, after)
    assert ledger.spent == spent


def test_the_single_form_offers_it_and_a_session_does_not():
    source = Answers(scenario("equalised").columns(12), 1.0)
    assert callable(LLMSplit(source=source).relabel)
    drive = scenario("drive")
    assert LLMSplitVector(2, drive, source=Answers(drive.columns(12), 1.0)).relabel is None
