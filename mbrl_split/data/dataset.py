"""A Hugging Face dataset as a text: ``hf:ID[:CONFIG][@SPLIT][#COLUMN]``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from mbrl_split.errors import InvalidInputError

PREFIX = "hf:"
"""What the name of a dataset starts with; anything else is a shipped text or a path."""

LIMIT = 4_000_000
"""Characters read at most, from the split's start: some corpora would fill the disk."""

DOCUMENT = 4_000
"""Characters a document holds at least. WikiText and its like have a paragraph in each row, shorter than a window."""

_NAME = re.compile(r"hf:(?P<id>[^:@#]+)(:(?P<config>[^:@#]+))?(@(?P<split>[^:@#]+))?(#(?P<column>[^:@#]+))?", re.ASCII)


def read_dataset(text: str) -> list[str]:
    """The documents of a dataset, on the hub or in a local folder of data files.

    Rows are joined, by blank lines, into documents of at least 4,000 characters; what is left at the end is joined to
    the last one. Reading stops after 4,000,000 characters.

    Args:
        text: For instance ``"hf:Salesforce/wikitext:wikitext-2-raw-v1@test#text"``. The split is ``test`` and the
            column ``text`` unless named.

    Raises:
        InvalidInputError: The name is malformed, the package ``datasets`` is missing, or the dataset cannot be read.
    """
    found = _NAME.fullmatch(text)
    if found is None:
        raise InvalidInputError(f"a dataset is named hf:ID[:CONFIG][@SPLIT][#COLUMN], not {text!r}")
    try:
        import datasets
    except ImportError as error:
        raise InvalidInputError(f"text {text!r} needs the package datasets (pip install 'mbrl-split[hub]')") from error
    split, column = found["split"] or "test", found["column"] or "text"
    try:
        rows = datasets.load_dataset(found["id"], found["config"], split=split, streaming=True)
        return list(_joined(_column(rows, column, text)))
    except InvalidInputError:
        raise
    except (OSError, ValueError) as error:  # unknown or unreachable; no such configuration, split or file
        raise InvalidInputError(f"text {text!r} cannot be read: {str(error).strip().splitlines()[0]}") from error


def _column(rows: Iterable[dict[str, object]], column: str, text: str) -> Iterator[str]:
    read = 0
    for row in rows:
        value = row.get(column)
        if not isinstance(value, str):
            raise InvalidInputError(
                f"text {text!r} has no text column {column!r} (its columns: {', '.join(map(str, row))})"
            )
        if value.strip():
            yield value.strip()
        read += len(value)
        if read >= LIMIT:
            return


def _joined(rows: Iterable[str]) -> Iterator[str]:
    document, waiting = "", None
    for row in rows:
        document = f"{document}\n\n{row}" if document else row
        if len(document) >= DOCUMENT:
            if waiting is not None:
                yield waiting
            document, waiting = "", document
    rest = [part for part in (waiting, document) if part]
    if rest:
        yield "\n\n".join(rest)
