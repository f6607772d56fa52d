"""Where two Gaussian processes err, layer by layer, with the same true evaluations in hand.

    python benchmarks/surrogate_layers.py [--model smollm2-135m] [--evaluations 300] [--seeds 10]

In sessions (`drive`) a plain process of scikit-learn on whole random evaluations ends with less regret than ours. Both
learn here from the same rows per window; asked are all splits at noises along the session's range, and each is planned
with. The replay table itself is planned with as well: what is lost with it is lost to other text. Errors are against
the judge half, on average over noises and seeds. Writes ``layers.md`` to the suite's results.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mbrl_split.bench.base import Array, Task
from mbrl_split.bench.runner import judged
from mbrl_split.evaluation import JUDGE_SEED
from mbrl_split.layer_split import LayerSplit, TableOracle, fading_gp
from mbrl_split.oracles import Ledger
from mbrl_split.refresh import random_design

sys.path.insert(0, str(Path(__file__).parents[1]))
from baselines.gp_argmax import GPArgmax

NOISES = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--evaluations", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "rl_vs_mbrl")
    args = parser.parse_args()
    split = LayerSplit("drive", args.model, contexts=2000)
    problem, judge = split.scenario, split.judge(JUDGE_SEED)
    replay = TableOracle.load(args.model, problem)
    splits = np.arange(1, judge.n_layers)
    middle = np.array([[c.from_unit(0.5) for c in problem.context]] * NOISES)
    middle[:, 0] = problem.context[0].from_unit(np.linspace(0, 1, NOISES))
    asked = np.column_stack([np.tile(splits, NOISES), np.repeat(middle, len(splits), axis=0)])
    truth = judge.table.expected(asked)[0]

    errors: dict[str, list[Array]] = {}
    regrets: dict[str, list[float]] = {}
    for seed in range(args.seeds):
        task = Task(split, Ledger(replay, None, budget=args.evaluations), seed, 0, Path())
        rng = task.rng(1)
        task.measure(random_design(task.columns, args.evaluations, rng), rng)
        for name, damage in fitted(task).items() if seed else {"replay table": known(replay), **fitted(task)}.items():
            errors.setdefault(name, []).append((damage(asked) - truth).reshape(NOISES, -1).mean(axis=0))
            policy = split.lookup(damage, plan=True)
            regrets.setdefault(name, []).append(judged(judge, judge.judge(policy).value)["regret"])
            print(f"seed {seed}, {name}: regret {regrets[name][-1]:.3f}", flush=True)
    text = markdown(args, splits, truth.reshape(NOISES, -1).mean(axis=0), errors, regrets)
    (args.out / "layers.md").write_text(text)
    print(text)


def known(table: TableOracle) -> Callable[[Array], Array]:
    return lambda X: table.expected(X)[0]


def fitted(task: Task) -> dict[str, Callable[[Array], Array]]:
    """Both processes on everything that the task's ledger holds."""
    ours = fading_gp(seed=int(task.rng(4).integers(2**31)))
    ours.fit_rows(task.ledger.rows(), columns=task.columns)
    ratios = task.problem.record_rows(task.ledger)
    return {
        "fading-gp": lambda X: ours.predict(X).mean,
        "scikit-learn": ratios.predict(GPArgmax().fit(*ratios.rows(), task.rng(4)).predict),
    }


def markdown(
    args: argparse.Namespace,
    splits: Array,
    truth: Array,
    errors: dict[str, list[Array]],
    regrets: dict[str, list[float]],
) -> str:
    """The table: one column per split near the break, then a few further ones."""
    shown = [s for s in (1, 2, 3, 4, 5, 6, 8, 12, 20) if s <= splits[-1]]
    lines = [
        "# Errors by layer",
        "",
        f"`python benchmarks/{Path(__file__).name} --model {args.model} --evaluations {args.evaluations} --seeds "
        f"{args.seeds}`: damage and errors in nats/token, averages over the noises of a session and over seeds; regret "
        "of the plan, its mean over seeds.",
        "",
        "| | regret | " + " | ".join(f"split {s}" for s in shown) + " |",
        "|---|---:|" + "---:|" * len(shown),
        "| true damage | | " + " | ".join(f"{truth[s - 1]:.3f}" for s in shown) + " |",
    ]
    for name, found in errors.items():
        mean = np.mean(found, axis=0)
        cells = " | ".join(f"{mean[s - 1]:+.3f}" for s in shown)
        lines.append(f"| error of {name} | {np.mean(regrets[name]):.3f} | {cells} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
