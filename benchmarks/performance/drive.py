"""Steps per second of sessions against the plain scenario, run A B A B in one process; prints the ratio.

    python benchmarks/performance/drive.py [--envs 256] [--steps 400]

Both sides answer from the same trivial source, so that the time is the environment's own, and from the measured table,
as training does.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from mbrl_split.errors import InvalidInputError
from mbrl_split.layer_split import LLMSplitVector, TableOracle, TableSource, scenario


def steps_per_second(env: LLMSplitVector, steps: int) -> float:
    """Steps of all sub-environments together, per second of processor time (others may use the machine)."""
    rng = np.random.default_rng(0)
    actions = rng.integers(0, env.n_layers - 1, (steps, env.num_envs))
    env.reset(seed=0)
    start = time.process_time()
    for a in actions:
        env.step(a)
    return steps * env.num_envs / (time.process_time() - start)


class Nothing:
    """No damage at all."""

    version = 0

    def __init__(self, columns: object) -> None:
        self.columns = columns

    def answer(self, X: np.ndarray, *, seeds: np.ndarray) -> np.ndarray:
        return np.zeros(len(X))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--envs", type=int, default=256)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=4)
    args = parser.parse_args()
    names = ("equalised", "drive")
    # Equal episodes: a reset costs more than a step.
    problems = {name: scenario(name, episode_steps=16) for name in names}

    def table(name: str) -> TableSource:
        return TableSource(TableOracle.load("tiny-llama", problems[name]))

    sources = {"no source": lambda name: Nothing(problems[name].columns(12)), "table": table}
    for label, source in sources.items():
        try:
            envs = {name: LLMSplitVector(args.envs, problems[name], source=source(name)) for name in names}
        except InvalidInputError as error:
            print(f"{label}: {error}")
            continue
        for env in envs.values():
            steps_per_second(env, 20)
        rates = {name: [] for name in names}
        for _ in range(args.rounds):
            for name in names:
                rates[name].append(steps_per_second(envs[name], args.steps))
        plain, session = (float(np.median(rates[name])) for name in names)
        print(f"{label}: equalised {plain:,.0f} steps/s, drive {session:,.0f} steps/s, ratio {plain / session:.2f}")


if __name__ == "__main__":
    main()
