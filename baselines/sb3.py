"""Stable-Baselines3's PPO, A2C or DQN on the true reward: every environment step is a true evaluation.

The same environment, hence the same reward and its scale, as our own agents train in; no wrapper rescales anything.
The row's budget says how much truth there is: as much as the steps ask for, or what a model-based method gets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split import BudgetExhaustedError, InvalidInputError
from mbrl_split.agents import to_sb3
from mbrl_split.agents.base import multiple_above
from mbrl_split.bench.base import CurvePoint, Method, Task
from mbrl_split.bench.parts import check_reached
from mbrl_split.interaction import Policy

# What says when an agent of theirs learns first, with their own values.
FIRST = {"ppo": {"n_steps": 2048}, "a2c": {"n_steps": 5}, "dqn": {"learning_starts": 100, "train_freq": 4}}
POINTS = 20
"""Points of the curve, about."""


@dataclass(frozen=True)
class StableBaselines(Method):
    """One of Stable-Baselines3's agents.

    Attributes:
        agent: Which.
        num_envs: Sub-environments.
        config: Hyper-parameters, as its constructor takes them.
    """

    agent: Literal["ppo", "a2c", "dqn"] = "ppo"
    num_envs: int = 16
    config: dict[str, Any] = field(default_factory=dict)

    def check(self, task: Task) -> None:
        pace = {name: self.config.get(name, value) for name, value in FIRST[self.agent].items()}
        if self.agent == "dqn":
            steps = pace["train_freq"] if isinstance(pace["train_freq"], int) else 1  # else in episodes
            first = multiple_above(pace["learning_starts"], steps * self.num_envs)
        else:
            first = pace["n_steps"] * self.num_envs
        check_reached(first, f"Stable-Baselines3's {self.agent}", pace, task, num_envs=self.num_envs, paid=True)

    def learn(self, task: Task) -> Iterator[CurvePoint]:
        env = task.make_env(self.num_envs)
        steps = int(min(task.env_steps, task.ledger.remaining))
        model = self._model(to_sb3(env), int(task.rng(3).integers(2**31)), steps)
        policy = Predicts(model)
        # Whole rollouts only: what is collected after the last update would be paid for and not learnt from.
        rollout = self.num_envs * int(getattr(model, "n_steps", 0) or model.train_freq.frequency)
        segment = max(1, steps // POINTS // rollout) * rollout
        while model.num_timesteps == 0 or model.num_timesteps + rollout <= steps:
            whole = (steps - model.num_timesteps) // rollout * rollout
            try:
                model.learn(max(rollout, min(segment, whole)), reset_num_timesteps=False)
            except BudgetExhaustedError:
                if model._n_updates == 0:
                    raise  # what it did was learnt from nothing
                yield CurvePoint(policy, model.num_timesteps)
                return
            yield CurvePoint(policy, model.num_timesteps)

    def _model(self, env: Any, seed: int, steps: int) -> Any:
        try:
            import stable_baselines3
        except ImportError:
            raise InvalidInputError(
                "this baseline needs the package stable-baselines3: pip install mbrl-split[peers]"
            ) from None
        made = getattr(stable_baselines3, self.agent.upper())
        model = made("MlpPolicy", env, seed=seed, device="cpu", **self.config)
        if self.agent == "dqn":
            # It measures its progress by calls of learn, of which there are many here: anneal over the whole run.
            first, last = model.exploration_initial_eps, model.exploration_final_eps
            over = max(1.0, model.exploration_fraction * steps)
            model.exploration_schedule = lambda _: first + (last - first) * min(1.0, model.num_timesteps / over)
        return model


@dataclass(frozen=True)
class Predicts(Policy):
    """A foreign model as the judge wants it."""

    model: Any

    def act(self, obs: ArrayLike, *, deterministic: bool = True, mask: ArrayLike | None = None) -> NDArray[np.int64]:
        return np.asarray(self.model.predict(np.asarray(obs, dtype=np.float32), deterministic=deterministic)[0])
