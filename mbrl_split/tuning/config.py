"""A tuning task as data: what is searched, on which problems, and what counts; validated before anything runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated

from mbrl_split.errors import InvalidInputError, MbrlSplitError
from mbrl_split.evaluation.posed import Posed, home_of, labelled, layer_splits, pose
from mbrl_split.refresh import Fidelity
from mbrl_split.registry import ACQUISITIONS, AGENTS, SCHEDULES, SURROGATES, Registry, unknown
from mbrl_split.settings import check_names, read_assignment, read_settings

_STRICT = ConfigDict(extra="forbid")

LOOKED_UP = ("argmax", "planner")
"""Agents that are not trained: instead of a schedule they have ``trainer.refresh_batches``."""

Objective = Literal["regret", "evaluations"]


@validated(frozen=True, config=_STRICT)
class Range:
    """A number to be searched: an integer where both ends are, else a real one.

    Attributes:
        low: Lowest value, included.
        high: Highest value, included.
        log: Search its logarithm.
        step: Only low, low + step, …

    Example:
        >>> from mbrl_split.tuning import Range, Space
        >>> Space(agent={"ppo": {"learning_rate": Range(1e-4, 1e-2, log=True)}}, source={"mlp": None}).agent["ppo"]
        {'learning_rate': Range(low=0.0001, high=0.01, log=True, step=None)}
    """

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"low {self.low} lies below high {self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("a logarithmic range lies above 0 and has no step")


Value = Range | list[bool | int | float | str] | bool | int | float | str
"""A range, a list of choices, or a fixed value."""
Settings = dict[str, Value]
Members = dict[str, Settings | None]
"""Names to choose from, each with its own settings: ``{fixed: {every: {low: 500, high: 8000}}, never: }``."""


@validated(frozen=True, config=_STRICT)
class Space:
    """What is searched. A setting exists only while its member is chosen, under the name ``member.setting``.

    Attributes:
        agent: Exactly one; tune agents one by one and compare them in a suite.
        source: Surrogates.
        schedule: When to pay; agents that are trained only.
        acquisition: For which rows.
        trainer: Settings of the loop: ``initial_design``, ``refresh_batches``, ``segment_steps``, …
        fidelity: How much truth a row gets: fields of :class:`~mbrl_split.refresh.Fidelity`.
        budget: True evaluations at most.
        env_steps: Environment steps of a learning agent.

    Example:
        >>> from mbrl_split.tuning import Range, Space
        >>> space = Space(
        ...     agent={"argmax": None},
        ...     source={"gp": None, "mlp": {"learning_rate": Range(1e-4, 1e-2, log=True)}},
        ...     acquisition={"random": None, "top-two": None},
        ...     trainer={"refresh_batches": Range(2, 10)},
        ... )
        >>> sorted(space.parts)
        ['acquisition', 'agent', 'source']
    """

    agent: Members
    source: Members
    schedule: Members = field(default_factory=dict)
    acquisition: Members = field(default_factory=lambda: {"random": None})
    trainer: Settings = field(default_factory=dict)
    fidelity: Settings = field(default_factory=dict)
    budget: Value = 100
    env_steps: Value = 60_000

    @property
    def parts(self) -> dict[str, Members]:
        """The parts that have members, by name."""
        parts = ("agent", "source", "schedule", "acquisition")
        return {part: getattr(self, part) for part in parts if getattr(self, part)}


@validated(frozen=True, config=_STRICT)
class Confirm:
    """How the best candidates are looked at again: fresh seeds, held-out contexts.

    Attributes:
        top: How many candidates.
        seeds: Fresh seeds, each on every problem.
        target: With two objectives the cheapest candidate with at most this regret is kept, else the best one (which is
            always kept where no optimum is known, and values take the place of regrets).
    """

    top: int = 5
    seeds: int = 10
    target: float = 0.05


@validated(frozen=True, config=_STRICT)
class TuneData:
    """A tuning task, as its file is written.

    Attributes:
        name: Also the study's name.
        title: One line.
        space: What is searched.
        problems: What is posed, as in a suite; a trial runs on all of them.
        scenarios: With ``models``, shorthand for layer splits, one for each pair.
        models: Names of models.
        objectives: ``[regret, evaluations]`` searches the Pareto front, ``[regret]`` the best.
        max_evaluations: With one objective: a constraint on the true evaluations a run pays.
        prune: With one objective: stop a trial early once it is worse than the best one on the same seeds (Wilcoxon's
            signed-rank test).
        trials: Finished trials in all.
        startup: Random trials before the sampler learns from them.
        seeds: Seeds per problem in a trial, the same in all trials.
        seed: Of the study.
        truth: ``table`` replays measured evaluations; ``live`` measures, and must be asked for.
        contexts: Contexts of the judge.
        overrides: Fields of a scenario, by its name.
        confirm: What happens at the end.

    Example:
        >>> from mbrl_split.tuning import Space, TuneData
        >>> space = Space(agent={"argmax": None}, source={"gp": None, "mlp": None})
        >>> task = TuneData("first", "Which surrogate", space, scenarios=["equalised"], models=["tiny-llama"])
        >>> [posed.label for posed in task.posed]
        ['equalised/tiny-llama']
    """

    name: str
    title: str
    space: Space
    problems: list[str | Posed] = field(default_factory=list)
    scenarios: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    objectives: list[Objective] = field(default_factory=lambda: ["regret", "evaluations"])
    max_evaluations: float | None = None
    prune: bool = True
    trials: int = 60
    startup: int = 10
    seeds: int = 3
    seed: int = 0
    truth: str = "table"
    contexts: int = 1000
    overrides: dict[str, dict[str, Any]] = field(default_factory=dict)
    confirm: Confirm = field(default_factory=Confirm)

    @property
    def posed(self) -> list[Posed]:
        """The problems, with those that scenarios and models are short for."""
        short = layer_splits(self.scenarios, self.models, self.overrides, truth=self.truth, contexts=self.contexts)
        return [*(labelled(entry) for entry in self.problems), *short]

    def identity(self) -> dict[str, Any]:
        """What trials depend on: two studies with equal identities have equal trials. Plain data."""
        data = dataclasses.asdict(self)
        for later in ("title", "trials", "confirm"):  # may change while a study goes on
            del data[later]
        return data


def load_tune(path: str | Path, assignments: Sequence[str] = ()) -> TuneData:
    """Read and validate a tuning task.

    Args:
        path: A YAML file.
        assignments: ``KEY=VALUE``; the key is a path of fields (``trials=20``, ``confirm.seeds=20``,
            ``space.source={gp: }``), the value is YAML.

    Raises:
        InvalidInputError: The file cannot be read or used; the line names the place.
    """
    path = Path(path)
    raw = read_settings(path, "a tuning task is a mapping with name, title, problems and space")
    written = raw.get("scenarios")
    for assignment in assignments:
        _assign(raw, assignment)
    return tune_data(raw, str(path), home=path.parent, written=written if isinstance(written, list) else ())


def tune_data(
    raw: dict[str, Any], where: str = "tuning task", *, home: Path | None = None, written: Sequence[str] = ()
) -> TuneData:
    """Validate a tuning task that is a mapping.

    Args:
        raw: The task.
        where: What error lines call it.
        home: Where the user's own problems are looked for, as beside a suite; default the working directory.
        written: Scenarios besides its own that overrides may name: those of a file that was narrowed to some.

    Raises:
        InvalidInputError: It cannot be used; the line names the place.
    """
    try:
        data = TypeAdapter(TuneData).validate_python(raw)
    except ValidationError as error:
        # Of a value that fits no form every form complains: a misspelt field, or the deepest complaint, knows most.
        deepest = max(error.errors(), key=lambda e: (e["type"] == "unexpected_keyword_argument", len(e["loc"])))
        *parents, last = (str(part) for part in deepest["loc"])
        if deepest["type"] == "unexpected_keyword_argument":
            owner = {"": TuneData, "space": Space, "confirm": Confirm}.get(parents[-1] if parents else "", Range)
            message = unknown("field", last, [f.name for f in dataclasses.fields(owner)])
        else:
            message = f"{deepest['msg'][:1].lower()}{deepest['msg'][1:]}"
        raise InvalidInputError(f"{where}: {'.'.join([*parents, last])}: {message}") from None
    _check(data, where, home_of(home or Path()), written)
    return data


def _assign(raw: dict[str, Any], assignment: str) -> None:
    key, value = read_assignment(assignment)
    *parents, last = key.split(".")
    at = raw
    for parent in parents:
        at = at.setdefault(parent, {})
        if not isinstance(at, dict):
            raise InvalidInputError(f"--set {assignment}: {parent!r} has no fields")
    at[last] = value


def _check(data: TuneData, where: str, home: Path, written: Sequence[str]) -> None:
    """What pydantic cannot know: names that must exist, and settings that exclude each other."""

    def need(condition: bool, message: str) -> None:
        if not condition:
            raise InvalidInputError(f"{where}: {message}")

    need(bool(data.posed), "at least one problem is needed (or a scenario and a model)")
    try:
        check_names("scenario in overrides", data.overrides, {*data.scenarios, *written})
    except InvalidInputError as error:
        raise InvalidInputError(f"{where}: {error}") from None
    aside = layer_splits([s for s in data.overrides if s not in data.scenarios], data.models[:1], data.overrides)
    for posed in [*data.posed, *aside]:  # what is said of scenarios that --set leaves out is looked at all the same
        try:
            pose(posed, home)
        except MbrlSplitError as error:
            raise InvalidInputError(f"{where}: {posed.label}: {error}") from None
    need(data.objectives in (["regret"], ["regret", "evaluations"]), "objectives: [regret] or [regret, evaluations]")
    need(data.max_evaluations is None or len(data.objectives) == 1, "max_evaluations goes with objectives: [regret]")
    for name in ("trials", "seeds", "contexts", "startup"):
        need(getattr(data, name) >= 1, f"{name} is at least 1")
    need(min(data.confirm.top, data.confirm.seeds) >= 1, "confirm: top and seeds are at least 1")
    space = data.space
    need(len(space.agent) == 1, "space.agent: one agent per study; compare agents in a suite")
    need(bool(space.source), "space.source: at least one surrogate")
    looked_up = next(iter(space.agent)) in LOOKED_UP
    need(not (looked_up and space.schedule), "space.schedule: argmax and planner have trainer.refresh_batches instead")
    registries: dict[str, Registry] = {
        "agent": AGENTS,
        "source": SURROGATES,
        "schedule": SCHEDULES,
        "acquisition": ACQUISITIONS,
    }
    sizes = [f.name for f in dataclasses.fields(Fidelity)]
    for name in space.fidelity:
        need(name in sizes, f"space.fidelity: {unknown('setting', name, sizes)}")
    owner: dict[str, str] = {}
    for part, members in space.parts.items():
        for name, settings in members.items():
            known = [*registries[part], *(LOOKED_UP if part == "agent" else ())]
            need(name in known, f"space.{part}: {unknown(part, name, known)}")
            for setting in settings or {}:
                before = owner.setdefault(f"{name}.{setting}", part)
                need(before == part, f"space: {before} and {part} both have a {name}.{setting}")
