"""Scenarios: overriding, and what is refused."""

import pytest

from mbrl_split import SCENARIOS, BadInput, scenario


def test_overrides_replace_fields_and_leave_the_named_one_alone() -> None:
    changed = scenario("equalised", episode_steps=1, actions="relative")
    assert (changed.episode_steps, changed.actions) == (1, "relative")
    assert SCENARIOS["equalised"].episode_steps == 5


def test_plain_data_changes_the_named_parts_only() -> None:
    changed = scenario("equalised", reward={"quality": 10}, channel={"csi": "none"}, context={"noise": [0.1, 1]})
    base = SCENARIOS["equalised"]
    assert changed.reward.quality == 10
    assert changed.reward.load == base.reward.load
    assert (changed.channel.csi, changed.channel.kind) == ("none", base.channel.kind)
    assert [(c.low, c.high) for c in changed.context] == [(0.1, 1.0), (0.5, 8.0)]
    assert changed.context[0].scale == "log"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"episodes": 3}, "episodes"),
        ({"reward": {"kwality": 1}}, "did you mean 'quality'"),
        ({"context": {"m": [0.3, 8]}}, "at least 0.5"),
        ({"context": {"noise": [-1, 1]}}, "low > 0"),
        ({"context": {"noise": 3}}, r"\[low, high\]"),
        ({"context": {"noize": [1, 2]}}, "did you mean 'noise'"),
        ({"window": {"a": 1}}, "plain value"),
        ({"actions": "sideways"}, "absolute"),
        ({"pool": 4}, "pool"),
        ({"episode_steps": 0}, "at least 1"),
    ],
)
def test_bad_overrides_are_one_clear_line(overrides: dict, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        scenario("equalised", **overrides)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(BadInput, match="did you mean 'equalised'"):
        scenario("equalized")


def test_columns_put_the_split_first() -> None:
    columns = scenario("equalised").columns(12)
    assert [c.name for c in columns] == ["split", "noise", "m"]
    assert (columns[0].low, columns[0].high, columns[0].scale) == (1, 11, "ordinal")
