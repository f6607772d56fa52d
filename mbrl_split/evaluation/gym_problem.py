"""Any Gymnasium environment as a problem whose truth is a real step."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import ArrayLike, NDArray

from mbrl_split.errors import InvalidInputError, UnsupportedError
from mbrl_split.evaluation.problem import Judge, Judgement, Problem
from mbrl_split.evaluation.rollout import evaluate
from mbrl_split.interaction import Policy, Source
from mbrl_split.registry import unknown


class GymProblem(Problem):
    """A registered Gymnasium environment; the judge rolls policies out and gives their returns.

    The optimum is not known, so no regret is claimed. One unit of truth is one real environment step.

    Args:
        env_id: The environment's id.
        episodes: Episodes of the judge.
        judge_envs: Sub-environments of the judge; each runs an equal share of the episodes.
        **kwargs: For ``gymnasium.make``.

    Raises:
        InvalidInputError: An unknown environment, or sizes below 1.

    Example:
        >>> from mbrl_split.evaluation import GymProblem
        >>> problem = GymProblem("CartPole-v1", episodes=8)
        >>> judgement = problem.judge(seed=0).reference("random")
        >>> judgement.unit, 10 < judgement.value < 40
        ('episode', True)
    """

    unit = "environment step"

    def __init__(self, env_id: str, *, episodes: int = 20, judge_envs: int = 10, **kwargs: Any) -> None:
        for name, value in (("episodes", episodes), ("judge_envs", judge_envs)):
            if value < 1:
                raise InvalidInputError(f"{name} is at least 1, not {value}")
        try:
            gym.spec(env_id)
        except gym.error.Error as error:
            raise InvalidInputError(f"Gymnasium knows no environment {env_id!r}: {error}") from None
        self.env_id, self.episodes, self.judge_envs, self.kwargs = env_id, episodes, judge_envs, kwargs

    def make_env(self, num_envs: int, *, source: Source | None = None) -> VectorEnv[Any, Any, Any]:
        if source is not None:
            raise UnsupportedError(f"the reward of {self.env_id} is its own; make it costly with CostlyReward")
        return gym.make_vec(
            self.env_id,
            num_envs=num_envs,
            vectorization_mode="sync",
            vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
            **self.kwargs,
        )

    def judge(self, seed: int) -> Judge:
        return _Rollouts(self, seed)

    def describe(self) -> dict[str, Any]:
        return {"env_id": self.env_id, "episodes": self.episodes, "judge_envs": self.judge_envs, **self.kwargs}

    def action_table(self) -> list[dict[str, Any]]:
        env = gym.make(self.env_id, **self.kwargs)
        space = env.action_space
        env.close()
        if not isinstance(space, gym.spaces.Discrete):
            return []
        return [{"action": int(space.start) + i} for i in range(int(space.n))]


class _Rollouts(Judge):
    """Returns of whole episodes, every sub-environment with its own quota."""

    def __init__(self, problem: GymProblem, seed: int) -> None:
        self._problem, self._seed = problem, seed

    def judge(self, policy: Any) -> Judgement:
        env = self._problem.make_env(min(self._problem.judge_envs, self._problem.episodes))
        found = evaluate(policy, env, self._problem.episodes, seed=self._seed)
        env.close()
        return Judgement.of(found.returns[: self._problem.episodes], "episode")

    def reference(self, name: str) -> Judgement:
        if name != "random":
            raise InvalidInputError(unknown("reference", name, self._problem.reference_names))
        env = self._problem.make_env(1)
        env.close()
        return self.judge(RandomPolicy(env.single_observation_space, env.single_action_space, self._seed))

    def about(self) -> dict[str, Any]:
        return {"episodes": self._problem.episodes}


class RandomPolicy(Policy):
    """Random actions as the space draws them; masks are not looked at."""

    def __init__(self, observation_space: gym.Space[Any], action_space: gym.Space[Any], seed: int) -> None:
        self._ndim = len(observation_space.shape or ())
        self._space = deepcopy(action_space)  # whose generator is the environment's
        self._space.seed(seed)

    def act(self, obs: ArrayLike, *, deterministic: bool = True, mask: ArrayLike | None = None) -> NDArray[Any]:
        x = np.asarray(obs)
        if x.ndim == self._ndim:
            return np.asarray(self._space.sample())
        return np.stack([self._space.sample() for _ in range(len(x))])
