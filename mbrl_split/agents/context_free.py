"""Bandits that ignore the context: ε-greedy, UCB1, Thompson sampling, successive elimination."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np

from mbrl_split.agents import categorical
from mbrl_split.agents.bandit import ArmTable, Bandit, BanditConfig, is_best
from mbrl_split.agents.config import NonNegative, Positive, Rule, Scheduled
from mbrl_split.errors import InvalidInputError
from mbrl_split.interaction.spaces import Array


class TableBandit(Bandit):
    """A bandit whose whole knowledge is :class:`ArmTable`."""

    def _build(self) -> None:
        super()._build()
        self.arms = ArmTable(self.n_actions)

    def _learn(self, contexts: Array, arms: Array, rewards: Array) -> None:
        self.arms.add(arms, rewards)

    def _rows(self, scores: Array, n: int) -> Array:
        return np.broadcast_to(scores, (n, self.n_actions))

    def _means(self, untried: float) -> Array:
        return np.where(self.arms.pulls > 0, self.arms.means, untried)

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "table": self.arms.state()}

    def _restore(self, state: dict[str, Any]) -> None:
        super()._restore(state)
        self.arms.restore(state["table"])


@dataclass(frozen=True)
class EpsilonGreedyConfig(BanditConfig):
    """Settings of :class:`EpsilonGreedy`.

    Attributes:
        epsilon: Share of uniformly random pulls; a number or a schedule.
    """

    epsilon: Scheduled = 0.1


class EpsilonGreedy(TableBandit):
    """The arm with the best mean, or with probability ε any allowed arm. Arms never tried come first.

    Example:
        >>> import gymnasium as gym, numpy as np
        >>> from mbrl_split.agents import EpsilonGreedy
        >>> rng, nothing = np.random.default_rng(0), np.zeros((1, 1))
        >>> agent = EpsilonGreedy(gym.spaces.Box(0, 1, (1,)), gym.spaces.Discrete(3), seed=0)
        >>> for _ in range(200):
        ...     arm = agent.act(nothing)
        ...     agent.observe(nothing, arm, rng.binomial(1, [0.1, 0.9, 0.5])[arm])
        >>> agent.act(nothing, deterministic=True)
        array([1])
    """

    Config = EpsilonGreedyConfig

    def scores(self, contexts: Array, rng: np.random.Generator | None) -> Array:
        # The deterministic guess prefers no arm of which nothing is known.
        return self._rows(self._means(untried=np.inf if rng is not None else -np.inf), len(contexts))

    def _propensities(self, contexts: Array, mask: Array | None) -> Array:
        greedy = is_best(self.scores(contexts, np.random.default_rng(0)), mask)
        allowed = np.ones_like(greedy) if mask is None else mask
        eps = self.config.epsilon(self._progress)
        uniform = allowed / allowed.sum(axis=1, keepdims=True)
        return np.asarray((1 - eps) * greedy / greedy.sum(axis=1, keepdims=True) + eps * uniform)

    def _choose(self, rows: Array, mask: Array | None, deterministic: bool, rng: np.random.Generator) -> Array:
        chosen = super()._choose(rows, mask, deterministic, rng)
        if deterministic:
            return chosen
        allowed = np.ones((len(rows), self.n_actions)) if mask is None else mask.astype(np.float64)
        explore = rng.random(len(rows)) < self.config.epsilon(self._progress)
        return np.where(explore, categorical.sample(allowed, rng), chosen)


@dataclass(frozen=True)
class UCB1Config(BanditConfig):
    """Settings of :class:`UCB1`.

    Attributes:
        c: Factor of ln t under the root; 2 is the original.
        reward_range: Width of the rewards' range; the bonus is in that unit.
    """

    c: NonNegative = 2.0
    reward_range: Positive = 1.0


class UCB1(TableBandit):
    """Mean + range·√(c·ln t / pulls) (Auer, Cesa-Bianchi and Fischer, 2002), for rewards of a known range.

    Example:
        >>> import gymnasium as gym, numpy as np
        >>> from mbrl_split.agents import UCB1
        >>> rng, nothing = np.random.default_rng(0), np.zeros((1, 1))
        >>> agent = UCB1(gym.spaces.Box(0, 1, (1,)), gym.spaces.Discrete(3), seed=0)
        >>> for _ in range(200):
        ...     arm = agent.act(nothing)
        ...     agent.observe(nothing, arm, rng.binomial(1, [0.1, 0.9, 0.5])[arm])
        >>> agent.act(nothing, deterministic=True)
        array([1])
    """

    Config = UCB1Config
    draws = False

    def scores(self, contexts: Array, rng: np.random.Generator | None) -> Array:
        pulls = self.arms.pulls
        if rng is None:
            return self._rows(self._means(untried=-np.inf), len(contexts))
        bonus = np.full(self.n_actions, np.inf)
        seen = pulls > 0
        bonus[seen] = self.config.reward_range * np.sqrt(self.config.c * np.log(max(pulls.sum(), 1.0)) / pulls[seen])
        return self._rows(self.arms.means + bonus, len(contexts))


@dataclass(frozen=True)
class ThompsonSamplingConfig(BanditConfig):
    """Settings of :class:`ThompsonSampling`.

    Attributes:
        likelihood: ``"bernoulli"``: rewards 0 or 1, a Beta(prior_alpha, prior_beta) prior on their mean;
            ``"gaussian"``: known noise, a normal prior on the mean.
        prior_alpha: Pseudo-count of ones.
        prior_beta: Pseudo-count of zeros.
        prior_mean: Mean of the normal prior.
        prior_std: Deviation of the normal prior.
        noise_std: Deviation of a reward around its arm's mean.
    """

    likelihood: Literal["bernoulli", "gaussian"] = "gaussian"
    prior_alpha: Positive = 1.0
    prior_beta: Positive = 1.0
    prior_mean: float = 0.0
    prior_std: Positive = 1.0
    noise_std: Positive = 1.0


class ThompsonSampling(TableBandit):
    """The arm whose posterior draw of the mean is largest (Thompson, 1933), with conjugate posteriors.

    Example:
        >>> import gymnasium as gym, numpy as np
        >>> from mbrl_split.agents import ThompsonSampling
        >>> rng, nothing = np.random.default_rng(0), np.zeros((1, 1))
        >>> agent = ThompsonSampling(gym.spaces.Box(0, 1, (1,)), gym.spaces.Discrete(3), seed=0)
        >>> for _ in range(200):
        ...     arm = agent.act(nothing)
        ...     agent.observe(nothing, arm, rng.binomial(1, [0.1, 0.9, 0.5])[arm])
        >>> agent.act(nothing, deterministic=True)
        array([1])
    """

    Config = ThompsonSamplingConfig

    def posterior(self) -> tuple[Array, Array]:
        """Parameters of every arm: (α, β) of the Beta, or (mean, deviation) of the normal posterior, each (A,)."""
        c, pulls, means = self.config, self.arms.pulls, self.arms.means
        if c.likelihood == "bernoulli":
            return c.prior_alpha + pulls * means, c.prior_beta + pulls * (1 - means)
        precision = 1 / c.prior_std**2 + pulls / c.noise_std**2
        return (c.prior_mean / c.prior_std**2 + pulls * means / c.noise_std**2) / precision, 1 / np.sqrt(precision)

    def scores(self, contexts: Array, rng: np.random.Generator | None) -> Array:
        first, second = self.posterior()
        bernoulli = self.config.likelihood == "bernoulli"
        size = (len(contexts), self.n_actions)
        if rng is None:
            return self._rows(first / (first + second) if bernoulli else first, len(contexts))
        return rng.beta(first, second, size) if bernoulli else rng.normal(first, second, size)

    def _learn(self, contexts: Array, arms: Array, rewards: Array) -> None:
        if self.config.likelihood == "bernoulli" and not np.isin(rewards, (0.0, 1.0)).all():
            raise InvalidInputError("Bernoulli Thompson sampling needs rewards of 0 or 1; use likelihood='gaussian'")
        super()._learn(contexts, arms, rewards)


@dataclass(frozen=True)
class SuccessiveEliminationConfig(BanditConfig):
    """Settings of :class:`SuccessiveElimination`.

    Attributes:
        delta: Probability of ever dropping the best arm.
        reward_range: Width of the rewards' range.
    """

    delta: Annotated[float, Rule("between 0 and 1", lambda v: 0 < v < 1)] = 0.05
    reward_range: Positive = 1.0


class SuccessiveElimination(TableBandit):
    """Pulls the surviving arms in turn and drops those that are surely worse (Even-Dar, Mannor and Mansour, 2006).

    After n pulls an arm's mean is known to ± range·√(ln(4·A·n²/δ) / 2n), by Hoeffding's inequality and a union over
    arms and n. An arm falls when its upper end lies below the lower end of the best.

    Example:
        >>> import gymnasium as gym, numpy as np
        >>> from mbrl_split.agents import SuccessiveElimination
        >>> rng, nothing = np.random.default_rng(0), np.zeros((1, 1))
        >>> agent = SuccessiveElimination(gym.spaces.Box(0, 1, (1,)), gym.spaces.Discrete(3), seed=0)
        >>> for _ in range(200):
        ...     arm = agent.act(nothing)
        ...     agent.observe(nothing, arm, rng.binomial(1, [0.1, 0.9, 0.5])[arm])
        >>> agent.act(nothing, deterministic=True)
        array([1])
    """

    Config = SuccessiveEliminationConfig
    draws = False

    def radius(self) -> Array:
        """Half-widths of the arms' intervals, (A,); infinite where nothing was pulled."""
        n = self.arms.pulls
        out = np.full(self.n_actions, np.inf)
        seen = n > 0
        inside = np.log(4 * self.n_actions * n[seen] ** 2 / self.config.delta) / (2 * n[seen])
        out[seen] = self.config.reward_range * np.sqrt(inside)
        return out

    def surviving(self) -> Array:
        """Arms that may still be the best, (A,)."""
        radius = self.radius()
        return np.asarray(self.arms.means + radius >= (self.arms.means - radius).max())

    def scores(self, contexts: Array, rng: np.random.Generator | None) -> Array:
        if rng is None:
            return self._rows(np.where(self.surviving(), self._means(untried=-np.inf), -np.inf), len(contexts))
        # In turn: the surviving arm with the fewest pulls; a dropped one only where nothing else is allowed.
        return self._rows(np.where(self.surviving(), 0.0, -1e18) - self.arms.pulls, len(contexts))
