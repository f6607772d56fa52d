"""What n true evaluations teach each surrogate and its peers, judged on the other half of the measured table.

    python benchmarks/surrogates.py [--models tiny-llama] [--evaluations 30,100] [--seeds 10] [--who ours] [--out DIR]

What runs is in surrogates.yaml. One JSON line per (model, surrogate, rows, n, seed) is appended to runs.jsonl as it is
finished; a further call does what is missing. surrogates_report.py says what they add up to. All learn the same rows,
except the table, which measures its own grid. Judged by: the root mean square error of the mean against the expected
damage; log score, CRPS and 90 % coverage of one fresh true evaluation (coverage also by terciles of predicted damage);
the regret of choosing the split with the greatest predicted reward; processor seconds on one thread.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
import yaml

sys.path.insert(0, str(Path(__file__).parent))
from surrogate_peers import PEERS
from surrogates_apart import OnePerSplit

from mbrl_split.errors import InvalidInputError
from mbrl_split.layer_split import FadingSurrogate, SplitJudge, TableOracle, compose_reward, window_rows
from mbrl_split.layer_split.tables.table_file import table_path
from mbrl_split.surrogates import EnsembleSurrogate, GPSurrogate, MLPSurrogate, XGBoostSurrogate, score

SUITE = Path(__file__).with_suffix(".yaml")
OURS: dict[str, Callable[..., Any]] = {
    "gp": GPSurrogate,
    "mlp": MLPSurrogate,
    "ensemble": EnsembleSurrogate,
    "xgboost": XGBoostSurrogate,
    "gp-not-monotone": GPSurrogate,
    "gp-per-split": lambda seed: OnePerSplit(),
}
KEY = ("model", "surrogate", "rows", "n", "seed")


class Judge:
    """The two halves of one model's table, and what the judge half says."""

    def __init__(self, model: str, suite: dict[str, Any]) -> None:
        self.replay, judge = (TableOracle.load(model, suite["scenario"], half) for half in ("replay", "judge"))
        self.columns = judge.columns
        cards = [table_path(model, suite["scenario"], half).with_suffix(".json") for half in ("replay", "judge")]
        self.tables = "-".join(json.loads(card.read_text())["sha256"][:8] for card in cards)
        rng = np.random.default_rng(20_000_003)
        self.X = np.column_stack([c.sample(suite["fresh"], rng) for c in judge.columns])
        self.fresh = judge.measure(self.X, seeds=rng.integers(0, 2**31, len(self.X))).mean
        self.expected = judge.expected(self.X)[0]
        self.problem = SplitJudge.of_table(judge, suite["contexts"], seed=20_000_003)

    def run(self, spec: dict[str, Any], n: int, seed: int) -> dict[str, float]:
        """Learn n evaluations, and be judged."""
        rng = np.random.default_rng([seed, 5])
        X = np.column_stack([c.sample(n, rng) for c in self.columns])
        ours = spec["name"] in OURS and spec.get("ours", False)
        settings = {"warp": spec["warp"]} if "warp" in spec else {}
        surrogate: Any = OURS[spec["name"]](seed=seed, **settings) if ours else PEERS[spec["name"]](seed)
        if spec["name"] == "table":
            X = surrogate.grid(n, self.columns)
        measured = self.replay.measure(X, seeds=rng.integers(0, 2**31, len(X)))
        began = time.process_time()
        if spec["rows"] == "windows":
            rows, y, groups = window_rows(X, measured.records)
            surrogate = FadingSurrogate(surrogate, monotone=spec.get("monotone", True))
            surrogate.fit(rows, y, groups=groups, columns=self.columns)
        else:
            surrogate.fit(X, measured.mean, std_error=measured.std_error, columns=self.columns)
        fitted = time.process_time()
        p = surrogate.predict(self.X)
        predicted = time.process_time()
        found = score(p, self.fresh)
        low, high = p.interval(0.9)
        inside = (low <= self.fresh) & (self.fresh <= high)
        terciles = [float(inside[part].mean()) for part in np.array_split(np.argsort(p.mean, kind="stable"), 3)]
        regret = self.regret(surrogate)
        return {
            "evaluations": len(X),
            "rmse": float(np.sqrt(np.mean((p.mean - self.expected) ** 2))),
            "nll": found["nll"],
            "crps": found["crps"],
            "coverage": found["coverage_90"],
            **dict(zip(("low", "middle", "high"), terciles, strict=True)),
            "regret": regret.normalised,
            "regret_absolute": regret.absolute,
            "trusted": regret.trusted,
            "fit_cpu_seconds": fitted - began,
            "predict_cpu_seconds": predicted - fitted,
        }

    def regret(self, surrogate: Any) -> Any:
        """Of the split with the greatest reward under the predicted mean."""
        problem = self.problem
        n, k, d = problem.X.shape
        damage = surrogate.predict(problem.X.reshape(-1, d)).mean.reshape(n, k)
        splits = np.arange(1, problem.n_layers)
        wanted = compose_reward(damage, splits, problem.n_layers, problem.scenario.reward).argmax(axis=1) + 1
        return problem.regret(lambda context, split, step: wanted)


def write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def read_runs(path: Path) -> list[dict[str, Any]]:
    """Finished runs; a line that a kill cut short is dropped, in the file too."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    if lines[-1]:
        write(path, "".join(line + "\n" for line in lines[:-1]))
    return [json.loads(line) for line in lines[:-1]]


def main() -> None:
    suite = yaml.safe_load(SUITE.read_text(encoding="utf-8"))
    asked = sorted({n for spec in suite["surrogates"] for n in spec.get("evaluations", suite["evaluations"])})
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(suite["models"]))
    parser.add_argument("--evaluations", default=",".join(map(str, asked)))
    parser.add_argument("--seeds", type=int, default=suite["seeds"])
    parser.add_argument("--who", choices=("all", "ours", "peers"), default="all")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/surrogates"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "runs.jsonl"
    judges: dict[str, Judge] = {}
    for model in args.models.split(","):
        try:
            judges[model] = Judge(model, suite)
        except InvalidInputError as error:
            print(f"left out: {error}", flush=True)
    runs = read_runs(path)
    # Runs on tables that have been measured anew since do not compare with those on the new ones.
    current = [r for r in runs if r["model"] not in judges or r.get("tables") == judges[r["model"]].tables]
    if len(current) < len(runs):
        print(f"{len(runs) - len(current)} runs on older tables dropped", flush=True)
        runs = current
        write(path, "".join(json.dumps(run) + "\n" for run in runs))
    done = {tuple(run[key] for key in KEY) for run in runs}
    # Seed by seed, so that what is there whenever this is stopped compares like with like.
    for seed in range(args.seeds):
        for model, judge in judges.items():
            for n, spec in itertools.product(map(int, args.evaluations.split(",")), suite["surrogates"]):
                key = (model, spec["name"], spec["rows"], n, seed)
                wanted = n in spec.get("evaluations", suite["evaluations"]) and n <= spec.get("most", n)
                if key in done or not wanted or args.who not in ("all", "ours" if spec.get("ours") else "peers"):
                    continue
                found = judge.run(spec, n, seed)
                run = {
                    **dict(zip(KEY, key, strict=True)),
                    "ours": bool(spec.get("ours")),
                    "tables": judge.tables,
                    **found,
                }
                runs.append(run)
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(run) + "\n")
                print(
                    f"{' '.join(map(str, key))}: regret {run['regret']:.3f} in {run['fit_cpu_seconds']:.1f} s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
