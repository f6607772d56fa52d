"""The planner on a surrogate: as good as the exact plan when the surrogate is the truth, given or watched dynamics."""

from __future__ import annotations

import numpy as np
import pytest

from mbrl_split import scenario
from mbrl_split.bench.base import Task
from mbrl_split.bench.methods import AgentMethod
from mbrl_split.bench.planning import watched
from mbrl_split.errors import BadInput
from mbrl_split.evaluation import SessionProblem
from mbrl_split.oracles import FunctionOracle, Ledger

DRIVE = scenario("drive", dynamics={"correlation": 0.9, "battery_joules": None})
L = 8


def damage(X):
    return 2.0 * np.tanh(X[:, 1]) * np.exp(-0.25 * X[:, 0])


@pytest.fixture(scope="module")
def problem():
    return SessionProblem.of_function(DRIVE, L, damage, n_contexts=200, bins=15)


def task(folder, s=DRIVE, budget=40.0):
    return Task(s, L, Ledger(FunctionOracle(damage, s.columns(L)), budget=budget), 3, 600, folder)


@pytest.mark.parametrize("dynamics", ["given", "estimated"])
def test_planner_on_a_gp_is_near_the_optimum_where_argmax_is_not(problem, tmp_path, dynamics):
    settings = {"trainer": {"initial_design": 40, "rounds": 0, "dynamics": dynamics, "sessions": 128, "bins": 15}}
    t = task(tmp_path)
    *_, last = AgentMethod("planner", "gp", settings=settings).learn(t)
    assert t.ledger.spent == 40
    planned = problem.regret(last.policy).normalised
    looked_up = {"trainer": {"initial_design": 40, "rounds": 0}}
    *_, greedy = AgentMethod("argmax", "gp", settings=looked_up).learn(task(tmp_path))
    assert planned < 0.1
    assert problem.regret(greedy.policy).normalised > planned + 0.2


def test_watching_costs_no_truth_and_finds_the_memory(tmp_path):
    t = task(tmp_path)
    found = watched(t, 256)
    assert found["correlation"] == pytest.approx(0.9, abs=0.03)
    np.testing.assert_allclose(found["loads"], [[0.8, 0.2], [0.2, 0.8]], atol=0.04)
    assert t.ledger.spent == 0


def test_an_agent_is_judged_on_observations(problem, tmp_path):
    settings = {"trainer": {"num_envs": 8, "chunk_steps": 300}, "agent": {"n_steps": 16}}
    points = [
        problem.achieved(c.policy)
        for c in AgentMethod("ppo", "oracle", settings=settings).learn(task(tmp_path, budget=600.0))
    ]
    assert len(set(points)) == len(points) > 1, "another policy after every chunk"
    # Between the two: it has learnt to stay deep, and not yet when to move.
    assert problem.random < problem.best_fixed - 0.1 < points[-1] < problem.optimal


def test_there_is_nothing_to_plan_in_a_plain_scenario(tmp_path):
    with pytest.raises(BadInput, match="no dynamics"):
        next(AgentMethod("planner", "gp").learn(task(tmp_path, scenario("equalised"))))


def test_a_schedule_decides_when_a_planner_pays(problem, tmp_path):
    """Followed through the environment, the plan is made anew at each refresh, and judged when it has changed."""
    settings = {
        "schedule": {"every": 200, "n": 10},
        "trainer": {"initial_design": 20, "num_envs": 4, "chunk_steps": 100, "bins": 15},
    }
    t = task(tmp_path)
    seen = list(AgentMethod("planner", "gp", "fixed", "on-policy", settings).learn(t))
    assert t.ledger.spent == 40
    assert [c.env_steps for c in seen][-1] >= 600
    plans = [id(c.policy) for c in seen]
    assert len(set(plans)) == 3, "the initial design and two refreshes"
    assert plans[-1] == plans[-2], "the last point says where the run ended"
    assert problem.regret(seen[-1].policy).normalised < 0.2
    again = task(tmp_path)
    *_, last = AgentMethod("planner", "gp", "fixed", "on-policy", settings).learn(again)
    np.testing.assert_array_equal(again.ledger.rows().X, t.ledger.rows().X)  # where it walks follows from the seed
    assert problem.achieved(last.policy) == problem.achieved(seen[-1].policy)


def test_argmax_follows_a_schedule_where_there_is_nothing_to_plan(tmp_path):
    plain = scenario("equalised")
    settings = {"schedule": {"every": 200, "n": 10}, "trainer": {"initial_design": 20, "num_envs": 4}}
    t = task(tmp_path, plain)
    *_, last = AgentMethod("argmax", "gp", "fixed", "random", settings).learn(t)
    assert t.ledger.spent == 40
    quiet, loud = last.policy(np.array([[0.05, 2.0], [1.0, 2.0]]), np.array([4, 4]), 0)
    assert quiet < loud
