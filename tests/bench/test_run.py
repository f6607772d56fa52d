"""Whole suites, live on tiny-llama: same seed same bits, resumption, failures as rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mbrl_split.bench import load_suite, run_suite, select
from mbrl_split.bench.outcome import conclude
from mbrl_split.bench.processor import kernels
from mbrl_split.layer_split import TableOracle

BASELINES = Path(__file__).parents[2] / "baselines"
PPO = {"agent": {"n_steps": 8, "batch_size": 64}, "trainer": {"num_envs": 8}}
SUITE = {
    "name": "small",
    "title": "A small suite",
    "truth": "live",
    "scenarios": ["equalised"],
    "models": ["tiny-llama"],
    "seeds": 1,
    "budget": 40,
    "env_steps": 512,
    "contexts": 64,
    "overrides": {"equalised": {"pool": 16, "windows": 2}},
    "algorithms": [
        {"algorithm": "best-fixed"},
        {"algorithm": "ppo-true", "agent": "ppo", "source": "oracle", "settings": {**PPO, "agent": {"n_steps": 2}}},
        {
            "algorithm": "ppo-mlp",
            "agent": "ppo",
            "source": "mlp",
            "schedule": "fixed",
            "acquisition": "on-policy",
            "settings": {
                "agent": PPO["agent"],
                "source": {"steps": 50},
                "schedule": {"every": 256, "n": 6},
                "trainer": {"num_envs": 8, "initial_design": 16},
            },
        },
        # Eleven splits on a grid of contexts do not fit into 40 evaluations: this run must fail, and say so.
        {"algorithm": "table-40", "baseline": "exhaustive_table"},
    ],
}


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "baselines").symlink_to(BASELINES)
    path = tmp_path / "suite.yaml"
    path.write_text(yaml.safe_dump(SUITE))
    return path


def go(path: Path, out: Path, **options: Any) -> dict[str, Any]:
    loaded = load_suite(path)
    run_suite(loaded, out, select(loaded), **options)
    return conclude(loaded, out, "command")


def timeless(value: Any) -> Any:
    """The value without its wall-clock fields."""
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if "seconds" not in k}
    return [timeless(v) for v in value] if isinstance(value, list) else value


def test_the_lockbox_judges_the_same_policies_by_other_truth(tmp_path: Path) -> None:
    (tmp_path / "baselines").symlink_to(BASELINES)
    rows = [{"algorithm": "optimal"}, {"algorithm": "pilot-fixed", "baseline": "best_fixed", "budget": 100}]
    found = {}
    for half in ("judge", "lockbox"):
        path = tmp_path / f"{half}.yaml"
        path.write_text(
            yaml.safe_dump(
                {**SUITE, "truth": "table", "contexts": 500, "overrides": {}, "algorithms": rows, "judge": half}
            )
        )
        found[half] = go(path, tmp_path / half)
    usual, opened = found["judge"], found["lockbox"]
    for half, summary in found.items():
        table = TableOracle.load("tiny-llama", "equalised", half=half)
        assert summary["references"]["equalised/tiny-llama"]["table"] == table.identity
    paid = [s["rows"][1]["true_evaluations"] for s in (usual, opened)]
    assert paid[0] == paid[1] > 50
    # Another half of the text: the optimum and what the same policy earns differ, but little.
    optimal = [s["references"]["equalised/tiny-llama"]["optimal"] for s in (usual, opened)]
    assert 0 < abs(optimal[0] - optimal[1]) < 0.02
    regret = [s["rows"][1]["regret"] for s in (usual, opened)]
    assert 0 < abs(regret[0] - regret[1]) < 0.1


def test_same_seed_same_bits_and_a_finished_suite_is_not_run_again(suite: Path, tmp_path: Path) -> None:
    first = go(suite, tmp_path / "one")
    rows = {r["algorithm"]: r for r in first["rows"]}
    assert list(rows) == ["best-fixed", "ppo-true", "ppo-mlp", "table-40"]
    assert kernels() in first["versions"]["processor"]
    reference = first["references"]["equalised/tiny-llama"]
    assert rows["best-fixed"]["regret_unit"] == "reward"  # 64 contexts tell no headroom
    assert rows["best-fixed"]["regret"] == pytest.approx(reference["optimal"] - reference["best_fixed"])
    assert 32 < rows["ppo-true"]["true_evaluations"] <= 40  # eight environments step together
    assert 16 + 2 * 6 <= rows["ppo-mlp"]["true_evaluations"] <= 40
    assert "needs" in rows["table-40"]["failed"][0]["error"]
    for name in ("results.parquet", "summary.json", "report.html", "report.md", "measurements.sqlite"):
        assert (tmp_path / "one" / name).exists()
    run = next((tmp_path / "one" / "runs").glob("*ppo-mlp*"))
    for name in ("spec.json", "metrics.jsonl", "agent", "DONE"):
        assert (run / name).exists()

    # Another folder, another store, two processes: the same bits but for the clock.
    second = go(suite, tmp_path / "two", jobs=2)
    assert timeless(first["rows"]) == timeless(second["rows"])
    assert timeless(first["references"]) == timeless(second["references"])
    other = next((tmp_path / "two" / "runs").glob("*ppo-mlp*"))
    curves = [json.loads((folder / "result.json").read_text())["curve"] for folder in (run, other)]
    assert timeless(curves[0]) == timeless(curves[1])
    # What is bought at 256 steps is paid for by the policy that has learnt from it, and by none before.
    prices = {p["env_steps"]: p["true_evaluations"] for p in curves[0]}
    assert prices[64] == prices[256] < prices[320] == prices[512]
    assert 6 <= prices[320] - prices[256] < 9  # clean passes are charged with them

    # Resuming runs what failed, and nothing else.
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "one").rglob("result.json") if "table" not in str(p)}
    go(suite, tmp_path / "one")
    assert {p: p.stat().st_mtime_ns for p in before} == before
