"""A world that changes: what is remembered, what is forgotten, and who notices."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mbrl_split.agents import EpsilonGreedy
from mbrl_split.envs import OracleSource
from mbrl_split.errors import InvalidInputError
from mbrl_split.layer_split import LLMSplitVector, scenario
from mbrl_split.oracles import FunctionOracle, Ledger
from mbrl_split.refresh import Always, ErrorTriggered, RandomAcquisition, RefreshState
from mbrl_split.surrogates import GPSurrogate
from mbrl_split.training import ModelBasedTrainer, RunLogger

COLUMNS = scenario("equalised").columns(12)
CHANGE = 600


class World:
    """Damage 1/split until the change, 1/split + 1 from then on."""

    shift = 0.0

    def __call__(self, X):
        return 1 / X[:, 0] + self.shift

    def on_step(self, step):
        self.shift = 1.0 if step >= CHANGE else 0.0


def train(folder, schedule, **settings):
    world = World()
    ledger = Ledger(FunctionOracle(world, COLUMNS, noise_std=0.02), budget=100)
    env = LLMSplitVector(10, source=OracleSource(Ledger(ledger.oracle)))
    surrogate = GPSurrogate(seed=1)
    seen = []
    fit = surrogate.fit
    surrogate.fit = lambda X, y, **rest: (seen.append(np.array(y)), fit(X, y, **rest))[1]
    trainer = ModelBasedTrainer(
        env, EpsilonGreedy(env.single_observation_space, env.single_action_space, seed=1), surrogate, schedule,
        RandomAcquisition(), ledger, total_steps=1200, segment_steps=100, initial_design=24, seed=2,
        on_step=world.on_step, logger=RunLogger(folder, tensorboard=False), **settings,
    )  # fmt: skip
    return trainer, seen


TRIGGER = {"n": 16, "audit_every": 100, "threshold": 5.0, "slack": 1.0}


def test_a_change_is_noticed_and_the_old_world_forgotten(tmp_path):
    trainer, seen = train(tmp_path, ErrorTriggered(**TRIGGER, forget=True))
    trainer.run()
    log = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    refreshes = [r["step"] for r in log if r["kind"] == "refresh"]
    assert refreshes == [CHANGE]  # the first audit after the change is 50 standard deviations off
    assert [len(y) for y in seen] == [24, 16]
    assert seen[1].min() > 1  # rows of the new world only
    rows = trainer.ledger.entries
    predicted = trainer.surrogate.predict(rows.X).mean - 1 / rows.X[:, 0]
    assert np.median(predicted) == pytest.approx(1, abs=0.1)


def test_without_forgetting_the_old_world_stays(tmp_path):
    trainer, seen = train(tmp_path, ErrorTriggered(**TRIGGER))
    trainer.run()
    assert len(seen[1]) > 24 + 16
    assert seen[-1].min() < 0.2
    rows = trainer.ledger.entries
    bias = trainer.surrogate.predict(rows.X).mean - 1 / rows.X[:, 0] - 1
    assert bias.mean() < -0.2


def test_a_memory_is_the_latest_rows(tmp_path):
    trainer, seen = train(tmp_path, Always(n=8), memory=20)
    trainer.run()
    y = trainer.ledger.entries.y
    assert [len(rows) for rows in seen] == [20] * len(seen)
    np.testing.assert_array_equal(seen[0], y[4:24])
    np.testing.assert_array_equal(seen[1], y[12:32])
    np.testing.assert_array_equal(seen[-1], y[-20:])


def test_the_world_is_as_it_was_after_an_interruption(tmp_path):
    def attempt(name):
        folder = tmp_path / name
        return train(folder, ErrorTriggered(**TRIGGER, forget=True), checkpoint_dir=folder / "checkpoint")[0]

    whole = attempt("whole")
    whole.run()
    going = attempt("cut").segments()
    for _ in range(8):  # beyond the change
        next(going)
    del going
    last = attempt("cut")
    last.run()
    assert (tmp_path / "cut" / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    assert last.forgotten == whole.forgotten > 0


def test_only_an_alarm_forgets(tmp_path):
    def decide(residuals, spent=10.0, **settings):
        state = RefreshState(500, 1000, 500, 0, spent, 40.0, 10, residuals=residuals, steps_since_audit=0)
        return ErrorTriggered(**TRIGGER, **settings).decide(state)

    assert decide((9.0,), forget=True).forget
    assert not decide((9.0,)).forget
    assert not decide((0.1,), forget=True).forget
    assert not decide((9.0,), spent=40.0, forget=True).forget  # nothing left to learn anew from
    with pytest.raises(InvalidInputError, match="memory"):
        train(tmp_path, Always(), memory=0)
