"""What the policy-gradient agents share: an actor and a critic, a rollout, and the batch made of it."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np

from mbrl_split.agents import categorical
from mbrl_split.agents.actor_critic import ActorCritic
from mbrl_split.agents.base import multiple_above
from mbrl_split.agents.gae import gae
from mbrl_split.agents.learner import Learner
from mbrl_split.agents.normalise import RewardScaler
from mbrl_split.agents.optimisers import Optimiser
from mbrl_split.agents.rollout import Rollout
from mbrl_split.errors import InvalidInputError
from mbrl_split.interaction.finite import check_finite
from mbrl_split.interaction.spaces import Array
from mbrl_split.interaction.stream import Stream


class OnPolicy(Learner):
    """Collects rollouts with the current policy; an update uses a rollout once and forgets it.

    Observations and rewards are scaled, if asked, as they arrive; the statistics are saved with the agent. When the
    reward's source changes, the open rollout is dropped: its rewards are stale.
    """

    paced_by: ClassVar[tuple[str, ...]] = ("n_steps",)
    optimiser: Optimiser

    def _build(self) -> None:
        c = self.config
        self.networks = ActorCritic(
            self._encoding.size, self.n_actions, c.net_arch, c.activation, self._rng["init"], device=self.device
        )
        self._rollout: Rollout | None = None
        self._reward_scaler: RewardScaler | None = None
        self._policy_obs: Array | None = None  # the current observations as the policy sees them

    @abstractmethod
    def _improve(self, batch: dict[str, Array], learning_rate: float) -> dict[str, float]:
        """Move the networks, given a batch; returns scalars for the record."""

    def _rollout_steps(self) -> int:
        """Steps to allocate for a rollout."""
        return int(self.config.n_steps)

    @property
    def update_due(self) -> bool:
        return self._rollout is not None and self._rollout.pos >= self.config.n_steps

    def update(self) -> dict[str, float]:
        """Learn from the rollout so far, which is then forgotten; {} if it is empty."""
        rollout, c = self._rollout, self.config
        record: dict[str, float] = {}
        if rollout is not None and rollout.filled("live").any():
            # REINFORCE has no λ: at 1 the returns reach to the end of the episode.
            batch, explained = self._batch(gamma=c.gamma, gae_lambda=getattr(c, "gae_lambda", 1.0))
            learning_rate = c.learning_rate(self._progress)
            scalars = self._improve(batch, learning_rate)
            scalars |= {"explained_variance": explained, "learning_rate": learning_rate}
            record = self._record({f"train/{name}": value for name, value in scalars.items()})
        self._forget()
        return record

    def _forget(self) -> None:
        """Drop the open rollout."""
        if self._rollout is not None:
            self._rollout.clear()

    def next_update(self, after: int = 0, *, num_envs: int = 1, episode_steps: int = 1) -> int:
        return multiple_above(after, int(self.config.n_steps) * num_envs)

    def _choose(self, rows: Array, mask: Array | None, deterministic: bool, rng: np.random.Generator) -> Array:
        logits = self.networks.actor(rows)
        if deterministic:
            return categorical.best_of_numbers("the logit", logits, mask)
        return categorical.sample(categorical.log_softmax(logits, mask)[1], rng)

    def on_source_changed(self, version: int) -> None:
        super().on_source_changed(version)
        self._forget()

    def _begin(self, stream: Stream) -> None:
        self._rollout = Rollout(self._rollout_steps(), stream.num_envs, self._encoding.size, self.n_actions)
        if self.config.normalize_reward:
            fresh = RewardScaler(stream.num_envs, self.config.gamma)
            if self._reward_scaler is not None:
                fresh.moments = self._reward_scaler.moments
            self._reward_scaler = fresh
        self._policy_obs = None
        self._forget()

    def _collect_step(self, stream: Stream) -> None:
        rollout = self._rollout
        assert rollout is not None
        if self.update_due:
            raise InvalidInputError("the rollout is full: call update() before collecting more")
        obs = self._policy_obs
        if obs is None:  # the first observations of a new environment
            obs = self._seen(stream.obs)
        mask = stream.mask
        actions = self._choose(obs, mask, False, self._rng["policy"])
        step = self._advance(stream, actions)
        rewards = step.reward
        if self._reward_scaler is not None:
            self._reward_scaler.update(rewards, step.ended, step.live)
            rewards = self._reward_scaler(rewards)
        self._policy_obs = self._seen(step.obs)
        final = self._policy_obs if step.next_obs is step.obs else self._encoding(step.next_obs)
        rollout.add(obs, actions, mask, rewards, step, final)

    def _seen(self, rows: Array) -> Array:
        """Take observations into the statistics, and give them as the policy sees them."""
        self._encoding.update(rows)
        return self._encoding(rows)

    def _batch(self, *, gamma: float, gae_lambda: float) -> tuple[dict[str, Array], float]:
        """The live transitions of the rollout as flat arrays, and the explained variance of the returns."""
        rollout = self._rollout
        assert rollout is not None
        assert self._policy_obs is not None
        steps, envs = rollout.pos, rollout.num_envs
        f = {name: rollout.filled(name) for name in rollout.fields}
        flat_obs = f["obs"].reshape(steps * envs, -1)
        values = self.networks.values(flat_obs).reshape(steps, envs)
        next_values = np.concatenate([values[1:], self.networks.values(self._policy_obs)[None]])
        if f["ended"].any():
            next_values[f["ended"]] = self.networks.values(f["final_obs"][f["ended"]])
        advantages = gae(
            f["reward"], values, next_values, f["terminated"], f["ended"], gamma=gamma, gae_lambda=gae_lambda
        )
        actions = f["action"].reshape(-1)
        mask = f["mask"].reshape(steps * envs, -1) if rollout.masked else None
        log_p, _ = categorical.log_softmax(self.networks.actor(flat_obs), mask)
        batch = {
            "obs": flat_obs,
            "action": actions,
            "log_prob": log_p[np.arange(len(actions)), actions],
            "advantage": advantages.reshape(-1),
            "value": values.reshape(-1),
            "return": (advantages + values).reshape(-1),
        }
        if mask is not None:
            batch["mask"] = mask
        live = f["live"].reshape(-1)
        # A copy in any case: the rollout's arrays are overwritten by the next one.
        batch = {name: a[live] if not live.all() else a.copy() for name, a in batch.items()}
        check_finite("the advantages", batch["advantage"], self.num_steps)
        spread = float(np.var(batch["return"]))
        explained = 1.0 - float(np.var(batch["return"] - batch["value"])) / spread if spread > 0 else 0.0
        return batch, explained

    def _check_losses(self, losses: dict[str, float]) -> None:
        """Stop at a loss that is not finite, before it reaches the parameters."""
        for name in ("policy_loss", "value_loss", "entropy"):
            if not math.isfinite(losses[name]):
                check_finite(f"the {name.replace('_', ' ')}", losses[name], self.num_steps)

    def _state(self) -> dict[str, Any]:
        return {
            "parameters": self.networks.parameters.views,
            "optimiser": self.optimiser.state(),
            "rollout": None if self._rollout is None else self._rollout.state(),
            "reward_scaler": None if self._reward_scaler is None else self._reward_scaler.state(),
            "policy_obs": self._policy_obs,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.networks.parameters.restore(state["parameters"])
        self.optimiser.restore(state["optimiser"])
        self._rollout = None if state["rollout"] is None else Rollout.from_state(state["rollout"])
        if state["reward_scaler"] is not None:
            self._reward_scaler = RewardScaler(len(state["reward_scaler"]["returns"]), self.config.gamma)
            self._reward_scaler.restore(state["reward_scaler"])
        self._policy_obs = state["policy_obs"]


def standardised(advantages: Array, size: int) -> Array:
    """Each run of ``size`` entries (the last may be shorter) less its mean, by its deviation; a single one as it is."""
    whole = len(advantages) // size * size
    parts = (advantages[:whole].reshape(-1, size), advantages[whole:].reshape(1, -1))
    scaled = [
        (a - a.mean(axis=1, keepdims=True)) / (a.std(axis=1, ddof=1, keepdims=True) + 1e-8) if a.shape[1] > 1 else a
        for a in parts
    ]
    return np.concatenate([a.reshape(-1) for a in scaled])
