"""What the runs of surrogates.py say: summary.json, summary.md, claims.md and three figures, beside runs.jsonl.

    python benchmarks/surrogates_report.py [--out benchmarks/results/surrogates]

A claim about coverage pools seeds and n of at least 100; one about regret takes the mean over the seeds that all
compared surrogates have finished, and says how many.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from surrogates import SUITE, read_runs, write

from mbrl_split.bench.figures import COLOURS, STYLE, to_svg
from mbrl_split.bench.printed import difference, quotient

SHOWN = ("rmse", "nll", "crps", "coverage", "low", "middle", "high", "regret")
SECONDS = ("fit_cpu_seconds", "predict_cpu_seconds")
MAIN = ("gp", "mlp", "ensemble", "xgboost")
PARTS = ("low", "middle", "high")
STRUCTURES = {
    "none: one row per evaluation": ("gp", "plain"),
    "windows on σ/h, one curve per split": ("gp-per-split", "windows"),
    "windows, smooth in depth": ("gp-not-monotone", "windows"),
    "windows, smooth, monotone": ("gp", "windows"),
}
Run = dict[str, Any]
Who = tuple[str, str]  # surrogate, rows


class Runs:
    """Finished runs of one model, by surrogate and n."""

    def __init__(self, runs: list[Run]) -> None:
        self.by: dict[tuple[Who, int], dict[int, Run]] = defaultdict(dict)
        for run in runs:
            self.by[(run["surrogate"], run["rows"]), run["n"]][run["seed"]] = run
        self.ours = {(run["surrogate"], run["rows"]) for run in runs if run["ours"]}
        self.peers = {(run["surrogate"], run["rows"]) for run in runs} - self.ours

    def sizes(self, who: Who) -> list[int]:
        return sorted(n for other, n in self.by if other == who)

    def mean(self, who: Who, n: int, key: str, seeds: set[int] | None = None) -> float:
        found = self.by[who, n]
        return float(np.mean([run[key] for seed, run in found.items() if seeds is None or seed in seeds]))

    def shared(self, cells: list[tuple[Who, int]]) -> set[int]:
        """Seeds that every cell has finished."""
        return set.intersection(*(set(self.by[cell]) for cell in cells))


def coverage(runs: Runs, who: Who) -> list[float] | None:
    """Overall and by tercile, pooled over seeds and n of at least 100; and how many runs."""
    found = [run for n in runs.sizes(who) if n >= 100 for run in runs.by[who, n].values()]
    if not found:
        return None
    return [*(float(np.mean([run[key] for run in found])) for key in ("coverage", *PARTS)), len(found)]


def coverage_table(models: dict[str, Runs]) -> list[str]:
    lines = [
        "| model | surrogate | rows | runs | coverage | low, middle, high damage | within bounds |",
        "|---|---|---|---|---|---|---|",
    ]
    for model, runs in models.items():
        for who in [(name, rows) for rows in ("plain", "windows") for name in MAIN]:
            found = coverage(runs, who)
            if found is None:
                continue
            overall, *parts, count = found
            held = 0.85 <= overall <= 0.95 and all(0.80 <= p <= 0.97 for p in parts)
            shown = ", ".join(f"{100 * p:.1f}" for p in parts)
            verdict = "yes" if held else "no"
            lines.append(f"| {model} | {who[0]} | {who[1]} | {count} | {100 * overall:.1f} % | {shown} | {verdict} |")
    return lines


def crps_table(models: dict[str, Runs]) -> list[str]:
    """Each main surrogate against the best peer that is given the same rows."""
    lines = [
        "| model | n | rows | best peer, CRPS | gp | mlp | ensemble | xgboost |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for model, runs in models.items():
        for n in (100, 300, 1000):
            for rows in ("plain", "windows"):
                peers = [w for w in runs.peers if w[1] == rows and n in runs.sizes(w)]
                ours = [(name, rows) for name in MAIN if n in runs.sizes((name, rows))]
                if not peers or not ours:
                    continue
                seeds = runs.shared([(w, n) for w in peers + ours])
                if not seeds:
                    continue
                best = min(peers, key=lambda w: runs.mean(w, n, "crps", seeds))
                least = f"{runs.mean(best, n, 'crps', seeds):.4f}"
                shown = []
                for name in MAIN:
                    crps = f"{runs.mean((name, rows), n, 'crps', seeds):.4f}" if (name, rows) in ours else ""
                    more = quotient(difference(crps, least, ".4f"), least, "+.0%").replace("%", " %")
                    shown.append(crps and f"{crps} ({more})")
                head = f"| {model} | {n} ({len(seeds)} seeds) | {rows} | {best[0]}, {least} |"
                lines.append(f"{head} {' | '.join(shown)} |")
    return lines


def regret_table(models: dict[str, Runs]) -> list[str]:
    """How few evaluations the GP on windows needs to match the best peer of each kind at n = 300."""
    lines = [
        "| model | peers given | best at n = 300 | its regret | ours at 100 | at 200 | fewest that match | asked |",
        "|" + "---|" * 8,
    ]
    who = ("gp", "windows")
    for model, runs in models.items():
        for rows, asked in (("plain", 100), ("windows", 200)):
            peers = [w for w in runs.peers if w[1] == rows and 300 in runs.sizes(w)]
            sizes = [n for n in runs.sizes(who) if n <= 300]
            if not peers or not sizes:
                continue
            seeds = runs.shared([*((w, 300) for w in peers), *((who, n) for n in sizes)])
            if not seeds:
                continue
            best = min(peers, key=lambda w: runs.mean(w, 300, "regret", seeds))
            target = runs.mean(best, 300, "regret", seeds)
            own = {n: runs.mean(who, n, "regret", seeds) for n in sizes}
            fewest = next((str(n) for n in sizes if own[n] <= target), "more than 300")
            kind = "plain rows" if rows == "plain" else "the same windows"
            at = [f"{own[n]:.4f}" if n in own else "" for n in (100, 200)]
            head = f"| {model} ({len(seeds)} seeds) | {kind} | {best[0]} | {target:.4f} |"
            lines.append(f"{head} {at[0]} | {at[1]} | {fewest} | {asked} |")
    return lines


def panels(models: dict[str, Runs]) -> tuple[Figure, list[Axes]]:
    figure, axes = plt.subplots(1, len(models), figsize=(4.6 * len(models), 4.2), sharey=True, squeeze=False)
    for panel, model in zip(axes[0], models, strict=True):
        panel.set_title(model, fontsize=11)
    return figure, list(axes[0])


def line(panel: Axes, runs: Runs, who: Who, **look: Any) -> None:
    sizes = runs.sizes(who)
    panel.plot(sizes, [max(runs.mean(who, n, "regret"), 1e-4) for n in sizes], **look)


def logarithmic(axes: list[Axes]) -> None:
    for panel in axes:
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xticks([30, 100, 300, 1000], ["30", "100", "300", "1,000"])
        panel.minorticks_off()
        panel.set_xlabel("true evaluations")
    axes[0].set_ylabel("normalised regret of the decisions")


def legend(figure: Figure, axes: list[Axes]) -> None:
    figure.legend(
        *axes[0].get_legend_handles_labels(), fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=3
    )


def regret_figure(models: dict[str, Runs]) -> str:
    figure, axes = panels(models)
    for panel, runs in zip(axes, models.values(), strict=True):
        for k, who in enumerate(sorted(runs.peers)):
            style = "-" if who[1] == "windows" else ":"
            label = {"windows": "peers, windows", "plain": "peers, plain rows"}[who[1]]
            first = not any(w[1] == who[1] for w in sorted(runs.peers)[:k])
            line(panel, runs, who, color="#999999", ls=style, lw=1, label=label if first else None)
        for name, colour in zip(MAIN, COLOURS, strict=False):
            line(panel, runs, (name, "plain"), color=colour, ls=":", marker="o", ms=4)
            line(panel, runs, (name, "windows"), color=colour, marker="o", ms=4, label=f"{name}, windows")
    logarithmic(axes)
    legend(figure, axes)
    return to_svg(figure)


def structure_figure(models: dict[str, Runs]) -> str:
    figure, axes = panels(models)
    for panel, runs in zip(axes, models.values(), strict=True):
        for (label, who), colour in zip(STRUCTURES.items(), COLOURS, strict=False):
            line(panel, runs, who, color=colour, marker="o", ms=4, label=label)
    logarithmic(axes)
    legend(figure, axes)
    return to_svg(figure)


def coverage_figure(models: dict[str, Runs]) -> str:
    figure, axes = panels(models)
    for panel, runs in zip(axes, models.values(), strict=True):
        panel.axhspan(80, 97, color="#0072B2", alpha=0.08)
        panel.axhline(90, color="#555555", lw=1)
        labels = []
        for rows in ("plain", "windows"):
            for name in MAIN:
                found = coverage(runs, (name, rows))
                if found is None:
                    continue
                for k, (value, mark) in enumerate(zip(found[1:4], "v_^", strict=True)):
                    known = None if labels else f"{PARTS[k]} damage"
                    x = len(labels) + 0.2 * (k - 1)
                    panel.plot(x, 100 * value, mark, color=COLOURS[k], label=known, ls="", ms=6, mew=2)
                labels.append(f"{name}, {rows}")
        panel.set_xticks(range(len(labels)), labels, rotation=40, ha="right", fontsize=8)
    axes[0].set_ylabel("coverage of a nominal 90 %")
    axes[0].legend(fontsize=8)
    return to_svg(figure)


def summary(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over seeds, with the standard error of the regret."""
    cells = defaultdict(list)
    for run in runs:
        cells[run["model"], run["n"], run["surrogate"], run["rows"]].append(run)
    out = []
    for (model, n, name, rows), found in sorted(cells.items()):
        means = {key: float(np.mean([r[key] for r in found])) for key in SHOWN}
        # Processor seconds: not every run has them.
        means |= {key: mean_or_none([r[key] for r in found if key in r]) for key in SECONDS}
        spread = float(np.std([r["regret"] for r in found], ddof=1) / np.sqrt(len(found))) if len(found) > 1 else None
        row = {"model": model, "n": n, "surrogate": name, "rows": rows, "ours": found[0]["ours"], "seeds": len(found)}
        out.append({**row, **means, "regret_std_error": spread})
    return out


def mean_or_none(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def markdown(rows: list[dict[str, Any]]) -> str:
    """One table per model and n, best regret first."""
    lines = ["# Surrogates and peers", "", "`python benchmarks/surrogates.py`; means over seeds. Ours in bold.", ""]
    cells = defaultdict(list)
    for row in rows:
        cells[row["model"], row["n"]].append(row)
    for (model, n), found in cells.items():
        lines += [f"## {model}, {n} true evaluations", ""]
        lines.append(
            "| surrogate | rows | seeds | regret | RMSE | NLL | CRPS | coverage | low, middle, high | fit, CPU s |"
        )
        lines.append("|---|---|---|---|---|---|---|---|---|---|")
        for r in sorted(found, key=lambda r: r["regret"]):
            name = f"**{r['surrogate']}**" if r["ours"] else r["surrogate"]
            error = "" if r["regret_std_error"] is None else f" ± {r['regret_std_error']:.3f}"
            fit = "" if r["fit_cpu_seconds"] is None else f"{r['fit_cpu_seconds']:.2f}"
            parts = ", ".join(f"{100 * r[key]:.0f}" for key in ("low", "middle", "high"))
            lines.append(
                f"| {name} | {r['rows']} | {r['seeds']} | {r['regret']:.3f}{error} | {r['rmse']:.4f} | {r['nll']:.2f} "
                f"| {r['crps']:.4f} | {100 * r['coverage']:.1f} % | {parts} | {fit} |"
            )
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/surrogates"))
    out = parser.parse_args().out
    by_model: dict[str, list[Run]] = defaultdict(list)
    every = read_runs(out / "runs.jsonl")
    rows = summary(every)
    suite = yaml.safe_load(SUITE.read_text(encoding="utf-8"))
    write(out / "summary.json", json.dumps({"suite": suite, "rows": rows}, indent=1) + "\n")
    write(out / "summary.md", markdown(rows))
    for run in every:
        by_model[run["model"]].append(run)
    models = {model: Runs(runs) for model, runs in by_model.items()}
    text = [
        "# What holds",
        "",
        "`python benchmarks/surrogates_report.py`, from the runs in `benchmarks/results/surrogates/runs.jsonl`.",
        "",
        "**Coverage of one fresh true evaluation**, nominal 90 %, at n ≥ 100: asked are 85 to 95 % overall and 80 to "
        "97 % in each tercile of predicted damage.",
        "",
        *coverage_table(models),
        "",
        "**CRPS** against the best peer that is given the same rows; asked is no more than 5 % above it.",
        "",
        *crps_table(models),
        "",
        "**Decision regret**: the fewest evaluations at which the GP on windows does as well as the best peer at 300.",
        "",
        *regret_table(models),
    ]
    write(out / "claims.md", "\n".join(text) + "\n")
    with mpl.rc_context(STYLE):
        write(out / "regret.svg", regret_figure(models))
        write(out / "structure.svg", structure_figure(models))
        write(out / "coverage.svg", coverage_figure(models))


if __name__ == "__main__":
    main()
