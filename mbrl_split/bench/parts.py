"""The parts of a row, made from settings; and whether they can learn, and pay, with what the row gives them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mbrl_split.agents import Agent
from mbrl_split.bench.base import Task
from mbrl_split.errors import InvalidInputError
from mbrl_split.evaluation import Problem
from mbrl_split.oracles import FunctionOracle, Ledger
from mbrl_split.refresh import Fidelity, Never, RefreshState
from mbrl_split.settings import check_names, settings_of
from mbrl_split.training import ModelBasedTrainer

_FAR = 1e9
"""More than any schedule's threshold."""


def make(
    what: str,
    build: Callable[..., Any],
    settings: Mapping[str, Any],
    *args: Any,
    ours: Collection[str] = (),
    **given: Any,
) -> Any:
    """Call a class or function with a row's settings; what is wrong with them is an error of the user's.

    Args:
        what: The part, for the error.
        build: The class or function.
        settings: By name, as the row has them.
        *args: What it takes besides.
        ours: Further names that a row cannot set.
        **given: What it takes besides, by name.

    Raises:
        InvalidInputError: An unknown setting, a missing one, or a value that the part does not take.
    """
    known = settings_of(build, {*given, *ours})
    if known is not None:
        check_names(f"setting of {what}", settings, known[len(args) :])
    try:
        inspect.signature(build).bind(*args, **given, **settings)  # says what is missing, and no more
        return build(*args, **given, **settings)
    except InvalidInputError as error:
        raise InvalidInputError(f"{what}: {error}") from None
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{what}: {error}") from error


def stand_in(problem: Problem, *, budget: float, env_steps: int) -> Task:
    """A task as a run's, to check a method on: its truth is zero, and free to ask."""
    free = None
    if problem.columns:
        free = FunctionOracle(lambda X: np.zeros(len(X)), problem.columns, evaluation_size=problem.evaluation_size)
    return Task(problem, Ledger(free, budget=budget), 0, env_steps, Path())


def check_begins(fidelity: Fidelity, task: Task) -> None:
    """Refuse a budget that does not pay for the first row that a surrogate begins with.

    Raises:
        InvalidInputError: Its price alone, without the shared references, is more.
    """
    price = row_price(fidelity, task)
    if task.ledger.budget is not None and task.ledger.budget < price:
        raise InvalidInputError(
            f"the budget of {task.ledger.budget:g} true evaluations allows no row to begin with: one costs {price:g}"
        )


def row_price(fidelity: Fidelity, task: Task) -> float:
    """True evaluations that an initial row costs, references apart: one part."""
    return replace(fidelity, sequential_parts=1).price(task.ledger.oracle.evaluation_size)


def check_learns(agent: Agent, task: Task, *, num_envs: int, paid: bool = False) -> None:
    """Refuse an agent that would not learn once before its run ends.

    Args:
        agent: The agent.
        task: Where it learns.
        num_envs: Sub-environments.
        paid: Every step is a true evaluation, so that the budget ends the run as well.

    Raises:
        InvalidInputError: With the step of its first update, and the last of the run.
    """
    first = agent.next_update(num_envs=num_envs, episode_steps=task.problem.episode_steps)
    config = getattr(agent, "config", None)
    pace = {name: getattr(config, name) for name in agent.paced_by if hasattr(config, name)}
    check_reached(first, type(agent).__name__, pace, task, num_envs=num_envs, paid=paid)


def check_reached(
    first: int, name: str, pace: Mapping[str, Any], task: Task, *, num_envs: int, paid: bool = False
) -> None:
    """:func:`check_learns` for a learner that is no :class:`~mbrl_split.agents.Agent`.

    Args:
        first: The environment step of its first update.
        name: What it is called.
        pace: The settings that the step follows from.
        task: Where it learns.
        num_envs: Sub-environments, which step together.
        paid: Every step is a true evaluation.

    Raises:
        InvalidInputError: The run ends earlier.
    """
    steps, limit = math.ceil(task.env_steps / num_envs) * num_envs, "env_steps"
    budget = task.ledger.budget
    if paid and budget is not None and budget // num_envs * num_envs < steps:
        steps, limit = int(budget // num_envs) * num_envs, "budget"
    if first <= steps:
        return
    why = ", ".join(f"{setting} {value}" for setting, value in {**pace, "num_envs": num_envs}.items())
    lower = f", or lower {' or '.join(pace)}" if pace else ""
    if [value * num_envs for value in pace.values()] == [first] and steps >= num_envs:
        lower += f" to {steps // num_envs:,}"
    raise InvalidInputError(
        f"{name} would never learn: its first update comes after {first:,} steps ({why}), and {limit} ends the run "
        f"after {steps:,}; raise {limit} to {first:,}{lower}"
    )


def check_pays(trainer: ModelBasedTrainer, task: Task, *, num_envs: int) -> None:
    """Refuse a schedule that would never pay, whatever it saw: it is asked as the run will ask it.

    Raises:
        InvalidInputError: With what it would say when it is asked for the last time.
    """
    if isinstance(trainer.schedule, Never):
        return
    name = type(trainer.schedule).__name__
    declared, budget = task.ledger.oracle.evaluation_size, task.ledger.budget
    fidelity, limit = trainer.fidelity, math.inf if budget is None else budget
    # What the first rows cost at least, without the shared references.
    rows = trainer.initial_design if isinstance(trainer.initial_design, int) else len(trainer.initial_design)  # type: ignore[arg-type]
    price = row_price(fidelity, task)
    spent = min(rows, math.floor(limit / price)) * price if math.isfinite(limit) else rows * price
    if limit - spent < 1:
        raise InvalidInputError(
            f"the schedule {name} would never pay: initial_design {rows} takes {spent:g} of the budget of {limit:g}; "
            f"lower initial_design, raise budget, or leave the schedule out"
        )
    last = None
    for step in _asked(trainer, task, num_envs):
        for seen in (_FAR, 0.0):
            decision = trainer.schedule.decide(
                RefreshState(
                    step=step,
                    total_steps=trainer.total_steps,
                    steps_since_refresh=step,
                    refreshes=0,
                    spent=spent,
                    budget=limit,
                    n_rows=rows,
                    epistemic=seen,
                    steps_since_audit=step,
                    value_of_information=seen,
                    row_price=fidelity.price(declared),
                )
            )
            if decision.n > 0 or decision.audit > 0:
                return
        last = f"asked for the last time after {step:,} of {trainer.total_steps:,} steps it says: {decision.reason}"
    nobody = f"no update of the agent ends a segment of {trainer.segment_steps:,} before step {trainer.total_steps:,}"
    raise InvalidInputError(
        f"the schedule {name} would never pay: {last or nobody}; raise env_steps, or let it pay earlier"
    )


def _asked(trainer: ModelBasedTrainer, task: Task, num_envs: int) -> Iterator[int]:
    """The steps at which the trainer asks its schedule, at the earliest: updates that end a segment."""
    step = 0
    while True:
        step = trainer.agent.next_update(
            step + trainer.segment_steps - 1, num_envs=num_envs, episode_steps=task.problem.episode_steps
        )
        if step >= trainer.total_steps:
            return
        yield step
