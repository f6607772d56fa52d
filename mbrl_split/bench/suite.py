"""Suites as data: algorithms × scenarios × models × seeds. They are read and checked in ``loading``."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as validated

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
