"""Conformance suites for your own classes, with errors in prose.

    from mbrl_split.testing import check_surrogate
    check_surrogate(MySurrogate)

``mbrl-split check module:Class`` runs the suite that fits the class.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from mbrl_split.errors import InvalidInputError, MbrlSplitError

# The rooms are imported when they are asked for: checking a channel should not load the agents.
_HOME = {
    "check_surrogate": "mbrl_split.surrogates.conformance",
    "check_agent": "mbrl_split.agents.conformance",
    "check_environment": "mbrl_split.envs.conformance",
    "check_oracle": "mbrl_split.oracles.conformance",
    "check_problem": "mbrl_split.evaluation.conformance",
    "check_channel": "mbrl_split.channels.conformance",
}
__all__ = ["check_any", *_HOME]
_CONTRACT = {
    "check_surrogate": "mbrl_split.surrogates.base:Surrogate",
    "check_agent": "mbrl_split.agents.base:Agent",
    "check_environment": "gymnasium:Env",
    "check_oracle": "mbrl_split.oracles.base:Oracle",
    "check_problem": "mbrl_split.evaluation.problem:Problem",
    "check_channel": "mbrl_split.channels.base:Channel",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def check_any(target: str) -> str:
    """Check ``module:Class`` by the suite of the contract it implements; returns a line that says so.

    Raises:
        InvalidInputError: The target cannot be imported, implements none of the contracts, or does not conform.
    """
    found = _import(target)
    cls = found if isinstance(found, type) else type(found)
    for check, contract in _CONTRACT.items():
        module, _, name = contract.partition(":")
        vector = check == "check_environment" and issubclass(cls, import_module("gymnasium").vector.VectorEnv)
        if issubclass(cls, getattr(import_module(module), name)) or vector:
            # Agents and surrogates are checked as classes, since their suites build several of them.
            as_class = check in ("check_surrogate", "check_agent")
            subject = found if as_class or not isinstance(found, type) else _build(found, target)
            try:
                getattr(import_module(_HOME[check]), check)(subject)
            except (AssertionError, MbrlSplitError) as error:
                raise InvalidInputError(f"{target} does not conform: {error}") from None
            return f"{target} conforms ({check})"
    kinds = ", ".join(c.rpartition(":")[2] for c in _CONTRACT.values())
    raise InvalidInputError(f"{target} implements none of the contracts ({kinds})")


def _import(target: str) -> Any:
    module, colon, name = target.partition(":")
    if not colon:
        raise InvalidInputError(f"the target has the form module:Class, not {target!r}")
    # As `python -m` does: a user's own file lies in the folder the command is called from.
    sys.path.insert(0, str(Path.cwd()))
    try:
        return getattr(import_module(module), name)
    except ImportError as error:
        raise InvalidInputError(f"cannot import {module}: {error}") from None
    except AttributeError:
        raise InvalidInputError(f"{module} has no {name}") from None
    finally:
        sys.path.pop(0)


def _build(cls: type, target: str) -> Any:
    try:
        return cls()
    except TypeError as error:
        raise InvalidInputError(
            f"{target} cannot be built without arguments ({error}); name an instance instead"
        ) from None
