"""An own environment with an own oracle as a problem."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
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
from mbrl_split.interaction import Source, check_source
from mbrl_split.interaction.spaces import Observations
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
    (``FunctionOracle`` does). Otherwise it measures, once per query, and whatever is chosen by looking at such
    measurements, as the optimum is, profits from their noise.

    Where choices have no consequences and actions are discrete, every action is tried in the judge's contexts, the
    first observations of episodes: the optimum, the best fixed action and regrets are known. Otherwise the judge gives
    returns, and only the random policy is a reference.

    Args:
        env: A Gymnasium id, or anything that makes an environment when called without arguments.
        oracle: What measures; it needs an ``identity``, which addresses the runs of a suite: change it whenever the
            function, ``features`` or ``reward`` change what is measured or paid.
        features: (observations, actions), each a batch of n → queries (n, d); default both side by side.
        reward: (measurements, queries (n, d)) → rewards; measurements are (n,) or (draws, n). Default: minus the
            measurement.
        has_consequences: Whether an action changes what comes later; False for a bandit.
        action: Index of the query's column that the agent chooses; default the last.
        contexts: Contexts, or episodes, of the judge.

    Raises:
        InvalidInputError: The oracle has no identity, there is no such environment or column, observations are neither
            Box nor Discrete, or fewer than 2 contexts.

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
        >>> problem = FunctionProblem(Shop, oracle, has_consequences=False)
        >>> judge = problem.judge(seed=0)
        >>> judge.reference("optimal").value > judge.reference("best-fixed").value > judge.reference("random").value
        True
    """

    def __init__(
        self,
        env: str | Callable[[], gym.Env[Any, Any]],
        oracle: Oracle,
        *,
        features: Callable[[Any, Any], Any] = flat_features,
        reward: Callable[[Array, Array], Array] = negative,
        has_consequences: bool = True,
        action: int = -1,
        contexts: int = 500,
    ) -> None:
        if not oracle.identity:
            raise InvalidInputError("the oracle's identity addresses the runs of a suite: give it identity=...")
        if contexts < 2:
            raise InvalidInputError(f"a judge needs at least 2 contexts, not {contexts}")
        d = len(oracle.columns)
        if not -d <= action < d:
            raise InvalidInputError(f"action is the index of one of {d} columns, not {action}")
        self.env, self._oracle, self.features, self.reward = env, oracle, features, reward
        self.evaluation_size = oracle.evaluation_size
        self.has_consequences, self.action, self.contexts = has_consequences, action % d, contexts
        one = self._make()
        self.observation_space, self.action_space = one.observation_space, one.action_space
        one.close()
        Observations(self.observation_space)  # refuses what no agent could read
        self.reference_names = ("optimal", "best-fixed", "random") if self._listed else ("random",)

    def _make(self) -> gym.Env[Any, Any]:
        if not isinstance(self.env, str):
            return self.env()
        try:
            return gym.make(self.env)
        except gym.error.Error as error:
            raise InvalidInputError(f"Gymnasium makes no environment {self.env!r}: {error}") from None

    @property
    def _listed(self) -> bool:
        """Whether all there is to choose can be tried."""
        return not self.has_consequences and isinstance(self.action_space, gym.spaces.Discrete)

    @property
    def columns(self) -> tuple[Column, ...]:
        return self._oracle.columns

    def oracle(self) -> Oracle:
        return self._oracle

    def make_env(self, num_envs: int, *, source: Source | None = None) -> VectorEnv[Any, Any, Any]:
        if source is None:
            raise UnsupportedError("the reward of this environment is measured: name a source")
        check_source(source, self.columns)
        batch = SyncVectorEnv([self._make] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)

        def compose(answer: Array, obs: Any, action: Any) -> Array:
            return np.asarray(self.reward(answer, np.asarray(self.features(obs, action), dtype=np.float64)))

        return CostlyReward(batch, source, features=self.features, compose=compose)

    def reward_function(self) -> RewardFunction:
        space, queries, first = self.action_space, None, 0
        if isinstance(space, gym.spaces.Discrete):
            first = int(space.start)
            values = np.arange(first, first + int(space.n))

            def queries(obs: NDArray[Any]) -> Array:
                tried = [self.features(obs, np.full(len(obs), a)) for a in values]
                return np.stack([np.asarray(rows, dtype=np.float64) for rows in tried], axis=1)

        return RewardFunction(
            self.columns,
            self.reward,
            action=self.action,
            queries=queries,
            observation_ndim=len(self.observation_space.shape or ()),
            first_action=first,
        )

    def action_table(self) -> list[dict[str, Any]]:
        reward, space = self.reward_function(), deepcopy(self.observation_space)
        if reward.queries is None:
            return []
        space.seed(0)
        one, other = reward.queries(np.stack([space.sample() for _ in range(2)]))[:, :, self.action]
        table: list[dict[str, Any]] = [{"action": reward.first_action + i} for i in range(len(one))]
        if np.array_equal(one, other):  # else what an action means depends on the observation
            column = self.columns[self.action]
            for row, value in zip(table, one, strict=True):
                row |= {column.name: float(value), "unit": column.unit}
        return table

    def judge(self, seed: int) -> Judge:
        return _Enumerated(self, seed) if self._listed else _Returns(self, seed)

    def describe(self) -> dict[str, Any]:
        return {
            "class": type(self).__name__,
            "env": self.env if isinstance(self.env, str) else _name(self.env),
            "oracle": self._oracle.identity,
            "features": _name(self.features),
            "reward": _name(self.reward),
            "action": self.action,
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
        # A copy of each: environments may reuse their arrays.
        self._obs = np.concatenate([np.array(env.reset(seed=int(s))[0]) for s in seeds])
        env.close()
        reward = problem.reward_function()
        assert reward.queries is not None
        rows = np.asarray(reward.queries(self._obs), dtype=np.float64)
        n, k, d = rows.shape
        flat = rows.reshape(n * k, d)
        # The actions of a context share a seed: where truth is noisy, their differences are less so.
        self._reward = reward.reward(problem.expected(flat, np.repeat(seeds, k)), flat).reshape(n, k)
        self._first = reward.first_action

    def judge(self, policy: Any) -> Judgement:
        action = np.asarray(policy.act(self._obs, deterministic=True))
        index = action.astype(np.int64) - self._first
        n, k = self._reward.shape
        if action.shape != (n,) or (index < 0).any() or (index >= k).any():
            raise InvalidInputError(
                f"a policy gives one action of {self._first} … {self._first + k - 1} per context, shape ({n},); "
                f"not {action.shape}, from {action.min()} to {action.max()}"
            )
        return Judgement.of(self._reward[np.arange(n), index], "context")

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
        return {"contexts": len(self._obs), "best_fixed_action": self._fixed + self._first}


class _Returns(Judge):
    """Whole episodes on the expected reward."""

    def __init__(self, problem: FunctionProblem, seed: int) -> None:
        self._problem, self._seed = problem, seed

    def judge(self, policy: Any) -> Judgement:
        env = self._problem.make_env(min(self._problem.contexts, 50), source=_Expected(self._problem))
        found = evaluate(policy, env, self._problem.contexts, seed=self._seed)
        env.close()
        return Judgement.of(found.returns[: self._problem.contexts], "episode")

    def reference(self, name: str) -> Judgement:
        if name != "random":
            raise InvalidInputError(unknown("reference", name, self._problem.reference_names))
        return self.judge(RandomPolicy(self._problem.observation_space, self._problem.action_space, self._seed))

    def about(self) -> dict[str, Any]:
        return {"episodes": self._problem.contexts}


class _Expected:
    """The judge's source: the expected measurement."""

    version = 0

    def __init__(self, problem: FunctionProblem) -> None:
        self._problem, self.columns = problem, problem.columns

    def answer(self, X: Any, *, seeds: Any) -> Array:
        return self._problem.expected(np.asarray(X, dtype=np.float64), np.asarray(seeds))


def _name(f: Any) -> str:
    return str(getattr(f, "__qualname__", type(f).__qualname__))
