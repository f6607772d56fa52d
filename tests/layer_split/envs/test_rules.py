"""Rewards, moves, drift and observations by hand."""

import numpy as np
import pytest

from mbrl_split import InvalidInputError
from mbrl_split.columns import Column
from mbrl_split.layer_split import build_inputs, compose_reward, load_term, next_split, observe, quality_term, scenario
from mbrl_split.layer_split.envs.rules import action_space, drifted, from_uniform, observation_space
from mbrl_split.layer_split.scenarios import RewardSpec


def test_log_reward_by_hand():
    # −3·0.2 + 1·(1 − 3/12)
    assert compose_reward(0.2, 3, 12, RewardSpec()) == pytest.approx(0.15)
    # the reference counts: −3·(0.2 − 0.5) + 0.75
    assert compose_reward(0.2, 3, 12, RewardSpec(), reference_damage=0.5) == pytest.approx(1.65)


def test_relative_reward_is_the_papers():
    spec = RewardSpec("relative", quality=10.0, load=1.0)
    ppl, ppl_ref = 30.0, 25.0
    by_hand = 10 * (ppl_ref - ppl) / ppl_ref + (1 - 6 / 24)
    assert compose_reward(np.log(ppl / ppl_ref), 6, 24, spec) == pytest.approx(by_hand)
    # damages over a clean perplexity of 20: the clean model cancels
    assert compose_reward(np.log(ppl / 20), 6, 24, spec, np.log(ppl_ref / 20)) == pytest.approx(by_hand)


def test_reward_is_its_two_terms_and_broadcasts():
    spec = RewardSpec("relative", 10.0, 2.0)
    damage, split = np.linspace(0, 2, 5)[:, None], np.arange(1, 12)[None]
    total = quality_term(damage, spec) + load_term(split, 12, spec)
    assert compose_reward(damage, split, 12, spec).shape == (5, 11)
    assert np.array_equal(compose_reward(damage, split, 12, spec), total)
    assert load_term([6], 12, spec) == pytest.approx([1.0])


def test_an_absurd_prediction_stays_finite():
    assert np.isfinite(compose_reward(1e6, 1, 12, RewardSpec("relative")))
    # and nothing below e^30 is touched
    assert quality_term(12.0, RewardSpec("relative", 1.0)) == pytest.approx(1 - np.exp(12.0))


def test_absolute_and_relative_moves():
    absolute = scenario("equalised")
    assert action_space(absolute, 12).n == 11
    assert next_split(absolute, 12, [5, 5], [0, 10]).tolist() == [1, 11]
    relative = scenario("equalised", actions="relative", max_move=4)
    assert action_space(relative, 12).n == 9
    assert next_split(relative, 12, [5, 5, 5, 2, 10], [4, 0, 8, 0, 8]).tolist() == [5, 1, 9, 1, 11]


def test_drift_telescopes():
    paper = scenario("paper-a")
    context = np.array([[0.7, 2.0]])
    out_and_back = drifted(paper, drifted(paper, context, [6]), [-6])
    assert out_and_back == pytest.approx(context, rel=1e-14)
    in_two = drifted(paper, drifted(paper, context, [2]), [5])
    at_once = drifted(paper, context, [7])
    assert in_two == pytest.approx(at_once, rel=1e-14)
    assert at_once[0, 0] == pytest.approx(0.7 * np.exp(-0.0005 * 7))
    assert at_once[0, 1] == 2.0
    # the paper's factor, to first order
    assert at_once[0, 0] == pytest.approx(0.7 * (1 - 0.0005 * 7), rel=1e-5)


def test_drift_is_cut_to_the_range_and_needs_noise(narrow_noise):
    s = scenario("equalised", context=narrow_noise, drift=0.5)
    assert drifted(s, [[0.55, 1.0], [0.55, 1.0]], [3, -3])[:, 0].tolist() == [0.5, 0.6]
    bare = scenario("equalised", context=(Column("loss", "1", 0.0, 0.5),), drift=0.5)
    with pytest.raises(InvalidInputError, match="drift acts on a context column 'noise'"):
        drifted(bare, [[0.1]], [1])


def test_observation_by_hand():
    s = scenario("equalised")
    middle = [np.sqrt(0.05 * 1.0), 2.0]  # both columns are logarithmic
    seen = observe(s, 12, [middle, [0.05, 8.0], [1.0, 0.5]], [6, 1, 11])
    assert seen.dtype == np.float32
    assert np.allclose(seen, [[0.5, 0.5, 0.5], [0, 1, 0], [1, 0, 1]], atol=1e-6)
    box = observation_space(s)
    assert all(row in box for row in seen)


def test_reference_damage_is_seen():
    s = scenario("equalised", reference="start")
    seen = observe(s, 12, [[0.05, 0.5]] * 3, [1, 1, 1], [0.0, 1.0, -0.25])
    assert seen[:, -1].tolist() == pytest.approx([0.0, 0.5, -0.2])
    assert all(row in observation_space(s) for row in seen)
    with pytest.raises(InvalidInputError, match="pass reference_damage"):
        observe(s, 12, [[0.05, 0.5]], [1])


def test_queries_follow_the_columns():
    s = scenario("equalised")
    X = build_inputs([3], [[0.1, 2.0]])
    assert [c.name for c in s.columns(12)] == ["split", "noise", "m"]
    assert X.tolist() == [[3.0, 0.1, 2.0]]


def test_every_integer_of_an_ordinal_is_equally_likely():
    values = from_uniform(Column("split", "layers", 1, 4, "ordinal"), (np.arange(1000) + 0.5) / 1000)
    assert np.bincount(values.astype(int)).tolist() == [0, 250, 250, 250, 250]
