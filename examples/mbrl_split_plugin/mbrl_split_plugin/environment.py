"""An environment: an antenna is tilted while a user walks; how well the signal arrives must be measured."""

import numpy as np
from gymnasium import spaces

from mbrl_split.columns import Column
from mbrl_split.envs import CostlyEnv, OracleSource, VectorToSingle
from mbrl_split.oracles import FunctionOracle, Ledger

COLUMNS = (Column("tilt", "1", 0, 4, "ordinal"), Column("distance", "km", 0.1, 2.0))


def loss(X):
    """Stands for the measurement."""
    return (X[:, 0] / 2 - X[:, 1]) ** 2


class Tilt(CostlyEnv):
    """Five tilts; the distance of the user changes by chance."""

    def __init__(self, num_envs=1, source=None):
        source = source or OracleSource(Ledger(FunctionOracle(loss, COLUMNS, noise_std=0.1)))
        seen = spaces.Box(0, 1, (1,), np.float32)
        super().__init__(
            source=source,
            columns=COLUMNS,
            observation_space=seen,
            action_space=spaces.Discrete(5),
            episode_steps=8,
            num_envs=num_envs,
        )

    def initial_state(self, draws):
        return {"distance": 0.1 + 1.9 * draws.uniform(1)[:, 0]}

    def observe(self, state):
        return (state["distance"] / 2.0).astype(np.float32)[:, None]

    def features(self, state, action):
        return np.column_stack([action, state["distance"]])

    def transition(self, state, action, draws):
        return {"distance": np.clip(state["distance"] + 0.1 * draws.normal(1)[:, 0], 0.1, 2.0)}

    def compose(self, damage, state, action):
        return -np.asarray(damage)


class TiltSingle(VectorToSingle):
    """What `gymnasium.make` builds."""

    def __init__(self, source=None):
        super().__init__(Tilt(1, source))
