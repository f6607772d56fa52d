"""From finished runs to ``results.parquet`` and ``summary.json``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mbrl_split.evaluation import Interval, bootstrap, evaluations_to_target, iqm

REACH = 0.1
"""The share of what the best fixed action loses whose first reach-and-hold the summary reports."""


def write_text(path: Path, text: str) -> None:
    """Write a whole file or nothing."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def read_runs(out: Path) -> list[dict[str, Any]]:
    """The results of all runs under ``out`` that ended, failed ones included, in order of their folders."""
    found = sorted([*(out / "runs").glob("*/DONE"), *(out / "runs").glob("*/FAILED")])
    return [json.loads((done.parent / "result.json").read_text(encoding="utf-8")) for done in found]


def curves(runs: list[dict[str, Any]]) -> pd.DataFrame:
    """One row per point of every run's curve."""
    rows = []
    for run in runs:
        spec = run["spec"]
        head = {
            "problem": run["problem"],
            **run["labels"],
            "algorithm": spec["algorithm"]["algorithm"],
            "seed": spec["seed"],
            "run": run["folder"],
        }
        rows += [{**head, **point} for point in run["curve"]]
    return pd.DataFrame(rows)


def summarise(runs: list[dict[str, Any]], order: list[str]) -> list[dict[str, Any]]:
    """One row per problem and algorithm; algorithms in the suite's order."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault((run["problem"], run["spec"]["algorithm"]["algorithm"]), []).append(run)
    keys = sorted(groups, key=lambda k: (k[0], order.index(k[1]) if k[1] in order else len(order)))
    return [_row(key, sorted(groups[key], key=lambda r: r["spec"]["seed"])) for key in keys]


def _row(key: tuple[str, str], runs: list[dict[str, Any]]) -> dict[str, Any]:
    spec = runs[0]["spec"]
    algorithm = spec["algorithm"]
    row: dict[str, Any] = {
        "problem": key[0],
        **runs[0]["labels"],
        "algorithm": key[1],
        **{part: algorithm[part] for part in ("agent", "source", "schedule", "acquisition", "baseline")},
        "kind": _kind(algorithm),
        "budget": spec["budget"],
        "seeds": len(runs),
        "runs": [r["folder"] for r in runs],
    }
    failed = [r for r in runs if r["status"] != "ok"]
    good = [r for r in runs if r["status"] == "ok"]
    if failed:
        row["failed"] = [{"run": r["folder"], "error": r["error"]} for r in failed]
    if not good:
        return row
    last = [r["curve"][-1] for r in good]
    for name in ("true_evaluations", "oracle_seconds", "train_seconds", "env_steps"):
        row[name] = float(np.mean([p[name] for p in last]))
    row["value_by_seed"] = [p["value"] for p in last]
    row["regret_seeds"] = [r["spec"]["seed"] for r in good]
    row["truths_by_seed"] = [p["true_evaluations"] for p in last]
    reference = good[0]["reference"]
    if "headroom" not in reference:
        value = bootstrap(np.array(row["value_by_seed"]), iqm)
        return row | {"score": "value", "value": value.value, "value_ci": _ends(value), "converged": True}
    regret = np.array([p["regret"] for p in last])
    normalised = reference["regret_unit"] == "headroom"
    # The denominator of a normalised regret is itself measured: its error belongs to the interval.
    error = reference["headroom_std_error"] / reference["headroom"] if normalised else 0.0
    interval = bootstrap(regret, iqm, relative_error=error)
    fixed, blur = fixed_regret(reference)
    row |= {
        "score": "regret",
        "regret_unit": reference["regret_unit"],
        "regret": interval.value,
        "regret_ci": _ends(interval),
        "regret_mean": float(regret.mean()),
        "regret_worst": float(regret.max()),
        "regret_by_seed": regret.tolist(),
        "converged": bool(np.median([_converged(r["curve"], fixed, blur) for r in good]) > 0.5),
        "reach": {"regret": REACH * fixed, "by_seed": [_reach(r["curve"], REACH * fixed) for r in good]},
    }
    return row


def _ends(interval: Interval) -> list[float] | None:
    return None if interval.low is None or interval.high is None else [interval.low, interval.high]


def fixed_regret(reference: dict[str, Any]) -> tuple[float, float]:
    """What the best fixed action loses, and what is too small to tell from it, both in the unit of the regrets.

    Where the headroom is the unit that is 1; where it is not known well enough to be one, the headroom and its error.
    """
    if reference["regret_unit"] == "headroom":
        return 1.0, 0.0
    return reference["headroom"], reference["headroom_std_error"]


def worth_a_price(reference: dict[str, Any]) -> bool:
    """Whether there is anything to win: a tenth of a headroom that may be nothing is no target."""
    fixed, blur = fixed_regret(reference)
    return fixed > 3 * blur


def _kind(algorithm: dict[str, Any]) -> str:
    """How a row comes to its policy: ``reference``, ``rl``, ``planning``, ``bandit`` or ``lookup``."""
    agent = algorithm["agent"]
    if algorithm["baseline"] is not None:
        # A baseline that trains an agent is told which, and how.
        return "rl" if "agent" in algorithm.get("settings", {}).get("baseline", {}) else "lookup"
    if agent is None:
        return "reference"
    return {"argmax": "lookup", "planner": "planning", "linucb": "bandit", "lints": "bandit"}.get(agent, "rl")


def _reach(curve: list[dict[str, float]], target: float) -> dict[str, float] | None:
    """True evaluations and seconds (truth + training) to first reach and hold a regret; None if it never did."""
    seconds = [p["oracle_seconds"] + p["train_seconds"] for p in curve]
    regret = [p["regret"] for p in curve]
    found = evaluations_to_target([p["true_evaluations"] for p in curve], seconds, regret, target)
    return None if found is None else {"evaluations": found.evaluations, "seconds": found.seconds}


def _converged(curve: list[dict[str, float]], fixed: float, blur: float) -> bool:
    """No worse than the best fixed action, and little gained over the last quarter of the truth paid for."""
    end = curve[-1]
    if end["true_evaluations"] == 0:
        return True
    if end["regret"] > fixed + blur or len(curve) == 1:
        return end["regret"] <= fixed + blur
    earlier = [p for p in curve if p["true_evaluations"] <= 0.75 * end["true_evaluations"]] or curve[:1]
    return earlier[-1]["regret"] - end["regret"] <= max(0.1 * fixed, blur)
