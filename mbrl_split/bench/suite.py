"""Suites as data: algorithms × scenarios × models × seeds, validated before anything runs."""

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
from mbrl_split.errors import BadInput
from mbrl_split.refresh import Fidelity
from mbrl_split.registry import BASELINES, ORACLES, unknown
from mbrl_split.scenarios import scenario

EXACT = ("optimal", "best-fixed", "noise-bins", "myopic", "myopic-with-cost", "random")
"""Algorithms that the judge knows exactly; they learn nothing and are charged nothing."""

_STRICT = ConfigDict(extra="forbid")


@validated(frozen=True, config=_STRICT)
class Algorithm:
    """One row of a suite. As written, ``agent``, ``source``, ``schedule`` and ``acquisition`` may each name several, by
    a list of names or a mapping from names to settings: the row then stands for all combinations.

    Attributes:
        algorithm: Short label, for instance ``ppo-mlp``; the labels of ``EXACT`` need nothing else.
        agent: ``ppo``, …; ``argmax`` picks the best predicted split, ``planner`` plans a session ahead.
        source: ``oracle`` (the truth) or the name of a surrogate; beside a baseline that trains an agent, a word for
            where its rewards come from if not from the truth.
        schedule: When to pay for new truth.
        acquisition: For which rows.
        baseline: File name (without ``.py``) of a method in the folder ``baselines`` beside the suite's folder, or the
            name that another package has registered.
        budget: True evaluations.
        env_steps: Environment steps of a learning agent.
        scenarios: In which of the suite's scenarios the row runs; default all. Rows for different scenarios may share a
            label.
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
    scenarios: list[str] | None = None
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)


@validated(frozen=True, config=_STRICT)
class SuiteData:
    """The file as it is written; see :class:`Suite` for what it becomes.

    Attributes:
        name: Short name of the suite.
        title: Heading of its report.
        algorithms: The rows.
        scenarios: Names of scenarios.
        models: Language models, each a shipped one by its name or a folder.
        seeds: How many, counted from 0, or which.
        truth: ``"table"``: replayed from the measured tables; ``"live"``: measured; or the oracle of another package.
        budget: True evaluations of every row that has no budget of its own.
        env_steps: Environment steps of every learning agent whose row does not say otherwise.
        contexts: Contexts (in sessions: sessions) that a policy is judged on.
        judge: Which half of the table judges; ``"lockbox"`` once, when methods are frozen.
        overrides: By scenario, fields of :class:`~mbrl_split.scenarios.Scenario` to change.
    """

    name: str
    title: str
    algorithms: list[Algorithm]
    scenarios: list[str]
    models: list[str]
    seeds: int | list[int]
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
    scenario: str
    model: str
    truth: str
    seed: int
    budget: float
    env_steps: int
    contexts: int
    algorithm: Algorithm
    overrides: dict[str, Any]
    judge: Literal["judge", "lockbox"] = "judge"

    def spec(self) -> dict[str, Any]:
        """Plain data; equal specs give equal results."""
        spec = dataclasses.asdict(self)
        spec["algorithm"].pop("scenarios")  # where else a row runs changes nothing here
        if self.judge == "judge":
            spec.pop("judge")  # what every run is unless it says otherwise
        return spec

    @property
    def name(self) -> str:
        """SCENARIO/ALGORITHM/SEED, as ``--only`` takes it."""
        return f"{self.scenario}/{self.algorithm.algorithm}/{self.seed}"

    @property
    def folder(self) -> str:
        """Folder name of the run: readable, and unique by content."""
        digest = hashlib.sha256(json.dumps(self.spec(), sort_keys=True).encode()).hexdigest()[:8]
        return f"{self.scenario}-{self.model.replace('/', '_')}-{self.algorithm.algorithm}-s{self.seed}-{digest}"


@dataclass(frozen=True)
class Suite:
    """A validated suite and the file it came from."""

    path: Path
    data: SuiteData

    @property
    def seeds(self) -> list[int]:
        return list(range(self.data.seeds)) if isinstance(self.data.seeds, int) else self.data.seeds

    @property
    def baselines(self) -> Path:
        """Where the suite's own methods live: ``baselines`` beside the folder of the suite, or within it."""
        beside = self.path.resolve().parent
        return next((p for p in (beside / "baselines", beside.parent / "baselines") if p.is_dir()), beside)

    def cells(self) -> Iterator[Cell]:
        """All runs, the cheapest way round for a reader: by scenario, model, algorithm, seed."""
        d = self.data
        for scenario_name in d.scenarios:
            for model in d.models:
                for algorithm in d.algorithms:
                    if algorithm.scenarios is not None and scenario_name not in algorithm.scenarios:
                        continue
                    for seed in self.seeds:
                        yield Cell(
                            suite=d.name,
                            scenario=scenario_name,
                            model=model,
                            truth=d.truth,
                            seed=seed,
                            budget=d.budget if algorithm.budget is None else algorithm.budget,
                            env_steps=d.env_steps if algorithm.env_steps is None else algorithm.env_steps,
                            contexts=d.contexts,
                            algorithm=algorithm,
                            overrides=d.overrides.get(scenario_name, {}),
                            judge=d.judge,
                        )


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
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"cannot read the suite {path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise BadInput(f"{path}{where}: not valid YAML ({getattr(error, 'problem', error)})") from None
    if not isinstance(raw, dict):
        raise BadInput(f"{path}: a suite is a mapping with name, title, algorithms, scenarios, models and seeds")
    try:
        if isinstance(raw.get("algorithms"), list):
            raw["algorithms"] = [one for row in raw["algorithms"] for one in crossed(row)]
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None
    for assignment in assignments:
        _assign(raw, assignment)
    try:
        data = TypeAdapter(SuiteData).validate_python(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"{path}: {where}: {first['msg'][:1].lower()}{first['msg'][1:]}") from None
    suite = Suite(path, data)
    _check(suite)
    return suite


def _assign(raw: dict[str, Any], assignment: str) -> None:
    key, equals, text = assignment.partition("=")
    if not equals:
        raise BadInput(f"--set takes KEY=VALUE, not {assignment!r}")
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
        raise BadInput(unknown("algorithm in --set", label, [r["algorithm"] for r in raw.get("algorithms", [])]))
    for row in rows:
        row[rest] = value


def _check(suite: Suite) -> None:
    """What pydantic cannot know: names that must exist, and rows that must be complete."""
    d = suite.data
    if d.truth not in ORACLES:
        raise BadInput(f"{suite.path}: truth: {unknown('oracle', d.truth, ORACLES)}")
    if not suite.seeds:
        raise BadInput(f"{suite.path}: seeds: at least one is needed")
    for cell in suite.cells():
        if cell.budget < 0 or cell.env_steps < 1:
            raise BadInput(f"{suite.path}: {cell.algorithm.algorithm}: budget is at least 0 and env_steps at least 1")
    for name in d.scenarios:
        scenario(name, **d.overrides.get(name, {}))
    for name in d.scenarios:
        labels = [a.algorithm for a in d.algorithms if a.scenarios is None or name in a.scenarios]
        for label in labels:
            if labels.count(label) > 1:
                raise BadInput(f"{suite.path}: algorithm {label!r} stands there twice in scenario {name!r}")
    for row in d.algorithms:
        for name in row.scenarios or []:
            if name not in d.scenarios:  # a suite narrowed to some of its scenarios leaves out the others' rows
                scenario(name)
        if row.algorithm in EXACT:
            continue
        try:
            Fidelity.of(row.settings.get("fidelity", {}))
        except BadInput as error:
            raise BadInput(f"{suite.path}: {row.algorithm}: {error}") from None
        if row.baseline is not None:
            if not (suite.baselines / f"{row.baseline}.py").is_file() and row.baseline not in BASELINES:
                known = [*(p.stem for p in suite.baselines.glob("*.py")), *BASELINES]
                raise BadInput(f"{suite.path}: {row.algorithm}: {unknown('baseline', row.baseline, known)}")
        elif row.agent is None or row.source is None:
            raise BadInput(
                f"{suite.path}: {row.algorithm}: needs an agent and a source, a baseline, or a name in {EXACT}"
            )
