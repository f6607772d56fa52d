"""The contracts that all rooms share: policies that keep something, sources and what is refused of them."""

from __future__ import annotations

import numpy as np
import pytest

from mbrl_split.columns import Column
from mbrl_split.errors import InvalidInputError
from mbrl_split.interaction import Policy, ZeroSource, ask, check_source

COLUMNS = (Column("level", "1", 1, 6, "ordinal"), Column("load", "kW", 0.1, 3.0, "log"))


class Alternate(Policy):
    """Takes 0 and 1 in turn, from 0 in each episode."""

    def __init__(self, n):
        self.next = np.zeros(n, np.int64)

    def act(self, obs, *, deterministic=False, mask=None):
        taken, self.next = self.next, 1 - self.next
        return taken

    def reset(self, mask=None):
        self.next = np.where(np.ones(len(self.next), bool) if mask is None else mask, 0, self.next)


def test_reset_begins_the_rows_it_names():
    policy, obs = Alternate(3), np.zeros((3, 1))
    assert policy.act(obs).tolist() == [0, 0, 0]
    policy.reset(np.array([False, True, False]))
    assert policy.act(obs).tolist() == [1, 0, 1]
    policy.reset()
    assert policy.act(obs).tolist() == [0, 0, 0]


def test_a_policy_that_keeps_nothing_needs_no_reset():
    class Still(Policy):
        def act(self, obs, *, deterministic=False, mask=None):
            return np.zeros(len(obs), np.int64)

    policy = Still()
    assert policy.reset() is None
    assert policy.reset(np.array([True])) is None
    with pytest.raises(TypeError, match="abstract"):
        Policy()


def test_zeros_for_whoever_asks():
    source = ZeroSource(list(COLUMNS))
    assert source.columns == COLUMNS
    assert source.version == 0
    check_source(source, COLUMNS)
    np.testing.assert_array_equal(ask(source, np.ones((4, 2)), np.arange(4)), np.zeros(4))
    assert source.answer(np.empty((0, 2)), seeds=[]).shape == (0,)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        (COLUMNS[:1], r"answers the columns \(level\), but the environment asks \(level, load\)"),
        ((COLUMNS[0], Column("lode", "kW", 0.1, 3.0, "log")), "column lode"),
        ((COLUMNS[0], Column("load", "W", 0.1, 3.0, "log")), "column load"),
        ((COLUMNS[0], Column("load", "kW", 0.1, 3.0)), "column load"),
        ((COLUMNS[0], Column("load", "kW", 0.2, 3.0, "log")), "column load"),
        ((Column("level", "1", 0, 6, "ordinal"), COLUMNS[1]), "column level"),
    ],
)
def test_a_source_of_other_columns_is_refused(columns, says):
    with pytest.raises(InvalidInputError, match=says):
        check_source(ZeroSource(columns), COLUMNS)


def test_a_source_may_answer_more():
    check_source(ZeroSource((COLUMNS[0], Column("load", "kW", 0.01, 30.0, "log"))), COLUMNS)


def test_what_is_no_source_and_no_answer():
    with pytest.raises(InvalidInputError, match="which list lacks"):
        check_source([], COLUMNS)

    class Says(ZeroSource):
        def answer(self, X, *, seeds):
            return self.said

    source, X, seeds = Says(COLUMNS), np.array([[1, 0.5], [2, 0.7]]), np.arange(2)
    source.said = [1.0]
    with pytest.raises(InvalidInputError, match=r"answered 2 queries with shape \(1,\), not \(2,\)"):
        ask(source, X, seeds)
    source.said = [1.0, np.nan]
    with pytest.raises(InvalidInputError, match=r"answered nan to the query \[2.0, 0.7\]"):
        ask(source, X, seeds)
    source.said = [1, 2]
    assert ask(source, X, seeds).dtype == np.float64
