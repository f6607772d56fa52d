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
from mbrl_split.bench.suite import Algorithm, Cell, Suite, SuiteData
from mbrl_split.errors import InvalidInputError, MbrlSplitError
from mbrl_split.evaluation.posed import Posed, layer_splits, pose
from mbrl_split.registry import BASELINES, unknown
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
        InvalidInputError: The file cannot be read or used; the line names the place.
    """
    path = Path(path)
    raw = read_settings(path, "a suite is a mapping with name, title, algorithms, seeds and problems")
    written = raw.get("scenarios")
    try:
        if isinstance(raw.get("algorithms"), list):
            raw["algorithms"] = [one for row in raw["algorithms"] for one in crossed(row)]
        for assignment in assignments:
            _assign(raw, assignment)
        suite = Suite(path, _validated(raw))
        narrowed = any(a.partition("=")[0] in ("problems", "scenarios", "models") for a in assignments)
        _check(suite, written if isinstance(written, list) else [], narrowed=narrowed)
        for cell in {(c.posed.label, c.algorithm.algorithm): c for c in suite.cells()}.values():
            check_row(cell)
    except MbrlSplitError as error:
        raise InvalidInputError(f"{path}: {error}") from None
    return suite


def check_row(cell: Cell) -> None:
    """Refuse a row that names what is not there, sets what it does not use, or could not learn with what it is given.

    Its parts are made as a run makes them, on a stand-in for the truth that costs nothing.

    Raises:
        InvalidInputError: In one line.
    """
    if cell.algorithm.is_reference:
        return
    task = stand_in(cell.problem, budget=cell.budget, env_steps=cell.env_steps)
    try:
        build_method(cell, cell.home).check(task)
    except MbrlSplitError as error:
        raise InvalidInputError(f"{cell.algorithm.algorithm}: {error}") from None
    except ImportError:
        # No fault of the file: a package that this row needs is not here. The row says so when it runs.
        return


def _validated(raw: dict[str, Any]) -> SuiteData:
    try:
        return TypeAdapter(SuiteData).validate_python(raw)
    except ValidationError as error:
        # Of a problem that is neither a name nor a mapping both forms complain; a misspelt field knows most.
        first = max(error.errors(), key=lambda e: e["type"] == "unexpected_keyword_argument")
        *where, last = (str(part) for part in first["loc"])
        if first["type"] == "unexpected_keyword_argument":
            owner = {"": SuiteData, "problems": Posed}.get(where[0] if where else "", Algorithm)
            where = [part for part in where if part != Posed.__name__]  # no field of the file
            message = unknown("field", last, [f.name for f in dataclasses.fields(owner)])
        else:
            message = f"{first['msg'][:1].lower()}{first['msg'][1:]}"
        raise InvalidInputError(f"{'.'.join([*where, last])}: {message}") from None


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
        raise InvalidInputError(
            unknown("algorithm in --set", label, [r["algorithm"] for r in raw.get("algorithms", [])])
        )
    for row in rows:
        row[rest] = value


def _check(suite: Suite, written: list[str], *, narrowed: bool) -> None:
    """What pydantic cannot know: names that must exist, and rows that must be complete.

    Args:
        suite: The suite.
        written: The file's scenarios: overrides may name those that a narrowed suite leaves out.
        narrowed: Whether it was narrowed to some of its problems: then it leaves out the others' rows.
    """
    d = suite.data

    def need(condition: bool, message: str) -> None:
        if not condition:
            raise InvalidInputError(message)

    need(bool(suite.seeds), "seeds: at least one is needed")
    need(bool(d.scenarios) == bool(d.models), "scenarios and models come together: a layer split is a pair of them")
    posed = suite.posed
    need(bool(posed), "problems: at least one is needed (or scenarios and models)")
    check_names("scenario in overrides", d.overrides, {*d.scenarios, *written})
    aside = layer_splits([name for name in d.overrides if name not in d.scenarios], d.models[:1], d.overrides)
    for entry in [*posed, *aside]:  # what is said of scenarios that --set leaves out is looked at all the same
        try:
            pose(entry, suite.home)
        except MbrlSplitError as error:
            raise InvalidInputError(f"{entry.label}: {error}") from None
        need([p.label for p in posed].count(entry.label) <= 1, f"problem {entry.label!r} stands there twice")
        labels = [a.algorithm for a in d.algorithms if a.runs_in(entry)]
        twice = next((label for label in labels if labels.count(label) > 1), None)
        need(twice is None, f"algorithm {twice!r} stands there twice in {entry.label!r}")
    for cell in suite.cells():
        good = cell.budget >= 0 and cell.env_steps >= 1
        need(good, f"{cell.algorithm.algorithm}: budget is at least 0 and env_steps at least 1")
    names = {name for entry in posed for name in (entry.label, entry.short)}
    for row in d.algorithms:
        try:
            if not narrowed:
                check_names("problem", row.problems or [], names)
                check_names("scenario", row.scenarios or [], {*names, *written})
            _check_parts(suite, row)
        except MbrlSplitError as error:
            raise InvalidInputError(f"{row.algorithm}: {error}") from None


def _check_parts(suite: Suite, row: Algorithm) -> None:
    """The parts that a row names go together, and none stands there for nothing."""
    check_names("part in settings", row.settings, PARTS)
    named = [
        part for part in ("agent", "source", "schedule", "acquisition", "baseline") if getattr(row, part) is not None
    ]
    references = {
        name for entry in suite.posed if row.runs_in(entry) for name in pose(entry, suite.home).reference_names
    }
    if row.algorithm in references and (named or row.settings):
        raise InvalidInputError(f"an exact reference has no {[*named, 'settings'][0]}: give the row another label")
    if row.is_reference:
        for entry in suite.posed:
            known = pose(entry, suite.home).reference_names
            if row.runs_in(entry) and row.algorithm not in known:
                raise InvalidInputError(
                    f"needs an agent and a source, a baseline, or the name of a reference of {entry.label} "
                    f"({', '.join(known)})"
                )
    elif row.baseline is not None:
        folder = suite.home / "baselines"
        if not (folder / f"{row.baseline}.py").is_file() and row.baseline not in BASELINES:
            raise InvalidInputError(
                unknown("baseline", row.baseline, [*(p.stem for p in folder.glob("*.py")), *BASELINES])
            )
        unused = [part for part in named if part not in ("source", "baseline")]
        unused += [f"settings.{part}" for part in row.settings if part != "baseline"]
        if unused:
            raise InvalidInputError(f"a baseline has settings.baseline alone: {unused[0]} would be ignored")
    elif row.agent is None or row.source is None:
        raise InvalidInputError("an agent and a source are needed")
    elif "baseline" in row.settings:
        raise InvalidInputError("settings.baseline goes with a baseline, and there is none")
