"""How fast a measured table answers, against the live model it stands in for.

    python benchmarks/performance/table.py [MODEL] [--rows 10000] [--rounds 7] [--out FOLDER]

Two look-ups, of rows at random over the scenario's context, each timed in processor seconds of one thread (the median
over rounds), in turn with a live true evaluation of the middle split:

1. ``expected``: the mean over text and fading, which judges policies. Must hold: 10,000 rows in under 20 ms.
2. ``sample_damage``: single noisy evaluations, which agents learn from. Must hold: at least 1,000 times as many
   a second as the live model makes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from mbrl_split.layer_split import PerplexityOracle, TableOracle


def processor_seconds(work: Callable[[], object]) -> float:
    """What one call takes."""
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="smollm2-135m")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results" / "performance")
    args = parser.parse_args()
    torch.set_num_threads(1)
    table = TableOracle.load(args.model, "equalised", "judge")
    live = PerplexityOracle.load(args.model, "equalised", part="judge")
    rng, seeds = np.random.default_rng(0), np.arange(args.rows)
    X = np.column_stack([column.sample(args.rows, rng) for column in table.columns])
    middle = np.array([[table.n_layers // 2, 0.3, 2.0]])
    table.expected(X[:1])  # tabulates
    live.measure(middle, seeds=[0])  # clean passes
    rounds = [
        (
            processor_seconds(lambda: table.expected(X)),
            processor_seconds(lambda: table.sample_damage(X, seeds)),
            processor_seconds(lambda: live.measure(middle, seeds=[0])),
        )
        for _ in range(args.rounds)
    ]
    expected, sampled, measured = (statistics.median(column) for column in zip(*rounds, strict=True))
    result = {
        "command": f"python benchmarks/performance/table.py {args.model}",
        "model": args.model,
        "rows": args.rows,
        "expected_ms": round(expected * 1e3, 1),
        "sampled_ms": round(sampled * 1e3, 1),
        "live_evaluation_ms": round(measured * 1e3, 1),
        "sampled_per_live": round(measured / (sampled / args.rows)),
        "expected_per_live": round(measured / (expected / args.rows)),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / f"table-{args.model}.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
