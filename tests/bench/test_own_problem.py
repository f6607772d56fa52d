"""A suite on a problem of the user's own, no layer split: short to write, learnt, counted, told in its words."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from mbrl_split import InvalidInputError
from mbrl_split.bench import load_suite
from mbrl_split.bench.tuned import tune
from mbrl_split.cli import main
from mbrl_split.tuning import load_tune, tune_data

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_problem"
FORBIDDEN = re.compile(r"\b(splits?|layers?|NLL|tokens?|language|true evaluations?|damage)\b", re.IGNORECASE)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    out = tmp_path_factory.mktemp("kiln")
    began = time.monotonic()
    main(["bench", "run", str(EXAMPLE / "suite.yaml"), "--out", str(out)])
    return out, time.monotonic() - began


def rows(out: Path) -> dict[str, dict[str, Any]]:
    return {r["algorithm"]: r for r in json.loads((out / "summary.json").read_text())["rows"]}


def test_it_is_short_and_quick(ran: tuple[Path, float]) -> None:
    assert len((EXAMPLE / "problems" / "kiln.py").read_text().splitlines()) <= 30
    assert len((EXAMPLE / "suite.yaml").read_text().splitlines()) <= 20
    assert ran[1] < 40


def test_everybody_learns_and_every_firing_is_counted(ran: tuple[Path, float]) -> None:
    out, found = ran[0], rows(ran[0])
    assert list(found) == ["optimal", "best-fixed", "random", "argmax-gp", "dqn-ensemble", "dqn-truth"]
    assert found["optimal"]["regret"] == 0
    assert found["best-fixed"]["regret"] == pytest.approx(1)
    assert found["random"]["regret"] > 1.5
    assert all(r["regret_unit"] == "headroom" for r in found.values())
    assert found["argmax-gp"]["regret_worst"] < 0.2
    for name in ("dqn-ensemble", "dqn-truth"):
        assert found[name]["regret_worst"] < 0.5
        for run in found[name]["runs"]:
            log = [json.loads(line) for line in (out / "runs" / run / "metrics.jsonl").read_text().splitlines()]
            losses = [record["train/loss"] for record in log if "train/loss" in record]
            assert len(losses) > 10, "no gradient step was made"
            assert losses[-1] < losses[0]
    # One firing a row: what was paid is what was asked for, and a reference asks for none.
    paid = {name: set(row["truths_by_seed"]) for name, row in found.items()}
    assert paid.pop("dqn-truth") == {800}
    assert paid.pop("dqn-ensemble") == {32 + 12 + 12 + 8}, "the budget of 64 ends the last refresh early"
    assert paid.pop("argmax-gp") == {64}
    assert set.union(*paid.values()) == {0}
    points = pd.read_parquet(out / "results.parquet")
    assert not points.select_dtypes("number").isna().any().any()


def test_the_report_speaks_the_problem_s_words(ran: tuple[Path, float], capsys: pytest.CaptureFixture[str]) -> None:
    out = ran[0]
    main(["bench", "report", str(EXAMPLE / "suite.yaml"), "--out", str(out)])
    said = capsys.readouterr().out
    page, text = (out / "report.html").read_text(), (out / "report.md").read_text()
    for told in (page, text, said):
        assert "firings" in told
        assert "best fixed programme" in told
    assert "firings paid for" in page, "the axis"
    assert "| method | regret | 95 % interval | worst seed | firings |" in text
    assert "| method | seeds that hold it | firings | seconds |" in text
    assert "truths: firings paid for" in said
    # The package's own name has one of the words in it.
    for told in (page, text, said):
        seen = re.sub(r"<style>.*?</style>|mbrl[_-]split", "", told, flags=re.DOTALL)
        assert FORBIDDEN.findall(seen) == []
    assert "nan" not in re.sub(r"<[^>]+>", " ", page).lower().split()


def test_it_shares_a_suite_with_a_problem_of_real_steps(tmp_path: Path) -> None:
    path = copied(tmp_path)
    suite = yaml.safe_load(path.read_text())
    pole = {"problem": "gym", "label": "pole", "settings": {"env_id": "CartPole-v1", "episodes": 4}}
    fixed = {"algorithm": "best-fixed", "problems": ["kiln"]}
    pilot = {
        "algorithm": "dqn",
        "agent": "dqn",
        "source": "oracle",
        "budget": 64,
        "env_steps": 64,
        "settings": {"agent": {"learning_starts": 16}},
    }
    suite |= {"problems": [pole, "kiln"], "algorithms": [{"algorithm": "random"}, fixed, pilot], "seeds": 1}
    path.write_text(yaml.safe_dump(suite))
    main(["bench", "run", str(path), "--out", str(tmp_path / "out")])
    text = (tmp_path / "out" / "report.md").read_text()
    assert [line for line in text.splitlines() if line.startswith(("## ", "| method"))][:5] == [
        "## kiln",
        "| method | regret | 95 % interval | worst seed | firings | seconds of truth | training seconds |",
        "| method | seeds that hold it | firings | seconds |",
        "## pole",
        "| method | value | 95 % interval | worst seed | environment steps | seconds of truth | training seconds |",
    ]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Where no optimum is known, values are given" in page
    assert "optimum minus the best fixed programme" in page
    suite["algorithms"][1]["problems"] = ["kilm"]
    path.write_text(yaml.safe_dump(suite))
    with pytest.raises(InvalidInputError, match="best-fixed: unknown problem 'kilm'; did you mean 'kiln'"):
        load_suite(path)


def test_one_run_of_it_can_be_asked_for(tmp_path: Path) -> None:
    main(["bench", "run", str(EXAMPLE / "suite.yaml"), "--out", str(tmp_path), "--only", "kiln/argmax-gp/1"])
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("kiln-argmax-gp-s1-")
    spec = json.loads((run / "spec.json").read_text())
    assert spec["class"] == "Kiln"
    assert spec["oracle"].startswith("function kiln 1")


def test_the_command_line_knows_problems(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["bench", "list", str(EXAMPLE)])
    assert "suite.yaml: Firing programmes for a kiln (6 algorithms, 12 runs)" in capsys.readouterr().out
    main(["bench", "status", str(EXAMPLE / "suite.yaml"), "--out", str(tmp_path)])
    assert "0 of 12 runs finished" in capsys.readouterr().out
    monkeypatch.chdir(EXAMPLE)
    main(["check", "problems.kiln:Kiln"])
    assert "problems.kiln:Kiln conforms (check_problem)" in capsys.readouterr().out
    main(["info"])
    assert "problems: gym, layer-split" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(["check", "mbrl_split.evaluation:GymProblem"])
    assert "cannot be built without arguments" in capsys.readouterr().err


BROKEN = {
    "import nowhere": "cannot import .*kiln.py: ModuleNotFoundError: No module named 'nowhere'",
    "class Kiln(": "cannot import .*kiln.py: SyntaxError",
    "x = 1": "kiln.py defines 0 subclasses of Problem",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_file_that_cannot_be_used_is_one_line(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    suite = copied(tmp_path)
    (tmp_path / "problems" / "kiln.py").write_text(text)
    with pytest.raises(SystemExit, match="2"):
        main(["bench", "run", str(suite), "--out", str(tmp_path / "out")])
    line = capsys.readouterr().err.strip()
    assert "\n" not in line
    assert re.search(BROKEN[text], line), line
    assert not (tmp_path / "out").exists()


def test_settings_that_the_problem_does_not_take_are_one_line(tmp_path: Path) -> None:
    changes = ["problems=[{problem: kiln, settings: {heat: 3}}]", "problems=[kilm]"]
    for change, words in zip(changes, ("kiln: problem 'kiln': .*heat", "did you mean 'kiln'"), strict=True):
        with pytest.raises(InvalidInputError, match=words):
            load_suite(EXAMPLE / "suite.yaml", [change])


def test_an_edited_problem_runs_again(tmp_path: Path) -> None:
    suite, out = copied(tmp_path), tmp_path / "out"

    def times() -> list[int]:
        main(["bench", "run", str(suite), "--out", str(out), "--only", "kiln/best-fixed"])
        return sorted(path.stat().st_mtime_ns for path in out.glob("runs/*/result.json"))

    first = times()
    assert times() == first
    with (tmp_path / "problems" / "kiln.py").open("a") as file:
        file.write("# another text\n")
    assert not set(times()) & set(first)


def test_a_tuned_row_of_it_is_a_suite_that_runs_where_it_lies(tmp_path: Path) -> None:
    space = {"agent": {"argmax": None}, "source": {"gp": None}, "trainer": {"initial_design": {"low": 16, "high": 32}}}
    task = {"name": "t", "title": "t", "problems": ["kiln"], "trials": 2, "startup": 1, "seeds": 1}
    task |= {"space": {**space, "budget": 40}, "confirm": {"top": 1, "seeds": 2}}
    copied(tmp_path / "task")
    path = tmp_path / "task" / "task.yaml"
    path.write_text(yaml.safe_dump(task))
    tuned = tune(load_tune(path), tmp_path / "out", home=path.parent)
    assert tuned.chosen.unit == "headroom"
    assert tuned.chosen.evaluations == 40
    assert tuned.chosen.iqm < 0.5
    main(["train", str(tuned.path), "--out", str(tmp_path / "again")])
    assert rows(tmp_path / "again")["argmax-gp-tuned"]["true_evaluations"] == 40
    with pytest.raises(InvalidInputError, match="task: kilm: unknown problem 'kilm'; did you mean 'kiln'"):
        tune_data({**task, "problems": ["kilm"]}, "task", home=path.parent)


def copied(folder: Path) -> Path:
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "suite.yaml"
