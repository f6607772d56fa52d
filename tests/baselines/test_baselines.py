"""Every baseline on a measured table: within its budget, the same by seed, better than chance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mbrl_split import InvalidInputError, UnsupportedError
from mbrl_split.bench import Cell, Task
from mbrl_split.bench.runner import build_method, run_cell
from mbrl_split.bench.suite import Algorithm
from mbrl_split.envs import OracleSource
from mbrl_split.evaluation.posed import Posed
from mbrl_split.layer_split import LayerSplit, scenario
from mbrl_split.layer_split.policies.informed import Ratios
from mbrl_split.oracles import FunctionOracle, Ledger

HOME = Path(__file__).parents[2]
PPO = {"n_steps": 8, "batch_size": 64, "learning_rate": 1e-3, "gamma": 0.0, "ent_coef": 0.05}

# file, its settings, budget, environment steps
CASES: dict[str, tuple[str, dict[str, Any], float, int]] = {
    "best_fixed": ("best_fixed", {}, 300, 1),
    "noise_bins": ("noise_bins", {}, 150, 1),
    "successive_halving": ("successive_halving", {"bins": 4}, 220, 1),
    "exhaustive_table": ("exhaustive_table", {}, 120, 1),
    "window_table": ("window_table", {}, 60, 1),
    "knn": ("knn", {}, 90, 1),
    "knn-records": ("knn", {"rows": "records"}, 90, 1),
    "gp_argmax": ("gp_argmax", {}, 90, 1),
    "gp_argmax-records": ("gp_argmax", {"rows": "records"}, 60, 1),
    "bayesian_optimisation": ("bayesian_optimisation", {}, 120, 1),
    "authors_setup": ("authors_setup", {"epochs": 60, "agent": PPO}, 120, 2000),
    "ppo_perfect_table": ("ppo_perfect_table", {"agent": PPO}, 0, 4000),
    "sb3-ppo": ("sb3", {"agent": "ppo", "config": PPO}, 1200, 1100),
    "sb3-a2c": ("sb3", {"agent": "a2c", "config": {"gamma": 0.0}}, 1700, 1600),
    "sb3-dqn": (
        "sb3",
        {"agent": "dqn", "num_envs": 8, "config": {"gamma": 0.0, "learning_rate": 1e-3, "gradient_steps": 8}},
        1200,
        1100,
    ),
}
QUICK = ("best_fixed", "noise_bins", "successive_halving", "exhaustive_table", "window_table", "knn")
"""Those that also run in sessions here: lookups and rules, whose policies act on observations."""


def posed(problem: str) -> Posed:
    settings = {"scenario": problem, "model": "tiny-llama", "contexts": 300}
    return Posed("layer-split", f"{problem}/tiny-llama", settings)


def run(name: str, folder: Path, *, seed: int = 0, problem: str = "equalised", **changes: Any) -> dict[str, Any]:
    file, settings, budget, steps = CASES[name]
    row = Algorithm(algorithm=name, baseline=file, settings={"baseline": settings})
    cell = Cell("t", posed(problem), HOME, seed, changes.get("budget", budget), steps, row)
    run_cell(cell, folder, HOME, folder / "unused.sqlite")
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


def curve(result: dict[str, Any]) -> list[dict[str, float]]:
    return [{k: v for k, v in p.items() if k != "train_seconds"} for p in result["curve"]]


@pytest.mark.parametrize("name", CASES)
def test_a_baseline_keeps_its_budget_repeats_by_seed_and_beats_chance(name: str, tmp_path: Path) -> None:
    first = run(name, tmp_path / "one")
    assert first["error"] is None
    spent = [p["true_evaluations"] for p in first["curve"]]
    assert spent == sorted(spent)
    assert spent[-1] <= CASES[name][2]
    assert (spent[-1] > 0) == (name != "ppo_perfect_table")
    assert curve(run(name, tmp_path / "two")) == curve(first)
    if name != "ppo_perfect_table":
        assert curve(run(name, tmp_path / "three", seed=1)) != curve(first)
    reference = first["reference"]
    # The mean over the curve's last third: one lucky last point must not decide.
    tail = first["curve"][-max(1, len(first["curve"]) // 3) :]
    assert np.mean([p["value"] for p in tail]) > reference["random"]


@pytest.mark.parametrize("name", QUICK)
def test_a_baseline_also_serves_sessions(name: str, tmp_path: Path) -> None:
    result = run(name, tmp_path / "run", problem="drive")
    assert result["error"] is None
    assert result["curve"][-1]["value"] > result["reference"]["random"]


def test_words_of_before_are_refused(tmp_path: Path) -> None:
    row = Algorithm(algorithm="x", baseline="knn", settings={"baseline": {"rows": "windows"}})
    with pytest.raises(InvalidInputError, match="rows is 'plain' or 'records'"):
        build_method(Cell("t", posed("equalised"), HOME, 0, 1, 1, row), HOME)


@pytest.mark.parametrize("name", ["successive_halving", "exhaustive_table", "bayesian_optimisation"])
def test_a_budget_too_small_is_refused_in_one_line_and_nothing_is_spent(name: str, tmp_path: Path) -> None:
    result = run(name, tmp_path / "run", budget=20)
    assert result["status"] == "refused"
    assert "need" in result["error"]
    assert "\n" not in result["error"]


def test_nobody_learns_a_thing_without_budget(tmp_path: Path) -> None:
    for name in ("best_fixed", "knn", "sb3-ppo", "authors_setup"):
        result = run(name, tmp_path / name, budget=0)
        assert (result["status"], result["curve"]) == ("refused", []), name
        assert "budget" in result["error"], name


def table_task(folder: Path, budget: float | None = None, problem: str = "equalised") -> Task:
    split = LayerSplit(problem, "tiny-llama", contexts=300)
    return Task(split, Ledger(split.oracle(), budget=budget), 0, 100, folder)


def test_an_unlimited_budget_is_refused_by_methods_that_spend_what_they_get(tmp_path: Path) -> None:
    for file in ("best_fixed", "noise_bins", "knn", "gp_argmax", "window_table", "authors_setup"):
        cell = Cell("t", posed("equalised"), HOME, 0, 1, 1, Algorithm(algorithm="x", baseline=file))
        with pytest.raises(InvalidInputError, match="budget"):
            next(build_method(cell, HOME).learn(table_task(tmp_path)))


def test_splits_of_a_context_share_windows_and_gains(tmp_path: Path) -> None:
    task = table_task(tmp_path, budget=60)
    rng = np.random.default_rng(0)
    found = task.measure_actions(task.contexts(9, rng), rng)
    assert found.shape[1] == len(task.actions)
    # Whole contexts only, and as many as fit: eleven rows and at most one evaluation's worth of new clean references.
    assert 1 <= len(found) < 9
    assert task.ledger.spent <= 60
    assert task.ledger.remaining < 12
    gains = task.ledger.rows().records["gain"].reshape(len(found), len(task.actions), -1)
    np.testing.assert_array_equal(gains, np.broadcast_to(gains[:, :1], gains.shape))
    assert len(np.unique(gains[:, 0])) == gains[:, 0].size


def test_the_integrated_curve_is_the_average_over_the_fading(tmp_path: Path) -> None:
    task = table_task(tmp_path, budget=1)
    ratios = task.problem.record_rows(task.ledger)

    def curve(points: np.ndarray) -> np.ndarray:
        split = ratios.columns[0].from_unit(points[:, 0])
        return (
            ratios.columns[1].from_unit(points[:, 1]) ** 2
            / (1 + ratios.columns[1].from_unit(points[:, 1]) ** 2)
            / split
        )

    rng = np.random.default_rng(0)
    X = task.query([1, 4, 11], np.array([[0.05, 0.5], [0.4, 1.3], [1.0, 8.0]]))
    s = X[:, 1:2] / np.sqrt(rng.gamma(X[:, 2:3], 1 / X[:, 2:3], (3, 200_000)))
    expected = (s**2 / (1 + s**2)).mean(axis=1) / X[:, 0]
    np.testing.assert_allclose(ratios.predict(curve)(X), expected, rtol=0.02)


def test_informed_rows_are_refused_where_they_would_mean_something_else(tmp_path: Path) -> None:
    problem = scenario("paper-a")
    oracle = FunctionOracle(lambda X: X[:, 1], problem.columns(12))
    with pytest.raises(InvalidInputError, match="equalised"):
        Ratios(problem, 12, Ledger(oracle))


def test_a_lookup_of_the_true_damage_has_almost_no_regret(tmp_path: Path) -> None:
    for name in ("equalised", "drive"):
        task = table_task(tmp_path, problem=name)
        judge = task.problem.judge(977)

        def truth(X: np.ndarray, judge: Any = judge) -> np.ndarray:
            return judge.table.expected(X)[0]

        now = task.lookup(truth)
        assert judge.judge(now).value == pytest.approx(judge.reference("myopic-with-cost").value, abs=0.02)
        if name == "equalised":
            ahead = now
            with pytest.raises(UnsupportedError, match="no context process to plan for"):
                task.lookup(truth, plan=True)
        else:
            ahead = task.lookup(truth, plan=True)
        assert judge.judge(ahead).value == pytest.approx(judge.reference("optimal").value, abs=0.02)


def test_a_rule_acts_on_observations_as_it_does_on_contexts(tmp_path: Path) -> None:
    for actions in ("absolute", "relative"):
        problem = LayerSplit("equalised", "tiny-llama", overrides={"actions": actions})
        rule = problem.rule(lambda context: np.where(context[:, 0] > 0.3, 9, 7))
        env = problem.make_env(64, source=OracleSource(Ledger(problem.oracle())))
        obs, _ = env.reset(seed=0)
        for _ in range(4):
            context = env.context(env._current)
            obs, *_, info = env.step(rule.act(obs))
        # Four moves of at most four layers reach any of eleven splits.
        np.testing.assert_array_equal(info["split"], rule(context, info["split"], 0))
