"""Do tables tell the truth where they were not measured?

    python benchmarks/validate_tables.py [MODEL …] [--families F …] [--points 60] [--store runs/validation.sqlite]

For each family and model, random points that were never used to build the table (any split, channel states uniform
along the family's axes; bits are integers, so there the text alone is new) are measured live: windows drawn afresh from
the documents of the table's half, channel seeds of their own. Each is compared with the table's expectation:

    z = (live − table)/√(SE_live² + SE_table²),  covered if |z| ≤ t,

t the quantile of Student's t that covers what two standard errors cover of a normal law (95.45 %), at the
Welch–Satterthwaite degrees of freedom. It must hold, per family with all models together: coverage not significantly
below 90 % (one-sided binomial test at 1 %), |mean z| ≤ 0.3, and the median of (joint standard error)/max(0.02 nats,
10 % of the damage) at most 1.

All points of one table share its windows, so their z are correlated. ``mean_z_noise`` says how far the mean would stray
if the table were right: √(1/n + share), with ``share`` the table's part of the joint variance.

The measurements are in the store before they count: stop it at any time, the same command goes on.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from mbrl_split.columns import Column
from mbrl_split.errors import InvalidInputError
from mbrl_split.layer_split import FAMILIES, PerplexityOracle, TableOracle, read_table, table_path
from mbrl_split.layer_split.scenarios import Scenario, scenario
from mbrl_split.layer_split.tables.families import Family
from mbrl_split.oracles import Ledger, open_store

SEED = 20_000  # of points and live evaluations; tables are measured with seeds 0, 1 and 2
COVERED = 2 * stats.norm.cdf(2) - 1


def off_grid(model: str, family: Family, half: str) -> tuple[TableOracle, Scenario]:
    """The table, and the scenario in which its axes can be asked for freely."""
    path = table_path(model, family.name, half)
    levels = read_table(path).about["levels"]
    columns = []
    for axis, values in levels.items():
        scale = "ordinal" if axis == "bits" else "linear" if axis in ("snr_db", "gain") else "log"
        columns.append(Column(axis, "", float(values[0]), float(values[-1]), scale))
    channel = family.channel
    if family.name == "erasure-packet":  # measured by outage, asked for by the loss itself
        channel = replace(channel, kind="erasure", unit="packet")
    problem = scenario("equalised", channel=channel, context=tuple(columns))
    return TableOracle.load(model, problem, half), problem


def validate(model: str, family: Family, half: str, points: int, tokens: int, store: Any) -> list[dict[str, float]]:
    """One record per point."""
    table, problem = off_grid(model, family, half)
    columns = problem.columns(table.n_layers)
    rng = np.random.default_rng([SEED, list(FAMILIES).index(family.name)])
    X = np.column_stack([column.sample(points, rng) for column in columns])
    oracle = PerplexityOracle.load(model, problem, part=half)
    seeds = SEED + np.arange(points)
    ledger = Ledger(oracle, store)
    found = ledger.measure(X, seeds=seeds, size=tokens, purpose="audit")
    live, live_error = found.mean, found.std_error
    mean, error = table.expected(X, exact=True)
    joint = np.hypot(live_error, error)
    n_live, n_table = tokens // problem.window, len(table.table.windows)
    freedom = joint**4 / (live_error**4 / (n_live - 1) + error**4 / (n_table - 1))
    z = (live - mean) / joint
    limit = stats.t.ppf((1 + COVERED) / 2, freedom)
    return [
        {
            "split": float(X[i, 0]),
            **{c.name: float(x) for c, x in zip(columns[1:], X[i, 1:], strict=True)},
            "live": float(live[i]),
            "live_std_error": float(live_error[i]),
            "table": float(mean[i]),
            "table_std_error": float(error[i]),
            "z": float(z[i]),
            "limit": float(limit[i]),
        }
        for i in range(points)
    ]


def live_tokens(model: str, family: str, half: str) -> int:
    """Tokens of one live evaluation: many where they are cheap, else as many as the table has, but at least 2,048."""
    if model.startswith("tiny-"):
        return 8192
    return max(2048, int(read_table(table_path(model, family, half)).about["tokens"]))


def verdict(records: list[dict[str, float]]) -> dict[str, Any]:
    """What must hold of a family, all models together."""
    names = ("z", "limit", "live", "live_std_error", "table", "table_std_error")
    z, limit, truth, live_error, table, error = (np.array([r[name] for r in records]) for name in names)
    joint = np.hypot(live_error, error)
    n, covered = len(records), int((np.abs(z) <= limit).sum())
    p = float(stats.binomtest(covered, n, 0.9, alternative="less").pvalue)
    relative = float(np.median(joint / np.maximum(0.02, 0.1 * np.abs(truth))))
    share = float(np.mean(error**2 / joint**2))
    return {
        "points": n,
        "coverage": covered / n,
        "p_below_90": p,
        "mean_z": float(z.mean()),
        "mean_z_noise": float(np.sqrt(1 / n + share)),
        "table_share": share,
        "median_joint_std_error": float(np.median(joint)),
        "median_error_over_allowed": relative,
        "max_abs_difference": float(np.abs(truth - table).max()),
        "holds": bool(p >= 0.01 and abs(z.mean()) <= 0.3 and relative <= 1),
    }


def markdown(found: dict[str, dict[str, Any]], half: str) -> str:
    """The validation table."""
    lines = [
        "# Off-grid truth of the measured tables",
        "",
        f"By `python benchmarks/validate_tables.py`: the {half} tables against fresh live evaluations of as many "
        "tokens as stand below. Must hold: coverage not significantly below 90 % (binomial, 1 %), |mean z| ≤ 0.3, "
        "median joint standard "
        "error ≤ max(0.02 nats, 10 % of the damage), that is a ratio ≤ 1. In brackets after mean z: its standard "
        "deviation if the table is right, at most (the points of one table share its windows).",
        "",
        "| family | models | points | coverage | p | mean z | median joint error (nats) | ratio | holds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, family in found.items():
        v = family["pooled"]
        lines.append(
            f"| {name} | {', '.join(family['models'])} | {v['points']} | {v['coverage']:.3f} | {v['p_below_90']:.2f} "
            f"| {v['mean_z']:+.2f} ({v['mean_z_noise']:.2f}) | {v['median_joint_std_error']:.4f} "
            f"| {v['median_error_over_allowed']:.2f} | {'yes' if v['holds'] else '**no**'} |"
        )
    lines += [
        "",
        "By model:",
        "",
        "| family | model | live tokens | coverage | mean z | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for name, family in found.items():
        for model, one in family["models"].items():
            v = one["verdict"]
            figures = f"{v['coverage']:.3f} | {v['mean_z']:+.2f} | {v['median_error_over_allowed']:.2f}"
            lines.append(f"| {name} | {model} | {one['tokens']} | {figures} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["tiny-llama", "tiny-gpt2", "smollm2-135m"])
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument("--half", default="judge", choices=["judge", "replay"])
    parser.add_argument("--points", type=int, default=60)
    parser.add_argument("--tokens", type=int, help="per point; default: see live_tokens")
    parser.add_argument("--store", type=Path, default=Path("runs/validation.sqlite"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "landscape")
    args = parser.parse_args()
    args.store.parent.mkdir(parents=True, exist_ok=True)
    store = open_store(args.store)
    found: dict[str, dict[str, Any]] = {}
    for name in args.families:
        models = {}
        for model in args.models:
            if not table_path(model, name, args.half).is_file():
                print(f"{name}, {model}: no table yet", flush=True)
                continue
            try:
                tokens = args.tokens or live_tokens(model, name, args.half)
                records = validate(model, FAMILIES[name], args.half, args.points, tokens, store)
            except InvalidInputError as error:
                print(f"{name}, {model}: {error}", flush=True)
                continue
            models[model] = {"tokens": tokens, "verdict": verdict(records), "points": records}
            print(f"{name}, {model}: {models[model]['verdict']}", flush=True)
        if models:
            found[name] = {"models": models}
    if not found:
        raise SystemExit("no table to validate: benchmarks/measure_tables.sh makes them")
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "validation.json"
    earlier = json.loads(file.read_text()) if file.is_file() else {}
    if earlier.get("half") != args.half:
        earlier = {"families": {}}
    # Models and families are validated as their tables come: what was found earlier stays.
    found = joined(earlier["families"], found)
    text = markdown(found, args.half)
    file.write_text(json.dumps({"half": args.half, "families": found}, indent=1) + "\n")
    (args.out / "validation.md").write_text(text)
    print(text)


def joined(earlier: dict[str, dict[str, Any]], found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Both, what was found now in place of what it replaces; families in their usual order."""
    families = {}
    for name in (f for f in FAMILIES if f in earlier or f in found):
        models = {**earlier.get(name, {}).get("models", {}), **found.get(name, {}).get("models", {})}
        every = [r for m in models.values() for r in m["points"]]
        families[name] = {"pooled": verdict(every), "models": models}
    return families


if __name__ == "__main__":
    main()
