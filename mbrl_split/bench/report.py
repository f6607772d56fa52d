"""What a suite found: a table for the terminal, one self-contained HTML page, the same as Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from mbrl_split import __version__
from mbrl_split.bench import figures
from mbrl_split.bench.comparison import Duel, Price, duels, learners, on_truth, prices, subject, without_rl
from mbrl_split.bench.results import REACH, fixed_regret, worth_a_price, write_text

HEADS = ("method", "regret", "95 % interval", "worst seed", "true evaluations", "seconds of truth", "training seconds")
SHORT_HEADS = ("method", "regret", "95 % CI", "worst", "truths", "truth s", "train s")  # 80 columns hold these
PRICE_HEADS = ("method", "seeds that hold it", "true evaluations", "seconds")
DUEL_HEADS = ("method", "difference", "95 % interval", "p", "P", "verdict")
PROTOCOL = (
    "One true evaluation is the NLL of a scenario's number of scored tokens, in windows of which the first token is "
    "context, with one channel draw per window, in one batch on one thread. Each clean "
    "reference window is charged once. Policies are judged on other documents and other channel seeds than they "
    "learnt from; judging is declared, not charged. Regret is the optimum minus what the policy earns, in units of "
    "the contextual headroom (optimum minus the best fixed split): 0 is optimal, 1 is no better than always cutting "
    "at the best fixed layer. Where the headroom is less than ten of its standard errors, regret is in reward per "
    "step. Figures are interquartile means over seeds; intervals are given from ten seeds on."
)


def problems(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """The (scenario, model) pairs of a summary, in order."""
    return list(dict.fromkeys((r["scenario"], r["model"]) for r in summary["rows"]))


def rows_of(summary: dict[str, Any], scenario: str, model: str) -> list[dict[str, Any]]:
    return [r for r in summary["rows"] if (r["scenario"], r["model"]) == (scenario, model)]


def cells(row: dict[str, Any]) -> list[str]:
    """One row of the table as text, in the order of ``HEADS``."""
    if "regret" not in row:
        return [row["algorithm"], "failed", "", "", "", "", ""]
    failed = f" ({len(row['failed'])} of {row['seeds']} failed)" if row.get("failed") else ""
    several = row["seeds"] > 1 and row["true_evaluations"] > 0
    digits = _digits(row["regret_unit"])
    ends = [f"{end:z.{digits}f}" for end in row["regret_ci"] or ()]
    mark = "" if row["converged"] else " (not converged)"
    return [
        row["algorithm"] + mark + failed,
        f"{row['regret']:z.{digits}f}",
        " – ".join(ends) if ends and several else "–",
        f"{row['regret_worst']:z.{digits}f}" if several else "–",
        f"{row['true_evaluations']:,.0f}",
        f"{row['oracle_seconds']:,.1f}",
        f"{row['train_seconds']:,.1f}",
    ]


def _digits(unit: str) -> int:
    """Digits after the point that tell regrets apart: what is lost in reward is some hundredths."""
    return 3 if unit == "headroom" else 4


def sentence(rows: list[dict[str, Any]], reference: dict[str, Any]) -> str:
    """What the comparison shows, derived from its numbers and from nothing else."""
    best = subject(rows)
    fixed, blur = fixed_regret(reference)
    normalised = reference["regret_unit"] == "headroom"
    unit = "of the headroom" if normalised else "reward a step"
    z = "z.2f" if normalised else "z.3f"
    parts = []
    if best is not None:
        most = best["regret"] if best["regret_ci"] is None else best["regret_ci"][1]
        verdict = "beats" if most < fixed - blur else "does not beat"
        way = "Planning" if best["kind"] == "planning" else "RL"
        parts.append(
            f"{way} on a surrogate ({best['algorithm']}) {verdict} the best fixed split, at {best['regret']:{z}} "
            f"{unit} lost with {best['true_evaluations']:,.0f} true evaluations"
        )
        if truth := [r for r in learners(rows) if on_truth(r)]:
            other = min(truth, key=lambda r: r["regret"])
            state = "" if other["converged"] else " and has not converged"
            parts.append(
                f"RL on the truth ({other['algorithm']}) loses {other['regret']:{z}} with "
                f"{other['true_evaluations']:,.0f}{state}"
            )
        if plain := [r for r in learners(rows) if without_rl(r)]:
            rival = min(plain, key=lambda r: r["regret"])
            close = abs(best["regret"] - rival["regret"]) < max(0.02 * fixed, blur)
            relation = "ties it" if close else _relation(rows, best, rival)
            parts.append(
                f"without any RL, {rival['algorithm']} {relation} at {rival['regret']:{z}} with "
                f"{rival['true_evaluations']:,.0f}"
            )
    text = "; ".join(parts) or "No agent learns by trial here"
    if not normalised:
        text += f" (of {fixed:{z}} that the best fixed split loses; the headroom is not ten standard errors wide)"
    return text + "."


def _relation(rows: list[dict[str, Any]], best: dict[str, Any], rival: dict[str, Any]) -> str:
    """How the rival stands to the best row, by the same test as the table of differences."""
    verdict = next((d.verdict for d in duels(rows, best) if d.algorithm == rival["algorithm"]), "too few seeds")
    words = {"better": "trails it", "worse": "beats it", "tie": "ties it"}
    return words.get(verdict, "is not told apart from it (too few seeds)")


def price_caption(reference: dict[str, Any]) -> str:
    """What the table of prices prices."""
    target = f"a regret of {REACH}"
    if reference["regret_unit"] != "headroom":
        lost = REACH * fixed_regret(reference)[0]
        target = f"a loss of {lost:.4f} reward per step, {REACH} of the estimated headroom"
    return f"To first reach, and hold, {target} (median over seeds; seconds of truth and training)"


def price_cells(price: Price) -> list[str]:
    """One row of the table of prices, in the order of ``PRICE_HEADS``."""
    amounts = [f"{x:,.0f}" if np.isfinite(x) else "never" for x in (price.evaluations, price.seconds)]
    return [price.algorithm, f"{price.held} of {price.seeds}", *amounts]


def duel_cells(duel: Duel, unit: str) -> list[str]:
    """One row of the comparison, in the order of ``DUEL_HEADS``."""
    d, digits = duel.difference, _digits(unit)
    interval = "–" if d.low is None or d.high is None else f"{d.low:+.{digits}f} – {d.high:+.{digits}f}"
    return [
        duel.algorithm,
        f"{d.value:+.{digits}f}",
        interval,
        f"{duel.p:.3f}",
        f"{duel.improvement:.2f}",
        duel.verdict,
    ]


def print_table(summary: dict[str, Any], console: Console | None = None) -> None:
    """The result on a terminal."""
    console = console or Console(width=None)
    for scenario, model in problems(summary):
        rows = rows_of(summary, scenario, model)
        reference = summary["references"][f"{scenario}/{model}"]
        table = Table(title=f"{scenario} on {model}", title_justify="left", box=None, header_style="bold")
        shown = [cells(row) for row in rows]
        for index, (head, *column) in enumerate(zip(SHORT_HEADS, *shown, strict=True)):
            # Where a terminal is too narrow, names go on in the next line and numbers stay whole.
            width = max(map(len, (head, *column))) if index else None
            table.add_column(
                head, justify="right" if index else "left", no_wrap=index > 0, min_width=width, overflow="fold"
            )
        for row in shown:
            table.add_row(*row)
        console.print(table)
        console.print("truths: true evaluations paid for; truth s, train s: seconds of each")
        console.print(
            f"headroom {reference['headroom']:.3f} ± {reference['headroom_std_error']:.3f} "
            f"(best fixed split {reference['best_fixed_split']})"
        )
        console.print(sentence(rows, reference), soft_wrap=True)


def comparison(rows: list[dict[str, Any]]) -> tuple[str, list[list[str]]] | None:
    """Every learner against the best model-based one: a caption, and the table's cells; None without one."""
    best = subject(rows)
    found = duels(rows, best) if best else []
    if best is None or not found:
        return None
    caption = (
        f"Difference: regret minus that of {best['algorithm']}, paired by seed; p: sign flips, Holm-adjusted over "
        f"this table; P: chance that a run of {best['algorithm']} loses less. It was chosen here for its regret, which "
        "flatters it a little."
    )
    return caption, [duel_cells(d, best["regret_unit"]) for d in found]


def to_markdown(summary: dict[str, Any]) -> str:
    """The same tables as Markdown."""
    lines = [f"# {summary['title']}", "", f"`{summary['command']}`", ""]
    for scenario, model in problems(summary):
        rows = rows_of(summary, scenario, model)
        reference = summary["references"][f"{scenario}/{model}"]
        lines += [f"## {scenario} on {model}", "", sentence(rows, reference), ""]
        lines += _table(HEADS, [cells(row) for row in rows])
        half = reference.get("half", "judge")
        lines += [
            f"Headroom {reference['headroom']:.4f} ± {reference['headroom_std_error']:.4f} (standard error); "
            f"judged on the {half} half.",
            "",
        ]
        if worth_a_price(reference) and (found := prices(rows)):
            lines += [f"{price_caption(reference)}:", "", *_table(PRICE_HEADS, [price_cells(p) for p in found])]
        if against := comparison(rows):
            lines += [against[0], "", *_table(DUEL_HEADS, against[1])]
    return "\n".join(lines)


def _table(heads: Sequence[str], rows: list[list[str]]) -> list[str]:
    """Lines of a Markdown table, with an empty one after it."""
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def write_report(summary: dict[str, Any], points: pd.DataFrame, path: Path) -> None:
    """One self-contained page; its links lead to the runs' folders beside it. Its figures are files too."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mbrl_split.bench"),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    shown = [_problem(summary, points, s, m) for s, m in problems(summary)]
    (path.parent / "figures").mkdir(exist_ok=True)
    for problem in shown:
        for figure in problem["figures"]:
            name = f"{problem['scenario']}-{problem['model']}-{figure['name']}.svg"
            write_text(path.parent / "figures" / name, figure["svg"])
    page = environment.get_template("report.html").render(
        version=__version__,
        name=summary["suite"],
        title=summary["title"],
        command=summary["command"],
        protocol=PROTOCOL,
        versions=", ".join(f"{k} {v}" for k, v in summary["versions"].items()),
        heads=HEADS,
        problems=shown,
        groups=[_group(summary, row) for row in summary["rows"]],
    )
    write_text(path, page)


def _anchor(row: dict[str, Any]) -> str:
    return f"{row['scenario']}-{row['model']}-{row['algorithm']}"


def _problem(summary: dict[str, Any], points: pd.DataFrame, scenario: str, model: str) -> dict[str, Any]:
    rows = rows_of(summary, scenario, model)
    reference = summary["references"][f"{scenario}/{model}"]
    mine = points[(points["scenario"] == scenario) & (points["model"] == model)]
    shown = [
        {
            "name": "curves",
            "svg": figures.regret_by_truth(mine, rows, reference["regret_unit"]),
            "caption": "Regret against true evaluations. Bold: the median over seeds; faint: every seed. Horizontal "
            "lines are exact references that pay for no truth.",
        },
        {
            "name": "seconds",
            "svg": figures.regret_by_seconds(mine, rows, reference["regret_unit"]),
            "caption": "The same against seconds: of truth, as they were counted, and of truth and training together.",
        },
    ]
    if reference.get("landscape"):
        shown.insert(
            0,
            {
                "name": "damage",
                "svg": figures.damage_by_split(reference["landscape"]),
                "caption": "What the channel does at every split, measured (bars: 95 % intervals). "
                + reference["landscape"]["caption"],
            },
        )
    against = comparison(rows)
    tables = []
    if worth_a_price(reference) and (found := prices(rows)):
        shown.append(
            {
                "name": "profile",
                "svg": figures.profile(rows, reference["regret_unit"], fixed_regret(reference)[0]),
                "caption": "The share of runs that lose less than a given regret: further up is better.",
            }
        )
        tables.append(
            {"caption": f"{price_caption(reference)}.", "heads": PRICE_HEADS, "rows": [price_cells(p) for p in found]}
        )
    if against:
        tables.append({"caption": against[0], "heads": DUEL_HEADS, "rows": against[1]})
    failures = [f"{f['run']}: {f['error']}" for r in rows for f in r.get("failed", [])]
    return {
        "scenario": scenario,
        "model": model,
        "sentence": sentence(rows, reference),
        "figures": shown,
        "table": [{"cells": cells(r), "anchor": _anchor(r)} for r in rows],
        "tables": tables,
        "notes": [
            f"Contextual headroom {reference['headroom']:.4f} ± {reference['headroom_std_error']:.4f} reward per step; "
            f"optimum {reference['optimal']:.3f}, best fixed split ({reference['best_fixed_split']}) "
            f"{reference['best_fixed']:.3f}; {reference['contexts']:,} held-out contexts.",
            *(f"{who}: {reference['protocol'][who]}." for who in reference.get("protocol", ())),
            *failures,
        ],
    }


def _group(summary: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    by_seed = {
        str(seed): (f"{regret:.4f}", f"{paid:,.0f}")
        for seed, regret, paid in zip(
            row.get("regret_seeds", ()), row.get("regret_by_seed", ()), row.get("truths_by_seed", ()), strict=True
        )
    }
    runs = []
    for folder in row["runs"]:
        seed = folder.rsplit("-", 2)[1].removeprefix("s")
        regret, truth = by_seed.get(seed, ("failed", "–"))
        runs.append({"folder": folder, "seed": seed, "regret": regret, "truth": truth})
    shown = {k: row[k] for k in ("agent", "source", "schedule", "acquisition", "baseline", "budget")}
    return {
        "anchor": _anchor(row),
        "label": f"{row['algorithm']} · {row['scenario']} on {row['model']}",
        "runs": runs,
        "command": f"{summary['command']} --only {row['scenario']}/{row['algorithm']}",
        "spec": json.dumps(shown),
    }
