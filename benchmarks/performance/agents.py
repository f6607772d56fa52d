"""Environment steps per second of learning: ours and Stable-Baselines3's, in turn (A B A B), one process, one thread.

    python benchmarks/performance/agents.py [--rounds 5] [--steps 16384] [--clock wall|cpu] [--out FOLDER]

1. Identical settings and number of updates, 8 CartPole environments in Python: PPO (the default settings and the
   zoo's) and DQN (not double: Stable-Baselines3 has none; the zoo's settings, few updates, a large network). The ratio
   is the median over rounds; both libraries are warmed up first. On a machine that others use, ``--clock cpu`` counts
   the processor time of the one thread. Beside them the ceiling: steps a second if nothing took time but the
   environments and the matrix products of the updates, which no library can leave out.
2. PPO on vectorised environments, 256 and 1,024 sub-environments: one whose steps cost next to nothing, and
   ``mbrl_split/LLMSplit-v0`` answered by the shipped table; ours alone.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import gymnasium as gym
import numpy as np
import stable_baselines3 as sb3
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.env_util import make_vec_env

import mbrl_split  # noqa: F401 (registers the environment)
from mbrl_split import agents
from mbrl_split.bench.printed import quotient

# Names that differ between the two are given in ours and translated in `peer`.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "PPO, default settings": ("PPO", {"n_steps": 256, "batch_size": 64, "n_epochs": 10}),
    "PPO, CartPole, the zoo's settings": (
        "PPO",
        {"n_steps": 32, "batch_size": 256, "n_epochs": 20, "gamma": 0.98, "gae_lambda": 0.8, "learning_rate": 1e-3},
    ),
    "DQN, 64-64, train 4 / 1": (
        "DQN",
        {
            "learning_starts": 500,
            "batch_size": 64,
            "train_freq": 4,
            "gradient_steps": 1,
            "double": False,
            "net_arch": (64, 64),
        },
    ),
    "DQN, CartPole, the zoo's settings": (
        "DQN",
        {
            "learning_starts": 1000,
            "learning_rate": 2e-3,
            "batch_size": 128,
            "n_steps": 5,
            "tau": 0.2,
            "target_update_interval": 32,
            "train_freq": 4,
            "gradient_steps": 16,
            "double": False,
            "net_arch": (64, 64),
        },
    ),
    "DQN, 256-256, train 32 / 128": (
        "DQN",
        {
            "learning_starts": 1000,
            "batch_size": 64,
            "train_freq": 32,
            "gradient_steps": 128,
            "double": False,
            "net_arch": (256, 256),
        },
    ),
}
ENVS = 8


class Instant(VectorEnv[Any, Any, Any]):
    """Contexts drawn anew each step, episodes of five steps, a reward in closed form: numpy and nothing else."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self.single_observation_space = gym.spaces.Box(-1, 1, (3,), dtype=np.float32)
        self.single_action_space = gym.spaces.Discrete(11)
        self.observation_space = gym.vector.utils.batch_space(self.single_observation_space, num_envs)
        self.action_space = gym.vector.utils.batch_space(self.single_action_space, num_envs)
        self._never = np.zeros(num_envs, dtype=bool)

    def _draw(self) -> Any:
        return self.np_random.uniform(-1, 1, (self.num_envs, 3)).astype(np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self._t, self._obs = 0, self._draw()
        return self._obs, {}

    def step(self, actions: Any) -> Any:
        reward = -np.abs(self._obs[:, 0] - actions / 5 + 1)
        self._t += 1
        new, over = self._draw(), self._t % 5 == 0
        info = {"final_obs": new.copy(), "_final_obs": ~self._never} if over else {}
        self._obs = self._draw() if over else new
        return self._obs, reward, self._never, ~self._never if over else self._never, info


def mine(kind: str, settings: dict[str, Any], seed: int) -> Callable[[int], None]:
    envs = [gym.make("CartPole-v1") for _ in range(ENVS)]
    agent = getattr(agents, kind)(envs[0].observation_space, envs[0].action_space, seed=seed, **settings)
    return lambda steps: agent.learn(envs, steps)


def peer(kind: str, settings: dict[str, Any], seed: int) -> Callable[[int], None]:
    arch = settings.get("net_arch")
    kwargs = {name: value for name, value in settings.items() if name not in ("net_arch", "double")}
    if arch is not None:
        kwargs["policy_kwargs"] = {"net_arch": list(arch)}
    vec = make_vec_env("CartPole-v1", n_envs=ENVS, seed=seed)
    model = getattr(sb3, kind)("MlpPolicy", vec, seed=seed, device="cpu", **kwargs)
    return lambda steps: model.learn(steps, reset_num_timesteps=False)


def bare(steps: int) -> None:
    """The eight environments alone, under random actions."""
    envs = [gym.make("CartPole-v1") for _ in range(ENVS)]
    for i, env in enumerate(envs):
        env.reset(seed=i)
    actions = np.random.default_rng(0).integers(2, size=(steps // ENVS, ENVS)).tolist()
    for row in actions:
        for env, action in zip(envs, row, strict=True):
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()


def products(kind: str, settings: dict[str, Any], clock: Callable[[], float]) -> float:
    """Seconds a step for the matrix products of the updates: forward, by weights, by inputs; DQN's lagging network."""
    batch = settings["batch_size"]
    if kind == "DQN":
        nets, per_step = [(4, *settings["net_arch"], 2)], settings["gradient_steps"] / (settings["train_freq"] * ENVS)
    else:
        nets, per_step = [(4, 64, 64, 2), (4, 64, 64, 1)], settings["n_epochs"] / batch
    pairs: list[tuple[Any, Any]] = []
    for net in nets:
        for i, (n_in, n_out) in enumerate(pairwise(net)):
            x, w, d = (np.ones(shape, dtype=np.float32) for shape in ((batch, n_in), (n_in, n_out), (batch, n_out)))
            pairs += [(x, w)] * (2 if kind == "DQN" else 1) + [(x.T, d)] + ([(d, w.T)] if i else [])
    rounds = 300
    began = clock()
    for _ in range(rounds):
        for a, b in pairs:
            a @ b
    return (clock() - began) / rounds * per_step


def markdown(told: dict[str, Any]) -> str:
    """The figures as Markdown."""
    clock = "processor" if told["clock"] == "process_time" else "wall"
    lines = [
        "# Speed of the agents",
        "",
        f"`python benchmarks/performance/agents.py --rounds {told['rounds']} --steps {told['steps']} "
        f"--clock {'cpu' if clock == 'processor' else 'wall'} --out benchmarks/results/performance`; environment steps "
        f"a second by the {clock} clock, one thread, median of {told['rounds']} rounds in turn (ours, SB3, ours, …). "
        "The ratio is measured within each round, and its median need not be that of the speeds. "
        "“4 / 1” reads: every 4 steps of all 8 environments, 1 gradient step.",
        "",
        "| learning | ours | Stable-Baselines3 | ratio within a round | ceiling | ceiling / SB3 |",
        "|---|---|---|---|---|---|",
    ]
    for label, f in told["figures"].items():
        if "sb3" in f:
            ours, peer, ceiling = (f"{f[name]:,.0f}" for name in ("ours", "sb3", "ceiling"))
            ratio = quotient(ceiling, peer, ".1f")
            lines.append(f"| {label} | {ours} | {peer} | {f['ratio']:.1f} | {ceiling} | {ratio} |")
    lines += [
        "",
        "The ceiling is what remains if nothing takes time but the eight environments in Python and the matrix "
        f"products of the updates; the environments alone make {told['environments_alone']:,.0f} steps a second.",
        "",
        "On vectorised environments, ours alone:",
        "",
        "| learning | steps a second |",
        "|---|---|",
    ]
    lines += [f"| {label} | {f['ours']:,.0f} |" for label, f in told["figures"].items() if "sb3" not in f]
    return "\n".join(lines) + "\n"


def main(rounds: int, steps: int, clock: Callable[[], float], out: Path | None) -> None:
    def speed(learn: Callable[[int], None], steps: int) -> float:
        began = clock()
        learn(steps)
        return steps / (clock() - began)

    torch.set_num_threads(1)
    figures: dict[str, Any] = {}
    alone = statistics.median(speed(bare, steps) for _ in range(rounds))
    print(f"{'the environments alone':<28}      {alone:9,.0f}/s")
    for label, (kind, settings) in CASES.items():
        a, b = mine(kind, settings, 0), peer(kind, settings, 0)
        a(2048), b(2048)
        ours, theirs = [], []
        for _ in range(rounds):
            ours.append(speed(a, steps))
            theirs.append(speed(b, steps))
        ratio = statistics.median(x / y for x, y in zip(ours, theirs, strict=True))
        figures[label] = {
            "ours": statistics.median(ours),
            "sb3": statistics.median(theirs),
            "ratio": ratio,
            "ceiling": 1 / (1 / alone + statistics.median(products(kind, settings, clock) for _ in range(rounds))),
        }
        print(
            f"{label:<28} ours {figures[label]['ours']:9,.0f}/s  SB3 {figures[label]['sb3']:8,.0f}/s  ratio {ratio:.1f}"
        )
    for n in (256, 1024):
        table = {"scenario": "equalised", "model": "tiny-llama", "source": "table"}
        for what, env in (
            ("native", Instant(n)),
            ("LLMSplit, table", gym.make_vec("mbrl_split/LLMSplit-v0", num_envs=n, **table)),
        ):
            agent = agents.PPO(
                env.single_observation_space, env.single_action_space, seed=0, n_steps=16, batch_size=n * 4, n_epochs=4
            )
            agent.learn(env, 16 * n)
            measured = [speed(lambda s: agent.learn(env, s), 16 * n * 4) for _ in range(rounds)]  # noqa: B023
            label = f"PPO, {n} {what}"
            figures[label] = {"ours": statistics.median(measured)}
            print(f"{label:<28} ours {statistics.median(measured):9,.0f}/s")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        told = {
            "clock": clock.__name__,
            "rounds": rounds,
            "steps": steps,
            "environments_alone": alone,
            "figures": figures,
        }
        (out / "agents.json").write_text(json.dumps(told, indent=1) + "\n")
        (out / "agents.md").write_text(markdown(told))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=16_384)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    args = parser.parse_args()
    main(args.rounds, args.steps, time.perf_counter if args.clock == "wall" else time.process_time, args.out)
