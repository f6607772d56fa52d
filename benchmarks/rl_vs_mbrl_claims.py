"""What the headline suite adds up to: its two figures, from the stored summary.

    python benchmarks/rl_vs_mbrl_claims.py [--results benchmarks/results/rl_vs_mbrl]
    python benchmarks/rl_vs_mbrl_claims.py --results benchmarks/results/lockbox --beside benchmarks/results/rl_vs_mbrl

Primary: what each way of learning pays to first reach, and hold, the stated regret. Secondary: at equal environment
steps, whether the policy learnt on a surrogate is inferior to that of PPO on the truth, with each of its settings
(paired by seed: the lower end of a 95 % interval of the difference in return is asked to lie above −0.05 of the
headroom), and how many times less truth and time it took. Writes ``claims.md``. With ``--beside``, the summary of the
judge half, also what the same policies pay and lose by the two judges, and the table of the README, ``prices.md``.
Whatever is divided or subtracted is divided or subtracted as printed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mbrl_split.bench.comparison import Price, learners, on_surrogate, on_truth, prices, without_rl
from mbrl_split.bench.printed import difference, quotient
from mbrl_split.bench.report import price_caption, price_cells
from mbrl_split.bench.results import fixed_regret, worth_a_price
from mbrl_split.evaluation import iqm, paired_difference

PAPER_RATIO = 24 * 86_400 / (7.7 * 60)  # 24 days against 7.7 minutes, arXiv 2406.02616
NEEDED = 10  # seeds
OURS, LOOKED_UP = "RL or a plan on our surrogate", "our surrogate looked up, without RL"
OTHERS, ONE_ROW = "other regressions, the same rows per window", "without RL, one row per evaluation"
TRUTH = "RL on the truth"
KINDS: dict[str, Callable[[dict[str, Any]], bool]] = {
    OURS: on_surrogate,
    LOOKED_UP: lambda r: without_rl(r) and ours(r),
    OTHERS: lambda r: without_rl(r) and not ours(r) and informed(r),
    ONE_ROW: lambda r: without_rl(r) and not informed(r),
    TRUTH: on_truth,
}
HEADLINE = "equalised/smollm2-135m"
NAMES = {
    "ppo-true": "PPO on the truth",
    "ppo-hats-true": "the same with hat functions",
    "gp-thompson": "best rule from one row per evaluation",
    "gp-sklearn-windows-short": "scikit-learn's Gaussian process, told each window's gain, looked up",
    "ppo-fading-gp-50": "PPO on our surrogate",
    "ppo-hats-rounds-50": "the same with hat functions, refreshed in eight rounds, the default",
    "ppo-hats-16-rounds-50": "the same in sixteen rounds, tried afterwards",
    "argmax-rounds-50": "our surrogate looked up, without RL",
}
"""What the README calls the rows of ``prices.md``, in its order: of each kind the cheapest by either judge, and the
default."""
UNJUDGED = "not judged"


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
    if other:
        (args.results / "prices.md").write_text("\n".join(headline(summary, other)) + "\n")


def primary(rows: list[dict[str, Any]], reference: dict[str, Any]) -> list[str]:
    """The cheapest of each kind with enough seeds, and its distance to the cheapest model-based one."""
    if not worth_a_price(reference):
        return []
    best = {kind: cheapest(rows, kind) for kind in KINDS}
    lines = [
        f"{price_caption(reference)}: the cheapest of each kind; rows with fewer than {NEEDED} seeds are left out.",
        "",
        "| kind | cheapest | seeds that hold it | true evaluations | times ours | seconds | times ours |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    mine = best[OURS]
    for kind, price in best.items():
        if price is None or mine is None:
            continue
        name, held, *amounts = price_cells(price)
        pairs = zip(amounts, price_cells(mine)[2:], strict=True)
        cells = [cell for amount, unit in pairs for cell in (amount, quotient(amount, unit, ",.1f"))]
        lines.append(f"| {kind} | {name} | {held} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def cheapest(rows: list[dict[str, Any]], kind: str) -> Price | None:
    """The row of a kind with the lowest price, of those with enough seeds."""
    found = {p.algorithm: p for p in prices(rows)}
    mine = [found[r["algorithm"]] for r in learners(rows) if KINDS[kind](r) and r["seeds"] >= NEEDED]
    return min(mine, key=lambda p: p.evaluations, default=None)


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
    evaluations, seconds = spent(truth)
    lines = [
        f"Against `{truth['algorithm']}` ({evaluations} true evaluations, {seconds} s counted), after as many "
        f"environment steps. The paper's own ratio of times is 24 days to 7.7 minutes, about {PAPER_RATIO:,.0f}.",
        "",
        "| method | seeds | difference in return (headrooms) | 95 % interval | not inferior | true evaluations "
        "| times fewer | seconds | times less |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in agents:
        mine, theirs = (dict(zip(r["regret_seeds"], r["regret_by_seed"], strict=True)) for r in (row, truth))
        shared = sorted(mine.keys() & theirs.keys())
        fixed, _ = fixed_regret(reference)
        d = paired_difference([theirs[s] / fixed for s in shared], [mine[s] / fixed for s in shared])
        interval = "–" if d.low is None or d.high is None else f"{d.low:+.3f} … {d.high:+.3f}"
        holds = "too few seeds" if d.low is None else "yes" if d.low > -0.05 else "no"
        paid, took = spent(row)
        lines.append(
            f"| {row['algorithm']} | {len(shared)} | {d.value:+.3f} | {interval} | {holds} "
            f"| {paid} | {quotient(evaluations, paid, ',.0f')} | {took} | {quotient(seconds, took, ',.0f')} |"
        )
    return [*lines, ""]


def spent(row: dict[str, Any]) -> tuple[str, str]:
    """What a row's runs paid in all, as printed: true evaluations, and seconds of truth and training."""
    return f"{row['true_evaluations']:,.0f}", f"{row['oracle_seconds'] + row['train_seconds']:,.0f}"


def both(
    rows: list[dict[str, Any]], others: list[dict[str, Any]], reference: dict[str, Any], earlier: dict[str, Any]
) -> list[str]:
    """The same policies by two judges: prices, and interquartile means over the seeds that both have."""
    lines = two_prices(rows, others) if worth_a_price(reference) and worth_a_price(earlier) else []
    rooms = [f"{r['headroom']:.4f} ± {r['headroom_std_error']:.4f}" for r in (reference, earlier)]
    lines += [
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
        lost = [f"{m * r['headroom']:z.4f}" for m, r in zip(means, (reference, earlier), strict=True)]
        lines.append(
            f"| {row['algorithm']} | {len(shared)} | {means[0]:z.3f} | {means[1]:z.3f} "
            f"| {lost[0]} | {lost[1]} | {difference(*lost, '+.4f')} |"
        )
    return [*lines, ""]


def beside(rows: list[dict[str, Any]], others: list[dict[str, Any]]) -> dict[str, list[str]]:
    """By row of the judge half, cheapest there first: price and holding seeds by that half, the same by the lockbox."""
    opened = {p.algorithm: price_cells(p) for p in prices(rows)}
    return {
        p.algorithm: [*price_cells(p)[2:0:-1], *opened.get(p.algorithm, ["", "–", UNJUDGED])[2:0:-1]]
        for p in prices(others)
        if p.seeds >= NEEDED
    }


def two_prices(rows: list[dict[str, Any]], others: list[dict[str, Any]]) -> list[str]:
    """What each row pays by either judge, of those that hold the regret by one."""
    lines = [
        "The same prices by the judge half and by the lockbox, of the rows that hold the regret by either; the last "
        "column divides the second price by the first. Rows that came after the lockbox was opened, or were left out "
        f"of it, are marked: {UNJUDGED}.",
        "",
        "| method | true evaluations, judge half | seeds that hold it | lockbox | seeds that hold it | times |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for algorithm, (half, held, lockbox, held_there) in beside(rows, others).items():
        if {half, lockbox} <= {"never", UNJUDGED}:
            continue
        times = quotient(lockbox, half, ".2f")
        lines.append(f"| {algorithm} | {half} | {held} | {lockbox} | {held_there} | {times} |")
    return [*lines, ""]


def headline(summary: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The README's table: of each kind the cheapest by either judge, both prices, and which were never judged."""
    rows, others = ([r for r in s["rows"] if f"{r['scenario']}/{r['model']}" == HEADLINE] for s in (summary, other))
    best = {kind: (cheapest(rows, kind), cheapest(others, kind)) for kind in KINDS}
    needed = {p.algorithm for pair in best.values() for p in pair if p is not None}
    if missing := needed - NAMES.keys():
        raise SystemExit(f"the cheapest of their kinds, {sorted(missing)}, have no name in NAMES")
    both_prices = beside(rows, others)
    lines = [
        "| | judge half | seeds that hold it | lockbox | seeds that hold it |",
        "|---|---:|---:|---:|---:|",
        *(f"| {words} (`{name}`) | " + " | ".join(both_prices[name]) + " |" for name, words in NAMES.items()),
        "",
    ]
    words = {OURS: "RL on our surrogate pays", OTHERS: "the best other regression", LOOKED_UP: "ours looked up"}
    judged = [(word, price) for kind, word in words.items() if (price := best[kind][0]) is not None]
    said = [f"{word} {price_cells(price)[2]} ({price.held} of {price.seeds} seeds hold it)" for word, price in judged]
    unseen = [f"`{name}`" for name in NAMES if both_prices[name][2] == UNJUDGED]
    told = (
        f"The lockbox is text by which nothing was ever chosen. By it, {', '.join(said[:-1])}, and {said[-1]}. "
        f"It never judged {', '.join(unseen[:-1])} and {unseen[-1]}, which came after it was opened: their prices "
        "stand on the judge half alone."
    )
    return [*lines, told]


if __name__ == "__main__":
    main()
