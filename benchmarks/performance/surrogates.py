"""How fast surrogates learn and answer: each claim of the docs as a ratio, both sides in turn (A B A B), one thread.

    python benchmarks/performance/surrogates.py [--rounds 9] [--out FOLDER]

1. An ensemble of five as one batched product against the same five networks one after the other: training at small
   batches, predicting few and many rows.
2. Updating a Gaussian process of 500 rows against fitting it.
3. A tabulated surrogate: one row, and 10,000.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern, WhiteKernel

from mbrl_split.columns import Column
from mbrl_split.surrogates import GPSurrogate, TabulatedSurrogate
from mbrl_split.surrogates.gp_search import BOUNDS, JITTER, START
from mbrl_split.surrogates.network import StackedNetwork, train

Array = NDArray[np.float64]

COLUMNS = (
    Column("split", "layers", 1, 11, "ordinal"),
    Column("noise", "RMS", 0.03, 3.0, "log"),
    Column("m", "1", 0.5, 8.0, "log"),
)
MEMBERS, SIZES = 5, [3, 128, 128, 2]


def rows(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = np.column_stack([c.sample(n, rng) for c in COLUMNS])
    return X, 3 * X[:, 1] / (0.5 + X[:, 1]) * np.exp(-0.1 * X[:, 0]) * (1 + 0.1 * rng.standard_normal(n))


def in_turn(a: Callable[[], object], b: Callable[[], object], rounds: int, repeat: int = 1) -> dict[str, float]:
    """Processor seconds of each side (medians) and the median over rounds of b's over a's."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for side in (a, b):
        side()  # warm up
    for _ in range(rounds):
        for side, kept in zip((a, b), seconds, strict=True):
            began = time.process_time()
            for _ in range(repeat):
                side()
            kept.append((time.process_time() - began) / repeat)
    ratio = statistics.median(y / x for x, y in zip(*seconds, strict=True))
    return {"seconds": statistics.median(seconds[0]), "peer_seconds": statistics.median(seconds[1]), "ratio": ratio}


def ensemble_training(batch: int, rounds: int) -> dict[str, float]:
    x, z = np.random.default_rng(0).standard_normal((512, 3)), np.random.default_rng(1).standard_normal(512)
    counts = np.random.default_rng(2).poisson(1.0, (MEMBERS, 512)).astype(float)
    settings = {"loss": "beta-nll", "steps": 100, "learning_rate": 1e-3, "weight_decay": 1e-3, "seed": 0}

    def together() -> None:
        network = StackedNetwork(MEMBERS, SIZES, seed=0)
        train(network, x, z, counts, (counts == 0) * 1.0, batch_size=batch, patience=10**6, **settings)

    def one_by_one() -> None:
        for k in range(MEMBERS):
            w = counts[k : k + 1]
            train(
                StackedNetwork(1, SIZES, seed=k), x, z, w, (w == 0) * 1.0, batch_size=batch, patience=10**6, **settings
            )

    return in_turn(together, one_by_one, rounds)


@torch.no_grad()
def ensemble_prediction(n: int, rounds: int) -> dict[str, float]:
    """Against plain torch modules of the same shape, the fastest way to ask networks one after the other."""
    stacked, c = StackedNetwork(MEMBERS, SIZES, seed=0), np.random.default_rng(0).standard_normal((n, 3))
    modules = []
    for k in range(MEMBERS):
        layers: list[torch.nn.Module] = []
        for weight, bias in zip(stacked.weights, stacked.biases, strict=True):
            linear = torch.nn.Linear(weight.shape[1], weight.shape[2])
            linear.weight.copy_(weight[k].T)
            linear.bias.copy_(bias[k, 0])
            layers += [linear, torch.nn.SiLU()]
        modules.append(torch.nn.Sequential(*layers[:-1]).eval())

    def one_by_one() -> np.ndarray:
        x = torch.from_numpy(c.astype(np.float32))
        return torch.stack([m(x) for m in modules]).numpy().astype(np.float64)

    np.testing.assert_allclose(stacked.answer(c), one_by_one(), rtol=1e-3, atol=1e-4)
    return in_turn(lambda: stacked.answer(c), one_by_one, rounds, max(1, 20_000 // n))


def gp_update(rounds: int) -> dict[str, float]:
    X, y = rows(500)
    fitted = GPSurrogate().fit(X[:-10], y[:-10], columns=COLUMNS)
    before = vars(fitted).copy()

    def update() -> None:
        vars(fitted).update(before)
        fitted.update(X[-10:], y[-10:])

    return in_turn(update, lambda: GPSurrogate().fit(X, y, columns=COLUMNS), rounds)


def by_scikit_learn(c: Array, z: Array, known: Array) -> Array:
    """What :func:`by_scipy` searches, by scikit-learn; its start, bounds and answer are the same."""
    d = c.shape[1]
    kernel = (
        ConstantKernel(START["amplitude"], BOUNDS["amplitude"])
        * Matern(np.full(d, START["scale"]), BOUNDS["scale"], nu=2.5)
        + ConstantKernel(START["trend"], BOUNDS["trend"]) * DotProduct(1.0, "fixed")
        + WhiteKernel(START["noise"], BOUNDS["noise"])
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a hyper-parameter at its bound is an answer
        fitted = GaussianProcessRegressor(kernel, alpha=known + JITTER).fit(c, z).kernel_
    smooth, trend, white = fitted.k1.k1, fitted.k1.k2, fitted.k2
    scales = np.broadcast_to(smooth.k2.length_scale, d)
    return np.array([smooth.k1.constant_value, trend.k1.constant_value, *scales, white.noise_level])


class ScikitLearnGP(GPSurrogate):
    """Ours, but for who searches the hyper-parameters."""

    def _search(self, c: Array, z: Array, known: Array) -> Array:
        return by_scikit_learn(c, z, known)


def gp_search(rounds: int) -> dict[str, float]:
    """A fit, its hyper-parameters by the closed-form gradient, against the same fit by scikit-learn."""
    X, y = rows(500)
    ours, theirs = GPSurrogate(), ScikitLearnGP()
    return in_turn(lambda: ours.fit(X, y, columns=COLUMNS), lambda: theirs.fit(X, y, columns=COLUMNS), rounds)


def tabulated(rounds: int) -> dict[str, float]:
    X, y = rows(200)
    table = TabulatedSurrogate(GPSurrogate()).fit(X, y, columns=COLUMNS)
    many, one = rows(10_000, 1)[0], rows(1, 2)[0]
    found = in_turn(lambda: table.predict(one), lambda: table.predict(many), rounds, 50)
    return {"one_row_seconds": found["seconds"], "ten_thousand_rows_seconds": found["peer_seconds"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, dict[str, float]] = {}
    for batch in (32, 64, 256):
        found[f"ensemble training, batch {batch}"] = ensemble_training(batch, options.rounds)
    for n in (1, 32, 10_000):
        found[f"ensemble prediction, {n} rows"] = ensemble_prediction(n, options.rounds)
    found["GP fit, 500 rows"] = gp_search(max(3, options.rounds // 3))
    found["GP update against fit, 500 rows"] = gp_update(max(3, options.rounds // 3))
    found["tabulated"] = tabulated(options.rounds)
    for name, figures in found.items():
        print(f"{name:36s} " + "  ".join(f"{key} {value:.3g}" for key, value in figures.items()))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "surrogates.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
