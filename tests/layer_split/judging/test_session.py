"""Sessions judged: dynamic programming against trying every policy, headroom, discretisation, estimated processes."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from mbrl_split.envs import OracleSource
from mbrl_split.errors import InvalidInputError, UnsupportedError
from mbrl_split.layer_split import (
    LLMSplitVector,
    SessionJudge,
    SessionModel,
    compose_reward,
    estimated_correlation,
    estimated_loads,
    scenario,
)
from mbrl_split.layer_split.judging.decision import PARTS
from mbrl_split.oracles import FunctionOracle, Ledger

BASE = {"battery_joules": None}
PHONE = {"device": "phone", "edge": "l4", "radio": "5g"}
DRIVE = scenario("drive", context_process={"speed": 0.3, "turn_seconds": 10.0})


def damage(X):
    return 2.0 * np.tanh(X[:, 1]) * np.exp(-0.25 * X[:, 0])


@pytest.fixture(scope="module")
def problem():
    return SessionJudge.of_function(DRIVE, 12, damage, n_contexts=300)


def test_dynamic_programming_finds_what_trying_every_policy_finds():
    """Two turns, two bins, one load, two splits: all 2⁸ policies of (turn, bin, split before), one by one."""
    s = scenario("drive", episode_steps=2, context_process={**BASE, "edge_load": (0.3,), "correlation": 0.6})
    model = SessionModel(s, 3, damage, bins=2)
    rewards = model._tables[0][1]["myopic-with-cost"].reshape(2, 2, 2, 2)  # turn, bin, split before, action
    kernel = model._kernel
    best = -np.inf
    for choice in product((0, 1), repeat=8):
        policy = np.array(choice).reshape(2, 2, 2)
        total = 0.0
        for i, k in product((0, 1), repeat=2):
            a = policy[0, i, k]
            total += rewards[0, i, k, a] / 4
            total += sum(kernel[i, j] * rewards[1, j, a, policy[1, j, a]] for j in (0, 1)) / 4
        best = max(best, total / 2)
    assert model.value == pytest.approx(best, abs=1e-12)


def test_without_moving_costs_greedy_is_optimal():
    s = scenario("drive", context_process={**BASE, "session": False})
    p = SessionJudge.of_function(s, 8, damage, n_contexts=100, bins=12)
    assert p.myopic == pytest.approx(p.optimal, abs=1e-12)
    assert p.myopic_with_cost == pytest.approx(p.optimal, abs=1e-12)


def test_references_are_ordered_and_the_grid_says_what_it_is_worth(problem):
    p = problem
    assert p.random < p.best_fixed < p.optimal
    assert p.myopic < p.myopic_with_cost < p.optimal  # planning pays
    assert p.headroom.value == pytest.approx(p.optimal - p.best_fixed)
    assert p.headroom.significance > 5
    assert {name: p.exact(name) for name in SessionJudge.names}["best-fixed"] == p.best_fixed
    assert p.regret_of(p.optimal).normalised == 0
    assert p.regret_of(p.best_fixed).normalised == pytest.approx(1)
    assert p.discretisation_error < 0.05 * p.headroom.value
    # The grid's own value and the rollout agree within the rollout's error.
    spread = p._optimal.mean(axis=0).std() / np.sqrt(300)
    assert abs(p.planned - p.optimal) < 4 * spread + p.discretisation_error
    with pytest.raises(InvalidInputError, match="best-fixed"):
        p.exact("best-fixd")


def test_headroom_error_covers_fresh_texts():
    """Judges rebuilt on fresh windows, each with its own liking for splits, in the same sessions: their spread."""
    found, stated, halves = [], [], []
    for k in range(24):
        rng = np.random.default_rng(k)
        liking = {part: rng.normal(1, 0.5, (6, 12)) for part in PARTS}

        def windows(X, part, liking=liking):
            return damage(X)[:, None] * liking[part][X[:, 0].astype(int)]

        def expected(X, *, part, windows=windows):
            values = windows(X, part)
            return values.mean(axis=1), values.std(axis=1, ddof=1) / np.sqrt(12)

        p = SessionJudge(DRIVE, 6, expected, 40, bins=7, by_window=windows)
        found.append(p.optimal - p.best_fixed)
        halves.append(SessionJudge(DRIVE, 6, expected, 40, bins=7)._measurement_error())
        stated.append(p._measurement_error())
    spread = np.std(found, ddof=1)
    assert 0.75 < np.mean(stated) / spread < 1.8  # choosing among disturbed values disturbs a little more
    assert np.std(stated) < np.std(halves)  # half the difference of two values is a poor guess
    assert p.headroom.std_error > stated[-1]  # the sessions' share comes on top


def test_what_is_achieved_is_what_the_environment_pays(problem):
    """Hold split 5 by hand, with the expected damage, in sessions of the same law: within four standard errors."""

    class Five:
        def act(self, obs, *, deterministic=True):
            return np.full(len(obs), 4)

    oracle = FunctionOracle(damage, DRIVE.columns(12))
    env = LLMSplitVector(800, DRIVE, source=OracleSource(Ledger(oracle)))
    env.reset(seed=17)
    total = sum(env.step(np.full(800, 4))[1] for _ in range(16)) / 16
    value = problem.judge(Five()).per_unit
    assert abs(total.mean() - value.mean()) < 4 * np.hypot(total.std() / np.sqrt(800), value.std() / np.sqrt(300))


def test_best_fixed_is_not_charged_for_where_chance_starts_it():
    """The first choice is free: the best fixed split by hand in one turn, whatever the split before."""
    s = scenario("drive", episode_steps=1)
    p = SessionJudge.of_function(s, 12, damage, n_contexts=200)
    env, _, _ = p._started[0]
    state, prices = env._current, env.prices
    level, load = env.level(state), np.array(s.context_process.edge_load)[state["edge"]]
    held = []
    for split in range(1, 12):
        share = prices.share(prices.turn(split, split, 1 / level**2, load, 0), 1 + (1 - state["battery"]))
        held.append(np.mean(-3 * damage(np.column_stack([np.full(200, split), level])) + 1 - share))
    assert p.best_fixed == pytest.approx(max(held), rel=1e-6)
    assert np.ptp(state["split"]) > 5


def test_masks_and_relative_moves_are_planned_for():
    s = scenario("drive", actions="relative", max_move=2, context_process=BASE, costs={**PHONE, "deadline": 2.5})
    p = SessionJudge.of_function(s, 8, damage, n_contexts=100, bins=12)
    assert p.best_fixed < p.optimal
    policy = p._models[0].policy()
    _, obs, mask = p._started[0]
    assert not mask.all()
    action = policy.act(obs, mask=mask)
    assert mask[np.arange(100), action].all()
    assert policy.act(obs[0], mask=mask[0]) == action[0]


def test_late_knowledge_costs_and_is_planned_exactly():
    """With one load and no battery the grid's value matches the rollout, and knowing later is worth less."""
    values = []
    for delay in (0, 2):
        s = scenario("drive", context_process={**BASE, "delay": delay, "edge_load": (0.3,)})
        p = SessionJudge.of_function(s, 8, damage, n_contexts=400)
        assert abs(p.planned - p.optimal) < 4 * p._optimal.mean(axis=0).std() / 20 + 1e-3
        values.append(p.planned)
    assert values[1] < values[0]


def test_estimated_dynamics_are_near_the_true_ones():
    s = scenario("drive", context_process={"correlation": 0.8})
    oracle = FunctionOracle(damage, s.columns(12))
    env = LLMSplitVector(400, s, source=OracleSource(Ledger(oracle)))
    obs, _ = env.reset(seed=0)
    seen = [obs]
    for _ in range(15):
        seen.append(env.step(np.zeros(400, np.int64))[0])
    watch = np.stack(seen, axis=1).astype(float)
    assert estimated_correlation(s.context[0].from_unit(watch[:, :, 0]), s) == pytest.approx(0.8, abs=0.02)
    np.testing.assert_allclose(estimated_loads(np.rint(watch[:, :, 3]), 2), [[0.8, 0.2], [0.2, 0.8]], atol=0.03)


def test_what_a_grid_cannot_hold_is_refused():
    for change in ({"knowledge_error": 1.0}, {"trace": "synthetic"}):
        with pytest.raises(UnsupportedError, match="Gauss-Markov"):
            SessionModel(scenario("drive", context_process=change), 8, damage)
    assert (
        SessionModel(
            scenario("drive", context_process={"trace": "synthetic"}), 8, damage, bins=4, correlation=0.5
        ).value
        < 1
    )
    with pytest.raises(InvalidInputError, match="SplitJudge"):
        SessionJudge.of_function(scenario("equalised"), 8, damage)


def test_the_session_reward_is_not_the_plain_one():
    """A negative control: the plain composition would misjudge a turn by the cost of its bill."""
    oracle = FunctionOracle(damage, DRIVE.columns(12))
    env = LLMSplitVector(50, DRIVE, source=OracleSource(Ledger(oracle)))
    env.reset(seed=0)
    _, reward, _, _, info = env.step(np.full(50, 4))
    assert np.abs(reward - compose_reward(info["damage"], 5, 12, DRIVE.reward)).max() > 0.1
