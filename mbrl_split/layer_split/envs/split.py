"""Where to cut a language model between a device and an edge server: the flagship environment."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from mbrl_split.envs.base import Array, CostlyEnv, State
from mbrl_split.envs.random_stream import RandomStream
from mbrl_split.errors import UnsupportedError
from mbrl_split.interaction import Source, ask
from mbrl_split.layer_split.envs import rules
from mbrl_split.layer_split.envs.built_in import resolve_source
from mbrl_split.layer_split.scenarios import Scenario
from mbrl_split.layer_split.scenarios import scenario as named_scenario

if TYPE_CHECKING:
    from mbrl_split.refresh import RewardFunction


class SplitVector(CostlyEnv):
    """The layer split of an L-layer causal language model over a noisy channel, a batch of sub-environments.

    The device runs the first p layers, the hidden state crosses the channel, the server runs the rest. The agent picks
    p; the costly number is the damage D(p, context), in nats/token: the capped loss through the channel minus the
    clean loss of the same text.

    =================  ======================================  =====================================================
    part               the paper (arXiv 2406.02616)            here
    =================  ======================================  =====================================================
    state              noise σ, Nakagami m, split p            the scenario's context columns and p; with
                                                               ``reference="start"`` also the damage at the start
    observation        raw numbers                             Box, float32: each column and p on [0, 1] along its
                                                               scale; reference damage as D/(1 + \\|D\\|) in (−1, 1)
    context            cases L, H, A; ranges not public        drawn once per episode, uniform along each scale;
                                                               ranges of the scenario, for instance σ log-uniform
                                                               in 0.05 … 1 RMS and m log-uniform in ½ … 8
    first split        not stated                              uniform over 1 … L−1
    action             absolute p, or stay/±1 … ±4, clipped    absolute: action a is p = a + 1; relative: action a
                                                               moves by a − max_move, clipped to 1 … L−1
    splits             1 … 10 of 32, cut one layer later       p = 1 … L−1, p layers on the device
    drift of σ         ×(1 ∓ 0.0005·Δ) per move of Δ layers    σ_t = σ_0·exp(−drift·(p_t − p_0)), cut to the range:
                                                               the same factor to first order, but it telescopes, so
                                                               that coming back restores σ
    reward             10·(PPL_ref − PPL)/PPL_ref + load       ``relative``: quality·(1 − exp(D − D_ref)) + load;
                                                               ``log``: −quality·(D − D_ref) + load
    load               (p_max − p)/p_max                       load·(1 − p/L)
    reference          perplexity at the episode's start,      D_ref = 0, the clean model, or with
                       hidden from the agent                   ``reference="start"`` one measurement at (p_0, σ_0),
                                                               which the agent sees and which is paid for
    measured at        a perplexity that may be stale          the split and σ after the move, anew in every step
    episode            5 steps                                 ``episode_steps`` (5), then truncated, never terminated
    =================  ======================================  =====================================================

    A scenario with a context process is a :class:`~mbrl_split.layer_split.envs.session.SessionVector`, which says what
    differs there; :func:`~mbrl_split.layer_split.LLMSplitVector` makes the one that fits.

    ``info`` adds ``damage`` (D), ``split`` (p after the move), ``quality`` and ``load`` (the two terms of the reward).
    D_ref cancels the text's own difficulty: every damage is relative to the clean loss of its own windows.

    Args:
        num_envs: Sub-environments.
        scenario: A name or a :class:`~mbrl_split.layer_split.scenarios.Scenario`.
        model: The language model of the built-in sources, ``"tiny-llama"`` by default. With a source of your own it
            is not needed; if it is given, its number of layers is checked.
        source: ``"table"`` (the shipped measurements), ``"live"`` (the model itself, through a ledger without
            budget), a :class:`~mbrl_split.interaction.Source`, or None: the table if one is shipped, else live.
        render_mode: There is nothing to render: None.
        **overrides: Fields of the scenario, replaced.

    Raises:
        InvalidInputError: An unknown scenario, field, model or source, or a source with other columns.
    """

    def __init__(
        self,
        num_envs: int = 1,
        scenario: str | Scenario = "equalised",
        model: str | None = None,
        source: str | Source | None = None,
        render_mode: None = None,
        **overrides: Any,
    ) -> None:
        if render_mode is not None:
            raise TypeError("there is nothing to render: LLMSplit takes no render_mode")
        self.scenario = named_scenario(scenario, **overrides)
        if self.scenario.drift:
            rules.noise_column(self.scenario)
        answers = resolve_source(source, model, self.scenario)
        self.n_layers = int(answers.columns[0].high) + 1
        super().__init__(
            source=answers,
            columns=self.scenario.columns(self.n_layers),
            observation_space=self._observation_space(),
            action_space=rules.action_space(self.scenario, self.n_layers),
            episode_steps=self.scenario.episode_steps,
            num_envs=num_envs,
        )

    def initial_state(self, draws: RandomStream) -> State:
        """Context, first split; the reference damage is filled in by :meth:`start`."""
        u = draws.uniform(len(self.scenario.context) + 1)
        context = [rules.from_uniform(column, u[:, j]) for j, column in enumerate(self.scenario.context)]
        split = rules.from_uniform(self.columns[0], u[:, -1]).astype(np.int64)
        return {
            "start_context": np.stack(context, axis=1) if context else np.empty((len(draws), 0)),
            "start_split": split,
            "split": split.copy(),
            "reference_damage": np.zeros(len(draws)),
        }

    def reward_function(self) -> RewardFunction:
        """How a damage becomes a reward, for acquisitions and schedules that look at rewards."""
        from mbrl_split.layer_split.reward import split_reward  # it loads surrogates, and with them torch

        return split_reward(self.scenario, self.n_layers)

    def context(self, state: State, split: ArrayLike | None = None) -> Array:
        """The context at the state's split (or at another one), shape (n, c): drift included."""
        p = state["split"] if split is None else np.asarray(split)
        return rules.drifted(self.scenario, state["start_context"], p - state["start_split"])

    def observe(self, state: State) -> NDArray[np.float32]:
        """See :func:`mbrl_split.layer_split.envs.rules.observe`."""
        return rules.observe(
            self.scenario, self.n_layers, self.context(state), state["split"], state["reference_damage"]
        )

    def features(self, state: State, action: NDArray[Any]) -> Array:
        """The split after the move, in the context after the move."""
        split = self._split_after(state, action)
        return rules.build_inputs(split, self.context(state, split))

    def transition(self, state: State, action: NDArray[Any], draws: RandomStream) -> State:
        """Only the split moves; the context follows from it."""
        return {**state, "split": self._split_after(state, action)}

    def compose(self, damage: ArrayLike, state: State, action: NDArray[Any]) -> Array:
        """See :func:`mbrl_split.layer_split.envs.rules.compose_reward`."""
        split = self._split_after(state, action)
        return rules.compose_reward(damage, split, self.n_layers, self.scenario.reward, state["reference_damage"])

    def terms(self, damage: Array, state: State, action: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """The damage, the split after the move, and the two terms of the reward."""
        split, reward = self._split_after(state, action), self.scenario.reward
        return {
            "damage": damage,
            "split": split,
            "quality": rules.quality_term(damage, reward, state["reference_damage"]),
            "load": rules.load_term(split, self.n_layers, reward),
        }

    def start_features(self, state: State) -> Array | None:
        """With ``reference="start"``, the first split in its context."""
        if self.scenario.reference == "clean":
            return None
        return rules.build_inputs(state["split"], self.context(state))

    def start(self, state: State, damage: Array) -> State:
        """The damage at the start becomes the reference of the episode."""
        return {**state, "reference_damage": damage}

    def settings(self) -> dict[str, Any]:
        """The whole scenario, and L."""
        return {"scenario": dataclasses.asdict(self.scenario), "n_layers": self.n_layers}

    def relabel(
        self, obs: ArrayLike, actions: ArrayLike, next_obs: ArrayLike, *, source: Source | None = None
    ) -> Array:
        """The rewards of stored transitions as another source would have given them, shape (n,).

        The successor's observation holds the split and the context that were measured, the observation the reference
        damage, each to single precision. A reference damage stays what the agent saw at the time.

        Args:
            obs: What was acted on, (n, …).
            actions: Not needed: the successor shows where they led.
            next_obs: The real successors, (n, …).
            source: Who answers now; default the environment's. With ``mode="sample"`` all rows see one posterior draw.

        Raises:
            UnsupportedError: The source is the truth: the past is not paid for again.
        """
        source = self.source if source is None else source
        if source.version == 0:
            raise UnsupportedError(
                "stored transitions are relabelled by a surrogate, never by paying for the truth again"
            )
        split, context, reference = rules.unobserve(self.scenario, self.n_layers, obs, next_obs)
        X = rules.build_inputs(split, context)
        damage = ask(source, X, np.zeros(len(X), dtype=np.int64))
        return rules.compose_reward(damage, split, self.n_layers, self.scenario.reward, reference)

    def _observation_space(self) -> spaces.Box:
        return rules.observation_space(self.scenario)

    def _split_after(self, state: State, action: NDArray[Any]) -> NDArray[np.int64]:
        return rules.next_split(self.scenario, self.n_layers, state["split"], action)
