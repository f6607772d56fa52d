"""The judge of a scenario on a model: a part of the table that no method learns from, declared, not charged."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from mbrl_split.evaluation import DecisionProblem, SessionProblem
from mbrl_split.oracles import TableOracle
from mbrl_split.scenarios import Scenario, scenario

JUDGE_SEED = 977
"""Seed of the held-out contexts; replications count from 0 and learn with streams of their own."""

_LEVELS = 6  # noise levels drawn in the report's first picture


@dataclass(frozen=True)
class Judged:
    """A decision problem with its table, in the form that runs and reports need."""

    scenario: Scenario
    table: TableOracle
    problem: DecisionProblem | SessionProblem

    @property
    def n_layers(self) -> int:
        return self.problem.n_layers

    def judge(self, policy: Any) -> dict[str, float]:
        """Value and regret of a policy on the held-out contexts."""
        return self._regret(self.problem.achieved(policy))

    def exact(self, label: str) -> dict[str, float]:
        """The one-point curve of an exact reference policy."""
        free = {"true_evaluations": 0.0, "oracle_seconds": 0.0, "train_seconds": 0.0, "env_steps": 0.0}
        return {**free, **self._regret(self.problem.exact(label))}

    def _regret(self, value: float) -> dict[str, float]:
        regret = self.problem.regret_of(value)
        return {"value": value, "regret": regret.reported, "regret_absolute": regret.absolute}

    def reference(self) -> dict[str, Any]:
        """What every figure of this problem is measured against."""
        p = self.problem
        return {
            "optimal": p.optimal,
            "best_fixed": p.best_fixed,
            "best_fixed_split": p.fixed_split,
            "random": p.random,
            "headroom": p.headroom.value,
            "headroom_std_error": p.headroom.std_error,
            "regret_unit": "headroom" if p.regret_of(p.optimal).trusted else "reward",
            "contexts": len(p.context),
            "half": self.table.half,
            "table": self.table.identity,
            "protocol": {
                "One true evaluation": f"{self.scenario.tokens:,} scored tokens in {self.scenario.windows} windows of "
                f"{self.scenario.window}, text {self.scenario.text!r}",
                "Perplexity of the judge": self.table.protocol,
            },
            "landscape": self._landscape(),
        }

    def _landscape(self) -> dict[str, Any] | None:
        """NLL by split at a few noise levels, everything else at the middle of its scale."""
        names = [c.name for c in self.scenario.context]
        if "noise" not in names:
            return None
        j = names.index("noise")
        noise = self.scenario.context[j]
        levels = noise.from_unit(np.linspace(0.0, 1.0, _LEVELS))
        middle = np.array([c.from_unit(0.5) for c in self.scenario.context], dtype=np.float64)
        splits = np.arange(1, self.n_layers)
        context = np.tile(middle, (_LEVELS * len(splits), 1))
        context[:, j] = np.repeat(levels, len(splits))
        mean, error = self.table.expected(np.column_stack([np.tile(splits, _LEVELS), context]))
        clean = float(self.table.table.clean_nll.mean())
        others = ", ".join(
            f"{c.name} = {v:.3g}" for c, v in zip(self.scenario.context, middle, strict=True) if c != noise
        )
        return {
            "splits": splits.tolist(),
            "levels": [f"{level:.2g}" for level in levels],
            "unit": "noise (RMS)",
            "clean": clean,
            "nll": (clean + mean).reshape(_LEVELS, -1).tolist(),
            "std_error": error.reshape(_LEVELS, -1).tolist(),
            "caption": f"Noise in units of the hidden state's RMS after layer 1; {others}.",
        }


@lru_cache(maxsize=4)
def judge_for(
    model: str,
    name: str,
    contexts: int,
    overrides: str = "{}",
    seed: int = JUDGE_SEED,
    *,
    half: Literal["judge", "lockbox"] = "judge",
) -> Judged:
    """The judge of a named scenario with overrides (JSON) on a model; built once per process."""
    problem = scenario(name, **json.loads(overrides))
    table = TableOracle.load(model, problem, half=half)
    judged = DecisionProblem if problem.dynamics is None else SessionProblem
    return Judged(problem, table, judged.of_table(table, contexts, seed))
