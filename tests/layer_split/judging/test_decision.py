"""The judge: exact policies against slow searches, headroom and its error against simulation."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from mbrl_split.envs import OracleSource
from mbrl_split.errors import InvalidInputError
from mbrl_split.layer_split import LLMSplitVector, SplitJudge, agent_policy, policy_splits, scenario
from mbrl_split.layer_split.judging.decision import PARTS
from mbrl_split.layer_split.judging.paths import along, best_path, direct_path, greedy_path, random_value
from mbrl_split.oracles import FunctionOracle, Ledger

ABSOLUTE = scenario("equalised")
RELATIVE = scenario("equalised", actions="relative", max_move=2, drift=0.02)


def damage(X):
    return 2.0 * np.tanh(X[:, 1] * (1 + 0.5 / X[:, 2])) * np.exp(-0.25 * X[:, 0])


def bumpy(X):
    """A landscape with valleys between the start and the best split: greedy is not optimal."""
    return 0.6 * (1 + np.sin(2.1 * X[:, 0] + 5 * X[:, 1])) + 0.05 * X[:, 0] * (X[:, 1] < 0.3)


def every_path(reward, start, steps, move):
    """The best mean reward per step over all action sequences, one context at a time: slow and obvious."""
    n, k = reward.shape
    best = np.full(n, -np.inf)
    for c in range(n):
        for moves in product(range(-move, move + 1), repeat=steps):
            p, total = start[c], 0.0
            for m in moves:
                p = min(max(p + m, 1), k)
                total += reward[c, p - 1]
            best[c] = max(best[c], total / steps)
    return best


def test_backward_induction_finds_what_trying_everything_finds():
    rng = np.random.default_rng(0)
    reward, start = rng.normal(size=(12, 7)), rng.integers(1, 8, 12)
    for steps, move in ((1, 2), (3, 1), (4, 2)):
        path = best_path(reward, start, steps, move)
        assert np.abs(np.diff(np.column_stack([start, path]), axis=1)).max() <= move
        np.testing.assert_allclose(along(reward, path), every_path(reward, start, steps, move), atol=1e-12)
    greedy = along(reward, greedy_path(reward, start, 4, 2))
    best = along(reward, best_path(reward, start, 4, 2))
    assert (greedy <= best + 1e-12).all()
    assert (greedy < best - 1e-6).any()


def test_random_value_matches_simulation():
    rng = np.random.default_rng(0)
    reward, start = rng.normal(size=(5, 6)), np.array([1, 2, 3, 5, 6])
    total, p = np.zeros((5, 40_000)), np.repeat(start[:, None], 40_000, axis=1)
    for _ in range(3):
        p = np.clip(p + rng.integers(-2, 3, p.shape), 1, 6)
        total += np.take_along_axis(reward, p - 1, axis=1) / 3
    np.testing.assert_allclose(random_value(reward, start, 3, 2), total.mean(axis=1), atol=0.015)
    np.testing.assert_allclose(random_value(reward, start, 3, None), reward.mean(axis=1))


def test_direct_path_goes_straight_and_stays():
    start, target = np.array([1, 9, 4]), np.array([6, 2, 4])
    np.testing.assert_array_equal(direct_path(target, start, 4, 2), [[3, 5, 6, 6], [7, 5, 3, 2], [4, 4, 4, 4]])
    np.testing.assert_array_equal(direct_path(target, start, 2, None), [[6, 6], [2, 2], [4, 4]])


@pytest.mark.parametrize("s", [ABSOLUTE, RELATIVE])
def test_references_are_ordered_and_regret_is_in_their_units(s):
    p = SplitJudge.of_function(s, 12, damage, n_contexts=500)
    assert p.random < p.best_fixed < p.noise_bins < p.optimal
    assert p.myopic <= p.optimal + 1e-12
    assert p.headroom.value == pytest.approx(p.optimal - p.best_fixed)
    fixed = p.regret(lambda c, split, t: np.full(len(c), p.fixed_split))
    assert fixed.normalised == pytest.approx(1)
    assert fixed.trusted
    assert fixed.reported == fixed.normalised
    assert p.exact("noise-bins") == p.noise_bins
    with pytest.raises(InvalidInputError, match="did you mean 'optimal'"):
        p.exact("optimum")


@pytest.mark.parametrize(
    "s", [ABSOLUTE, RELATIVE, scenario("equalised", actions="relative", reference="start"), scenario("paper-a")]
)
def test_values_are_what_the_environment_pays(s):
    """The judge's arithmetic against episodes that are really stepped: same start, same policy, same return."""
    p = SplitJudge.of_function(s, 12, damage, n_contexts=64, seed=3)
    env = LLMSplitVector(64, s, source=OracleSource(Ledger(FunctionOracle(damage, s.columns(12)))))
    env.reset(seed=0)
    state = env.state_dict()
    state["state"]["start_context"] = p.context.tolist()
    state["state"]["start_split"] = state["state"]["split"] = p.start.tolist()
    if s.reference == "start":
        state["state"]["reference_damage"] = damage(np.column_stack([p.start, p.context])).tolist()
    env.load_state_dict(state)
    rng = np.random.default_rng(1)
    actions = rng.integers(0, env.single_action_space.n, (s.episode_steps, 64))
    total, path = np.zeros(64), []
    for a in actions:
        _, reward, _, _, info = env.step(a)
        total += reward
        path.append(info["split"].copy())
    np.testing.assert_allclose(p.per_context(np.stack(path, axis=1)) * s.episode_steps, total, atol=1e-9)


def test_an_agents_policy_sees_what_the_environment_shows():
    """`agent_policy` and a deterministic rollout of the same agent agree, drift and clipped moves included."""

    class Odd:
        """A policy that depends on every coordinate of the observation."""

        def act(self, obs, *, deterministic=False):
            o = np.atleast_2d(obs)
            return np.floor(np.abs(np.sin(50 * o.sum(axis=1))) * 4.999).astype(np.int64)

    env = LLMSplitVector(32, RELATIVE, source=OracleSource(Ledger(FunctionOracle(damage, RELATIVE.columns(12)))))
    obs, _ = env.reset(seed=5)
    state = env.state_dict()["state"]
    context, start = np.array(state["start_context"]), np.array(state["start_split"])
    seen = []
    for _ in range(RELATIVE.episode_steps):
        obs, _, _, _, info = env.step(Odd().act(obs))
        seen.append(info["split"].copy())
    path = policy_splits(agent_policy(Odd(), RELATIVE, 12), RELATIVE, 12, context, start)
    np.testing.assert_array_equal(path, np.stack(seen, axis=1))


def test_choosing_on_one_part_and_valuing_on_the_other_removes_the_winners_curse():
    """All splits are equally good: an argmax over noise must not look like headroom."""
    rng = np.random.default_rng(0)
    noise = {part: rng.normal(0, 0.2, 2000 * 11) for part in ("choose", "value")}
    equal = lambda X: (1 - X[:, 0] / 12) / 3  # noqa: E731  makes −3·D + load the same everywhere

    def expected(X, *, part):
        return equal(X) + noise[part], np.full(len(X), 0.2)

    p = SplitJudge(ABSOLUTE, 12, expected)
    assert abs(p.headroom.value) < 3 * p.headroom.std_error
    naive = np.mean([r.max(axis=1).mean() - r.mean(axis=0).max() for r in p.reward])
    assert naive > 0.5  # what looking twice at the same noise would have claimed
    assert not p.regret_of(p.optimal).trusted


def test_headroom_error_covers_fresh_measurements_and_fresh_contexts():
    """Judges rebuilt with fresh noise and contexts: the spread of their headrooms is within the stated error."""
    found, stated = [], []
    for k in range(40):
        rng = np.random.default_rng(k)
        # One shared error per split and part, as when a split's windows are the same in every context.
        error = {part: rng.normal(0, 0.02, 12) for part in ("choose", "value")}

        def expected(X, *, part, error=error):
            return damage(X) + error[part][X[:, 0].astype(int)], np.full(len(X), 0.02)

        room = SplitJudge(ABSOLUTE, 12, expected, n_contexts=100, seed=k).headroom
        found.append(room.value)
        stated.append(room.std_error)
    spread = np.std(found, ddof=1)
    assert spread < 1.25 * np.mean(stated)  # never understated (1.25: χ² with 39 degrees of freedom, 2 %)
    assert np.mean(stated) < 2.5 * spread  # nor uselessly wide


def test_windows_shared_by_all_splits_shrink_the_error_of_the_headroom():
    """Text that is hard for every split alike moves all rewards together: the windows know, standard errors do not."""
    found, by_window, by_error = [], [], []
    for k in range(30):
        factor = {part: np.random.default_rng([k, i]).uniform(0.4, 1.6, 32) for i, part in enumerate(PARTS)}

        def windows(X, part, factor=factor):
            return damage(X)[:, None] * factor[part]

        def expected(X, *, part, windows=windows):
            values = windows(X, part)
            return values.mean(axis=1), values.std(axis=1, ddof=1) / np.sqrt(32)

        p = SplitJudge(ABSOLUTE, 12, expected, 100, by_window=windows)
        found.append(p.optimal - p.best_fixed)
        if k < 6:
            by_window.append(p._measurement_error())
            by_error.append(SplitJudge(ABSOLUTE, 12, expected, 100)._measurement_error())
    spread = np.std(found, ddof=1)
    assert 0.7 < np.mean(by_window) / spread < 1.4
    assert np.mean(by_error) > 2 * spread


def test_a_judge_is_seeded_and_refuses_nonsense():
    a, b = (SplitJudge.of_function(ABSOLUTE, 12, damage, 50, seed=1) for _ in range(2))
    np.testing.assert_array_equal(a.context, b.context)
    assert a.optimal == b.optimal
    assert SplitJudge.of_function(ABSOLUTE, 12, damage, 50, seed=2).optimal != a.optimal
    with pytest.raises(InvalidInputError, match="is nan"):
        SplitJudge.of_function(ABSOLUTE, 12, lambda X: X[:, 0] * np.nan, 50)
    with pytest.raises(InvalidInputError, match="at least 2 contexts"):
        SplitJudge.of_function(ABSOLUTE, 12, damage, 1)
    with pytest.raises(InvalidInputError, match="one split per context"):
        a.achieved(lambda c, split, t: np.ones(3, np.int64))


def test_bumpy_relative_landscape_needs_planning():
    s = scenario("equalised", actions="relative", max_move=1)
    p = SplitJudge.of_function(s, 12, bumpy, n_contexts=300)
    assert p.myopic < p.optimal - 0.01
