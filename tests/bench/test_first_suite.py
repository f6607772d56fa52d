"""The first suite of the page *Write a suite*, as it stands there: it learns, it pays, and learning pays off."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from mbrl_split.bench import load_suite, run_suite, select
from mbrl_split.bench.outcome import conclude

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "suite.md").read_text(encoding="utf-8")


@pytest.fixture
def first(tmp_path: Path) -> Path:
    block = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    path = tmp_path / "first.yaml"
    path.write_text(block[1])
    return path


@pytest.mark.slow
def test_the_first_suite_learns(first: Path, tmp_path: Path) -> None:
    suite, out = load_suite(first), tmp_path / "out"
    assert run_suite(suite, out, select(suite)) == []
    rows = {row["algorithm"]: row for row in conclude(suite, out, "command")["rows"]}

    def records(run: str, kind: str) -> list[dict[str, Any]]:
        lines = (out / "runs" / run / "metrics.jsonl").read_text().splitlines()
        return [r for r in map(json.loads, lines) if r["kind"] == kind]

    for label, least in (("ppo-true", 3), ("ppo-gp", 90)):
        for run in rows[label]["runs"]:
            taught = [r for r in records(run, "train") if r["train/gradient_steps"] > 0]
            assert len(taught) >= least, run
    for run in rows["ppo-gp"]["runs"]:
        assert len(records(run, "refresh")) == 3, "once every 3,000 steps, and not after the last"
        assert sum(r["purpose"] == "refresh" for r in records(run, "truth")) == 3 * 20
    # 1 is what the best fixed split loses.
    assert rows["random"]["regret_mean"] > 1
    assert max(rows["ppo-gp"]["regret_by_seed"]) < 0.5
    assert max(rows["argmax-gp"]["regret_by_seed"]) < 0.5


def test_what_the_page_does_with_it_for_a_moment_is_accepted(first: Path) -> None:
    """Each command of the page names runs that are there, and rows that can still learn and pay."""
    commands = re.findall(r"^mbrl-split bench run first\.yaml(.*)$", PAGE, re.MULTILINE)
    assert len(commands) == 3
    for words in map(shlex.split, commands):
        options = list(zip(words[::2], words[1::2], strict=True))
        assignments = [value for name, value in options if name == "--set"]
        assignments += [f"seeds={value}" for name, value in options if name == "--seeds"]
        (only,) = [value for name, value in options if name == "--only"] or [None]
        assert select(load_suite(first, assignments), only)
