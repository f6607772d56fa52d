"""The set-up of the paper's authors (arXiv 2406.02616), rebuilt from its description and the facts of their scripts.

- State: noise, fading shape, split. Action: relative, stay or ±1 … ±4, clipped at the ends.
- Surrogate: one network 2 → 128 → 128 → 1 on raw inputs and raw targets; no scaling, no uncertainty. Its two inputs are
  the noise and the split, so it cannot know the fading shape.
- It is fitted once, to rows drawn at random, and frozen: the whole budget is spent before the agent takes a step.
- PPO trains on it.

What is ours, so that it can be compared: the scenario's channel, contexts and reward, splits 1 … L−1, observations on
[0, 1], and the damage (not the perplexity) as the network's target, from which the reward is composed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from mbrl_split import InvalidInputError
from mbrl_split.agents import PPO
from mbrl_split.bench.base import Array, CurvePoint, Method, Task
from mbrl_split.bench.parts import check_learns
from mbrl_split.envs import OracleSource
from mbrl_split.layer_split import LLMSplitVector, Scenario, SplitRule, agent_policy
from mbrl_split.refresh import random_design
from mbrl_split.training import RunLogger
from mbrl_split.training.segment import learn_segment

MAX_MOVE = 4


class FrozenNetwork:
    """The surrogate, as a source.

    Args:
        task: The problem; columns and ledger.
        rows: Raw inputs (noise, split), (n, 2).
        targets: Damages, (n,).
        epochs: Passes over the rows, in minibatches of 32, with Adam.
        seed: Of weights and minibatches.
    """

    version = 1

    def __init__(self, task: Task, rows: Array, targets: Array, epochs: int, seed: int) -> None:
        self.columns = task.columns
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # layers draw their first weights from the global generator
            self.net = nn.Sequential(nn.Linear(2, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1))
        generator = torch.Generator().manual_seed(seed)
        x, y = torch.from_numpy(rows).float(), torch.from_numpy(targets).float()
        optimiser = torch.optim.Adam(self.net.parameters(), lr=1e-3)
        for _ in range(epochs):
            for batch in torch.randperm(len(x), generator=generator).split(32):
                loss = nn.functional.mse_loss(self.net(x[batch])[:, 0], y[batch])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()

    def answer(self, X: ArrayLike, *, seeds: ArrayLike) -> Array:
        with torch.no_grad():
            found = self.net(torch.from_numpy(raw(np.asarray(X))).float())[:, 0]
        return found.numpy().astype(np.float64)


def raw(X: NDArray[np.float64]) -> Array:
    """The network's inputs (noise, split) of queries (split, noise, …)."""
    return X[:, [1, 0]]


def theirs(task: Task) -> Scenario:
    """The scenario with their actions."""
    scenario: Scenario = task.problem.scenario
    if scenario.context_process is not None or scenario.reference == "start":
        raise InvalidInputError(
            "the authors' set-up knows no sessions; give a scenario without context_process, reference 'clean'"
        )
    return replace(scenario, actions="relative", max_move=MAX_MOVE)


@dataclass(frozen=True)
class AuthorsSetup(Method):
    """PPO with relative actions on a frozen network.

    Attributes:
        epochs: Of the network.
        num_envs: Sub-environments.
        agent: Hyper-parameters of PPO.
    """

    epochs: int = 200
    num_envs: int = 16
    agent: dict[str, Any] = field(default_factory=dict)

    def check(self, task: Task) -> None:
        agent = self._agent(LLMSplitVector(1, theirs(task), source=OracleSource(task.ledger)), task)
        check_learns(agent, task, num_envs=self.num_envs)

    def learn(self, task: Task) -> Iterator[CurvePoint]:
        scenario = theirs(task)
        if not np.isfinite(task.ledger.remaining):
            raise InvalidInputError("the authors' set-up spends its budget at once: give one")
        rng = task.rng(1)
        found = 1
        while found:  # clean references make the price of a row vary: ask until nothing more fits
            asked = max(1, int(task.ledger.remaining))
            found = len(task.measure(random_design(task.columns, asked, rng), rng))
        rows = task.ledger.rows()
        source = FrozenNetwork(task, raw(rows.X), rows.y, self.epochs, int(task.rng(4).integers(2**31)))
        env = LLMSplitVector(self.num_envs, scenario, source=source)
        agent = self._agent(env, task)
        n_layers = task.problem.n_layers
        policy = SplitRule(task.problem.scenario, n_layers, agent_policy(agent, scenario, n_layers))
        logger, step = RunLogger(task.folder), 0
        while step < task.env_steps:
            step = learn_segment(
                agent, env, step, step + task.env_steps // 20, task.env_steps, logger, source="surrogate"
            )
            yield CurvePoint(policy, step)
        logger.close()

    def _agent(self, env: LLMSplitVector, task: Task) -> PPO:
        spaces = env.single_observation_space, env.single_action_space
        return PPO(*spaces, seed=int(task.rng(3).integers(2**31)), **self.agent)
