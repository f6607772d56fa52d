"""The rules of the layer split as pure functions of arrays: moves, drift, reward, observation.

The environment is made of them, and so is everything that looks at policies on grids of contexts without stepping.
Batch first throughout: ``split`` is (n,), ``context`` is (n, len(scenario.context)) in the columns' own units.
"""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from mbrl_split.columns import Column
from mbrl_split.errors import InvalidInputError
from mbrl_split.layer_split.scenarios import RewardSpec, Scenario

Array = NDArray[np.float64]

# ln of the largest vocabulary is 13: an exponent beyond 30 is an absurd prediction, which must stay finite.
_LARGEST_EXPONENT = 30.0


def action_space(scenario: Scenario, n_layers: int) -> spaces.Discrete:
    """Absolute: one action per split, 1 … L−1. Relative: the moves −max_move … +max_move."""
    return spaces.Discrete(n_layers - 1 if scenario.actions == "absolute" else 2 * scenario.max_move + 1)


def next_split(scenario: Scenario, n_layers: int, split: ArrayLike, action: ArrayLike) -> NDArray[np.int64]:
    """The split that an action leads to, shape (n,).

    Absolute: action a is split a + 1, wherever the split was. Relative: action a moves by a − max_move layers; what
    leaves 1 … L−1 is clipped.
    """
    a = np.asarray(action, dtype=np.int64)
    if scenario.actions == "absolute":
        return a + 1
    moved: NDArray[np.int64] = np.clip(np.asarray(split, dtype=np.int64) + a - scenario.max_move, 1, n_layers - 1)
    return moved


def drifted(scenario: Scenario, context: ArrayLike, moved: ArrayLike) -> Array:
    """The context after the split moved ``moved`` layers deeper than where ``context`` held, (n, c).

    Only the column ``noise`` changes: σ·exp(−drift·moved), cut to the column's range.
    """
    now = np.array(context, dtype=np.float64)
    if scenario.drift == 0.0:
        return now
    j = noise_column(scenario)
    noise = scenario.context[j]
    now[:, j] = np.clip(
        now[:, j] * np.exp(-scenario.drift * np.asarray(moved, dtype=np.float64)), noise.low, noise.high
    )
    return now


def noise_column(scenario: Scenario) -> int:
    """The index of the column ``noise`` in the scenario's context.

    Raises:
        InvalidInputError: There is none.
    """
    names = [c.name for c in scenario.context]
    if "noise" not in names:
        raise InvalidInputError(f"drift acts on a context column 'noise'; {scenario.name!r} has ({', '.join(names)})")
    return names.index("noise")


def build_inputs(split: ArrayLike, context: ArrayLike) -> Array:
    """The query of each split in its context, (n, 1 + c), in the order of ``scenario.columns(n_layers)``."""
    return np.column_stack([np.asarray(split, dtype=np.float64), np.asarray(context, dtype=np.float64)])


def quality_term(damage: ArrayLike, reward: RewardSpec, reference_damage: ArrayLike = 0.0) -> Array:
    """What the reward says about the answer's quality, in reward units.

    ``"log"``: −quality·(D − D_ref). ``"relative"``: quality·(1 − exp(D − D_ref)), which is the paper's
    quality·(PPL_ref − PPL)/PPL_ref.

    Args:
        damage: D, nats/token.
        reward: The weights and the form.
        reference_damage: D_ref, nats/token: 0 where the clean model is the reference.
    """
    excess = np.asarray(damage, dtype=np.float64) - np.asarray(reference_damage, dtype=np.float64)
    if reward.kind == "log":
        return -reward.quality * excess
    return -reward.quality * np.expm1(np.minimum(excess, _LARGEST_EXPONENT))


def load_term(split: ArrayLike, n_layers: int, reward: RewardSpec) -> Array:
    """load·(1 − p/L): what the user's device is spared."""
    return reward.load * (1.0 - np.asarray(split, dtype=np.float64) / n_layers)


def compose_reward(
    damage: ArrayLike, split: ArrayLike, n_layers: int, reward: RewardSpec, reference_damage: ArrayLike = 0.0
) -> Array:
    """The reward of running p of L layers on the device at damage D: :func:`quality_term` plus :func:`load_term`.

    Args:
        damage: D of one evaluation (a training step) or its expectation (a value), nats/token; any shape that
            broadcasts with ``split``.
        split: p, the split after the action.
        n_layers: L.
        reward: The weights and the form.
        reference_damage: D at the episode's start where the scenario's reference is ``"start"``.
    """
    return quality_term(damage, reward, reference_damage) + load_term(split, n_layers, reward)


def observation_space(scenario: Scenario) -> spaces.Box:
    """The box of :func:`observe`: [0, 1] per context column and for the split; [−1, 1] for a reference damage."""
    low = np.zeros(len(scenario.context) + 1, dtype=np.float32)
    if scenario.reference == "start":
        low = np.append(low, np.float32(-1.0))
    return spaces.Box(low, np.ones_like(low), dtype=np.float32)


def observe(
    scenario: Scenario,
    n_layers: int,
    context: ArrayLike,
    split: ArrayLike,
    reference_damage: ArrayLike | None = None,
) -> NDArray[np.float32]:
    """What the agent sees, float32 of shape (n, c + 1), or (n, c + 2) where the reference is ``"start"``.

    The context columns and the split, each mapped to [0, 1] along its scale; then D_ref/(1 + |D_ref|), which is
    monotone, needs no bound on D, and lies in (−1, 1).

    Raises:
        InvalidInputError: The reference damage is missing where it belongs to the observation.
    """
    x = np.asarray(context, dtype=np.float64)
    parts = [column.to_unit(x[:, j]) for j, column in enumerate(scenario.context)]
    parts.append(scenario.columns(n_layers)[0].to_unit(split))
    seen = np.clip(np.column_stack(parts), 0.0, 1.0)  # a hair beyond an end is rounding
    if scenario.reference == "start":
        if reference_damage is None:
            raise InvalidInputError(f"scenario {scenario.name!r} shows the reference damage: pass reference_damage")
        d = np.asarray(reference_damage, dtype=np.float64)
        seen = np.column_stack([seen, d / (1.0 + np.abs(d))])
    return seen.astype(np.float32)


def unobserve(
    scenario: Scenario, n_layers: int, obs: ArrayLike, next_obs: ArrayLike
) -> tuple[NDArray[np.int64], Array, Array]:
    """What a transition measured, read back from :func:`observe` before and after it, to single precision.

    Args:
        scenario: The decision problem.
        n_layers: L.
        obs: Before the move, (n, c + 1) or (n, c + 2).
        next_obs: After it, the same shape.

    Returns:
        The split after the move (n,), the context there (n, c), and the reference damage (n,), 0 where it is "clean".
    """
    before, after = np.asarray(obs, dtype=np.float64), np.asarray(next_obs, dtype=np.float64)
    c = len(scenario.context)
    context = [
        np.clip(column.from_unit(after[:, j]), column.low, column.high) for j, column in enumerate(scenario.context)
    ]
    split = scenario.columns(n_layers)[0].from_unit(after[:, c]).astype(np.int64)
    reference = np.zeros(len(after))
    if scenario.reference == "start":
        reference = before[:, c + 1] / (1.0 - np.abs(before[:, c + 1]))
    return split, np.stack(context, axis=1) if context else np.empty((len(after), 0)), reference


def from_uniform(column: Column, u: ArrayLike) -> Array:
    """Numbers uniform in [0, 1) to values uniform along the column's scale (every integer of an ordinal alike)."""
    if column.scale == "ordinal":
        return column.low + np.floor(np.asarray(u) * (column.high - column.low + 1))
    return column.from_unit(u)
