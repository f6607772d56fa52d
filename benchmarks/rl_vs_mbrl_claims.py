"""What the headline suite adds up to: its two figures, from the stored summary.

    python benchmarks/rl_vs_mbrl_claims.py [--results benchmarks/results/rl_vs_mbrl]
    python benchmarks/rl_vs_mbrl_claims.py --results benchmarks/results/lockbox --beside benchmarks/results/rl_vs_mbrl

Primary: what each way of learning pays to first reach, and hold, the stated regret. Secondary: at equal environment
steps, whether the policy learnt on a surrogate is inferior to that of PPO on the truth, with each of its settings
(paired by seed: the lower end of a 95 % interval of the difference in return is asked to lie above −0.05 of the
headroom), and how many times less truth and time it took. With ``--beside``, also what the same policies lose by the
judge of another summary. Writes ``claims.md``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from mbrl_split.bench.comparison import learners, on_surrogate, on_truth, prices, without_rl
from mbrl_split.bench.report import price_caption
from mbrl_split.bench.results import fixed_regret, worth_a_price
from mbrl_split.evaluation import iqm, paired_difference

PAPER_RATIO = 24 * 86_400 / (7.7 * 60)  # 24 days against 7.7 minutes, arXiv 2406.02616
NEEDED = 10  # seeds
OURS = "RL or a plan on our surrogate"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results" / "rl_vs_mbrl")
    parser.add_argument("--beside", type=Path)
    args = parser.parse_args()
    summary, other = (
        json.loads((folder / "summary.json").read_text(encoding="utf-8")) if folder else None
        for folder in (args.results, args.beside)
    )
    command = " ".join(["python", f"benchmarks/{Path(__file__).name}", *sys.argv[1:]])
    lines = ["# What holds", "", f"`{command}`, from `summary.json` beside it.", ""]
    for problem in summary["references"]:
        scenario, model = problem.split("/")
        rows = [r for r in summary["rows"] if (r["scenario"], r["model"]) == (scenario, model)]
        lines += [f"## {scenario} on {model}", "", *primary(rows, summary["references"][problem])]
        lines += secondary(rows, summary["references"][problem])
        if other:
            theirs = [r for r in other["rows"] if (r["scenario"], r["model"]) == (scenario, model)]
            lines += both(rows, theirs, summary["references"][problem], other["references"][problem])
    (args.results / "claims.md").write_text("\n".join(lines))
    print("\n".join(lines))


def primary(rows: list[dict[str, Any]], reference: dict[str, Any]) -> list[str]:
    """The cheapest of each kind with enough seeds, and its distance to the cheapest model-based one."""
    if not worth_a_price(reference):
        return []
    found = {p.algorithm: p for p in prices(rows)}
    kinds = {
        OURS: on_surrogate,
        "our surrogate looked up, without RL": lambda r: without_rl(r) and ours(r),
        "other regressions, the same rows per window": lambda r: without_rl(r) and not ours(r) and informed(r),
        "without RL, one row per evaluation": lambda r: without_rl(r) and not informed(r),
        "RL on the truth": on_truth,
    }
    best = {}
    for kind, belongs in kinds.items():
        mine = [found[r["algorithm"]] for r in learners(rows) if belongs(r) and r["seeds"] >= NEEDED]
        best[kind] = min(mine, key=lambda p: p.evaluations, default=None)
    cheapest = best[OURS]
    lines = [
        f"{price_caption(reference)}: the cheapest of each kind; rows with fewer than {NEEDED} seeds are left out.",
        "",
        "| kind | cheapest | seeds that hold it | true evaluations | times ours | seconds | times ours |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for kind, price in best.items():
        if price is None or cheapest is None:
            continue
        amounts = []
        for name in ("evaluations", "seconds"):
            value = getattr(price, name)
            ratio = value / getattr(cheapest, name)
            amounts += [f"{value:,.0f}", f"{ratio:,.1f}"] if np.isfinite(value) else ["never", "–"]
        lines.append(f"| {kind} | {price.algorithm} | {price.held} of {price.seeds} | " + " | ".join(amounts) + " |")
    return [*lines, ""]


def ours(row: dict[str, Any]) -> bool:
    """Whether a look-up asks a surrogate of ours that knows the fading law."""
    return str(row["source"]).startswith("fading")


def informed(row: dict[str, Any]) -> bool:
    """Whether a look-up learns from rows per window, as our surrogates do."""
    return "windows" in row["algorithm"] or ours(row)


def secondary(rows: list[dict[str, Any]], reference: dict[str, Any]) -> list[str]:
    """Model-based RL against each PPO of ours on the truth, after the same number of environment steps."""
    agents = [r for r in learners(rows) if on_surrogate(r) and r["agent"] in ("ppo", "a2c", "dqn")]
    steps = max((r["env_steps"] for r in agents), default=0.0)
    lines = []
    for truth in learners(rows):
        if on_truth(truth) and truth["agent"] == "ppo" and truth["env_steps"] >= 0.99 * steps > 0:
            lines += against(truth, agents, reference)
    return lines


def against(truth: dict[str, Any], agents: list[dict[str, Any]], reference: dict[str, Any]) -> list[str]:
    """What the agents on surrogates lose against one on the truth, and what they save."""
    lines = [
        f"Against `{truth['algorithm']}` ({truth['true_evaluations']:,.0f} true evaluations, "
        f"{truth['oracle_seconds'] + truth['train_seconds']:,.0f} s counted), after as many environment steps. The "
        f"paper's own ratio of times is 24 days to 7.7 minutes, about {PAPER_RATIO:,.0f}.",
        "",
        "| method | seeds | difference in return (headrooms) | 95 % interval | not inferior | times fewer evaluations "
        "| times less time |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in agents:
        mine, theirs = (dict(zip(r["regret_seeds"], r["regret_by_seed"], strict=True)) for r in (row, truth))
        shared = sorted(mine.keys() & theirs.keys())
        fixed, _ = fixed_regret(reference)
        d = paired_difference([theirs[s] / fixed for s in shared], [mine[s] / fixed for s in shared])
        interval = "–" if d.low is None or d.high is None else f"{d.low:+.3f} … {d.high:+.3f}"
        holds = "too few seeds" if d.low is None else "yes" if d.low > -0.05 else "no"
        times = (truth["oracle_seconds"] + truth["train_seconds"]) / (row["oracle_seconds"] + row["train_seconds"])
        fewer = truth["true_evaluations"] / row["true_evaluations"]
        lines.append(
            f"| {row['algorithm']} | {len(shared)} | {d.value:+.3f} | {interval} | {holds} | {fewer:,.0f} "
            f"| {times:,.0f} |"
        )
    return [*lines, ""]


def both(
    rows: list[dict[str, Any]], others: list[dict[str, Any]], reference: dict[str, Any], earlier: dict[str, Any]
) -> list[str]:
    """The same policies by two judges: interquartile means over the seeds that both have."""
    rooms = [f"{r['headroom']:.4f} ± {r['headroom_std_error']:.4f}" for r in (reference, earlier)]
    lines = [
        f"The same policies by the lockbox (headroom {rooms[0]}) and by the judge half ({rooms[1]}), over the seeds "
        "judged by both: regret in headrooms, and what it is in reward per step.",
        "",
        "| method | seeds | regret, lockbox | judge half | reward lost, lockbox | judge half | difference |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    theirs = {r["algorithm"]: r for r in others}
    for row in learners(rows):
        if row["algorithm"] not in theirs or "regret" not in theirs[row["algorithm"]]:
            continue
        here, there = (
            dict(zip(r["regret_seeds"], r["regret_by_seed"], strict=True)) for r in (row, theirs[row["algorithm"]])
        )
        shared = sorted(here.keys() & there.keys())
        pair = np.array([[here[s], there[s]] for s in shared])
        means = [iqm(p) / fixed_regret(r)[0] for p, r in zip(pair.T, (reference, earlier), strict=True)]
        lost = [m * r["headroom"] for m, r in zip(means, (reference, earlier), strict=True)]
        lines.append(
            f"| {row['algorithm']} | {len(shared)} | {means[0]:z.3f} | {means[1]:z.3f} "
            f"| {lost[0]:z.4f} | {lost[1]:z.4f} | {lost[0] - lost[1]:+.4f} |"
        )
    return [*lines, ""]


if __name__ == "__main__":
    main()
