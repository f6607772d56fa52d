"""Scenarios: overriding, and what is refused."""

from typing import Any

import numpy as np
import pytest

from mbrl_split import InvalidInputError
from mbrl_split.layer_split import SCENARIOS, scenario


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
    with pytest.raises(InvalidInputError, match=words) as caught:
        scenario("equalised", **overrides)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(InvalidInputError, match="did you mean 'equalised'"):
        scenario("equalized")


def test_columns_put_the_split_first() -> None:
    columns = scenario("equalised").columns(12)
    assert [c.name for c in columns] == ["split", "noise", "m"]
    assert (columns[0].low, columns[0].high, columns[0].scale) == (1, 11, "ordinal")


def test_the_papers_cases_are_thirds_of_the_whole_range() -> None:
    low, high, every = (SCENARIOS[f"paper-{case}"].context[0] for case in "lha")
    assert low.low == every.low
    assert high.high == every.high
    assert low.high / low.low == pytest.approx(high.high / high.low, rel=0.02)
    assert (low.high / low.low) ** 3 == pytest.approx(every.high / every.low, rel=0.02)
    for case in "lha":
        s = SCENARIOS[f"paper-{case}"]
        assert (s.reward.kind, s.reward.quality, s.channel.csi, s.drift) == ("relative", 10.0, "none", 0.0005)


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_is_an_environment_and_names_a_channel(name: str) -> None:
    from mbrl_split.envs import check_environment
    from mbrl_split.layer_split import LLMSplitVector
    from mbrl_split.layer_split.oracle.context import channel_of, check_context

    s = scenario(name)
    check_context(s.channel, [c.name for c in s.context])
    for end in ("low", "high"):
        channel_of(s.channel, {c.name: getattr(c, end) for c in s.context}, reference_rms=1.0)

    class Depth:
        """The deeper, the less damage."""

        columns, version = s.columns(12), 0

        def answer(self, X: Any, *, seeds: Any) -> Any:
            return 1.0 / np.asarray(X)[:, 0]

    env = LLMSplitVector(3, name, source=Depth())
    check_environment(env)
    env.reset(seed=0)
    _, reward, *_, info = env.step(np.array([0, 5, 10]))
    p = np.array([1, 6, 11])
    quality = -3 / p if s.reward.kind == "log" else 10 * (1 - np.exp(1 / p))
    np.testing.assert_array_equal(info["split"], p)
    share = p / 12 if s.costs is None else info["share"]  # a session's bill: envs/test_session.py
    np.testing.assert_allclose(reward, quality + 1 - share)
