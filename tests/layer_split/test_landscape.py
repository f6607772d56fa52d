"""The landscape of a made-up table whose answers are known, and of the shipped one."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mbrl_split.errors import InvalidInputError
from mbrl_split.layer_split import FAMILIES, TableData, TableOracle
from mbrl_split.layer_split.landscape.landscape import VIEWS, View
from mbrl_split.layer_split.landscape.report import write_landscape
from mbrl_split.layer_split.scenarios import PROTOCOL_VERSION
from mbrl_split.layer_split.tables.families import family_of

L, WINDOWS = 12, 20


def table(name: str, damage: np.ndarray) -> TableOracle:
    """A table of damages (splits, knots, windows) for a view."""
    family = FAMILIES[family_of(VIEWS[name].channel).name]
    at = family.points(family.levels)
    about = {
        "family": family.name,
        "half": "judge",
        "text": "sotu",
        "window": 128,
        "tokens": WINDOWS * 128,
        "draws": 1,
        "seed": 1,
        "n_layers": L,
        "levels": {axis: list(values) for axis, values in family.levels.items()},
        "cap": np.log(2048),
        "oracle": "perplexity dtype=torch.float32",
        "protocol": PROTOCOL_VERSION,
    }
    clean = np.full(WINDOWS, 3.0)
    return TableOracle(
        TableData(
            splits=np.arange(1, L),
            axes={c: at[:, j] for j, c in enumerate(family.columns)},
            windows=np.arange(WINDOWS),
            documents=np.arange(WINDOWS) // 4,
            nll=(clean[:, None] + damage[..., None]).astype(np.float32),
            clean_nll=clean,
            capped=np.zeros((*damage.shape, 1), bool),
            seconds=np.ones(damage.shape[:2]),
            about=about,
        ),
        VIEWS[name],
    )


def deeper_is_safer(name: str, sign: float = 1.0) -> TableOracle:
    """Damage badness·exp(−p/3): the worse the channel, the deeper the best split (sign −1: the shallower)."""
    family = FAMILIES[family_of(VIEWS[name].channel).name]
    at = family.points(family.levels)[:, 0]
    badness = {"noise": lambda: at.clip(max=50), "bits": lambda: 2.0 ** (3 - at)}[family.columns[0]]()
    depth = np.arange(1, L) if sign > 0 else L - np.arange(1, L)
    factor = np.random.default_rng(0).uniform(0.8, 1.2, WINDOWS)
    return table(name, badness[None, :, None] * np.exp(-depth / 3)[:, None, None] * factor)


@pytest.mark.parametrize("name", ["equalised", "quantise-token"])
def test_a_trend_that_is_there_is_found_with_its_sign(name: str) -> None:
    view = View.of(VIEWS[name], deeper_is_safer(name))
    assert view.trend.verdict == "the worse, the deeper"
    assert view.trend.kendall.low <= view.trend.kendall.value <= view.trend.kendall.high
    assert view.trend.kendall.value > 0.5
    assert len(view.trend.by_document) == 5
    assert view.moved >= L / 3
    # With the reward's weights the best split minimises 3·s·exp(−p/3) + p/L: by hand at the quiet and the loud end.
    if name == "equalised":
        at = np.array(view.best["at"])
        assert at[0] == pytest.approx(VIEWS[name].context[0].low)
        assert (np.diff(view.best["split"]) >= 0).all()
        assert all(a <= b <= c for a, b, c in zip(view.best["low"], view.best["split"], view.best["high"], strict=True))


def test_no_trend_is_not_called_one() -> None:
    # Damage is the same at every split: the load term alone decides, and split 1 is always best.
    at = FAMILIES["equalised"].points(FAMILIES["equalised"].levels)[:, 0]
    flat = np.broadcast_to(at.clip(max=5)[None, :, None], (L - 1, len(at), WINDOWS))
    view = View.of(VIEWS["equalised"], table("equalised", flat))
    assert view.trend.verdict == "no trend shown"
    assert view.moved == 0
    assert view.headroom["value"] == pytest.approx(0, abs=1e-12)
    assert set(view.best["split"]) == {1.0}


def test_a_reversed_trend_is_called_reversed() -> None:
    steep = replace(VIEWS["equalised"], reward=replace(VIEWS["equalised"].reward, load=-1.0))
    view = View.of(steep, TableOracle(deeper_is_safer("equalised", -1.0).table, steep))
    assert view.trend.verdict == "the worse, the shallower"
    assert view.moved < 0


def test_curves_are_the_measured_ones() -> None:
    source = deeper_is_safer("quantise-token")
    view = View.of(VIEWS["quantise-token"], source)
    loud = view.curves["loud"]
    assert loud["context"] == {"bits": 2.0}
    np.testing.assert_allclose(loud["nll"], source.table.nll[:, 0, :, 0].mean(axis=1), rtol=1e-6)
    assert view.curves["quiet"]["context"] == {"bits": 16.0}


def test_the_shipped_landscape_is_written_as_pictures_text_and_data(tmp_path: Path) -> None:
    found = write_landscape("tiny-llama", tmp_path / "out", ("equalised",))
    assert found.headlines()[0].startswith("equalised: headroom 0.")
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == ["equalised-best.svg", "equalised-nll.svg", "landscape.json", "landscape.md"]
    data = json.loads((tmp_path / "out" / "landscape.json").read_text())
    assert data["command"] == "mbrl-split landscape tiny-llama --scenario equalised"
    assert data["views"][0]["headroom"]["value"] > 10 * data["views"][0]["headroom"]["std_error"]
    text = (tmp_path / "out" / "landscape.md").read_text()
    assert "scored tokens in" in text
    assert (tmp_path / "out" / "equalised-nll.svg").read_text().startswith("<svg")


def test_what_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="did you mean 'equalised'"):
        write_landscape("tiny-llama", tmp_path, ("equalized",))
    with pytest.raises(InvalidInputError, match="no judge table of 'nobody'"):
        write_landscape("nobody", tmp_path)
