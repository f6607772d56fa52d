"""A suite's throughput with two jobs against one, the seconds of resuming a finished one, and twenty kills.

    python benchmarks/performance/suites.py [--suite YAML] [--options "…"] [--kills 20] [--out DIR]

The suite is run three times in fresh folders: with one job, with two, and with two jobs while the parent or one of its
workers is killed (SIGKILL) at random moments and the command is given again. A kill loses a run that was finished if
its result changes or vanishes, and truth if the store holds fewer measurements than before, or if a measurement is
taken twice: the store of an undisturbed run holds exactly as many. At the end all results equal those of the first
folder but for wall-clock.

What two jobs could reach at most is measured too: the command with one job, twice at once in folders of their own. Two
threads of one core, or a shared cache, leave less than twice the work even to processes that know nothing of each
other.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shlex
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mbrl_split.bench.printed import quotient

CLOCKS = {"oracle_seconds", "train_seconds", "wall_seconds", "seconds"}


def command(suite: Path, out: Path, jobs: int, options: list[str]) -> list[str]:
    run = "from mbrl_split.cli import main; main()"
    return [sys.executable, "-c", run, "bench", "run", str(suite), "--out", str(out), "--jobs", str(jobs), *options]


def timed(call: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(call, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def side_by_side(calls: list[list[str]]) -> float:
    """Seconds until commands that were started together have all ended."""
    began = time.perf_counter()
    running = [subprocess.Popen(c, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for c in calls]
    ended = [process.wait() for process in running]
    if any(ended):
        raise SystemExit("a suite failed beside another")
    return time.perf_counter() - began


def finished(out: Path) -> dict[str, str]:
    """Results of finished runs, without wall-clock, by folder."""
    done = sorted(out.glob("runs/*/DONE"))
    return {d.parent.name: json.dumps(timeless(json.loads((d.parent / "result.json").read_text()))) for d in done}


def timeless(x: Any) -> Any:
    if isinstance(x, dict):
        return {k: timeless(v) for k, v in x.items() if k not in CLOCKS}
    return [timeless(v) for v in x] if isinstance(x, list) else x


def measurements(out: Path) -> int:
    store = out / "measurements.sqlite"
    if not store.is_file():
        return 0
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as connection:
        return int(connection.execute("select count(*) from measurement").fetchone()[0])


def workers(parent: int) -> list[int]:
    """Its descendants that run Python."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid"], check=True, capture_output=True, text=True).stdout.split("\n")[
        1:
    ]
    children: dict[int, list[int]] = {}
    for line in listed:
        if line.strip():
            pid, ppid = map(int, line.split())
            children.setdefault(ppid, []).append(pid)
    found, waiting = [], [parent]
    while waiting:
        mine = children.get(waiting.pop(), [])
        found += mine
        waiting += mine
    return found


def killed(call: list[str], out: Path, kills: int, longest: float, rng: random.Random) -> dict[str, Any]:
    """Run the suite to its end, killed ``kills`` times on the way (or as often as it lives long enough)."""
    struck = {"parent": 0, "worker": 0}
    while True:
        process = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0)
        if sum(struck.values()) == kills:
            process.communicate()
            return struck
        try:
            process.wait(rng.uniform(0.3 * longest, longest))
            return struck
        except subprocess.TimeoutExpired:
            pass
        before, rows = finished(out), measurements(out)
        alive = workers(process.pid)
        victim = "worker" if alive and rng.random() < 0.5 else "parent"
        os.kill(rng.choice(alive) if victim == "worker" else process.pid, signal.SIGKILL)
        struck[victim] += 1
        print(struck, len(before), flush=True)
        if victim == "worker":  # the parent says so and ends, or goes on
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=longest)
        # Whoever is left would go on working beside the next start.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        after = finished(out)
        lost = [name for name in before if after.get(name) != before[name]]
        if lost or measurements(out) < rows:
            raise SystemExit(f"lost: {lost or 'measurements'}")


def measured(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The times of one job, of the same again, of two jobs, and of one job twice at once."""
    one, two = folder / "one", folder / "two"
    found: dict[str, Any] = {"suite": options.suite.name, "options": " ".join(options.options)}
    found["one_job_seconds"] = timed(command(options.suite, one, 1, options.options))
    found["runs"] = len(finished(one))
    found["resume_seconds"] = timed(command(options.suite, one, 1, options.options))
    found["two_jobs_seconds"] = timed(command(options.suite, two, 2, options.options))
    found["throughput_ratio"] = found["one_job_seconds"] / found["two_jobs_seconds"]
    twins = [command(options.suite, folder / name, 1, options.options) for name in ("left", "right")]
    found["side_by_side_seconds"] = side_by_side(twins)
    found["machine_ratio"] = 2 * found["one_job_seconds"] / found["side_by_side_seconds"]
    found["equal_with_two_jobs"] = finished(one) == finished(two)
    return found


def markdown(found: dict[str, Any]) -> str:
    """What was measured, and what it says of a larger suite."""
    one, two, beside = (
        f"{found[name]:.1f}" for name in ("one_job_seconds", "two_jobs_seconds", "side_by_side_seconds")
    )
    each = quotient(one, str(found["runs"]), ".1f")
    wall = quotient(f"{1000 * float(each):.0f}", "64", ".0f")
    call = f'python benchmarks/performance/suites.py --options="{found["options"]}"'
    lines = [
        f"{found['runs']} runs of `{found['suite']}`, by `{call}`; "
        "the kills, which take longer, by a call of their own:",
        "",
        "| | |",
        "|---|---:|",
        f"| one job | {one} s |",
        f"| two jobs on two cores | {two} s, {quotient(one, two, '.2f')} times as fast |",
        f"| one job, twice at once in folders of their own | {beside} s for twice the work, "
        f"{quotient(f'{2 * float(one):.1f}', beside, '.2f')} times as fast |",
        f"| the finished suite again, interpreter and report included | {found['resume_seconds']:.1f} s |",
    ]
    if struck := found.get("kills"):
        lines += [
            f"| killed | {struck['parent']} times the parent, {struck['worker']} times a worker |",
            f"| results equal those of one undisturbed job | {'yes' if found['equal_after_kills'] else 'no'} |",
        ]
    lines += [
        "",
        f"At that price, {each} s a run, a thousand runs on 64 workers would keep them busy for {wall} s each.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", type=Path, default=Path("benchmarks/rl_vs_mbrl.yaml"))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--longest", type=float, default=12.0, help="seconds from start to kill, at most")
    parser.add_argument("--options", type=shlex.split, default=[], help="further options of the suite's command")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        one, torn = Path(folder) / "one", Path(folder) / "torn"
        found = measured(options, Path(folder))
        if options.kills:
            again = command(options.suite, torn, 2, options.options)
            found["kills"] = killed(again, torn, options.kills, options.longest, random.Random(0))
            found["equal_after_kills"] = finished(one) == finished(torn)
            found["measurements"] = {"undisturbed": measurements(one), "after_kills": measurements(torn)}
    print(json.dumps(found, indent=1))
    if options.out is not None:
        if not options.kills and (options.out / "suites.json").is_file():  # times alone: the kills of an earlier call
            found = json.loads((options.out / "suites.json").read_text()) | found
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "suites.json").write_text(json.dumps(found, indent=1) + "\n")
        (options.out / "suites.md").write_text(markdown(found))


if __name__ == "__main__":
    main()
