"""The command line: one clear line and exit code 2 for bad input, and nothing lost."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mbrl_split.cli import main

SUITE = {
    "name": "tiny",
    "title": "t",
    "truth": "live",
    "scenarios": ["equalised"],
    "models": ["tiny-llama"],
    "seeds": 1,
    "contexts": 50,
    "algorithms": [{"algorithm": "random"}],
}


def suite(folder: Path, **changes: object) -> str:
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump({**SUITE, **changes}))
    return str(path)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, last_line: bool = False) -> str:
    """Run the command, insist on exit code 2 and one line on standard error (after any progress), and return it."""
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    assert caught.value.code == 2
    line = capsys.readouterr().err.strip()
    if last_line:
        line = line.splitlines()[-1]
    assert line.startswith("mbrl-split: ")
    assert "\n" not in line, line
    return line


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scenarios": ["no-such"]}, "no-such"),
        ({"colour": 1}, "colour"),
        ({"overrides": {"equalised": {"context": {"m": [0.1, 8]}}}}, "at least 0.5"),
        ({"overrides": {"equalised": {"context": {"noise": [-2, 1]}}}}, "noise"),
        ({"algorithms": [{"algorithm": "x", "baseline": "nowhere"}]}, "nowhere"),
    ],
)
def test_a_bad_suite(tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict, words: str) -> None:
    assert words in refused(capsys, "bench", "run", suite(tmp_path, **changes), "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_suite_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "cannot read" in refused(capsys, "bench", "run", str(tmp_path / "absent.yaml"))


def test_an_unwritable_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    line = refused(capsys, "bench", "run", suite(tmp_path), "--out", str(tmp_path / "file" / "out"))
    assert "cannot write" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "no-such-model"], "no-such-model"),
        (["--family", "equalized"], "equalised"),
        (["--half", "third"], "third"),
        (["--splits", "12"], "12"),
        (["--noise", "-1", "2"], "noise"),
        (["--tokens", "1000"], "multiple"),
        (["--text", "no/such/file.txt"], "no/such/file.txt"),
        (["--shard", "4"], "I/N"),
        (["--jobs", "0"], "jobs"),
    ],
)
def test_bad_measuring_plans(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    line = refused(
        capsys, "measure", *arguments, "--store", str(tmp_path / "s.sqlite"), "--out", str(tmp_path / "t.parquet")
    )
    assert words in line
    assert not (tmp_path / "t.parquet").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [("", "text.txt"), ("  \n\n ", "text.txt"), ("too short", "shorter than a window"), ("nan", "nan")],
)
def test_texts_that_cannot_be_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, words: str
) -> None:
    text = tmp_path / "text.txt"
    text.write_text(content)
    store, out = str(tmp_path / "s.sqlite"), str(tmp_path / "t.parquet")
    assert words in refused(capsys, "measure", "--text", str(text), "--store", store, "--out", out)


def test_a_spent_budget_is_one_line_and_the_truth_that_was_paid_for_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"algorithm": "argmax-mlp", "agent": "argmax", "source": "mlp", "budget": 1}  # a row, and not its reference
    small = {"overrides": {"equalised": {"pool": 8, "windows": 2}}, "algorithms": [row]}
    line = refused(capsys, "train", suite(tmp_path, **small), "--out", str(tmp_path / "out"), last_line=True)
    assert "budget of 1 true evaluations allows no row to begin with" in line


def test_a_target_that_does_not_conform(capsys: pytest.CaptureFixture[str]) -> None:
    assert "module:Class" in refused(capsys, "check", "nonsense")
    assert "no_such_module" in refused(capsys, "check", "no_such_module:Thing")


def test_info_names_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    main(["info"])
    printed = capsys.readouterr().out
    for word in ("tiny-llama", "equalised", "mlp", "ppo"):
        assert word in printed
