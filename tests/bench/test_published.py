"""A published cell, run again, gives the published numbers."""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mbrl_split.bench import load_suite, run_suite, select
from mbrl_split.bench.processor import kernels, processor

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
CLOCK = {"train_seconds", "oracle_seconds"}

# Of results that do not say which processor they are of. With these kernels, chosen by OPENBLAS_CORETYPE on a processor
# that would take others, the training below gave their bits; with Haswell's, Zen's, or numpy's X86_V3 it did not.
UNSAID = " or ".join(f"OpenBLAS {blas}, numpy X86_V4" for blas in ("SkylakeX", "Cooperlake", "SapphireRapids"))


@pytest.mark.parametrize(
    ("suite", "cell"),
    [
        ("rl_vs_mbrl", "equalised/argmax-tuned-25/3"),
        ("rl_vs_mbrl", "equalised/knn/1"),
        ("rl_vs_mbrl", "drive/planner-tuned-25/0"),
    ],
)
def test_what_is_looked_up_is_the_same_on_every_processor(suite: str, cell: str, tmp_path: Path) -> None:
    """Other kernels, down to SSE's, made the same decisions, and rounded what they are worth by some 1e-16."""
    assert_published(suite, cell, tmp_path, rtol=1e-12)


def test_a_training_is_the_same_bit_for_bit_where_the_processor_multiplies_alike(tmp_path: Path) -> None:
    theirs = versions("rl_vs_mbrl").get("processor", UNSAID)
    if kernels() not in theirs:
        pytest.skip(f"the path of a training depends on the processor: {processor()} has {kernels()}, not {theirs}")
    assert_published("rl_vs_mbrl", "equalised/ppo-fading-gp-50/3", tmp_path, rtol=0.0)


def versions(suite: str) -> dict[str, str]:
    """What the results were made with."""
    summary = json.loads((BENCHMARKS / "results" / suite / "summary.json").read_text())
    return dict(summary["versions"])


def assert_published(suite: str, cell: str, out: Path, rtol: float) -> None:
    """Run the cell, and compare every number but the clock's."""
    made_with = versions(suite)
    for package in ("torch", "numpy", "scikit-learn"):
        if version(package).partition("+")[0] != made_with[package].partition("+")[0]:
            pytest.skip(f"published with {package} {made_with[package]}")
    loaded = load_suite(BENCHMARKS / f"{suite}.yaml")
    (chosen,) = select(loaded, cell)
    assert run_suite(loaded, out, [chosen]) == []
    again = json.loads((out / "runs" / chosen.folder / "result.json").read_text())["curve"]

    published = pd.read_parquet(BENCHMARKS / "results" / suite / "results.parquet")
    published = published[published["run"] == chosen.folder]
    assert len(published) == len(again) > 1
    for name in set(published.columns) & set(again[0]) - CLOCK:
        np.testing.assert_allclose([point[name] for point in again], published[name], rtol=rtol, atol=0, err_msg=name)
