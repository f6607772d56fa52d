"""What a surrogate is taught from a ledger: one row per evaluation, or one per window where it can use them."""

from __future__ import annotations

from typing import Any

from mbrl_split.oracles import Rows
from mbrl_split.surrogates import Surrogate, window_rows


def lesson(surrogate: Surrogate, rows: Rows) -> dict[str, Any]:
    """The arguments of ``surrogate.fit`` or ``update`` for rows of a ledger, ``columns`` apart.

    A surrogate that ``learns_from_windows`` gets each window with its own gain, windows of one evaluation as a group;
    others get the evaluations with their standard errors.
    """
    if surrogate.learns_from_windows:
        X, y, groups = window_rows(rows.X, rows.windows)
        return {"X": X, "y": y, "groups": groups}
    return {"X": rows.X, "y": rows.y, "std_error": rows.std_error}
