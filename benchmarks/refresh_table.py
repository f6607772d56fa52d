"""Schedules against acquisitions, from the finished runs of refresh.yaml.

    mbrl-split bench run benchmarks/refresh.yaml --out runs/refresh
    python benchmarks/refresh_table.py runs/refresh/summary.json --out benchmarks/results/refresh

Writes ``crossed.md``: each acquisition and each schedule averaged over the other, as its mean difference from the grand
mean within each seed, with a 95 % interval by Student's t over seeds; then, per problem, the regret of every
combination (IQM over seeds).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from mbrl_split.bench.results import fixed_regret


@dataclass(frozen=True)
class Cube:
    """Regrets of one problem, shape (schedules, acquisitions, seeds), over the seeds that all combinations share.

    All are in headrooms, for the problems to be compared; where the headroom is known badly the page says how badly.
    """

    problem: str
    headroom: str
    schedules: list[str]
    acquisitions: list[str]
    regret: np.ndarray
    paid: dict[str, float]
    never: str

    @classmethod
    def of(cls, problem: str, reference: dict[str, Any], rows: list[dict[str, Any]]) -> Cube:
        fixed, _ = fixed_regret(reference)
        headroom = f"{reference['headroom']:.3f} ± {reference['headroom_std_error']:.3f}"
        crossed = {(r["schedule"], r["acquisition"]): r for r in rows if r["acquisition"] is not None and "regret" in r}
        schedules = list(dict.fromkeys(s for s, _ in crossed))
        acquisitions = list(dict.fromkeys(a for _, a in crossed))
        missing = [f"{s}-{a}" for s in schedules for a in acquisitions if (s, a) not in crossed]
        if missing:
            raise SystemExit(f"{problem}: not run yet: {', '.join(missing)}")
        named = {k: dict(zip(r["regret_seeds"], r["regret_by_seed"], strict=True)) for k, r in crossed.items()}
        seeds = sorted(set.intersection(*(set(found) for found in named.values())))
        regret = np.array([[[named[s, a][k] for k in seeds] for a in acquisitions] for s in schedules]) / fixed
        paid = {s: float(np.mean([crossed[s, a]["true_evaluations"] for a in acquisitions])) for s in schedules}
        never = next((r for r in rows if r["schedule"] == "never"), None)
        said = "" if never is None else f" `never`: {never['regret'] / fixed:.3f} with {never['true_evaluations']:.0f}."
        return cls(problem, headroom, schedules, acquisitions, regret, paid, said)

    def effects(self, axis: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean difference from the mean of all and half its interval, of each schedule (0) or acquisition (1)."""
        values = self.regret.mean(axis=1 - axis)
        centred = values - values.mean(axis=0)
        n = centred.shape[1]
        return centred.mean(axis=1), stats.t.ppf(0.975, n - 1) * centred.std(axis=1, ddof=1) / np.sqrt(n)

    def matrix(self) -> list[str]:
        """The regret of every combination, folded away."""
        n = self.regret.shape[2]
        ranked = np.sort(self.regret, axis=2)[..., n // 4 : n - n // 4].mean(axis=2)
        lines = [
            f'??? note "{self.problem.replace("`", "")}: every combination"',
            "",
            f"    Regret (IQM of {n} seeds; 1 is the headroom of {self.headroom}).{self.never}",
            "",
            "    | | " + " | ".join(f"`{a}`" for a in self.acquisitions) + " | true evaluations |",
            "    |---" + "|---:" * (len(self.acquisitions) + 1) + "|",
        ]
        for schedule, row in zip(self.schedules, ranked, strict=True):
            cells = " | ".join(f"{x:.3f}" for x in row)
            lines.append(f"    | `{schedule}` | {cells} | {self.paid[schedule]:.0f} |")
        return [*lines, ""]


def effects(cubes: list[Cube], kind: str, names: list[str], axis: int) -> list[str]:
    """One line per name, the best first: its effect in each problem, and on the mean of the problems."""
    found = [c.effects(axis) for c in cubes]
    mean = np.mean([m for m, _ in found], axis=0)
    lines = [f"| {kind} | " + " | ".join(c.problem for c in cubes) + " |", "|---" + "|---:" * len(cubes) + "|"]
    for i in np.argsort(mean):
        lines.append(f"| `{names[i]}` | " + " | ".join(f"{m[i]:+.3f} ± {h[i]:.3f}" for m, h in found) + " |")
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("summary", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    summary = json.loads(args.summary.read_text(encoding="utf-8"))
    cubes = []
    for problem, reference in summary["references"].items():
        scenario, model = problem.split("/")
        rows = [r for r in summary["rows"] if (r["scenario"], r["model"]) == (scenario, model)]
        cubes.append(Cube.of(f"{scenario} `{model}`", reference, rows))
    first = cubes[0]
    lines = [
        f"`{summary['command']}`",
        "",
        "Regret less the mean of all combinations, averaged over the other part, ± half the 95 % interval over seeds:",
        "",
        *effects(cubes, "acquisition", first.acquisitions, axis=1),
        *effects(cubes, "schedule", first.schedules, axis=0),
    ]
    for cube in cubes:
        lines += cube.matrix()
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "crossed.md").write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
