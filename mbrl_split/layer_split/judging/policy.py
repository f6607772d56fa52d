"""What is judged: where to cut, given what is known. Agents become policies by :func:`agent_policy`."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mbrl_split.errors import InvalidInputError
from mbrl_split.interaction import Policy
from mbrl_split.layer_split.envs.rules import drifted, next_split, observe
from mbrl_split.layer_split.scenarios import Scenario

Array = NDArray[np.float64]
Splits = NDArray[np.int64]


class SplitPolicy(Protocol):
    """Where to cut, for a batch of contexts at once."""

    def __call__(self, context: Array, split: Splits, step: int) -> Splits:
        """The wanted splits 1 … L−1, shape (n,); with relative actions one moves towards them as far as allowed.

        Args:
            context: Shape (n, len(scenario.context)), in the columns' units.
            split: The current splits, shape (n,).
            step: How many decisions of the episode were taken before.
        """
        ...


def agent_policy(agent: Policy, scenario: Scenario, n_layers: int) -> SplitPolicy:
    """The deterministic policy of an agent that was trained on the scenario's environment.

    Raises:
        InvalidInputError: The scenario's reference is ``"start"``: its observation holds a measurement that a policy on
            contexts alone does not have; or the scenario is a session.
    """
    if scenario.reference == "start":
        raise InvalidInputError(
            "a policy of (context, split) cannot see the reference perplexity of the episode's start"
        )
    if scenario.context_process is not None:
        raise InvalidInputError(
            "a policy of (context, split) cannot see a session: SessionJudge judges the agent itself"
        )

    def policy(context: Array, split: Splits, step: int) -> Splits:
        action = agent.act(observe(scenario, n_layers, context, split), deterministic=True)
        return next_split(scenario, n_layers, split, action)

    return policy


def clip_move(scenario: Scenario, n_layers: int, split: Splits, wanted: Splits) -> Splits:
    """The split after one step from ``split`` towards ``wanted``: there at once, or as far as one move reaches."""
    target = np.clip(wanted, 1, n_layers - 1)
    if scenario.actions == "absolute":
        return target
    return np.asarray(split + np.clip(target - split, -scenario.max_move, scenario.max_move))


def policy_splits(
    policy: SplitPolicy, scenario: Scenario, n_layers: int, context: Array, start: Splits
) -> NDArray[np.int64]:
    """Roll a policy through one episode in every context at once; nothing is measured.

    Args:
        policy: Where to cut.
        scenario: Its actions and episode length.
        n_layers: L of the model.
        context: Contexts as they are at the start, shape (n, len(scenario.context)).
        start: The splits at the start, shape (n,).

    Returns:
        The splits that were run, one column per step, shape (n, episode_steps).

    Raises:
        InvalidInputError: The policy does not return one split per context.
    """
    split, path = np.asarray(start, dtype=np.int64), []
    for step in range(scenario.episode_steps):
        wanted = np.asarray(policy(drifted(scenario, context, split - start), split, step))
        if wanted.shape != split.shape:
            raise InvalidInputError(f"a policy returns one split per context, shape {split.shape}, not {wanted.shape}")
        split = clip_move(scenario, n_layers, split, wanted.astype(np.int64))
        path.append(split)
    return np.stack(path, axis=1)
