"""The flagship environment by one name: a layer split whose context holds for the episode, or a session."""

from __future__ import annotations

from typing import Any

from mbrl_split.envs.single import VectorToSingle
from mbrl_split.errors import InvalidInputError
from mbrl_split.interaction import Source
from mbrl_split.layer_split.envs.split import SplitVector
from mbrl_split.layer_split.scenarios import Scenario
from mbrl_split.layer_split.scenarios import scenario as named_scenario


def LLMSplitVector(
    num_envs: int = 1,
    scenario: str | Scenario = "equalised",
    model: str | None = None,
    source: str | Source | None = None,
    render_mode: None = None,
    **overrides: Any,
) -> SplitVector:
    """The layer split of a causal language model over a noisy channel, a batch of sub-environments.

    A :class:`~mbrl_split.layer_split.envs.split.SplitVector`, or, for a scenario with a context process, a
    :class:`~mbrl_split.layer_split.envs.session.SessionVector`; ``gymnasium.make_vec`` calls it.

    Args:
        num_envs: Sub-environments.
        scenario: A name or a :class:`~mbrl_split.layer_split.scenarios.Scenario`.
        model: As in the class.
        source: As there.
        render_mode: As there.
        **overrides: Fields of the scenario, replaced.

    Raises:
        InvalidInputError: As there.

    Example:
        >>> import numpy as np
        >>> from mbrl_split.layer_split import scenario
        >>> from mbrl_split.layer_split import LLMSplitVector
        >>> from mbrl_split.envs import OracleSource
        >>> from mbrl_split.oracles import FunctionOracle, Ledger
        >>> damage = FunctionOracle(lambda X: X[:, 1] / X[:, 0], scenario("equalised").columns(n_layers=12))
        >>> env = LLMSplitVector(num_envs=4, scenario="equalised", source=OracleSource(Ledger(damage)))
        >>> obs, _ = env.reset(seed=0)
        >>> obs, reward, terminated, truncated, info = env.step(np.array([0, 3, 6, 10]))
        >>> info["split"]
        array([ 1,  4,  7, 11])
    """
    wanted = named_scenario(scenario, **overrides)
    if wanted.context_process is None:
        return SplitVector(num_envs, wanted, model, source, render_mode)
    from mbrl_split.layer_split.envs.session import SessionVector  # the plain split loads none of it

    return SessionVector(num_envs, wanted, model, source, render_mode)


class LLMSplit(VectorToSingle[SplitVector]):
    """One sub-environment of :func:`LLMSplitVector` in Gymnasium's single form: what ``gymnasium.make`` builds.

    Args:
        scenario: As in :func:`LLMSplitVector`.
        model: As there.
        source: As there.
        render_mode: As there.
        **overrides: As there.

    Example:
        >>> import gymnasium
        >>> from mbrl_split.layer_split import scenario
        >>> from mbrl_split.envs import OracleSource
        >>> from mbrl_split.oracles import FunctionOracle, Ledger
        >>> damage = FunctionOracle(lambda X: X[:, 1] / X[:, 0], scenario("equalised").columns(n_layers=12))
        >>> env = gymnasium.make("mbrl_split/LLMSplit-v0", source=OracleSource(Ledger(damage)))
        >>> obs, info = env.reset(seed=0)
        >>> obs, reward, terminated, truncated, info = env.step(5)
        >>> info["split"]
        6
    """

    def __init__(
        self,
        scenario: str | Scenario = "equalised",
        model: str | None = None,
        source: str | Source | None = None,
        render_mode: None = None,
        **overrides: Any,
    ) -> None:
        if "num_envs" in overrides:
            raise InvalidInputError(
                "the single form is a batch of one: for more use gymnasium.make_vec(..., num_envs=…)"
            )
        super().__init__(LLMSplitVector(1, scenario, model, source, render_mode, **overrides))

    @property
    def scenario(self) -> Scenario:
        """The decision problem."""
        return self.batch.scenario

    @property
    def n_layers(self) -> int:
        """L, the layers of the model."""
        return self.batch.n_layers
