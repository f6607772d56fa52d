"""One measurement as bytes: self-describing, checksummed, and read without executing anything.

Layout: 8 bytes of magic, the sha256 of everything after it, the length of a JSON header (unsigned 32 bits), the header,
then the arrays one after another as little-endian float64 or int64.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_split.oracles.base import Measurement, check_record_fields

_MAGIC = b"mbrl-m1\n"
_HEAD = len(_MAGIC) + hashlib.sha256().digest_size
_LENGTH = struct.Struct("<I")
_COLUMNS = tuple(f.name for f in fields(Measurement) if f.name != "records")


class Damaged(Exception):
    """The bytes are not a whole, unaltered measurement."""


def encode(measurement: Measurement, about: dict[str, Any] | None = None) -> bytes:
    """The measurement as bytes; ``about`` is anything JSON can hold, kept beside it for human readers.

    Raises:
        InvalidInputError: A field of the records is neither int64 nor float64, and would not return as it was.
    """
    check_record_fields(measurement.records.dtype)
    arrays: dict[str, NDArray[Any]] = {name: getattr(measurement, name) for name in _COLUMNS}
    arrays |= {f"records.{name}": measurement.records[name] for name in measurement.records.dtype.names or ()}
    header, body = [], []
    for name, array in arrays.items():
        kind = "<i8" if array.dtype.kind == "i" else "<f8"
        header.append([name, kind, len(array)])
        body.append(np.ascontiguousarray(array, dtype=kind).tobytes())
    text = json.dumps({"about": about or {}, "arrays": header}, separators=(",", ":")).encode()
    rest = b"".join([_LENGTH.pack(len(text)), text, *body])
    return _MAGIC + hashlib.sha256(rest).digest() + rest


def _open(payload: bytes) -> tuple[dict[str, Any], int]:
    """The header, and where the arrays start."""
    if payload[: len(_MAGIC)] != _MAGIC:
        raise Damaged("it does not begin like a measurement")
    if hashlib.sha256(payload[_HEAD:]).digest() != payload[len(_MAGIC) : _HEAD]:
        raise Damaged("its checksum does not match")
    # The checksum has vouched for every byte, so nothing below can be out of place.
    (length,) = _LENGTH.unpack_from(payload, _HEAD)
    start = _HEAD + _LENGTH.size
    header: dict[str, Any] = json.loads(payload[start : start + length])
    return header, start + length


def about(payload: bytes) -> dict[str, Any]:
    """What was kept beside the measurement.

    Raises:
        Damaged: The bytes are not a whole, unaltered measurement.
    """
    told: dict[str, Any] = _open(payload)[0]["about"]
    return told


def decode(payload: bytes) -> Measurement:
    """The measurement, bit for bit as it was encoded.

    Raises:
        Damaged: The bytes are not a whole, unaltered measurement.
    """
    header, offset = _open(payload)
    arrays: dict[str, NDArray[Any]] = {}
    for name, kind, length in header["arrays"]:
        native = np.int64 if kind == "<i8" else np.float64
        arrays[name] = np.frombuffer(payload, dtype=kind, count=length, offset=offset).astype(native)
        offset += 8 * length
    # The first version had other words: windows were its records, and a size was tokens times draws.
    arrays = {name.replace("windows.", "records.", 1): array for name, array in arrays.items()}
    if "n_tokens" in arrays:
        arrays["size"] = arrays["n_tokens"] * arrays["n_draws"]
    kept = {name.removeprefix("records."): array for name, array in arrays.items() if name.startswith("records.")}
    records = np.empty(len(kept["query"]), [(name, array.dtype) for name, array in kept.items()])
    for name, array in kept.items():
        records[name] = array
    return Measurement(**{name: arrays[name] for name in _COLUMNS}, records=records)
