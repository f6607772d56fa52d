"""How many true evaluations the tuned configuration needs on the model it was not tuned on, and how many the others do.

    mbrl-split bench run benchmarks/transfer.yaml --out runs/transfer
    python benchmarks/transfer_claims.py runs/transfer/results.parquet --out benchmarks/results/transfer

A method's curve is its regret (IQM over seeds) at each number of evaluations where it was looked at: its stages for the
baselines, one run per budget for the tuned configuration. Its price is where the curve falls to the target and stays
there: between two points by a straight line in the logarithms for the baselines, the next measured budget, which can
only be worse, for the tuned one. Writes ``claims.md``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from mbrl_split.bench.printed import quotient
from mbrl_split.evaluation import iqm

TARGET = 0.05
OURS = "tuned"
Curve = list[tuple[float, float, int]]  # evaluations, regret, seeds


def curves(points: pd.DataFrame) -> dict[str, Curve]:
    """The curve of every learning method, the tuned configuration's budgets joined into one."""
    found: dict[str, Curve] = {}
    for algorithm, rows in points[points.true_evaluations > 0].groupby("algorithm", sort=False):
        rows = rows.assign(stage=rows.groupby("seed").cumcount())
        ours = algorithm.startswith(f"{OURS}-")
        if ours:
            rows = rows.groupby("seed").tail(1).assign(stage=0)
        curve = [
            (g.true_evaluations.median(), iqm(g.regret.to_numpy()), len(g))
            for _, g in rows.groupby("stage")
            if len(g) == rows.seed.nunique()
        ]
        found.setdefault(OURS if ours else algorithm, []).extend(curve)
    return {name: sorted(curve) for name, curve in found.items()}


def price(curve: Curve, *, between: bool) -> float:
    """Evaluations from which on the regret stays at the target or below; infinity if it never does."""
    above = [i for i, (_, regret, _) in enumerate(curve) if regret > TARGET]
    last = above[-1] if above else -1
    if last == len(curve) - 1:
        return float("inf")
    (n1, r1, _) = curve[last + 1]
    if last < 0 or not between or r1 <= 0:
        return n1
    n0, r0, _ = curve[last]
    part = np.log(r0 / TARGET) / np.log(r0 / r1)
    return float(np.exp(np.log(n0) + part * np.log(n1 / n0)))


def at(curve: Curve, limit: float) -> str:
    """The regret at the most evaluations up to the limit."""
    within = [regret for n, regret, _ in curve if n <= limit]
    return f"{within[-1]:.3f}" if within else "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    found = curves(pd.read_parquet(args.results))
    prices = {name: price(curve, between=name != OURS) for name, curve in found.items()}
    lines = [
        f"| method | seeds | evaluations to hold {TARGET} | times ours | regret at 25 | at 50 | at 100 |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name in sorted(found, key=prices.__getitem__):
        curve = found[name]
        price_, ours = (f"{n:.0f}" if np.isfinite(n) else "never" for n in (prices[name], prices[OURS]))
        ratio = quotient(price_, ours, ".1f")
        looks = " | ".join(at(curve, limit) for limit in (25, 50, 100))
        lines.append(f"| `{name}` | {min(s for *_, s in curve)} | {price_} | {ratio} | {looks} |")
    lines += [
        "",
        "The tuned configuration by budget: " + ", ".join(f"{n:.0f}: {r:.3f}" for n, r, _ in found[OURS]) + ".",
    ]
    (args.out / "claims.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
