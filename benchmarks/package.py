"""What the package weighs, and what importing it costs beside Gymnasium.

    python benchmarks/package.py WHEEL --out benchmarks/results

Processor time of fresh interpreters, A B A B: `import gymnasium`, then the same with `import mbrl_split`. Run it in an
environment that the wheel was installed into, away from the checkout.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

PAIRS = 15
PROBE = "import time, sys; {}; print(time.process_time(), 'torch' in sys.modules)"


def seconds(statement: str) -> tuple[float, bool]:
    """Processor seconds of a fresh interpreter up to the end of a statement, and whether torch was loaded."""
    command = [sys.executable, "-c", PROBE.format(statement)]
    time, torch = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(time), torch == "True"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    pairs = [(seconds("import gymnasium")[0], seconds("import gymnasium, mbrl_split")) for _ in range(PAIRS)]
    assert not any(torch for _, (_, torch) in pairs), "importing mbrl_split loads torch"
    extra = sorted(1e3 * (both - alone) for alone, (both, _) in pairs)
    parts: dict[str, int] = {}
    with zipfile.ZipFile(args.wheel) as wheel:
        for member in wheel.infolist():
            path = member.filename.split("/")
            folder = path[2] if path[1] == "data" and len(path) > 3 else "code"
            parts[folder] = parts.get(folder, 0) + member.compress_size
    found: dict[str, Any] = {
        "wheel": args.wheel.name,
        "wheel_bytes": args.wheel.stat().st_size,
        "compressed_bytes": parts,
        "import_gymnasium_ms": 1e3 * statistics.median(alone for alone, _ in pairs),
        "extra_ms": {"quartiles": statistics.quantiles(extra, n=4), "pairs": PAIRS},
        "python": platform.python_version(),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "package.json").write_text(json.dumps(found, indent=1) + "\n")
    shares = ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in sorted(parts.items()))
    low, middle, high = found["extra_ms"]["quartiles"]
    lines = [
        "# The package",
        "",
        f"The wheel is {found['wheel_bytes'] / 1e6:.1f} MB: {shares}.",
        "",
        f"Importing it takes {middle:.0f} ms of processor time more than `import gymnasium` alone "
        f"({found['import_gymnasium_ms']:.0f} ms): the median of {PAIRS} pairs of fresh interpreters, half of them "
        f"between {low:.0f} and {high:.0f}. It loads no torch.",
        "",
        "`pip wheel --no-deps . && python benchmarks/package.py mbrl_split-*.whl --out benchmarks/results`",
    ]
    (args.out / "package.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
