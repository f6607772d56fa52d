"""The methods that a suite's row names: an agent, where its reward comes from, and when truth is paid for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_split.agents import Agent
from mbrl_split.bench.base import CurvePoint, Method, Task
from mbrl_split.bench.parts import check_begins, check_learns, check_pays, make
from mbrl_split.bench.suite import Algorithm
from mbrl_split.errors import BudgetExhaustedError, InvalidInputError
from mbrl_split.interaction import Policy
from mbrl_split.refresh import Acquisition, Fidelity, RefreshSchedule, design_pool, probability_best, sobol_design
from mbrl_split.registry import ACQUISITIONS, AGENTS, SCHEDULES, SURROGATES, unknown
from mbrl_split.settings import check_names, settings_of
from mbrl_split.surrogates import Surrogate, TabulatedSurrogate
from mbrl_split.training import (
    Follower,
    Logger,
    ModelBasedTrainer,
    NullLogger,
    RunLogger,
    TruthTrainer,
    measure_parts,
)

ORACLE = "oracle"
ARGMAX = "argmax"
PLANNER = "planner"
# What a row can set under `trainer`, by what it does; of the model-based loop, what is data and no part of its own.
_ON_TRUTH = ("num_envs", "segment_steps")
_LOOKED_UP = ("initial_design", "refresh_batches", "pool_contexts")
_OURS = ("env", "agent", "surrogate", "schedule", "acquisition", "ledger", "total_steps", "fidelity", "seed")
_NO_DATA = ("on_step", "reward_function", "logger", "checkpoint_dir", "show_progress")
_LOOP = tuple(settings_of(ModelBasedTrainer, (*_OURS, *_NO_DATA)) or ())
_ON_SURROGATE = ("num_envs", *_LOOP)
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
        self._check_words(task)
        if self.agent in (ARGMAX, PLANNER):
            return self._looked_up(task) if self.schedule is None else self._on_surrogate(task)
        return self._on_truth(task) if self.source == ORACLE else self._on_surrogate(task)

    def check(self, task: Task) -> None:
        """Make every part as a run would, and refuse those that could not learn or pay with what the task allows."""
        self._check_words(task)
        if self.source == ORACLE:
            env, agent = self._pair(task)
            assert isinstance(agent, Agent)
            check_learns(agent, task, num_envs=env.num_envs, paid=True)
            return
        check_begins(self._fidelity(), task)
        if self.agent in (ARGMAX, PLANNER) and self.schedule is None:
            self._reader(task)
            self._surrogate(task)
            self._acquisition()
            return
        trainer = self._trainer_on_surrogate(task, NullLogger())
        if isinstance(trainer.agent, Agent):
            check_learns(trainer.agent, task, num_envs=trainer.env.num_envs)
        check_pays(trainer, task, num_envs=trainer.env.num_envs)

    def _check_words(self, task: Task) -> None:
        """Agent and source are known and go together, and every setting that the row has is one it uses."""
        looks_up = self.agent in (ARGMAX, PLANNER)
        if not looks_up and self.agent not in AGENTS:
            raise InvalidInputError(unknown("agent", self.agent, [*AGENTS, ARGMAX, PLANNER]))
        if self.source != ORACLE and self.source not in SURROGATES:
            raise InvalidInputError(unknown("source", self.source, [*SURROGATES, ORACLE]))
        if self.source != ORACLE and not task.columns:
            raise InvalidInputError(
                f"the truth is a real step here: {self.source} has no measurement to learn; use source: oracle"
            )
        if looks_up and self.source == ORACLE:
            raise InvalidInputError(
                f"{self.agent} of the oracle is an exact reference itself; name a surrogate as the source"
            )
        if looks_up:
            task.reward_function  # noqa: B018  (it refuses a problem without one)
        planning: tuple[str, ...] = ()
        if self.agent == PLANNER:
            planning = task.problem.planning or ()
            if task.problem.planning is None:
                task.problem.planner()  # says why not
        trainer: tuple[str, ...]
        if self.source == ORACLE:
            parts, trainer = {"agent"}, _ON_TRUTH
            for part in ("schedule", "acquisition"):
                if getattr(self, part) is not None:
                    raise InvalidInputError(f"source oracle pays for every step: it has no {part}")
        elif looks_up and self.schedule is None:
            parts, trainer = {"source", "acquisition", "fidelity"}, _LOOKED_UP
        else:
            parts, trainer = {"agent", "source", "schedule", "acquisition", "fidelity"}, _ON_SURROGATE
        check_names("part in settings", self.settings, {*parts, "trainer"})
        check_names("setting of trainer", self._trainer, (*trainer, *planning))

    # ---- the three ways to learn --------------------------------------------------------------------------------

    def _on_truth(self, task: Task) -> Iterator[CurvePoint]:
        env, agent = self._pair(task)
        assert isinstance(agent, Agent)
        budget = task.env_steps if task.ledger.budget is None else min(task.env_steps, int(task.ledger.budget))
        segment = self._trainer.get("segment_steps", max(1, budget // 20))
        logger = _Counting(task.folder)
        trainer = TruthTrainer(env, agent, task.ledger, total_steps=budget, segment_steps=segment, logger=logger)
        for now in trainer.segments():
            yield CurvePoint(agent, now.step)
        logger.finish(trainer.step)
        agent.save(task.folder / "agent")

    def _on_surrogate(self, task: Task) -> Iterator[CurvePoint]:
        logger = _Counting(task.folder)
        trainer = self._trainer_on_surrogate(task, logger)
        agent = trainer.agent
        seen: Policy | None = None
        for now in trainer.segments():
            policy = agent.current() if isinstance(agent, Follower) else agent
            if isinstance(agent, Follower) and policy is seen and not now.finished:
                continue  # nothing was learnt since, and judging a plan takes longer than following it
            seen = policy
            # A follower is its surrogate, the latest refresh included; an agent has yet to learn from that.
            yield CurvePoint(policy, now.step, None if isinstance(agent, Follower) else now.behind_agent)
        logger.finish(trainer.step)
        if isinstance(agent, Agent):
            agent.save(task.folder / "agent")
        trainer.surrogate.save(task.folder / "surrogate")

    def _trainer_on_surrogate(self, task: Task, logger: Logger) -> ModelBasedTrainer:
        surrogate = TabulatedSurrogate(self._surrogate(task), _GRID)
        env, agent = self._pair(task, surrogate)
        made: ModelBasedTrainer = make(
            "trainer",
            ModelBasedTrainer,
            {k: v for k, v in self._trainer.items() if k in _LOOP},
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
            logger=logger,
        )
        return made

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
            mine = {k: v for k, v in self._trainer.items() if k in (task.problem.planning or ())}
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
            return env, self._made("agent", self.agent, Follower, read, seed=seed)
        spaces = env.single_observation_space, env.single_action_space
        return env, self._made("agent", self.agent, AGENTS[self.agent], *spaces, seed=seed)

    def _surrogate(self, task: Task) -> Surrogate:
        seed = int(task.rng(4).integers(2**31))
        made: Surrogate = self._made("source", self.source, SURROGATES[self.source], seed=seed)
        return made

    def _fidelity(self) -> Fidelity:
        made: Fidelity = self._made("fidelity", "", Fidelity)
        return made

    def _schedule(self) -> RefreshSchedule:
        name = self.schedule or "never"
        made: RefreshSchedule = self._made("schedule", name, SCHEDULES[name])
        return made

    def _acquisition(self) -> Acquisition:
        name = self.acquisition or "random"
        made: Acquisition = self._made("acquisition", name, ACQUISITIONS[name], ours=("reward_function",))
        return made

    def _made(self, part: str, name: str, build: Callable[..., Any], *args: Any, **given: Any) -> Any:
        """A part with its settings."""
        return make(f"{part} {name}".rstrip(), build, self.settings.get(part, {}), *args, **given)


class _Counting(RunLogger):
    """A run's log that knows whether anything was learnt."""

    updates = 0

    def log(self, kind: str, step: int, **fields: Any) -> None:
        self.updates += kind == "train"
        super().log(kind, step, **fields)

    def finish(self, step: int) -> None:
        """Close the log of a run of so many steps.

        Raises:
            InvalidInputError: No update was made in it: not all that ends a run early can be known before.
        """
        self.close()
        if self.updates == 0:
            raise InvalidInputError(
                f"the agent learnt nothing: the run ended after {step:,} steps, before its first update"
            )
