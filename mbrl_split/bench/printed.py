"""Arithmetic on numbers as a page prints them, so that its reader gets the page's results from the page's numbers."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"[-+−]?\d[\d,]*(?:\.\d+)?")


def number(text: str) -> float | None:
    """The first number of a printed cell; None where there is none (``never``, ``–``).

    >>> from mbrl_split.bench.printed import number
    >>> number("0.0817 ± 0.0145"), number("24,580"), number("never")
    (0.0817, 24580.0, None)
    """
    found = _NUMBER.search(text)
    return None if found is None else float(found[0].replace(",", "").replace("−", "-"))


def quotient(numerator: str, denominator: str, form: str) -> str:
    """One printed number over another, in a format; ``–`` where either is missing or the lower one is printed as zero.

    >>> from mbrl_split.bench.printed import quotient
    >>> quotient("24,580", "13", ",.1f"), quotient("never", "13", ",.1f")
    ('1,890.8', '–')
    """
    above, below = number(numerator), number(denominator)
    return format(above / below, form) if above is not None and below else "–"


def difference(minuend: str, subtrahend: str, form: str) -> str:
    """One printed number less another, in a format; ``–`` where either is missing.

    >>> from mbrl_split.bench.printed import difference
    >>> difference("0.1298", "0.1310", "+.4f")
    '-0.0012'
    """
    first, second = number(minuend), number(subtrahend)
    return format(first - second, form) if first is not None and second is not None else "–"
