"""Wrapping acquisitions by name: the same objects that are made by hand."""

import pytest

from mbrl_split import InvalidInputError
from mbrl_split.refresh import CostAware, Disagreement, Diverse, MaxEpistemic
from mbrl_split.registry import ACQUISITIONS


def test_names_make_what_is_made_by_hand() -> None:
    assert ACQUISITIONS["cost-aware"]() == CostAware(MaxEpistemic())
    assert ACQUISITIONS["cost-aware"](inner={"disagreement": {"draws": 8}}) == CostAware(Disagreement(draws=8))
    assert ACQUISITIONS["diverse"](radius=0.2, inner="disagreement") == Diverse(Disagreement(), 0.2)


def test_an_acquisition_without_a_score_cannot_be_wrapped() -> None:
    with pytest.raises(InvalidInputError, match="Thompson gives rows no score"):
        ACQUISITIONS["diverse"](inner="thompson")
    with pytest.raises(InvalidInputError, match="did you mean 'epistemic'"):
        ACQUISITIONS["cost-aware"](inner="epistemics")
    with pytest.raises(InvalidInputError, match="inner names one acquisition, not 2"):
        CostAware(inner={"epistemic": {}, "disagreement": {}})
