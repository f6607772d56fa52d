"""Figures on the benchmark pages come from committed results: the pages hold includes and no figures of their own."""

import re
import subprocess

import pytest

from .pages import DOCS, ROOT, prose

PAGES = sorted((DOCS / "benchmarks").glob("*.md"))
INCLUDE = re.compile(r'^--8<-- "([^":]+)[^"]*"$', re.MULTILINE)  # with or without a range of lines
SOURCES = ("benchmarks/results/", "mbrl_split/data/")


def figures_of(text):
    """Numbers in running text; names, code, links and included files aside."""
    text = INCLUDE.sub("", text)
    text = re.sub(r"`[^`]*`|\]\([^)]*\)|\b[a-z]+-[a-z]*\d\w*", "", text)
    return re.findall(r"\d[\d.,]*\s?%?", text)


def included(page):
    """The files a page includes, inside code blocks too."""
    return INCLUDE.findall(page.read_text(encoding="utf-8"))


def tracked():
    """The files that are committed."""
    return set(subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_benchmark_page_states_no_figure_of_its_own(page):
    assert figures_of(prose(page)) == []


def test_a_typed_figure_is_noticed():
    assert figures_of('tiny-gpt2 loses 0.13 of the headroom\n--8<-- "benchmarks/results/x1.md"') == ["0.13 "]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_included_results_are_committed(page):
    for path in included(page):
        assert path.startswith(SOURCES)
        assert path in tracked()


def test_results_are_shown():
    shown = {path for page in DOCS.rglob("*.md") for path in included(page)}
    # A result with pictures is a page itself: docs/benchmarks/landscape leads to benchmarks/results/landscape.
    pages = re.findall(r"benchmarks/\S+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    shown |= {str((DOCS / page).resolve().relative_to(ROOT)) for page in pages}
    tables = {path for path in tracked() if path.startswith(SOURCES[0]) and path.endswith(".md")}
    assert tables - shown == set(), "committed results that no page shows"
