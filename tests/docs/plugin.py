"""The example package of plug-ins, installed for a test: its code on the path, its entry points beside it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from mbrl_split import registry

from .pages import ROOT

PACKAGE = ROOT / "examples" / "mbrl_split_plugin"


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `pip install` would do: metadata in a folder of the path, and a fresh look at what is installed."""
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    metadata = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.4\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = []
    for group, names in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in names.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.syspath_prepend(str(PACKAGE))
    for kind in registry.KINDS:
        for name, value in (("_members", dict(kind._members)), ("_origins", {}), ("_plugins_loaded", False)):
            monkeypatch.setattr(kind, name, value)
