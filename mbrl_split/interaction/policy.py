"""The contract of a policy: whatever turns observations into actions. An agent is a policy that learns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from numpy.typing import ArrayLike, NDArray


class Policy(ABC):
    """Acts on observations, one or a batch of them.

    Example:
        >>> import numpy as np
        >>> from mbrl_split.interaction import Policy
        >>> class Lean(Policy):  # pushes the cart to where the pole falls
        ...     def act(self, obs, *, deterministic=False, mask=None):
        ...         return (np.asarray(obs)[..., 2] > 0).astype(int)
        >>> Lean().act([[0.0, 0.0, 0.1, 0.0], [0.0, 0.0, -0.1, 0.0]])
        array([1, 0])
    """

    @abstractmethod
    def act(self, obs: ArrayLike, *, deterministic: bool = False, mask: ArrayLike | None = None) -> NDArray[Any]:
        """Actions for one observation (returns shape ()) or a batch of n (returns shape (n,)), in the action space.

        Args:
            obs: One observation or a batch of them.
            deterministic: The most probable (or most valuable) action rather than a draw.
            mask: True where an action is allowed, shape (n_actions,) or (n, n_actions); for Discrete actions only.
        """

    def reset(self, mask: ArrayLike | None = None) -> None:  # noqa: B027  (most policies keep nothing)
        """Episodes begin in these rows of the batch (all without a mask): what was kept of the last ones must go.

        Args:
            mask: True where an episode begins, shape (n,).
        """
