"""The README's tables are committed results, number by number."""

import json
import re

from mbrl_split.bench.comparison import prices
from mbrl_split.bench.report import cells, price_cells

from .pages import ROOT


def test_the_demo_s_table_is_the_committed_one() -> None:
    summary = json.loads((ROOT / "benchmarks" / "results" / "demo" / "summary.json").read_text())
    readme = (ROOT / "README.md").read_text()
    block = readme.split("<!-- demo -->")[1].split("<!-- /demo -->")[0]
    shown = [line.split() for line in block.splitlines()]
    for row in summary["rows"]:
        assert " ".join(cells(row)).split() in shown, row["algorithm"]


def test_the_prices_are_the_headline_suite_s() -> None:
    summary = json.loads((ROOT / "benchmarks" / "results" / "rl_vs_mbrl" / "summary.json").read_text())
    rows = [r for r in summary["rows"] if (r["scenario"], r["model"]) == ("equalised", "smollm2-135m")]
    found = {p.algorithm: price_cells(p)[2] for p in prices(rows) if p.seeds == 10}
    block = (ROOT / "README.md").read_text().split("<!-- prices -->")[1].split("<!-- /prices -->")[0]
    shown = re.findall(r"\(`(.+?)`\) \| ([\d,]+) \|", block)
    assert len(shown) == 6
    for algorithm, price in shown:
        assert found[algorithm] == price, algorithm
    # "Best" of its kind, as the page of the suite has it.
    claims = (ROOT / "benchmarks" / "results" / "rl_vs_mbrl" / "claims.md").read_text()
    for algorithm in {a for a, _ in shown} - {"ppo-hats-rounds-50"}:  # which stands there beside its cheaper variant
        assert f"| {algorithm} | " in claims.split("## equalised on smollm2-135m")[1].split("Against")[0]
