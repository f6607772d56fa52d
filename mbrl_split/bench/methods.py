"""The methods that a suite's row names: an agent, where its reward comes from, and when truth is paid for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_split.agents import Agent
from mbrl_split.bench.base import CurvePoint, Method, Task
from mbrl_split.bench.suite import Algorithm
from mbrl_split.errors import BudgetExhaustedError, InvalidInputError
from mbrl_split.interaction import Policy
from mbrl_split.refresh import Acquisition, Fidelity, RefreshSchedule, design_pool, probability_best, sobol_design
from mbrl_split.registry import ACQUISITIONS, AGENTS, SCHEDULES, SURROGATES
from mbrl_split.surrogates import Surrogate, TabulatedSurrogate
from mbrl_split.training import Follower, ModelBasedTrainer, RunLogger, TruthTrainer, measure_parts

ORACLE = "oracle"
ARGMAX = "argmax"
PLANNER = "planner"
_OURS = ("num_envs", "refresh_batches")
_LOOP = tuple(inspect.signature(ModelBasedTrainer).parameters)
_GRID = 33
"""Points per context column of the table that stands in for the surrogate in the inner loop."""


@dataclass(frozen=True)
class AgentMethod(Method):
    """An agent with a source: reinforcement learning, model-based or not, or the argmax of the surrogate.

    ``"argmax"`` and ``"planner"`` need no training: without a schedule they measure, fit and look up in batches; with
    one they follow their surrogate through the environment while the schedule decides when to pay.

    Attributes:
        agent: Name in the registry; ``"argmax"`` of the surrogate, or ``"planner"``, which looks ahead to the end of an
            episode where the problem knows how.
        source: ``"oracle"``, or a surrogate's name in the registry.
        schedule: Name of the refresh schedule (surrogates only).
        acquisition: Name of the acquisition (surrogates only).
        settings: Settings by part; ``trainer`` may hold ``num_envs``, ``initial_design``, ``segment_steps``,
            ``source_mode``, ``kappa``; for argmax and planner ``refresh_batches`` and ``pool_contexts``; for the
            planner what the problem's ``planner`` takes. ``fidelity`` holds the fields of
            :class:`~mbrl_split.refresh.Fidelity`.
    """

    agent: str
    source: str
    schedule: str | None = None
    acquisition: str | None = None
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def from_row(cls, row: Algorithm) -> AgentMethod:
        """The method of a suite's row.

        Raises:
            InvalidInputError: A part is missing or unknown.
        """
        if row.agent is None or row.source is None:
            raise InvalidInputError(f"{row.algorithm}: an agent and a source are needed")
        return cls(row.agent, row.source, row.schedule, row.acquisition, row.settings)

    def learn(self, task: Task) -> Iterator[CurvePoint]:
        if self.agent in (ARGMAX, PLANNER):
            if self.source == ORACLE:
                raise InvalidInputError(
                    f"{self.agent} of the oracle is an exact reference itself; name a surrogate as the source"
                )
            return self._looked_up(task) if self.schedule is None else self._on_surrogate(task)
        return self._on_truth(task) if self.source == ORACLE else self._on_surrogate(task)

    # ---- the three ways to learn --------------------------------------------------------------------------------

    def _on_truth(self, task: Task) -> Iterator[CurvePoint]:
        env, agent = self._pair(task)
        assert isinstance(agent, Agent)
        budget = task.env_steps if task.ledger.budget is None else min(task.env_steps, int(task.ledger.budget))
        segment = self._trainer.get("segment_steps", max(1, budget // 20))
        trainer = TruthTrainer(
            env, agent, task.ledger, total_steps=budget, segment_steps=segment, logger=RunLogger(task.folder)
        )
        for now in trainer.segments():
            yield CurvePoint(agent, now.step)
        trainer.logger.close()
        agent.save(task.folder / "agent")

    def _on_surrogate(self, task: Task) -> Iterator[CurvePoint]:
        surrogate = TabulatedSurrogate(self._surrogate(task), _GRID)
        env, agent = self._pair(task, surrogate)
        trainer = ModelBasedTrainer(
            env,
            agent,
            surrogate,
            self._schedule(),
            self._acquisition(),
            task.ledger,
            total_steps=task.env_steps,
            fidelity=self._fidelity(),
            seed=task.seed,
            reward_function=task.problem.reward_function(),
            logger=RunLogger(task.folder),
            **{k: v for k, v in self._trainer.items() if k not in _OURS and (self.agent != PLANNER or k in _LOOP)},
        )
        seen: Policy | None = None
        for now in trainer.segments():
            policy = agent.current() if isinstance(agent, Follower) else agent
            if isinstance(agent, Follower) and policy is seen and not now.finished:
                continue  # nothing was learnt since, and judging a plan takes longer than following it
            seen = policy
            # A follower is its surrogate, the latest refresh included; an agent has yet to learn from that.
            yield CurvePoint(policy, now.step, None if isinstance(agent, Follower) else now.behind_agent)
        trainer.logger.close()
        if isinstance(agent, Agent):
            agent.save(task.folder / "agent")
        trainer.surrogate.save(task.folder / "surrogate")

    def _looked_up(self, task: Task) -> Iterator[CurvePoint]:
        """No training: measure, fit, look up (or plan) the best action; again with what the acquisition picks."""
        surrogate = self._surrogate(task)
        policy_of = self._reader(task)
        reward_function = task.reward_function
        acquisition = self._acquisition().bind(reward_function)
        rng = task.rng(2)
        fidelity = self._fidelity()

        def undecided(X: NDArray[np.float64]) -> NDArray[np.bool_]:
            rows = task.ledger.rows()
            last = np.arange(len(rows)) >= len(rows) - len(X)
            surrogate.update_rows(rows.take(last))
            return probability_best(X, surrogate, reward_function, rng) < fidelity.confidence

        batches = self._trainer.get("refresh_batches", 8)
        X = sobol_design(task.columns, self._trainer.get("initial_design", 32), rng)
        for turn in range(batches + 1):
            # Of the first rows nobody knows yet what is clear.
            size = fidelity if turn else replace(fidelity, sequential_parts=1)
            paid = [len(rows) for rows, _ in measure_parts(task.ledger, X, rng, size, undecided)]
            if not paid:
                if turn == 0:
                    raise BudgetExhaustedError(
                        f"the budget of {task.ledger.budget:g} true evaluations allows no row to begin with"
                    )
                return
            surrogate.fit_rows(task.ledger.rows(), columns=task.columns)
            yield CurvePoint(policy_of(surrogate))
            if paid[0] < len(X) or turn == batches or not np.isfinite(task.ledger.remaining):
                return
            pool = design_pool(task.columns, self._trainer.get("pool_contexts", 256), rng, reward_function.action)
            n = fidelity.rows(np.ceil(task.ledger.remaining / (batches - turn)), task.ledger.oracle.evaluation_size)
            X = pool[acquisition.select(pool, surrogate, n, rng)]

    def _reader(self, task: Task) -> Callable[[Surrogate], Policy]:
        """How a fitted surrogate becomes a policy."""
        if self.agent == PLANNER:
            mine = {k: v for k, v in self._trainer.items() if k not in _LOOP and k not in _OURS}
            plan = task.problem.planner(seed=task.seed, **mine)
            return lambda surrogate: plan(lambda X: surrogate.predict(X).mean)
        return lambda surrogate: task.problem.lookup(lambda X: surrogate.predict(X).mean)

    # ---- the parts ----------------------------------------------------------------------------------------------

    @property
    def _trainer(self) -> dict[str, Any]:
        return self.settings.get("trainer", {})

    def _pair(self, task: Task, surrogate: Surrogate | None = None) -> tuple[Any, Agent | Follower]:
        """The same environment and agent whatever the source: their seeds follow from the replication's alone."""
        env = task.make_env(self._trainer.get("num_envs", 16))
        seed = int(task.rng(3).integers(2**31))
        if self.agent in (ARGMAX, PLANNER):
            assert surrogate is not None
            read = partial(self._reader(task), surrogate)
            return env, Follower(read, seed=seed, **self.settings.get("agent", {}))
        agent: Agent = _make(AGENTS, self.agent)(
            env.single_observation_space,
            env.single_action_space,
            seed=seed,
            **self.settings.get("agent", {}),
        )
        return env, agent

    def _surrogate(self, task: Task) -> Surrogate:
        made: Surrogate = _make(SURROGATES, self.source)(
            seed=int(task.rng(4).integers(2**31)), **self.settings.get("source", {})
        )
        return made

    def _fidelity(self) -> Fidelity:
        return Fidelity.of(self.settings.get("fidelity", {}))

    def _schedule(self) -> RefreshSchedule:
        made: RefreshSchedule = _make(SCHEDULES, self.schedule or "never")(**self.settings.get("schedule", {}))
        return made

    def _acquisition(self) -> Acquisition:
        made: Acquisition = _make(ACQUISITIONS, self.acquisition or "random")(**self.settings.get("acquisition", {}))
        return made


def _make(registry: Any, name: str) -> Any:
    """A registered class whose wrong settings are an error of the user's, not a traceback."""
    cls = registry[name]

    def build(*args: Any, **settings: Any) -> Any:
        try:
            return cls(*args, **settings)
        except TypeError as error:
            raise InvalidInputError(f"{registry.kind} {name!r}: {error}") from None

    return build
