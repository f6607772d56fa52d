"""From a space to a configuration: one question to the trial for whatever is open, in a fixed order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mbrl_split.tuning.base import Row
from mbrl_split.tuning.config import Range, Settings, Space, Value

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


def suggest(trial: BaseTrial, space: Space) -> Row:
    """The configuration that a trial chooses.

    Parameters are called ``source``, ``schedule``, ``acquisition``, ``fixed.every``, ``trainer.refresh_batches``,
    ``fidelity.size``, ``budget``; a member's settings are asked for only when the member was chosen.
    """
    row: Row = {}
    settings: dict[str, dict[str, Any]] = {}
    for part, members in space.parts.items():
        name = _choose(trial, part, list(members))
        row[part] = name
        settings[part] = _settings(trial, name, members[name] or {})
    for part in ("trainer", "fidelity"):
        settings[part] = _settings(trial, part, getattr(space, part))
    row["budget"] = _value(trial, "budget", space.budget)
    row["env_steps"] = _value(trial, "env_steps", space.env_steps)
    row["settings"] = {part: chosen for part, chosen in settings.items() if chosen}
    return row


def _settings(trial: BaseTrial, member: str, settings: Settings) -> dict[str, Any]:
    return {name: _value(trial, f"{member}.{name}", value) for name, value in settings.items()}


def _choose(trial: BaseTrial, name: str, choices: list[Any]) -> Any:
    return choices[0] if len(choices) == 1 else trial.suggest_categorical(name, choices)


def _value(trial: BaseTrial, name: str, value: Value) -> Any:
    if isinstance(value, list):
        return _choose(trial, name, value)
    if not isinstance(value, Range):
        return value
    if isinstance(value.low, int) and isinstance(value.high, int) and not isinstance(value.step, float):
        return trial.suggest_int(name, value.low, value.high, log=value.log, step=value.step or 1)
    return trial.suggest_float(name, float(value.low), float(value.high), log=value.log, step=value.step)
