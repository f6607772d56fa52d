"""A landscape as files: figures, a page, and everything as data."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from mbrl_split.bench.printed import quotient
from mbrl_split.errors import InvalidInputError
from mbrl_split.layer_split.landscape.figures import best_by_intensity, nll_by_split
from mbrl_split.layer_split.landscape.landscape import Landscape, View, read_landscape


def write_landscape(model: str, out: Path, names: Sequence[str] = (), *, half: str = "judge") -> Landscape:
    """Write figures (SVG), ``landscape.md`` and ``landscape.json`` into a folder.

    Raises:
        InvalidInputError: As :func:`read_landscape`, or the folder cannot be written.
    """
    found = read_landscape(model, names, half=half)
    command = f"mbrl-split landscape {model}" + "".join(f" --scenario {n}" for n in names)
    data = json.dumps({"command": command, **asdict(found)}, indent=1, ensure_ascii=False) + "\n"
    files = {"landscape.json": data, "landscape.md": _markdown(found, command)}
    for view in found.views:
        files[f"{view.name}-nll.svg"] = nll_by_split(view)
        files[f"{view.name}-best.svg"] = best_by_intensity(view)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            aside = out / f".{name}.tmp"
            aside.write_text(text, encoding="utf-8")
            os.replace(aside, out / name)
    except OSError as error:
        raise InvalidInputError(f"cannot write {out}: {error.strerror}") from error
    return found


def _markdown(found: Landscape, command: str) -> str:
    lines = [
        f"# Landscape of {found.model}",
        "",
        f"From the {found.half} tables, by `{command}`. Perplexity: {found.views[0].protocol}.",
        "",
        "Headroom is what the best policy on contexts earns over the best fixed split, in reward per step, with its "
        "standard error; under ten standard errors a scenario is a reproduction and no contest. The trend is Kendall's "
        "τ-b between how bad the context is and its best split (that of the highest reward), with a 95 % interval from "
        "a bootstrap over text windows; in brackets its range over single documents.",
        "",
        "| scenario | headroom | in standard errors | best fixed split | best split, quiet → loud | τ | outcome |",
        "|---|---|---|---|---|---|---|",
        *(_row(v) for v in found.views),
        "",
    ]
    if found.missing:
        lines += [f"No table yet: {', '.join(found.missing)}.", ""]
    for v in found.views:
        contexts = "; ".join(
            f"{label}: " + ", ".join(f"{k} = {x:g}" for k, x in curve["context"].items())
            for label, curve in v.curves.items()
        )
        lines += [f"## {v.name}", "", contexts + ".", ""]
        lines += [f"![NLL by split]({v.name}-nll.svg)", f"![Best split]({v.name}-best.svg)", "", *_perplexities(v), ""]
    return "\n".join(lines)


def _row(v: View) -> str:
    room, best = v.headroom, v.best["split"][:: -1 if v.falling else 1]
    value, error = f"{room['value']:.4f}", f"{room['std_error']:.4f}"
    spread = f"({min(v.trend.by_document):+.2f} … {max(v.trend.by_document):+.2f})"
    return (
        f"| {v.name} | {value} ± {error} | {quotient(value, error, '.0f')} | {room['best_fixed_split']:.0f} "
        f"| {best[0]:.0f} → {best[-1]:.0f} | {v.trend.kendall} {spread} | {v.trend.verdict} |"
    )


def _perplexities(v: View) -> list[str]:
    """Perplexity by split at the three levels, as a table."""
    head = f"| split (clean {np.exp(v.clean_nll):.1f}) | " + " | ".join(v.curves) + " |"
    rows = [
        f"| {p} | " + " | ".join(f"{np.exp(curve['nll'][p - 1]):.4g}" for curve in v.curves.values()) + " |"
        for p in range(1, v.n_layers)
    ]
    return ["Perplexity:", "", head, "|---" * (len(v.curves) + 1) + "|", *rows]
