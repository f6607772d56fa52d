"""Hyper-parameters as frozen dataclasses: typed, checked, and plain data."""

from __future__ import annotations

import difflib
from dataclasses import fields
from typing import Any, TypeVar

from mbrl_split.agents import schedules
from mbrl_split.errors import InvalidInputError

T = TypeVar("T")


def make_config(cls: type[T], owner: str, values: dict[str, Any]) -> T:
    """An instance of a configuration, with one clear line for a name it does not have.

    Raises:
        InvalidInputError: Unknown name, or a value that the configuration refuses.
    """
    known = [f.name for f in fields(cls)]  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InvalidInputError(f"{owner} has no hyper-parameter {name!r}{hint} (known: {', '.join(known)})")
    return cls(**values)


def to_data(config: Any) -> dict[str, Any]:
    """The fields of a configuration as plain data; schedules become dictionaries."""
    out = {}
    for f in fields(config):
        value = getattr(config, f.name)
        out[f.name] = schedules.to_data(value) if isinstance(value, schedules.Schedule) else value
    return out


def require(ok: Any, owner: str, name: str, value: Any, rule: str) -> None:
    """Raise one clear line unless ``ok``."""
    if not ok:
        raise InvalidInputError(f"{owner}: {name} must be {rule}, not {value!r}")
