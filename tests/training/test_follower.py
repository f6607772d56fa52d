"""A policy without learning in the seat of an agent: it walks, and follows what its surrogate learns."""

from __future__ import annotations

from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from mbrl_split.columns import Column
from mbrl_split.errors import InvalidInputError, UnsupportedError
from mbrl_split.evaluation import FunctionProblem
from mbrl_split.interaction import Policy, ZeroSource
from mbrl_split.oracles import FunctionOracle, Ledger
from mbrl_split.refresh import FixedInterval, OnPolicyAcquisition, RandomAcquisition
from mbrl_split.surrogates import GPSurrogate
from mbrl_split.training import Follower, ModelBasedTrainer, RunLogger

COLUMNS = (Column("weather", "1", 0, 4), Column("rooms", "1", 0, 4, "ordinal"))


class Shop(gym.Env):
    """Three days of weather; each day some rooms are heated."""

    observation_space = gym.spaces.Box(0, 4, (1,))
    action_space = gym.spaces.Discrete(5)

    def _weather(self):
        return self.np_random.uniform(0, 4, 1).astype(np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.day = 0
        return self._weather(), {}

    def step(self, action):
        self.day += 1
        return self._weather(), 0.0, False, self.day == 3, {}


def problem(noise=0.05):
    oracle = FunctionOracle(lambda X: (X[:, 0] - X[:, 1]) ** 2, COLUMNS, noise, identity="shop 1")
    return FunctionProblem(Shop, oracle, has_consequences=False, contexts=300)


class Told(Policy):
    """Takes 2, and notes what it is told."""

    def __init__(self):
        self.resets, self.masks = [], []

    def reset(self, mask=None):
        self.resets.append(None if mask is None else mask.tolist())

    def act(self, obs, *, deterministic=False, mask=None):
        assert deterministic
        self.masks.append(mask)
        return np.full(len(obs), 2)


def test_it_walks_and_is_told_of_episodes():
    env = problem().make_env(4, source=ZeroSource(COLUMNS))
    policy = Told()
    follower = Follower(lambda: policy, seed=1, n_steps=2)
    seen = []
    history = follower.walk(env, 32, callback=lambda f, record: seen.append((f, record["step"])))
    # Eight steps of each: episodes of three end at the third and the sixth.
    assert policy.resets == [None, [True] * 4, [True] * 4]
    assert seen == [(follower, step) for step in (8, 16, 24, 32)]
    assert history.column("step")[0].tolist() == [8, 16, 24, 32]
    follower.walk(env, 8)  # goes on within the third episode, which ends at the ninth step
    assert policy.resets == [None, *[[True] * 4] * 3]
    assert follower.num_steps == 40
    stopped = follower.walk(env, 800, callback=lambda f, record: True)
    assert stopped.records == [{"step": 48.0}]
    follower.act(np.zeros((1, 1)), mask=[True] * 5)
    assert policy.masks[-1] == [True] * 5


def test_the_walk_is_the_policys():
    """Observations and queries are those of a loop that does the same."""
    trip, loop = (problem().make_env(4, source=ZeroSource(COLUMNS)) for _ in range(2))
    wanted = problem().rule(lambda context: context[:, 0])
    follower = Follower(lambda: wanted, seed=5, n_steps=1)
    obs, _ = loop.reset(seed=5)
    for _ in range(7):
        follower.walk(trip, 4)
        obs, *_ = loop.step(wanted.act(obs))
        np.testing.assert_array_equal(follower._obs, obs)


def test_the_policy_is_read_anew_when_truth_was_learnt():
    made = []
    follower = Follower(lambda: made.append(Told()) or made[-1], seed=0)
    assert made == []
    assert follower.current() is follower.current() is made[0]
    follower.act(np.zeros((2, 1)))
    follower.on_source_changed(3)
    assert len(made) == 1  # not before it is asked for
    assert follower.current() is made[1]


def follow(schedule, acquisition, budget, folder=None, **settings):
    p = problem()
    ledger = Ledger(p.oracle(), budget=budget)
    surrogate = GPSurrogate(seed=1)
    follower = Follower(lambda: p.lookup(lambda X: surrogate.predict(X).mean), seed=2)
    trainer = ModelBasedTrainer(
        p.make_env(8, source=ZeroSource(COLUMNS)), follower, surrogate, schedule, acquisition, ledger,
        total_steps=512, segment_steps=64, initial_design=[[0, 0], [0, 4]], reward_function=p.reward_function(), seed=3,
        logger=None if folder is None else RunLogger(folder, tensorboard=False), **settings,
    )  # fmt: skip
    return p, trainer, follower


def test_a_schedule_pays_and_the_follower_follows(tmp_path):
    p, trainer, follower = follow(FixedInterval(128, n=8), RandomAcquisition(), 100, tmp_path / "a")
    judge, seen, policies, values = p.judge(seed=0), [], [], []
    for now in trainer.segments():
        seen.append((now.step, now.true_evaluations))
        policies.append(follower.current())
        values.append(judge.judge(policies[-1]).value)
    assert [step for step, _ in seen] == list(range(64, 513, 64))
    assert [spent for _, spent in seen] == [2, 10, 10, 18, 18, 26, 26, 26]
    assert [a is b for a, b in pairwise(policies)] == [False, True, False, True, False, True, True]
    first, last = values[0], values[-1]
    best, fixed = judge.reference("optimal").value, judge.reference("best-fixed").value
    assert best - first > 0.3 * (best - fixed)  # it began with what one kind of weather tells
    assert best - last < 0.1 * (best - fixed)
    # The look-up is the argmax of the surrogate at the very end.
    weather = np.linspace(0, 4, 41)[:, None]
    queries = np.stack([np.column_stack([weather, np.full(41, a)]) for a in range(5)], axis=1)
    predicted = trainer.surrogate.predict(queries.reshape(-1, 2)).mean.reshape(41, 5)
    np.testing.assert_array_equal(policies[-1].act(weather), predicted.argmin(axis=1))
    again = follow(FixedInterval(128, n=8), RandomAcquisition(), 100, tmp_path / "b")[1]
    again.run()
    assert (tmp_path / "a" / "metrics.jsonl").read_bytes() == (tmp_path / "b" / "metrics.jsonl").read_bytes()
    assert again.ledger.state_dict() == trainer.ledger.state_dict()


def test_truth_is_bought_where_it_walks():
    _, trainer, _ = follow(FixedInterval(128, n=8), OnPolicyAcquisition(), 10)
    trainer.run()
    assert trainer.ledger.spent == 10
    bought = trainer.ledger.rows("refresh")
    walked = {tuple(row) for row in trainer.visited.queries.tolist()}
    assert len(bought) == 8
    assert all(tuple(row) in walked for row in bought.X.tolist())
    assert trainer.step == 512  # a spent budget ends paying, not walking


def test_what_is_wrong_is_said(tmp_path):
    with pytest.raises(InvalidInputError, match="n_steps is at least 1"):
        Follower(Told, seed=0, n_steps=0)
    with pytest.raises(InvalidInputError, match="keeps no checkpoints"):
        follow(FixedInterval(128), RandomAcquisition(), 20, checkpoint_dir=tmp_path)
    for env in (Shop(), *(SyncVectorEnv([Shop], autoreset_mode=m) for m in AutoresetMode if m.name != "SAME_STEP")):
        with pytest.raises(UnsupportedError, match="SAME_STEP"):
            Follower(Told, seed=0).walk(env, 8)
