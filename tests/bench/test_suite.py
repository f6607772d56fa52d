"""Suites: what a file means, and how a broken one is refused."""

from pathlib import Path

import pytest
import yaml

from mbrl_split import InvalidInputError
from mbrl_split.bench import load_suite, select

MINIMAL = {
    "name": "s",
    "title": "t",
    "scenarios": ["equalised"],
    "models": ["tiny-llama"],
    "seeds": 3,
    "algorithms": [
        {"algorithm": "random"},
        {
            "algorithm": "ppo-true",
            "agent": "ppo",
            "source": "oracle",
            "budget": 600,
            "settings": {"agent": {"n_steps": 4}, "trainer": {"num_envs": 1}},
        },
    ],
}


def write(folder: Path, **changes: object) -> Path:
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump({**MINIMAL, **changes}))
    return path


def test_cells_are_the_product_in_order(tmp_path: Path) -> None:
    cells = list(load_suite(write(tmp_path, scenarios=["equalised", "paper-a"])).cells())
    assert [c.name for c in cells[:4]] == [
        "equalised/random/0",
        "equalised/random/1",
        "equalised/random/2",
        "equalised/ppo-true/0",
    ]
    assert len(cells) == 2 * 1 * 2 * 3
    assert len({c.folder for c in cells}) == len(cells)


def test_an_algorithm_s_own_budget_wins_over_the_suite_s(tmp_path: Path) -> None:
    cells = {c.name: c.budget for c in load_suite(write(tmp_path, budget=100)).cells()}
    assert cells["equalised/random/0"] == 100
    assert cells["equalised/ppo-true/0"] == 600


def test_the_folder_changes_with_every_setting_that_matters(tmp_path: Path) -> None:
    first = load_suite(write(tmp_path))
    for assignment in (
        "budget=7",
        "env_steps=9",
        "contexts=11",
        "truth=live",
        "ppo-true.settings={agent: {n_steps: 4, gamma: 0.5}, trainer: {num_envs: 1}}",
    ):
        changed = load_suite(write(tmp_path), [assignment])
        assert {c.folder for c in first.cells()} != {c.folder for c in changed.cells()}, assignment


def test_a_suite_wide_budget_on_the_command_line_caps_every_algorithm(tmp_path: Path) -> None:
    cells = {c.name: c.budget for c in load_suite(write(tmp_path), ["budget=50"]).cells()}
    assert set(cells.values()) == {50}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scenarios": ["equalized"]}, ["equalized", "did you mean 'equalised'"]),
        ({"seeds": "many"}, ["seeds"]),
        ({"seeds": 0}, ["seeds"]),
        ({"titel": "red"}, ["titel", "did you mean 'title'"]),
        ({"algorithms": [{"algorithm": "x", "agent": "ppo", "sauce": "gp"}]}, ["algorithms.0.sauce", "'source'"]),
        ({"algorithms": [{"algorithm": "ppo-x", "agent": "ppo"}]}, ["ppo-x", "source"]),
        ({"algorithms": [{"algorithm": "x", "baseline": "no_such"}]}, ["no_such"]),
        ({"algorithms": [{"algorithm": "random"}, {"algorithm": "random"}]}, ["twice"]),
        ({"problems": ["gymm"]}, ["gymm", "did you mean 'gym'"]),
        ({"problems": [{"problem": "gym", "setings": {}}]}, ["problems.0.setings", "did you mean 'settings'"]),
        ({"problems": [{"problem": "gym", "settings": {"env_id": "CartPole-v1"}}] * 2}, ["'gym' stands there twice"]),
        ({"overrides": {"equalised": {"episode_stepz": 3}}}, ["episode_stepz", "episode_steps"]),
    ],
)
def test_a_broken_suite_is_one_clear_line(tmp_path: Path, changes: dict, words: list[str]) -> None:
    with pytest.raises(InvalidInputError) as caught:
        load_suite(write(tmp_path, **changes))
    line = str(caught.value)
    assert "\n" not in line
    for word in words:
        assert word in line


def test_broken_yaml_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text("name: s\ntitle: [unclosed\n")
    with pytest.raises(InvalidInputError, match="line 3"):
        load_suite(path)
    with pytest.raises(InvalidInputError, match="cannot read"):
        load_suite(tmp_path / "absent.yaml")


def test_only_and_shards(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path))
    assert [c.name for c in select(suite, "equalised/random/1")] == ["equalised/random/1"]
    assert len(select(suite, "equalised/random")) == 3
    shards = [select(suite, shard=(i, 4)) for i in range(4)]
    assert sorted(c.name for part in shards for c in part) == sorted(c.name for c in suite.cells())
    with pytest.raises(InvalidInputError, match="matches no run"):
        select(suite, "equalised/nothing")
    with pytest.raises(InvalidInputError, match="shard"):
        select(suite, shard=(4, 4))


def test_a_suite_narrowed_to_some_scenarios_leaves_out_the_others_rows(tmp_path: Path) -> None:
    rows = [{"algorithm": "random"}, {"algorithm": "myopic", "scenarios": ["drive"]}]
    both = write(tmp_path, scenarios=["equalised", "drive"], algorithms=rows)
    assert {c.name.rpartition("/")[0] for c in load_suite(both, ["scenarios=[equalised]"]).cells()} == {
        "equalised/random"
    }
    with pytest.raises(InvalidInputError, match="unknown scenario 'drove'"):
        load_suite(write(tmp_path, algorithms=[{"algorithm": "random", "scenarios": ["drove"]}]))


def test_a_row_that_names_several_stands_for_every_combination(tmp_path: Path) -> None:
    row = {
        "algorithm": "ppo-{schedule}-{acquisition}",
        "agent": "ppo",
        "source": "gp",
        "schedule": {"always": None, "fixed": {"every": 10, "n": 2}},
        "acquisition": ["random", "ucb"],
        "settings": {"trainer": {"num_envs": 4}, "schedule": {"n": 3}, "agent": {"n_steps": 8}},
    }
    rows = load_suite(write(tmp_path, algorithms=[row])).data.algorithms
    assert [r.algorithm for r in rows] == ["ppo-always-random", "ppo-always-ucb", "ppo-fixed-random", "ppo-fixed-ucb"]
    assert [(r.schedule, r.acquisition) for r in rows[1:3]] == [("always", "ucb"), ("fixed", "random")]
    assert [rows[i].settings["schedule"] for i in (0, 3)] == [{"n": 3}, {"n": 2, "every": 10}]
    assert all(r.settings["trainer"] == {"num_envs": 4} for r in rows)
    told = load_suite(write(tmp_path, algorithms=[row]), ["ppo-fixed-ucb.budget=70"]).data.algorithms
    assert [r.budget for r in told] == [None, None, None, 70]
    with pytest.raises(InvalidInputError, match=r"suite.yaml: .*must hold \{acquisition\}"):
        load_suite(write(tmp_path, algorithms=[{**row, "algorithm": "ppo-{schedule}"}]))
    with pytest.raises(InvalidInputError, match=r"suite.yaml: .*acquisition names none"):
        load_suite(write(tmp_path, algorithms=[{**row, "acquisition": []}]))
    with pytest.raises(InvalidInputError, match=r"suite.yaml: .*schedule 'fixed' are a mapping, not 3"):
        load_suite(write(tmp_path, algorithms=[{**row, "schedule": {"fixed": 3}}]))


def test_the_lockbox_is_another_run_and_the_judge_half_needs_no_word(tmp_path: Path) -> None:
    usual, opened = (list(load_suite(write(tmp_path), given).cells()) for given in ([], ["judge=lockbox"]))
    assert {c.folder for c in usual}.isdisjoint(c.folder for c in opened)
    assert all("judge" not in c.spec() for c in usual)
    assert {c.spec()["judge"] for c in opened} == {"lockbox"}
    with pytest.raises(InvalidInputError, match=r"judge: input should be 'judge' or 'lockbox'"):
        load_suite(write(tmp_path), ["judge=replay"])
