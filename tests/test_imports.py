"""Imports between modules form no circle, and importing the rooms that can load a language model stays light."""

import ast
import subprocess
import sys
from collections import deque
from importlib.util import resolve_name
from pathlib import Path

import pytest

import mbrl_split

ROOMS = ("mbrl_split",)
"""Where no module may lie on a circle; ``("mbrl_split",)`` is the whole package."""


def import_graph(package: Path) -> dict[str, set[str]]:
    """For each module the modules of the same package that it imports: at its top, in functions, for types alone."""
    files = {}
    for path in package.rglob("*.py"):
        *folders, stem = path.relative_to(package.parent).with_suffix("").parts
        files[".".join(folders if stem == "__init__" else (*folders, stem))] = path
    graph = {}
    for module, path in files.items():
        home = module if path.stem == "__init__" else module.rpartition(".")[0]
        named = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                source = resolve_name("." * node.level + (node.module or ""), home)
                # `from room import name` means the room, unless the name is a module in it.
                named |= {inside if (inside := f"{source}.{alias.name}") in files else source for alias in node.names}
        graph[module] = named & set(files)
    return graph


def circle_through(module: str, graph: dict[str, set[str]]) -> list[str]:
    """The shortest chain of imports from a module back to itself; empty where there is none."""
    chains, seen = deque([[module]]), set()
    while chains:
        chain = chains.popleft()
        for imported in sorted(graph[chain[-1]]):
            if imported == module:
                return [*chain, imported]
            if imported not in seen:
                seen.add(imported)
                chains.append([*chain, imported])
    return []


def circles(rooms: tuple[str, ...], graph: dict[str, set[str]]) -> set[str]:
    """Shortest circles on which modules of the rooms lie, as chains of arrows; each begins at its first name."""
    found = set()
    for module in graph:
        if f"{module}.".startswith(tuple(f"{room}." for room in rooms)) and (chain := circle_through(module, graph)):
            first = chain.index(min(chain))
            found.add(" → ".join([*chain[first:-1], *chain[:first], min(chain)]))
    return found


def test_no_import_circle():
    graph = import_graph(Path(mbrl_split.__file__).parent)
    assert "mbrl_split.channels.base" in graph["mbrl_split.llm.split_model"]
    found = circles(ROOMS, graph)
    assert not found, "\n".join(sorted(found))


@pytest.mark.parametrize(
    "back",
    [
        "from house import low",
        "def f():\n    import house.low",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house.low import x",
        "class A:\n    def f(self):\n        from . import low",
        "from .low import x",
        "import house.low as other",
    ],
)
def test_every_kind_of_import_is_seen(tmp_path, back):
    house = tmp_path / "house"
    house.mkdir()
    for name, text in {"__init__": "", "high": "from house import middle", "middle": back, "low": ""}.items():
        (house / f"{name}.py").write_text(text)
    assert not circles(("house",), import_graph(house))
    (house / "low.py").write_text("x = 1\nimport house.high\n")
    assert circles(("house",), import_graph(house)) == {"house.high → house.middle → house.low → house.high"}
    assert not circles(("hou", "house.lo"), import_graph(house))


def test_transformers_is_loaded_with_a_model_only():
    probe = "import sys, mbrl_split.llm, mbrl_split.training; assert 'transformers' not in sys.modules"
    subprocess.run([sys.executable, "-c", probe], check=True)
