"""Rows of a suite that stand for many: every schedule with every acquisition, in four lines."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from mbrl_split.errors import BadInput

PARTS = ("agent", "source", "schedule", "acquisition")


def crossed(row: Any) -> Iterator[Any]:
    """The rows that a row as written stands for: itself, or every combination of the parts that name several.

    A part names several by a list of names, or by a mapping from names to settings. The label says where each goes:
    ``ppo-{schedule}-{acquisition}``.

    Raises:
        BadInput: The label does not tell the combinations apart.
    """
    several = {p: row[p] for p in PARTS if isinstance(row.get(p), list | dict)} if isinstance(row, dict) else {}
    if not several:
        yield row
        return
    label = str(row.get("algorithm", ""))
    for part in several:
        if f"{{{part}}}" not in label:
            raise BadInput(f"algorithm {label!r} names several of {part}: its label must hold {{{part}}}")
    for chosen in product(*several.values()):
        names = dict(zip(several, chosen, strict=True))
        settings = dict(row.get("settings") or {})
        for part, name in names.items():
            own = several[part].get(name) if isinstance(several[part], dict) else None
            if own is not None:
                settings[part] = {**settings.get(part, {}), **own}
        for part, name in names.items():
            label = label.replace(f"{{{part}}}", str(name))
        yield {**row, **names, "algorithm": label, "settings": settings}
        label = str(row["algorithm"])
