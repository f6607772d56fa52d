"""The layer split as a problem that suites pose."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import ArrayLike, NDArray

from mbrl_split.columns import Column
from mbrl_split.errors import InvalidInputError
from mbrl_split.evaluation import Problem
from mbrl_split.interaction import Policy, Source
from mbrl_split.layer_split.envs.llm_split import LLMSplitVector
from mbrl_split.layer_split.judging.decision import SplitJudge
from mbrl_split.layer_split.judging.session import SessionJudge
from mbrl_split.layer_split.policies.argmax import SplitRule, argmax_policy
from mbrl_split.layer_split.policies.informed import Ratios
from mbrl_split.layer_split.policies.planning import SessionPlanner
from mbrl_split.layer_split.reward import split_reward
from mbrl_split.layer_split.scenarios import scenario as named_scenario
from mbrl_split.layer_split.tables.table import TableOracle
from mbrl_split.llm.load import n_layers_of
from mbrl_split.oracles import Ledger, Oracle
from mbrl_split.refresh import RewardFunction
from mbrl_split.registry import ORACLES, unknown

Array = NDArray[np.float64]


PLANNING = ("context_process", "sessions", "bins")
"""Settings of a planner of sessions."""


class LayerSplit(Problem):
    """A scenario on a language model, judged by a part of the measured table that no method learns from.

    Args:
        scenario: Name of the scenario.
        model: Name of the model.
        truth: ``"table"`` replays the table's measurements, ``"live"`` runs the model; or another package's oracle.
        contexts: Contexts, or sessions, of the judge.
        judge: Which part judges: ``"judge"``, or ``"lockbox"``, once, when methods are frozen.
        overrides: Fields of the scenario, replaced.

    Raises:
        InvalidInputError: An unknown scenario, field, oracle or part.

    Example:
        >>> from mbrl_split.layer_split import LayerSplit
        >>> problem = LayerSplit("equalised", "tiny-llama", contexts=200)
        >>> judge = problem.judge(seed=0)
        >>> judge.reference("optimal").value > judge.reference("best-fixed").value
        True
        >>> problem.action_table()[0]
        {'action': 0, 'split': 1}
    """

    action_word = "split"

    def __init__(
        self,
        scenario: str,
        model: str,
        *,
        truth: str = "table",
        contexts: int = 2000,
        judge: Literal["judge", "lockbox"] = "judge",
        overrides: dict[str, Any] | None = None,
    ) -> None:
        if truth not in ORACLES:
            raise InvalidInputError(f"truth: {unknown('oracle', truth, ORACLES)}")
        if judge not in ("judge", "lockbox"):
            raise InvalidInputError(f"judge is 'judge' or 'lockbox', not {judge!r}")
        self.name, self.model, self.truth = scenario, model, truth
        self.contexts, self.half, self.overrides = contexts, judge, dict(overrides or {})
        self.scenario = named_scenario(scenario, **self.overrides)
        self.reference_names = self._kind.names
        self.episode_steps, self.evaluation_size = self.scenario.episode_steps, self.scenario.tokens
        if self.scenario.context_process is not None:
            self.planning = PLANNING
        self.has_consequences = self.scenario.context_process is not None or self.scenario.actions == "relative"

    @property
    def _kind(self) -> type[SplitJudge] | type[SessionJudge]:
        return SplitJudge if self.scenario.context_process is None else SessionJudge

    @cached_property
    def n_layers(self) -> int:
        """L of the model: by the judge's table, and before that is measured by the model's own config."""
        try:
            return TableOracle.load(self.model, self.scenario, half=self.half).n_layers
        except InvalidInputError:
            return n_layers_of(self.model)

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.scenario.columns(self.n_layers)

    def make_env(self, num_envs: int, *, source: Source | None = None) -> VectorEnv[Any, Any, Any]:
        return LLMSplitVector(num_envs, self.scenario, model=None if source else self.model, source=source)

    def oracle(self) -> Oracle:
        found: Oracle = ORACLES[self.truth](self.model, self.scenario)
        return found

    def reward_function(self) -> RewardFunction:
        return split_reward(self.scenario, self.n_layers)

    def action_table(self) -> list[dict[str, Any]]:
        s = self.scenario
        if s.actions == "absolute":
            return [{"action": p - 1, "split": p} for p in range(1, self.n_layers)]
        return [{"action": a, "move": a - s.max_move} for a in range(2 * s.max_move + 1)]

    def judge(self, seed: int) -> SplitJudge | SessionJudge:
        return _judge(self.model, self.name, self.contexts, json.dumps(self.overrides, sort_keys=True), seed, self.half)

    def describe(self) -> dict[str, Any]:
        said = {
            "scenario": self.name,
            "model": self.model,
            "truth": self.truth,
            "contexts": self.contexts,
            "overrides": self.overrides,
        }
        # What every run is unless it says otherwise is left out: results of before the lockbox keep their address.
        return said if self.half == "judge" else {**said, "judge": self.half}

    def labels(self) -> dict[str, str]:
        return {"scenario": self.name, "model": self.model}

    def lookup(self, predict: Callable[[Array], Array], *, plan: bool = False) -> Policy:
        """The split with the best composed reward; in a session with what moving there costs, which is closed form."""
        if self.scenario.context_process is None and not plan:
            return argmax_policy(predict, self.scenario, self.n_layers)
        return self.planner(rule="optimal" if plan else "myopic-with-cost")(predict)

    def planner(self, *, seed: int = 0, **settings: Any) -> Callable[[Callable[[Array], Array]], Policy]:
        """See :class:`~mbrl_split.layer_split.policies.planning.SessionPlanner`, whose settings it takes."""
        return SessionPlanner(self.scenario, self.n_layers, seed=seed, **settings)

    def rule(self, rule: Callable[[Array], ArrayLike]) -> Policy:
        def wanted(context: Array, split: NDArray[np.int64], step: int) -> NDArray[np.int64]:
            return np.asarray(rule(context)).astype(np.int64)

        return SplitRule(self.scenario, self.n_layers, wanted)

    def record_rows(self, ledger: Ledger) -> Ratios:
        """Windows as points of curves in noise/gain, see :class:`~mbrl_split.layer_split.policies.informed.Ratios`."""
        return Ratios(self.scenario, self.n_layers, ledger)


@lru_cache(maxsize=4)
def _judge(
    model: str, name: str, contexts: int, overrides: str, seed: int, half: Literal["judge", "lockbox"]
) -> SplitJudge | SessionJudge:
    """Built once per process: it takes seconds."""
    problem = named_scenario(name, **json.loads(overrides))
    table = TableOracle.load(model, problem, half=half)
    kind = SplitJudge if problem.context_process is None else SessionJudge
    return kind.of_table(table, contexts, seed)
