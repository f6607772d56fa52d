"""Stored results under new names: after a change that renames settings or fields and no number.

    python benchmarks/migrate_results.py REVISION [FOLDER ...]

A published run is known by the name of its folder, which holds a digest of all that its result depends on, names of
settings included. For every folder of published results this lists the runs of its command as the suite of the given
revision has them, and as today's suite has them, and gives each published run the name of today's run of the same
problem, row and seed. Rows whose results a change does touch must be run again: the script cannot know, whoever calls
it must. Published runs that the old suite does not list (of rows that have changed before) keep their old names.

The first migration also brought the words of before the house was divided up to date (see ``NEW_WORDS``).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from mbrl_split.bench.results import write_text

RESULTS = Path(__file__).parent / "results"
LIST = """
import json, sys
from mbrl_split.bench import load_suite
suite = load_suite(sys.argv[1], sys.argv[2:])
label = lambda c: c.posed.label if hasattr(c, "posed") else f"{c.scenario}/{c.model}"
print(json.dumps([[label(c), c.algorithm.algorithm, c.seed, c.folder] for c in suite.cells()]))
"""
NEW_WORDS = {
    r"\brounds: ": "refresh_batches: ",
    r"\bparts: ": "sequential_parts: ",
    r"\btokens: (?=\d)": "size: ",
}
PICTURE = {"splits": "x", "levels": "lines", "nll": "y", "std_error": "std_error"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "revision", help="the last revision whose suites list the published runs by their present names"
    )
    parser.add_argument("folders", nargs="*", type=Path, help="folders of published results (default: all)")
    chosen = parser.parse_args()
    folders = [f.resolve() for f in chosen.folders] or sorted(f.parent for f in RESULTS.glob("*/results.parquet"))
    root = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as folder:
        before = Path(folder) / "before"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", before, chosen.revision], cwd=root, check=True)
        try:
            for results in folders:
                print(f"{results.name}: {migrate(results, before, root)}", flush=True)
                for suite in results.glob("*.yaml"):
                    write_text(suite, renamed(suite.read_text(encoding="utf-8")))
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", before], cwd=root, check=True)


def migrate(folder: Path, before: Path, root: Path) -> str:
    """Rename the runs of one folder of results; says how many."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    old, new = runs_of(summary["command"], before), runs_of(summary["command"], root)
    names = {old[key]: new[key] for key in old.keys() & new.keys()}
    points = pd.read_parquet(folder / "results.parquet")
    known = points["run"].isin([*names, *names.values()])
    points["run"] = points["run"].replace(names)
    if "problem" not in points:
        points.insert(0, "problem", points["scenario"] + "/" + points["model"])
    partial = folder / "results.parquet.partial"
    points.to_parquet(partial, index=False)
    partial.replace(folder / "results.parquet")
    summary["references"] = {name: reference(said) for name, said in summary["references"].items()}
    summary["units"] = dict.fromkeys(summary["references"], "true evaluation")
    summary["rows"] = [row(said, names, points) for said in summary["rows"]]
    write_text(folder / "summary.json", json.dumps(summary, indent=1) + "\n")
    runs = points["run"].nunique()
    return f"{runs} runs, {points.loc[known, 'run'].nunique()} of them in today's suite"


def runs_of(command: str, tree: Path) -> dict[tuple[str, str, int], str]:
    """The runs that a command has in a tree: (problem, row, seed) to the folder's name."""
    words = shlex.split(command)
    suite = words[words.index("run") + 1]
    assignments = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    # All seeds that may have been published, whatever number the last command named.
    assignments = [a for a in assignments if not a.startswith("seeds=")] + ["seeds=20"]
    done = subprocess.run(
        [sys.executable, "-c", LIST, suite, *assignments],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=True,
    )
    return {(problem, row, seed): folder for problem, row, seed, folder in json.loads(done.stdout)}


def reference(said: dict[str, Any]) -> dict[str, Any]:
    """What a judge said of itself, in today's words."""
    if "best_fixed_split" not in said:
        return said
    from mbrl_split.layer_split.judging.about import PROTOCOL

    new = {"half": "judge"} | {k: v for k, v in said.items() if k not in ("best_fixed_split", "landscape")}
    new |= {"best_fixed_action": said["best_fixed_split"], "action_word": "split", "truth": PROTOCOL}
    if (old := said.get("landscape")) is not None:
        new["picture"] = {
            "name": "damage",
            **{now: old[then] for then, now in PICTURE.items()},
            "level": {"value": old["clean"], "label": "no channel"},
            "x_label": "split: layers on the phone",
            "y_label": "NLL through the channel (nats/token)",
            "lines_label": old["unit"],
            "caption": f"What the channel does at every split, measured (bars: 95 % intervals). {old['caption']}",
        }
    return new


def row(said: dict[str, Any], names: dict[str, str], points: pd.DataFrame) -> dict[str, Any]:
    """One row of the table, in today's words."""
    new = {"problem": f"{said['scenario']}/{said['model']}", **said, "runs": [names.get(r, r) for r in said["runs"]]}
    if "regret" in said:
        mine = points[(points["problem"] == new["problem"]) & (points["algorithm"] == said["algorithm"])]
        last = mine.groupby("seed")["value"].last()
        new |= {"score": "regret", "value_by_seed": [float(last[seed]) for seed in said["regret_seeds"]]}
    return new


def renamed(text: str) -> str:
    """A suite's text in today's words."""
    for old, new in NEW_WORDS.items():
        text = re.sub(old, new, text)
    return text


if __name__ == "__main__":
    main()
