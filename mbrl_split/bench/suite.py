"""Suites as data: algorithms × problems × seeds, validated before anything runs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated

from mbrl_split.bench.crossed import crossed
from mbrl_split.errors import InvalidInputError, MbrlSplitError
from mbrl_split.evaluation import Problem
from mbrl_split.evaluation.posed import Posed, home_of, labelled, layer_splits, pose
from mbrl_split.refresh import Fidelity
from mbrl_split.registry import BASELINES, unknown

_STRICT = ConfigDict(extra="forbid")


@validated(frozen=True, config=_STRICT)
class Algorithm:
    """One row of a suite. As written, ``agent``, ``source``, ``schedule`` and ``acquisition`` may each name several, by
    a list of names or a mapping from names to settings: the row then stands for all combinations.

    Attributes:
        algorithm: Short label, for instance ``ppo-mlp``; the name of a reference of the problem's judge (``optimal``,
            ``best-fixed``, ``random``, …) needs nothing else.
        agent: ``ppo``, …; ``argmax`` picks the best predicted action, ``planner`` plans an episode ahead.
        source: ``oracle`` (the truth) or the name of a surrogate; beside a baseline that trains an agent, a word for
            where its rewards come from if not from the truth.
        schedule: When to pay for new truth.
        acquisition: For which rows.
        baseline: File name (without ``.py``) of a method in a folder ``baselines`` beside the suite's file or one
            folder up, or the name that another package has registered.
        budget: True evaluations.
        env_steps: Environment steps of a learning agent.
        problems: In which of the suite's problems the row runs, by label, or by the part of the label before its slash;
            default all. Rows for different problems may share a label.
        scenarios: The same, for layer splits.
        settings: Settings by part: ``agent``, ``source``, ``schedule``, ``acquisition``, ``fidelity``, ``trainer``,
            ``baseline``.
    """

    algorithm: str
    agent: str | None = None
    source: str | None = None
    schedule: str | None = None
    acquisition: str | None = None
    baseline: str | None = None
    budget: float | None = None
    env_steps: int | None = None
    problems: list[str] | None = None
    scenarios: list[str] | None = None
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def is_reference(self) -> bool:
        """Whether the row names nothing that learns."""
        return self.agent is None and self.source is None and self.baseline is None

    def runs_in(self, posed: Posed) -> bool:
        """Whether the row runs in a problem of the suite."""
        wanted = [*(self.problems or ()), *(self.scenarios or ())]
        unnarrowed = self.problems is None and self.scenarios is None
        return unnarrowed or posed.label in wanted or posed.short in wanted


@validated(frozen=True, config=_STRICT)
class SuiteData:
    """The file as it is written; see :class:`Suite` for what it becomes.

    Attributes:
        name: Of the suite; its output folder is called so.
        title: For reports.
        algorithms: The rows.
        seeds: Replications: their number, or a list.
        problems: What is posed: registered names, files in a folder ``problems`` beside the suite's file or one folder
            up, or mappings with ``problem``, ``label`` and ``settings``.
        scenarios: With ``models``, shorthand for layer splits, one for each pair.
        models: Language models.
        truth: Of layer splits: ``live``, ``table``, or the oracle of another package.
        budget: True evaluations of a row that names none.
        env_steps: Environment steps of a row that names none.
        contexts: Contexts of a layer split's judge.
        judge: Of layer splits: the ``lockbox`` once, when methods are frozen.
        overrides: Fields of scenarios, by scenario.
    """

    name: str
    title: str
    algorithms: list[Algorithm]
    seeds: int | list[int]
    problems: list[str | Posed] = field(default_factory=list)
    scenarios: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    truth: str = "table"
    budget: float = 300
    env_steps: int = 60_000
    contexts: int = 2000
    judge: Literal["judge", "lockbox"] = "judge"
    overrides: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One run: everything that its result depends on."""

    suite: str
    posed: Posed
    home: Path
    seed: int
    budget: float
    env_steps: int
    algorithm: Algorithm

    @property
    def problem(self) -> Problem:
        """What is posed."""
        return pose(self.posed, self.home)

    def spec(self) -> dict[str, Any]:
        """Plain data; equal specs give equal results."""
        algorithm = dataclasses.asdict(self.algorithm)
        for narrowing in ("problems", "scenarios"):  # where else a row runs changes nothing here
            algorithm.pop(narrowing)
        own = {"suite": self.suite, "seed": self.seed, "budget": self.budget, "env_steps": self.env_steps}
        return {**own, **self.problem.describe(), "algorithm": algorithm}

    @property
    def name(self) -> str:
        """PROBLEM/ALGORITHM/SEED, as ``--only`` takes it."""
        return f"{self.posed.short}/{self.algorithm.algorithm}/{self.seed}"

    @property
    def folder(self) -> str:
        """Folder name of the run: readable, and unique by content."""
        digest = hashlib.sha256(json.dumps(self.spec(), sort_keys=True).encode()).hexdigest()[:8]
        words = f"{self.posed.short}-{self.posed.rest}" if self.posed.rest else self.posed.short
        return f"{words.replace('/', '_')}-{self.algorithm.algorithm}-s{self.seed}-{digest}"


@dataclass(frozen=True)
class Suite:
    """A validated suite and the file it came from."""

    path: Path
    data: SuiteData

    @property
    def seeds(self) -> list[int]:
        return list(range(self.data.seeds)) if isinstance(self.data.seeds, int) else self.data.seeds

    @property
    def home(self) -> Path:
        """Where the suite's own methods and problems live."""
        return home_of(self.path.parent)

    @property
    def posed(self) -> list[Posed]:
        """The problems, with those that scenarios and models are short for."""
        d = self.data
        short = layer_splits(d.scenarios, d.models, d.overrides, truth=d.truth, contexts=d.contexts, judge=d.judge)
        return [*(labelled(entry) for entry in d.problems), *short]

    def cells(self) -> Iterator[Cell]:
        """All runs, the cheapest way round for a reader: by problem, algorithm, seed."""
        d = self.data
        for posed in self.posed:
            for algorithm in d.algorithms:
                if not algorithm.runs_in(posed):
                    continue
                for seed in self.seeds:
                    yield Cell(
                        suite=d.name,
                        posed=posed,
                        home=self.home,
                        seed=seed,
                        budget=d.budget if algorithm.budget is None else algorithm.budget,
                        env_steps=d.env_steps if algorithm.env_steps is None else algorithm.env_steps,
                        algorithm=algorithm,
                    )


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
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInputError(f"cannot read the suite {path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise InvalidInputError(f"{path}{where}: not valid YAML ({getattr(error, 'problem', error)})") from None
    if not isinstance(raw, dict):
        raise InvalidInputError(f"{path}: a suite is a mapping with name, title, algorithms, seeds and problems")
    try:
        if isinstance(raw.get("algorithms"), list):
            raw["algorithms"] = [one for row in raw["algorithms"] for one in crossed(row)]
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: {error}") from None
    for assignment in assignments:
        _assign(raw, assignment)
    try:
        data = TypeAdapter(SuiteData).validate_python(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidInputError(f"{path}: {where}: {first['msg'][:1].lower()}{first['msg'][1:]}") from None
    suite = Suite(path, data)
    _check(suite, narrowed=any(a.partition("=")[0] in ("problems", "scenarios", "models") for a in assignments))
    return suite


def _assign(raw: dict[str, Any], assignment: str) -> None:
    key, equals, text = assignment.partition("=")
    if not equals:
        raise InvalidInputError(f"--set takes KEY=VALUE, not {assignment!r}")
    value = yaml.safe_load(text)
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


def _check(suite: Suite, *, narrowed: bool) -> None:
    """What pydantic cannot know: names that must exist, and rows that must be complete.

    A suite narrowed to some of its problems leaves out the others' rows; else a row names problems of the suite.
    """
    d = suite.data

    def need(condition: bool, message: str) -> None:
        if not condition:
            raise InvalidInputError(f"{suite.path}: {message}")

    need(bool(suite.seeds), "seeds: at least one is needed")
    need(bool(d.scenarios) == bool(d.models), "scenarios and models come together: a layer split is a pair of them")
    posed = suite.posed
    need(bool(posed), "problems: at least one is needed (or scenarios and models)")
    for entry in posed:
        try:
            pose(entry, suite.home)
        except MbrlSplitError as error:
            raise InvalidInputError(f"{suite.path}: {entry.label}: {error}") from None
        labels = [a.algorithm for a in d.algorithms if a.runs_in(entry)]
        twice = next((label for label in labels if labels.count(label) > 1), None)
        need(twice is None, f"algorithm {twice!r} stands there twice in {entry.label!r}")
    for cell in suite.cells():
        good = cell.budget >= 0 and cell.env_steps >= 1
        need(good, f"{cell.algorithm.algorithm}: budget is at least 0 and env_steps at least 1")
    posed_names = {name for entry in posed for name in (entry.label, entry.short)}
    for row in d.algorithms:
        for what, names in (("problem", row.problems), ("scenario", row.scenarios)):
            for name in names or ():
                if name not in posed_names and not narrowed:
                    raise InvalidInputError(f"{suite.path}: {row.algorithm}: {unknown(what, name, posed_names)}")
        try:
            _check_row(suite, row)
        except MbrlSplitError as error:
            raise InvalidInputError(f"{suite.path}: {row.algorithm}: {error}") from None


def _check_row(suite: Suite, row: Algorithm) -> None:
    if row.is_reference:
        for entry in suite.posed:
            names = pose(entry, suite.home).reference_names
            if row.runs_in(entry) and row.algorithm not in names:
                raise InvalidInputError(
                    f"needs an agent and a source, a baseline, or the name of a reference of {entry.label} "
                    f"({', '.join(names)})"
                )
        return
    Fidelity.of(row.settings.get("fidelity", {}))
    if row.baseline is not None:
        folder = suite.home / "baselines"
        if not (folder / f"{row.baseline}.py").is_file() and row.baseline not in BASELINES:
            known = [*(p.stem for p in folder.glob("*.py")), *BASELINES]
            raise InvalidInputError(unknown("baseline", row.baseline, known))
    elif row.agent is None or row.source is None:
        raise InvalidInputError("an agent and a source are needed")
    elif row.source != "oracle":
        for entry in suite.posed:
            if row.runs_in(entry) and not pose(entry, suite.home).columns:
                raise InvalidInputError(
                    f"the truth of {entry.label} is a real step: {row.source} has no measurement to learn; use "
                    "source: oracle"
                )
