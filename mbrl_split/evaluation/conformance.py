"""A conformance suite for problems: run it on your own class."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from mbrl_split.envs import OracleSource
from mbrl_split.errors import UnsupportedError
from mbrl_split.evaluation.gym_problem import RandomPolicy
from mbrl_split.evaluation.problem import Judgement, Problem
from mbrl_split.oracles import Ledger


def check_problem(problem: Problem, *, seed: int = 0) -> None:
    """Check a problem against its contract; takes a few true evaluations and two judgements of a random policy.

    Args:
        problem: The problem to check.
        seed: Fixes what is drawn.

    Raises:
        AssertionError: The first promise that is broken, in a sentence.
    """
    _check_description(problem)
    env = _environment(problem)
    _check_environment(problem, env, seed)
    _check_actions(problem, env)
    _check_judge(problem, env, seed)
    _check_reward(problem, seed)


def _say(holds: bool, broken: str) -> None:
    if not holds:
        raise AssertionError(broken)


def _check_description(problem: Problem) -> None:
    said = problem.describe()
    try:
        plain = json.loads(json.dumps(said))
    except TypeError as error:
        raise AssertionError(f"describe() is plain data, since it addresses runs: {error}") from None
    _say(plain == json.loads(json.dumps(problem.describe())), "describe() says the same thing every time")
    oracle = problem.oracle()
    if oracle is not None:
        _say(tuple(problem.columns) == tuple(oracle.columns), "columns are those of the oracle")


def _environment(problem: Problem) -> VectorEnv[Any, Any, Any]:
    oracle = problem.oracle()
    env = problem.make_env(3, source=None if oracle is None else OracleSource(Ledger(oracle)))
    _say(isinstance(env, VectorEnv) and env.num_envs == 3, f"make_env(3) makes a vector of 3 environments, not {env}")
    mode = AutoresetMode(env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP))
    _say(mode is AutoresetMode.SAME_STEP, f"make_env makes environments in SAME_STEP mode, not {mode.name}")
    return env


def _check_environment(problem: Problem, env: VectorEnv[Any, Any, Any], seed: int) -> None:
    first = np.asarray(env.reset(seed=seed)[0])
    again = np.asarray(env.reset(seed=seed)[0])
    _say(np.array_equal(first, again), "reset(seed=...) gives the same observations every time")
    policy = RandomPolicy(env.single_action_space, seed)
    _, reward, *_ = env.step(policy.act(first))
    _say(bool(np.isfinite(reward).all()), f"the environment's rewards are finite, not {reward}")


def _check_actions(problem: Problem, env: VectorEnv[Any, Any, Any]) -> None:
    table, n = problem.action_table(), getattr(env.single_action_space, "n", None)
    _say(not table or len(table) == n, f"action_table() names every one of the {n} actions, not {len(table)}")


def _check_judge(problem: Problem, env: VectorEnv[Any, Any, Any], seed: int) -> None:
    policy = RandomPolicy(env.single_action_space, seed)
    one, same = (problem.judge(seed).judge(_Fixed(policy)) for _ in range(2))
    _say(isinstance(one, Judgement), f"judge(seed).judge(policy) gives a Judgement, not {one!r}")
    _say(np.array_equal(one.per_unit, same.per_unit), "judges of one seed give a policy the same value")
    _say(bool(np.isclose(one.value, one.per_unit.mean())), "a judgement's value is the mean of its units")
    judge = problem.judge(seed)
    room = judge.headroom
    if room is not None:
        optimal, fixed = (judge.reference(name).value for name in ("optimal", "best-fixed"))
        _say(bool(np.isclose(room.value, optimal - fixed)), "the headroom is the optimum minus the best fixed action")
        _say(one.value <= optimal + 6 * max(room.std_error, one.std_error), "no policy is worth more than the optimum")


def _check_reward(problem: Problem, seed: int) -> None:
    reward = problem.reward_function()
    if reward is None:
        return
    rng = np.random.default_rng(seed)
    X = np.column_stack([column.sample(4, rng) for column in problem.columns])
    y = rng.random(4)
    found = np.asarray(reward.reward(y, X))
    _say(found.shape == (4,), f"reward(measurements (4,), queries) has shape (4,), not {found.shape}")
    many = np.asarray(reward.reward(np.stack([y, y + 1]), X))
    _say(many.shape == (2, 4), f"reward takes several draws at once, (2, 4), and gives their shape, not {many.shape}")
    try:
        policy = problem.lookup(lambda queries: np.zeros(len(queries)))
    except UnsupportedError:
        return
    oracle = problem.oracle()
    assert oracle is not None
    env = problem.make_env(3, source=OracleSource(Ledger(oracle)))
    action = np.asarray(policy.act(env.reset(seed=seed)[0]))
    inside = all(env.single_action_space.contains(a) for a in action)
    _say(inside, f"a look-up acts in the action space, not {action}")


class _Fixed:
    """The same actions for the same observations, however often they are asked for."""

    def __init__(self, policy: RandomPolicy) -> None:
        self._action = policy.act(np.zeros((1, 1)))[0]

    def act(self, obs: Any, *, deterministic: bool = True, mask: Any = None) -> Any:
        return np.stack([self._action] * len(np.asarray(obs)))
