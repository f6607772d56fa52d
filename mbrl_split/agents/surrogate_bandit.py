"""A contextual bandit that asks a surrogate of the reward: upper bound, Thompson draw, or plain argmax."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from uuid import uuid4

import gymnasium as gym
import numpy as np

from mbrl_split.agents.bandit import Bandit, BanditConfig
from mbrl_split.agents.config import Count, Rule
from mbrl_split.agents.learner import read
from mbrl_split.errors import InvalidInputError
from mbrl_split.interaction.spaces import Array
from mbrl_split.registry import SURROGATES

Features = Callable[[Array, Array], Array]
Reward = Callable[[Array, Array, Array], Array]


@dataclass(frozen=True)
class SurrogateBanditConfig(BanditConfig):
    """Settings of :class:`SurrogateBandit`.

    Attributes:
        rule: ``"ucb"``: mean + kappa·std_epistemic; ``"ts"``: one posterior draw per decision; ``"greedy"``: the mean.
        kappa: Width of the bonus, in epistemic standard deviations.
        optimism: +1 where a larger prediction is better, −1 where the surrogate predicts a cost.
        fit_every: Fit anew after this many rows, update in between; 0: the surrogate is somebody else's and stays.
        cold_start: Rows of random arms before the first fit.
    """

    rule: Literal["ucb", "ts", "greedy"] = "ucb"
    kappa: float = 1.0
    optimism: Literal[1, -1] = 1
    fit_every: Annotated[int, Rule("0 or more rows", lambda v: v >= 0)] = 100
    cold_start: Count = 10


def arm_as_coordinate(contexts: Array, arms: Array) -> Array:
    """Rows (context, arm): arms are taken as ordered, (n, d) and (k,) to (n·k, d + 1), contexts outermost."""
    n, k = len(contexts), len(arms)
    return np.hstack([np.repeat(contexts, k, axis=0), np.tile(arms, n)[:, None]])


class SurrogateBandit(Bandit):
    """Takes the arm that looks best to a surrogate, given the context.

    Args:
        observation_space: Contexts.
        action_space: Arms.
        surrogate: Anything with the contract of :class:`mbrl_split.surrogates.Surrogate`, of which a clone is fitted;
            or its registered name, as in a suite.
        features: (contexts (n, d), arms (k,) from 0) → rows for the surrogate, (n·k, f), contexts outermost. By default
            the context with the arm as one more coordinate.
        reward: (predictions (n, A), contexts (n, d), arms (A,)) → rewards (n, A), where the surrogate predicts
            something else, for instance a cost. Then the surrogate must be fitted elsewhere (``fit_every=0``).
        seed: Fixes everything.
        device: Unused.
        **config: See :class:`SurrogateBanditConfig`.

    Example:
        >>> import gymnasium as gym, numpy as np
        >>> from mbrl_split.agents import SurrogateBandit
        >>> rng = np.random.default_rng(0)
        >>> spaces = gym.spaces.Box(-1, 1, (1,)), gym.spaces.Discrete(3)
        >>> agent = SurrogateBandit(*spaces, surrogate="gp", seed=0, cold_start=8)
        >>> for _ in range(6):
        ...     contexts = rng.uniform(-1, 1, (8, 1))
        ...     arms = agent.act(contexts)
        ...     agent.observe(contexts, arms, -((arms - 1 - contexts[:, 0]) ** 2))
        >>> agent.act(np.array([[-0.9], [0.0], [0.9]]), deterministic=True)
        array([0, 1, 2])
    """

    Config = SurrogateBanditConfig
    paced_by: ClassVar[tuple[str, ...]] = ("cold_start", "n_steps")

    def __init__(
        self,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        *,
        surrogate: Any = None,
        features: Features = arm_as_coordinate,
        reward: Reward | None = None,
        seed: int | None = None,
        device: str = "cpu",
        **config: Any,
    ) -> None:
        super().__init__(observation_space, action_space, seed=seed, device=device, **config)
        if surrogate is None:
            raise InvalidInputError("SurrogateBandit needs surrogate=, for instance 'gp' or GPSurrogate()")
        if isinstance(surrogate, str):
            surrogate = SURROGATES[surrogate](seed=seed)
        if reward is not None and self.config.fit_every:
            raise InvalidInputError(
                "with reward= the surrogate predicts something else than the reward: set fit_every=0"
            )
        # A surrogate to be fitted is the agent's own; one that is fitted elsewhere is shared.
        self.surrogate = surrogate.clone() if self.config.fit_every else surrogate
        self.features, self.reward = features, reward
        self._all_arms = np.arange(self.n_actions)
        self._x: list[Array] = []
        self._y: list[Array] = []
        self._rows = 0
        self._saved_as: str | None = None
        self._fitted_at = 0 if self.config.fit_every else -1  # rows at the last fit; −1: fitted elsewhere

    def next_update(self, after: int = 0, *, num_envs: int = 1, episode_steps: int = 1) -> int:
        # Pulls before the first fit teach it nothing.
        known = max(after, self.config.cold_start - 1) if self.config.fit_every else after
        return super().next_update(known, num_envs=num_envs, episode_steps=episode_steps)

    def scores(self, contexts: Array, rng: np.random.Generator | None) -> Array:
        n, shape = len(contexts), (len(contexts), self.n_actions)
        if self._fitted_at == 0:
            return np.zeros(shape) if rng is None else rng.random(shape)
        rows = self.features(contexts, self._all_arms)
        c = self.config
        if c.rule == "ts" and rng is not None:
            # One draw of the function per decision: every context sees its arms under one and the same draw.
            per_context = rows.reshape(n, self.n_actions, -1)
            values = np.stack([self.surrogate.sample(x, 1, rng)[0] for x in per_context])
        else:
            prediction = self.surrogate.predict(rows)
            values = prediction.mean.reshape(shape)
            if c.rule == "ucb" and rng is not None:
                values = values + c.optimism * c.kappa * prediction.std_epistemic.reshape(shape)
        if self.reward is not None:
            return np.asarray(self.reward(values, contexts, self._all_arms))
        return np.asarray(c.optimism * values)

    def _learn(self, contexts: Array, arms: Array, rewards: Array) -> None:
        c = self.config
        if not c.fit_every:
            return
        all_arms = self.features(contexts, self._all_arms).reshape(len(contexts), self.n_actions, -1)
        x = all_arms[np.arange(len(arms)), arms]
        # The surrogate of a cost is fitted to the cost.
        y = c.optimism * rewards
        rows = self._rows + len(y)
        if rows >= c.cold_start:
            if self._fitted_at == 0 or rows - self._fitted_at >= c.fit_every:
                self.surrogate.fit(np.concatenate([*self._x, x]), np.concatenate([*self._y, y]))
                self._fitted_at = rows
            else:
                self.surrogate.update(x, y)
        # Kept only now: rows that the surrogate refuses would spoil every fit to come.
        self._x.append(x)
        self._y.append(y)
        self._rows = rows

    def on_source_changed(self, version: int) -> None:
        """Rows with rewards of another source are forgotten; a surrogate fitted elsewhere stays."""
        super().on_source_changed(version)
        if self.config.fit_every:
            self._x, self._y, self._rows, self._fitted_at = [], [], 0, 0

    def save(self, path: str | PathLike[str]) -> None:
        """As the other agents, with the surrogate in a folder beside; ``features`` and ``reward`` are not saved."""
        previous, folder = self._saved_as, Path(path)
        # A fresh name each time: the old surrogate stays whole until the manifest points to the new one.
        self._saved_as = f"surrogate-{uuid4().hex}" if self._fitted_at else None
        if self._saved_as is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self.surrogate.save(folder / self._saved_as)
        super().save(path)
        if previous is not None:
            shutil.rmtree(folder / previous, ignore_errors=True)

    @classmethod
    def load(
        cls,
        path: str | PathLike[str],
        *,
        device: str = "cpu",
        surrogate: Any = None,
        features: Features = arm_as_coordinate,
        reward: Reward | None = None,
    ) -> Self:
        """Read what :meth:`save` wrote.

        Args:
            path: Folder.
            device: Where the surrogate computes.
            surrogate: One of the saved class with its settings; needed if nothing was fitted yet, or if the class
                has no name in the registry. What was saved replaces its knowledge.
            features: As given to the constructor.
            reward: As given to the constructor.

        Raises:
            InvalidInputError: Not such an agent, or its surrogate's class is unknown.
        """
        tree = read(path, cls)
        saved = tree["state"]["surrogate"]
        if saved["folder"] is not None:
            kind = type(surrogate) if surrogate is not None else _registered(saved["class"])
            surrogate = kind.load(Path(path) / saved["folder"], device=device)
        agent = cls._of(tree, device=device, surrogate=surrogate, features=features, reward=reward)
        if saved["folder"] is not None:
            agent.surrogate = surrogate
        return agent

    def reload(self, path: str | PathLike[str]) -> Self:
        given = {"surrogate": self.surrogate, "features": self.features, "reward": self.reward}
        return self.load(path, device=self.device, **given)

    def _state(self) -> dict[str, Any]:
        return {
            **super()._state(),
            "surrogate": {"class": type(self.surrogate).__name__, "folder": self._saved_as},
            "x": np.concatenate(self._x) if self._x else None,
            "y": np.concatenate(self._y) if self._y else None,
            "fitted_at": self._fitted_at,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        super()._restore(state)
        self._saved_as = state["surrogate"]["folder"]
        self._x, self._y = ([] if state[k] is None else [state[k]] for k in ("x", "y"))
        self._rows = sum(len(y) for y in self._y)
        self._fitted_at = state["fitted_at"]


def _registered(class_name: str) -> Any:
    """The registered surrogate class of that name."""
    for name in SURROGATES:
        try:
            kind = SURROGATES[name]
        except (ImportError, AttributeError):  # an optional package that is not installed
            continue
        if kind.__name__ == class_name:
            return kind
    raise InvalidInputError(
        f"the saved surrogate is a {class_name}, which has no name in the registry: give load(surrogate=…)"
    )
