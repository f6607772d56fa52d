"""What could never learn, never pay, or is not there at all is refused before the first run."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from mbrl_split import InvalidInputError
from mbrl_split.bench import Task, load_suite, run_suite, select
from mbrl_split.bench.methods import AgentMethod
from mbrl_split.cli import main
from mbrl_split.layer_split import LayerSplit, scenario
from mbrl_split.oracles import FunctionOracle, Ledger

ROOT = Path(__file__).parents[2]
HEAD = {"name": "s", "title": "t", "scenarios": ["equalised"], "models": ["tiny-llama"], "seeds": 1, "truth": "table"}
TRUTH = {"algorithm": "row", "agent": "ppo", "source": "oracle"}
MODEL = {"algorithm": "row", "agent": "ppo", "source": "gp", "schedule": "fixed"}
QUICK = {"agent": {"n_steps": 8}, "schedule": {"every": 400}}


def write(folder: Path, row: dict[str, Any], **changes: Any) -> Path:
    (folder / "baselines").exists() or (folder / "baselines").symlink_to(ROOT / "baselines")
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump({**HEAD, "algorithms": [row], **changes}))
    return path


def complaint(path: Path, *assignments: str) -> str:
    """The one line by which the suite is refused, within two seconds of processor time."""
    began = time.process_time()
    with pytest.raises(InvalidInputError) as caught:
        load_suite(path, assignments)
    assert time.process_time() - began < 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- agents that would not learn once --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            {**MODEL, "env_steps": 20000, "settings": {"schedule": {"every": 5000}}},
            "after 32,768 steps (n_steps 2048, num_envs 16), and env_steps ends the run after 20,000; raise env_steps",
        ),
        ({**TRUTH, "budget": 150}, "raise budget to 32,768, or lower n_steps to 9"),
        ({**TRUTH, "budget": 130, "settings": {"agent": {"n_steps": 9}}}, "after 144 steps"),
        ({**TRUTH, "agent": "a2c", "env_steps": 60, "budget": 500}, "raise env_steps to 80"),
        ({**TRUTH, "agent": "dqn", "budget": 1000}, "DQN would never learn: its first update comes after 1,024 steps"),
        ({**TRUTH, "agent": "reinforce", "budget": 70}, "after 80 steps (n_episodes 8, max_steps 4096, num_envs 16)"),
        ({**TRUTH, "agent": "linucb", "budget": 10}, "after 16 steps (n_steps 1, num_envs 16)"),
        (
            {
                **TRUTH,
                "agent": "surrogate-bandit",
                "budget": 20,
                "settings": {"agent": {"surrogate": "gp", "cold_start": 30}},
            },
            "after 32 steps (cold_start 30, n_steps 1, num_envs 16)",
        ),
        ({"algorithm": "row", "baseline": "ppo_perfect_table", "env_steps": 20000}, "after 32,768 steps"),
        ({"algorithm": "row", "baseline": "authors_setup", "env_steps": 20000}, "after 32,768 steps"),
        ({"algorithm": "row", "baseline": "sb3", "budget": 300}, "Stable-Baselines3's ppo would never learn"),
        (
            {"algorithm": "row", "baseline": "sb3", "budget": 60, "settings": {"baseline": {"agent": "dqn"}}},
            "after 128",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else value.get("agent", value.get("baseline")),
)
def test_a_row_that_could_not_learn_once_is_refused(row: dict, words: str, tmp_path: Path) -> None:
    assert words in complaint(write(tmp_path, row))


@pytest.mark.parametrize("command", [["bench", "run"], ["train"], ["bench", "report"]])
def test_the_command_line_says_so_and_leaves_nothing_behind(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, {**MODEL, "env_steps": 20000, "settings": {"schedule": {"every": 5000}}})
    with pytest.raises(SystemExit, match="2"):
        main([*command, str(path), "--out", str(tmp_path / "out")])
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "row: PPO would never learn" in line
    assert not (tmp_path / "out").exists()


def test_one_update_is_enough(tmp_path: Path) -> None:
    """At the border: sixteen environments step together, so 113 steps are 128."""
    for steps, fits in ((112, False), (113, True)):
        path = write(
            tmp_path, {**MODEL, "schedule": "never", "env_steps": steps, "settings": {"agent": {"n_steps": 8}}}
        )
        if fits:
            (cell,) = load_suite(path).cells()
            assert run_suite(load_suite(path), tmp_path / "out", [cell]) == []
            log = (tmp_path / "out" / "runs" / cell.folder / "metrics.jsonl").read_text().splitlines()
            assert [r["step"] for r in map(json.loads, log) if r["kind"] == "train"] == [128]
        else:
            assert "would never learn" in complaint(path)


def test_what_no_file_can_tell_is_told_by_the_run(tmp_path: Path) -> None:
    """32 steps would fit into the budget, but the clean references of their text do not."""
    path = write(tmp_path, {**TRUTH, "budget": 34, "settings": {"agent": {"n_steps": 4}, "trainer": {"num_envs": 8}}})
    suite = load_suite(path)
    (outcome,) = run_suite(suite, tmp_path / "out", select(suite))
    assert outcome.status == "refused"
    assert "the agent learnt nothing: the run ended after 16 steps" in str(outcome.error)


# ---- schedules that would never pay ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "settings", "words"),
    [
        (
            "fixed",
            {"every": 20000},
            "asked for the last time after 19,968 of 20,000 steps it says: 19968 of 20000 steps",
        ),
        ("geometric", {"first": 30000}, "refresh 1 is due at step 30000"),
        ("doubling", {"first": 30000}, "refresh 1 is due at step 30000"),
        ("uncertainty", {"threshold": 0.1, "every": 20000}, "19968 of 20000 steps"),
        ("voi", {"price": 0.1, "every": 20000}, "19968 of 20000 steps"),
        ("error", {"audit_every": 20000}, "cusum at 0"),
        ("paced", {"batch": 300}, "less than a batch of 300"),
    ],
)
def test_a_schedule_that_could_never_pay_is_refused(schedule: str, settings: dict, words: str, tmp_path: Path) -> None:
    row = {**MODEL, "schedule": schedule, "settings": {"agent": {"n_steps": 8}, "schedule": settings}}
    line = complaint(write(tmp_path, row, env_steps=20000))
    assert "would never pay" in line
    assert words in line


def test_an_initial_design_that_takes_the_whole_budget_leaves_a_schedule_nothing(tmp_path: Path) -> None:
    row = {**MODEL, "budget": 50, "settings": {**QUICK, "trainer": {"initial_design": 50}}}
    assert "initial_design 50 takes 50 of the budget of 50" in complaint(write(tmp_path, row))
    load_suite(write(tmp_path, {**row, "settings": {**row["settings"], "fidelity": {"size": 512}}}))
    load_suite(write(tmp_path, {**row, "schedule": "never", "settings": {"agent": {"n_steps": 8}}}))


def test_a_budget_for_no_row_at_all_is_refused(tmp_path: Path) -> None:
    row = {"algorithm": "row", "agent": "argmax", "source": "gp", "budget": 0.4}
    assert "the budget of 0.4 true evaluations allows no row to begin with" in complaint(write(tmp_path, row))
    load_suite(write(tmp_path, {**row, "settings": {"fidelity": {"size": 256, "sequential_parts": 4}}}))


@pytest.mark.parametrize(("every", "pays"), [(288, True), (289, False)])
def test_the_refusal_knows_when_the_loop_asks(every: int, pays: bool, tmp_path: Path) -> None:
    """Rollouts of 32 steps, segments of 90: asked after 96, 192 and 288 of 320 steps, and never after."""
    columns = scenario("equalised").columns(12)
    ledger = Ledger(FunctionOracle(lambda X: X[:, 1] / X[:, 0], columns), budget=40)
    task = Task(LayerSplit("equalised", "tiny-llama"), ledger, 0, 320, tmp_path)
    settings = {
        "agent": {"n_steps": 8},
        "schedule": {"every": every, "n": 5},
        "trainer": {"num_envs": 4, "initial_design": 20, "segment_steps": 90},
    }
    method = AgentMethod("ppo", "gp", "fixed", "random", settings)
    if pays:
        method.check(task)
    else:
        with pytest.raises(InvalidInputError, match="asked for the last time after 288 of 320 steps"):
            method.check(task)
    assert ledger.spent == 0, "a check measures nothing"
    for _ in method.learn(task):
        pass
    assert ledger.spent == (25 if pays else 20)


# ---- names that are not there ----------------------------------------------------------------------------------------


def having(**settings: Any) -> dict[str, Any]:
    return {**MODEL, "settings": {**QUICK, **settings}}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (having(trainr={"num_envs": 4}), "unknown part in settings 'trainr'; did you mean 'trainer'?"),
        (having(nope={}), "unknown part in settings 'nope'"),
        (having(trainer={"initial_desing": 9}), "trainer 'initial_desing'; did you mean 'initial_design'?"),
        (having(trainer={"checkpoint_dir": "x"}), "unknown setting of trainer 'checkpoint_dir'"),
        (
            having(trainer={"refresh_batches": 3}),
            "unknown setting of trainer 'refresh_batches'",
        ),  # of those that look up
        (having(trainer={"design": "sobbol"}), "design is 'sobol' or 'random'"),
        (having(fidelity={"sizes": 9}), "unknown setting of fidelity 'sizes'; did you mean 'size'?"),
        (having(schedule={"evry": 400}), "unknown setting of schedule fixed 'evry'; did you mean 'every'?"),
        (having(schedule={}), "schedule fixed: missing a required argument: 'every'"),
        (having(acquisition={"objective": 3}), "acquisition random"),
        (having(agent={"n_stepz": 8}), "did you mean 'n_steps'?"),
        (having(agent={"n_steps": "eight"}), "agent ppo"),
        (having(source={"sed": 3}), "unknown setting of source gp 'sed'"),
        ({**having(source={"hyper_row": 9}), "source": "fading-gp"}, "did you mean 'hyper_rows'?"),
        ({**having(source={"step": 9}), "source": "fading-mlp"}, "did you mean 'steps'?"),
        (having(baseline={}), "settings.baseline goes with a baseline"),
        ({**having(), "agent": "poo"}, "unknown agent 'poo'; did you mean 'ppo'?"),
        ({**having(), "agent": "argmx"}, "did you mean 'argmax'?"),
        ({**having(), "source": "fading-gb"}, "did you mean 'fading-gp'?"),
        ({**having(), "source": "orcale"}, "did you mean 'oracle'?"),
        ({**having(), "schedule": "fixd"}, "unknown schedule 'fixd'; did you mean 'fixed'?"),
        ({**having(), "acquisition": "thomson"}, "unknown acquisition 'thomson'; did you mean 'thompson'?"),
        ({**having(), "source": "oracle"}, "source oracle pays for every step: it has no schedule"),
        ({**TRUTH, "settings": {"agent": {"n_steps": 8}, "source": {}}}, "unknown part in settings 'source'"),
        ({**TRUTH, "settings": {"agent": {"n_steps": 8}, "trainer": {"initial_design": 8}}}, "'initial_design'"),
        ({**TRUTH, "agent": "argmax"}, "exact reference"),
        ({**MODEL, "agent": "planner"}, "no context process to plan for"),
        ({"algorithm": "row", "agent": "argmax", "source": "gp", "settings": {"schedule": {"n": 3}}}, "'schedule'"),
        ({"algorithm": "row", "agent": "argmax", "source": "gp", "settings": {"trainer": {"bins": 3}}}, "'bins'"),
        ({"algorithm": "row", "baseline": "knn", "settings": {"baseline": {"row": "x"}}}, "did you mean 'rows'?"),
        ({"algorithm": "row", "baseline": "knn", "agent": "ppo"}, "agent would be ignored"),
        ({"algorithm": "row", "baseline": "knn", "settings": {"agent": {}}}, "settings.agent would be ignored"),
        ({**MODEL, "algorithm": "random"}, "an exact reference has no agent"),
        ({"algorithm": "random", "settings": {"agent": {}}}, "an exact reference has no settings"),
        ({**having(), "scenarios": ["drive"]}, "unknown scenario 'drive'"),
    ],
)
def test_what_is_not_there_is_named_before_the_first_run(row: dict, words: str, tmp_path: Path) -> None:
    first = {"algorithm": "argmax-gp", "agent": "argmax", "source": "gp"}
    line = complaint(write(tmp_path, row, algorithms=[first, row]))
    assert words in line
    assert f"{row['algorithm']}: " in line


def test_overrides_are_of_the_suite_s_scenarios(tmp_path: Path) -> None:
    row = {"algorithm": "random"}
    assert "unknown scenario in overrides 'nope'" in complaint(write(tmp_path, row, overrides={"nope": {}}))
    line = complaint(write(tmp_path, row, overrides={"equalisd": {"pool": 16}}))
    assert "did you mean 'equalised'?" in line
    assert "unknown scenario in overrides 'drive'" in complaint(write(tmp_path, row, overrides={"drive": {}}))
    # What is said of a scenario that --set leaves out waits for it, but is looked at all the same.
    both = {"scenarios": ["equalised", "drive"], "overrides": {"drive": {"episode_steps": 8}}}
    load_suite(write(tmp_path, row, **both), ["scenarios=[equalised]"])
    wrong = {**both, "overrides": {"drive": {"episode_stepz": 8}}}
    assert "did you mean 'episode_steps'?" in complaint(write(tmp_path, row, **wrong), "scenarios=[equalised]")


def test_a_key_that_stands_there_twice_is_refused_and_a_merge_is_none(tmp_path: Path) -> None:
    path = write(tmp_path, {"algorithm": "random"})
    text = path.read_text()
    path.write_text(text + "budget: 3\nbudget: 4\n")
    assert "the key 'budget' stands there twice" in complaint(path)
    assert f"line {text.count(chr(10)) + 2}" in complaint(path)
    path.write_text(text + "overrides: {equalised: {pool: 16, windows: 2, pool: 32}}\n")
    assert "the key 'pool' stands there twice" in complaint(path)
    path.write_text(text + "overrides: {equalised: &e {pool: 16, windows: 2}, drive: {<<: *e, pool: 32}}\n")
    (drive,) = load_suite(path, ["scenarios=[equalised, drive]"]).data.overrides["drive"].items() - {("windows", 2)}
    assert drive == ("pool", 32)
    assert "stands there twice" in complaint(write(tmp_path, {"algorithm": "random"}), "overrides={a: 1, a: 2}")
    assert "not valid YAML" in complaint(write(tmp_path, {"algorithm": "random"}), "seeds=[1")


def test_a_package_that_is_not_here_stops_its_own_row_alone(tmp_path: Path) -> None:
    (tmp_path / "baselines").mkdir()
    head = "from mbrl_split.bench import Method\nclass Mine(Method):\n    def learn(self, task):\n        yield\n"
    (tmp_path / "baselines" / "mine.py").write_text("import no_such_package\n" + head)
    path = write(tmp_path, {"algorithm": "mine", "baseline": "mine"})
    suite = load_suite(path)
    (outcome,) = run_suite(suite, tmp_path / "out", select(suite))
    assert (outcome.status, "no_such_package" in str(outcome.error)) == ("failed", True)
    (tmp_path / "baselines" / "mine.py").write_text("1 / 0\n" + head)
    assert "mine.py: ZeroDivisionError" in complaint(path)


def test_a_check_pays_for_nothing_and_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are checked on a stand-in: no measurement of theirs, no file."""
    monkeypatch.chdir(tmp_path)
    asked: list[int] = []
    free = FunctionOracle(lambda X: np.zeros(len(X)), scenario("drive").columns(12))
    monkeypatch.setattr(type(free), "measure", lambda *a, **k: asked.append(1))
    (tmp_path / "suites").mkdir()
    for agent in ("planner", "argmax"):
        row = {"algorithm": "row", "agent": agent, "source": "fading-gp"}
        load_suite(write(tmp_path / "suites", row, scenarios=["drive"]))
        load_suite(
            write(
                tmp_path / "suites",
                {**having(), "agent": agent, "settings": {"schedule": {"every": 400}}},
                scenarios=["drive"],
            )
        )
    assert not asked
    assert [p.name for p in tmp_path.iterdir()] == ["suites"]
