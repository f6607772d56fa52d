"""Every suite that ships is one that runs."""

from pathlib import Path

import pytest
import yaml

from mbrl_split import InvalidInputError
from mbrl_split.bench import load_suite
from mbrl_split.bench.runner import build_method

FOLDER = Path(__file__).parents[2] / "benchmarks"
SUITES = sorted(p for p in FOLDER.glob("*.yaml") if "algorithms" in yaml.safe_load(p.read_text()))


def test_the_four_are_there() -> None:
    assert {"demo", "paper", "rl_vs_mbrl", "ablations"} <= {p.stem for p in SUITES}


@pytest.mark.parametrize("path", SUITES, ids=lambda p: p.stem)
def test_a_shipped_suite_is_accepted_and_every_row_can_be_built(path: Path) -> None:
    suite = load_suite(path)
    assert suite.data.name == path.stem
    cells = list(suite.cells())
    assert len({c.folder for c in cells}) == len(cells)
    for cell in cells:
        row = cell.algorithm
        if cell.seed == 0 and (row.agent or row.baseline):
            build_method(cell, suite.home)


def test_rows_for_different_scenarios_may_share_a_label_and_rows_for_one_may_not(tmp_path: Path) -> None:
    rows = [
        {"algorithm": "a", "agent": "ucb1", "source": "oracle", "scenarios": ["equalised"]},
        {"algorithm": "a", "agent": "ucb1", "source": "oracle", "scenarios": ["drive"], "budget": 90},
    ]
    data = {"name": "s", "title": "t", "models": ["tiny-llama"], "seeds": 1, "scenarios": ["equalised", "drive"]}
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump({**data, "algorithms": rows}))
    assert [(c.name, c.budget) for c in load_suite(path).cells()] == [("equalised/a/0", 300), ("drive/a/0", 90)]
    for broken, words in ((["equalised", "drive"], "twice in 'drive/tiny-llama'"), (["driv"], "did you mean 'drive'")):
        path.write_text(yaml.safe_dump({**data, "algorithms": [{**rows[0], "scenarios": broken}, rows[1]]}))
        with pytest.raises(InvalidInputError, match=words):
            load_suite(path)
