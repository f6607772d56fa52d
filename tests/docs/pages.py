"""The pages that people read, and what stands in their code blocks."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
IDS = [str(page.relative_to(ROOT)) for page in PAGES]

FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of one language ("" for plain ones)."""
    return [body for word, body in FENCE.findall(page.read_text(encoding="utf-8")) if word == language]


def outputs(page: Path) -> list[str | None]:
    """For each Python block what the page says it prints: the ``text`` block right below it, if there is one."""
    text = page.read_text(encoding="utf-8")
    found = list(FENCE.finditer(text))
    said: list[str | None] = []
    for i, block in enumerate(found):
        if block[1] == "python":
            below = found[i + 1] if i + 1 < len(found) else None
            shown = below is not None and below[1] == "text" and not text[block.end() : below.start()].strip()
            said.append(below[2] if below is not None and shown else None)
    return said


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))
