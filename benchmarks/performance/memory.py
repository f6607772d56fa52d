"""Memory of a live evaluation, and how much of the machine's arithmetic it uses.

    python benchmarks/performance/memory.py [MODEL] [--rounds 5] [--out FOLDER]

1. Peak resident memory of a fresh process that loads the model and makes one true evaluation at split 1, clean passes
   included (``ru_maxrss``). Must hold for SmolLM2-135M: under 3 GB.
2. Floating-point operations per second of an evaluation's suffix, counted by hand, over the rate of a large float32
   matrix product. Both are timed in turn, A B A B, in one process; the ratio is the median over rounds. Must hold for
   SmolLM2-135M: at least 85 %.

Counted are the products of the linear layers and of attention, 2 operations a multiply-add; norms, rotary embeddings,
softmax and the noise are not, so the true rate is higher than the one reported.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from mbrl_split.layer_split import PerplexityOracle
from mbrl_split.layer_split.scenarios import scenario
from mbrl_split.llm import SplitModel

SIDE = 3072  # of the large matrix product


def peak_bytes(model: str) -> int:
    """Peak resident memory of this process after one evaluation."""
    oracle = PerplexityOracle.load(model, "equalised")
    oracle.measure([[1, 0.5, 2.0]], seeds=[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def suffix_operations(model: SplitModel, split: int, batch: int, tokens: int) -> float:
    """Operations of the layers above the split and of the head, for a batch of windows."""
    weights = sum(p.numel() for layer in model.stack.layers[split:] for p in layer.parameters() if p.ndim == 2)
    head = model.vocab_size * model.hidden_size
    # Scores and values: 2·T²·d each and layer. All T² are computed; a kernel that skips the masked half does less.
    attention = 2 * (model.n_layers - split) * tokens * tokens * model.hidden_size
    return 2.0 * batch * (tokens * (weights + head) + attention)


def rates(name: str, rounds: int) -> dict[str, float]:
    """Operations per second of the suffix at split 1 and of a large product, and the median of their ratio."""
    torch.set_num_threads(1)
    model, problem = SplitModel.load(name), scenario("equalised")
    ids = torch.randint(model.vocab_size, (problem.windows, problem.window), generator=torch.Generator().manual_seed(0))
    sent = model.prefix(ids)[1]
    a, b = (torch.from_numpy(np.random.default_rng(i).standard_normal((SIDE, SIDE), np.float32)) for i in (0, 1))

    def suffix() -> float:
        began = time.perf_counter()
        model.suffix(sent, 1)
        return suffix_operations(model, 1, problem.windows, problem.window) / (time.perf_counter() - began)

    def product() -> float:
        began = time.perf_counter()
        a @ b
        return 2.0 * SIDE**3 / (time.perf_counter() - began)

    suffix(), product()
    pairs = [(suffix(), product()) for _ in range(rounds)]
    return {
        "suffix_gflops": round(statistics.median(s for s, _ in pairs) / 1e9, 1),
        "product_gflops": round(statistics.median(p for _, p in pairs) / 1e9, 1),
        "ratio": round(statistics.median(s / p for s, p in pairs), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="smollm2-135m")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results" / "performance")
    parser.add_argument("--peak-only", action="store_true", help="print the peak of this process and stop")
    args = parser.parse_args()
    if args.peak_only:
        print(peak_bytes(args.model))
        return
    alone = subprocess.run(
        [sys.executable, __file__, args.model, "--peak-only"], check=True, capture_output=True, text=True
    )
    result = {
        "command": f"python benchmarks/performance/memory.py {args.model} --rounds {args.rounds}",
        "model": args.model,
        "torch": torch.__version__,
        "load_average": round(os.getloadavg()[0], 2),
        "peak_gigabytes": round(int(alone.stdout.split()[-1]) / 1e9, 2),
        "one_thread": rates(args.model, args.rounds),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / f"memory-{args.model}.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
