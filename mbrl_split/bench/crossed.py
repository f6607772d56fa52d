"""Rows of a suite that stand for many: every schedule with every acquisition, in four lines."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from mbrl_split.errors import InvalidInputError

PARTS = ("agent", "source", "schedule", "acquisition")


def crossed(row: Any) -> Iterator[Any]:
    """The rows that a row as written stands for: itself, or every combination of the parts that name several.

    A part names several by a list of names, or by a mapping from names to settings. The label says where each goes:
    ``ppo-{schedule}-{acquisition}``.

    Raises:
        InvalidInputError: The label does not tell the combinations apart, a part names none, or settings are no
            mapping.
    """
    several = {p: row[p] for p in PARTS if isinstance(row.get(p), list | dict)} if isinstance(row, dict) else {}
    if not several:
        yield row
        return
    written = str(row.get("algorithm", ""))
    for part, named in several.items():
        if f"{{{part}}}" not in written:
            raise InvalidInputError(f"algorithm {written!r} names several of {part}: its label must hold {{{part}}}")
        if not named:
            raise InvalidInputError(f"algorithm {written!r}: {part} names none")
    for chosen in product(*several.values()):
        label, settings = written, dict(row.get("settings") or {})
        for part, name in zip(several, chosen, strict=True):
            label = label.replace(f"{{{part}}}", str(name))
            named = several[part]
            own = named[name] if isinstance(named, dict) else None
            if not isinstance(own, dict | None):
                raise InvalidInputError(
                    f"algorithm {written!r}: the settings of {part} {name!r} are a mapping, not {own!r}"
                )
            if own:
                settings[part] = {**settings.get(part, {}), **own}
        yield {**row, **dict(zip(several, chosen, strict=True)), "algorithm": label, "settings": settings}
