"""Policies of sessions from a predicted damage: planned on the grid, or read off without looking ahead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mbrl_split.errors import InvalidInputError, UnsupportedError
from mbrl_split.interaction import Policy, ZeroSource
from mbrl_split.layer_split.envs.session import SessionVector, level_column
from mbrl_split.layer_split.judging.session_model import (
    SessionModel,
    estimated_correlation,
    estimated_loads,
)
from mbrl_split.layer_split.scenarios import Scenario

Array = NDArray[np.float64]


class SessionPlanner:
    """Value iteration on the predicted damage, with the context process given or estimated.

    Costs, cache and battery are closed form and need no learning. ``context_process="estimated"`` knows neither the
    memory of the noise nor that of the server's load: it watches them for some sessions (which needs no truth) and
    plans with the estimated correlation and transition matrix.

    Args:
        scenario: A session.
        n_layers: L of the model.
        rule: ``"optimal"`` plans; ``"myopic-with-cost"`` and ``"myopic"`` do not.
        context_process: ``"given"`` or ``"estimated"``.
        sessions: Sessions watched.
        bins: Noise bins of the grid.
        seed: Of the sessions watched.

    Raises:
        UnsupportedError: The scenario is no session.
        InvalidInputError: An unknown word.
    """

    def __init__(
        self,
        scenario: Scenario,
        n_layers: int,
        *,
        rule: Literal["optimal", "myopic", "myopic-with-cost"] = "optimal",
        context_process: Literal["given", "estimated"] = "given",
        sessions: int = 64,
        bins: int = 25,
        seed: int = 0,
    ) -> None:
        if scenario.context_process is None:
            raise UnsupportedError(
                f"scenario {scenario.name!r} has no context process to plan for; 'argmax' is its planner"
            )
        if context_process not in ("given", "estimated"):
            raise InvalidInputError(f"context_process is 'given' or 'estimated', not {context_process!r}")
        self.scenario, self.n_layers, self.rule, self.bins = scenario, n_layers, rule, bins
        given = context_process == "given"
        self.known: dict[str, Any] = {} if given else watched(scenario, n_layers, sessions, seed)

    def __call__(self, predict: Callable[[Array], Array]) -> Policy:
        """The policy that a prediction of the damage, as it is now, gives."""
        model = SessionModel(self.scenario, self.n_layers, predict, bins=self.bins, **self.known)
        return model.policy(self.rule)


def watched(scenario: Scenario, n_layers: int, sessions: int, seed: int) -> dict[str, Any]:
    """Correlation of the noise and transition matrix of the load, from sessions watched under random actions."""
    spec = scenario.context_process
    assert spec is not None
    env = SessionVector(sessions, scenario, source=ZeroSource(scenario.columns(n_layers)))
    rng = np.random.default_rng([seed, 5])
    obs, _ = env.reset(seed=[int(s) for s in rng.integers(0, 2**62, sessions)])
    seen = [obs]
    for _ in range(scenario.episode_steps - 1):
        seen.append(env.step(rng.integers(0, env.action_space_size, sessions))[0])
    watch = np.stack(seen, axis=1).astype(np.float64)
    column = level_column(scenario)
    loads = np.rint(watch[:, :, len(scenario.context) + 1] * max(1, len(spec.edge_load) - 1))
    return {
        "correlation": estimated_correlation(scenario.context[column].from_unit(watch[:, :, column]), scenario),
        "loads": estimated_loads(loads, len(spec.edge_load)),
    }
