"""Schedules against acquisitions, from the finished runs of refresh.yaml.

    mbrl-split bench run benchmarks/refresh.yaml --out runs/refresh
    python benchmarks/refresh_table.py runs/refresh/summary.json --out benchmarks/results/refresh

Writes ``crossed.md``: per model the regret of every combination (IQM over seeds), then each schedule and each
acquisition averaged over the other, as its mean difference from the grand mean within each seed, with a 95 % interval
by Student's t over seeds.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

PREFIX = "ppo-"


def cube(rows: list[dict[str, Any]]) -> tuple[list[str], list[str], list[int], np.ndarray]:
    """Regrets of shape (schedules, acquisitions, seeds), over the seeds that all combinations share."""
    named = {
        (r["schedule"], r["acquisition"]): dict(zip(r["regret_seeds"], r["regret_by_seed"], strict=True))
        for r in rows
        if r["acquisition"] is not None and "regret" in r
    }
    schedules = list(dict.fromkeys(s for s, _ in named))
    acquisitions = list(dict.fromkeys(a for _, a in named))
    missing = [f"{s}-{a}" for s in schedules for a in acquisitions if (s, a) not in named]
    if missing:
        raise SystemExit(f"not run yet: {', '.join(missing)}")
    seeds = sorted(set.intersection(*(set(found) for found in named.values())))
    return (
        schedules,
        acquisitions,
        seeds,
        np.array([[[named[s, a][k] for k in seeds] for a in acquisitions] for s in schedules]),
    )


def effects(names: list[str], values: np.ndarray) -> list[str]:
    """One line per name: its mean difference from the mean of all, by seed; ``values`` is (names, seeds)."""
    centred = values - values.mean(axis=0)
    n = centred.shape[1]
    half = stats.t.ppf(0.975, n - 1) * centred.std(axis=1, ddof=1) / np.sqrt(n)
    order = np.argsort(centred.mean(axis=1))
    return [
        f"| `{names[i]}` | {values[i].mean():.3f} | {centred[i].mean():+.3f} "
        f"({centred[i].mean() - half[i]:+.3f} … {centred[i].mean() + half[i]:+.3f}) |"
        for i in order
    ]


def tables(rows: list[dict[str, Any]]) -> list[str]:
    schedules, acquisitions, seeds, regret = cube(rows)
    cut = len(seeds) // 4
    ranked = np.sort(regret, axis=2)[..., cut : len(seeds) - cut].mean(axis=2)
    paid = {(r["schedule"], r["acquisition"]): r["true_evaluations"] for r in rows}
    lines = [
        f"{len(seeds)} seeds. Regret (IQM) of each schedule (row) with each acquisition (column):",
        "",
        "| | " + " | ".join(f"`{a}`" for a in acquisitions) + " | true evaluations |",
        "|---" + "|---:" * (len(acquisitions) + 1) + "|",
    ]
    for i, schedule in enumerate(schedules):
        mean = np.mean([paid[schedule, a] for a in acquisitions])
        lines.append(f"| `{schedule}` | " + " | ".join(f"{x:.3f}" for x in ranked[i]) + f" | {mean:.0f} |")
    never = next((r for r in rows if r["schedule"] == "never"), None)
    if never is not None:
        lines += ["", f"`never`: {never['regret']:.3f} with {never['true_evaluations']:.0f}."]
    heads = ["| {} | mean regret | against the mean of all (95 %) |", "|---|---:|---|"]
    for kind, names, axis in (("acquisition", acquisitions, 0), ("schedule", schedules, 1)):
        lines += ["", heads[0].format(kind), heads[1], *effects(names, regret.mean(axis=axis))]
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("summary", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    summary = json.loads(args.summary.read_text(encoding="utf-8"))
    lines = [f"`{summary['command']}`", ""]
    for problem, reference in summary["references"].items():
        scenario, model = problem.split("/")
        rows = [r for r in summary["rows"] if (r["scenario"], r["model"]) == (scenario, model)]
        lines += [f"**{scenario} on `{model}`**, headroom {reference['headroom']:.3f}. ", "", *tables(rows)]
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "crossed.md").write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
