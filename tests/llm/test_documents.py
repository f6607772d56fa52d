"""Shipped texts and the user's own."""

import pytest

from mbrl_split import data
from mbrl_split.errors import InvalidInputError


def test_the_parts_of_the_shipped_text_are_disjoint():
    parts = [set(data.documents("sotu", part)) for part in data.PARTS]
    assert all(len(part) >= 5 for part in parts)
    assert not parts[0] & parts[1]
    assert not parts[1] & parts[2]
    assert not parts[0] & parts[2]
    with pytest.raises(InvalidInputError, match="disjoint parts"):
        data.documents("sotu", None)


def test_a_file_is_split_at_blank_lines(tmp_path):
    file = tmp_path / "own.txt"
    file.write_text("one\nstill one\n\n \t\n two \r\n\r\nthree\n\nfour\n\n", newline="")
    assert data.documents(file, None) == ["one\nstill one", "two", "three", "four"]
    assert data.documents(str(file)) == ["one\nstill one", "three"]
    assert data.documents(str(file), "judge") == ["two", "four"]
    with pytest.raises(InvalidInputError, match="lockbox"):
        data.documents(file, "lockbox")


def test_a_folder_or_a_list_has_a_document_per_file(tmp_path):
    for name in "cab":
        (tmp_path / f"{name}.txt").write_text(f"{name}\n\n{name}")
    assert data.documents(tmp_path, None) == ["a\n\na", "b\n\nb", "c\n\nc"]
    assert data.documents([tmp_path / "c.txt", str(tmp_path / "a.txt")], None) == ["c\n\nc", "a\n\na"]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "empty"),
        (b" \n\n \n", "empty"),
        (b"nan", "missing"),
        (b"a\n\nNaN\n\nb", "document 2"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"a\x00b", "NUL"),
    ],
)
def test_text_that_cannot_be_scored(tmp_path, content, line):
    file = tmp_path / "bad.txt"
    file.write_bytes(content)
    with pytest.raises(InvalidInputError, match=line) as error:
        data.documents(file, None)
    assert "\n" not in str(error.value)


def test_what_is_no_text(tmp_path):
    (tmp_path / "one.txt").write_text("alone")
    for text, part, line in [
        (float("nan"), None, "not nan"),
        (None, None, "not None"),
        ("soto", None, "did you mean 'sotu'"),
        ([], None, "empty"),
        ([tmp_path / "none.txt"], None, "cannot be read"),
        ("sotu", "train", "part"),
        (tmp_path / "one.txt", "judge", "second"),
    ]:
        with pytest.raises(InvalidInputError, match=line):
            data.documents(text, part)
    (tmp_path / "sub").mkdir()
    with pytest.raises(InvalidInputError, match=r"no \.txt"):
        data.documents(tmp_path / "sub", None)


def test_unknown_models():
    with pytest.raises(InvalidInputError, match="did you mean 'tiny-gpt2'"):
        data.model_path("tiny-gtp2")
    assert (data.model_path("tiny-llama") / "config.json").is_file()
