"""A suite whose truth is a real step: steps are counted and capped, values are told where no optimum is known."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from mbrl_split import InvalidInputError
from mbrl_split.bench import load_suite, restore
from mbrl_split.cli import main

PPO = {"agent": "ppo", "source": "oracle", "settings": {"agent": {"n_steps": 32, "learning_rate": 2e-3}}}
SUITE: dict[str, Any] = {
    "name": "cartpole",
    "title": "Real steps",
    "problems": [{"problem": "gym", "label": "cartpole", "settings": {"env_id": "CartPole-v1", "episodes": 10}}],
    "seeds": 2,
    "env_steps": 20_000,
    "algorithms": [
        {"algorithm": "random"},
        {"algorithm": "ppo", **PPO, "budget": 8192},
        {"algorithm": "ppo-short", **PPO, "budget": 1000},
    ],
}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump({**SUITE, **changes}))
    return path


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cartpole")
    main(["bench", "run", str(write(folder)), "--out", str(folder / "out")])
    return folder / "out"


def test_the_budget_caps_real_steps_exactly(ran: Path) -> None:
    summary = json.loads((ran / "summary.json").read_text())
    rows = {r["algorithm"]: r for r in summary["rows"]}
    assert summary["units"] == {"cartpole": "environment step"}
    assert rows["random"]["true_evaluations"] == 0
    assert rows["ppo"]["truths_by_seed"] == [8192, 8192]
    assert rows["ppo-short"]["truths_by_seed"] == [992, 992], "62 steps of 16 environments: a 63rd would be 1008"
    for name in ("ppo", "ppo-short"):
        assert rows[name]["env_steps"] == rows[name]["true_evaluations"]


def test_values_are_told_where_no_regret_is_known(ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["bench", "report", str(write(ran.parent)), "--out", str(ran)])
    said = capsys.readouterr().out
    summary = json.loads((ran / "summary.json").read_text())
    rows = {r["algorithm"]: r for r in summary["rows"]}
    assert all(r["score"] == "value" and "regret" not in r for r in rows.values())
    assert 10 < rows["random"]["value"] < 40
    assert rows["ppo"]["value"] > 60 > rows["random"]["value"], "nothing was learnt"
    assert summary["references"]["cartpole"]["random"] == rows["random"]["value"]
    page, text = (ran / "report.html").read_text(), (ran / "report.md").read_text()
    verdict = f"ppo has the highest value, {rows['ppo']['value']:.1f}, with 8,192 environment steps"
    for told in (page, text, said):
        assert verdict in told
        assert f"acting at random has {rows['random']['value']:.1f}" in told
        words = re.sub(r"<style>.*?</style>|<[^>]+>", " ", told, flags=re.DOTALL).lower()
        for wrong in ("regret", "headroom", "nan", "best fixed", "true evaluation"):
            assert not re.search(rf"\b{wrong}\b", words), wrong
    assert "| method | value | 95 % interval | worst seed | environment steps |" in text
    points = pd.read_parquet(ran / "results.parquet")
    assert not points.select_dtypes("number").isna().any().any()


def test_values_come_back_from_what_was_published(ran: Path, tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path))
    assert restore(suite, ran, tmp_path / "again") == 6
    main(["bench", "report", str(suite.path), "--out", str(tmp_path / "again")])
    before, again = (json.loads((out / "summary.json").read_text()) for out in (ran, tmp_path / "again"))
    assert before["rows"] == again["rows"]
    assert before["references"] == again["references"]


@pytest.mark.parametrize("algorithm", ["optimal", "best-fixed"])
def test_a_reference_that_nobody_knows_is_refused(tmp_path: Path, algorithm: str) -> None:
    with pytest.raises(InvalidInputError, match=r"a reference of cartpole \(random\)"):
        load_suite(write(tmp_path, algorithms=[{"algorithm": algorithm}]))


def test_a_surrogate_of_no_measurement_is_refused_before_the_first_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for row in ({"agent": "ppo", "source": "mlp"}, {"agent": "argmax", "source": "gp"}):
        path = write(tmp_path, algorithms=[{"algorithm": "x", **row}])
        with pytest.raises(SystemExit, match="2"):
            main(["bench", "run", str(path), "--out", str(tmp_path / "out")])
        line = capsys.readouterr().err.strip()
        assert re.search(r"x: the truth is a real step here: .* source: oracle", line), line
        assert "\n" not in line
        assert not (tmp_path / "out").exists()


def test_a_problem_whose_runs_all_failed_is_told_beside_the_others(tmp_path: Path) -> None:
    broken = {"problem": "gym", "label": "broken", "settings": {"env_id": "CartPole-v1", "colour": 3}}
    path = write(tmp_path, seeds=1, problems=[*SUITE["problems"], broken], algorithms=SUITE["algorithms"][:1])
    with pytest.raises(SystemExit):
        main(["bench", "run", str(path), "--out", str(tmp_path / "out")])
    for name in ("report.md", "report.html"):
        assert "failed" in (tmp_path / "out" / name).read_text()
    path = write(tmp_path, seeds=1, problems=[broken], algorithms=SUITE["algorithms"][:1])
    with pytest.raises(SystemExit):
        main(["bench", "run", str(path), "--out", str(tmp_path / "none")])
    assert "failed" in (tmp_path / "none" / "report.md").read_text()
