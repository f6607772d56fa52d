"""Importing the package is cheap."""

import statistics
import subprocess
import sys

PROBE = "import time, sys; {}; print(time.process_time(), 'torch' in sys.modules, 'mbrl_split.envs' in sys.modules)"


def imported(names: str) -> list[str]:
    """Processor seconds of a fresh interpreter after an import, and whether torch and a room were loaded."""
    command = [sys.executable, "-c", PROBE.format(f"import {names}")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_the_import_costs_at_most_50_ms_over_gymnasium_and_loads_no_torch() -> None:
    extra = []
    for _ in range(5):
        alone, (both, *loaded) = imported("gymnasium")[0], imported("gymnasium, mbrl_split")
        extra.append(float(both) - float(alone))
        assert loaded == ["False", "False"]
    assert statistics.median(extra) < 0.05


def test_the_probe_would_see_torch() -> None:
    assert imported("torch")[1] == "True"
