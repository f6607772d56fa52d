"""The methods that a suite's row names: an agent, where its reward comes from, and when truth is paid for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_split.agents import Agent
from mbrl_split.bench.base import Checkpoint, Method, Policy, Task
from mbrl_split.bench.follower import Follower
from mbrl_split.bench.parts import check_begins, check_learns, check_pays, make
from mbrl_split.bench.planning import SessionPlanner
from mbrl_split.bench.suite import Algorithm
from mbrl_split.envs import LLMSplitVector, OracleSource
from mbrl_split.errors import BadInput, BudgetExhausted
from mbrl_split.evaluation import agent_policy
from mbrl_split.refresh import Acquisition, Fidelity, RefreshSchedule, clarity, design_pool, sobol_design
from mbrl_split.registry import ACQUISITIONS, AGENTS, SCHEDULES, SURROGATES, unknown
from mbrl_split.settings import check_names, settings_of
from mbrl_split.surrogates import Surrogate, TabulatedSurrogate
from mbrl_split.training import (
    ArgmaxPolicy,
    Logger,
    ModelBasedTrainer,
    NullLogger,
    RunLogger,
    TruthTrainer,
    lesson,
    measure_parts,
    objective_of,
)

ORACLE = "oracle"
ARGMAX = "argmax"
PLANNER = "planner"
_PLANNING = ("dynamics", "sessions", "bins")
# What a row can set under `trainer`, by what it does; of the model-based loop, what is data and no part of its own.
_ON_TRUTH = ("num_envs", "chunk_steps")
_LOOKED_UP = ("initial_design", "rounds", "pool_contexts")
_OURS = ("env", "agent", "surrogate", "schedule", "acquisition", "ledger", "total_steps", "fidelity", "seed")
_NO_DATA = ("on_step", "objective", "logger", "checkpoint_dir", "show_progress")
_ON_SURROGATE = ("num_envs", *(settings_of(ModelBasedTrainer, (*_OURS, *_NO_DATA)) or ()))
_GRID = 33
"""Points per context column of the table that stands in for the surrogate in the inner loop."""


@dataclass(frozen=True)
class AgentMethod(Method):
    """An agent with a source: reinforcement learning, model-based or not, or the argmax of the surrogate.

    ``"argmax"`` and ``"planner"`` need no training: without a schedule they measure, fit and look up in rounds; with
    one they follow their surrogate through the environment while the schedule decides when to pay.

    Attributes:
        agent: Name in the registry; ``"argmax"`` of the surrogate (in a session with the cost of moving), or
            ``"planner"``, which looks ahead to the end of a session.
        source: ``"oracle"``, or a surrogate's name in the registry.
        schedule: Name of the refresh schedule (surrogates only).
        acquisition: Name of the acquisition (surrogates only).
        settings: Settings by part; ``trainer`` may hold ``num_envs``, ``initial_design``, ``chunk_steps``,
            ``source_mode``, ``kappa``; for argmax and planner ``rounds`` and
            ``pool_contexts``; for the planner ``dynamics`` (``"given"`` or
            ``"estimated"``) and ``sessions``. ``fidelity`` holds the fields of :class:`~mbrl_split.refresh.Fidelity`.
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
            BadInput: A part is missing or unknown.
        """
        if row.agent is None or row.source is None:
            raise BadInput(f"{row.algorithm}: an agent and a source are needed")
        return cls(row.agent, row.source, row.schedule, row.acquisition, row.settings)

    def learn(self, task: Task) -> Iterator[Checkpoint]:
        self._check_words(task)
        if self.agent in (ARGMAX, PLANNER):
            return self._looked_up(task) if self.schedule is None else self._on_surrogate(task)
        return self._on_truth(task) if self.source == ORACLE else self._on_surrogate(task)

    def check(self, task: Task) -> None:
        """Make every part as a run would, and refuse those that could not learn or pay with what the task allows."""
        self._check_words(task)
        if self.source == ORACLE:
            env, agent = self._pair(task)
            check_learns(agent, task, num_envs=env.num_envs, paid=True)
            return
        check_begins(self._fidelity(), task)
        if self.agent in (ARGMAX, PLANNER) and self.schedule is None:
            self._surrogate(task)
            self._acquisition()
            return
        trainer = self._trainer_on_surrogate(task, NullLogger())
        if not isinstance(trainer.agent, Follower):
            check_learns(trainer.agent, task, num_envs=trainer.env.num_envs)
        check_pays(trainer, task, num_envs=trainer.env.num_envs)

    def _check_words(self, task: Task) -> None:
        """Agent and source are known and go together, and every setting that the row has is one it uses."""
        looks_up = self.agent in (ARGMAX, PLANNER)
        if not looks_up and self.agent not in AGENTS:
            raise BadInput(unknown("agent", self.agent, [*AGENTS, ARGMAX, PLANNER]))
        if self.source != ORACLE and self.source not in SURROGATES:
            raise BadInput(unknown("source", self.source, [*SURROGATES, ORACLE]))
        if looks_up and self.source == ORACLE:
            raise BadInput(f"{self.agent} of the oracle is an exact reference itself; name a surrogate as the source")
        if self.agent == PLANNER and task.scenario.dynamics is None:
            raise BadInput(f"scenario {task.scenario.name!r} has no dynamics to plan for; 'argmax' is its planner")
        trainer: tuple[str, ...]
        if self.source == ORACLE:
            parts, trainer = {"agent"}, _ON_TRUTH
            for part in ("schedule", "acquisition"):
                if getattr(self, part) is not None:
                    raise BadInput(f"source oracle pays for every step: it has no {part}")
        elif looks_up and self.schedule is None:
            parts, trainer = {"source", "acquisition", "fidelity"}, _LOOKED_UP
        else:
            parts, trainer = {"agent", "source", "schedule", "acquisition", "fidelity"}, _ON_SURROGATE
        check_names("part in settings", self.settings, {*parts, "trainer"})
        check_names("setting of trainer", self._trainer, trainer + (_PLANNING if self.agent == PLANNER else ()))

    # ---- the three ways to learn --------------------------------------------------------------------------------

    def _on_truth(self, task: Task) -> Iterator[Checkpoint]:
        env, agent = self._pair(task)
        budget = task.env_steps if task.ledger.budget is None else min(task.env_steps, int(task.ledger.budget))
        chunk = self._trainer.get("chunk_steps", max(1, budget // 20))
        logger = _Counting(task.folder)
        trainer = TruthTrainer(env, agent, task.ledger, total_steps=budget, chunk_steps=chunk, logger=logger)
        for now in trainer.chunks():
            yield Checkpoint(_policy(agent, task), now.step)
        logger.finish(trainer.step)
        agent.save(task.folder / "agent")

    def _on_surrogate(self, task: Task) -> Iterator[Checkpoint]:
        logger = _Counting(task.folder)
        trainer = self._trainer_on_surrogate(task, logger)
        agent = trainer.agent
        seen: Policy | None = None
        for now in trainer.chunks():
            policy = _policy(agent, task)
            if isinstance(agent, Follower) and policy is seen and not now.finished:
                continue  # nothing was learnt since, and judging a plan takes longer than following it
            seen = policy
            # A follower is its surrogate, the latest refresh included; an agent has yet to learn from that.
            yield Checkpoint(policy, now.step, None if isinstance(agent, Follower) else now.behind_agent)
        logger.finish(trainer.step)
        if not isinstance(agent, Follower):
            agent.save(task.folder / "agent")
        trainer.surrogate.save(task.folder / "surrogate")

    def _trainer_on_surrogate(self, task: Task, logger: Logger) -> ModelBasedTrainer:
        surrogate = TabulatedSurrogate(self._surrogate(task), _GRID)
        env, agent = self._pair(task, surrogate)
        made: ModelBasedTrainer = make(
            "trainer",
            ModelBasedTrainer,
            {k: v for k, v in self._trainer.items() if k not in ("num_envs", *_PLANNING)},
            env,
            agent,
            surrogate,
            self._schedule(),
            self._acquisition(),
            task.ledger,
            total_steps=task.env_steps,
            fidelity=self._fidelity(),
            seed=task.seed,
            logger=logger,
        )
        return made

    def _looked_up(self, task: Task) -> Iterator[Checkpoint]:
        """No training: measure, fit, look up (or plan) the best split; again with what the acquisition picks."""
        surrogate = self._surrogate(task)
        policy_of = self._reader(task)
        env = LLMSplitVector(scenario=task.scenario, source=OracleSource(task.ledger))
        objective = objective_of(env)
        acquisition = self._acquisition() if objective is None else self._acquisition().bind(objective)
        rng = task.rng(2)
        fidelity = self._fidelity()
        if fidelity.parts > 1 and objective is None:
            raise BadInput("a measurement in parts needs the reward of a layer split")

        def undecided(X: NDArray[np.float64]) -> NDArray[np.bool_]:
            assert objective is not None
            rows = task.ledger.rows()
            last = np.arange(len(rows)) >= len(rows) - len(X)
            surrogate.update(**lesson(surrogate, rows.take(last)))
            return clarity(X, surrogate, objective, rng) < fidelity.confidence

        rounds = self._trainer.get("rounds", 8)
        X = sobol_design(task.columns, self._trainer.get("initial_design", 32), rng)
        for turn in range(rounds + 1):
            # Of the first rows nobody knows yet what is clear.
            size = fidelity if turn else replace(fidelity, parts=1)
            paid = [len(rows) for rows, _ in measure_parts(task.ledger, X, rng, size, undecided)]
            if not paid:
                if turn == 0:
                    raise BudgetExhausted(
                        f"the budget of {task.ledger.budget:g} true evaluations allows no row to begin with"
                    )
                return
            surrogate.fit(**lesson(surrogate, task.ledger.rows()), columns=task.columns)
            yield Checkpoint(policy_of(surrogate))
            if paid[0] < len(X) or turn == rounds or not np.isfinite(task.ledger.remaining):
                return
            pool = design_pool(task.columns, self._trainer.get("pool_contexts", 256), rng)
            n = fidelity.rows(
                np.ceil(task.ledger.remaining / (rounds - turn)), task.ledger.oracle.tokens_per_evaluation
            )
            X = pool[acquisition.select(pool, surrogate, n, rng)]

    def _reader(self, task: Task) -> Callable[[Surrogate], Policy]:
        """How a fitted surrogate becomes a policy."""
        if self.agent == PLANNER:
            wanted = {k: v for k, v in self._trainer.items() if k in _PLANNING}
            return SessionPlanner(task, **wanted)
        if task.scenario.dynamics is not None:
            return SessionPlanner(task, rule="myopic-with-cost")
        return lambda surrogate: ArgmaxPolicy(surrogate, task.scenario, task.n_layers)

    # ---- the parts ----------------------------------------------------------------------------------------------

    @property
    def _trainer(self) -> dict[str, Any]:
        return self.settings.get("trainer", {})

    def _pair(self, task: Task, surrogate: Surrogate | None = None) -> tuple[LLMSplitVector, Agent]:
        """The same environment and agent whatever the source: their seeds follow from the replication's alone."""
        env = LLMSplitVector(
            num_envs=self._trainer.get("num_envs", 16), scenario=task.scenario, source=OracleSource(task.ledger)
        )
        seed = int(task.rng(3).integers(2**31))
        if self.agent in (ARGMAX, PLANNER):
            assert surrogate is not None
            read = partial(self._reader(task), surrogate)
            return env, self._made("agent", self.agent, Follower, env, read, seed=seed)
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
        made: Acquisition = self._made("acquisition", name, ACQUISITIONS[name], ours=("objective",))
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
            BadInput: No update was made in it: not all that ends a run early can be known before.
        """
        self.close()
        if self.updates == 0:
            raise BadInput(f"the agent learnt nothing: the run ended after {step:,} steps, before its first update")


def _policy(agent: Agent, task: Task) -> Policy:
    """An agent as the judge wants it: in a session it acts on observations, which no context alone could give."""
    if isinstance(agent, Follower):
        followed: Policy = agent.current()
        return followed
    return agent if task.scenario.dynamics is not None else agent_policy(agent, task.scenario, task.n_layers)
