"""The share of settings in which both myopic policies lose at least 20 % of the headroom: does planning pay?

    python benchmarks/drive_grid.py --model tiny-llama --contexts 400 --out benchmarks/results/drive/grid

Runs every setting of ``drive_grid.yaml`` on the judge half of the model's table and writes ``<model>.json``: one row
per setting, and the share with a 95 % interval (sessions are resampled, settings are not: the grid is all there is).
Finished settings are kept, so that a run can be cut short and gone on with.
"""

from __future__ import annotations

import argparse
import json
import os
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mbrl_split.layer_split import SessionJudge, TableOracle, scenario, table_path

GRID = Path(__file__).with_suffix(".yaml")
JUDGE_SEED = 977
LOSS = 0.2
MYOPIC = ("myopic", "myopic-with-cost")


def settings(grid: dict[str, Any]) -> list[dict[str, Any]]:
    """Every combination, as overrides of the scenario ``drive``."""
    return [
        {
            "episode_steps": session["turns"],
            "costs": {**profile, "model": model},
            "context_process": {
                "decorrelation": grid["decorrelation"],
                "speed": speed,
                **{k: v for k, v in session.items() if k != "turns"},
            },
        }
        for profile, model, speed, session in product(
            grid["profiles"], grid["models"], grid["speeds"], grid["sessions"]
        )
    ]


def judge(model: str, overrides: dict[str, Any], contexts: int, replicates: int) -> dict[str, Any]:
    """References of one setting, what the myopic policies lose, and how often both lose enough among resamples."""
    problem = SessionJudge.of_table(
        TableOracle.load(model, scenario("drive", **overrides), half="judge"), contexts, JUDGE_SEED
    )
    optimal, fixed = problem._optimal.mean(axis=0), problem._best_fixed.mean(axis=0)
    losses = np.stack([optimal - problem._crosswise(rule).mean(axis=0) for rule in MYOPIC])
    rng = np.random.default_rng(0)
    rows = rng.integers(0, contexts, (replicates, contexts))
    room = (optimal - fixed)[rows].mean(axis=1)
    both = (losses[:, rows].mean(axis=2) >= LOSS * room).all(axis=0) & (room > 0)
    headroom = problem.headroom
    regret = {rule: problem.regret_of(problem.exact(rule)) for rule in MYOPIC}
    return {
        "setting": overrides,
        "optimal": problem.optimal,
        "best_fixed": problem.best_fixed,
        "best_fixed_split": problem.fixed_split,
        "headroom": headroom.value,
        "headroom_std_error": headroom.std_error,
        "trusted": all(r.trusted for r in regret.values()),
        "lost": {rule: r.normalised for rule, r in regret.items()},
        "both": bool(headroom.value > 0 and all(r.normalised >= LOSS for r in regret.values())),
        "resamples": "".join("01"[int(x)] for x in both),  # whether both lose enough, one figure per resample
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The share over the grid and its interval; over the settings whose headroom can be trusted, too."""

    def share(chosen: list[dict[str, Any]]) -> dict[str, Any] | None:
        if not chosen:
            return None
        again = np.mean([[x == "1" for x in row["resamples"]] for row in chosen], axis=0)
        low, high = np.quantile(again, [0.025, 0.975])
        return {
            "settings": len(chosen),
            "share": float(np.mean([row["both"] for row in chosen])),
            "interval": [float(low), float(high)],
        }

    return {"all": share(rows), "trusted": share([row for row in rows if row["trusted"]])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny-llama")
    parser.add_argument("--contexts", type=int, default=400, help="sessions per setting")
    parser.add_argument("--replicates", type=int, default=200, help="resamples of the sessions")
    parser.add_argument("--only", type=int, default=None, help="the first so many settings")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/drive/grid"))
    args = parser.parse_args()
    grid = yaml.safe_load(GRID.read_text(encoding="utf-8"))
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"{args.model}.json"
    rows: list[dict[str, Any]] = []
    table = json.loads(table_path(args.model, "equalised", "judge").with_suffix(".json").read_text(encoding="utf-8"))
    # Settings that were judged by another table, or otherwise, are judged again.
    about = {
        "model": args.model,
        "table": table["sha256"],
        "contexts": args.contexts,
        "replicates": args.replicates,
        "grid": grid,
    }
    if path.is_file():
        old = json.loads(path.read_text(encoding="utf-8"))
        rows = old["rows"] if all(old.get(key) == value for key, value in about.items()) else []
    wanted = settings(grid)[: args.only]
    done = {json.dumps(row["setting"], sort_keys=True) for row in rows}
    for number, overrides in enumerate(wanted, start=1):
        if json.dumps(overrides, sort_keys=True) in done:
            continue
        rows.append(judge(args.model, overrides, args.contexts, args.replicates))
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps({**about, "summary": summary(rows), "rows": rows}, indent=1), encoding="utf-8")
        os.replace(partial, path)
        lost = ", ".join(f"{rule} {value:.2f}" for rule, value in rows[-1]["lost"].items())
        print(f"{number}/{len(wanted)} {overrides}: headroom {rows[-1]['headroom']:.3f}, lost {lost}", flush=True)
    print(json.dumps(summary(rows), indent=1))


if __name__ == "__main__":
    main()
