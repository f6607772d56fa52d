"""Suites as data: algorithms × problems × seeds. They are read and checked in ``loading``."""

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

from mbrl_split.evaluation import Problem
from mbrl_split.evaluation.posed import Posed, home_of, labelled, layer_splits, pose

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
        models: Language models, each a shipped one by its name or a folder.
        truth: Of layer splits: ``table`` replays the measured tables, ``live`` measures; or another package's oracle.
        budget: True evaluations of a row that names none.
        env_steps: Environment steps of a row that names none.
        contexts: Contexts (in sessions: sessions) of a layer split's judge.
        judge: Of layer splits: which half of the table judges; ``lockbox`` once, when methods are frozen.
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
