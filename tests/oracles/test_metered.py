"""Metered environments: exactly the live steps are charged, and a step that does not fit is not taken."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from mbrl_split.columns import Column
from mbrl_split.errors import BudgetExhaustedError
from mbrl_split.oracles import FunctionOracle, Ledger, Metered
from mbrl_split.oracles.metered import MeteredSingle, MeteredVector


class Short(gym.Env):
    """Episodes of a fixed length, which end in turn by termination and by truncation; counts the steps it takes."""

    observation_space = gym.spaces.Box(0, 99, (1,))
    action_space = gym.spaces.Discrete(2)

    def __init__(self, length: int) -> None:
        self.length, self.taken, self.episodes, self.t = length, 0, 0, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.episodes = 0, self.episodes + 1
        return np.zeros(1, np.float32), {}

    def step(self, action):
        assert self.t < self.length, "a step after the end"
        self.t, self.taken = self.t + 1, self.taken + 1
        end, early = self.t == self.length, self.episodes % 2 == 0
        return np.full(1, self.t, np.float32), 1.0, end and not early, end and early, {}


LENGTHS = (1, 3, 4)


def vector(mode: AutoresetMode, lengths=LENGTHS) -> SyncVectorEnv:
    return SyncVectorEnv([lambda n=n: Short(n) for n in lengths], autoreset_mode=mode)


def taken(env: MeteredVector) -> int:
    """What the sub-environments themselves have counted."""
    return sum(one.taken for one in env.unwrapped.envs)


ACTIONS = np.zeros(len(LENGTHS), np.int64)


def test_a_single_environment_is_charged_step_by_step():
    ledger = Ledger(budget=5)
    env = Metered(Short(3), ledger, purpose="explore")
    assert isinstance(env, MeteredSingle)
    env.reset(seed=0)
    assert ledger.spent == 0, "a reset is no step"
    for t in (1, 2, 3):
        obs, reward, terminated, truncated, _ = env.step(0)
        assert (obs[0], reward, terminated, truncated) == (t, 1.0, t == 3, False)
        assert ledger.spent == env.unwrapped.taken == t
    env.reset()
    env.step(0)
    env.step(0)
    with pytest.raises(BudgetExhaustedError, match="costs 1 true evaluations, but only 0 of the budget of 5"):
        env.step(0)
    assert env.unwrapped.taken == 5
    assert env.unwrapped.t == 2, "the refused step was not taken"
    assert ledger.charged == {"explore": 5}


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_a_vector_is_charged_for_its_live_rows(mode):
    ledger = Ledger()
    env = Metered(vector(mode), ledger)
    assert isinstance(env, MeteredVector)
    env.reset(seed=0)
    charges = []
    for _ in range(12):
        before = ledger.spent
        env.step(ACTIONS)
        charges.append(ledger.spent - before)
        assert ledger.spent == taken(env)
    # Row by row, by hand: of length 1 every other step is a reset, of 3 every fourth, of 4 every fifth.
    every = {AutoresetMode.SAME_STEP: [3] * 12, AutoresetMode.NEXT_STEP: [3, 2, 3, 1, 2, 2, 3, 1, 3, 1, 3, 1]}
    assert charges == every[mode]
    assert ledger.charged == {"train": sum(every[mode])}


def test_a_vector_without_autoreset_is_charged_for_every_row():
    ledger = Ledger()
    env = Metered(vector(AutoresetMode.DISABLED), ledger)
    env.reset(seed=0)
    for t in range(1, 9):
        _, _, terminated, truncated, _ = env.step(ACTIONS)
        assert ledger.spent == taken(env) == 3 * t
        over = terminated | truncated
        env.reset(options={"reset_mask": over}) if over.any() else None
    assert [one.episodes for one in env.unwrapped.envs] == [9, 3, 3]


@pytest.mark.parametrize("mode", AutoresetMode)
def test_a_step_that_does_not_fit_is_not_taken(mode):
    ledger = Ledger(budget=8)
    env = Metered(vector(mode, (9, 9, 9)), ledger)
    env.reset(seed=0)
    env.step(ACTIONS)
    env.step(ACTIONS)
    with pytest.raises(BudgetExhaustedError, match="costs 3 true evaluations, but only 2 of the budget of 8"):
        env.step(ACTIONS)
    assert taken(env) == ledger.spent == 6
    assert [one.t for one in env.unwrapped.envs] == [2, 2, 2]


def test_rows_that_are_being_reset_may_step_on_the_last_of_a_budget():
    """Two of three rows are over: what is left, one step, is enough for the third."""
    ledger = Ledger(budget=4)
    env = Metered(vector(AutoresetMode.NEXT_STEP, (1, 1, 5)), ledger)
    env.reset(seed=0)
    env.step(ACTIONS)
    env.step(ACTIONS)
    assert ledger.remaining == 0
    assert [one.t for one in env.unwrapped.envs] == [0, 0, 2]


def test_a_reset_by_hand_brings_rows_back_to_life():
    ledger = Ledger()
    env = Metered(vector(AutoresetMode.NEXT_STEP, (1, 1, 5)), ledger)
    env.reset(seed=0)
    env.step(ACTIONS)
    assert ledger.spent == 3
    env.reset(options={"reset_mask": np.array([True, False, False])})
    env.step(ACTIONS)
    assert ledger.spent == taken(env) == 5, "the second row is only reset"
    env.reset()
    env.step(ACTIONS)
    assert ledger.spent == taken(env) == 8


def test_steps_that_are_only_retraced_cost_nothing():
    for env, actions in (
        (Metered(vector(AutoresetMode.NEXT_STEP), Ledger()), ACTIONS),
        (Metered(Short(3), Ledger()), 0),
    ):
        env.reset(seed=0)
        env.charging = False
        env.step(actions)
        assert env.ledger.spent == 0
        env.charging = True
        env.step(actions)
        # Of the vector's rows, the first is over.
        assert env.ledger.spent == (2 if isinstance(env, MeteredVector) else 1)


def test_steps_and_measurements_are_counted_in_one_ledger():
    ledger = Ledger(FunctionOracle(lambda X: X[:, 0], [Column("x", "1", 0, 9)], evaluation_size=10), budget=4)
    env = Metered(Short(9), ledger)
    env.reset(seed=0)
    env.step(0)
    ledger.measure([[3.0], [4.0]], seeds=[0, 1])
    env.step(0)
    assert ledger.spent == 4
    assert ledger.charged == {"train": 2}
    with pytest.raises(BudgetExhaustedError):
        env.step(0)
