"""Classic control: our agents against Stable-Baselines3 with the same settings, on the same environments and seeds.

    python benchmarks/classic_control.py run [--only AGENT/ENV] [--library NAME] [--seeds N] [--extra] [--out FOLDER]
    python benchmarks/classic_control.py report [--out FOLDER]

A run is one (library, agent, environment, seed). Its outcome, 100 deterministic episodes after the last step, is one
line of ``runs.jsonl``; what has its line is not run again, so a suite can be stopped at any time and continued later.
Seed by seed, every cell is run before any cell's next seed. Cells are read from ``classic_control.yaml``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import gymnasium as gym
import numpy as np
import torch
import yaml

import mbrl_split.agents as ours
from mbrl_split.agents.schedules import Constant, Linear
from mbrl_split.bench.printed import quotient
from mbrl_split.evaluation import bootstrap, evaluate, iqm, paired_difference

HERE = Path(__file__).parent
OURS, NATIVE, PEER = "mbrl_split", "mbrl_split_native", "stable_baselines3"
WINDOW = 20
"""Training episodes whose mean return must reach the level of a race."""


class Curve:
    """Training episodes as they end, with the wall and processor seconds since the making of the environments."""

    def __init__(self) -> None:
        self.episodes: list[tuple[float, float, float, float]] = []  # step, return, wall, processor
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def add(self, step: float, value: float, count: int = 1) -> None:
        now = time.perf_counter() - self._wall, time.process_time() - self._cpu
        self.episodes += [(float(step), float(value), *now)] * count

    def reached(self, level: float) -> dict[str, float] | None:
        """Where the mean return of the last WINDOW training episodes first reached the level."""
        returns = np.array([e[1] for e in self.episodes])
        if len(returns) < WINDOW:
            return None
        means = np.convolve(returns, np.full(WINDOW, 1 / WINDOW), mode="valid")
        first = np.flatnonzero(means >= level - 1e-9)
        if not len(first):
            return None
        step, _, wall, cpu = self.episodes[first[0] + WINDOW - 1]
        return {"steps": step, "seconds": round(wall, 3), "cpu_seconds": round(cpu, 3)}

    def thinned(self, points: int = 60) -> dict[str, list[float]]:
        """Steps and returns averaged over consecutive groups of episodes."""
        table = np.array(self.episodes).reshape(-1, 4)[:, :2]
        means = [g.mean(axis=0) for g in np.array_split(table, points) if len(g)]
        return {"steps": [round(float(m[0])) for m in means], "returns": [round(float(m[1]), 1) for m in means]}


class PeerPolicy:
    """A Stable-Baselines3 model with the face of our agents, its normaliser applied."""

    def __init__(self, model: Any, normaliser: Any) -> None:
        self.model, self.normaliser = model, normaliser

    def act(self, obs: Any, *, deterministic: bool = True, mask: Any = None) -> Any:
        seen = obs if self.normaliser is None else self.normaliser.normalize_obs(obs)
        return self.model.predict(seen, deterministic=deterministic)[0]


def train_ours(cell: dict[str, Any], seed: int, curve: Curve, *, native: bool = False) -> Any:
    """Our agent; ``native``: on Gymnasium's vectorised twin of the environment, with the settings of the race."""
    agent, env_id = cell["agent"], cell["env"]
    kind, settings = getattr(ours, agent), ours.zoo_run(agent, env_id) | cell.get("ours", {})
    if native:
        settings |= cell["native"]
    n_envs = settings.pop("n_envs")
    settings.pop("steps")
    if native:
        env: Any = gym.make_vec(env_id, num_envs=n_envs, vectorization_mode="vector_entry_point")
        spaces = env.single_observation_space, env.single_action_space
    else:
        env = [gym.make(env_id) for _ in range(n_envs)]
        spaces = env[0].observation_space, env[0].action_space

    def note(_: Any, record: dict[str, float]) -> None:
        if "episode/return" in record:
            curve.add(record["step"], record["episode/return"], int(record["episode/count"]))

    learner = kind(*spaces, seed=seed, **settings)
    learner.learn(env, cell["steps"], callback=note)
    return learner


def peer_settings(agent: str, env_id: str) -> tuple[dict[str, Any], dict[str, bool], int]:
    """Our settings of the zoo in the words of Stable-Baselines3: constructor, normaliser, number of environments."""
    settings = ours.zoo_run(agent, env_id)
    for name in ("steps", "double"):  # its DQN is never double, and the presets that name it have it off
        settings.pop(name, None)
    n_envs = settings.pop("n_envs")
    normaliser = {
        "norm_obs": bool(settings.pop("normalize_observations", False)),
        "norm_reward": bool(settings.pop("normalize_reward", False)),
    }
    if "net_arch" in settings:
        settings["policy_kwargs"] = {"net_arch": list(settings.pop("net_arch"))}
    for name, value in settings.items():
        if isinstance(value, Constant | Linear):
            # Ours follow the progress made, theirs the progress that remains.
            settings[name] = lambda remaining, schedule=value: schedule(1 - remaining)
    return settings, normaliser, n_envs


def train_peer(cell: dict[str, Any], seed: int, curve: Curve) -> PeerPolicy:
    import stable_baselines3 as sb3
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import VecNormalize

    settings, normalise, n_envs = peer_settings(cell["agent"], cell["env"])
    vec: Any = make_vec_env(cell["env"], n_envs=n_envs, seed=seed)
    normaliser = None
    if any(normalise.values()):
        vec = normaliser = VecNormalize(vec, gamma=settings.get("gamma", 0.99), **normalise)

    class Note(BaseCallback):
        def _on_step(self) -> bool:
            for info in self.locals["infos"]:
                if "episode" in info:
                    curve.add(self.num_timesteps, info["episode"]["r"])
            return True

    model = getattr(sb3, cell["agent"])("MlpPolicy", vec, seed=seed, device="cpu", **settings)
    model.learn(cell["steps"], callback=Note())
    if normaliser is not None:
        normaliser.training = False
    return PeerPolicy(model, normaliser)


def cells(path: Path, only: str | None, extra: bool) -> Iterator[dict[str, Any]]:
    for cell in yaml.safe_load(path.read_text())["cells"]:
        if (only is None or only == f"{cell['agent']}/{cell['env']}") and (extra or not cell.get("extra", False)):
            yield cell


def run(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    suite = yaml.safe_load(args.suite.read_text())
    args.out.mkdir(parents=True, exist_ok=True)
    results = args.out / "runs.jsonl"
    done = {(r["library"], r["agent"], r["env"], r["seed"]) for r in current(args)}
    for seed in range(args.seeds or suite["seeds"]):
        for cell in cells(args.suite, args.only, args.extra):
            for library in libraries(cell):
                key = (library, cell["agent"], cell["env"], seed)
                if key not in done and args.library in (None, library):
                    row = outcome(library, cell, seed, suite["episodes"])
                    append(results, row)
                    shown_key = "/".join(map(str, key))
                    print(f"{shown_key}: {row['mean_return']:.1f} in {row['cpu_seconds']:.0f} s", flush=True)


def libraries(cell: dict[str, Any]) -> list[str]:
    """Whose runs a cell has."""
    return [OURS, *([NATIVE] if "native" in cell else []), *([PEER] if cell["peer"] else [])]


def outcome(library: str, cell: dict[str, Any], seed: int, episodes: int) -> dict[str, Any]:
    """One run: trained, then judged by deterministic episodes on environments of its own."""
    curve = Curve()
    began, cpu_began = time.perf_counter(), time.process_time()
    policy = (
        train_peer(cell, seed, curve) if library == PEER else train_ours(cell, seed, curve, native=library == NATIVE)
    )
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    judge = gym.make_vec(cell["env"], num_envs=10, vectorization_mode="sync")
    found = evaluate(policy, judge, episodes, seed=10_000 + seed)
    return {
        "library": library,
        "agent": cell["agent"],
        "env": cell["env"],
        "seed": seed,
        "steps": cell["steps"],
        "settings": settings_of(cell, library),
        "mean_return": float(found.returns.mean()),
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "reached": curve.reached(cell["race"]) if "race" in cell else None,
        "curve": curve.thinned(),
    }


def settings_of(cell: dict[str, Any], library: str) -> Any:
    """The preset, and what is changed in it, as plain data."""
    settings = ours.zoo_run(cell["agent"], cell["env"]) | (cell["native"] if library == NATIVE else {})
    if library != PEER:
        settings |= cell.get("ours", {})
    return json.loads(json.dumps(settings, default=repr))


def append(path: Path, row: dict[str, Any]) -> None:
    """Add a line; if a killed run left half a line, end that one first."""
    with path.open("a+b") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(json.dumps(row).encode() + b"\n")


def report(args: argparse.Namespace) -> None:
    """Tables, figure and summary of the runs with the present settings, into the folder of the runs."""
    suite = yaml.safe_load(args.suite.read_text())
    rows = current(args)
    results = [summary(cell, rows, suite["seeds"]) for cell in suite["cells"]]
    results = [r for r in results if r["ours"]["scores"]]
    text = [
        "# Classic control",
        "",
        "`python benchmarks/classic_control.py run`, then `report`. A score is the mean return of "
        f"{suite['episodes']} deterministic episodes after the last step; per cell the interquartile mean (IQM) over "
        f"seeds, with its 95 % bootstrap interval where there are {suite['seeds']} seeds. The difference is paired by "
        "seed, over the seeds that both have. A verdict is given only where all seeds have been run.",
        "",
        "| agent | environment | steps | seeds | ours | mean, worst | seeds | SB3 | difference | reaches | not below |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        *(line_of(r) for r in results),
        "",
        "## Every seed",
        "",
        "| agent | environment | library | scores, by seed |",
        "|---|---|---|---|",
    ]
    for r in results:
        for who, name in (("ours", "ours"), ("peer", "SB3")):
            scores = r[who]["scores"]
            if scores:
                listed = ", ".join(f"{seed}: {scores[seed]:.0f}" for seed in sorted(scores))
                text.append(f"| {r['agent']} | {r['env']} | {name} | {listed} |")
    text += ["", *races(suite, rows)]
    (args.out / "summary.md").write_text("\n".join(text).rstrip() + "\n")
    (args.out / "summary.json").write_text(json.dumps(results, indent=1) + "\n")
    figure([c for c in suite["cells"] if not c.get("extra")], rows, args.out / "curves.svg")
    print("\n".join(text))


def of_cell(cell: dict[str, Any], rows: list[dict[str, Any]], library: str) -> dict[int, dict[str, Any]]:
    """The cell's runs by seed."""
    key = cell["agent"], cell["env"], cell["steps"], library
    return {r["seed"]: r for r in rows if (r["agent"], r["env"], r["steps"], r["library"]) == key}


def summary(cell: dict[str, Any], rows: list[dict[str, Any]], seeds: int) -> dict[str, Any]:
    """Scores, intervals and verdicts of a cell; a verdict is None until every seed has been run."""
    mine, theirs = (
        {seed: r["mean_return"] for seed, r in of_cell(cell, rows, library).items()} for library in (OURS, PEER)
    )
    both = sorted(mine.keys() & theirs.keys())
    gap = paired_difference([[mine[s]] for s in both], [[theirs[s]] for s in both]) if both else None
    reached = mine and iqm(np.array([[v] for v in mine.values()])) >= cell.get("at_least", -np.inf)
    return {
        **{name: cell.get(name) for name in ("agent", "env", "steps", "at_least", "margin", "peer")},
        "ours": described(mine),
        "peer": described(theirs),
        "difference": None if gap is None else [gap.value, gap.low, gap.high],
        "reaches": bool(reached) if len(mine) >= seeds and "at_least" in cell else None,
        "not_inferior": bool(gap.low > -cell["margin"])
        if gap is not None and gap.low is not None and len(both) >= seeds and "margin" in cell
        else None,
    }


def described(scores: dict[int, float]) -> dict[str, Any]:
    if not scores:
        return {"scores": {}}
    found = bootstrap([[v] for v in scores.values()])
    values = list(scores.values())
    return {
        "scores": scores,
        "iqm": [found.value, found.low, found.high],
        "mean": statistics.fmean(values),
        "worst": min(values),
    }


def line_of(r: dict[str, Any]) -> str:
    """A row of the table."""
    mine, theirs = r["ours"], r["peer"]
    target = "—" if r["at_least"] is None else f"≥ {r['at_least']}: {said(r['reaches'])}"
    margin = "—" if r["margin"] is None or not r["peer"] else f"> −{r['margin']}: {said(r['not_inferior'])}"
    cells = [
        r["agent"],
        r["env"],
        f"{r['steps']:,}",
        str(len(mine["scores"])),
        shown(mine["iqm"]),
        f"{mine['mean']:.1f}, {mine['worst']:.1f}",
        str(len(theirs["scores"])) if r["peer"] else "—",
        shown(theirs.get("iqm")),
        shown(r["difference"]),
        target,
        margin,
    ]
    return "| " + " | ".join(cells) + " |"


def said(verdict: bool | None) -> str:
    return "unfinished" if verdict is None else "yes" if verdict else "**no**"


def shown(interval: list[float | None] | None) -> str:
    if interval is None:
        return "—"
    value, low, high = interval
    return f"{value:.1f}" + ("" if low is None else f" [{low:.1f}, {high:.1f}]")


def races(suite: dict[str, Any], rows: list[dict[str, Any]]) -> list[str]:
    """Time to a level of the training return, for the cells that race."""
    text: list[str] = []
    for cell in (c for c in suite["cells"] if "race" in c and of_cell(c, rows, OURS)):
        text += [
            f"## Time to {cell['race']}, {cell['agent']} on {cell['env']}",
            "",
            f"The time from the making of the environments until the mean return of the last {WINDOW} training "
            f"episodes first reached {cell['race']}; IQM over the seeds, one that never did counting as infinite. "
            "Processor seconds are those of the one thread: the wall time of an idle machine. Ratios are to "
            "Stable-Baselines3.",
            "",
            "| library | seeds | reached | steps | processor, s | wall, s | ratio, processor | ratio, wall |",
            "|---|---|---|---|---|---|---|---|",
        ]
        times: dict[str, list[str]] = {}
        for library in (PEER, OURS, NATIVE):
            runs = of_cell(cell, rows, library).values()
            if not runs:
                continue
            found = [r["reached"] for r in runs]
            steps, *seconds = (
                iqm(np.array([[np.inf if f is None else f[name]] for f in found]))
                for name in ("steps", "cpu_seconds", "seconds")
            )
            times[library] = [f"{x:.2f}" for x in seconds]
            label = {
                PEER: "Stable-Baselines3",
                OURS: "ours, the same settings",
                NATIVE: "ours, Gymnasium's vectorised environment, "
                + ", ".join(f"{k} {v}" for k, v in cell["native"].items()),
            }[library]
            cells = [*times[library], "—", "—"]
            if library != PEER and PEER in times:
                cells[2:] = [quotient(*pair, ".1f") for pair in zip(times[PEER], times[library], strict=True)]
            reached = sum(f is not None for f in found)
            text.append(f"| {label} | {len(found)} | {reached} | {steps:,.0f} | " + " | ".join(cells) + " |")
        text.append("")
    return text


def figure(cells: list[dict[str, Any]], rows: list[dict[str, Any]], path: Path) -> None:
    """Training returns by environment steps: a faint line per seed, the mean of all in full."""
    import matplotlib

    matplotlib.rcParams |= {"svg.hashsalt": "classic control", "svg.fonttype": "none"}
    from matplotlib import pyplot as plt

    from mbrl_split.bench.figures import to_svg

    picture, panels = plt.subplots(2, 3, figsize=(10, 5.2), constrained_layout=True)
    for cell, panel in zip(cells, panels.flat, strict=True):
        for library, colour, label in ((PEER, "#d9822b", "Stable-Baselines3"), (OURS, "#00796b", "ours")):
            curves = [r["curve"] for r in of_cell(cell, rows, library).values()]
            if not curves:
                continue
            grid = np.linspace(0, cell["steps"], 60)
            on_grid = [np.interp(grid, c["steps"], c["returns"]) for c in curves]
            for values in on_grid:
                panel.plot(grid / 1000, values, color=colour, lw=0.5, alpha=0.35)
            panel.plot(
                grid / 1000, np.mean(on_grid, axis=0), color=colour, lw=1.8, label=f"{label}, {len(curves)} seeds"
            )
        panel.set_title(f"{cell['agent']}, {cell['env']}", fontsize=10)
        panel.set_xlabel("thousand environment steps", fontsize=8)
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
        if panel.has_data():
            panel.legend(fontsize=7, frameon=False, loc="lower right")
    for panel in panels[:, 0]:
        panel.set_ylabel("training return", fontsize=8)
    path.write_text(to_svg(picture), encoding="utf-8")


def current(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Runs with the present settings; a changed setting is run anew, its old rows stay as a record."""
    cells = {(c["agent"], c["env"]): c for c in yaml.safe_load(args.suite.read_text())["cells"]}
    rows = []
    for r in read(args.out / "runs.jsonl"):
        cell = cells.get((r["agent"], r["env"]))
        if cell is not None and r["library"] in libraries(cell) and r["settings"] == settings_of(cell, r["library"]):
            rows.append(r)
    return rows


def read(path: Path) -> list[dict[str, Any]]:
    """Complete lines only: a killed run may leave half a line behind."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            print(f"{path}: half a line is ignored", file=sys.stderr)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "report"))
    parser.add_argument("--suite", type=Path, default=HERE / "classic_control.yaml")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "classic_control")
    parser.add_argument("--only", help="AGENT/ENV, for instance PPO/CartPole-v1")
    parser.add_argument("--library", choices=(OURS, NATIVE, PEER), help="only this one's runs")
    parser.add_argument("--seeds", type=int, help="instead of the suite's")
    parser.add_argument("--extra", action="store_true", help="also the cells marked extra")
    given = parser.parse_args()
    {"run": run, "report": report}[given.command](given)
