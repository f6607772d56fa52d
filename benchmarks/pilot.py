"""The pilot: does every scenario leave something to decide, on every model?

    python benchmarks/pilot.py [MODEL …] [--half judge]

From measured tables, before any method is compared: how far the best split moves between the quiet and the loud end of
the scenario's range (DESIGN asks for at least L/3 of the noise ranges), and the contextual headroom with its standard
error. A scenario whose headroom is under ten standard errors keeps its place as a reproduction, and this page says so.
Last, the paper's claim "the noisier, the deeper", under every convention of the noise's power.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from mbrl_split.data import MODELS
from mbrl_split.errors import InvalidInputError
from mbrl_split.evaluation.problem import ENOUGH
from mbrl_split.layer_split.landscape.landscape import VIEWS, Landscape, View, read_landscape

HEAD = (
    "| scenario | range | best split, quiet → loud | headroom (in standard errors) | outcome |\n|---|---|---|---|---|"
)
TREND = "| scenario | the worse, the deeper? | τ |\n|---|---|---|"


def finding(view: View) -> dict[str, Any]:
    """What the pilot says of one scenario on one model."""
    column = VIEWS[view.name].context[0]
    room, error = view.headroom["value"], view.headroom["std_error"]
    split = view.best["split"][:: -1 if view.falling else 1]
    return {
        "range": [column.low, column.high],
        "unit": view.intensity,
        "quiet_split": split[0],
        "loud_split": split[-1],
        "moves": view.moved,
        "moves_enough": abs(view.moved) >= view.n_layers / 3,
        "headroom": room,
        "headroom_std_error": error,
        "significance": room / error if error > 0 else None,
        "outcome": "contest" if room > ENOUGH * error else "reproduction",
        "trend": view.trend.verdict,
        "kendall": str(view.trend.kendall),
    }


def page(landscape: Landscape, found: dict[str, dict[str, Any]]) -> list[str]:
    """The Markdown of one model."""
    lines = [f"## {landscape.model} (L = {landscape.views[0].n_layers})", "", HEAD]
    for name, f in found.items():
        significance = "∞" if f["significance"] is None else f"{f['significance']:.0f}"
        moves = f"{f['quiet_split']:.0f} → {f['loud_split']:.0f}" + ("" if f["moves_enough"] else " (under L/3)")
        lines.append(
            f"| {name} | {f['unit']} {f['range'][0]:g} … {f['range'][1]:g} | {moves} | {f['headroom']:.4f} ± "
            f"{f['headroom_std_error']:.4f} ({significance}) | {f['outcome']} |"
        )
    lines += ["", TREND, *(f"| {name} | {f['trend']} | {f['kendall']} |" for name, f in found.items())]
    if landscape.missing:
        lines += ["", f"No table yet: {', '.join(landscape.missing)}."]
    return [*lines, "", f"Perplexity: {landscape.views[0].protocol}.", ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=[*MODELS, "smollm2-135m"])
    parser.add_argument("--half", default="judge", choices=["judge", "replay"])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "landscape")
    args = parser.parse_args()
    command = f"python benchmarks/pilot.py {' '.join(args.models)}" + (f" --half {args.half}" * (args.half != "judge"))
    models: dict[str, dict[str, Any]] = {}
    lines = [
        "# Pilot",
        "",
        f"By `{command}`, from the {args.half} tables. The best split is that of the highest expected reward with the "
        "rest of the context at its middle. Under ten standard errors of headroom a scenario is a reproduction. Last, "
        "whether the best split moves deeper as the channel gets worse: Kendall's τ-b with its 95 % interval.",
        "",
    ]
    for model in args.models:
        try:
            landscape = read_landscape(model, half=args.half)
        except InvalidInputError as error:
            print(error)
            continue
        models[model] = {view.name: finding(view) for view in landscape.views}
        lines += page(landscape, models[model])
    if not models:
        raise SystemExit("no table at all: benchmarks/measure_tables.sh makes them")
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "pilot.json").write_text(json.dumps({"command": command, "models": models}, indent=1) + "\n")
    (args.out / "pilot.md").write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
