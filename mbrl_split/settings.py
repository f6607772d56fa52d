"""Settings as people write them: YAML in which nothing is overruled in silence, and names that must be known."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import yaml

from mbrl_split.errors import InvalidInputError
from mbrl_split.registry import unknown

_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """Plain data only, and no key twice: of two values YAML's readers keep the last and say nothing."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # Here, not where mappings are constructed: there what `<<` brings in already stands among a mapping's own keys.
        node = super().compose_mapping_node(anchor)
        seen: set[tuple[str, Any]] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            if (key.tag, key.value) in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} stands there twice", problem_mark=key.start_mark
                )
            seen.add((key.tag, key.value))
        return node


def read_settings(path: Path, what: str) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Args:
        path: The file.
        what: What it should be, for the error: ``"a suite is a mapping with name and title"``.

    Raises:
        InvalidInputError: It cannot be read, is not YAML, names a key twice, or holds no mapping; the line says where.
    """
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path} is not UTF-8 (byte {error.start})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise InvalidInputError(f"{path}{where}: not valid YAML ({_problem(error)})") from None
    if not isinstance(found, dict):
        raise InvalidInputError(f"{path}: {what}")
    return found


def read_assignment(assignment: str) -> tuple[str, Any]:
    """Key and value of ``KEY=VALUE``; the value is YAML.

    Raises:
        InvalidInputError: There is no ``=``, or the value is not YAML.
    """
    key, equals, text = assignment.partition("=")
    if not equals:
        raise InvalidInputError(f"--set takes KEY=VALUE, not {assignment!r}")
    try:
        return key, yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise InvalidInputError(f"--set {assignment}: the value is not valid YAML ({_problem(error)})") from None


def _problem(error: yaml.YAMLError) -> str:
    return str(getattr(error, "problem", None) or str(error).splitlines()[0])


def check_names(what: str, given: Iterable[str], known: Collection[str]) -> None:
    """Refuse a name that is not known.

    Raises:
        InvalidInputError: With the nearest known name.
    """
    for name in given:
        if name not in known:
            raise InvalidInputError(unknown(what, str(name), known))


def settings_of(build: Callable[..., Any], ours: Collection[str] = ()) -> list[str] | None:
    """The settings that a class or function takes by name, less those that are ours to give; None: any (``**``)."""
    parameters = inspect.signature(build).parameters.values()
    if any(p.kind == p.VAR_KEYWORD for p in parameters):
        return None
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [p.name for p in parameters if p.kind in named and p.name not in ours]
