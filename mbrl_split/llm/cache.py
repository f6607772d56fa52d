"""Where fetched models lie: the user's cache."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mbrl_split.errors import InvalidInputError
from mbrl_split.registry import unknown

FETCHABLE = ("smollm2-135m",)
"""Models that `fetch` brings without a model hub."""


def cache_folder() -> Path:
    """The user's cache: ``MBRL_SPLIT_CACHE`` if set, else the platform's own place."""
    if own := os.environ.get("MBRL_SPLIT_CACHE"):
        return Path(own).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "mbrl_split"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "mbrl_split" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mbrl_split"


def cached_model(name: str) -> Path | None:
    """The folder of a fetched model, or None while it has not been fetched."""
    if name not in FETCHABLE:
        raise InvalidInputError(unknown("model to fetch", name, FETCHABLE))
    folder = cache_folder() / "models" / name
    return folder if (folder / "model.safetensors").is_file() else None
