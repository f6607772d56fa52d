"""Studies: the space, exact resumption, constraints, pruning, confirmation, cost."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import FixedTrial

from mbrl_split import InvalidInputError
from mbrl_split.errors import BudgetExhaustedError
from mbrl_split.tuning import (
    Instance,
    MemorylessTPE,
    Outcome,
    candidates,
    confirm,
    cost_of,
    outcomes_of,
    pick,
    search,
    stored_study,
    suggest,
    tune_data,
)

HERE = Path(__file__).parent
_spec = importlib.util.spec_from_file_location("lives", HERE / "lives.py")
assert _spec is not None
assert _spec.loader is not None
lives = importlib.util.module_from_spec(_spec)
sys.modules["lives"] = lives
_spec.loader.exec_module(lives)
TASK, ONE, Bowl = lives.TASK, lives.ONE, lives.Bowl


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


# ---- the space ------------------------------------------------------------------------------------------------------


def test_settings_of_a_member_that_was_not_chosen_are_not_asked_for() -> None:
    space = tune_data(TASK).space
    trial = FixedTrial({"source": "mlp", "schedule": "fixed", "fixed.every": 900, "fixed.n": 8, "budget": 33})
    row = suggest(trial, space)
    assert row == {
        "agent": "ppo",
        "source": "mlp",
        "schedule": "fixed",
        "acquisition": "random",
        "budget": 33,
        "env_steps": 60_000,
        "settings": {"schedule": {"every": 900, "n": 8}},
    }
    trial = FixedTrial({"source": "gp", "schedule": "never", "budget": 10})
    assert "schedule" not in suggest(trial, space)["settings"]
    assert set(trial.params) == {"source", "schedule", "budget"}


def test_every_trial_of_a_study_has_exactly_the_parameters_of_its_members() -> None:
    study = search(tune_data(TASK), Bowl(), study=optuna.create_study(directions=["minimize"] * 2))
    own = {"never": set(), "fixed": {"fixed.every", "fixed.n"}, "geometric": {"geometric.first", "geometric.ratio"}}
    seen = set()
    for trial in study.trials:
        seen.add(trial.params["schedule"])
        assert set(trial.params) == {"source", "schedule", "budget"} | own[trial.params["schedule"]]
    assert seen == set(own)


@pytest.mark.parametrize(
    ("value", "drawn"),
    [
        ({"low": 1, "high": 4}, {1, 2, 3, 4}),
        ({"low": 2, "high": 8, "step": 3}, {2, 5, 8}),
        ([1, "a", True], {1, "a"}),
        (7, {7}),
    ],
)
def test_ranges_choices_and_fixed_values(value: object, drawn: set) -> None:
    space = tune_data(TASK | {"space": {**TASK["space"], "trainer": {"k": value}}}).space
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    assert {suggest(study.ask(), space)["settings"]["trainer"]["k"] for _ in range(60)} == drawn


def test_a_logarithmic_range_is_searched_along_its_logarithm() -> None:
    space = tune_data(TASK | {"space": {**TASK["space"], "trainer": {"k": {"low": 1e-4, "high": 1.0, "log": True}}}})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [suggest(study.ask(), space.space)["settings"]["trainer"]["k"] for _ in range(300)]
    assert 0.4 < np.mean(np.array(drawn) < 1e-2) < 0.6


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"space": {**TASK["space"], "source": {"gpp": None}}}, ["space.source", "gpp", "did you mean 'gp'"]),
        ({"space": {**TASK["space"], "agent": {"ppo": None, "a2c": None}}}, ["one agent"]),
        ({"space": {**TASK["space"], "agent": {"argmax": None}}}, ["trainer.refresh_batches"]),
        ({"space": {**TASK["space"], "budget": {"low": 9, "high": 3}}}, ["space.budget", "low 9"]),
        ({"space": {**TASK["space"], "budget": {"low": 1, "hihg": 3}}}, ["space.budget", "did you mean 'high'"]),
        ({"space": {**TASK["space"], "trainr": {}}}, ["space.trainr", "did you mean 'trainer'"]),
        ({"confirm": {"sead": 3}}, ["confirm.sead", "did you mean 'seeds'"]),
        ({"objectives": ["evaluations"]}, ["objectives"]),
        ({"max_evaluations": 50}, ["max_evaluations", "[regret]"]),
        ({"scenarios": ["equalized"]}, ["did you mean 'equalised'"]),
        ({"trials": 0}, ["trials"]),
        ({"titel": 1}, ["did you mean 'title'"]),
    ],
)
def test_a_broken_task_is_one_clear_line(changes: dict, words: list[str]) -> None:
    with pytest.raises(InvalidInputError) as caught:
        tune_data(TASK | changes, "task.yaml")
    assert "\n" not in str(caught.value)
    for word in ["task.yaml", *words]:
        assert word in str(caught.value)


# ---- going on -------------------------------------------------------------------------------------------------------


def test_a_study_killed_at_random_has_the_trials_of_one_that_was_not(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, HERE / "lives.py", tmp_path], capture_output=True, text=True, timeout=300, check=True
    )
    report = json.loads(done.stdout)
    for name in ("two", "one"):
        found = report[name]
        assert found["lives"] > 2, "nothing was killed, so nothing was tested"
        assert len(found["whole"]) == TASK["trials"]
        assert found["killed"] == found["whole"]


def test_a_sampler_with_a_memory_would_not_do() -> None:
    """Negative control: Optuna's own seeded sampler, made anew, repeats its first trials."""

    def params(make: Any) -> list[dict]:
        study = optuna.create_study(directions=["minimize"] * 2, sampler=make())
        search(tune_data(TASK | {"trials": 3}), Bowl(), study=study)
        study.sampler = make()
        search(tune_data(TASK | {"trials": 6}), Bowl(), study=study)
        return [t.params for t in study.trials]

    forgetful = params(lambda: optuna.samplers.TPESampler(seed=0))
    assert forgetful[:3] == forgetful[3:]
    ours = params(lambda: MemorylessTPE(0))
    whole = optuna.create_study(directions=["minimize"] * 2, sampler=MemorylessTPE(0))
    search(tune_data(TASK | {"trials": 6}), Bowl(), study=whole)
    assert ours == [t.params for t in whole.trials]


def test_a_line_cut_short_and_a_lock_left_behind_are_mended(tmp_path: Path) -> None:
    search(tune_data(TASK | {"trials": 3}), Bowl(), folder=tmp_path)
    before = lives.ended(tmp_path)
    with (tmp_path / "study.journal").open("ab") as file:
        file.write(b'{"op_code":4,"worker_')
    (tmp_path / "study.journal.lock").symlink_to(tmp_path / "study.journal")
    search(tune_data(TASK | {"trials": 5}), Bowl(), folder=tmp_path)
    after = lives.ended(tmp_path)
    assert len(after) == 5
    assert after[:3] == before


def test_another_task_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    search(tune_data(TASK | {"trials": 1}), Bowl(), folder=tmp_path)
    with pytest.raises(InvalidInputError, match="seeds was 3, is 5"):
        search(tune_data(TASK | {"seeds": 5}), Bowl(), folder=tmp_path)
    with pytest.raises(InvalidInputError, match="'bowl', not 'vase'"):
        search(tune_data(TASK | {"name": "vase"}), Bowl(), folder=tmp_path)


def test_one_owner_at_a_time(tmp_path: Path) -> None:
    def inner(row: dict, instance: Instance) -> Outcome:
        with pytest.raises(InvalidInputError, match="another process"):
            search(tune_data(TASK), Bowl(), folder=tmp_path)
        return Bowl()(row, instance)

    search(tune_data(TASK | {"trials": 1}), inner, folder=tmp_path)


# ---- one objective --------------------------------------------------------------------------------------------------


def test_a_constraint_on_truth_is_kept_by_whatever_is_chosen(tmp_path: Path) -> None:
    study = search(tune_data(TASK | ONE), Bowl(), folder=tmp_path)
    paid = {t.number: 0.75 * t.params["budget"] for t in study.trials}
    for trial in study.trials:
        assert trial.constraints == {"true_evaluations": pytest.approx(paid[trial.number] - 40)}
    assert any(p > 40 for p in paid.values()), "nothing was infeasible"
    # unconstrained, the largest budget would win
    assert all(paid[t.number] <= 40 for t in candidates(study, 10))
    assert paid[study.best_trial.number] <= 40


def test_a_trial_that_is_worse_on_the_same_seeds_is_stopped_and_never_chosen(tmp_path: Path) -> None:
    data = tune_data(TASK | {"objectives": ["regret"], "seeds": 6, "trials": 15})
    study = search(data, Bowl(), folder=tmp_path)
    stopped = [t for t in study.trials if "stopped_after" in t.user_attrs]
    assert stopped
    for trial in stopped:
        regrets = [o.regret for o in outcomes_of(trial)]
        assert len(regrets) == trial.user_attrs["stopped_after"] < 6
        assert trial.value == pytest.approx(np.mean(regrets))
        assert trial.value > study.best_value
    assert not {t.number for t in stopped} & {t.number for t in candidates(study, 25)}
    assert cost_of(study).stopped == len(stopped)
    patient = search(
        tune_data(TASK | {"objectives": ["regret"], "prune": False, "trials": 8}), Bowl(), folder=tmp_path / "patient"
    )
    assert not any("stopped_after" in t.user_attrs for t in patient.trials)


# ---- looking again, and what it cost --------------------------------------------------------------------------------


def test_the_front_is_looked_at_again_on_fresh_seeds_and_held_out_contexts(tmp_path: Path) -> None:
    seen: list[Instance] = []

    def watching(row: dict, instance: Instance) -> Outcome:
        seen.append(instance)
        return Bowl()(row, instance)

    data = tune_data(TASK | {"models": ["tiny-llama", "tiny-gpt2"]})
    study = search(data, watching, folder=tmp_path)
    searched = set(seen)
    seen.clear()
    found = confirm(study, data, watching)
    assert len(seen) == len(found) * 3 * 2
    assert all(i.held_out for i in seen)
    assert not {i.seed for i in seen} & {i.seed for i in searched}
    assert not {i.seed for i in seen} & set(range(1000)), "suites' own seeds"
    front = {t.number for t in study.best_trials}
    assert {c.trial for c in found} <= front
    assert [c.evaluations for c in found] == sorted(c.evaluations for c in found)
    assert np.shape(found[0].regrets) == (3, 2)
    seen.clear()
    assert confirm(study, data, watching) == found
    assert not seen, "what was run is not run again"


def test_the_cheapest_candidate_within_the_target_is_kept(tmp_path: Path) -> None:
    data = tune_data(TASK)
    found = confirm(search(data, Bowl(), folder=tmp_path), data, Bowl())
    for target in (0.0, found[1].iqm, 10.0):
        kept = pick(found, tune_data(TASK | {"confirm": {"top": 3, "seeds": 3, "target": target}}))
        within = [c for c in found if c.iqm <= target]
        expected = min(within, key=lambda c: c.evaluations) if within else min(found, key=lambda c: c.iqm)
        assert kept == expected


def test_all_truth_is_counted_and_equal_runs_give_equal_costs(tmp_path: Path) -> None:
    total = 0.0

    def counting(row: dict, instance: Instance) -> Outcome:
        nonlocal total
        outcome = Bowl()(row, instance)
        if row["budget"] < 20:
            raise BudgetExhaustedError("not enough to begin with")
        total += outcome.true_evaluations
        return outcome

    data = tune_data(TASK)
    study = search(data, counting, folder=tmp_path)
    searched = total
    confirm(study, data, counting)
    cost = cost_of(study)
    assert cost.failed > 0
    assert cost.search == pytest.approx(searched)
    assert cost.confirm == pytest.approx(total - searched)
    assert cost.trials == TASK["trials"]


def test_an_interrupted_trial_s_truth_is_counted_too(tmp_path: Path) -> None:
    calls = 0

    def breaking(row: dict, instance: Instance) -> Outcome:
        nonlocal calls
        calls += 1
        if calls == 5:  # the second run of the second trial
            raise KeyboardInterrupt
        return Outcome(1.0, "headroom", 5.0)

    data = tune_data(TASK | {"trials": 3})
    with pytest.raises(KeyboardInterrupt):
        search(data, breaking, folder=tmp_path)
    study = search(data, breaking, folder=tmp_path)
    assert cost_of(study).interrupted == 1
    assert cost_of(study).search == 5.0 * (3 * 3 + 1)


def test_problems_in_different_units_are_not_averaged(tmp_path: Path) -> None:
    def mixed(row: dict, instance: Instance) -> Outcome:
        return Outcome(0.1, "reward" if instance.problem == "equalised/tiny-gpt2" else "headroom", 1.0)

    with pytest.raises(InvalidInputError, match="units"):
        search(tune_data(TASK | {"models": ["tiny-llama", "tiny-gpt2"]}), mixed, folder=tmp_path)


def test_a_study_of_one_s_own(tmp_path: Path) -> None:
    own = optuna.create_study(directions=["minimize"] * 2, sampler=optuna.samplers.RandomSampler(seed=3))
    assert search(tune_data(TASK), Bowl(), study=own) is own
    assert len(own.trials) == TASK["trials"]
    assert stored_study(tmp_path) is None
    with pytest.raises(InvalidInputError, match="directions"):
        search(tune_data(TASK | ONE), Bowl(), study=own)
    with pytest.raises(InvalidInputError, match="one process"):
        search(tune_data(TASK), Bowl(), study=own, jobs=2)
