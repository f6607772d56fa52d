"""What all bandits share: immediate rewards, the tables of what was pulled, propensities, and the learning loop."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mbrl_split.agents import categorical
from mbrl_split.agents.base import multiple_above
from mbrl_split.agents.checkpoint import Stateful
from mbrl_split.agents.config import AgentConfig, Count
from mbrl_split.agents.learner import Learner
from mbrl_split.errors import InvalidInputError
from mbrl_split.interaction import spaces
from mbrl_split.interaction.finite import check_finite, check_rewards
from mbrl_split.interaction.spaces import Array
from mbrl_split.interaction.stream import Stream


@dataclass(frozen=True)
class BanditConfig(AgentConfig):
    """Settings of every bandit.

    Attributes:
        n_steps: Steps of every sub-environment between updates; within them the rule does not change.
        keep_log: Keep every (context, arm, reward, propensity) in :attr:`Bandit.log`, for off-policy evaluation.
        propensity_draws: Draws that estimate the propensities of a rule without a closed form.
    """

    n_steps: Count = 1
    keep_log: bool = False
    propensity_draws: Count = 1000


class Bandit(Learner):
    """Maximises the immediate reward of an arm (an action), given a context (an observation) or none.

    Learns from any environment by ``learn``, as the other agents do, or by hand: ``arms = act(contexts)``, then
    ``observe(contexts, arms, rewards)``. Everything is float64; only the arm that was pulled is updated; ties are
    broken at random from the agent's own generator.

    Attributes:
        log: If ``keep_log``: (context (d,), arm, reward, propensity) of every pull that ``learn`` made, arms from 0.
    """

    Config = BanditConfig
    paced_by: ClassVar[tuple[str, ...]] = ("n_steps",)
    draws: ClassVar[bool] = True
    """Whether scores are drawn; where they are not, propensities have a closed form."""

    def _build(self) -> None:
        self.log: list[tuple[Array, int, float, float]] = []
        self._pulls: list[tuple[Array, Array, Array]] = []  # contexts, arms and rewards that wait for an update

    def next_update(self, after: int = 0, *, num_envs: int = 1, episode_steps: int = 1) -> int:
        return multiple_above(after, int(self.config.n_steps) * num_envs)

    @abstractmethod
    def scores(self, contexts: Array, rng: np.random.Generator | None) -> Array:
        """What the rule maximises, (n, A) for contexts (n, d); ``rng`` None asks for the deterministic best guess.

        An infinite score means: never tried, take me first.
        """

    @abstractmethod
    def _learn(self, contexts: Array, arms: Array, rewards: Array) -> None:
        """Take in pulls, all of them or, if it raises, none: contexts (n, d), arms (n,) from 0, rewards (n,)."""

    def observe(self, contexts: ArrayLike, arms: ArrayLike, rewards: ArrayLike) -> None:
        """Learn from pulls made elsewhere: one context or n of them, and as many arms and rewards.

        Raises:
            InvalidInputError: The lengths disagree, or an arm does not exist.
            NonFiniteError: A context or a reward is not finite in single precision; nothing was learned.
        """
        rows, _ = self._observations.batch(contexts)
        index = np.atleast_1d(spaces.whole_numbers("an arm", arms)) - self._action_start
        reward = np.atleast_1d(np.asarray(rewards, dtype=np.float64))
        if not (len(rows) == len(index) == len(reward)):
            raise InvalidInputError(
                f"{len(rows)} contexts, {len(index)} arms and {len(reward)} rewards; the numbers must agree"
            )
        if index.size and (index.min() < 0 or index.max() >= self.n_actions):
            raise InvalidInputError(f"an arm lies outside {self.action_space}")
        check_rewards(reward)
        self._learn(rows.astype(np.float64), index, reward)

    def propensities(self, contexts: ArrayLike, mask: ArrayLike | None = None) -> Array:
        """Probability that the rule now takes each arm, (n, A); estimated by ``propensity_draws`` where it draws."""
        rows, _ = self._observations.batch(contexts)
        return self._propensities(rows.astype(np.float64), spaces.check_mask(mask, len(rows), self.n_actions))

    def _propensities(self, contexts: Array, mask: Array | None) -> Array:
        # A fixed generator of its own: asking for propensities moves nothing else.
        rng = np.random.default_rng(0)
        if not self.draws:
            best = is_best(self.scores(contexts, rng), mask)
            return np.asarray(best / best.sum(axis=1, keepdims=True))
        n = len(contexts)
        counts = np.zeros((n, self.n_actions))
        for _ in range(self.config.propensity_draws):
            counts[np.arange(n), random_best(self.scores(contexts, rng), mask, rng)] += 1
        return np.asarray(counts / self.config.propensity_draws)

    def _choose(self, rows: Array, mask: Array | None, deterministic: bool, rng: np.random.Generator) -> Array:
        contexts = rows.astype(np.float64)
        if deterministic:
            return categorical.best_of_numbers("the score of an arm", self.scores(contexts, None), mask)
        return random_best(self.scores(contexts, rng), mask, rng)

    def _begin(self, stream: Stream) -> None:
        pass

    def _collect_step(self, stream: Stream) -> None:
        obs, mask = stream.obs, stream.mask
        propensities = self._propensities(obs.astype(np.float64), mask) if self.config.keep_log else None
        arms = self._choose(obs, mask, False, self._rng["policy"])
        step = self._advance(stream, arms)
        live = step.live
        if not live.any():
            return
        self._pulls.append((obs[live].astype(np.float64), arms[live], step.reward[live]))
        if propensities is not None:
            taken = propensities[np.arange(len(arms)), arms]
            self.log += [(obs[i], int(arms[i]), float(step.reward[i]), float(taken[i])) for i in np.flatnonzero(live)]

    @property
    def update_due(self) -> bool:
        return bool(len(self._pulls) >= self.config.n_steps)

    def update(self) -> dict[str, float]:
        """Take in the pulls since the last update; {} if there were none."""
        if not self._pulls:
            return {}
        contexts, arms, rewards = (np.concatenate(column) for column in zip(*self._pulls, strict=True))
        self._pulls = []
        self._learn(contexts, arms, rewards)
        return self._record({"train/reward": float(rewards.mean())})

    def on_source_changed(self, version: int) -> None:
        """The pulls that wait for an update are dropped; what was learned before stays (its rewards are not kept)."""
        super().on_source_changed(version)
        self._pulls = []

    def _state(self) -> dict[str, Any]:
        columns = ("contexts", "arms", "rewards")
        waiting = {name: [pull[i] for pull in self._pulls] for i, name in enumerate(columns)}
        log = {name: np.array([row[i] for row in self.log]) for i, name in enumerate((*columns, "propensities"))}
        return {**waiting, "log": log}

    def _restore(self, state: dict[str, Any]) -> None:
        self._pulls = list(zip(state["contexts"], state["arms"], state["rewards"], strict=True))
        contexts, arms, rewards, propensities = (
            state["log"][n] for n in ("contexts", "arms", "rewards", "propensities")
        )
        self.log = list(zip(contexts, arms.tolist(), rewards.tolist(), propensities.tolist(), strict=True))


class ArmTable(Stateful):
    """Pulls, mean reward and sum of squared deviations of every arm (Welford's update)."""

    kept = ("pulls", "means", "squares")

    def __init__(self, n_arms: int) -> None:
        self.pulls, self.means, self.squares = np.zeros(n_arms), np.zeros(n_arms), np.zeros(n_arms)

    def add(self, arms: Array, rewards: Array) -> None:
        """Take in pulls, in order."""
        for arm, reward in zip(arms.tolist(), rewards.tolist(), strict=True):
            self.pulls[arm] += 1
            shift = reward - self.means[arm]
            self.means[arm] += shift / self.pulls[arm]
            self.squares[arm] += shift * (reward - self.means[arm])


def is_best(scores: Array, mask: Array | None) -> Array:
    """Where the allowed scores are largest, (n, A).

    Raises:
        NonFiniteError: An allowed score is NaN.
    """
    allowed = scores if mask is None else np.where(mask, scores, -np.inf)
    largest = allowed.max(axis=1, keepdims=True)
    if math.isnan(np.maximum.reduce(largest, axis=None)):
        check_finite("the score of an arm", np.where(np.isnan(allowed), np.nan, 0.0), advice="scale inputs and rewards")
    best = allowed == largest
    return np.asarray(best if mask is None else best & mask)


def random_best(scores: Array, mask: Array | None, rng: np.random.Generator) -> Array:
    """The allowed index with the largest score, ties broken at random, per row."""
    return categorical.sample(is_best(scores, mask).astype(np.float64), rng)
