"""Tuning on the suites' own terms: a trial is a run of a suite's row, and the result is a suite of one row."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml

from mbrl_split.bench.base import CurvePoint, Task
from mbrl_split.bench.loading import load_suite
from mbrl_split.bench.methods import AgentMethod
from mbrl_split.bench.parts import stand_in
from mbrl_split.bench.results import write_text
from mbrl_split.errors import InvalidInputError
from mbrl_split.evaluation import Regret
from mbrl_split.evaluation.posed import Posed, file_of, home_of, labelled, pose
from mbrl_split.oracles import Ledger, open_store
from mbrl_split.threads import one_thread
from mbrl_split.tuning import (
    Candidate,
    Cost,
    InfeasibleError,
    Instance,
    Outcome,
    Range,
    Row,
    TuneData,
    confirm,
    cost_of,
    pick,
    search,
)
from mbrl_split.tuning.config import Settings, Value

SEARCH_CONTEXTS, HELD_OUT_CONTEXTS = 1201, 1202
"""Seeds of the contexts that tuning judges on; suites judge on contexts of another seed again."""


@dataclass(frozen=True)
class RowRunner:
    """Runs a row on a problem and judges its final policy.

    Attributes:
        problems: What is posed, by label.
        home: Where the task's folder ``problems`` lies.
        store: Where measurements live.
    """

    problems: dict[str, Posed]
    home: Path
    store: Path

    @classmethod
    def of(cls, data: TuneData, out: Path, home: Path = Path()) -> RowRunner:
        """The runner of a task whose output goes to a folder."""
        return cls({posed.label: posed for posed in data.posed}, home_of(home), out / "measurements.sqlite")

    def __call__(self, row: Row, instance: Instance) -> Outcome:
        problem = pose(self.problems[instance.problem], self.home)
        judge = problem.judge(HELD_OUT_CONTEXTS if instance.held_out else SEARCH_CONTEXTS)
        oracle = problem.oracle()
        kept = oracle is not None and oracle.identity and not oracle.is_replay
        ledger = Ledger(oracle, open_store(self.store) if kept else None, budget=row["budget"])
        method = _method(row)
        with one_thread(), tempfile.TemporaryDirectory() as folder:
            task = Task(problem, ledger, instance.seed, row["env_steps"], Path(folder))
            try:
                method.check(task)
            except InvalidInputError as error:
                raise InfeasibleError(str(error)) from None
            last: CurvePoint = deque(method.learn(task), maxlen=1)[0]
            value = judge.judge(last.policy).value
        if judge.headroom is None:
            return Outcome(-value, "value", float(ledger.spent), float(ledger.seconds))
        regret = Regret.of(value, judge.reference("optimal").value, judge.headroom)
        unit = "headroom" if regret.trusted else "reward"
        return Outcome(regret.reported, unit, float(ledger.spent), float(ledger.seconds))


def _method(row: Row) -> AgentMethod:
    return AgentMethod(
        row["agent"], row["source"], row.get("schedule"), row.get("acquisition"), row.get("settings", {})
    )


def check_space(data: TuneData, home: Path) -> None:
    """Refuse a space that names what is not there, or in which some member could never learn or pay.

    Every member is looked at once, with the mildest values of all that is open: shortest rollouts, most steps, largest
    budget. A trial that draws harder ones and cannot learn with them is told as failed.

    Args:
        data: The task.
        home: Where its folder ``problems`` lies.

    Raises:
        InvalidInputError: In one line.
    """
    space = data.space
    first = {part: next(iter(members)) for part, members in space.parts.items()}
    for part, members in space.parts.items():
        for member in members:
            chosen = {**first, part: member}
            settings = {p: _mildest(space.parts[p][name] or {}) for p, name in chosen.items()}
            settings |= {"trainer": _mildest(space.trainer), "fidelity": _mildest(space.fidelity)}
            row = {**chosen, "settings": {p: own for p, own in settings.items() if own}}
            most = _mildest({"budget": space.budget, "env_steps": space.env_steps}, largest=True)
            for posed in data.posed:
                try:
                    _method(row).check(stand_in(pose(posed, home), budget=most["budget"], env_steps=most["env_steps"]))
                except InvalidInputError as error:
                    raise InvalidInputError(f"{data.name}: space: {error}") from None


def _mildest(settings: Settings, *, largest: bool = False) -> dict[str, Any]:
    """The least (or largest) value of every setting that is open; of choices without an order the first."""

    def of(value: Value) -> Any:
        if isinstance(value, Range):
            return value.high if largest else value.low
        if not isinstance(value, list):
            return value
        ordered = all(isinstance(v, int | float) and not isinstance(v, bool) for v in value)
        return (max(value) if largest else min(value)) if ordered else value[0]

    return {name: of(value) for name, value in settings.items()}


@dataclass(frozen=True)
class Tuned:
    """What a tuning run leaves.

    Attributes:
        chosen: The configuration kept.
        found: All that were looked at again.
        cost: What tuning paid.
        path: The suite of the chosen configuration: ``mbrl-split train`` and ``bench run`` read it.
    """

    chosen: Candidate
    found: list[Candidate]
    cost: Cost
    path: Path

    def lines(self) -> list[str]:
        """What to tell at the end."""
        c, cost = self.chosen, self.cost
        return [
            f"kept: trial {c.trial}, {scored(c)} with {c.evaluations:.4g} true evaluations a run",
            f"tuning paid {cost.search:g} true evaluations searching and {cost.confirm:g} confirming",
            f"configuration: {self.path}",
        ]


def scored(candidate: Candidate) -> str:
    """What a candidate lost, or is worth where no optimum is known, in words."""
    if candidate.unit == "value":
        return f"value {-candidate.iqm:.4g} (IQM, worst {-candidate.worst:.4g})"
    return f"regret {candidate.iqm:.4g} ({candidate.unit}; IQM, worst {candidate.worst:.4g})"


def print_trial(total: int) -> Callable[[Any], None]:
    """Tells each trial in one line on standard error."""
    done = 0

    def told(trial: Any) -> None:
        nonlocal done
        done += 1
        values = (
            ", ".join(f"{v:.4g}" for v in trial.values) if trial.values else trial.user_attrs.get("failed", "failed")
        )
        chosen = ", ".join(f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in trial.params.items())
        print(f"trial {trial.number} (+{done}, {total} in all): {values}  {chosen}", file=sys.stderr, flush=True)

    return told


def tune(
    data: TuneData,
    out: Path,
    *,
    jobs: int = 1,
    study: Any = None,
    home: Path | None = None,
    command: str = "mbrl-split tune",
    told: Callable[[Any], None] | None = None,
) -> Tuned:
    """Search, look at the best again, and write ``tuned.yaml``, ``candidates.yaml``, ``tuning.json`` and figures.

    Problems of the user's own are copied beside what is written, which is complete therefore.

    Args:
        data: The task.
        out: The study's folder, and where results go; the same call goes on after an interruption.
        jobs: Processes.
        study: An Optuna study of your own, searched in this process.
        home: Where the task's file lies, with the user's own problems as beside a suite; default the working directory.
        command: What the files say produced them.
        told: Called with every trial that ended.

    Raises:
        InvalidInputError: The space names what is not there, or holds a part that could never learn or pay.
    """
    from mbrl_split.bench.tuning_figures import front, history, importance

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    runner = RowRunner.of(data, out, home or Path())
    check_space(data, runner.home)
    study = search(data, runner, folder=out, study=study, jobs=jobs, told=told)
    found = confirm(study, data, runner, jobs=jobs)
    chosen, cost = pick(found, data), cost_of(study)
    out.mkdir(parents=True, exist_ok=True)
    for own in filter(None, (file_of(posed, runner.home) for posed in data.posed)):
        (out / "problems").mkdir(exist_ok=True)
        write_text(out / "problems" / own.name, own.read_text(encoding="utf-8"))
    path = out / "tuned.yaml"
    _write_suite(path, data, [chosen], cost, command)
    _write_suite(out / "candidates.yaml", data, found, cost, command)
    summary = {
        "name": data.name,
        "command": command,
        "task": asdict(data),
        "chosen": chosen.trial,
        "candidates": [c.summary() for c in found],
        "cost": cost.summary(),
    }
    write_text(out / "tuning.json", json.dumps(summary, indent=1) + "\n")
    for name, figure in (
        ("front", front(study, found, chosen)),
        ("history", history(study)),
        ("importance", importance(study)),
    ):
        if figure is not None:
            write_text(out / f"{name}.svg", figure)
    return Tuned(chosen, found, cost, path)


def _write_suite(path: Path, data: TuneData, found: Sequence[Candidate], cost: Cost, command: str) -> None:
    """A suite with a row per candidate; the comments say where it comes from."""
    problems = [asdict(labelled(entry)) for entry in data.problems]
    split = {"truth": data.truth, "models": data.models, "scenarios": data.scenarios, "contexts": data.contexts}
    split |= {"overrides": data.overrides}
    suite = {
        "name": f"{data.name}-{path.stem}",
        "title": f"{data.title} ({path.stem})",
        "seeds": 10,
        **({"problems": problems} if problems else {}),
        **(split if data.scenarios else {}),
        "algorithms": [{"algorithm": _label(c, found), **c.row} for c in found],
    }
    about = [
        f"Written by: {command}",
        f"Tuning paid {cost.total:g} true evaluations: {cost.search:g} in {cost.trials} trials, "
        f"{cost.confirm:g} confirming.",
    ]
    about += [
        f"{_label(c, found)}: trial {c.trial}, {scored(c)} on fresh seeds and held-out contexts, "
        f"{c.evaluations:.4g} true evaluations a run"
        for c in found
    ]
    text = "".join(f"# {line}\n" for line in about) + yaml.safe_dump(suite, sort_keys=False)
    write_text(path, text)
    load_suite(path)  # what is written here can be read there


def _label(candidate: Candidate, found: Sequence[Candidate]) -> str:
    label = f"{candidate.row['agent']}-{candidate.row['source']}-tuned"
    return label if len(found) == 1 else f"{label}-{candidate.trial}"
