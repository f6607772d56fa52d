"""From a file to a suite: everything that can be known before the first run is checked here."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mbrl_split.bench.crossed import crossed
from mbrl_split.bench.parts import stand_in
from mbrl_split.bench.runner import build_method
from mbrl_split.bench.suite import EXACT, Algorithm, Cell, Suite, SuiteData
from mbrl_split.errors import BadInput
from mbrl_split.registry import BASELINES, ORACLES, unknown
from mbrl_split.scenarios import scenario
from mbrl_split.settings import check_names, read_assignment, read_settings

PARTS = ("agent", "source", "schedule", "acquisition", "fidelity", "trainer", "baseline")
"""The parts of a row that take settings."""


def load_suite(path: str | Path, assignments: Sequence[str] = ()) -> Suite:
    """Read and validate a suite.

    Args:
        path: A YAML file.
        assignments: ``KEY=VALUE`` overrides; the value is read as YAML. A key names a field of the suite
            (``seeds=20``) or of an algorithm (``ppo-mlp.budget=50``). Setting ``budget`` or ``env_steps`` of the
            suite caps every algorithm's own.

    Raises:
        BadInput: The file cannot be read or used; the line names the place.
    """
    path = Path(path)
    raw = read_settings(path, "a suite is a mapping with name, title, algorithms, scenarios, models and seeds")
    written = raw.get("scenarios")
    try:
        if isinstance(raw.get("algorithms"), list):
            raw["algorithms"] = [one for row in raw["algorithms"] for one in crossed(row)]
        for assignment in assignments:
            _assign(raw, assignment)
        suite = Suite(path, _validated(raw))
        _check(suite, written if isinstance(written, list) else [])
        for cell in {(c.scenario, c.algorithm.algorithm): c for c in suite.cells()}.values():
            check_row(cell, suite.baselines)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None
    return suite


def check_row(cell: Cell, baselines: Path) -> None:
    """Refuse a row that names what is not there, sets what it does not use, or could not learn with what it is given.

    Its parts are made as a run makes them, on a stand-in for the truth that costs nothing.

    Raises:
        BadInput: In one line.
    """
    label = cell.algorithm.algorithm
    if label in EXACT:
        return
    problem = scenario(cell.scenario, **cell.overrides)
    task = stand_in(problem, budget=cell.budget, env_steps=cell.env_steps)
    try:
        build_method(cell, baselines).check(task)
    except BadInput as error:
        raise BadInput(f"{label}: {error}") from None
    except ImportError:
        # No fault of the file: a package that this row needs is not here. The row says so when it runs.
        return


def _validated(raw: dict[str, Any]) -> SuiteData:
    try:
        return TypeAdapter(SuiteData).validate_python(raw)
    except ValidationError as error:
        first = error.errors()[0]
        *where, last = (str(part) for part in first["loc"])
        if first["type"] == "unexpected_keyword_argument":
            owner = Algorithm if where else SuiteData
            message = unknown("field", last, [f.name for f in dataclasses.fields(owner)])
        else:
            message = f"{first['msg'][:1].lower()}{first['msg'][1:]}"
        raise BadInput(f"{'.'.join([*where, last])}: {message}") from None


def _assign(raw: dict[str, Any], assignment: str) -> None:
    key, value = read_assignment(assignment)
    label, dot, rest = key.rpartition(".")
    if not dot:
        raw[key] = value
        if key in ("budget", "env_steps") and isinstance(value, (int, float)):
            for row in raw.get("algorithms", []):
                if isinstance(row, dict) and key in row:
                    row[key] = min(row[key], value)
        return
    rows = [r for r in raw.get("algorithms", []) if isinstance(r, dict) and r.get("algorithm") == label]
    if not rows:
        raise BadInput(unknown("algorithm in --set", label, [r["algorithm"] for r in raw.get("algorithms", [])]))
    for row in rows:
        row[rest] = value


def _check(suite: Suite, written: list[str]) -> None:
    """What pydantic cannot know: names that must exist, and rows that must be complete.

    Args:
        suite: The suite.
        written: The file's scenarios: a suite that is narrowed to some of them leaves out what is said of the others.
    """
    d = suite.data
    if d.truth not in ORACLES:
        raise BadInput(f"truth: {unknown('oracle', d.truth, ORACLES)}")
    if not suite.seeds:
        raise BadInput("seeds: at least one is needed")
    for cell in suite.cells():
        if cell.budget < 0 or cell.env_steps < 1:
            raise BadInput(f"{cell.algorithm.algorithm}: budget is at least 0 and env_steps at least 1")
    for name in d.scenarios:
        scenario(name)
    check_names("scenario in overrides", d.overrides, {*d.scenarios, *written})
    for name, fields in d.overrides.items():
        scenario(name, **fields)
    for name in d.scenarios:
        labels = [a.algorithm for a in d.algorithms if a.scenarios is None or name in a.scenarios]
        for label in labels:
            if labels.count(label) > 1:
                raise BadInput(f"algorithm {label!r} stands there twice in scenario {name!r}")
    for row in d.algorithms:
        try:
            check_names("scenario", row.scenarios or [], {*d.scenarios, *written})
            _check_parts(row, suite.baselines)
        except BadInput as error:
            raise BadInput(f"{row.algorithm}: {error}") from None


def _check_parts(row: Algorithm, baselines: Path) -> None:
    """The parts that a row names go together, and none stands there for nothing."""
    check_names("part in settings", row.settings, PARTS)
    named = [
        part for part in ("agent", "source", "schedule", "acquisition", "baseline") if getattr(row, part) is not None
    ]
    if row.algorithm in EXACT:
        if named or row.settings:
            raise BadInput(f"an exact reference has no {[*named, 'settings'][0]}: give the row another label")
    elif row.baseline is not None:
        if not (baselines / f"{row.baseline}.py").is_file() and row.baseline not in BASELINES:
            known = [*(p.stem for p in baselines.glob("*.py")), *BASELINES]
            raise BadInput(unknown("baseline", row.baseline, known))
        unused = [part for part in named if part not in ("source", "baseline")]
        unused += [f"settings.{part}" for part in row.settings if part != "baseline"]
        if unused:
            raise BadInput(f"a baseline has settings.baseline alone: {unused[0]} would be ignored")
    elif row.agent is None or row.source is None:
        raise BadInput(f"needs an agent and a source, a baseline, or a name in {EXACT}")
    elif "baseline" in row.settings:
        raise BadInput("settings.baseline goes with a baseline, and there is none")
