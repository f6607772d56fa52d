"""Real environment steps, counted and capped."""

from __future__ import annotations

from typing import Any, overload

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from mbrl_split.oracles.ledger import Ledger


@overload
def Metered(env: VectorEnv[Any, Any, Any], ledger: Ledger, *, purpose: str = ...) -> MeteredVector: ...
@overload
def Metered(env: gym.Env[Any, Any], ledger: Ledger, *, purpose: str = ...) -> MeteredSingle: ...
def Metered(
    env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any], ledger: Ledger, *, purpose: str = "train"
) -> MeteredSingle | MeteredVector:
    """Wrap an environment so that each real step is charged to a ledger before it is taken.

    A step in which a NEXT_STEP environment merely resets a row is no step of that row. Where the budget does not allow
    the step of all rows it is not taken, and ``BudgetExhaustedError`` is raised.

    Args:
        env: A single or a vector environment, in any autoreset mode.
        ledger: Counts and caps.
        purpose: What the steps are for; a key of ``ledger.charged``.

    Example:
        >>> import gymnasium as gym
        >>> from mbrl_split.oracles import Ledger, Metered
        >>> ledger = Ledger(budget=100)
        >>> env = Metered(gym.make("CartPole-v1"), ledger)
        >>> obs, _ = env.reset(seed=0)
        >>> obs, reward, terminated, truncated, info = env.step(0)
        >>> ledger.spent, ledger.remaining
        (1.0, 99.0)
    """
    return MeteredVector(env, ledger, purpose) if isinstance(env, VectorEnv) else MeteredSingle(env, ledger, purpose)


class MeteredVector(gym.vector.VectorWrapper[Any, Any, Any, Any, Any]):
    """:func:`Metered` of a vector environment."""

    charging = True
    """Whether steps are charged; off while recorded steps are only retraced."""

    def __init__(self, env: VectorEnv[Any, Any, Any], ledger: Ledger, purpose: str = "train") -> None:
        super().__init__(env)
        self.ledger, self.purpose = ledger, purpose
        mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self._resets_next = AutoresetMode(mode) is AutoresetMode.NEXT_STEP
        self._dead = np.zeros(env.num_envs, dtype=np.bool_)

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        mask = (kwargs.get("options") or {}).get("reset_mask")
        found = self.env.reset(**kwargs)
        self._dead = np.zeros_like(self._dead) if mask is None else self._dead & ~np.asarray(mask)
        return found

    def step(self, actions: Any) -> Any:
        if self.charging:
            self.ledger.charge(int((~self._dead).sum()), self.purpose)
        found = self.env.step(actions)
        if self._resets_next:
            self._dead = np.asarray(np.logical_or(found[2], found[3]), dtype=np.bool_)
        return found


class MeteredSingle(gym.Wrapper[Any, Any, Any, Any]):
    """:func:`Metered` of a single environment."""

    charging = True

    def __init__(self, env: gym.Env[Any, Any], ledger: Ledger, purpose: str = "train") -> None:
        super().__init__(env)
        self.ledger, self.purpose = ledger, purpose

    def step(self, action: Any) -> Any:
        if self.charging:
            self.ledger.charge(1, self.purpose)
        return self.env.step(action)
