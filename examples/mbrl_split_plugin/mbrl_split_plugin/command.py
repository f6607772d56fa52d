"""A command: `mbrl-split tilt --distance 1.5`. Arguments come from the function, help from its docstring."""

import numpy as np


def tilt(distance: float = 1.0) -> None:
    """Print the tilt that loses least.

    Args:
        distance: Of the user, in km.
    """
    from mbrl_split_plugin.environment import loss  # imported when it runs: `mbrl-split --help` should not wait

    tilts = np.arange(5)
    print(int(loss(np.column_stack([tilts, np.full(5, distance)])).argmin()))
