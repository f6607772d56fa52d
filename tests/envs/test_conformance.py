"""The conformance suite passes what is right and names what is wrong."""

import gymnasium
import numpy as np
import pytest

from mbrl_split.columns import Column
from mbrl_split.envs import CostlyEnv, check_environment
from mbrl_split.layer_split import LLMSplit, LLMSplitVector


class Lamp(CostlyEnv):
    """A small correct environment, to be broken in one place at a time."""

    def __init__(self, source, num_envs=2):
        super().__init__(
            source=source,
            columns=(Column("light", "1", 0, 1), Column("noise", "RMS", 0.1, 1, "log")),
            observation_space=gymnasium.spaces.Box(0, 1, (2,), np.float32),
            action_space=gymnasium.spaces.Discrete(2),
            episode_steps=3,
            num_envs=num_envs,
        )

    def initial_state(self, draws):
        return {"light": draws.uniform(1)[:, 0], "noise": 0.1 + 0.8 * draws.uniform(1)[:, 0]}

    def observe(self, state):
        return np.column_stack([state["light"], state["noise"]]).astype(np.float32)

    def features(self, state, action):
        return np.column_stack([state["light"], state["noise"]])

    def transition(self, state, action, draws):
        return {**state, "light": 0.5 * state["light"] + 0.5 * draws.uniform(1)[:, 0]}

    def compose(self, measured, state, action):
        return action - np.asarray(measured)


class Anything:
    version = 0
    columns = (Column("light", "1", 0, 1), Column("noise", "RMS", 0.1, 1, "log"))

    def answer(self, X, *, seeds):
        raise RuntimeError("the conformance suite must not pay for truth")


@pytest.mark.parametrize(
    "overrides",
    [{}, {"actions": "relative", "drift": 0.01}, {"reference": "start"}, {"episode_steps": 1}, {"context": ()}],
)
def test_the_layer_split_conforms_in_both_forms(overrides, closed_form):
    source = closed_form(**overrides)
    check_environment(LLMSplitVector(4, source=source, **overrides))
    check_environment(LLMSplit(source=source, **overrides))
    check_environment(gymnasium.make("mbrl_split/LLMSplit-v0", source=source, **overrides))
    assert source.asked == []


def test_the_environment_is_left_as_it_was():
    env = Lamp(Anything())
    source = env.source
    check_environment(env)
    assert env.source is source
    assert env.num_envs == 2


class InPlace(Lamp):
    def transition(self, state, action, draws):
        state["light"] *= 0.5
        return state


class BatchRandom(Lamp):
    rng = np.random.default_rng(0)

    def transition(self, state, action, draws):
        return {**state, "light": self.rng.random(len(draws))}


class Neighbours(Lamp):
    def transition(self, state, action, draws):
        return {**state, "light": np.full(len(draws), state["light"].mean())}


class Stale(Lamp):
    """Pays for the measurement of the step before: a reward that is no function of state, action and measurement."""

    last = 0.0

    def compose(self, measured, state, action):
        self.last, stale = np.asarray(measured), self.last
        return action - stale


class OutOfRange(Lamp):
    def features(self, state, action):
        return np.column_stack([state["light"] + 1, state["noise"]])


class Unbounded(Lamp):
    def __init__(self, source):
        super().__init__(source)
        self.single_observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)


class Leaves(Lamp):
    def observe(self, state):
        return super().observe(state) + 1


class NextStep(Lamp):
    metadata = {"autoreset_mode": gymnasium.vector.AutoresetMode.NEXT_STEP}  # noqa: RUF012


class Scalar(Lamp):
    def initial_state(self, draws):
        return {**super().initial_state(draws), "count": np.array(0)}


class Deaf(Lamp):
    def set_source(self, source):
        self._source = source


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (InPlace, "copy them"),
        (BatchRandom, r"not equivalent|differs from a single|tried again|bit for bit"),
        (Neighbours, "differs from a single environment with its seed"),
        (Stale, "must be a function of these alone|not equivalent|bit for bit"),
        (OutOfRange, "features or start_features ask what the columns do not allow"),
        (Unbounded, "is not bounded"),
        (Leaves, "not within the observation space|not in"),
        (NextStep, "AutoresetMode.SAME_STEP, not"),
        (Scalar, "first axis"),
        (Deaf, "accepts a source whose columns have other names"),
    ],
)
def test_each_broken_promise_is_named(broken, says):
    with pytest.raises(AssertionError, match=says):
        check_environment(broken(Anything()))


def test_other_environments_are_sent_to_gymnasiums_checker():
    with pytest.raises(AssertionError, match="CartPoleEnv is no CostlyEnv"):
        check_environment(gymnasium.make("CartPole-v1"))
