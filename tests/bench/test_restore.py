"""What counts as run: what was published, summed up to the same figures; a baseline only as its file is now."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from mbrl_split.bench import load_suite, restore
from mbrl_split.cli import main
from mbrl_split.errors import InvalidInputError

SUITE = {
    "name": "small",
    "title": "A small suite",
    "truth": "table",
    "scenarios": ["equalised"],
    "models": ["tiny-llama"],
    "seeds": 2,
    "budget": 60,
    "contexts": 100,
    "algorithms": [
        {"algorithm": "best-fixed"},
        {"algorithm": "knn", "baseline": "knn"},
        {"algorithm": "too-little", "baseline": "exhaustive_table", "budget": 5},
    ],
}


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """A suite's file, run to its end (one row of it fails) in the folder ``first`` beside it."""
    (tmp_path / "baselines").symlink_to(Path(__file__).parents[2] / "baselines")
    path = tmp_path / "suite.yaml"
    path.write_text(yaml.safe_dump(SUITE))
    with pytest.raises(SystemExit):
        main(["bench", "run", str(path), "--out", str(tmp_path / "first")])
    published = tmp_path / "published"
    published.mkdir()
    for name in ("results.parquet", "summary.json"):
        shutil.copy(tmp_path / "first" / name, published)
    return path


def test_published_runs_are_not_run_again_and_give_the_same_figures(ran: Path, tmp_path: Path) -> None:
    published, out = tmp_path / "published", tmp_path / "again"
    with pytest.raises(SystemExit):  # the row that fails fails again
        main(["bench", "run", str(ran), "--out", str(out), "--published", str(published), "--seeds", "3"])
    old, new = (pd.read_parquet(folder / "results.parquet") for folder in (published, out))
    pd.testing.assert_frame_equal(new[new["seed"] < 2].reset_index(drop=True), old)  # to the last digit of the clock
    assert set(new["seed"]) == {0, 1, 2}
    rows = {r["algorithm"]: r for r in json.loads((out / "summary.json").read_text())["rows"]}
    before = {r["algorithm"]: r for r in json.loads((published / "summary.json").read_text())["rows"]}
    assert rows["knn"]["regret_by_seed"][:2] == before["knn"]["regret_by_seed"]
    assert rows["knn"]["seeds"] == 3
    assert len(rows["too-little"]["failed"]) == 3
    for run in rows["knn"]["runs"]:
        spec = json.loads((out / "runs" / run / "spec.json").read_text())
        assert json.loads((out / "runs" / run / "result.json").read_text())["spec"] == spec


def test_what_a_row_no_longer_says_does_not_come_back_and_what_is_there_stays(ran: Path, tmp_path: Path) -> None:
    published, out = tmp_path / "published", tmp_path / "first"
    suite = load_suite(ran)
    assert restore(suite, published, out) == 0  # all there
    assert restore(load_suite(ran, ["knn.budget=30"]), published, tmp_path / "other") == 2  # best-fixed alone
    assert restore(load_suite(ran, ["contexts=50"]), published, tmp_path / "none") == 0


def test_a_folder_without_results_is_one_line(ran: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="holds no published results"):
        restore(load_suite(ran), tmp_path, tmp_path / "out")


def test_a_baseline_that_was_edited_runs_again_and_the_rest_does_not(tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).parents[2] / "baselines", tmp_path / "baselines")
    path = tmp_path / "suite.yaml"
    path.write_text(yaml.safe_dump({**SUITE, "seeds": 1, "algorithms": SUITE["algorithms"][:2]}))
    out = tmp_path / "out"

    def times() -> dict[str, int]:
        main(["bench", "run", str(path), "--out", str(out)])
        return {p.parent.name.split("-")[3]: p.stat().st_mtime_ns for p in out.glob("runs/*/result.json")}

    first = times()
    assert set(first) == {"best", "knn"}
    assert times() == first
    with (tmp_path / "baselines" / "knn.py").open("a") as file:
        file.write("# another text\n")
    again = times()
    assert again["best"] == first["best"]
    assert again["knn"] > first["knn"]
    assert times() == again
