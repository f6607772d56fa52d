"""Policies without learning: one observation and many, masks, spaces that do not begin at 0."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mbrl_split.columns import Column
from mbrl_split.errors import InvalidInputError, UnsupportedError
from mbrl_split.evaluation import ArgmaxPolicy, RulePolicy
from mbrl_split.interaction.finite import NonFiniteError
from mbrl_split.refresh import RewardFunction

COLUMNS = (Column("load", "1", 0, 4), Column("level", "1", 0, 3, "ordinal"), Column("heat", "1", 0, 1))
OBS = np.array([[0.2, 0.0], [1.1, 0.5], [2.9, 1.0], [2.4, 0.3]])


def queries(obs):
    """The level stands between what is observed: actions 0 … 3 set it."""
    return np.stack([np.column_stack([obs[:, 0], np.full(len(obs), a), obs[:, 1]]) for a in range(4)], axis=1)


def predict(X):
    return (X[:, 0] - X[:, 1]) ** 2


REWARD = RewardFunction(COLUMNS, reward=lambda y, X: -y - 0.5 * X[:, 1] * X[:, 2], action=1, queries=queries)


def reward_by_hand(obs, level):
    return -((obs[0] - level) ** 2) - 0.5 * level * obs[1]


def test_argmax_is_the_best_of_all_actions():
    policy = ArgmaxPolicy(REWARD, predict)
    by_hand = [max(range(4), key=lambda a: reward_by_hand(o, a)) for o in OBS]
    assert by_hand == [0, 1, 3, 2]
    assert policy.act(OBS).tolist() == by_hand
    for o, action in zip(OBS, by_hand, strict=True):
        assert policy.act(o).shape == ()
        assert policy.act(o) == action
        assert policy.act(o[None]).tolist() == [action]


def test_a_refit_is_seen_at_once():
    worth = {"sign": 1}
    policy = ArgmaxPolicy(replace(REWARD, reward=lambda y, X: -y), lambda X: worth["sign"] * predict(X))
    assert policy.act(OBS).tolist() == [0, 1, 3, 2]
    worth["sign"] = -1
    assert policy.act(OBS).tolist() == [3, 3, 0, 0]


def test_masks_leave_the_best_of_what_is_allowed():
    argmax, rule = ArgmaxPolicy(REWARD, predict), RulePolicy(REWARD, lambda context: np.rint(context[:, 0]))
    mask = np.array([[0, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 1]], dtype=bool)
    for policy in (argmax, rule):
        assert policy.act(OBS).tolist() == [0, 1, 3, 2]
        assert policy.act(OBS, mask=mask).tolist() == [1, 1, 2, 3]
        assert policy.act(OBS, mask=[False, True, True, False]).tolist() == [1, 1, 2, 2]
        assert policy.act(OBS[3], mask=mask[3]) == 3
        with pytest.raises(InvalidInputError, match="allows no action"):
            policy.act(OBS, mask=np.zeros(4, dtype=bool))
        with pytest.raises(InvalidInputError, match=r"shape \(3,\), expected \(4,\) or \(4, 4\)"):
            policy.act(OBS, mask=[True, True, False])


def test_actions_are_those_of_the_space():
    """A Discrete space that begins at 5: so do the actions of agents."""
    shifted = replace(REWARD, first_action=5)
    for policy in (ArgmaxPolicy(shifted, predict), RulePolicy(shifted, lambda context: np.rint(context[:, 0]))):
        assert policy.act(OBS).tolist() == [5, 6, 8, 7]
        assert policy.act(OBS[1]) == 6
        assert policy.act(OBS, mask=[False, True, True, False]).tolist() == [6, 6, 7, 7]  # masks count from 0


def test_a_rule_reads_contexts_and_names_values_of_the_action_column():
    seen = []

    def rule(context):
        seen.append(context.copy())
        return np.where(context[:, 1] >= 0.5, 2.4, 40)

    assert RulePolicy(REWARD, rule).act(OBS).tolist() == [3, 2, 2, 3]  # the nearest there is
    np.testing.assert_array_equal(seen[0], OBS)
    with pytest.raises(InvalidInputError, match=r"one value per context, shape \(4,\), not \(\)"):
        RulePolicy(REWARD, lambda context: 2.0).act(OBS)


def test_observations_with_more_dimensions():
    image = replace(REWARD, queries=lambda obs: queries(obs.reshape(len(obs), -1)), observation_ndim=2)
    policy = ArgmaxPolicy(image, predict)
    assert policy.act(OBS.reshape(4, 1, 2)).tolist() == [0, 1, 3, 2]
    assert policy.act(OBS.reshape(4, 1, 2)[2]) == 3
    with pytest.raises(InvalidInputError, match="one observation has 2 dimensions, a batch 3; not 1"):
        policy.act(OBS[0])


def test_what_cannot_be_looked_up_is_said():
    blind = replace(REWARD, queries=None)
    for make in (lambda: ArgmaxPolicy(blind, predict), lambda: RulePolicy(blind, lambda context: context[:, 0])):
        with pytest.raises(UnsupportedError, match="queries"):
            make()
    with pytest.raises(NonFiniteError, match="the predicted reward is nan"):
        ArgmaxPolicy(REWARD, lambda X: np.where(X[:, 1] == 2, np.nan, 0.0)).act(OBS)
    with pytest.raises(NonFiniteError, match="what the rule wants is nan"):
        RulePolicy(REWARD, lambda context: np.full(len(context), np.nan)).act(OBS)
