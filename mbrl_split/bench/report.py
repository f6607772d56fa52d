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
from mbrl_split.bench.comparison import PairedComparison, Price, duels, learners, on_truth, prices, subject, without_rl
from mbrl_split.bench.results import REACH, fixed_regret, worth_a_price, write_text

HEADS = ("method", "regret", "95 % interval", "worst seed", "true evaluations", "seconds of truth", "training seconds")
SHORT_HEADS = ("method", "regret", "95 % CI", "worst", "truths", "truth s", "train s")  # 80 columns hold these
PRICE_HEADS = ("method", "seeds that hold it", "true evaluations", "seconds")
DUEL_HEADS = ("method", "difference", "95 % interval", "p", "P", "verdict")
PROTOCOL = (
    "Regret is the optimum minus what the policy earns, in units of the contextual headroom (optimum minus the best "
    "fixed {action}): 0 is optimal, 1 is no better than always choosing the best fixed one. Where the headroom is less "
    "than ten of its standard errors, regret is in reward per step."
)
PROTOCOL_OF_VALUES = "Where no optimum is known, values are given: mean returns of whole episodes."
JUDGED = "Policies are judged in contexts or episodes that no method learns from; judging is declared, not charged."
AVERAGED = "Figures are interquartile means over seeds; intervals are given from ten seeds on."


def problems(summary: dict[str, Any]) -> list[str]:
    """The problems of a summary, in order."""
    return list(dict.fromkeys(r["problem"] for r in summary["rows"]))


def rows_of(summary: dict[str, Any], problem: str) -> list[dict[str, Any]]:
    return [r for r in summary["rows"] if r["problem"] == problem]


def title_of(problem: str) -> str:
    """A problem's label in a title."""
    return problem.replace("/", " on ")


def heads_of(rows: Sequence[dict[str, Any]], heads: Sequence[str], truths: str) -> list[str]:
    """The heads of a table, in the problem's unit of truth, and for values where regrets are not known."""
    score = "regret" if any("regret" in row for row in rows) else "value"
    words = {"regret": score, "true evaluations": truths}
    return [words.get(head, head) for head in heads]


def cells(row: dict[str, Any]) -> list[str]:
    """One row of the table as text, in the order of ``HEADS``."""
    score = row.get("score")
    if score is None:
        return [row["algorithm"], "failed", "", "", "", "", ""]
    failed = f" ({len(row['failed'])} of {row['seeds']} failed)" if row.get("failed") else ""
    several = row["seeds"] > 1 and row["true_evaluations"] > 0
    digits = _digits(row["regret_unit"]) if score == "regret" else _digits_of(row["value"])
    ends = [f"{end:z.{digits}f}" for end in row[f"{score}_ci"] or ()]
    worst = row["regret_worst"] if score == "regret" else min(row["value_by_seed"])
    mark = "" if row["converged"] else " (not converged)"
    return [
        row["algorithm"] + mark + failed,
        f"{row[score]:z.{digits}f}",
        " – ".join(ends) if ends and several else "–",
        f"{worst:z.{digits}f}" if several else "–",
        f"{row['true_evaluations']:,.0f}",
        f"{row['oracle_seconds']:,.1f}",
        f"{row['train_seconds']:,.1f}",
    ]


def _digits(unit: str) -> int:
    """Digits after the point that tell regrets apart: what is lost in reward is some hundredths."""
    return 3 if unit == "headroom" else 4


def _digits_of(value: float) -> int:
    """Digits after the point that show four figures of a value: its unit may be anything."""
    return int(np.clip(3 - np.floor(np.log10(max(abs(value), 1e-9))), 1, 6))


def sentence(rows: list[dict[str, Any]], reference: dict[str, Any], truths: str = "true evaluations") -> str:
    """What the comparison shows, derived from its numbers and from nothing else.

    Args:
        rows: Of one problem.
        reference: What they were judged by.
        truths: What truth is counted in.
    """
    if "headroom" not in reference:
        return _sentence_of_values(rows, reference, truths)
    best = subject(rows)
    word = reference["action_word"]
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
            f"{way} on a surrogate ({best['algorithm']}) {verdict} the best fixed {word}, at {best['regret']:{z}} "
            f"{unit} lost with {best['true_evaluations']:,.0f} {truths}"
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
        text += f" (of {fixed:{z}} that the best fixed {word} loses; the headroom is not ten standard errors wide)"
    return text + "."


def _sentence_of_values(rows: list[dict[str, Any]], reference: dict[str, Any], truths: str) -> str:
    """The row with the highest value; where no optimum is known only chance is there to beat."""
    ended = learners(rows)
    if not ended:
        return "No agent learns by trial here."
    best = max(ended, key=lambda r: r["value"])
    digits = _digits_of(best["value"])
    text = f"{best['algorithm']} has the highest value, {best['value']:z.{digits}f}, with "
    text += f"{best['true_evaluations']:,.0f} {truths}"
    return text + (f"; acting at random has {reference['random']:z.{digits}f}." if "random" in reference else ".")


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


def duel_cells(duel: PairedComparison, unit: str) -> list[str]:
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
    for problem in problems(summary):
        rows, truths = rows_of(summary, problem), truths_of(summary, problem)
        reference = summary["references"].get(problem, {})
        table = Table(title=title_of(problem), title_justify="left", box=None, header_style="bold")
        shown = [cells(row) for row in rows]
        heads = heads_of(rows, SHORT_HEADS, truths)
        for index, (head, *column) in enumerate(zip(heads, *shown, strict=True)):
            # Where a terminal is too narrow, names go on in the next line and numbers stay whole.
            width = max(map(len, (head, *column))) if index else None
            table.add_column(
                head, justify="right" if index else "left", no_wrap=index > 0, min_width=width, overflow="fold"
            )
        for row in shown:
            table.add_row(*row)
        console.print(table)
        console.print(f"truths: {truths} paid for; truth s, train s: seconds of each")
        if "headroom" in reference:
            console.print(
                f"headroom {reference['headroom']:.3f} ± {reference['headroom_std_error']:.3f} "
                f"(best fixed {reference['action_word']} {reference['best_fixed_action']})"
            )
        console.print(sentence(rows, reference, truths), soft_wrap=True)


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
    for problem in problems(summary):
        rows, truths = rows_of(summary, problem), truths_of(summary, problem)
        reference = summary["references"].get(problem, {})
        lines += [f"## {title_of(problem)}", "", sentence(rows, reference, truths), ""]
        lines += _table(heads_of(rows, HEADS, truths), [cells(row) for row in rows])
        if "headroom" not in reference:
            continue
        half = reference.get("half")
        lines += [
            f"Headroom {reference['headroom']:.4f} ± {reference['headroom_std_error']:.4f} (standard error)"
            + (f"; judged on the {half} half." if half else "."),
            "",
        ]
        if worth_a_price(reference) and (found := prices(rows)):
            heads = heads_of(rows, PRICE_HEADS, truths)
            lines += [f"{price_caption(reference)}:", "", *_table(heads, [price_cells(p) for p in found])]
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
    shown = [_problem(summary, points, problem) for problem in problems(summary)]
    (path.parent / "figures").mkdir(exist_ok=True)
    for problem in shown:
        for figure in problem["figures"]:
            name = f"{problem['label'].replace('/', '-')}-{figure['name']}.svg"
            write_text(path.parent / "figures" / name, figure["svg"])
    page = environment.get_template("report.html").render(
        version=__version__,
        name=summary["suite"],
        title=summary["title"],
        command=summary["command"],
        protocol=_protocol(summary),
        versions=", ".join(f"{k} {v}" for k, v in summary["versions"].items()),
        problems=shown,
        groups=[_group(summary, row) for row in summary["rows"]],
    )
    write_text(path, page)


def _anchor(row: dict[str, Any]) -> str:
    return f"{row['problem'].replace('/', '-')}-{row['algorithm']}"


def truths_of(summary: dict[str, Any], problem: str) -> str:
    """What a problem's truth is counted in, in the plural."""
    return f"{summary['units'][problem]}s"


def _protocol(summary: dict[str, Any]) -> str:
    """How the problems' truth is measured, and what the figures mean."""
    references = list(summary["references"].values())
    own = list(dict.fromkeys(r.get("truth", JUDGED) for r in references))
    words = dict.fromkeys(r["action_word"] for r in references if "headroom" in r)
    regrets = [PROTOCOL.format(action=" or ".join(words))] if words else []
    values = [PROTOCOL_OF_VALUES] if any("headroom" not in r for r in references) else []
    return " ".join([*own, *regrets, *values, AVERAGED])


def _problem(summary: dict[str, Any], points: pd.DataFrame, problem: str) -> dict[str, Any]:
    rows, reference = rows_of(summary, problem), summary["references"].get(problem, {})
    mine = points[points["problem"] == problem]
    unit = reference.get("regret_unit", "value")
    if unit == "headroom":
        unit = f"normalised regret (0 optimal, 1 best fixed {reference['action_word']})"
    elif unit == "reward":
        unit = "regret (reward per step)"
    truths = truths_of(summary, problem)
    score = "regret" if "headroom" in reference else "value"
    shown = []
    if len(mine):
        by_seconds = "The same against seconds: of truth, as they were counted, and of truth and training together."
        if not (mine["oracle_seconds"] > 0).any():
            by_seconds = f"The same against seconds of training; the {truths} came without a time of their own."
        shown = [
            {
                "name": "curves",
                "svg": figures.score_by_truth(mine, rows, score, unit, truths),
                "caption": f"{score.capitalize()} against {truths}. Bold: the median over seeds; faint: every seed. "
                "Horizontal lines are references that pay for no truth.",
            },
            {
                "name": "seconds",
                "svg": figures.score_by_seconds(mine, rows, score, unit),
                "caption": by_seconds,
            },
        ]
    if picture := reference.get("picture"):
        svg = figures.lines(picture)
        shown.insert(0, {"name": picture["name"], "svg": svg, "caption": picture["caption"]})
    against = comparison(rows)
    tables = []
    if "headroom" in reference and worth_a_price(reference) and (found := prices(rows)):
        shown.append(
            {
                "name": "profile",
                "svg": figures.profile(rows, unit, fixed_regret(reference)[0]),
                "caption": "The share of runs that lose less than a given regret: further up is better.",
            }
        )
        tables.append(
            {
                "caption": f"{price_caption(reference)}.",
                "heads": heads_of(rows, PRICE_HEADS, truths),
                "rows": [price_cells(p) for p in found],
            }
        )
    if against:
        tables.append({"caption": against[0], "heads": DUEL_HEADS, "rows": against[1]})
    failures = [f"{f['run']}: {f['error']}" for r in rows for f in r.get("failed", [])]
    notes = []
    if "headroom" in reference:
        notes.append(
            f"Contextual headroom {reference['headroom']:.4f} ± {reference['headroom_std_error']:.4f} reward per step; "
            f"optimum {reference['optimal']:.3f}, best fixed {reference['action_word']} "
            f"({reference['best_fixed_action']}) {reference['best_fixed']:.3f}; "
            f"{reference['contexts']:,} held-out contexts."
        )
    notes += [f"{who}: {said}." for who, said in reference.get("protocol", {}).items()]
    return {
        "label": problem,
        "title": title_of(problem),
        "sentence": sentence(rows, reference, truths),
        "truths": truths,
        "figures": shown,
        "heads": heads_of(rows, HEADS, truths),
        "table": [{"cells": cells(r), "anchor": _anchor(r)} for r in rows],
        "tables": tables,
        "notes": [*notes, *failures],
    }


def _group(summary: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    score = row.get("score", "regret")
    by_seed = {
        str(seed): (f"{value:.4f}", f"{paid:,.0f}")
        for seed, value, paid in zip(
            row.get("regret_seeds", ()), row.get(f"{score}_by_seed", ()), row.get("truths_by_seed", ()), strict=True
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
        "label": f"{row['algorithm']} · {title_of(row['problem'])}",
        "score": score,
        "truths": truths_of(summary, row["problem"]),
        "runs": runs,
        "command": f"{summary['command']} --only {row['problem'].partition('/')[0]}/{row['algorithm']}",
        "spec": json.dumps(shown),
    }
