"""Policies of sessions from a surrogate: planned on the grid, or read off without looking ahead."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.bench.base import Task
from mbrl_split.columns import Column
from mbrl_split.envs import LLMSplitVector
from mbrl_split.errors import BadInput
from mbrl_split.evaluation import SessionModel, SessionPolicy, estimated_correlation, estimated_loads
from mbrl_split.surrogates import Surrogate

Array = NDArray[np.float64]

_SESSIONS = 64


class SessionPlanner:
    """Value iteration on the learned reward, with the channel's dynamics given or estimated.

    Costs, cache and battery are closed form and need no learning. ``dynamics="estimated"`` knows neither the memory of
    the noise nor that of the server's load: it watches them for some sessions (which needs no truth) and plans with the
    estimated correlation and transition matrix.

    Args:
        task: The problem.
        rule: ``"optimal"`` plans; ``"myopic-with-cost"`` and ``"myopic"`` do not.
        dynamics: ``"given"`` or ``"estimated"``.
        sessions: Sessions watched.
        bins: Noise bins of the grid.

    Raises:
        BadInput: The scenario has no dynamics, or an unknown word.
    """

    def __init__(
        self,
        task: Task,
        *,
        rule: Literal["optimal", "myopic", "myopic-with-cost"] = "optimal",
        dynamics: Literal["given", "estimated"] = "given",
        sessions: int = _SESSIONS,
        bins: int = 25,
    ) -> None:
        if task.scenario.dynamics is None:
            raise BadInput(f"scenario {task.scenario.name!r} has no dynamics to plan for; 'argmax' is its planner")
        if dynamics not in ("given", "estimated"):
            raise BadInput(f"dynamics is 'given' or 'estimated', not {dynamics!r}")
        self.task, self.rule, self.bins = task, rule, bins
        self.known: dict[str, Any] = {} if dynamics == "given" else watched(task, sessions)

    def __call__(self, surrogate: Surrogate) -> SessionPolicy:
        """The policy that the surrogate, as it is now, gives."""
        task = self.task
        model = SessionModel(
            task.scenario, task.n_layers, lambda X: surrogate.predict(X).mean, bins=self.bins, **self.known
        )
        return model.policy(self.rule)


def watched(task: Task, sessions: int) -> dict[str, Any]:
    """Correlation of the noise and transition matrix of the load, from sessions watched under random actions."""
    spec = task.scenario.dynamics
    assert spec is not None
    env = LLMSplitVector(sessions, task.scenario, source=_NoDamage(task.columns))
    rng = task.rng(5)
    obs, _ = env.reset(seed=[int(s) for s in rng.integers(0, 2**62, sessions)])
    seen = [obs]
    for _ in range(task.scenario.episode_steps - 1):
        seen.append(env.step(rng.integers(0, env.single_action_space.n, sessions))[0])  # type: ignore[attr-defined]
    watch = np.stack(seen, axis=1).astype(np.float64)
    names = [c.name for c in task.scenario.context]
    column = names.index("noise" if "noise" in names else "snr_db")
    loads = np.rint(watch[:, :, len(names) + 1] * max(1, len(spec.edge_load) - 1))
    return {
        "correlation": estimated_correlation(
            task.scenario.context[column].from_unit(watch[:, :, column]), task.scenario
        ),
        "loads": estimated_loads(loads, len(spec.edge_load)),
    }


class _NoDamage:
    """No truth is asked while the channel is watched."""

    version = 0

    def __init__(self, columns: tuple[Column, ...]) -> None:
        self.columns = columns

    def answer(self, X: ArrayLike, *, seeds: ArrayLike) -> Array:
        return np.zeros(len(np.asarray(X)))
