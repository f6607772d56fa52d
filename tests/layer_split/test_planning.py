"""The planner on a surrogate: as good as the exact plan where the surrogate is the truth, its process given or not."""

from __future__ import annotations

import numpy as np
import pytest

from mbrl_split.bench.base import Task
from mbrl_split.bench.methods import AgentMethod
from mbrl_split.errors import InvalidInputError, UnsupportedError
from mbrl_split.layer_split import LayerSplit, SessionJudge, scenario
from mbrl_split.layer_split.policies.planning import watched
from mbrl_split.oracles import FunctionOracle, Ledger

PROCESS = {"correlation": 0.9, "battery_joules": None}
DRIVE = scenario("drive", context_process=PROCESS)
L = 8


def damage(X):
    return 2.0 * np.tanh(X[:, 1]) * np.exp(-0.25 * X[:, 0])


@pytest.fixture(scope="module")
def problem():
    return SessionJudge.of_function(DRIVE, L, damage, n_contexts=200, bins=15)


class MadeUp(LayerSplit):
    """A scenario on a model of L layers whose damage is a known function."""

    n_layers = L

    def oracle(self):
        return FunctionOracle(damage, self.columns)


def task(folder, name="drive", budget=40.0):
    made = MadeUp(name, "nobody", overrides={"context_process": PROCESS} if name == "drive" else {})
    return Task(made, Ledger(made.oracle(), budget=budget), 3, 600, folder)


@pytest.mark.parametrize("context_process", ["given", "estimated"])
def test_planner_on_a_gp_is_near_the_optimum_where_argmax_is_not(problem, tmp_path, context_process):
    settings = {
        "trainer": {
            "initial_design": 40,
            "refresh_batches": 0,
            "context_process": context_process,
            "sessions": 128,
            "bins": 15,
        }
    }
    t = task(tmp_path)
    *_, last = AgentMethod("planner", "gp", settings=settings).learn(t)
    assert t.ledger.spent == 40
    planned = problem.regret(last.policy).normalised
    looked_up = {"trainer": {"initial_design": 40, "refresh_batches": 0}}
    *_, greedy = AgentMethod("argmax", "gp", settings=looked_up).learn(task(tmp_path))
    assert planned < 0.1
    assert problem.regret(greedy.policy).normalised > planned + 0.2


def test_watching_costs_no_truth_and_finds_the_memory(tmp_path):
    t = task(tmp_path)
    found = watched(t.problem.scenario, L, 256, seed=3)
    assert found["correlation"] == pytest.approx(0.9, abs=0.03)
    np.testing.assert_allclose(found["loads"], [[0.8, 0.2], [0.2, 0.8]], atol=0.04)
    other = watched(t.problem.scenario, L, 256, seed=4)
    assert other["correlation"] != found["correlation"], "which sessions are watched follows from the seed"
    planner = t.problem.planner(seed=3, context_process="estimated", sessions=256)
    assert planner.known["correlation"] == found["correlation"]
    assert t.ledger.spent == 0
    assert t.problem.planner(context_process="given").known == {}
    with pytest.raises(InvalidInputError, match="context_process is 'given' or 'estimated', not 'guessed'"):
        t.problem.planner(context_process="guessed")


def test_an_agent_is_judged_on_observations(problem, tmp_path):
    settings = {"trainer": {"num_envs": 8, "segment_steps": 300}, "agent": {"n_steps": 16}}
    points = [
        problem.achieved(c.policy)
        for c in AgentMethod("ppo", "oracle", settings=settings).learn(task(tmp_path, budget=600.0))
    ]
    assert len(set(points)) == len(points) > 1, "another policy after every segment"
    # Between the two: it has learnt to stay deep, and not yet when to move.
    assert problem.random < problem.best_fixed - 0.1 < points[-1] < problem.optimal


def test_there_is_nothing_to_plan_in_a_plain_scenario(tmp_path):
    with pytest.raises(UnsupportedError, match="'equalised' has no context process to plan for; 'argmax'"):
        next(AgentMethod("planner", "gp").learn(task(tmp_path, "equalised")))


def test_a_schedule_decides_when_a_planner_pays(problem, tmp_path):
    """Followed through the environment, the plan is made anew at each refresh, and judged when it has changed."""
    settings = {
        "schedule": {"every": 200, "n": 10},
        "trainer": {"initial_design": 20, "num_envs": 4, "segment_steps": 100, "bins": 15},
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
    settings = {"schedule": {"every": 200, "n": 10}, "trainer": {"initial_design": 20, "num_envs": 4}}
    t = task(tmp_path, "equalised")
    *_, last = AgentMethod("argmax", "gp", "fixed", "random", settings).learn(t)
    assert t.ledger.spent == 40
    quiet, loud = last.policy(np.array([[0.05, 2.0], [1.0, 2.0]]), np.array([4, 4]), 0)
    assert quiet < loud
