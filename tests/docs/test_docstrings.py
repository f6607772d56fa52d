"""Examples in docstrings give what they say."""

import doctest
import importlib
import pkgutil
import runpy

import pytest

import mbrl_split

from .pages import DOCS


def examples():
    for found in pkgutil.walk_packages(mbrl_split.__path__, "mbrl_split."):
        module = importlib.import_module(found.name)
        for test in doctest.DocTestFinder(exclude_empty=True).find(module, found.name):
            if test.examples:
                yield pytest.param(test, id=test.name)


@pytest.mark.parametrize("test", list(examples()))
def test_docstring_example(test):
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    lines = []
    runner.run(test, out=lines.append)
    assert runner.failures == 0, "".join(lines)


TABLE = """Text.

====  =====
a     b
====  =====
x     long
      cell
====  =====

====  =====
y     p|q
====  =====
"""


def test_plain_tables_become_markdown_tables():
    tools = runpy.run_path(str(DOCS / "tools" / "docstrings.py"))
    lines = [line for line in tools["with_tables"](TABLE).splitlines() if line]
    head = ["| a | b |", "| --- | --- |", "| x | long cell |"]
    assert lines == ["Text.", *head, "|  |  |", "| --- | --- |", "| y | p\\|q |"]
    assert tools["with_tables"]("a = b\n===== ===") == "a = b\n===== ==="
