"""What a report tells of a judge: how many contexts, which table, how it was measured, and a picture of the damage."""

from __future__ import annotations

from typing import Any

import numpy as np

from mbrl_split.layer_split.scenarios import Scenario
from mbrl_split.layer_split.tables.table import TableOracle

_LEVELS = 6  # noise levels drawn in the picture

PROTOCOL = (
    "One true evaluation is the NLL of a scenario's number of scored tokens, in windows of which the first token is "
    "context, with one channel draw per window, in one batch on one thread. Each clean "
    "reference window is charged once. Policies are judged on other documents and other channel seeds than they "
    "learnt from; judging is declared, not charged."
)


def about(
    scenario: Scenario, n_layers: int, contexts: int, fixed_split: int, table: TableOracle | None
) -> dict[str, Any]:
    """Plain data for the report of a layer split's judge.

    Args:
        scenario: The scenario.
        n_layers: L of the model.
        contexts: Held-out contexts or sessions.
        fixed_split: The best fixed split.
        table: The judge's table, where there is one.
    """
    said: dict[str, Any] = {"best_fixed_action": fixed_split, "contexts": contexts}
    if table is None:
        return said
    return {
        **said,
        "half": table.half,
        "table": table.identity,
        "truth": PROTOCOL,
        "protocol": {
            "One true evaluation": f"{scenario.tokens:,} scored tokens in {scenario.windows} windows of "
            f"{scenario.window}, text {scenario.text!r}",
            "Perplexity of the judge": table.protocol,
        },
        "picture": _picture(scenario, n_layers, table),
    }


def _picture(scenario: Scenario, n_layers: int, table: TableOracle) -> dict[str, Any] | None:
    """NLL by split at a few noise levels, everything else at the middle of its scale; None without a noise."""
    names = [c.name for c in scenario.context]
    if "noise" not in names:
        return None
    j = names.index("noise")
    noise = scenario.context[j]
    levels = noise.from_unit(np.linspace(0.0, 1.0, _LEVELS))
    middle = np.array([c.from_unit(0.5) for c in scenario.context], dtype=np.float64)
    splits = np.arange(1, n_layers)
    context = np.tile(middle, (_LEVELS * len(splits), 1))
    context[:, j] = np.repeat(levels, len(splits))
    mean, error = table.expected(np.column_stack([np.tile(splits, _LEVELS), context]))
    clean = float(table.table.clean_nll.mean())
    others = ", ".join(f"{c.name} = {v:.3g}" for c, v in zip(scenario.context, middle, strict=True) if c != noise)
    return {
        "name": "damage",
        "x": splits.tolist(),
        "lines": [f"{level:.2g}" for level in levels],
        "y": (clean + mean).reshape(_LEVELS, -1).tolist(),
        "std_error": error.reshape(_LEVELS, -1).tolist(),
        "level": {"value": clean, "label": "no channel"},
        "x_label": "split: layers on the phone",
        "y_label": "NLL through the channel (nats/token)",
        "lines_label": "noise (RMS)",
        "caption": "What the channel does at every split, measured (bars: 95 % intervals). Noise in units of the "
        f"hidden state's RMS after layer 1; {others}.",
    }
