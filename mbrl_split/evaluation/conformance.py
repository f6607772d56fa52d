"""A conformance suite for problems: run it on your own class."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import ArrayLike, NDArray

from mbrl_split.envs import OracleSource
from mbrl_split.errors import InvalidInputError, UnsupportedError
from mbrl_split.evaluation.gym_problem import RandomPolicy
from mbrl_split.evaluation.problem import Judge, Judgement, Problem
from mbrl_split.interaction import Policy
from mbrl_split.oracles import Ledger
from mbrl_split.refresh import RewardFunction


def check_problem(problem: Problem, *, seed: int = 0) -> None:
    """Check a problem against its contract; takes some ten true evaluations, two judgements and every reference.

    Args:
        problem: The problem to check.
        seed: Fixes what is drawn.

    Raises:
        AssertionError: The first promise that is broken, in a sentence.
    """
    _check_description(problem)
    env = _environment(problem)
    _check_environment(env, seed)
    _check_actions(problem, env)
    _check_judge(problem, env, seed)
    _check_reward(problem, env, seed)


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


def _check_environment(env: VectorEnv[Any, Any, Any], seed: int) -> None:
    first = np.asarray(env.reset(seed=seed)[0])
    again = np.asarray(env.reset(seed=seed)[0])
    _say(np.array_equal(first, again), "reset(seed=...) gives the same observations every time")
    _, reward, *_ = env.step(_random(env, seed).act(first))
    _say(bool(np.isfinite(reward).all()), f"the environment's rewards are finite, not {reward}")


def _check_actions(problem: Problem, env: VectorEnv[Any, Any, Any]) -> None:
    table, n = problem.action_table(), getattr(env.single_action_space, "n", None)
    _say(not table or len(table) == n, f"action_table() names every one of the {n} actions, not {len(table)}")


def _check_judge(problem: Problem, env: VectorEnv[Any, Any, Any], seed: int) -> None:
    policy = _Fixed(_random(env, seed), env)
    one, same = (problem.judge(seed).judge(policy) for _ in range(2))
    _say(isinstance(one, Judgement), f"judge(seed).judge(policy) gives a Judgement, not {one!r}")
    _say(np.array_equal(one.per_unit, same.per_unit), "judges of one seed give a policy the same value")
    _say(bool(np.isclose(one.value, one.per_unit.mean())), "a judgement's value is the mean of its units")
    judge = problem.judge(seed)
    for name in problem.reference_names:
        found = _reference(judge, name)
        _say(isinstance(found, Judgement), f"reference_names holds {name!r}, but the judge gives {found!r} for it")
    nothing = _reference(judge, "no such reference")
    refused = isinstance(nothing, InvalidInputError)
    _say(refused, f"an unknown reference is an InvalidInputError, not {nothing!r}")
    room = judge.headroom
    if room is not None:
        optimal, fixed = (judge.reference(name).value for name in ("optimal", "best-fixed"))
        _say(bool(np.isclose(room.value, optimal - fixed)), "the headroom is the optimum minus the best fixed action")
        _say(one.value <= optimal + 6 * max(room.std_error, one.std_error), "no policy is worth more than the optimum")


def _reference(judge: Judge, name: str) -> Judgement | Exception:
    """The judgement, or what was raised instead."""
    try:
        return judge.reference(name)
    except Exception as error:
        return error


def _check_reward(problem: Problem, env: VectorEnv[Any, Any, Any], seed: int) -> None:
    reward = problem.reward_function()
    if reward is None:
        return
    _say(problem.oracle() is not None, "a reward function composes an oracle's measurement, and oracle() gives none")
    rng = np.random.default_rng(seed)
    X = np.column_stack([column.sample(4, rng) for column in problem.columns])
    y = rng.random(4)
    found = np.asarray(reward.reward(y, X))
    _say(found.shape == (4,), f"reward(measurements (4,), queries) has shape (4,), not {found.shape}")
    many = np.asarray(reward.reward(np.stack([y, y + 1]), X))
    _say(many.shape == (2, 4), f"reward takes several draws at once, (2, 4), and gives their shape, not {many.shape}")
    _say(np.array_equal(many[0], found), "reward gives each of several draws what it gives that draw alone")
    if reward.queries is not None:
        _check_queries(problem, reward, env, seed)
    try:
        policy = problem.lookup(lambda queries: np.zeros(len(queries)))
    except UnsupportedError:
        return
    obs = env.reset(seed=seed)[0]
    action = np.asarray(policy.act(obs))
    inside = action.shape[:1] == (3,) and all(env.single_action_space.contains(a) for a in action)
    _say(inside, f"a look-up acts in the action space, not {action}")
    alone = np.asarray(policy.act(obs[0]))
    _say(
        np.array_equal(alone, action[0]),
        f"a look-up takes one observation as it takes a batch of one: {action[0]}, not {alone}",
    )


def _check_queries(problem: Problem, reward: RewardFunction, env: VectorEnv[Any, Any, Any], seed: int) -> None:
    """That a step asks, and composes from the answer, what the reward function says."""
    assert reward.queries is not None
    obs, space = np.array(env.reset(seed=seed)[0]), env.single_action_space
    said = np.asarray(reward.queries(obs), dtype=np.float64)
    shape = (3, int(getattr(space, "n", 0)), len(problem.columns))
    _say(said.shape == shape, f"queries(3 observations) has shape {shape}, not {said.shape}")
    start = int(getattr(space, "start", 0))
    _say(reward.first_action == start, f"first_action is the action space's start, {start}, not {reward.first_action}")
    action = _random(env, seed + 1).act(obs)
    _, rewards, _, _, info = env.step(action)
    if "query" not in info:
        return
    expected = said[np.arange(3), action - reward.first_action]
    # In the unit cube: an observation may have been rounded to single precision.
    gap = np.abs(reward.unit(info["query"]) - reward.unit(expected)).max()
    _say(gap < 1e-4, f"a step under {action} asks {info['query'].tolist()}; queries said {expected.tolist()}")
    composed = np.asarray(reward.reward(info["measurement"], info["query"]))
    same = np.allclose(composed, rewards, rtol=1e-4, atol=1e-6)
    _say(same, f"a step pays {rewards}, and the reward function composes {composed} from the same measurements")


def _random(env: VectorEnv[Any, Any, Any], seed: int) -> RandomPolicy:
    return RandomPolicy(env.single_observation_space, env.single_action_space, seed)


class _Fixed(Policy):
    """The same action for every observation, however often it is asked for."""

    def __init__(self, policy: RandomPolicy, env: VectorEnv[Any, Any, Any]) -> None:
        self._action = policy.act(env.single_observation_space.sample())
        self._ndim = len(env.single_observation_space.shape or ())

    def act(self, obs: ArrayLike, *, deterministic: bool = True, mask: ArrayLike | None = None) -> NDArray[Any]:
        x = np.asarray(obs)
        return self._action if x.ndim == self._ndim else np.stack([self._action] * len(x))
