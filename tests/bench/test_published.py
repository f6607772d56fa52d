"""A published cell, run again, gives the published numbers, bit for bit but for the clock."""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mbrl_split.bench import load_suite, run_suite, select

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
CLOCK = {"train_seconds", "oracle_seconds"}


@pytest.mark.parametrize(
    ("suite", "cell"),
    [
        ("rl_vs_mbrl", "equalised/argmax-tuned-25/3"),
        ("rl_vs_mbrl", "equalised/knn/1"),
        ("rl_vs_mbrl", "drive/planner-tuned-25/0"),
        ("rl_vs_mbrl", "equalised/ppo-fading-gp-50/3"),
    ],
)
def test_a_published_cell_runs_again_to_the_published_numbers(suite: str, cell: str, tmp_path: Path) -> None:
    results = BENCHMARKS / "results" / suite
    made_with = json.loads((results / "summary.json").read_text())["versions"]
    for package in ("torch", "numpy", "scikit-learn"):
        if version(package).partition("+")[0] != made_with[package].partition("+")[0]:
            pytest.skip(f"published with {package} {made_with[package]}")
    loaded = load_suite(BENCHMARKS / f"{suite}.yaml")
    (chosen,) = select(loaded, cell)
    assert run_suite(loaded, tmp_path, [chosen]) == []
    again = json.loads((tmp_path / "runs" / chosen.folder / "result.json").read_text())["curve"]

    published = pd.read_parquet(results / "results.parquet")
    published = published[published["run"] == chosen.folder]
    assert len(published) == len(again) > 1
    for name in set(published.columns) & set(again[0]) - CLOCK:
        np.testing.assert_array_equal(published[name], [point[name] for point in again], err_msg=name)
