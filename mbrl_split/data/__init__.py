"""What the library ships: tiny language models with their cards, and evaluation texts; or the user's own text.

Shipped texts have three disjoint parts: ``replay`` (learning), ``judge`` (judging) and ``lockbox`` (opened once, when
methods are frozen). Texts are United States government works, in the public domain.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from mbrl_split.data.dataset import PREFIX, read_dataset
from mbrl_split.errors import InvalidInputError
from mbrl_split.registry import unknown

__all__ = ["MODELS", "PARTS", "TEXTS", "card", "documents", "model_path"]

MODELS = ("tiny-gpt2", "tiny-llama")
"""Names of the shipped models."""
TEXTS = ("sotu",)
"""Names of the shipped texts: ``sotu``, State of the Union addresses."""
PARTS = ("replay", "judge", "lockbox")
"""Disjoint parts of a shipped text."""

_HERE = Path(__file__).parent


def model_path(name: str) -> Path:
    """The folder of a shipped model, in Hugging Face form (config, safetensors, tokenizer, card).

    Raises:
        InvalidInputError: No model of this name is shipped.
    """
    if name not in MODELS:
        raise InvalidInputError(unknown("shipped model", name, MODELS))
    path = _HERE / "models" / name
    if not (path / "model.safetensors").is_file():
        raise InvalidInputError(f"model {name!r} is missing from this installation ({path} holds no model.safetensors)")
    return path


def card(name: str) -> dict[str, Any]:
    """The card of a shipped model: perplexities, sizes, residual RMS per layer, licence, provenance.

    Raises:
        InvalidInputError: No model of this name is shipped, or it has no card.
    """
    path = model_path(name) / "card.json"
    if not path.is_file():
        raise InvalidInputError(f"model {name!r} has no card ({path} does not exist)")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def documents(text: str | PathLike[str] | Sequence[str | PathLike[str]], part: str | None = "replay") -> list[str]:
    """The documents of one part of a text.

    Args:
        text: The name of a shipped text (``"sotu"``); a file, whose documents are separated by blank lines; a folder
            of ``.txt`` files, or a list of files, one document each; or a Hugging Face dataset,
            ``"hf:ID[:CONFIG][@SPLIT][#COLUMN]"``, whose rows are joined into documents of at least 4,000 characters.
        part: ``"replay"``, ``"judge"`` or ``"lockbox"``. In a text of your own every other document belongs to
            ``replay``, the rest to ``judge``, and there is no lockbox. ``None`` takes all documents of your own text.

    Returns:
        The documents, in the order of their file names (shipped texts, folders) or of the file or list.

    Raises:
        InvalidInputError: The text or part is unknown, unreadable, empty, not plain text, or holds missing values.
    """
    if part is not None and part not in PARTS:
        raise InvalidInputError(unknown("part of a text", str(part), PARTS))
    if isinstance(text, str) and text in TEXTS:
        if part is None:
            raise InvalidInputError(f"text {text!r} has disjoint parts: ask for one of {', '.join(PARTS)}")
        return [_read(path) for path in sorted((_HERE / "texts" / text / part).glob("*.txt"))]
    own = _own(text)
    if part is None:
        return own
    if part == "lockbox":
        raise InvalidInputError("only shipped texts have a lockbox; your own text has the parts replay and judge")
    chosen = own[PARTS.index(part) :: 2]
    if not chosen:
        raise InvalidInputError(f"the text has one document and the part {part!r} needs a second one")
    return chosen


def _own(text: Any) -> list[str]:
    """The documents of a dataset, a file, a folder or a list of files."""
    if isinstance(text, str) and text.startswith(PREFIX):
        found = [_plain(row, f"{text}, document {i + 1}") for i, row in enumerate(read_dataset(text))]
    elif isinstance(text, str | PathLike):
        path = Path(fspath(text))
        if path.is_dir():
            files = sorted(path.glob("*.txt"))
            if not files:
                raise InvalidInputError(f"folder {path} holds no .txt file")
            return [_read(file) for file in files]
        if not path.exists():
            raise InvalidInputError(unknown("text", str(text), TEXTS) + ", and no such file or folder")
        parts = [part.strip() for part in re.split(r"\n[ \t\r]*\n", _read(path))]
        found = [_plain(part, f"{path}, document {i + 1}") for i, part in enumerate(p for p in parts if p)]
    elif isinstance(text, Sequence):
        found = [_read(Path(fspath(file))) for file in text]
    else:
        raise InvalidInputError(
            f"a text is a name ({', '.join(TEXTS)}), a file, a folder, a list of files or hf:DATASET, not {text!r}"
        )
    if not found:
        raise InvalidInputError(f"the text is empty: {text or 'an empty list of files'}")
    return found


def _read(path: Path) -> str:
    try:
        return _plain(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"text {path} is not UTF-8 (byte {error.start})") from error
    except OSError as error:
        raise InvalidInputError(f"text {path} cannot be read: {error.strerror}") from error


def _plain(document: str, where: str) -> str:
    """The document, or one line about why it cannot be scored."""
    if not document.strip():
        raise InvalidInputError(f"text {where} is empty")
    if document.strip().lower() in ("nan", "none", "null"):
        raise InvalidInputError(f"text {where} is {document.strip()!r}: a missing value, not a text")
    if "\x00" in document:
        raise InvalidInputError(f"text {where} holds a NUL byte: it is not plain text")
    return document
