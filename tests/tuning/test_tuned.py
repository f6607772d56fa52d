"""Tuning on a measured table: what is written is read again, truth is counted, two workers lose nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from mbrl_split.bench import load_suite, run_cell
from mbrl_split.bench.tuned import SEARCH_CONTEXTS, RowRunner, scored, tune
from mbrl_split.bench.tuning_figures import front, history
from mbrl_split.cli import main
from mbrl_split.errors import InvalidInputError
from mbrl_split.evaluation import Regret
from mbrl_split.layer_split import LayerSplit
from mbrl_split.tuning import Instance, Outcome, load_tune, outcomes_of, search, stored_study, tune_data
from mbrl_split.tuning.confirm import Candidate, pick
from mbrl_split.tuning.search import SEARCH_SEED

TASK = {
    "name": "quick",
    "title": "t",
    "models": ["tiny-llama"],
    "scenarios": ["equalised"],
    "trials": 6,
    "startup": 3,
    "seeds": 1,
    "contexts": 60,
    "space": {
        "agent": {"argmax": None},
        "source": {"gp": {"warp": "auto"}},
        "acquisition": {"random": None, "ucb": {"kappa": {"low": 0.5, "high": 4.0}}},
        "trainer": {"initial_design": {"low": 8, "high": 30}, "refresh_batches": {"low": 0, "high": 2}},
        "budget": {"low": 20, "high": 50},
    },
    "confirm": {"top": 2, "seeds": 2, "target": 0.5},
}


def test_a_study_ends_in_a_suite_that_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = tmp_path / "task.yaml"
    task.write_text(yaml.safe_dump(TASK))
    out = tmp_path / "out"
    main(["tune", str(task), "--out", str(out), "--trials", "5"])
    said = capsys.readouterr()
    assert said.err.count("\n") == 5
    assert "kept: trial" in said.out

    summary = json.loads((out / "tuning.json").read_text())
    study = stored_study(out)
    assert study is not None
    kept = study.trials[summary["chosen"]]
    suite = load_suite(out / "tuned.yaml")
    (cell,) = {c.seed: c for c in suite.cells() if c.seed == 0}.values()
    row = kept.user_attrs["row"]
    assert (cell.algorithm.agent, cell.algorithm.source, cell.algorithm.acquisition) == (
        row["agent"],
        row["source"],
        row["acquisition"],
    )
    assert (cell.budget, cell.algorithm.settings) == (row["budget"], row["settings"])
    assert len(load_suite(out / "candidates.yaml").data.algorithms) == len(summary["candidates"])

    # The suite's run pays what the search's runs paid; only seed and contexts differ.
    outcome = run_cell(cell, tmp_path / "cell", suite.home, tmp_path / "store.sqlite")
    assert outcome.status == "ok"
    point = json.loads((tmp_path / "cell" / "result.json").read_text())["curve"][-1]
    assert point["true_evaluations"] <= row["budget"]
    assert abs(point["true_evaluations"] - kept.values[1]) < 2

    paid = sum(o.true_evaluations for t in study.trials for o in outcomes_of(t))
    assert summary["cost"]["search"] == paid > 5 * 15
    assert summary["cost"]["total"] == paid + sum(c["paid"] for c in summary["candidates"])
    for figure in ("front", "history", "importance"):
        assert (out / f"{figure}.svg").read_text().startswith("<svg")

    # The same command again has nothing left to do, and writes the same.
    before = {f.name: f.read_bytes() for f in out.iterdir() if f.suffix != ".journal"}
    main(["tune", str(task), "--out", str(out), "--trials", "5"])
    assert capsys.readouterr().err == ""
    assert {f.name: f.read_bytes() for f in out.iterdir() if f.suffix != ".journal"} == before


def test_a_run_is_the_same_wherever_it_runs_and_held_out_contexts_are_others(tmp_path: Path) -> None:
    runner = RowRunner.of(tune_data(TASK), tmp_path)
    row = {"agent": "argmax", "source": "gp", "acquisition": "random", "budget": 30, "env_steps": 1, "settings": {}}
    first = runner(row, Instance("equalised/tiny-llama", 5))
    again, held_out = (
        runner(row, Instance("equalised/tiny-llama", 5)),
        runner(row, Instance("equalised/tiny-llama", 5, held_out=True)),
    )
    assert first == again
    assert first.true_evaluations <= 30
    assert held_out.true_evaluations == first.true_evaluations
    assert held_out.regret != first.regret


PPO = {"n_steps": 8, "batch_size": 64, "learning_rate": 1e-3, "gamma": 0.0}
TRAINED: dict[str, Any] = {
    "agent": {"ppo": PPO},
    "source": {"gp": None},
    "schedule": {"never": None, "fixed": {"every": {"low": 200, "high": 400}, "n": 4}},
    "trainer": {"num_envs": 16, "initial_design": 12, "segment_steps": 200},
    "budget": 30,
    "env_steps": 3000,
}


def test_a_schedule_is_tuned_with_an_agent_that_is_trained(tmp_path: Path) -> None:
    data = tune_data({**TASK, "trials": 4, "space": TRAINED, "confirm": {"top": 1, "seeds": 1}})
    found = tune(data, tmp_path)
    study = stored_study(tmp_path)
    assert study is not None
    told = {t.params["schedule"]: t.values for t in study.trials}
    assert set(told) == {"never", "fixed"}
    # Twelve rows and the clean references of their text; the schedule buys fours until the budget allows no more.
    assert 12 < told["never"][1] < 12 + 16
    assert 30 - 4 < told["fixed"][1] <= 30
    judge = LayerSplit("equalised", "tiny-llama", contexts=data.contexts).judge(SEARCH_CONTEXTS)
    assert judge.headroom is not None
    values = [judge.reference(name).value for name in ("random", "optimal")]
    chance = Regret.of(*values, judge.headroom).reported
    assert told["fixed"][0] < 0.7 * chance, "what was bought taught the agent nothing"
    # The suite that is kept says what its trial ran: the same row gives the same outcome.
    (row,) = load_suite(found.path).data.algorithms
    again = {"agent": row.agent, "source": row.source, "schedule": row.schedule, "acquisition": row.acquisition}
    again |= {"budget": row.budget, "env_steps": row.env_steps, "settings": row.settings}
    outcome = RowRunner.of(data, tmp_path)(again, Instance("equalised/tiny-llama", SEARCH_SEED))
    assert [outcome.regret, outcome.true_evaluations] == study.trials[found.chosen.trial].values


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trainer": {"nonsense": 3}}, "unknown setting of trainer 'nonsense'"),
        ({"trainer": {"num_env": 4}}, "did you mean 'num_envs'?"),
        ({"agent": {"ppo": {"n_stepz": 8}}}, "did you mean 'n_steps'?"),
        ({"source": {"gp": None, "mlp": {"step": 9}}}, "space: unknown setting of source mlp 'step'"),
        ({"schedule": {"never": None, "fixed": {"evry": 9}}}, "did you mean 'every'?"),
        ({"schedule": {"fixed": {"n": 9}}}, "space: schedule fixed: missing a required argument: 'every'"),
        ({"acquisition": {"random": None, "ucb": {"kapa": 1.0}}}, "did you mean 'kappa'?"),
        ({"agent": {"ppo": None}}, "PPO would never learn: its first update comes after 32,768 steps"),
        ({"agent": {"ppo": {"n_steps": {"low": 256, "high": 512}}}}, "after 4,096 steps"),
        ({"schedule": {"never": None, "fixed": {"every": {"low": 3000, "high": 9000}}}}, "would never pay"),
        ({"schedule": {"fixed": {"every": 400}}, "trainer": {"num_envs": 16, "initial_design": 30}}, "would never pay"),
    ],
)
def test_a_space_that_is_wrong_is_refused_before_the_first_trial(
    changes: dict[str, Any], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(yaml.safe_dump({**TASK, "space": {**TRAINED, **changes}}))
    with pytest.raises(SystemExit, match="2"):
        main(["tune", str(path), "--out", str(tmp_path / "out")])
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert words in line
    assert not (tmp_path / "out").exists()


def test_a_trial_that_cannot_learn_fails_and_the_search_goes_on(tmp_path: Path) -> None:
    space = {**TRAINED, "agent": {"ppo": {**PPO, "n_steps": [8, 2048]}}, "schedule": {"never": None}}
    found = tune(tune_data({**TASK, "space": space, "confirm": {"top": 1, "seeds": 1}}), tmp_path)
    study = stored_study(tmp_path)
    assert study is not None
    by_rollout = {n: [t for t in study.trials if t.params["ppo.n_steps"] == n] for n in (8, 2048)}
    assert all(t.state == optuna.trial.TrialState.COMPLETE for t in by_rollout[8])
    assert by_rollout[2048], "nothing was infeasible"
    for trial in by_rollout[2048]:
        assert trial.state == optuna.trial.TrialState.FAIL
        assert "would never learn" in trial.user_attrs["failed"]
        assert outcomes_of(trial) == []
    assert found.chosen.row["settings"]["agent"]["n_steps"] == 8


def test_a_file_with_a_key_twice_or_overrides_of_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    text = yaml.safe_dump(TASK)
    path.write_text(text + "trials: 3\n")
    with pytest.raises(InvalidInputError, match=r"task.yaml, line \d+: .*the key 'trials' stands there twice"):
        load_tune(path)
    path.write_text(text + "overrides: {nope: {}}\n")
    with pytest.raises(InvalidInputError, match=r"task.yaml: unknown scenario in overrides 'nope'"):
        load_tune(path)
    path.write_text(text + "overrides: {equalised: {pool: 64}}\n")
    assert load_tune(path, ["scenarios=[snr]"]).overrides == {"equalised": {"pool": 64}}


@pytest.mark.slow
def test_two_workers_that_are_killed_lose_no_finished_trial(tmp_path: Path) -> None:
    task, out = tmp_path / "task.yaml", tmp_path / "out"
    task.write_text(yaml.safe_dump({**TASK, "trials": 24, "seeds": 2}))
    command = [sys.executable, "-m", "mbrl_split.cli", "tune", str(task), "--out", str(out), "--jobs", "2"]
    running = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while len(_complete(out)) < 4 and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    before = _complete(out)
    assert 4 <= len(before) < 24
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    after = _complete(out)
    assert len(after) == 24
    assert {n: after[n] for n in before} == before
    assert sorted(place for place, _, _ in after.values()) == list(range(24))


def _complete(folder: Path) -> dict[int, tuple]:
    try:
        study = stored_study(folder)
    except (KeyError, ValueError):  # the study is being made
        return {}
    trials = [] if study is None else study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    return {t.number: (t.user_attrs["place"], t.params, t.values) for t in trials}


def test_what_is_kept_obeys_the_constraint_in_its_confirmation() -> None:
    data = tune_data(TASK | {"objectives": ["regret"]})
    dear = Candidate(0, {}, [0.1], [[0.1]], 130.0, 130.0, 1.0, "headroom")
    cheap = Candidate(1, {}, [0.1], [[0.2]], 50.0, 50.0, 1.0, "headroom")
    assert pick([dear, cheap], data) is dear
    assert pick([dear, cheap], replace(data, max_evaluations=100)) is cheap
    assert pick([dear], replace(data, max_evaluations=100)) is dear


def test_where_no_optimum_is_known_the_highest_value_is_kept() -> None:
    cheap = Candidate(0, {}, [-10.0, 5.0], [[-10.0], [-9.0]], 5.0, 10.0, 1.0, "value")
    good = Candidate(1, {}, [-40.0, 60.0], [[-40.0], [-38.0]], 60.0, 120.0, 1.0, "value")
    assert pick([cheap, good], tune_data(TASK)) is good
    assert scored(good) == "value 39 (IQM, worst 38)"
    study = optuna.create_study(directions=["minimize"] * 2)
    search(tune_data(TASK), lambda row, instance: Outcome(-row["budget"], "value", row["budget"]), study=study)
    for figure in (front(study, [cheap, good], good), history(study)):
        assert "minus the value" in figure
        assert "regret" not in figure
        assert "−40" in figure, "an axis that is not logarithmic"


def test_the_committed_task_is_valid() -> None:
    data = load_tune(Path(__file__).parents[2] / "benchmarks" / "tune.yaml", ["trials=3", "confirm.seeds=4"])
    assert (data.trials, data.confirm.seeds) == (3, 4)
