"""What the two trainers share: an environment whose source can be exchanged, and one segment of an agent's learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from mbrl_split.agents import Agent
from mbrl_split.columns import Column
from mbrl_split.errors import InvalidInputError
from mbrl_split.interaction import Source
from mbrl_split.training.follower import Follower
from mbrl_split.training.log import Logger


class Costly(Protocol):
    """What a trainer needs of an environment besides Gymnasium."""

    columns: tuple[Column, ...]

    def set_source(self, source: Source) -> None: ...


def costly(env: Any) -> Costly:
    """The layer of a (wrapped) environment whose source can be exchanged.

    Raises:
        InvalidInputError: There is none.
    """
    layer: Any = env
    while layer is not None:
        if hasattr(layer, "set_source") and hasattr(layer, "columns"):
            found: Costly = layer
            return found
        layer = getattr(layer, "env", None)
    raise InvalidInputError(
        f"{type(env).__name__} has no costly source: build it on CostlyEnv, or wrap it in CostlyReward"
    )


@dataclass(frozen=True)
class Snapshot:
    """Where a run stands at the end of a segment.

    Attributes:
        step: Environment steps so far.
        true_evaluations: Charged so far.
        behind_agent: True evaluations, and seconds of truth, that the agent has learnt from: what a refresh at the
            segment's end bought is in its source and not yet in it.
        source_version: Version of the source that the agent now learns from; 0 is the truth.
        finished: Nothing follows.
    """

    step: int
    true_evaluations: float
    behind_agent: tuple[float, float]
    source_version: int
    finished: bool


def restore_env(agent: Agent, env: Any) -> None:
    """Let a loaded agent bring the environment to where it was saved, now rather than when it learns.

    It may have to reset the environment first, and a reset may ask the source: what that leaves in ledgers and memories
    is to be overwritten by what was saved. Agents that save no environment have nothing to do.
    """
    start = getattr(agent, "start", None)
    if start is not None:
        start(env)


def learn_segment(
    agent: Agent | Follower, env: Any, step: int, border: int, total: int, logger: Logger, source: str
) -> int:
    """Learn (or, as a follower, walk) from ``step`` to the first update at or past ``border``, at most to ``total``.

    Returns the step reached. The agent is always asked for all that remains, and stopped: so its own schedules see the
    whole run.
    """
    first = step - getattr(agent, "num_steps", step)  # an agent may come with steps of its own
    reached = total

    def after_update(agent: Any, record: dict[str, float]) -> bool:
        nonlocal reached
        now = first + int(record["step"])
        own = {(f"{source}/{k}" if k.startswith("episode/") else k): v for k, v in record.items() if k != "step"}
        logger.log("train", now, **own)
        if now >= border:
            reached = min(now, total)
            return True
        return False

    advance = agent.learn if isinstance(agent, Agent) else agent.walk
    advance(env, total - step, callback=after_update)
    return reached
