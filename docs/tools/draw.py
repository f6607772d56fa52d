"""RandomStream the diagrams of the site: `python docs/tools/draw.py` writes docs/figures/*.svg.

The drawings are included in the pages as inline SVG. Their colours are the classes of docs/stylesheets/extra.css, so
that they follow the light and the dark scheme; they are narrow, so that their text can be read on a phone.
"""

from __future__ import annotations

from pathlib import Path

FIGURES = Path(__file__).parent.parent / "figures"


def box(x: int, y: int, w: int, h: int, *lines: str, kind: str = "plain") -> list[str]:
    """A rounded box; the first line is its title."""
    out = [f'<rect class="d-{kind}" x="{x}" y="{y}" width="{w}" height="{h}" rx="8"/>']
    top = y + h / 2 - 8.5 * (len(lines) - 1) + 5
    for i, line in enumerate(lines):
        weight = "d-title" if i == 0 else "d-small"
        out.append(f'<text class="{weight}" x="{x + w / 2:g}" y="{top + 17 * i:g}">{line}</text>')
    return out


def arrow(x1: int, y1: int, x2: int, y2: int, kind: str = "arrow") -> list[str]:
    return [f'<line class="d-{kind}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" marker-end="url(#d-head)"/>']


def note(x: float, y: float, text: str, anchor: str = "middle") -> list[str]:
    return [f'<text class="d-small" x="{x:g}" y="{y:g}" style="text-anchor:{anchor}">{text}</text>']


def layers(x: int, y: int, count: int, kind: str) -> list[str]:
    return [f'<rect class="d-{kind}" x="{x + 12 * i}" y="{y}" width="8" height="34" rx="2"/>' for i in range(count)]


def wave(x: int, y: int, periods: int) -> list[str]:
    path = f"M {x} {y}" + " q 5 -14 10 0 t 10 0" * periods
    return [f'<path class="d-wave" d="{path}"/>']


def page(width: int, height: int, title: str, *parts: list[str]) -> str:
    """A whole drawing. Without blank lines: Markdown would take what follows one for text."""
    head = (
        '<defs><marker id="d-head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path class="d-head" d="M0 0 L8 4 L0 8 z"/></marker></defs>'
    )
    opening = (
        f'<svg class="diagram" viewBox="0 0 {width} {height}" style="max-width:{round(1.35 * width)}px" '
        'xmlns="http://www.w3.org/2000/svg" role="img">'
    )
    body = "\n".join(line for part in parts for line in part)
    return f"{opening}\n<title>{title}</title>\n{head}\n{body}\n</svg>\n"


def overview() -> str:
    """The problem on one picture: what is cut, what it costs to know, who answers instead."""
    return page(
        480,
        292,
        "A language model cut between a phone and an edge server; an agent picks the layer, a surrogate answers for it",
        box(8, 8, 148, 104),
        note(82, 30, "phone: layers 1 … p"),
        layers(37, 52, 8, "layer"),
        box(324, 8, 148, 104),
        note(398, 30, "server: p + 1 … L"),
        layers(341, 52, 10, "layer"),
        note(240, 40, "hidden state"),
        wave(164, 70, 7),
        arrow(304, 70, 320, 70),
        note(240, 102, "fading, noise, loss"),
        arrow(82, 200, 82, 118),
        note(90, 162, "cut at p", "start"),
        arrow(398, 118, 398, 200),
        note(390, 162, "score the text", "end"),
        box(8, 204, 148, 60, "agent", "learns where to cut"),
        box(184, 204, 112, 60, "surrogate", "answers mostly", kind="accent"),
        box(324, 204, 148, 60, "true evaluation", "costly, so rare"),
        arrow(182, 234, 160, 234),
        note(171, 284, "reward"),
        arrow(322, 234, 300, 234),
        note(311, 284, "rows to learn from"),
    )


def loop() -> str:
    """The model-based loop: who asks whom, and where truth is paid for."""
    return page(
        480,
        326,
        "The agent acts in an environment; a surrogate or the ledger answers the costly number; a schedule decides",
        box(8, 8, 148, 56, "agent"),
        box(300, 8, 172, 56, "environment", "composes the reward"),
        arrow(158, 26, 296, 26),
        note(228, 20, "action"),
        arrow(298, 46, 160, 46),
        note(228, 62, "observation, reward"),
        arrow(340, 66, 150, 134),
        note(228, 96, "every step asks", "end"),
        arrow(412, 66, 412, 134, "dashed"),
        note(404, 106, "or the truth", "end"),
        box(8, 138, 172, 56, "surrogate", "mean and uncertainty", kind="accent"),
        box(300, 138, 172, 56, "ledger", "counts, caps"),
        arrow(298, 158, 184, 158),
        note(241, 152, "rows: fit"),
        arrow(94, 196, 94, 258),
        note(102, 232, "how unsure?", "start"),
        box(8, 262, 172, 56, "schedule, acquisition", "pay now? for which rows?"),
        arrow(182, 284, 316, 198),
        note(226, 246, "n rows", "end"),
        arrow(372, 196, 372, 258),
        arrow(412, 260, 412, 198),
        box(300, 262, 172, 56, "oracle", "measures; store keeps"),
    )


DRAWINGS = {"overview.svg": overview, "loop.svg": loop}

if __name__ == "__main__":
    FIGURES.mkdir(exist_ok=True)
    for name, draw in DRAWINGS.items():
        (FIGURES / name).write_text(draw(), encoding="utf-8")
