"""A measured table on disk: one Parquet file that anyone can read, and a card that says where it came from.

The Parquet file holds one row per (split, knot, window, draw), with the knot's coordinates as columns. The card (JSON,
the same name) repeats the file's metadata and adds its SHA-256; a table whose card does not fit is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_split import data
from mbrl_split.data.dataset import PREFIX
from mbrl_split.errors import InvalidInputError, UnsupportedError
from mbrl_split.layer_split.scenarios import PROTOCOL_VERSION

FORMAT = 1
"""Raised whenever the columns of the file change their meaning."""
LARGEST = 5_000_000
"""A shipped table has at most this many bytes."""
_KEY = b"mbrl_split"


@dataclass(frozen=True)
class TableData:
    """What was measured, as dense arrays: P splits, K knots, N windows, R draws.

    Attributes:
        splits: Ascending, shape (P,).
        axes: Coordinates of the knots by name, each of shape (K,).
        windows: Index of each text window in the oracle's pool, shape (N,).
        documents: Which document each window is from, shape (N,).
        nll: Capped NLL through the channel, nats/token, float32, shape (P, K, N, R).
        clean_nll: Without the channel, shape (N,).
        capped: Whether the NLL was capped, shape (P, K, N, R).
        seconds: What measuring the cell took, shape (P, K).
        about: Everything else (see ``plan.build_table``); ``about["identity"]`` fixes what the table is a table of.
    """

    splits: NDArray[np.int64]
    axes: dict[str, NDArray[np.float64]]
    windows: NDArray[np.int64]
    documents: NDArray[np.int64]
    nll: NDArray[np.float32]
    clean_nll: NDArray[np.float64]
    capped: NDArray[np.bool_]
    seconds: NDArray[np.float64]
    about: dict[str, Any]


def table_path(model: str, family: str, half: str, text: str = "sotu") -> Path:
    """Where the table of a model, family and half lies (or would lie).

    Tables of shipped texts are part of the package. Those of a text of your own, named by its path or
    dataset, lie in your cache.
    """
    from mbrl_split.llm import cache_folder

    folder = Path(data.__file__).parent / "tables"
    if text not in data.TEXTS:
        whole = text if text.startswith(PREFIX) else str(Path(text).expanduser().resolve())
        stem = re.sub(r"[^\w.-]+", "-", Path(text).stem)
        folder = cache_folder() / "tables" / f"{stem}-{hashlib.sha256(whole.encode()).hexdigest()[:12]}"
    return folder / Path(model).name / f"{family}-{half}.parquet"


def write_table(table: TableData, path: str | os.PathLike[str]) -> Path:
    """Write the table and its card, each atomically.

    Raises:
        UnsupportedError: Another table lies there already, or the file would be too large to ship.
        InvalidInputError: The folder cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    target = Path(path)
    _check_free(target, table.about["identity"])
    p, k, n, r = np.indices(table.nll.shape).reshape(4, -1)
    columns = {
        "split": table.splits[p].astype(np.int16),
        "knot": k.astype(np.int16),
        **{name: values[k] for name, values in table.axes.items()},
        "window": table.windows[n].astype(np.int32),
        "document": table.documents[n].astype(np.int16),
        "draw": r.astype(np.int16),
        "nll": table.nll.ravel(),
        "clean_nll": table.clean_nll[n],
        "capped": table.capped.ravel(),
        "seconds": table.seconds[p, k].astype(np.float32),
    }
    about = {"format": FORMAT, **table.about}
    frame = pa.table(columns).replace_schema_metadata({_KEY: json.dumps(about)})
    buffer = pa.BufferOutputStream()
    # Only the NLL has many distinct values: a dictionary would make it larger.
    repeated = [name for name in columns if name not in ("nll", "capped")]
    pq.write_table(frame, buffer, compression="zstd", compression_level=9, use_dictionary=repeated)
    payload = buffer.getvalue().to_pybytes()
    if len(payload) > LARGEST:
        raise UnsupportedError(f"the table has {len(payload):,} bytes, more than the {LARGEST:,} that may be shipped")
    card = {**about, "file": target.name, "rows": len(p), "bytes": len(payload), "sha256": _sha256(payload)}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, payload)
        _replace(_card(target), (json.dumps(card, indent=2, ensure_ascii=False) + "\n").encode())
    except OSError as error:
        raise InvalidInputError(f"cannot write {target}: {error.strerror}") from error
    return target


def read_table(path: str | os.PathLike[str]) -> TableData:
    """Read a table and check that it is whole and of this protocol.

    Raises:
        InvalidInputError: There is no table.
        UnsupportedError: The file is damaged or not a table, or was measured under another protocol version.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    target = Path(path)
    if not target.is_file():
        raise InvalidInputError(f"there is no measured table {target}")
    card = read_card(target)
    payload = target.read_bytes()
    if _sha256(payload) != card.get("sha256"):
        raise UnsupportedError(f"table {target} is damaged: its checksum is not the one on its card")
    try:
        frame = pq.read_table(pa.BufferReader(payload))
        about: dict[str, Any] = json.loads(frame.schema.metadata[_KEY])
    except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise UnsupportedError(f"{target} is no table of this library") from error
    if about.get("format") != FORMAT:
        raise UnsupportedError(f"table {target} has format {about.get('format')!r}; this version reads {FORMAT}")
    if about.get("protocol") != PROTOCOL_VERSION:
        raise UnsupportedError(
            f"table {target} was measured under protocol {about.get('protocol')!r}, this version measures under "
            f"{PROTOCOL_VERSION}: measure it again"
        )
    return _dense(target, {name: frame[name].to_numpy() for name in frame.column_names}, about)


def read_card(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The card of a table.

    Raises:
        UnsupportedError: It is missing or unreadable.
    """
    target = _card(Path(path))
    try:
        card = json.loads(target.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnsupportedError(f"table {path} has no readable card {target.name}: it cannot be trusted") from error
    if not isinstance(card, dict):
        raise UnsupportedError(f"{target} is not the card of a table")
    return card


@cache
def weights_mark(model: str) -> str | None:
    """16 hex digits over the weight files of a model on this disk, or None if it is not here.

    It says whether a table is of these weights without loading the model; ``SplitModel.fingerprint`` needs it loaded.
    """
    from mbrl_split.llm import FETCHABLE, cached_model

    if model in data.MODELS:
        folder: Path | None = data.model_path(model)
    elif model in FETCHABLE:
        folder = cached_model(model)
    else:
        folder = Path(model).expanduser()
    files = sorted(folder.glob("*.safetensors")) if folder is not None and folder.is_dir() else []
    if not files:
        return None
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]


def _dense(target: Path, rows: dict[str, NDArray[Any]], about: dict[str, Any]) -> TableData:
    try:
        splits = np.unique(rows["split"]).astype(np.int64)
        axes = list(about["axes"])
        shape = (len(splits), *(len(np.unique(rows[name])) for name in ("knot", "window", "draw")))
        grid = {name: values.reshape(shape) for name, values in rows.items()}
        whole = all(
            (grid[name] == first).all()
            for name, first in (
                ("split", splits[:, None, None, None]),
                ("window", grid["window"][:1, :1, :, :1]),
                *((axis, grid[axis][:1, :, :1, :1]) for axis in axes),
            )
        )
    except (KeyError, ValueError) as error:
        raise UnsupportedError(f"{target} is no complete table: {error}") from error
    if not whole or not np.isfinite(grid["nll"]).all():
        raise UnsupportedError(f"{target} is no complete table: its rows are not one block per split, knot and window")
    return TableData(
        splits=splits,
        axes={axis: grid[axis][0, :, 0, 0].astype(np.float64) for axis in axes},
        windows=grid["window"][0, 0, :, 0].astype(np.int64),
        documents=grid["document"][0, 0, :, 0].astype(np.int64),
        nll=grid["nll"].astype(np.float32),
        clean_nll=grid["clean_nll"][0, 0, :, 0].astype(np.float64),
        capped=grid["capped"].astype(np.bool_),
        seconds=grid["seconds"][:, :, 0, 0].astype(np.float64),
        about=about,
    )


def _check_free(target: Path, identity: dict[str, Any]) -> None:
    """Refuse to replace a table of something else (a table of the same thing may be written again)."""
    if not target.exists() and not _card(target).exists():
        return
    there = read_card(target).get("identity", {})
    if there != identity:
        keys = sorted(k for k in {*there, *identity} if there.get(k) != identity.get(k))
        raise UnsupportedError(
            f"{target} holds a table of something else (it differs in {', '.join(keys)}): "
            "move it away, or write to another path"
        )


def _card(target: Path) -> Path:
    return target.with_suffix(".json")


def _sha256(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()


def _replace(target: Path, payload: bytes) -> None:
    handle, aside = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(aside, 0o644)  # mkstemp gives 0600, but a shipped file is for everyone
        os.replace(aside, target)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
