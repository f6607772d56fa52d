"""What a true evaluation costs, and what suffix replay saves.

    python benchmarks/performance/oracle.py [MODEL] [--out FOLDER]

1. Seconds per true evaluation, averaged over all splits: two processes side by side, one torch thread each, and one.
2. The time of the suffix at split p over its share of an uncut forward, (L − p)/L of the layers plus the head. Both
   sides are timed in turn, A B A B, in one process; the ratio is the median over rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch

from mbrl_split.layer_split import PerplexityOracle
from mbrl_split.llm import SplitModel


def evaluate(model: str, worker: int, rounds: int) -> tuple[float, int]:
    """(seconds, evaluations) of one worker, clean references warmed up beforehand."""
    torch.set_num_threads(1)
    oracle = PerplexityOracle.load(model, "equalised")
    splits = np.tile(np.arange(1, oracle.columns[0].high + 1), rounds)
    X = np.column_stack([splits, np.full(len(splits), 0.5), np.full(len(splits), 2.0)])
    seeds = 1000 * worker + np.arange(len(splits)) % 16
    oracle.measure(X, seeds=seeds)
    began = time.perf_counter()
    oracle.measure(X, seeds=seeds)
    return time.perf_counter() - began, len(splits)


def throughput(model: str, workers: int, rounds: int) -> float:
    """Seconds per evaluation of ``workers`` processes together."""
    with ProcessPoolExecutor(workers) as pool:
        done = list(pool.map(evaluate, [model] * workers, range(workers), [rounds] * workers))
    return max(seconds for seconds, _ in done) / sum(count for _, count in done)


def suffix_overhead(model: str, rounds: int) -> dict[str, float]:
    """Ratio of the suffix's time to its share of the uncut forward's, by split."""
    torch.set_num_threads(1)
    split_model = SplitModel.load(model)
    layers = split_model.n_layers
    ids = torch.randint(split_model.vocab_size, (8, 128), generator=torch.Generator().manual_seed(0))
    states = split_model.prefix(ids)

    def seconds(split: int | None) -> float:
        began = time.perf_counter()
        if split is None:
            split_model.logits(ids)
        else:
            split_model.suffix(states[split], split)
        return time.perf_counter() - began

    splits = sorted({1, layers // 4, layers // 2, 3 * layers // 4, layers - 1})
    # A suffix without any layer is the head (final norm and vocabulary); it belongs to every split.
    for warm in (None, layers, *splits):
        seconds(warm)
    ratios: dict[int, list[float]] = {p: [] for p in splits}
    for _ in range(rounds):
        for p in splits:
            whole, part, head = seconds(None), seconds(p), seconds(layers)
            ratios[p].append(part / ((layers - p) / layers * (whole - head) + head))
    return {str(p): round(statistics.median(r), 3) for p, r in ratios.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="tiny-llama")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results" / "performance")
    args = parser.parse_args()
    result = {
        "command": f"python benchmarks/performance/oracle.py {args.model} --rounds {args.rounds}",
        "model": args.model,
        "torch": torch.__version__,
        "seconds_per_evaluation_two_processes": round(throughput(args.model, 2, args.rounds), 4),
        "seconds_per_evaluation_one_process": round(throughput(args.model, 1, args.rounds), 4),
        "suffix_over_its_share": suffix_overhead(args.model, args.rounds),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / f"oracle-{args.model}.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
