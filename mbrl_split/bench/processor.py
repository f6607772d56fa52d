"""What the last digits of a result depend on besides seed and versions: the processor, and the code chosen for it."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info


def kernels() -> str:
    """The code that numpy multiplies and takes functions by, for instance ``"OpenBLAS SkylakeX, numpy X86_V4"``.

    Both are chosen by the processor and round differently in the last bit, which changes the path of a training.
    """
    home = Path(np.__file__).parents[1] / "numpy.libs"  # scipy brings a library of its own
    blas = [i for i in threadpool_info() if i["user_api"] == "blas" and Path(i["filepath"]).parent == home]
    products = f"OpenBLAS {blas[0]['architecture']}" if blas and "architecture" in blas[0] else "another BLAS"
    simd: Any = np.show_config(mode="dicts")
    found = [*simd["SIMD Extensions"].get("baseline", ()), *simd["SIMD Extensions"].get("found", ())]
    # Levels of the instruction set; what comes on top of the last one serves integers and sorting.
    levels = [name for name in found if name.startswith("X86_V")] or found
    return f"{products}, numpy {levels[-1] if levels else 'plain'}"


def processor() -> str:
    """The processor's name, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
