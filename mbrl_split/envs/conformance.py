"""A conformance suite for costly environments: run it on your own class."""

from __future__ import annotations

import json
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode
from numpy.typing import ArrayLike, NDArray

from mbrl_split.columns import Column, check_rows
from mbrl_split.envs.base import CostlyEnv, State
from mbrl_split.envs.single import VectorToSingle
from mbrl_split.errors import BudgetExhaustedError, InvalidInputError

_N = 3  # sub-environments in the checks


def check_environment(env: CostlyEnv | gym.Env[Any, Any], *, seed: int = 0) -> None:
    """Check an environment against the contract of :class:`~mbrl_split.envs.base.CostlyEnv`.

    The checks run on copies of the environment with a made-up source, so they pay for no truth and leave the
    environment as it was.

    Args:
        env: A ``CostlyEnv``, or its single form, wrapped or not.
        seed: Fixes actions and episodes.

    Raises:
        AssertionError: The first promise that is broken, in a sentence.
    """
    bare = env.unwrapped
    batch = bare.batch if isinstance(bare, VectorToSingle) else bare
    _say(
        isinstance(batch, CostlyEnv),
        f"{type(bare).__name__} is no CostlyEnv; gymnasium.utils.env_checker.check_env checks plain environments",
    )
    assert isinstance(batch, CostlyEnv)
    _check_attributes(batch)
    _check_gymnasium(batch)
    _check_questions(batch, seed)
    _check_episode_ends(batch, seed)
    _check_rows_are_independent(batch, seed)
    _check_resume(batch, seed)
    _check_sources(batch, seed)


class _Probe:
    """A source that answers some function of query and seed, refuses illegal queries, and can run out of money."""

    version = 0

    def __init__(self, columns: tuple[Column, ...]) -> None:
        self.columns = columns
        self.spent = False

    def answer(self, X: ArrayLike, *, seeds: ArrayLike) -> NDArray[np.float64]:
        if self.spent:
            raise BudgetExhaustedError("the probe's budget is spent")
        try:
            x = check_rows(X, self.columns)
        except InvalidInputError as error:
            raise AssertionError(f"features or start_features ask what the columns do not allow: {error}") from None
        s = np.asarray(seeds)
        _say(
            s.shape == (len(x),) and s.dtype.kind in "iu" and bool((s >= 0).all()),
            f"the source was asked {len(x)} queries with the seeds {s!r}: one non-negative integer per query",
        )
        # Column by column: a matrix product rounds a row differently in different company.
        weighted = (k * c.to_unit(x[:, k - 1]) for k, c in enumerate(self.columns, start=1))
        return np.asarray(sum(weighted) / 10 + s % 1000 / 1e4)


def _say(holds: bool, broken: str) -> None:
    if not holds:
        raise AssertionError(broken)


def _probed(env: CostlyEnv, n: int) -> CostlyEnv:
    copy = env.resized(n)
    copy.set_source(_Probe(env.columns))
    return copy


def _actions(env: CostlyEnv, steps: int, seed: int) -> list[Any]:
    env.action_space.seed(seed)
    return [env.action_space.sample() for _ in range(steps)]


def _check_attributes(env: CostlyEnv) -> None:
    mode = env.metadata.get("autoreset_mode")
    _say(mode is AutoresetMode.SAME_STEP, f"metadata['autoreset_mode'] is AutoresetMode.SAME_STEP, not {mode!r}")
    box = env.single_observation_space
    _say(isinstance(box, gym.spaces.Box), f"the observation space is a Box, not {box}")
    assert isinstance(box, gym.spaces.Box)
    _say(box.dtype == np.float32, f"observations are float32, not {box.dtype}")
    _say(
        bool(np.isfinite(box.low).all() and np.isfinite(box.high).all()), f"the observation space {box} is not bounded"
    )
    _say(
        len(env.columns) > 0 and all(isinstance(c, Column) for c in env.columns),
        f"columns is a non-empty tuple of Column, not {env.columns!r}",
    )


def _check_gymnasium(env: CostlyEnv) -> None:
    if env.episode_steps == 1:
        return  # Gymnasium's checker holds an episode of one step for an error
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            check_env(VectorToSingle(_probed(env, 1)), skip_render_check=True)
        except AssertionError:
            raise
        except Exception as error:
            raise AssertionError(f"Gymnasium's check_env complains: {error}") from error


def _check_questions(env: CostlyEnv, seed: int) -> None:
    """Observations in their space, rewards that compose gives again, states that are left alone."""
    run = _probed(env, _N)
    obs, _ = run.reset(seed=seed)
    for action in _actions(run, 2 * run.episode_steps + 1, seed):
        _say(obs in run.observation_space, f"the observation {obs!r} is not in {run.observation_space}")
        state = run._current
        kept = {name: values.copy() for name, values in state.items()}
        obs, reward, _, _, info = run.step(action)
        _say(data_equivalence(state, kept, exact=True), "a step changes the arrays of the state before it: copy them")
        again = np.asarray(run.compose(info["measurement"], state, action))
        _say(
            again.shape == (_N,) and np.array_equal(again, reward),
            f"compose(measured, state, action) gives {again!r}, the step gave {reward!r}: the reward must be a "
            "function of these alone, one per sub-environment",
        )
        query = np.asarray(run.features(state, action))
        _say(
            np.array_equal(query, info["query"]),
            f"features(state, action) gives {query!r}, the step asked {info['query']!r}: features must be a function "
            "of these alone",
        )
        _say(_batch_first(state, _N), f"every array of a state has its first axis of length {_N}: {_shapes(state)}")


def _check_episode_ends(env: CostlyEnv, seed: int) -> None:
    run = _probed(env, _N)
    run.reset(seed=seed)
    for t, action in enumerate(_actions(run, 2 * run.episode_steps, seed), start=1):
        obs, _, terminated, truncated, info = run.step(action)
        over = t % run.episode_steps == 0
        _say(not terminated.any(), "episodes end by truncation; terminated is always False")
        _say(
            bool((truncated == over).all()),
            f"after {t} steps truncated is {truncated}, episode_steps is {env.episode_steps}",
        )
        _say(("final_obs" in info) == over, "final_obs is there in the step that ends an episode, and only there")
        if over:
            _say(bool(info["_final_obs"].all()), "_final_obs marks every ended sub-environment")
            for last in info["final_obs"]:
                _say(last in run.single_observation_space, f"final_obs {last!r} is not in the observation space")
            again = run.observe(run._current)
            _say(
                np.array_equal(obs, again), "at the end of an episode step returns the next episode's first observation"
            )


def _check_rows_are_independent(env: CostlyEnv, seed: int) -> None:
    """Sub-environment i of a batch does what a single environment with its seed does, bit for bit."""
    run = _probed(env, _N)
    obs, _ = run.reset(seed=seed)
    alone = [VectorToSingle(_probed(env, 1)) for _ in range(_N)]
    first = [one.reset(seed=seed + i)[0] for i, one in enumerate(alone)]
    _say(np.array_equal(obs, np.stack(first)), "sub-environment i of reset(seed=s) must start as one reset with s + i")
    for action in _actions(run, 2 * run.episode_steps + 1, seed):
        obs, reward, _, truncated, info = run.step(action)
        for i, one in enumerate(alone):
            obs_i, reward_i, _, truncated_i, _ = one.step(action[i])
            same = reward_i == reward[i] and truncated_i == truncated[i]
            if truncated_i:
                same = same and np.array_equal(obs_i, info["final_obs"][i])
                obs_i, _ = one.reset()
            _say(
                bool(same and np.array_equal(obs_i, obs[i])),
                f"sub-environment {i} differs from a single environment with its seed: draw random numbers only from "
                "the draws that are handed in, and keep nothing per sub-environment outside the state",
            )


def _check_resume(env: CostlyEnv, seed: int) -> None:
    run = _probed(env, _N)
    run.reset(seed=seed)
    actions = _actions(run, 2 * run.episode_steps + 2, seed)
    half = run.episode_steps // 2 + 1
    for action in actions[:half]:
        run.step(action)
    try:
        saved = json.loads(json.dumps(run.state_dict()))
    except TypeError as error:
        raise AssertionError(f"state_dict is plain data that JSON can hold: {error}") from None
    other = _probed(env, _N)
    other.load_state_dict(saved)
    for action in actions[half:]:
        _say(
            data_equivalence(run.step(action), other.step(action), exact=True),
            "after load_state_dict(state_dict()) the environment does not go on bit for bit",
        )


def _check_sources(env: CostlyEnv, seed: int) -> None:
    run, undisturbed = _probed(env, _N), _probed(env, _N)
    last = env.columns[-1]
    foreign = _Probe((*env.columns[:-1], Column(f"not {last.name}", last.unit, last.low, last.high, last.scale)))
    try:
        run.set_source(foreign)
    except InvalidInputError:
        pass
    else:
        raise AssertionError("set_source accepts a source whose columns have other names")
    run.reset(seed=seed)
    undisturbed.reset(seed=seed)
    probe = run.source
    assert isinstance(probe, _Probe)
    for action in _actions(run, run.episode_steps + 1, seed):
        before = run.state_dict()
        probe.spent = True
        try:
            run.step(action)
        except BudgetExhaustedError:
            pass
        else:
            raise AssertionError("a step hides that the source's budget is spent, or does not ask the source")
        probe.spent = False
        _say(run.state_dict() == before, "a step that the source could not pay for has changed the environment")
        _say(
            data_equivalence(run.step(action), undisturbed.step(action), exact=True),
            "a step that is tried again after a spent budget differs from an undisturbed one",
        )


def _batch_first(state: State, n: int) -> bool:
    return all(values.ndim > 0 and len(values) == n for values in state.values())


def _shapes(state: State) -> str:
    return ", ".join(f"{name} {values.shape}" for name, values in state.items())
