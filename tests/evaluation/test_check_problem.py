"""The conformance suite passes what is right and names what is wrong."""

from __future__ import annotations

import itertools
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

from mbrl_split.columns import Column
from mbrl_split.envs import CostlyReward
from mbrl_split.evaluation import Estimate, FunctionProblem, GymProblem, Judgement, check_problem
from mbrl_split.evaluation.function_problem import _Enumerated
from mbrl_split.oracles import FunctionOracle

COLUMNS = (Column("weather", "1", 0, 4), Column("rooms", "1", 0, 4, "ordinal"))


class Shop(gym.Env):
    observation_space = gym.spaces.Box(0, 4, (1,))
    action_space = gym.spaces.Discrete(5)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.uniform(0, 4, 1).astype(np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), 0.0, True, False, {}


class Right(FunctionProblem):
    """A small correct problem, to be broken in one place at a time."""

    def __init__(self, env=Shop, **settings):
        oracle = FunctionOracle(lambda X: (X[:, 0] - X[:, 1]) ** 2, COLUMNS, identity="shop 1")
        super().__init__(env, oracle, has_consequences=False, contexts=50, **settings)


def test_what_is_right_passes():
    check_problem(Right())
    check_problem(GymProblem("CartPole-v1", episodes=4))


class NoData(Right):
    def describe(self):
        return {**super().describe(), "reward": self.reward}


class Restless(Right):
    count = itertools.count()

    def describe(self):
        return {"run": next(self.count)}


class OtherColumns(Right):
    columns = (COLUMNS[0], Column("rooms", "1", 0, 5, "ordinal"))


class OneMore(Right):
    def make_env(self, num_envs, *, source=None):
        return super().make_env(num_envs + 1, source=source)


class NextStep(Right):
    def make_env(self, num_envs, *, source=None):
        return CostlyReward(SyncVectorEnv([self._make] * num_envs), source, compose=lambda y, obs, action: -y)


class Unseeded(Right):
    def __init__(self):
        class Weather(Shop):
            def reset(self, *, seed=None, options=None):
                return super().reset(seed=None)

        super().__init__(Weather)


class Boundless(Right):
    def __init__(self):
        super().__init__(reward=lambda y, X: np.full(np.shape(y), np.inf))


class ShortTable(Right):
    def action_table(self):
        return super().action_table()[:3]


class Judging(Right):
    """Another judge."""

    Kind = _Enumerated

    def judge(self, seed):
        return self.Kind(self, seed)


class PlainNumber(Judging):
    class Kind(_Enumerated):
        def judge(self, policy):
            return super().judge(policy).value


class OtherContexts(Judging):
    count = itertools.count()

    def judge(self, seed):
        return _Enumerated(self, next(self.count))


class Sum(Judging):
    class Kind(_Enumerated):
        def judge(self, policy):
            found = super().judge(policy)
            return replace(found, value=float(found.per_unit.sum()))


class MoreNames(Right):
    def __init__(self):
        super().__init__()
        self.reference_names = (*self.reference_names, "myopic")


class AnyName(Judging):
    class Kind(_Enumerated):
        def reference(self, name):
            return super().reference(name if name in ("optimal", "best-fixed") else "random")


class WrongKind(Judging):
    class Kind(_Enumerated):
        def reference(self, name):
            return {"optimal": super().reference("optimal")}[name]


class HalfRoom(Judging):
    class Kind(_Enumerated):
        @property
        def headroom(self):
            return Estimate(super().headroom.value / 2, 0.0)


class LowOptimum(Judging):
    class Kind(_Enumerated):
        def reference(self, name):
            found = super().reference(name)
            return Judgement.of(found.per_unit - 100, "context")


class Rewarding(Right):
    """Another reward function."""

    changes: dict = {}  # noqa: RUF012

    def reward_function(self):
        return replace(super().reward_function(), **self.changes)

    def judge(self, seed):
        return _Enumerated(Right(), seed)


class Mean(Rewarding):
    changes = {"reward": lambda y, X: -np.mean(y, keepdims=True)}  # noqa: RUF012


class OneDraw(Rewarding):
    changes = {"reward": lambda y, X: -np.ravel(y)[: len(X)]}  # noqa: RUF012


class LastDraw(Rewarding):
    changes = {"reward": lambda y, X: -np.broadcast_to(np.atleast_2d(y)[-1], np.shape(y))}  # noqa: RUF012


class NoOracle(GymProblem):
    def __init__(self):
        super().__init__("CartPole-v1", episodes=2)

    def reward_function(self):
        return Right().reward_function()


class FewActions(Rewarding):
    def action_table(self):
        return []

    def reward_function(self):
        right = Right().reward_function()
        return replace(right, queries=lambda obs: right.queries(obs)[:, :4])


class OffByOne(Rewarding):
    changes = {"first_action": 1}  # noqa: RUF012


class OtherQuery(Rewarding):
    def reward_function(self):
        right = Right().reward_function()
        return replace(right, queries=lambda obs: right.queries(obs)[:, ::-1])


class Twice(Rewarding):
    changes = {"reward": lambda y, X: -2 * y}  # noqa: RUF012


class Looking(Right):
    """Another look-up."""

    def act(self, obs):
        raise NotImplementedError

    def lookup(self, predict, *, plan=False):
        policy = super().lookup(predict)
        policy.act = self.act
        return policy


class Outside(Looking):
    def act(self, obs):
        return np.full(len(obs), 5)


class TooFew(Looking):
    def act(self, obs):
        return np.zeros(1, np.int64)


class BatchOnly(Looking):
    def act(self, obs):
        return np.zeros(len(obs), np.int64)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (NoData, "is plain data"),
        (Restless, "says the same thing every time"),
        (OtherColumns, "columns are those of the oracle"),
        (OneMore, "makes a vector of 3 environments"),
        (NextStep, "SAME_STEP mode, not NEXT_STEP"),
        (Unseeded, "the same observations every time"),
        (Boundless, "rewards are finite, not"),
        (ShortTable, "every one of the 5 actions, not 3"),
        (PlainNumber, "gives a Judgement, not"),
        (OtherContexts, "judges of one seed"),
        (Sum, "is the mean of its units"),
        (MoreNames, "reference_names holds 'myopic', but the judge gives InvalidInputError"),
        (AnyName, "an unknown reference is an InvalidInputError, not Judgement"),
        (WrongKind, "reference_names holds 'best-fixed', but the judge gives KeyError"),
        (HalfRoom, "the optimum minus the best fixed action"),
        (LowOptimum, "no policy is worth more than the optimum"),
        (Mean, r"has shape \(4,\), not \(1,\)"),
        (OneDraw, r"\(2, 4\), and gives their shape, not \(4,\)"),
        (LastDraw, "what it gives that draw alone"),
        (NoOracle, "oracle\\(\\) gives none"),
        (FewActions, r"has shape \(3, 5, 2\), not \(3, 4, 2\)"),
        (OffByOne, "action space's start, 0, not 1"),
        (OtherQuery, "queries said"),
        (Twice, "the reward function composes"),
        (Outside, "acts in the action space, not"),
        (TooFew, "acts in the action space, not"),
        (BatchOnly, "one observation as it takes a batch of one"),
    ],
)
def test_each_broken_promise_is_named(broken, says):
    with pytest.raises(AssertionError, match=says):
        check_problem(broken())


def test_it_is_offered_to_users():
    from mbrl_split import testing

    assert testing.check_problem is check_problem
