"""What a suite leaves behind: ``results.parquet``, ``summary.json``, ``report.md``, ``report.html``, and a table."""

from __future__ import annotations

import json
import math
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mbrl_split import __version__
from mbrl_split.bench.processor import kernels, processor
from mbrl_split.bench.report import print_table, to_markdown, write_report
from mbrl_split.bench.results import curves, read_runs, summarise, write_text
from mbrl_split.bench.suite import Suite
from mbrl_split.errors import InvalidInputError


def conclude(suite: Suite, out: Path, command: str) -> dict[str, Any]:
    """Gather the finished runs of the suite under ``out``, write the outcome, print the table.

    Raises:
        InvalidInputError: No run is finished yet, or the table was exchanged between two of them.
    """
    wanted = {cell.folder for cell in suite.cells()}
    runs = [run for run in read_runs(out) if run["folder"] in wanted]
    if not runs:
        raise InvalidInputError(f"no finished run of {suite.path} in {out}")
    references = _references(runs)
    rows = summarise(runs, [a.algorithm for a in suite.data.algorithms])
    summary = {
        "suite": suite.data.name,
        "title": suite.data.title,
        "command": command,
        "versions": _versions(),
        "references": references,
        "units": {run["problem"]: run["unit"] for run in runs},
        "rows": rows,
    }
    points = curves([r for r in runs if r["status"] == "ok"])
    partial = out / "results.parquet.partial"
    points.to_parquet(partial, index=False)
    partial.replace(out / "results.parquet")
    write_text(out / "summary.json", json.dumps(summary, indent=1) + "\n")
    write_text(out / "report.md", to_markdown(summary) + "\n")
    if len(points):
        write_report(summary, points, out / "report.html")
        print_table(summary)
    return summary


def _references(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """What each problem's runs were judged by; a regret of one judge and a regret of another are not averaged."""
    found: dict[str, dict[str, Any]] = {}
    for run in (r for r in runs if "reference" in r):
        name, reference = run["problem"], run["reference"]
        first = found.setdefault(name, reference)
        if "headroom" not in reference:
            continue
        same = math.isclose(first["optimal"], reference["optimal"], rel_tol=1e-6, abs_tol=1e-9)
        if not same or first["regret_unit"] != reference["regret_unit"]:
            raise InvalidInputError(
                f"runs of {name} were judged on different tables (optimum {first['optimal']:.6g} and "
                f"{reference['optimal']:.6g}); remove the older ones, for instance {run['folder']}"
            )
    return found


def _versions() -> dict[str, str]:
    found = {"mbrl_split": __version__, "python": platform.python_version()}
    for package in ("torch", "numpy", "gymnasium", "transformers", "scikit-learn", "xgboost-cpu", "xgboost"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {**found, "processor": f"{processor()} ({kernels()})"}
