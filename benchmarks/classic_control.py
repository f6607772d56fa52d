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
from mbrl_split.evaluation import bootstrap, evaluate, paired_difference

HERE = Path(__file__).parent
OURS, PEER = "mbrl_split", "stable_baselines3"


class PeerPolicy:
    """A Stable-Baselines3 model with the face of our agents, its normaliser applied."""

    def __init__(self, model: Any, normaliser: Any) -> None:
        self.model, self.normaliser = model, normaliser

    def act(self, obs: Any, *, deterministic: bool = True, mask: Any = None) -> Any:
        seen = obs if self.normaliser is None else self.normaliser.normalize_obs(obs)
        return self.model.predict(seen, deterministic=deterministic)[0]


def train_ours(agent: str, env_id: str, steps: int, seed: int) -> tuple[Any, dict[str, list[float]]]:
    settings = ours.preset_run(agent, env_id)
    envs = [gym.make(env_id) for _ in range(settings["n_envs"])]
    kind = getattr(ours, agent)
    learner = kind(envs[0].observation_space, envs[0].action_space, seed=seed, **kind.preset(env_id))
    history = learner.learn(envs, steps)
    at, returns = history.column("episode/return")
    return learner, {"steps": at.tolist(), "returns": returns.tolist()}


def peer_settings(agent: str, env_id: str) -> tuple[dict[str, Any], dict[str, bool], int]:
    """Our preset in the words of Stable-Baselines3: constructor, normaliser, number of environments."""
    settings = ours.preset_run(agent, env_id)
    settings.pop("steps")
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


def train_peer(agent: str, env_id: str, steps: int, seed: int) -> tuple[Any, dict[str, list[float]]]:
    import stable_baselines3 as sb3
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import VecNormalize

    settings, normalise, n_envs = peer_settings(agent, env_id)
    vec: Any = make_vec_env(env_id, n_envs=n_envs, seed=seed)
    normaliser = None
    if any(normalise.values()):
        vec = normaliser = VecNormalize(vec, gamma=settings.get("gamma", 0.99), **normalise)
    curve: dict[str, list[float]] = {"steps": [], "returns": []}

    class Curve(BaseCallback):
        def _on_step(self) -> bool:
            for info in self.locals["infos"]:
                if "episode" in info:
                    curve["steps"].append(float(self.num_timesteps))
                    curve["returns"].append(float(info["episode"]["r"]))
            return True

    model = getattr(sb3, agent)("MlpPolicy", vec, seed=seed, device="cpu", **settings)
    model.learn(steps, callback=Curve())
    if normaliser is not None:
        normaliser.training = False
    return PeerPolicy(model, normaliser), curve


def thinned(curve: dict[str, list[float]], points: int = 100) -> dict[str, list[float]]:
    """The learning curve averaged over consecutive groups."""
    groups = [g for g in np.array_split(np.arange(len(curve["steps"])), points) if len(g)]
    return {name: [round(float(np.mean(np.asarray(v)[g])), 2) for g in groups] for name, v in curve.items()}


def cells(path: Path, only: str | None, extra: bool) -> Iterator[dict[str, Any]]:
    for cell in yaml.safe_load(path.read_text())["cells"]:
        if (only is None or only == f"{cell['agent']}/{cell['env']}") and (extra or not cell.get("extra", False)):
            yield cell


def run(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    suite = yaml.safe_load(args.suite.read_text())
    args.out.mkdir(parents=True, exist_ok=True)
    results = args.out / "runs.jsonl"
    done = {(r["library"], r["agent"], r["env"], r["seed"]) for r in read(results) if current(r)}
    for seed in range(args.seeds or suite["seeds"]):
        for cell in cells(args.suite, args.only, args.extra):
            for library in (OURS, PEER) if cell["peer"] else (OURS,):
                key = (library, cell["agent"], cell["env"], seed)
                if key not in done and args.library in (None, library):
                    row = outcome(library, cell, seed, suite["episodes"])
                    append(results, row)
                    shown_key = "/".join(map(str, key))
                    print(f"{shown_key}: {row['mean_return']:.1f} in {row['cpu_seconds']:.0f} s", flush=True)


def outcome(library: str, cell: dict[str, Any], seed: int, episodes: int) -> dict[str, Any]:
    """One run: trained, then judged by deterministic episodes on environments of its own."""
    train = train_ours if library == OURS else train_peer
    began, cpu_began = time.perf_counter(), time.process_time()
    policy, curve = train(cell["agent"], cell["env"], cell["steps"], seed)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    judge = gym.make_vec(cell["env"], num_envs=10, vectorization_mode="sync")
    found = evaluate(policy, judge, episodes, seed=10_000 + seed)
    return {
        "library": library,
        "agent": cell["agent"],
        "env": cell["env"],
        "seed": seed,
        "steps": cell["steps"],
        "settings": settings_of(cell["agent"], cell["env"]),
        "mean_return": float(found.returns.mean()),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "curve": thinned(curve),
    }


def settings_of(agent: str, env_id: str) -> Any:
    """The preset as plain data."""
    return json.loads(json.dumps(ours.preset_run(agent, env_id), default=repr))


def current(row: dict[str, Any]) -> bool:
    """The row was run with the present preset; a changed preset is run anew, the old rows stay as a record."""
    return bool(row["settings"] == settings_of(row["agent"], row["env"]))


def append(path: Path, row: dict[str, Any]) -> None:
    """Add a line; if a killed run left half a line, end that one first."""
    with path.open("a+b") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(json.dumps(row).encode() + b"\n")


def report(args: argparse.Namespace) -> None:
    rows = read(args.out / "runs.jsonl")
    head = f"{'agent':<10} {'environment':<15} {'steps':>8} {'seeds':>5} "
    print(head + f"{'ours':>22} {'peer':>22} {'ours − peer':>24}  holds")
    for cell in cells(args.suite, args.only, True):
        scores: dict[str, dict[int, float]] = {OURS: {}, PEER: {}}
        for r in filter(current, rows):
            if (r["agent"], r["env"], r["steps"]) == (cell["agent"], cell["env"], cell["steps"]):
                scores[r["library"]][r["seed"]] = r["mean_return"]
        mine, theirs = scores[OURS], scores[PEER]
        if not mine:
            continue
        interval = bootstrap([[v] for v in mine.values()])
        both = sorted(mine.keys() & theirs.keys())
        peer = bootstrap([[theirs[s]] for s in both]) if both else None
        gap = paired_difference([[mine[s]] for s in both], [[theirs[s]] for s in both]) if both else None
        holds = interval.value >= cell.get("at_least", -np.inf)
        if gap is not None and "margin" in cell:
            holds = holds and gap.low is not None and gap.low > -cell["margin"]
        line = f"{cell['agent']:<10} {cell['env']:<15} {cell['steps']:>8} {len(mine):>5} "
        print(line + f"{shown(interval):>22} {shown(peer):>22} {shown(gap):>24}  {'yes' if holds else 'no'}")


def shown(interval: Any) -> str:
    if interval is None:
        return "—"
    limits = "" if interval.low is None else f" [{interval.low:.1f}, {interval.high:.1f}]"
    return f"{interval.value:.1f}{limits}"


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
    parser.add_argument("--library", choices=(OURS, PEER), help="only this one's runs")
    parser.add_argument("--seeds", type=int, help="instead of the suite's")
    parser.add_argument("--extra", action="store_true", help="also the cells marked extra")
    given = parser.parse_args()
    {"run": run, "report": report}[given.command](given)
