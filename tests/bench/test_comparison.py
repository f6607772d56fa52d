"""Prices and duels from made-up rows, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mbrl_split.bench.comparison import duels, on_surrogate, on_truth, prices, subject, without_rl
from mbrl_split.bench.results import summarise
from tests.bench.test_report import ORDER, RUNS, run


def rows(*more: dict) -> list[dict]:
    return summarise([*RUNS, *more], ORDER)


def named(found: list) -> dict:
    return {f.algorithm: f for f in found}


def test_a_price_is_the_median_over_seeds_and_never_counts_as_infinite() -> None:
    found = prices(rows())
    assert [p.algorithm for p in found] == ["ppo-true", "ppo-mlp", "argmax-mlp"]  # none is cheaper than the rest
    ppo = named(found)["ppo-mlp"]
    assert (ppo.held, ppo.seeds) == (1, 3)
    assert np.isinf(ppo.evaluations)
    curves = [[(50, 0.5), (70, 0.09), (100, 0.05)], [(40, 0.09), (100, 0.2), (150, 0.1)], [(60, 0.01)]]
    cheap = prices(rows(*(run("gp", s, c, agent="argmax", source="gp") for s, c in enumerate(curves))))[0]
    assert cheap.algorithm == "gp"
    assert cheap.held == 3
    assert cheap.evaluations == 70  # of 70, 150 (40 did not hold) and 60
    assert cheap.seconds == pytest.approx(70 / 10 + 1)


def test_kinds_tell_rl_from_what_does_without() -> None:
    baseline = run("sb3-ppo", 0, [(9, 0.3)], baseline="sb3")
    baseline["spec"]["algorithm"]["settings"] = {"baseline": {"agent": "ppo"}}
    authors = run("authors", 0, [(9, 0.6)], baseline="authors_setup", source="mlp")
    authors["spec"]["algorithm"]["settings"] = {"baseline": {"agent": {}}}
    knn = run("knn", 0, [(9, 0.4)], baseline="knn")
    planner = run("planner", 0, [(9, 0.05)], agent="planner", source="gp")
    bandit = run("linucb", 0, [(9, 0.05)], agent="linucb", source="oracle")
    found = {r["algorithm"]: r for r in rows(baseline, authors, knn, planner, bandit)}
    assert [n for n, r in found.items() if on_truth(r)] == ["ppo-true", "sb3-ppo"]
    assert [n for n, r in found.items() if on_surrogate(r)] == ["ppo-mlp", "authors", "planner"]
    assert [n for n, r in found.items() if without_rl(r)] == ["argmax-mlp", "knn", "linucb"]
    best = subject(list(found.values()))
    assert best is not None
    assert best["algorithm"] == "planner"
    assert subject(rows()[:2]) is None


def test_duels_pair_by_seed_and_call_ties_ties() -> None:
    rng = np.random.default_rng(0)
    ours = rng.uniform(0.05, 0.1, 10)
    made = [run("ours", s, [(9, ours[s])], agent="ppo", source="gp") for s in range(10)]
    made += [run("worse", s, [(9, ours[s] + 0.1 + 0.01 * s)], baseline="knn") for s in range(10)]
    made += [run("same", s, [(9, ours[s] + 0.01 * (-1) ** s)], baseline="knn") for s in reversed(range(10))]
    made += [run("better", s, [(9, ours[s] / 2)], baseline="knn") for s in range(8)]
    made += [run("few", s, [(9, ours[s] + 1.0)], baseline="knn") for s in range(3)]
    made += [run("alone", 0, [(9, 0.5)], baseline="knn")]
    all_rows = summarise(made, [])
    against = next(r for r in all_rows if r["algorithm"] == "ours")
    found = named(duels(all_rows, against))
    assert {n: d.verdict for n, d in found.items()} == {
        "worse": "better",
        "same": "tie",
        "better": "worse",
        "few": "too few seeds",
    }  # and one seed is no comparison
    # Differences .10 … .19: the interquartile mean drops two of ten at either end.
    assert found["worse"].difference.value == pytest.approx(np.mean(0.1 + 0.01 * np.arange(2, 8)))
    assert found["worse"].difference.low is not None
    assert found["better"].difference.low is None  # eight seeds make no interval
    assert found["worse"].p == pytest.approx(4 * 2 / 2**10)  # all signs alike, the smallest of four
    assert found["worse"].improvement == 1.0
