"""Does the integral over the fading law agree with fading that is simulated?

    python benchmarks/validate_fading.py [MODEL …] [--tokens 4096] [--store runs/validation.sqlite]

A table is measured without fading, and ``TableOracle.expected`` integrates the Nakagami law over it. Here the gain of
every window is drawn by the live channel, and what the windows then lose is compared with the integral, at
m = 0.5, 1, 2 and 4, three splits and three noises in each model, for the receiver that divides by the gain
(``equalised``) and for the one that does not (``raw``).

Live and integral read the *same* text windows: what is left of the difference is the channel's chance, and a standard
error of the paired difference says how much that may be. It must hold that the mean over the nine points of each m
agrees within two standard errors; all points of one m share their windows, so their differences are averaged window by
window before a standard error is taken.

Few gains say little of a law with rare deep fades, and what they say is skewed. Hence a second comparison: with the
table read *at the gains that were drawn*, which leaves the noise and the table's interpolation alone.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mbrl_split.columns import Column
from mbrl_split.errors import InvalidInputError
from mbrl_split.layer_split import PerplexityOracle, TableOracle, table_path
from mbrl_split.layer_split.scenarios import scenario
from mbrl_split.oracles import Ledger, open_store
from mbrl_split.oracles.store import Store

SHAPES = (0.5, 1.0, 2.0, 4.0)
SCENARIOS = {"equalised": "equalised", "raw": "paper-a"}  # channel family → a scenario that has it
PLACES = (0.15, 0.5, 0.85)  # of the splits, and of the noise range


def compare(model: str, family: str, tokens: int, draws: int, store: Store) -> list[dict[str, float]]:
    """One record per shape m: the mean difference over splits and noises, live minus integral, nats/token."""
    problem = scenario(SCENARIOS[family])
    table = TableOracle.load(model, problem, "judge")
    oracle = PerplexityOracle.load(
        model, replace(problem, name=f"{problem.name} (simulated)"), part="judge", draws=draws
    )
    ledger = Ledger(oracle, store)
    tokens = min(tokens, int(table.table.about["tokens"]))
    columns = table.columns
    names = [column.name for column in columns]
    place = dict(zip(table.table.windows.tolist(), range(len(table.table.windows)), strict=True))
    largest = table.table.about["levels"].get("gain", [20.0])[-1]  # damage is taken as constant beyond it
    gain = Column("gain", "1", 0.0, largest, "linear")
    at_gain = TableOracle(table.table, replace(problem, context=(columns[1], gain), name="at a gain"))
    records = []
    for m in SHAPES:
        rows = []
        for u in PLACES:
            for v in PLACES:
                row = [round(1 + u * (table.n_layers - 2))]
                noise = columns[1]
                row += [float(noise.from_unit(np.array([v]))[0]) if name == "noise" else m for name in names[1:]]
                rows.append(row)
        X = np.array(rows, dtype=np.float64)
        seeds = np.full(len(X), int(table.table.about["seed"]))  # the windows that the table begins with
        found = ledger.measure(X, seeds=seeds, size=tokens * draws, purpose="audit")
        live = found.records.reshape(len(X), draws, -1)
        windows = live["window"][0, 0]
        order = [place[int(w)] for w in windows]
        damage = (live["nll"] - live["clean_nll"]).mean(axis=1)  # (points, windows)
        difference = damage - table.by_window(X)[:, order]
        pooled = difference.mean(axis=0)
        error = float(pooled.std(ddof=1) / np.sqrt(len(pooled)))
        drawn = np.minimum(live["gain"].reshape(-1), largest)
        given = np.column_stack([np.repeat(X[:, :2], draws * len(windows), axis=0), drawn])
        each = np.tile(order, len(X) * draws)
        told = at_gain.by_window(given)[np.arange(len(given)), each].reshape(len(X), draws, -1).mean(axis=1)
        paired = (damage - told).mean(axis=0)
        own = difference.mean(axis=1) / (difference.std(axis=1, ddof=1) / np.sqrt(difference.shape[1]))
        records.append(
            {
                "m": m,
                "points": len(X),
                "windows": len(windows),
                "draws": draws,
                "live": float(damage.mean()),
                "integral": float(table.by_window(X)[:, order].mean()),
                "difference": float(pooled.mean()),
                "std_error": error,
                "z": float(pooled.mean() / error),
                "at_gain": float(paired.mean()),
                "at_gain_std_error": float(paired.std(ddof=1) / np.sqrt(len(paired))),
                "points_within_two": int((np.abs(own) <= 2).sum()),
            }
        )
    return records


def markdown(found: list[dict[str, Any]]) -> str:
    """The comparison as a page."""
    lines = [
        "# Integrated against simulated fading",
        "",
        "By `python benchmarks/validate_fading.py`: mean damage over nine points (three splits, three noises) with "
        "gains drawn by the live channel, and by the tables' integral over the fading law, on the same text windows. "
        "Must hold: within two standard errors. All points, and all m, share the random numbers of their gains and "
        "stray together; at m ≤ 1 rare deep fades carry much of the mean, so that a sample of gains tends to lie below "
        "it. The last column has the same difference with the table read at the gains that were drawn: no chance of "
        "gains is left in it.",
        "",
        "| model | family | windows × draws | m | simulated | integrated | difference (nats/token) | z | points within "
        "their own two | at the gains drawn |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        for r in one["records"]:
            within = f"{r['points_within_two']} of {r['points']}"
            size = f"{r['windows']} × {r['draws']}"
            lines.append(
                f"| {one['model']} | {one['family']} | {size} | {r['m']:g} | {r['live']:.4f} | {r['integral']:.4f} "
                f"| {r['difference']:+.4f} ± {r['std_error']:.4f} | {r['z']:+.1f} | {within} "
                f"| {r['at_gain']:+.4f} ± {r['at_gain_std_error']:.4f} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["tiny-llama", "tiny-gpt2", "smollm2-135m"])
    parser.add_argument("--tokens", type=int, default=4096, help="text per point, at most the table's")
    parser.add_argument("--draws", type=int, default=4, help="channel draws per window")
    parser.add_argument("--store", type=Path, default=Path("runs/validation.sqlite"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "landscape")
    args = parser.parse_args()
    args.store.parent.mkdir(parents=True, exist_ok=True)
    store = open_store(args.store)
    found = []
    for model in args.models:
        for family, name in SCENARIOS.items():
            if not table_path(model, family, "judge").is_file():
                print(f"{model}, {family}: no table yet", flush=True)
                continue
            try:
                records = compare(model, family, args.tokens, args.draws, store)
            except InvalidInputError as error:
                print(f"{model}, {name}: {error}", flush=True)
                continue
            found.append({"model": model, "family": family, "records": records})
            print(f"{model}, {family}: " + ", ".join(f"m {r['m']:g}: z {r['z']:+.1f}" for r in records), flush=True)
    if not found:
        raise SystemExit("no table to compare with: benchmarks/measure_tables.sh makes them")
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "fading.json"
    now = {(one["model"], one["family"]) for one in found}
    earlier = json.loads(file.read_text())["found"] if file.is_file() else []
    found += [one for one in earlier if (one["model"], one["family"]) not in now]
    found.sort(key=lambda one: (not one["model"].startswith("tiny"), one["model"], one["family"]))
    file.write_text(json.dumps({"found": found}, indent=1) + "\n")
    (args.out / "fading.md").write_text(markdown(found))


if __name__ == "__main__":
    main()
