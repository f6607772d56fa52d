"""A Hugging Face dataset as a text; read offline, from local data files."""

import json

import pytest

from mbrl_split import data
from mbrl_split.data import dataset
from mbrl_split.errors import InvalidInputError
from mbrl_split.layer_split import PerplexityOracle
from mbrl_split.layer_split.scenarios import scenario
from mbrl_split.layer_split.tables.table_file import table_path


@pytest.fixture
def corpus(tmp_path):
    """Paragraphs as rows, blank ones between them, as WikiText has them."""
    rows = [row for i in range(60) for row in (f" paragraph {i} " + "word " * 50, "")]
    for split in ("train", "test"):
        lines = (json.dumps({"text": row, "title": f"{split} {i}"}) for i, row in enumerate(rows))
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines))
    return f"hf:{tmp_path}"


def test_rows_are_joined_into_documents_and_none_is_lost(corpus):
    found = data.documents(f"{corpus}@train", None)
    assert all(len(document) >= dataset.DOCUMENT for document in found)
    assert len(found) > 2
    whole = "\n\n".join(found)
    assert whole.split("\n\n") == [f"paragraph {i} {'word ' * 49}word" for i in range(60)]


def test_the_split_is_test_and_the_column_text_unless_named(corpus):
    assert data.documents(corpus, None) == data.documents(f"{corpus}@test#text", None)
    assert data.documents(f"{corpus}@train#title", None)[0].startswith("train 0\n\ntrain 1\n\n")
    assert data.documents(f"{corpus}#title", None)[0].startswith("test 0\n\n")


def test_the_parts_are_every_other_document(corpus):
    every = data.documents(corpus, None)
    assert data.documents(corpus, "replay") == every[0::2]
    assert data.documents(corpus, "judge") == every[1::2]


def test_reading_stops_at_the_limit(corpus, monkeypatch):
    monkeypatch.setattr(dataset, "LIMIT", 5_000)
    assert 5_000 <= sum(map(len, data.documents(corpus, None))) < 6_000


def test_an_oracle_reads_it_as_it_reads_the_same_documents_in_files(corpus, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for i, document in enumerate(data.documents(corpus, None)):
        (folder / f"{i}.txt").write_text(document)
    texts = (corpus, str(folder))
    identities = [PerplexityOracle.load("tiny-llama", scenario("equalised", text=text)).identity for text in texts]
    assert identities[0] == identities[1]


def test_its_tables_have_a_place_of_their_own_wherever_one_stands(corpus, tmp_path, monkeypatch):
    name = "hf:Salesforce/wikitext:wikitext-2-raw-v1@test"
    before = table_path("tiny-llama", "equalised", "judge", name)
    monkeypatch.chdir(tmp_path)
    assert table_path("tiny-llama", "equalised", "judge", name) == before
    assert table_path("tiny-llama", "equalised", "judge", name + "#other") != before


@pytest.mark.parametrize(
    ("suffix", "line"),
    [
        ("@nowhere", "cannot be read"),
        ("#nothing", "no text column 'nothing'.*text, title"),
        ("/none", "cannot be read"),
        ("@a@b", "is named hf:ID"),
        ("#", "is named hf:ID"),
    ],
)
def test_what_cannot_be_read_is_named_in_one_line(corpus, suffix, line):
    with pytest.raises(InvalidInputError, match=line) as caught:
        data.documents(corpus + suffix)
    assert "\n" not in str(caught.value)
