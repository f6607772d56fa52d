"""The model-based loop: learn from the surrogate, pay for truth when the schedule says so, learn on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.agents import Agent
from mbrl_split.columns import check_rows
from mbrl_split.envs import SurrogateSource
from mbrl_split.errors import BudgetExhaustedError, InvalidInputError
from mbrl_split.interaction.stream import unwrap_transparent
from mbrl_split.oracles import Ledger, Measurement
from mbrl_split.refresh import (
    Acquisition,
    Fidelity,
    RefreshSchedule,
    RefreshState,
    RewardFunction,
    design_pool,
    probability_best,
    random_design,
    sobol_design,
)
from mbrl_split.surrogates import Surrogate
from mbrl_split.training.checkpoint import Checkpoints
from mbrl_split.training.follower import Follower
from mbrl_split.training.log import Logger, NullLogger
from mbrl_split.training.measuring import measure_parts
from mbrl_split.training.progress import progress
from mbrl_split.training.segment import Snapshot, costly, learn_segment, restore_env
from mbrl_split.training.visited import Visited

Array = NDArray[np.float64]

PURPOSES = ("initial", "refresh", "audit")
"""What the loop pays for. The surrogate learns from these rows of the ledger and from nothing else."""

# One generator per consumer: drawing more in one place moves nothing in another.
CONSUMERS = ("design", "pool", "select", "measure", "audit", "value_of_information", "probability_best")

_VOI_CONTEXTS, _VOI_DRAWS = 64, 64


class ModelBasedTrainer:
    """Trains an agent on a surrogate of the costly number, and refreshes the surrogate with truth.

    1. The initial design is measured, and the surrogate fitted to it.
    2. The agent learns a segment of steps in the environment, with the surrogate as its source.
    3. The schedule is asked. If it says "pay", the acquisition picks rows from a pool (fresh contexts × every action,
       or what the agent visited), the ledger measures them, the surrogate learns, the agent is told; back to 2.

    When the budget is spent, paying ends and training goes on. Nothing reads a clock. A run with a ``checkpoint_dir``
    can be killed at any moment; the next ``run`` goes on from the last segment's end and gives, bit for bit, what an
    uninterrupted run gives.

    Args:
        env: A costly environment (its source is set here).
        agent: Learns in it, or follows the surrogate.
        surrogate: Learns the costly number; wrap it in a ``TabulatedSurrogate`` where single predictions are slow.
        schedule: When to pay.
        acquisition: For which rows.
        ledger: Pays; its budget is the run's budget.
        total_steps: Environment steps, summed over sub-environments.
        initial_design: How many rows to measure at the start, or the rows themselves, shape (n, d).
        design: How the initial rows are spread.
        fidelity: How much truth a row of a refresh gets; initial rows get one part of it, audits the declared size.
        seed: Everything random in the loop follows from it; the agent and the surrogate have seeds of their own.
        source_mode: What the agent learns from: the surrogate's mean, a pessimistic bound, or posterior draws.
        kappa: Width of the pessimistic bound, in epistemic standard deviations.
        segment_steps: Steps between two questions to the schedule; default a fiftieth of all. An agent stops at the
            first update past this, so its rollout is the least segment.
        memory: The surrogate learns from the latest so many rows alone, anew at every refresh; None: from all.
        on_step: Told the step before each segment and before truth is paid for: a simulated world that drifts may
            change.
        pool_contexts: Fresh contexts in the acquisition's pool.
        visited: Queries remembered as recently visited.
        reward_function: How the number becomes a reward, for acquisitions and schedules that look at rewards; taken
            from the environment where that has a ``reward_function()``.
        logger: Where to tell what happens, for instance ``RunLogger(folder)``.
        checkpoint_dir: Where the newest checkpoint lives; None keeps none.
        show_progress: A bar on a terminal, plain lines elsewhere.

    Raises:
        InvalidInputError: A size is not positive, the environment has no costly source, or the reward is needed and
            unknown.

    Example:
        >>> import gymnasium as gym, numpy as np
        >>> from mbrl_split.agents import PPO
        >>> from mbrl_split.columns import Column
        >>> from mbrl_split.envs import CostlyReward, OracleSource
        >>> from mbrl_split.oracles import FunctionOracle, Ledger
        >>> from mbrl_split.refresh import FixedInterval, RandomAcquisition
        >>> from mbrl_split.surrogates import MLPSurrogate, TabulatedSurrogate
        >>> from mbrl_split.training import ModelBasedTrainer
        >>> height = FunctionOracle(lambda X: np.sin(3 * X[:, 0]), [Column("position", "1", -1.5, 1.5)])
        >>> ledger = Ledger(height, budget=40)
        >>> cars = gym.make_vec("MountainCar-v0", num_envs=8)
        >>> env = CostlyReward(cars, OracleSource(ledger), features=lambda obs, action: obs[:, :1])
        >>> agent = PPO(env.single_observation_space, env.single_action_space, n_steps=16, seed=0)
        >>> surrogate = TabulatedSurrogate(MLPSurrogate(steps=100), 9)
        >>> trainer = ModelBasedTrainer(
        ...     env, agent, surrogate, FixedInterval(256, n=8), RandomAcquisition(), ledger, total_steps=512,
        ...     initial_design=24, segment_steps=128,
        ... )
        >>> agent = trainer.run()
        >>> ledger.spent
        32.0
    """

    def __init__(
        self,
        env: Any,
        agent: Agent | Follower,
        surrogate: Surrogate,
        schedule: RefreshSchedule,
        acquisition: Acquisition,
        ledger: Ledger,
        *,
        total_steps: int,
        initial_design: int | ArrayLike = 32,
        design: Literal["sobol", "random"] = "sobol",
        fidelity: Fidelity | None = None,
        seed: int = 0,
        source_mode: Literal["mean", "lcb", "sample"] = "mean",
        kappa: float = 1.0,
        segment_steps: int | None = None,
        memory: int | None = None,
        on_step: Callable[[int], None] | None = None,
        pool_contexts: int = 256,
        visited: int = 4096,
        reward_function: RewardFunction | None = None,
        logger: Logger | None = None,
        checkpoint_dir: str | PathLike[str] | None = None,
        show_progress: bool = False,
    ) -> None:
        sizes = {"total_steps": total_steps, "pool_contexts": pool_contexts, "visited": visited, "memory": memory}
        for name, value in sizes.items():
            if value is not None and value < 1:
                raise InvalidInputError(f"{name} is at least 1, not {value}")
        if design not in ("sobol", "random"):
            raise InvalidInputError(f"design is 'sobol' or 'random', not {design!r}")
        self.env, self.agent, self.surrogate, self.ledger = env, agent, surrogate, ledger
        self.columns = costly(env).columns
        self.schedule = schedule
        self.reward_function = reward_function or _reward_function_of(env)
        self.acquisition = acquisition if self.reward_function is None else acquisition.bind(self.reward_function)
        self.fidelity = fidelity or Fidelity()
        if self.fidelity.sequential_parts > 1 and self.reward_function is None:
            raise InvalidInputError(
                "a measurement in parts needs to know the reward: pass reward_function=RewardFunction(...)"
            )
        if checkpoint_dir is not None and not isinstance(agent, Agent):
            raise InvalidInputError("a follower keeps no checkpoints: it is its surrogate")
        self.total_steps, self.segment_steps = total_steps, segment_steps or max(1, total_steps // 50)
        self.initial_design, self.design, self.pool_contexts = initial_design, design, pool_contexts
        self.source = SurrogateSource(surrogate, self.columns, source_mode, kappa)
        self.visited = Visited(self.source, visited)
        self.logger: Logger = logger or NullLogger()
        self.checkpoints = Checkpoints(checkpoint_dir)
        self.show_progress = show_progress
        children = np.random.SeedSequence(seed).spawn(len(CONSUMERS))
        self.rng = {name: np.random.default_rng(s) for name, s in zip(CONSUMERS, children, strict=True)}
        self.step = 0
        self.refreshes = 0
        self.last_refresh = self.last_audit = 0
        self.memory, self.on_step = memory, on_step
        self.forgotten = 0  # rows of the ledger (of our purposes) from a world that is gone
        self.learnt = 0  # rows of the ledger (of our purposes) that the surrogate knows
        self.residuals: list[float] = []
        self._settings = {
            "total_steps": total_steps,
            "segment_steps": self.segment_steps,
            "seed": seed,
            "source_mode": source_mode,
            "kappa": kappa,
            "fidelity": self.fidelity.config(),
            "memory": memory,
            "schedule": {"name": type(schedule).__name__, **schedule.config()},
            "acquisition": {"name": type(acquisition).__name__, **acquisition.config()},
        }

    # ---- the loop -----------------------------------------------------------------------------------------------

    def run(self, *, resume: bool = True) -> Agent | Follower:
        """Train to the end (from the newest checkpoint, or where the last call stopped) and return the agent."""
        with progress(self.total_steps, self.show_progress) as report:
            for now in self.segments(resume=resume):
                report(now.step, f"{now.true_evaluations:g} true evaluations, surrogate {now.source_version}")
        return self.agent

    def segments(self, *, resume: bool = True) -> Iterator[Snapshot]:
        """Train segment by segment; look at the agent and the surrogate between two of them.

        Raises:
            BudgetExhaustedError: The budget does not allow a single row to begin with.
        """
        costly(self.env).set_source(self.visited)
        if not (resume and self._restore()) and self.learnt == 0:
            self._begin()
        relabel = getattr(unwrap_transparent(self.env), "relabel", None)
        if relabel is not None and hasattr(self.agent, "relabel"):
            # Past the memory of what was visited: a replayed transition is no new visit.
            self.agent.relabel = partial(relabel, source=self.source)
        while self.step < self.total_steps:
            self._tell_world()
            border = self.step + self.segment_steps
            self.step = learn_segment(
                self.agent, self.env, self.step, border, self.total_steps, self.logger, source="surrogate"
            )
            behind_agent = self.ledger.spent, self.ledger.seconds
            self._tell_world()
            if self.step < self.total_steps:  # truth bought after the last step would teach nobody
                self._ask_schedule()
            self._checkpoint()
            finished = self.step >= self.total_steps
            yield Snapshot(self.step, self.ledger.spent, behind_agent, self.source.version, finished)

    def _begin(self) -> None:
        """Measure the initial design and fit the surrogate to it."""
        self.logger.rewind(0, 0)
        self._tell_world()
        if isinstance(self.initial_design, int):
            spread = sobol_design if self.design == "sobol" else random_design
            X = spread(self.columns, self.initial_design, self.rng["design"])
        else:
            X = check_rows(self.initial_design, self.columns)
        if len(X) == 0:
            raise InvalidInputError("a surrogate begins with at least one measured row: initial_design is 0")
        if self._pay(X, "initial") is None:
            raise BudgetExhaustedError(
                f"the budget of {self.ledger.budget:g} true evaluations allows no row to begin with"
            )
        self._learn(refit=True)
        # The agent may come with the rewards of another source, whose version may be the same number: 0 clears them.
        self.agent.on_source_changed(0)
        self.agent.on_source_changed(self.source.version)

    def _ask_schedule(self) -> None:
        """Ask whether to pay; an audit is measured at once, and the schedule asked again."""
        if self.ledger.remaining < 1:  # no answer could be followed, and what a schedule looks at can be dear
            self.logger.log("decision", self.step, n=0, reason="budget spent", spent=self.ledger.spent)
            return
        decision = self.schedule.decide(self._state())
        if decision.audit:
            self._audit(decision.audit, decision.reason)
            decision = self.schedule.decide(self._state())
        self.logger.log("decision", self.step, n=decision.n, reason=decision.reason, spent=self.ledger.spent)
        if decision.n > 0:
            if decision.forget:
                self.forgotten = len(self.ledger.rows(PURPOSES))
            pool = self._pool()
            n = self.fidelity.rows(decision.n, self.ledger.oracle.evaluation_size)
            picked = self.acquisition.select(pool, self.surrogate, n, self.rng["select"])
            if self._pay(pool[picked], "refresh") is None:
                self.logger.log("refresh", self.step, rows=0, reason="the budget allows no further row")
                return
            self.refreshes += 1
            self.last_refresh = self.last_audit = self.step
            self.residuals = []
            self._learn(refit=decision.refit or decision.forget)
            self.agent.on_source_changed(self.source.version)
            self.logger.log("refresh", self.step, rows=self.learnt, version=self.source.version, reason=decision.reason)

    def _audit(self, n: int, reason: str) -> None:
        """Measure visited rows, drawn at random, and keep their standardised residuals."""
        rows = self.visited.queries
        X = rows[self.rng["audit"].choice(len(rows), size=n, replace=n > len(rows))]
        found = self._pay(X, "audit")
        self.last_audit = self.step
        if found is not None:
            predicted = self.surrogate.predict(X[: len(found)])
            z = (found.mean - predicted.mean) / np.maximum(predicted.std, 1e-12)
            self.residuals += z.tolist()
            self.logger.log("audit", self.step, rows=len(found), residual=float(z.mean()), reason=reason)

    def _tell_world(self) -> None:
        if self.on_step is not None:
            self.on_step(self.step)

    # ---- truth --------------------------------------------------------------------------------------------------

    def _pay(self, X: Array, purpose: str) -> Measurement | None:
        """Measure the rows, or the first of them that the budget still allows; None if it allows none."""
        fidelity = self.fidelity
        if purpose == "audit":  # the schedule's thresholds are in standard deviations of the declared size
            fidelity = Fidelity()
        elif self.learnt == 0:  # nobody knows yet what is clear
            fidelity = replace(fidelity, sequential_parts=1)
        found: list[Measurement] = []
        parts = measure_parts(self.ledger, X, self.rng["measure"], fidelity, self._undecided, purpose=purpose)
        for rows, measured in parts:
            if not found and len(rows) < len(X):
                self.logger.log("budget", self.step, asked=len(X), allowed=len(rows), remaining=self.ledger.remaining)
            self._log_truth(rows, measured, purpose)
            found.append(measured)
        return Measurement.concatenate(found) if found else None

    def _undecided(self, X: Array) -> NDArray[np.bool_]:
        """Which rows deserve another part, after what was measured is learnt."""
        assert self.reward_function is not None
        self._learn(refit=False)
        return (
            probability_best(X, self.surrogate, self.reward_function, self.rng["probability_best"])
            < self.fidelity.confidence
        )

    def _learn(self, *, refit: bool) -> None:
        """Teach the surrogate what was paid for and is not forgotten: from scratch, or the rows that are new to it."""
        rows = self.ledger.rows(PURPOSES)
        order = np.arange(len(rows))
        oldest = self.forgotten if self.memory is None else max(self.forgotten, len(rows) - self.memory)
        # What was learnt cannot be taken out again: where rows are dropped, the rest is learnt anew.
        if refit or self.memory is not None or self.learnt <= self.forgotten:
            self.surrogate.fit_rows(rows.take(order >= oldest), columns=self.columns)
        elif len(rows) > self.learnt:
            self.surrogate.update_rows(rows.take(order >= self.learnt))
        self.learnt = len(rows)
        self.source.replace(self.surrogate)

    def _log_truth(self, X: Array, found: Measurement, purpose: str) -> None:
        """One record per row of truth: what was measured, and what had been predicted there."""
        known = self.learnt > 0
        predicted = self.surrogate.predict(X) if known else None
        for i in range(len(X)):
            fields: dict[str, Any] = {
                "purpose": purpose,
                "query": X[i].tolist(),
                "measured": float(found.mean[i]),
                "std_error": None if np.isnan(found.std_error[i]) else float(found.std_error[i]),
            }
            if predicted is not None:
                fields |= {"predicted": float(predicted.mean[i]), "predicted_std": float(predicted.std[i])}
            if self.reward_function is not None:
                row = X[i : i + 1]
                fields["true_reward"] = float(self.reward_function.reward(found.mean[i : i + 1], row)[0])
                if predicted is not None:
                    fields["surrogate_reward"] = float(self.reward_function.reward(predicted.mean[i : i + 1], row)[0])
            self.logger.log("truth", self.step, **fields)

    # ---- what schedule and acquisition look at --------------------------------------------------------------------

    def _pool(self) -> Array:
        where = self.acquisition.where
        parts = []
        if where in ("design", "both"):
            parts.append(design_pool(self.columns, self.pool_contexts, self.rng["pool"], self._action))
        if where in ("visited", "both"):
            parts.append(self.visited.queries)
        return np.concatenate(parts)

    def _state(self) -> RefreshState:
        looks_at = self.schedule.looks_at
        return RefreshState(
            step=self.step,
            total_steps=self.total_steps,
            steps_since_refresh=self.step - self.last_refresh,
            refreshes=self.refreshes,
            spent=self.ledger.spent,
            budget=float("inf") if self.ledger.budget is None else self.ledger.budget,
            n_rows=self.learnt,
            epistemic=self._epistemic() if "epistemic" in looks_at else float("nan"),
            residuals=tuple(self.residuals),
            steps_since_audit=self.step - self.last_audit,
            value_of_information=self._value_of_information() if "value_of_information" in looks_at else float("nan"),
            row_price=self.fidelity.price(self.ledger.oracle.evaluation_size),
        )

    @property
    def _action(self) -> int:
        """The column that the agent chooses."""
        return 0 if self.reward_function is None else self.reward_function.action

    def _epistemic(self) -> float:
        return float(self.surrogate.predict(self.visited.queries).std_epistemic.mean())

    def _value_of_information(self) -> float:
        """Expected value of perfect information per step: E[max over actions] − max over actions of E, by draws."""
        if self.reward_function is None:
            raise InvalidInputError("this schedule needs to know the reward: pass reward_function=RewardFunction(...)")
        X = design_pool(self.columns, _VOI_CONTEXTS, self.rng["value_of_information"], self._action)
        draws = self.reward_function.reward(self.surrogate.sample(X, _VOI_DRAWS, self.rng["value_of_information"]), X)
        labels = self.reward_function.contexts(X)
        by_context = draws[:, np.argsort(labels, kind="stable")].reshape(len(draws), labels.max() + 1, -1)
        return float(by_context.max(axis=2).mean() - by_context.mean(axis=0).max(axis=1).mean())

    # ---- going on after an interruption ---------------------------------------------------------------------------

    def _checkpoint(self) -> None:
        if self.checkpoints.folder is None:
            return
        state = {
            "settings": self._settings,
            "step": self.step,
            "refreshes": self.refreshes,
            "last_refresh": self.last_refresh,
            "last_audit": self.last_audit,
            "learnt": self.learnt,
            "forgotten": self.forgotten,
            "residuals": self.residuals,
            "version": self.source.version,
            "rng": {name: rng.bit_generator.state for name, rng in self.rng.items()},
            "visited": self.visited.state_dict(),
            "ledger": self.ledger.state_dict(),
            "log": self.logger.position(),
        }

        def write_parts(folder: Any) -> None:
            assert isinstance(self.agent, Agent)
            self.agent.save(folder / "agent")
            self.surrogate.save(folder / "surrogate")

        self.checkpoints.save(f"step-{self.step}", state, write_parts)

    def _restore(self) -> bool:
        """Go back to the newest checkpoint, if there is one; the agent saves the environment's state with its own.

        Raises:
            InvalidInputError: The checkpoint is of a run with other settings.
        """
        folder = self.checkpoints.latest()
        if folder is None:
            return False
        state = self.checkpoints.read(folder)
        for name, value in self._settings.items():
            if state["settings"].get(name) != value:
                raise InvalidInputError(
                    f"{folder} is of another run: {name} was {state['settings'].get(name)}, is {value}"
                )
        assert isinstance(self.agent, Agent)
        shared = getattr(self.agent, "surrogate", None) is self.surrogate  # by a SurrogateBandit, for instance
        self.agent = self.agent.reload(folder / "agent")
        self.surrogate = type(self.surrogate).load(folder / "surrogate")
        if shared:
            self.agent.surrogate = self.surrogate  # type: ignore[attr-defined]
        self.source.replace(self.surrogate)
        self.source.version = state["version"]
        restore_env(self.agent, self.env)
        for name in ("step", "refreshes", "last_refresh", "last_audit", "learnt", "forgotten"):
            setattr(self, name, state[name])
        self.residuals = list(state["residuals"])
        for name, rng in self.rng.items():
            rng.bit_generator.state = state["rng"][name]
        self.visited.load_state_dict(state["visited"])
        self.ledger.load_state_dict(state["ledger"])
        self.logger.rewind(state["log"], self.step)
        return True


def _reward_function_of(env: Any) -> RewardFunction | None:
    """What an environment says of its own reward; None where its user supplies it."""
    make = getattr(getattr(env, "unwrapped", env), "reward_function", None)
    found: RewardFunction | None = None if make is None else make()
    return found
