"""The README's table is the committed result of `make demo`, number by number."""

import json

from mbrl_split.bench.report import cells

from .pages import ROOT


def test_the_demo_s_table_is_the_committed_one() -> None:
    summary = json.loads((ROOT / "benchmarks" / "results" / "demo" / "summary.json").read_text())
    readme = (ROOT / "README.md").read_text()
    block = readme.split("<!-- demo -->")[1].split("<!-- /demo -->")[0]
    shown = [line.split() for line in block.splitlines()]
    for row in summary["rows"]:
        assert " ".join(cells(row)).split() in shown, row["algorithm"]
