"""What the README's first commands take: a clone, `make venv`, `make demo`; minutes, disk, memory.

    python benchmarks/footprint.py --out benchmarks/results

A fresh clone of the last commit in a temporary folder, as a reader begins. Memory is the proportional share (PSS) of
all processes of a command together, looked at a few times a second; Linux only. Minutes are those of the clock, and
depend on what else the machine does: the processor's minutes stand beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
VERSIONS = """
import json, platform, torch
print(json.dumps({"python": platform.python_version(), "torch": torch.__version__}))
"""
PAUSE = 0.2  # seconds between two looks at the memory


def watched(command: list[str], folder: Path) -> dict[str, float]:
    """Seconds, processor seconds and the largest memory (bytes) of a command and all that it starts."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = psutil.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(map(memory, tree(process))))
        time.sleep(PAUSE)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": time.perf_counter() - began,
        "processor_seconds": sum(getattr(after, name) - getattr(before, name) for name in ("ru_utime", "ru_stime")),
        "peak_bytes": float(peak),
    }


def tree(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def memory(process: psutil.Process) -> int:
    """The proportional share of one process; 0 of one that has just ended."""
    try:
        return int(process.memory_full_info().pss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


def size(folder: Path) -> int:
    """Bytes on the disk, links counted once and not followed."""
    found = {(s.st_dev, s.st_ino): s.st_blocks * 512 for p in folder.rglob("*") if (s := p.lstat())}
    return sum(found.values())


def measured() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "mbrl_split"
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(clone)], check=True)
        found: dict[str, Any] = {
            "system": platform.system(),
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "load_average_before": os.getloadavg()[0],
            "clone": {"disk_bytes": size(clone)},
        }
        for target, made in (("venv", ".venv"), ("demo", "runs/demo")):
            found[target] = watched(["make", target], clone)
            found[target]["disk_bytes"] = size(clone / made)
        versions = subprocess.check_output([clone / ".venv/bin/python", "-c", VERSIONS], text=True)
        return found | json.loads(versions)


def markdown(found: dict[str, Any]) -> str:
    """What a reader wants to know before the first command."""
    venv, demo = found["venv"], found["demo"]
    disk = f"{(found['clone']['disk_bytes'] + venv['disk_bytes'] + demo['disk_bytes']) / 1e9:.1f} GB of disk"
    peak = max(venv["peak_bytes"], demo["peak_bytes"])
    minutes = [
        f"{target['seconds'] / 60:.1f} minutes ({target['processor_seconds'] / 60:.1f} of processor time)"
        for target in (venv, demo)
    ]
    python = found["python"].rpartition(".")[0]
    busy = ", which did other work too," if found["load_average_before"] > 0.5 * found["cores"] else ""
    where = f"{found['system']} ({found['machine']}), {found['cores']} cores{busy}"
    text = (
        f"The first `make demo` installs into `.venv` for {minutes[0]}, then runs for {minutes[1]}; "
        f"it takes {disk} and {peak / 1e9:.1f} GB of memory. Measured on {where} with Python {python} and "
        f"PyTorch {found['torch']} by `python benchmarks/footprint.py --out benchmarks/results`. PyTorch's default "
        "build for Linux brings CUDA libraries, some gigabytes more. No other platform has been tried."
    )
    return textwrap.fill(text, 118, break_on_hyphens=False) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    found = measured()
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "footprint.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (args.out / "footprint.md").write_text(markdown(found), encoding="utf-8")
    print(markdown(found))


if __name__ == "__main__":
    main()
