"""A policy that learns nothing of its own: it does what a surrogate says is best, and asks again after a refresh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import ArrayLike, NDArray

from mbrl_split.agents import History
from mbrl_split.agents.base import multiple_above
from mbrl_split.errors import InvalidInputError, UnsupportedError
from mbrl_split.interaction import Policy


class Follower(Policy):
    """Argmax or plan of a surrogate, in the seat of an agent: so that a schedule can be asked what it is worth to both.

    It walks through the environment, which shows the loop where a good policy goes, and reads its policy anew whenever
    truth was learnt.

    Args:
        read: The policy that the surrogate, as it is now, gives; acts on observations.
        seed: Of the walk.
        n_steps: Steps of each sub-environment between two records.

    Raises:
        InvalidInputError: ``n_steps`` is below 1.

    Example:
        >>> import numpy as np
        >>> from mbrl_split.columns import Column
        >>> from mbrl_split.evaluation import ArgmaxPolicy
        >>> from mbrl_split.refresh import RewardFunction
        >>> from mbrl_split.surrogates import GPSurrogate
        >>> from mbrl_split.training import Follower
        >>> columns = (Column("level", "1", 0, 2, "ordinal"), Column("load", "1", 0, 2))
        >>> queries = lambda obs: np.stack([np.column_stack([np.full(len(obs), a), obs]) for a in range(3)], axis=1)
        >>> reward = RewardFunction(columns, reward=lambda y, X: -y, queries=queries)
        >>> X = np.column_stack([np.tile([0.0, 1.0, 2.0], 10), np.repeat(np.linspace(0, 2, 10), 3)])
        >>> surrogate = GPSurrogate().fit(X, (X[:, 0] - X[:, 1]) ** 2, columns=columns)
        >>> follower = Follower(lambda: ArgmaxPolicy(reward, lambda X: surrogate.predict(X).mean), seed=0)
        >>> follower.act([[0.2], [1.9]])  # a ModelBasedTrainer takes it in the place of an agent
        array([0, 2])
    """

    def __init__(self, read: Callable[[], Policy], *, seed: int, n_steps: int = 8) -> None:
        if n_steps < 1:
            raise InvalidInputError(f"n_steps is at least 1, not {n_steps}")
        self._read, self.seed, self.n_steps = read, seed, n_steps
        self._policy: Policy | None = None
        self.num_steps = 0
        self._obs: NDArray[Any] | None = None

    def current(self) -> Policy:
        """The policy of the surrogate as it is now; the same object until truth was learnt."""
        if self._policy is None:
            self._policy = self._read()
        return self._policy

    def act(self, obs: ArrayLike, *, deterministic: bool = True, mask: ArrayLike | None = None) -> NDArray[Any]:
        return np.asarray(self.current().act(obs, deterministic=True, mask=mask))

    def reset(self, mask: ArrayLike | None = None) -> None:
        self.current().reset(mask)

    def walk(
        self, env: Any, total_steps: int, *, callback: Callable[[Any, dict[str, float]], bool | None] | None = None
    ) -> History:
        """Act for ``total_steps`` environment steps, summed over sub-environments; a further call goes on.

        Args:
            env: A vector environment in SAME_STEP mode.
            total_steps: Further steps.
            callback: Told this follower and the newest record after every ``n_steps`` steps of each sub-environment;
                True ends the walk.

        Raises:
            UnsupportedError: The environment is in another mode.
        """
        if not isinstance(env, VectorEnv) or env.metadata.get("autoreset_mode") != AutoresetMode.SAME_STEP:
            raise UnsupportedError(f"a follower walks through vector environments in SAME_STEP mode, not {env}")
        history, last = History(), self.num_steps + total_steps
        if self._obs is None:
            self._obs = env.reset(seed=self.seed)[0]
            self.reset()
        while self.num_steps < last:
            for _ in range(self.n_steps):
                # The environment resets itself in the same step: what it returns is always the next to act on.
                self._obs, _, terminated, truncated, _ = env.step(self.act(self._obs))
                ended = np.logical_or(terminated, truncated)
                if ended.any():
                    self.reset(ended)
            self.num_steps += self.n_steps * env.num_envs
            history.log(self.num_steps)
            if callback is not None and callback(self, history.records[-1]):
                break
        return history

    def next_update(self, after: int = 0, *, num_envs: int = 1, episode_steps: int = 1) -> int:
        """The environment step, above ``after``, at which the next record comes; see ``Agent.next_update``."""
        return multiple_above(after, self.n_steps * num_envs)

    def on_source_changed(self, version: int) -> None:
        """Truth was learnt: the policy is read anew when it is asked for."""
        self._policy = None
