"""Settings that are known to work, per agent and environment, most from the tuned collection rl-baselines3-zoo.

``zoo.json`` holds them: where they are from, ``n_envs``, the number of sub-environments that they were tuned with, and
``steps``, the total; the rest are the agent's hyper-parameters.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mbrl_split.agents.schedules import Linear
from mbrl_split.errors import InvalidInputError
from mbrl_split.registry import unknown

ZOO: dict[str, dict[str, dict[str, Any]]] = json.loads(
    (Path(__file__).parent / "zoo.json").read_text(encoding="utf-8"),
    object_hook=lambda node: Linear(**node["linear"]) if set(node) == {"linear"} else node,
)


def zoo_settings(agent: str, env_id: str) -> dict[str, Any]:
    """Hyper-parameters for an agent on an environment, ready for its constructor.

    Raises:
        InvalidInputError: There is none.
    """
    settings = zoo_run(agent, env_id)
    return {name: value for name, value in settings.items() if name not in ("n_envs", "steps")}


def zoo_run(agent: str, env_id: str) -> dict[str, Any]:
    """As :func:`zoo_settings`, with ``n_envs`` and ``steps``."""
    known = ZOO.get(agent, {})
    if env_id not in known:
        raise InvalidInputError(
            unknown(f"zoo settings of {agent}", env_id, known) if known else f"{agent} has no zoo settings"
        )
    return {name: value for name, value in known[env_id].items() if name != "source"}
