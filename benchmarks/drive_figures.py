"""The pictures of ``drive`` and its page, from measured tables and from what the other scripts left.

    python benchmarks/drive_figures.py --model smollm2-135m [--contexts 400] [--only page]

1. ``loss-<model>.svg``: what the two myopic policies lose against dynamic programming, over the correlation of the
   channel and the price of moving one layer (set by the tokens of context that have to move).
2. ``episode-<model>.svg``: one session, the same channel and load under each policy.
3. ``references-<model>.json``: what the exact policies earn.
4. ``drive.md``: the page, from the grid's, the live sessions' and the suite's results.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from drive_grid import judge, settings
from matplotlib.ticker import NullFormatter

from mbrl_split.bench.figures import COLOURS, STYLE, to_svg
from mbrl_split.bench.printed import quotient
from mbrl_split.layer_split import LLMSplitVector, SessionJudge, TableOracle, TableSource, scenario
from mbrl_split.layer_split.judging.session import _Hold

OUT = Path(__file__).parent / "results" / "drive"
CORRELATIONS = (0.5, 0.8, 0.95)
CONTEXTS = (0, 128, 512, 2048, 8192)
RULES = {"myopic": "forgets the cost of moving", "myopic-with-cost": "counts it"}
SEED = 977
REFERENCE_SESSIONS = 2000  # as in rl_vs_mbrl.yaml, so that both pages name one headroom


def moving_price(problem: SessionJudge) -> float:
    """What moving one layer costs in the reward, halfway through the session, at the middle of the noise's range."""
    prices, s = problem._models[0].prices, problem.scenario
    turn, middle = s.episode_steps // 2, problem.n_layers // 2
    snr = 1 / float(s.context[0].from_unit(0.5)) ** 2
    there, stay = (prices.share(prices.turn(middle, before, snr, 0.0, turn)) for before in (middle + 1, middle))
    return float(s.reward.load * (there - stay))


def losses(model: str, contexts: int) -> list[dict[str, Any]]:
    """One row per correlation and length of context."""
    rows = []
    for correlation in CORRELATIONS:
        for start in CONTEXTS:
            s = scenario("drive", context_process={"correlation": correlation, "start_tokens": start})
            problem = SessionJudge.of_table(TableOracle.load(model, s, half="judge"), contexts, SEED)
            rows.append(
                {
                    "correlation": correlation,
                    "start_tokens": start,
                    "moving_price": moving_price(problem),
                    "headroom": problem.headroom.value,
                    "headroom_std_error": problem.headroom.std_error,
                    "lost": {rule: problem.regret_of(problem.exact(rule)).absolute for rule in RULES},
                }
            )
            print(rows[-1], flush=True)
    return rows


def loss_figure(rows: list[dict[str, Any]]) -> str:
    """Loss and headroom against the price of moving a layer."""
    with mpl.rc_context(STYLE):
        figure, panels = plt.subplots(1, 2, figsize=(9.6, 4.0), sharey=True)
        for axes, (rule, words) in zip(panels, RULES.items(), strict=True):
            for correlation, colour, marker in zip(CORRELATIONS, COLOURS, "osD", strict=False):
                chosen = [row for row in rows if row["correlation"] == correlation]
                x = [row["moving_price"] for row in chosen]
                axes.plot(
                    x,
                    [row["lost"][rule] for row in chosen],
                    color=colour,
                    marker=marker,
                    label=f"lost, ρ = {correlation}",
                )
                axes.plot(x, [row["headroom"] for row in chosen], color=colour, ls="--", lw=1, label="_")
            axes.plot([], [], color="k", ls="--", lw=1, label="headroom: optimal − best fixed")
            axes.set(xscale="log", yscale="log", xlabel="price of moving one layer (reward)", title=f"Myopic, {words}")
            axes.set_xticks([0.02, 0.05, 0.1], ["0.02", "0.05", "0.1"])
            axes.xaxis.set_minor_formatter(NullFormatter())
        panels[0].set_ylabel("reward per turn")
        panels[1].legend(fontsize=9)
        return to_svg(figure)


def episode(model: str, number: int) -> str:
    """One session under each policy: channel, load, battery, split."""
    s = scenario("drive")
    table = TableOracle.load(model, s, half="judge")
    problem = SessionJudge.of_table(table, 400, SEED)
    policies: dict[str, Any] = {"optimal": problem._models[0].policy("optimal")}
    policies |= {rule: problem._models[0].policy(rule) for rule in RULES}  # type: ignore[arg-type]
    policies["best-fixed"] = _Hold(s, table.n_layers, problem.fixed_split)
    turns = np.arange(1, s.episode_steps + 1)
    with mpl.rc_context(STYLE):
        figure, panels = plt.subplots(4, 1, figsize=(8.2, 8.4), sharex=True, height_ratios=[1.2, 0.7, 0.9, 2])
        for (name, policy), colour in zip(policies.items(), COLOURS, strict=False):
            env = LLMSplitVector(1, s, source=TableSource(table))
            obs, info = env.reset(seed=[SEED + number])
            seen: dict[str, list[float]] = {"noise": [], "load": [], "battery": [], "split": [], "reward": []}
            for _ in turns:
                state = env._current
                told = {} if name == "best-fixed" else {"mask": info["action_mask"]}
                action = policy.act(obs, **told)
                expected = table.expected(env.features(state, action))[0]
                seen["reward"].append(float(env.compose(expected, state, action)[0]))
                seen["load"].append(s.context_process.edge_load[int(state["edge"][0])])  # type: ignore[union-attr]
                seen["battery"].append(float(state["battery"][0]))
                obs, _, _, _, info = env.step(action)
                seen["noise"].append(float(info["noise"][0]))
                seen["split"].append(int(info["split"][0]))
            if name == "optimal":
                panels[0].step(turns, seen["noise"], where="mid", color="k")
                panels[1].step(turns, seen["load"], where="mid", color="k")
            panels[2].plot(turns, seen["battery"], color=colour)
            panels[3].step(
                turns,
                seen["split"],
                where="mid",
                color=colour,
                lw=2.4 if name == "optimal" else 1.4,
                label=f"{name} ({np.mean(seen['reward']):+.2f} a turn)",
            )
        panels[0].set(yscale="log", ylabel="noise (RMS)", title=f"One session of drive on {model}")
        panels[1].set(ylabel="edge load", ylim=(0, 1))
        panels[2].set(ylabel="battery")
        panels[3].set(ylabel="split (layers on the device)", xlabel="turn", ylim=(0, table.n_layers))
        panels[3].legend(fontsize=9, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.22))
        return to_svg(figure)


def read(path: Path) -> Any:
    """A JSON file of results, or None where there is none yet."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def grid_lines() -> list[str]:
    """The share of settings in which planning pays, model by model."""
    lines = [
        "| model | settings run | both lose at least 20 % | 95 % interval | with a headroom of ten standard errors |",
        "|---|---|---|---|---|",
    ]
    for path in sorted((OUT / "grid").glob("*.json")):
        found = read(path)
        every, trusted = found["summary"]["all"], found["summary"]["trusted"]
        low, high = every["interval"]
        sure = "none has one"
        if trusted is not None:
            ends = " … ".join(f"{x:.2f}" for x in trusted["interval"])
            sure = f"{trusted['share']:.2f} of {trusted['settings']} ({ends})"
        of = len(settings(found["grid"]))
        lines.append(
            f"| {path.stem} | {every['settings']} of {of} | {every['share']:.2f} | {low:.2f} … {high:.2f} | {sure} |"
        )
    return lines


def references(model: str) -> dict[str, Any]:
    """What the exact policies of ``drive`` earn, by as many sessions as the headline suite judges with."""
    found = judge(model, {}, REFERENCE_SESSIONS, 2)
    return {k: v for k, v in found.items() if k not in ("both", "resamples")}


def drive_lines() -> list[str]:
    """The references of ``drive`` itself."""
    lines = ["| model | optimal | best fixed | headroom | myopic | myopic-with-cost |", "|---|---|---|---|---|---|"]
    for path in sorted(OUT.glob("references-*.json")):
        row = read(path)
        lost = " | ".join(f"{row['lost'][rule]:.2f}" for rule in RULES)
        lines.append(
            f"| {path.stem.removeprefix('references-')} | {row['optimal']:.3f} | {row['best_fixed']:.3f} (split "
            f"{row['best_fixed_split']}) | {row['headroom']:.3f} ± {row['headroom_std_error']:.3f} | {lost} |"
        )
    return lines


def suite_lines() -> list[str]:
    """The methods of ``drive.yaml``, if its outcome is there."""
    found = read(OUT / "summary.json")
    if found is None:
        return ["Not run yet for the record."]
    rooms = {problem: headroom(reference) for problem, reference in found["references"].items()}
    lines = [
        "Regret per turn, in reward where the headroom is less than ten of its standard errors wide, else in "
        "headrooms. The last column divides by the headroom all the same, however badly it is known: by that of the "
        "sessions that judged these rows, fewer than above, "
        + ", ".join(f"{room} on {problem.partition('/')[2]}" for problem, room in rooms.items())
        + ".",
        "",
        "| method | true evaluations | seeds | regret (IQM) | 95 % | worst seed | in headrooms |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        problem = f"{row['scenario']}/{row['model']}"
        regret = f"{row['regret']:.4f}"
        in_headrooms = f"{row['regret']:.3f}"
        if found["references"][problem]["regret_unit"] != "headroom":
            in_headrooms = quotient(regret, rooms[problem], ".3f")
        ends = "–" if row["regret_ci"] is None else " … ".join(f"{x:.4f}" for x in row["regret_ci"])
        worst = "–" if row["regret_worst"] is None else f"{row['regret_worst']:.4f}"
        lines.append(
            f"| {row['model']}: {row['algorithm']} | {row['true_evaluations']:.0f} | {row['seeds']} | "
            f"{regret} | {ends} | {worst} | {in_headrooms} |"
        )
    return lines


def headroom(reference: dict[str, Any]) -> str:
    """A judge's headroom with its standard error, as printed."""
    return f"{reference['headroom']:.4f} ± {reference['headroom_std_error']:.4f}"


def live_lines() -> list[str]:
    """What adding per-turn table rewards gets wrong."""
    lines = [
        "| model | sessions × turns | error of the sum, reward per turn | of it the context | chance and table |",
        "|---|---|---|---|---|",
    ]
    for path in sorted(OUT.glob("live-*.json")):
        found = read(path)
        cells = [
            f"{mean:+.3f} ({low:+.3f} … {high:+.3f})"
            for mean, low, high in (found[k] for k in ("reward_error", "of_context", "of_chance_and_table"))
        ]
        lines.append(f"| {found['model']} | {found['sessions']} × {found['turns']} | " + " | ".join(cells) + " |")
    return lines


def page() -> str:
    """The page, in Markdown."""
    pictures = [
        f"![{words}, {path.stem.split('-', 1)[1]}]({path.name})"
        for kind, words in (("loss", "Loss against the price of moving"), ("episode", "One session"))
        for path in sorted(OUT.glob(f"{kind}-*.svg"))
    ]
    parts = [
        ["# Sessions: a split decision worth planning for"],
        [
            "From the judge halves of the measured tables, by `python benchmarks/drive_grid.py`, "
            "`python benchmarks/drive_live.py`, `mbrl-split bench run benchmarks/drive.yaml` and "
            "`python benchmarks/drive_figures.py`. What a session is, and a turn by hand: "
            "[Plan a session](../../how-to/sessions.md)."
        ],
        ["## The grid"],
        [
            "Profiles, speeds and lengths of sessions, with their sources, stand in `benchmarks/drive_grid.yaml`, "
            "committed before they were run. Counted are the settings in which both myopic policies lose at least 20 % "
            "of the headroom (optimal − best fixed). The interval resamples the sessions; it need not be centred at "
            "the share. Where the headroom is within chance of nothing, losing a share of it says little: the last "
            "column leaves such settings out."
        ],
        grid_lines(),
        ["## drive"],
        [
            "Reward per turn; the last two columns are what the myopic policies lose, as shares of the headroom. "
            "`drive` is the setting that a rule picked on tiny-llama (written in `drive_grid.yaml`), not a typical "
            "one. Judged with more sessions than the grid affords each setting; where two splits are nearly as good, "
            "one part of the text chooses another than the other part does, and the headroom moves by about its error."
        ],
        drive_lines(),
        ["## Methods with 300 true evaluations"],
        suite_lines(),
        [
            "All learn from the same surrogate. The planner solves the session that the surrogate describes; PPO and "
            "A2C have to find the plan by trial, and within these steps they do not find all of it. Tried on other "
            "seeds: steps, discount, entropy, learning rate, epochs, and inputs as hat functions, which helped most. "
            "A2C was trained with TensorFlow's form of RMSprop, not with torch's, the default, and will be run again."
        ],
        ["## Live sessions"],
        [
            "Whole sessions of the exact policy run on the live model with one growing cache, against the sum of the "
            "table's turns; mean per turn, with a 95 % bootstrap interval over sessions. Negative: the table promises "
            "too much."
        ],
        live_lines(),
        ["## Pictures"],
        pictures,
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def write(path: Path, text: str) -> None:
    """Atomically."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny-llama")
    parser.add_argument("--contexts", type=int, default=400, help="sessions per setting")
    parser.add_argument("--session", type=int, default=0, help="which session the picture shows")
    parser.add_argument("--only", choices=("loss", "episode", "references", "page"), default=None)
    args = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    if args.only in (None, "loss"):
        rows = losses(args.model, args.contexts)
        write(OUT / f"loss-{args.model}.json", json.dumps(rows, indent=1) + "\n")
        write(OUT / f"loss-{args.model}.svg", loss_figure(rows))
    if args.only in (None, "episode"):
        write(OUT / f"episode-{args.model}.svg", episode(args.model, args.session))
    if args.only in (None, "references"):
        write(OUT / f"references-{args.model}.json", json.dumps(references(args.model), indent=1) + "\n")
    write(OUT / "drive.md", page())


if __name__ == "__main__":
    main()
