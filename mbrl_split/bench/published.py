"""Back from a suite's published outcome to its runs: another machine goes on with the rest, and measures none again."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd

from mbrl_split.bench.results import write_text
from mbrl_split.bench.runner import head_of
from mbrl_split.bench.suite import Cell, Suite
from mbrl_split.errors import InvalidInputError

_HEAD = ("problem", "algorithm", "seed", "run")


def restore(suite: Suite, published: Path, out: Path) -> int:
    """Lay the runs of published results that belong to the suite into ``out``, as if they had been run there.

    A run is known by its folder's name, which holds a digest of all that its result depends on: what was published of a
    row that has changed since is left out. A run that is finished in ``out`` stays as it is. What a published outcome
    does not keep (logs, weights, the reasons of failed runs) is not there.

    Args:
        suite: The suite.
        published: Folder with ``results.parquet`` and ``summary.json``.
        out: The suite's output folder.

    Returns:
        How many runs were laid there.

    Raises:
        InvalidInputError: The folder holds no published results.
    """
    try:
        points = pd.read_parquet(published / "results.parquet")
        references = json.loads((published / "summary.json").read_text(encoding="utf-8"))["references"]
    except (OSError, ValueError, KeyError) as error:
        raise InvalidInputError(f"{published} holds no published results ({type(error).__name__}: {error})") from None
    cells = {cell.folder: cell for cell in suite.cells()}
    laid = 0
    for name, curve in points.groupby("run", sort=False):
        cell = cells.get(str(name))
        if cell is None or (out / "runs" / cell.folder / "DONE").exists():
            continue
        _lay(cell, curve.drop(columns=[*_HEAD, *cell.problem.labels()]), references[cell.posed.label], out / "runs")
        laid += 1
    return laid


def _lay(cell: Cell, curve: pd.DataFrame, reference: dict[str, Any], runs: Path) -> None:
    """One run's folder; ``DONE`` last."""
    # A column that only other rows of the suite have is no number of this run.
    points = [{k: v for k, v in p.items() if not math.isnan(v)} for p in curve.to_dict("records")]
    result = {**head_of(cell), "status": "ok", "error": None}
    folder = runs / cell.folder
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "spec.json", json.dumps(cell.spec(), indent=2) + "\n")
    write_text(folder / "result.json", json.dumps({**result, "curve": points, "reference": reference}, indent=1) + "\n")
    (folder / "FAILED").unlink(missing_ok=True)
    (folder / "DONE").touch()
