"""Reinforcement learning on the truth: what the model-based loop is compared with."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from typing import Any

from mbrl_split.agents import Agent
from mbrl_split.envs import OracleSource
from mbrl_split.errors import BudgetExhaustedError, InvalidInputError
from mbrl_split.oracles import Ledger
from mbrl_split.training.checkpoint import Checkpoints
from mbrl_split.training.log import Logger, NullLogger
from mbrl_split.training.progress import progress
from mbrl_split.training.segment import Snapshot, costly, learn_segment, restore_env


class TruthTrainer:
    """An agent that learns from the oracle itself, one true evaluation per step; it stops where the budget does.

    Same environment, agent, logs and checkpoints as :class:`~mbrl_split.training.ModelBasedTrainer`; only the source
    differs.

    Args:
        env: A costly environment, whose source is set here; or a ``Metered`` one, whose truth is a real step.
        agent: Learns in it.
        ledger: Pays.
        total_steps: Environment steps, summed over sub-environments.
        segment_steps: Steps between two snapshots (and checkpoints); default a fiftieth of all.
        logger: Where to tell what happens.
        checkpoint_dir: Where the newest checkpoint lives; None keeps none.
        show_progress: A bar on a terminal, plain lines elsewhere.

    Example:
        >>> import gymnasium as gym, numpy as np
        >>> from mbrl_split.agents import PPO
        >>> from mbrl_split.columns import Column
        >>> from mbrl_split.envs import CostlyReward, OracleSource
        >>> from mbrl_split.oracles import FunctionOracle, Ledger
        >>> from mbrl_split.training import TruthTrainer
        >>> height = FunctionOracle(lambda X: np.sin(3 * X[:, 0]), [Column("position", "1", -1.5, 1.5)])
        >>> ledger = Ledger(height, budget=256)
        >>> cars = gym.make_vec("MountainCar-v0", num_envs=8)
        >>> env = CostlyReward(cars, OracleSource(ledger), features=lambda obs, action: obs[:, :1])
        >>> agent = PPO(env.single_observation_space, env.single_action_space, n_steps=16, seed=0)
        >>> agent = TruthTrainer(env, agent, ledger, total_steps=1000).run()
        >>> ledger.spent
        256.0
    """

    def __init__(
        self,
        env: Any,
        agent: Agent,
        ledger: Ledger,
        *,
        total_steps: int,
        segment_steps: int | None = None,
        logger: Logger | None = None,
        checkpoint_dir: str | PathLike[str] | None = None,
        show_progress: bool = False,
    ) -> None:
        if total_steps < 1:
            raise InvalidInputError(f"total_steps is at least 1, not {total_steps}")
        self.env, self.agent, self.ledger = env, agent, ledger
        self.total_steps, self.segment_steps = total_steps, segment_steps or max(1, total_steps // 50)
        self.logger: Logger = logger or NullLogger()
        self.checkpoints = Checkpoints(checkpoint_dir)
        self.show_progress = show_progress
        self.step = 0
        self._left = -1.0  # true evaluations that were left, too few for a step, when the budget ended the run

    @property
    def finished(self) -> bool:
        """All steps are taken, or the budget has ended the run and was not raised since."""
        return self.step >= self.total_steps or self.ledger.remaining <= self._left

    def run(self, *, resume: bool = True) -> Agent:
        """Train to the end (from the newest checkpoint, or where the last call stopped) and return the agent."""
        with progress(self.total_steps, self.show_progress) as report:
            for now in self.segments(resume=resume):
                report(now.step, f"{now.true_evaluations:g} true evaluations")
        return self.agent

    def segments(self, *, resume: bool = True) -> Iterator[Snapshot]:
        """Train segment by segment; look at the agent between two of them."""
        if self.ledger.oracle.columns:  # else the truth is a real step, which the environment charges itself
            costly(self.env).set_source(OracleSource(self.ledger))
        if not (resume and self._restore()) and self.step == 0 and not self.finished:
            self.logger.rewind(0, 0)
            self.agent.on_source_changed(0)  # it may come with the rewards of another source
        while not self.finished:
            self._left = -1.0
            border, before = self.step + self.segment_steps, getattr(self.agent, "num_steps", 0)
            try:
                self.step = learn_segment(
                    self.agent, self.env, self.step, border, self.total_steps, self.logger, source="true"
                )
            except BudgetExhaustedError as error:
                # The step was not taken; whatever was collected since the last update is not learnt from.
                taken = getattr(self.agent, "num_steps", 0) - before  # an agent may come with steps of its own
                self.step = min(self.step + taken, self.total_steps)
                self.logger.log("end", self.step, reason=str(error), spent=self.ledger.spent)
                self._left = self.ledger.remaining
            self._checkpoint()
            spent = self.ledger.spent
            yield Snapshot(self.step, spent, (spent, self.ledger.seconds), 0, self.finished)

    def _checkpoint(self) -> None:
        if self.checkpoints.folder is None:
            return
        state = {
            "step": self.step,
            "total_steps": self.total_steps,
            "left": self._left,
            "ledger": self.ledger.state_dict(),
            "log": self.logger.position(),
        }
        self.checkpoints.save(f"step-{self.step}", state, lambda folder: self.agent.save(folder / "agent"))

    def _restore(self) -> bool:
        folder = self.checkpoints.latest()
        if folder is None:
            return False
        state = self.checkpoints.read(folder)
        if state["total_steps"] != self.total_steps:
            raise InvalidInputError(f"{folder} is of a run of {state['total_steps']} steps, not {self.total_steps}")
        self.agent = self.agent.reload(folder / "agent")
        restore_env(self.agent, self.env)
        self.ledger.load_state_dict(state["ledger"])
        self.step, self._left = state["step"], state.get("left", -1.0)
        self.logger.rewind(state["log"], self.step)
        return True


def train_on_truth(env: Any, agent: Agent, ledger: Ledger, *, total_steps: int, **settings: Any) -> Agent:
    """:class:`TruthTrainer` in one call: train, and return the agent."""
    return TruthTrainer(env, agent, ledger, total_steps=total_steps, **settings).run()
