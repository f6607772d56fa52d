"""How far a training run is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


class Report(Protocol):
    """Told at every segment's border how many steps are done, and what to say beside it."""

    def __call__(self, step: int, note: str) -> None: ...


@contextmanager
def progress(total_steps: int, shown: bool) -> Iterator[Report]:
    """A :class:`Report` for the length of a run; silent where ``shown`` is False."""
    console = Console(stderr=True)
    if not shown:
        yield lambda step, note: None
    elif console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("training", total=total_steps)
            yield lambda step, note: bar.update(task, completed=step, description=note)
    else:
        yield lambda step, note: print(f"{step}/{total_steps} steps  {note}", file=sys.stderr, flush=True)
