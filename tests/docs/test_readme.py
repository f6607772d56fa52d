"""The README's tables are committed results, number by number."""

import json
import re
import runpy

import numpy as np
import pandas as pd
import pytest

from mbrl_split.bench.report import cells
from mbrl_split.evaluation import evaluations_to_target

from .pages import ROOT
from .test_figures import INCLUDE


def test_the_demo_s_table_is_the_committed_one() -> None:
    summary = json.loads((ROOT / "benchmarks" / "results" / "demo" / "summary.json").read_text())
    readme = (ROOT / "README.md").read_text()
    block = readme.split("<!-- demo -->")[1].split("<!-- /demo -->")[0]
    shown = [line.split() for line in block.splitlines()]
    for row in summary["rows"]:
        assert " ".join(cells(row)).split() in shown, row["algorithm"]


def test_what_the_first_commands_take_is_measured() -> None:
    results = ROOT / "benchmarks" / "results"
    script = runpy.run_path(str(ROOT / "benchmarks" / "footprint.py"))
    told = script["markdown"](json.loads((results / "footprint.json").read_text()))
    assert told == (results / "footprint.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.split("<!-- footprint -->\n")[1].split("<!-- /footprint -->")[0] == told


def test_the_first_block_is_what_works_today() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    first = readme.split("```\n")[1].splitlines()
    assert [line.split()[:2] for line in first] == [["git", "clone"], ["make", "demo"], ["make", "test"]]


HALVES = {"judge": "rl_vs_mbrl", "lockbox": "lockbox"}
PAGES = {
    "README.md": ("<!-- prices -->", "<!-- /prices -->"),
    "docs/index.md": ("## What a surrogate buys", "## What to trust"),
}


def price(half: str, algorithm: str) -> tuple[str, str]:
    """A row's price and the seeds that hold it by one judge, computed anew from the points of its curves."""
    folder = ROOT / "benchmarks" / "results" / HALVES[half]
    points = pd.read_parquet(folder / "results.parquet")
    reference = json.loads((folder / "summary.json").read_text())["references"]["equalised/smollm2-135m"]
    assert (reference.get("half", "judge"), reference["regret_unit"]) == (half, "headroom")
    mine = points[(points.scenario == "equalised") & (points.model == "smollm2-135m") & (points.algorithm == algorithm)]
    if mine.empty:
        return "not judged", "–"
    reached = []
    for _, curve in mine.groupby("seed"):
        seconds = curve.oracle_seconds + curve.train_seconds
        found = evaluations_to_target(curve.true_evaluations, seconds, curve.regret, 0.1)
        reached.append(np.inf if found is None else found.evaluations)
    return f"{np.median(reached):,.0f}", f"{np.isfinite(reached).sum()} of {len(reached)}"


def shown(page: str) -> str:
    """What a page says of prices, the files that it includes written out."""
    begin, end = PAGES[page]
    block = (ROOT / page).read_text(encoding="utf-8").split(begin)[1].split(end)[0]
    return INCLUDE.sub(lambda found: (ROOT / found[1]).read_text(encoding="utf-8"), block)


@pytest.mark.parametrize("page", PAGES)
def test_the_prices_are_those_of_both_judges(page: str) -> None:
    rows = re.findall(r"\(`(.+?)`\) \| (.+?) \| (.+?) \| (.+?) \| (.+?) \|", shown(page))
    assert len(rows) == 8
    for algorithm, *said in rows:
        assert said == [*price("judge", algorithm), *price("lockbox", algorithm)], algorithm
    unseen = re.search(r"It never judged (.+?),? which", shown(page))[1]
    assert set(re.findall(r"`(.+?)`", unseen)) == {algorithm for algorithm, *_, held in rows if held == "–"}
    # The cheapest of each kind by either judge stands there, as the pages of the suite and of the lockbox have it.
    listed = {algorithm for algorithm, *_ in rows}
    for folder in HALVES.values():
        claims = (ROOT / "benchmarks" / "results" / folder / "claims.md").read_text()
        table = claims.split("## equalised on smollm2-135m")[1].split("Against")[0]
        cheapest = re.findall(r"^\| [^|]+ \| ([\w-]+) \| \d+ of", table, re.MULTILINE)
        assert len(cheapest) == 5
        assert set(cheapest) <= listed
    # What the sentence below the table says of the lockbox is what its rows say.
    by_lockbox = {algorithm: (there, held) for algorithm, _, _, there, held in rows}
    said = re.findall(r"([\d,]+) \((\d+ of \d+) seeds hold it\)", shown(page))
    assert said == [by_lockbox[a] for a in ("ppo-fading-gp-50", "gp-sklearn-windows-short", "argmax-rounds-50")]


@pytest.mark.parametrize("page", PAGES)
def test_the_prices_are_what_the_command_writes(page: str) -> None:
    claims = runpy.run_path(str(ROOT / "benchmarks" / "rl_vs_mbrl_claims.py"))
    lockbox, judge = (
        json.loads((ROOT / "benchmarks" / "results" / HALVES[half] / "summary.json").read_text())
        for half in ("lockbox", "judge")
    )
    assert "\n".join(claims["headline"](lockbox, judge)) in shown(page)
