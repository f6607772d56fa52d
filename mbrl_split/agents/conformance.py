"""What every agent must hold; run it on your own: ``check_agent(MyAgent, n_steps=32)``."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from mbrl_split.agents.base import Agent, History
from mbrl_split.errors import MbrlSplitError


class Corridor(gym.Env[Any, Any]):
    """Five cells, a random start. The last pays 1 and ends the episode; elsewhere a coin pays; 12 steps at most."""

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(-1.0, 1.0, (2,), dtype=np.float32)
        self.action_space = gym.spaces.Discrete(3)
        self.cell = self.steps = 0

    def _observe(self) -> Any:
        return np.array([self.cell / 4, self.steps / 12], dtype=np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.cell, self.steps = int(self.np_random.integers(4)), 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.cell = int(np.clip(self.cell + int(action) - 1, 0, 4))
        self.steps += 1
        arrived = self.cell == 4
        paid = arrived or self.np_random.random() < 0.2
        return self._observe(), float(paid), arrived, self.steps >= 12, {}


MODES = (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED)


def check_agent(
    kind: type[Agent],
    *,
    make_env: Callable[[], gym.Env[Any, Any]] = Corridor,
    steps: int = 96,
    num_envs: int = 3,
    load: Callable[..., Agent] | None = None,
    **config: Any,
) -> None:
    """Hold an agent class to the contract of :class:`~mbrl_split.agents.Agent`.

    Args:
        kind: The class.
        make_env: Makes a small environment whose every step is fixed by the seed of its reset.
        steps: Environment steps of each half of a learning; choose the hyper-parameters so that it updates in them.
        num_envs: Sub-environments of the vector environments.
        load: Instead of ``kind.load``, for classes whose ``load`` needs more than the path.
        **config: Hyper-parameters; constant ones, since a schedule ends with the total given at ``learn``.

    Raises:
        AssertionError: With one sentence that says what does not hold.
    """
    env = make_env()
    observation_space, action_space = env.observation_space, env.action_space
    restore = load or kind.load

    def make(seed: int) -> Agent:
        return kind(observation_space, action_space, seed=seed, **config)

    _check_spaces(kind, env, config)
    _check_actions(make(0), env)
    for label, make_vec in _variants(make_env, num_envs):
        straight, again, halves, other = make(1), make(1), make(1), make(2)
        history = straight.learn(make_vec(), 2 * steps)
        assert isinstance(history, History), f"{label}: learn must return a History, not {type(history).__name__}"
        assert history.records, f"{label}: no record after {2 * steps} steps; choose settings that update sooner"
        recorded = [record["step"] for record in history.records]
        assert recorded == sorted(recorded), f"{label}: the steps of the history must not fall"
        assert _same(again.learn(make_vec(), 2 * steps), history), f"{label}: the same seed must give the same history"
        assert not _same(other.learn(make_vec(), 2 * steps), history), f"{label}: another seed must matter"

        halves.learn(make_vec(), steps)
        with tempfile.TemporaryDirectory() as folder:
            halves.save(Path(folder) / "agent")
            resumed = restore(Path(folder) / "agent")
        assert _same(resumed.learn(make_vec(), steps), history), (
            f"{label}: learning n steps, saving, loading and learning n more must equal learning 2n, bit for bit"
        )
        obs = np.stack([observation_space.sample() for _ in range(64)])
        assert np.array_equal(resumed.act(obs, deterministic=True), straight.act(obs, deterministic=True)), (
            f"{label}: after an exact resumption the policies differ"
        )
        twin = copy.deepcopy(straight)
        assert _same(twin.learn(make_vec(), steps), straight.learn(make_vec(), steps)), (
            f"{label}: a copy must go on learning as the agent does, bit for bit"
        )
        assert np.array_equal(twin.act(obs, deterministic=True), straight.act(obs, deterministic=True)), (
            f"{label}: after learning alike a copy acts differently"
        )
    _check_callback(make(3), make_env, steps)
    straight.on_source_changed(7)
    straight.learn(make_vec(), steps)


def _variants(make_env: Callable[[], Any], num_envs: int) -> list[tuple[str, Callable[[], Any]]]:
    def vector(mode: AutoresetMode) -> Callable[[], Any]:
        return lambda: SyncVectorEnv([make_env] * num_envs, autoreset_mode=mode)

    return [("single environment", make_env), *((f"vector in mode {m.name}", vector(m)) for m in MODES)]


def _same(a: History, b: History) -> bool:
    """Equal to the last bit; a NaN equals a NaN."""
    if len(a.records) != len(b.records):
        return False
    return all(
        x.keys() == y.keys() and np.array_equal(list(x.values()), list(y.values()), equal_nan=True)
        for x, y in zip(a.records, b.records, strict=True)
    )


def _check_spaces(kind: type[Agent], env: Any, config: dict[str, Any]) -> None:
    for spaces in (
        (env.observation_space, gym.spaces.Box(-1, 1, (2,))),
        (gym.spaces.Text(3), env.action_space),
    ):
        refusal = None
        try:
            kind(*spaces, seed=0, **config)
        except MbrlSplitError as error:
            refusal = str(error)
        assert refusal is not None, f"the spaces {spaces} must be refused with one of the library's errors"
        assert "\n" not in refusal, f"the refusal of the spaces {spaces} must be one line"


def _check_actions(agent: Agent, env: Any) -> None:
    space = env.action_space
    obs = np.stack([env.observation_space.sample() for _ in range(50)])
    one = agent.act(obs[0])
    assert np.shape(one) == (), f"act on one observation must have shape (), not {np.shape(one)}"
    many = agent.act(obs)
    assert np.shape(many) == (50,), f"act on 50 observations must have shape (50,), not {np.shape(many)}"
    assert all(space.contains(np.int64(a)) for a in many), "act must give members of the action space"
    first, second = (agent.act(obs, deterministic=True) for _ in range(2))
    assert np.array_equal(first, second), "deterministic actions must not change from call to call"
    for bad in (np.nan, np.inf) if np.issubdtype(obs.dtype, np.floating) else ():
        try:
            chosen = agent.act(np.where(np.arange(len(obs)) == 7, bad, obs.T).T)
        except MbrlSplitError:  # the better answer
            continue
        assert all(space.contains(np.int64(a)) for a in chosen), f"an observation of {bad} led outside the space"
    for action in range(space.n):
        mask = np.arange(space.n) == action
        for deterministic in (True, False):
            chosen = agent.act(obs, deterministic=deterministic, mask=mask)
            assert (chosen == action + space.start).all(), "act must take the only action that a mask allows"


def _check_callback(learner: Agent, make_env: Callable[[], Any], steps: int) -> None:
    seen: list[dict[str, float]] = []

    def stop(agent: Agent, record: dict[str, float]) -> bool:
        assert agent is learner, "a callback gets the agent"
        record["mine"] = 1.0
        seen.append(record)
        return len(seen) == 1

    history = learner.learn(make_env(), 4 * steps, callback=stop)
    assert len(seen) == 1, "learning must stop when a callback returns True"
    assert history.records[-1].get("mine") == 1.0, "what a callback adds to a record must reach the history"
