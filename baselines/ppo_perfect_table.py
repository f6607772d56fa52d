"""PPO on the perfect table: its reward is composed from the expected damage, which no surrogate could know better.

The ceiling of "PPO on a surrogate": same agent, environment and seeds, no noise, no error. It reads the whole replay
half of the measured table, which is not charged (nothing that can be bought answers like this), so its evaluations are
reported as 0 and it competes with nobody. What it loses is lost by PPO, by the steps allowed, or because replay and
judge halves are different text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mbrl_split import InvalidInputError
from mbrl_split.agents import PPO
from mbrl_split.bench.base import Array, CurvePoint, Method, Task
from mbrl_split.bench.parts import check_learns
from mbrl_split.layer_split import TableOracle
from mbrl_split.training import RunLogger
from mbrl_split.training.segment import learn_segment


class Expected:
    """The expected damage of the table as a source."""

    version = 0

    def __init__(self, table: TableOracle) -> None:
        self.table, self.columns = table, table.columns

    def answer(self, X: ArrayLike, *, seeds: ArrayLike) -> Array:
        return self.table.expected(np.asarray(X, dtype=np.float64))[0]


@dataclass(frozen=True)
class PPOPerfectTable(Method):
    """PPO that knows the expected damage.

    Attributes:
        num_envs: Sub-environments.
        agent: Hyper-parameters.
    """

    num_envs: int = 16
    agent: dict[str, Any] = field(default_factory=dict)

    def check(self, task: Task) -> None:
        check_learns(self._agent(task.make_env(1), task), task, num_envs=self.num_envs)

    def learn(self, task: Task) -> Iterator[CurvePoint]:
        if not isinstance(task.ledger.oracle, TableOracle):
            raise InvalidInputError(
                "the perfect table needs truth: table in the suite; there is none behind a live oracle"
            )
        env = task.make_env(self.num_envs, Expected(task.ledger.oracle))
        agent = self._agent(env, task)
        logger, step = RunLogger(task.folder), 0
        while step < task.env_steps:
            step = learn_segment(agent, env, step, step + task.env_steps // 20, task.env_steps, logger, source="table")
            yield CurvePoint(agent, step)
        logger.close()

    def _agent(self, env: Any, task: Task) -> PPO:
        spaces = env.single_observation_space, env.single_action_space
        return PPO(*spaces, seed=int(task.rng(3).integers(2**31)), **self.agent)
