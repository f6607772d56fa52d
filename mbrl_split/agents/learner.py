"""What all learning agents share: the loop, the environment, the generators, episode records and checkpoints."""

from __future__ import annotations

import math
from abc import abstractmethod
from os import PathLike
from typing import Any, ClassVar, Self

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.agents.base import Agent, Callback, History
from mbrl_split.agents.checkpoint import load_tree, save_tree
from mbrl_split.agents.config import AgentConfig
from mbrl_split.agents.encoding import Encoding
from mbrl_split.agents.zoo import zoo_settings
from mbrl_split.errors import InvalidInputError, MbrlSplitError
from mbrl_split.interaction import spaces
from mbrl_split.interaction.finite import SINGLE, check_finite, check_rewards
from mbrl_split.interaction.spaces import Array
from mbrl_split.interaction.stream import Env, Step, Stream, make_stream

# One generator per consumer, so that drawing more in one place moves nothing in another.
CONSUMERS = ("init", "env", "policy", "batch", "act")


class Learner(Agent):
    """An agent that learns by ``collect`` and ``update``.

    ``collect(n)`` takes up to n environment steps (summed over sub-environments, a multiple of their number) and stops
    early when an update is due; ``update()`` learns from what was collected. ``learn`` alternates the two until its
    total is reached and may leave an unfinished rollout behind, with which the next call goes on: learning 2n steps is
    the same, bit for bit, as learning n steps twice, whether or not the agent was saved and loaded in between.

    Schedules follow the progress towards the total given at ``learn`` (steps done ÷ steps done at its end). To split a
    learning with schedules, stop it by a callback and ask for the remaining steps.

    An environment handed to ``learn`` or ``start`` belongs to the agent while it learns: evaluate on another one.

    ``copy.deepcopy`` and ``pickle`` take the environment along, and the copy goes on as the agent does, bit for bit. An
    environment that cannot be copied, such as one in other processes, stands in their way: use ``save`` and ``load``.

    Args:
        observation_space: Box (flattened) or Discrete (one-hot).
        action_space: Discrete.
        seed: Fixes everything: weights, actions, minibatches and the environment's seed.
        device: Where gradients are computed; see :class:`~mbrl_split.agents.actor_critic.ActorCritic`.
        **config: Hyper-parameters: the fields of the class's ``Config``.

    Attributes:
        config: The hyper-parameters.
        history: Everything recorded so far.
        num_steps: Environment steps so far, dead ones not counted.
    """

    Config: ClassVar[type[AgentConfig]]

    def __init__(
        self,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        *,
        seed: int | None = None,
        device: str = "cpu",
        **config: Any,
    ) -> None:
        super().__init__(observation_space, action_space, seed=seed, device=device)
        self.config: Any = self.Config.make(type(self).__name__, config)
        self.history = History()
        self.num_steps = 0
        self._observations = spaces.Observations(observation_space)
        self.n_actions = spaces.n_actions(action_space)
        self._action_start = int(getattr(action_space, "start", 0))
        children = np.random.SeedSequence(seed).spawn(len(CONSUMERS))
        self._rng = {name: np.random.default_rng(s) for name, s in zip(CONSUMERS, children, strict=True)}
        self._encoding = Encoding(
            observation_space,
            self._observations.size,
            normalise=getattr(self.config, "normalize_observations", False),
            n_basis=getattr(self.config, "n_basis", 0),
        )
        self._target = 0
        self._stream: Stream | None = None
        self._saved_stream: dict[str, Any] | None = None
        self._returns, self._lengths = np.zeros(0), np.zeros(0, dtype=np.int64)
        self._finished: list[tuple[float, int]] = []
        self._build()

    # What an algorithm adds --------------------------------------------------------------------------------------

    def _build(self) -> None:
        """Make what learns, once the configuration, the generators and the encoding are there."""

    @property
    @abstractmethod
    def update_due(self) -> bool:
        """Enough was collected for the next update."""

    @abstractmethod
    def update(self) -> dict[str, float]:
        """Learn from what was collected; returns the new record of the history, or {} if there was nothing."""

    @abstractmethod
    def _begin(self, stream: Stream) -> None:
        """A new environment: make or cut the buffers."""

    @abstractmethod
    def _collect_step(self, stream: Stream) -> None:
        """Act once in every sub-environment, through :meth:`_advance`, and store the transitions."""

    @abstractmethod
    def _choose(self, rows: Array, mask: Array | None, deterministic: bool, rng: np.random.Generator) -> Array:
        """Action indices for encoded (and scaled) observations."""

    @abstractmethod
    def _state(self) -> dict[str, Any]:
        """The algorithm's own state."""

    @abstractmethod
    def _restore(self, state: dict[str, Any]) -> None:
        """Put back what :meth:`_state` gave."""

    # The contract ------------------------------------------------------------------------------------------------

    def act(self, obs: ArrayLike, *, deterministic: bool = False, mask: ArrayLike | None = None) -> NDArray[np.int64]:
        rows, single = self._observations.batch(obs)
        allowed = spaces.check_mask(mask, len(rows), self.n_actions)
        actions = self._choose(self._encoding(rows), allowed, deterministic, self._rng["act"])
        actions = actions.astype(np.int64) + self._action_start
        return np.asarray(actions[0]) if single else actions

    def start(self, env: Env, total_steps: int | None = None, *, restart: bool = False) -> None:
        """Take hold of an environment: go on where the agent left it, or reset it (by a seed of the agent's own).

        Args:
            env: A Gymnasium environment, a list of them, or a vector environment.
            total_steps: Further steps that schedules should expect.
            restart: Reset even if this environment is the one in use, or a saved one waits to be continued.

        Raises:
            InvalidInputError: Not the spaces the agent was made for.
            UnsupportedError: A saved environment cannot be continued exactly.
        """
        if total_steps is not None and (total_steps <= 0 or total_steps != int(total_steps)):
            raise InvalidInputError(f"total_steps must be a positive whole number, not {total_steps!r}")
        if self._stream is None or self._stream.env is not env or restart:
            self._enter(make_stream(env), restart)
        if total_steps is not None:
            assert self._stream is not None
            # Steps come in batches: what the last call took too many is taken off this one, so that n and n are 2n.
            surplus = self.num_steps - self._target
            whole = 0 <= surplus < self._stream.num_envs
            self._target = (self._target if whole else self.num_steps) + total_steps

    def _enter(self, stream: Stream, restart: bool) -> None:
        """Check the spaces, then continue or reset the environment."""
        for what, mine, theirs in (
            ("observation", self.observation_space, stream.observation_space),
            ("action", self.action_space, stream.action_space),
        ):
            if mine != theirs:
                raise InvalidInputError(f"the agent was made for the {what} space {mine}, the environment has {theirs}")
        if self._saved_stream is not None and not restart:
            stream.restore(self._saved_stream)
        else:
            stream.reset(int(self._rng["env"].integers(2**31)))
            self._check(stream, stream.obs, np.zeros(stream.num_envs))
            self._returns = np.zeros(stream.num_envs)
            self._lengths = np.zeros(stream.num_envs, dtype=np.int64)
            self._begin(stream)
        self._saved_stream = None
        self._stream = stream

    def collect(self, n: int) -> int:
        """Take up to ``n`` environment steps, at least one per sub-environment, but stop when an update is due.

        Returns:
            The steps taken (dead ones not counted).

        Raises:
            InvalidInputError: No environment was given to :meth:`start`.
        """
        if self._stream is None:
            raise InvalidInputError("call start(env) before collect")
        before = self.num_steps
        while True:
            self._collect_step(self._stream)
            if self.update_due or self.num_steps - before >= n:
                return self.num_steps - before

    def learn(self, env: Env, total_steps: int, *, callback: Callback | None = None) -> History:
        self.start(env, total_steps)
        if self.update_due:  # a callback stopped the last call, or the caller has collected
            self.update()
        while self.num_steps < self._target:
            self.collect(self._target - self.num_steps)
            if self.update_due:
                record = self.update()
                if record and callback is not None and callback(self, record):
                    break
        return self.history

    def predict(
        self,
        observation: ArrayLike,
        state: Any = None,
        episode_start: ArrayLike | None = None,
        deterministic: bool = False,
        action_masks: ArrayLike | None = None,
    ) -> tuple[NDArray[np.int64], Any]:
        """:meth:`act` in the form of Stable-Baselines3, for tools that evaluate its models: (actions, state)."""
        return self.act(observation, deterministic=deterministic, mask=action_masks), state

    def save(self, path: str | PathLike[str]) -> None:
        stream = self._stream.state() if self._stream is not None else self._saved_stream
        tree = {
            "format": 1,
            "agent": type(self).__name__,
            "observation_space": spaces.to_data(self.observation_space),
            "action_space": spaces.to_data(self.action_space),
            "seed": self.seed,
            "config": self.config.data(),
            "num_steps": self.num_steps,
            "target": self._target,
            "source_version": self.source_version,
            "rng": {name: rng.bit_generator.state for name, rng in self._rng.items()},
            "scaler": None if self._encoding.moments is None else self._encoding.moments.state(),
            "episodes": {"returns": self._returns, "lengths": self._lengths, "finished": self._finished},
            "history": self.history.records,
            "stream": stream,
            "state": self._state(),
        }
        save_tree(path, tree)

    @classmethod
    def load(cls, path: str | PathLike[str], *, device: str = "cpu") -> Self:
        return cls._of(read(path, cls), device=device)

    @classmethod
    def _of(cls, tree: dict[str, Any], **given: Any) -> Self:
        """The agent of a saved tree, with what its constructor is given beside the saved settings."""
        observation_space, action_space = (
            spaces.from_data(tree[f"{what}_space"]) for what in ("observation", "action")
        )
        agent = cls(observation_space, action_space, seed=tree["seed"], **given, **tree["config"])
        agent.num_steps, agent._target = tree["num_steps"], tree["target"]
        agent.source_version = tree["source_version"]
        for name, state in tree["rng"].items():
            agent._rng[name].bit_generator.state = state
        if agent._encoding.moments is not None:
            agent._encoding.moments.restore(tree["scaler"])
        episodes = tree["episodes"]
        agent._returns, agent._lengths, agent._finished = (episodes[n] for n in ("returns", "lengths", "finished"))
        agent.history.records.extend(tree["history"])
        agent._saved_stream = tree["stream"]
        agent._restore(tree["state"])
        return agent

    @classmethod
    def zoo_settings(cls, env_id: str) -> dict[str, Any]:
        """Hyper-parameters known to work on a classic environment.

        Raises:
            InvalidInputError: There are none.
        """
        # A subclass has the settings of the class whose hyper-parameters it has.
        return zoo_settings(cls.Config.__name__.removesuffix("Config"), env_id)

    # Shared steps ------------------------------------------------------------------------------------------------

    @property
    def _progress(self) -> float:
        return min(self.num_steps / self._target, 1.0) if self._target else 0.0

    def _advance(self, stream: Stream, actions: Array) -> Step:
        """Step the environment, count, and note the episodes that ended."""
        step = stream.step(actions)
        live = int(np.count_nonzero(step.live))
        self.num_steps += live
        try:
            self._check(stream, step.next_obs, step.reward)
        except MbrlSplitError:
            self._stream = None  # nothing can be done from where it stands
            raise
        if live == 0:
            return step
        self._returns += step.reward if live == len(step.live) else np.where(step.live, step.reward, 0.0)
        self._lengths += step.live
        ended = step.ended
        if ended.any():
            self._finished += zip(self._returns[ended].tolist(), self._lengths[ended].tolist(), strict=True)
            self._returns[ended], self._lengths[ended] = 0.0, 0
        return step

    def _check(self, stream: Stream, next_obs: Array, rewards: Array) -> None:
        """Refuse what an environment gave if nothing can be done with it.

        Raises:
            NonFiniteError: An observation or a reward is not finite in single precision.
            InvalidInputError: A mask allows no action in a state that asks for one.
        """
        check_finite("the observation", next_obs, self.num_steps, SINGLE)
        if stream.obs is not next_obs:
            check_finite("the observation", stream.obs, self.num_steps, SINGLE)
        check_rewards(rewards, self.num_steps)
        mask = stream.mask
        if mask is not None and not mask.any(axis=1).all():
            row = int(np.argmin(mask.any(axis=1)))
            raise InvalidInputError(
                f"the mask of sub-environment {row} allows no action at environment step {self.num_steps}"
            )

    def _record(self, scalars: dict[str, float]) -> dict[str, float]:
        """Add a record to the history, with the episodes that ended since the last one."""
        episodes: dict[str, float] = {}
        if self._finished:
            returns, lengths = zip(*self._finished, strict=True)
            episodes = {
                "episode/return": math.fsum(returns) / len(returns),
                "episode/length": sum(lengths) / len(lengths),
                "episode/count": float(len(returns)),
            }
            self._finished = []
        self.history.log(self.num_steps, **scalars, **episodes)
        return self.history.records[-1]


def read(path: str | PathLike[str], kind: type) -> dict[str, Any]:
    """The saved tree of an agent of a given class.

    Raises:
        InvalidInputError: Nothing readable, or another class.
    """
    tree = load_tree(path)
    if tree.get("agent") != kind.__name__:
        raise InvalidInputError(f"{path} holds a {tree.get('agent')}, not a {kind.__name__}")
    return tree
