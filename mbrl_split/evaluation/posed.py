"""The problems of a suite: by registered name, or from a file in the folder ``problems`` beside it."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import json
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as validated

from mbrl_split.errors import InvalidInputError
from mbrl_split.evaluation.problem import Problem
from mbrl_split.registry import PROBLEMS, unknown


@validated(frozen=True, config=ConfigDict(extra="forbid"))
class Posed:
    """A problem as a suite poses it.

    Attributes:
        problem: A registered name, or the name of a file (without ``.py``) in the suite's folder ``problems``.
        label: How tables and ``--only`` call it; default its name.
        settings: What the problem is made with.
    """

    problem: str
    label: str = ""
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def short(self) -> str:
        """The label up to its first slash."""
        return self.label.partition("/")[0]

    @property
    def rest(self) -> str:
        """The label from its first slash on."""
        return self.label.partition("/")[2]


def labelled(entry: str | Posed) -> Posed:
    """The entry of a suite, with a label."""
    posed = Posed(entry) if isinstance(entry, str) else entry
    return posed if posed.label else dataclasses.replace(posed, label=posed.problem)


def layer_splits(
    scenarios: Sequence[str], models: Sequence[str], overrides: Mapping[str, Mapping[str, Any]], **settings: Any
) -> list[Posed]:
    """What scenarios and models are short for: a layer split for each pair, scenario by scenario."""
    return [
        Posed(
            "layer-split", f"{s}/{m}", {"scenario": s, "model": m, "overrides": dict(overrides.get(s, {})), **settings}
        )
        for s in scenarios
        for m in models
    ]


def home_of(place: Path) -> Path:
    """Where the own methods and problems of a suite's file in a folder live: in folders there, or one folder up."""
    beside = place.resolve()
    for home in (beside, beside.parent):
        if (home / "baselines").is_dir() or (home / "problems").is_dir():
            return home
    return beside


def file_of(posed: Posed, home: Path) -> Path | None:
    """The file that a problem of the user's own stands in; None for a registered one."""
    path = home / "problems" / f"{posed.problem}.py"
    return path if path.is_file() else None


def pose(posed: Posed, home: Path) -> Problem:
    """The problem itself; made once per process.

    Args:
        posed: Its name and settings.
        home: Where the suite's folder ``problems`` lies, see :func:`home_of`.

    Raises:
        InvalidInputError: There is no such problem, or its settings cannot be used.
    """
    return _make(posed.problem, json.dumps(posed.settings, sort_keys=True), str(home))


@lru_cache(maxsize=32)
def _make(name: str, settings: str, home: str) -> Problem:
    path = file_of(Posed(name), Path(home))
    if path is not None:
        try:
            kind: Any = only_class(path, Problem)
        except ImportError as error:
            raise InvalidInputError(f"cannot import {path}: {type(error).__name__}: {error}") from error
    elif name in PROBLEMS:
        kind = PROBLEMS[name]
    else:
        known = [*PROBLEMS, *(p.stem for p in sorted((Path(home) / "problems").glob("*.py")))]
        raise InvalidInputError(unknown("problem", name, known))
    try:
        made: Problem = kind(**json.loads(settings))
    except TypeError as error:
        raise InvalidInputError(f"problem {name!r}: {error}") from None
    return made


def only_class(path: Path, base: Any) -> Any:
    """The one subclass of ``base`` that a file of the user's defines.

    Raises:
        ImportError: A package that the file needs is not here.
        InvalidInputError: The file cannot be imported, or defines none or several.
    """
    name = f"mbrl_split_{path.parent.name}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InvalidInputError(f"cannot import {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except ImportError:  # a package that is not here
        del sys.modules[name]
        raise
    except Exception as error:
        del sys.modules[name]
        raise InvalidInputError(f"cannot import {path}: {type(error).__name__}: {error}") from error
    found = [m for m in vars(module).values() if inspect.isclass(m) and issubclass(m, base) and m.__module__ == name]
    if len(found) != 1:
        raise InvalidInputError(f"{path} defines {len(found)} subclasses of {base.__name__}; it defines exactly one")
    return found[0]
