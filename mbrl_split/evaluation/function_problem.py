"""An own environment with an own oracle as a problem."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray

from mbrl_split.columns import Column
from mbrl_split.envs import CostlyReward, flat_features
from mbrl_split.errors import InvalidInputError, UnsupportedError
from mbrl_split.evaluation.gym_problem import RandomPolicy
from mbrl_split.evaluation.problem import Estimate, Judge, Judgement, Problem
from mbrl_split.evaluation.rollout import evaluate
from mbrl_split.interaction import Source
from mbrl_split.oracles import Oracle
from mbrl_split.refresh import RewardFunction
from mbrl_split.registry import unknown

Array = NDArray[np.float64]


def negative(measured: Array, X: Array) -> Array:
    """The measured number is a cost."""
    return -measured


class FunctionProblem(Problem):
    """A Gymnasium environment whose reward is composed from an oracle's measurement.

    What the environment itself pays is not used. The judge asks the oracle's expected value where it offers one
    (``FunctionOracle`` does), and measures otherwise. Where choices have no consequences and actions are discrete,
    every action is tried in the judge's contexts: the optimum, the best fixed action and regrets are known.
    Otherwise the judge gives returns.

    Args:
        env: A Gymnasium id, or anything that makes an environment when called without arguments.
        oracle: What measures; it needs an ``identity``.
        features: (observations, actions), each a batch of n → queries (n, d); default both side by side.
        reward: (measurements, queries (n, d)) → rewards; measurements are (n,) or (draws, n). Default: minus the
            measurement.
        has_consequences: Whether an action changes what comes later; False for a bandit.
        action: Index of the query's column that the agent chooses.
        contexts: Contexts, or episodes, of the judge.

    Raises:
        InvalidInputError: The oracle has no identity, or sizes below 2.

    Example:
        >>> import gymnasium as gym, numpy as np
        >>> from mbrl_split.columns import Column
        >>> from mbrl_split.evaluation import FunctionProblem
        >>> from mbrl_split.oracles import FunctionOracle
        >>> class Shop(gym.Env):  # how many rooms to heat, given the weather
        ...     observation_space, action_space = gym.spaces.Box(0, 4, (1,)), gym.spaces.Discrete(5)
        ...     def reset(self, *, seed=None, options=None):
        ...         super().reset(seed=seed)
        ...         return self.np_random.uniform(0, 4, 1).astype(np.float32), {}
        ...     def step(self, action):
        ...         return np.zeros(1, np.float32), 0.0, True, False, {}
        >>> columns = (Column("weather", "1", 0, 4), Column("rooms", "1", 0, 4, "ordinal"))
        >>> oracle = FunctionOracle(lambda X: (X[:, 0] - X[:, 1]) ** 2, columns, identity="shop 1")
        >>> problem = FunctionProblem(Shop, oracle, has_consequences=False, action=1)
        >>> judge = problem.judge(seed=0)
        >>> judge.reference("optimal").value > judge.reference("best-fixed").value > judge.reference("random").value
        True
    """

    reference_names = ("optimal", "best-fixed", "random")

    def __init__(
        self,
        env: str | Callable[[], gym.Env[Any, Any]],
        oracle: Oracle,
        *,
        features: Callable[[Any, Any], Any] = flat_features,
        reward: Callable[[Array, Array], Array] = negative,
        has_consequences: bool = True,
        action: int = 0,
        contexts: int = 500,
    ) -> None:
        if not oracle.identity:
            raise InvalidInputError("the oracle's identity addresses the runs of a suite: give it identity=...")
        if contexts < 2:
            raise InvalidInputError(f"a judge needs at least 2 contexts, not {contexts}")
        self.env, self._oracle, self.features, self.reward = env, oracle, features, reward
        self.evaluation_size = oracle.evaluation_size
        self.has_consequences, self.action, self.contexts = has_consequences, action, contexts

    @property
    def columns(self) -> tuple[Column, ...]:
        return self._oracle.columns

    def oracle(self) -> Oracle:
        return self._oracle

    def make_env(self, num_envs: int, *, source: Source | None = None) -> VectorEnv[Any, Any, Any]:
        if source is None:
            raise UnsupportedError("the reward of this environment is measured: name a source")
        make = (lambda: gym.make(self.env)) if isinstance(self.env, str) else self.env  # type: ignore[arg-type]
        batch = SyncVectorEnv([make] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)

        def compose(answer: Array, obs: Any, action: Any) -> Array:
            return np.asarray(self.reward(answer, np.asarray(self.features(obs, action), dtype=np.float64)))

        return CostlyReward(batch, source, features=self.features, compose=compose)

    @cached_property
    def _spaces(self) -> tuple[gym.Space[Any], gym.Space[Any]]:
        env = gym.make(self.env) if isinstance(self.env, str) else self.env()
        return env.observation_space, env.action_space

    def reward_function(self) -> RewardFunction:
        observation, action = self._spaces
        queries = None
        if isinstance(action, gym.spaces.Discrete):
            values = np.arange(int(action.n)) + int(action.start)

            def queries(obs: NDArray[Any]) -> Array:
                tried = [self.features(obs, np.full(len(obs), a)) for a in values]
                return np.stack([np.asarray(rows, dtype=np.float64) for rows in tried], axis=1)

        ndim = len(observation.shape or ())
        return RewardFunction(self.columns, self.reward, action=self.action, queries=queries, observation_ndim=ndim)

    def action_table(self) -> list[dict[str, Any]]:
        space = self._spaces[1]
        if not isinstance(space, gym.spaces.Discrete):
            return []
        column = self.columns[self.action]
        values = np.arange(int(space.n)) + int(space.start)
        return [{"action": int(a), column.name: float(a), "unit": column.unit} for a in values]

    def judge(self, seed: int) -> Judge:
        listed = not self.has_consequences and isinstance(self._spaces[1], gym.spaces.Discrete)
        return _Enumerated(self, seed) if listed else _Returns(self, seed)

    def describe(self) -> dict[str, Any]:
        return {
            "class": type(self).__name__,
            "env": self.env if isinstance(self.env, str) else getattr(self.env, "__name__", type(self.env).__name__),
            "oracle": self._oracle.identity,
            "contexts": self.contexts,
            "has_consequences": self.has_consequences,
        }

    def expected(self, X: Array, seeds: NDArray[np.int64]) -> Array:
        """The expected measurement of queries, (n,), or single ones where the oracle does not know it."""
        known = getattr(self._oracle, "expected", None)
        return np.asarray(known(X) if known is not None else self._oracle.measure(X, seeds=seeds).mean)


class _Enumerated(Judge):
    """Every action in many contexts."""

    def __init__(self, problem: FunctionProblem, seed: int) -> None:
        rng = np.random.default_rng([seed, 0x6A7564])
        env = problem.make_env(1, source=_Expected(problem))
        seeds = rng.integers(0, 2**31, problem.contexts)
        self._obs = np.concatenate([np.asarray(env.reset(seed=int(s))[0]) for s in seeds])
        reward = problem.reward_function()
        assert reward.queries is not None
        rows = np.asarray(reward.queries(self._obs), dtype=np.float64)
        n, k, d = rows.shape
        flat = rows.reshape(n * k, d)
        self._reward = reward.reward(problem.expected(flat, np.repeat(seeds, k)), flat).reshape(n, k)
        self._start = int(getattr(problem._spaces[1], "start", 0))

    def judge(self, policy: Any) -> Judgement:
        action = np.asarray(policy.act(self._obs, deterministic=True)).astype(np.int64) - self._start
        return Judgement.of(np.take_along_axis(self._reward, action[:, None], axis=1)[:, 0], "context")

    def reference(self, name: str) -> Judgement:
        known = {
            "optimal": self._reward.max(axis=1),
            "best-fixed": self._reward[:, self._fixed],
            "random": self._reward.mean(axis=1),
        }
        if name not in known:
            raise InvalidInputError(unknown("reference", name, known))
        return Judgement.of(known[name], "context")

    @property
    def _fixed(self) -> int:
        return int(self._reward.mean(axis=0).argmax())

    @property
    def headroom(self) -> Estimate:
        gain = Judgement.of(self._reward.max(axis=1) - self._reward[:, self._fixed], "context")
        return Estimate(gain.value, gain.std_error)

    def about(self) -> dict[str, Any]:
        return {"contexts": len(self._obs), "best_fixed_action": self._fixed + self._start}


class _Returns(Judge):
    """Whole episodes on the expected reward."""

    def __init__(self, problem: FunctionProblem, seed: int) -> None:
        self._problem, self._seed = problem, seed

    def judge(self, policy: Any) -> Judgement:
        env = self._problem.make_env(min(self._problem.contexts, 50), source=_Expected(self._problem))
        found = evaluate(policy, env, self._problem.contexts, seed=self._seed)
        return Judgement.of(found.returns[: self._problem.contexts], "episode")

    def reference(self, name: str) -> Judgement:
        if name != "random":
            raise InvalidInputError(f"{name} is not known where choices have consequences; only random is")
        return self.judge(RandomPolicy(self._problem._spaces[1], self._seed))

    def about(self) -> dict[str, Any]:
        return {"episodes": self._problem.contexts}


class _Expected:
    """The judge's source: the expected measurement."""

    version = 0

    def __init__(self, problem: FunctionProblem) -> None:
        self._problem, self.columns = problem, problem.columns

    def answer(self, X: Any, *, seeds: Any) -> Array:
        return self._problem.expected(np.asarray(X, dtype=np.float64), np.asarray(seeds))
