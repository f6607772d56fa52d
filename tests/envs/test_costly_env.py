"""The base class: the episode loop, seeds, autoreset, resume, sources."""

import json

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import DictInfoToList, RecordEpisodeStatistics

from mbrl_split import BudgetExhaustedError, InvalidInputError
from mbrl_split.columns import Column
from mbrl_split.envs import CostlyEnv, OracleSource, VectorToSingle
from mbrl_split.layer_split import LLMSplit, LLMSplitVector
from mbrl_split.oracles import FunctionOracle, Ledger


class Walk(CostlyEnv):
    """A random walk in one dimension: the smallest environment with randomness in its transition."""

    def __init__(self, source, num_envs=1, episode_steps=4):
        super().__init__(
            source=source,
            columns=[Column("x", "1", -100, 100)],
            observation_space=gymnasium.spaces.Box(-100, 100, (1,), np.float32),
            action_space=gymnasium.spaces.Discrete(2),
            episode_steps=episode_steps,
            num_envs=num_envs,
        )

    def initial_state(self, draws):
        return {"x": draws.uniform(1)}

    def observe(self, state):
        return state["x"].astype(np.float32)

    def features(self, state, action):
        return state["x"]

    def transition(self, state, action, draws):
        return {"x": state["x"] + action[:, None] - 0.5 + 0.1 * draws.normal(1)}

    def compose(self, measured, state, action):
        return np.asarray(measured) - action


def walk_source(budget=None):
    oracle = FunctionOracle(lambda X: 2 * X[:, 0], [Column("x", "1", -100, 100)])
    return OracleSource(Ledger(oracle, budget=budget))


def actions(env, steps, seed=0):
    env.action_space.seed(seed)
    return [env.action_space.sample() for _ in range(steps)]


def test_reward_and_info_by_hand():
    env = Walk(walk_source(), num_envs=3)
    obs, _ = env.reset(seed=7)
    x = env._current["x"][:, 0]
    assert obs[:, 0] == pytest.approx(x, rel=1e-6)
    _, reward, terminated, truncated, info = env.step([0, 1, 1])
    assert np.array_equal(reward, 2 * x - [0, 1, 1])
    assert np.array_equal(info["measurement"], 2 * x)
    assert np.array_equal(info["query"][:, 0], x)
    assert info["_measurement"].all()
    assert not terminated.any()
    assert not truncated.any()


def test_episodes_are_truncated_and_reset_in_the_same_step():
    env = Walk(walk_source(), num_envs=2, episode_steps=3)
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    env.reset(seed=0)
    rewards = np.zeros(2)
    for t in range(1, 4):
        last = env._current
        obs, reward, terminated, truncated, info = env.step([1, 0])
        rewards += reward
        assert truncated.tolist() == [t == 3] * 2
        assert not terminated.any()
        assert ("final_obs" in info) == (t == 3)
    assert info["final_obs"].dtype == object
    assert info["_final_obs"].tolist() == [True, True]
    # the last observation is the walk's own next position, the returned one starts the next episode in [0, 1)
    drift = np.stack(list(info["final_obs"]))[:, 0] - last["x"][:, 0]
    assert np.all(np.abs(drift - [0.5, -0.5]) < 0.5)
    assert ((obs >= 0) & (obs < 1)).all()
    assert np.array_equal(info["final_info"]["episode_return"], rewards)
    assert info["final_info"]["episode_length"].tolist() == [3, 3]
    assert np.array_equal(info["final_info"]["measurement"], info["measurement"])


def test_autoreset_info_has_gymnasiums_form():
    """The same episodes through Gymnasium's own SAME_STEP vector: equal returns of every step."""
    env = Walk(walk_source(), num_envs=2, episode_steps=3)
    theirs = SyncVectorEnv(
        [lambda: VectorToSingle(Walk(walk_source(), episode_steps=3))] * 2, autoreset_mode="SameStep"
    )
    ours_obs, _ = env.reset(seed=4)
    their_obs, _ = theirs.reset(seed=4)
    assert np.array_equal(ours_obs, their_obs)
    for a in actions(env, 7):
        ours, their = env.step(a), theirs.step(a)
        for i in range(4):
            assert np.array_equal(ours[i], their[i])
        for key in ("final_obs", "_final_obs", "_final_info"):
            assert (key in ours[4]) == (key in their[4])
            if key in ours[4]:
                assert data_equivalence(ours[4][key], their[4][key], exact=True)
        if "final_info" in ours[4]:
            assert data_equivalence(ours[4]["final_info"], their[4]["final_info"], exact=True)


def test_partial_ends_leave_the_other_rows_alone():
    env = Walk(walk_source(), num_envs=3, episode_steps=3)
    env.reset(seed=0)
    env.step([1, 1, 1])
    before = env._current["x"].copy()
    obs, _ = env.reset(options={"reset_mask": np.array([False, True, False])})
    assert np.array_equal(env._current["x"][[0, 2]], before[[0, 2]])
    assert obs[1] != before[1].astype(np.float32)
    env.step([0, 0, 0])
    _, _, _, truncated, info = env.step([0, 0, 0])
    assert truncated.tolist() == [True, False, True]
    assert info["_final_obs"].tolist() == [True, False, True]
    assert info["final_obs"][1] is None
    assert info["final_info"]["episode_length"].tolist() == [3, 0, 3]
    assert env._step.tolist() == [0, 2, 0]


def test_a_sub_environment_is_what_its_seed_makes_it():
    env = Walk(walk_source(), num_envs=3)
    alone = [VectorToSingle(Walk(walk_source())) for _ in range(3)]
    obs, _ = env.reset(seed=10)
    assert [one.reset(seed=10 + i)[0].item() for i, one in enumerate(alone)] == obs[:, 0].tolist()
    for a in actions(env, 9):
        obs, reward, _, truncated, info = env.step(a)
        for i, one in enumerate(alone):
            obs_i, reward_i, _, truncated_i, _ = one.step(a[i])
            assert reward_i == reward[i]
            if truncated_i:
                assert truncated[i]
                assert np.array_equal(obs_i, info["final_obs"][i])
                obs_i, _ = one.reset()
            assert np.array_equal(obs_i, obs[i])
    shuffled = Walk(walk_source(), num_envs=2)
    assert shuffled.reset(seed=[12, 10])[0][:, 0].tolist() == [
        VectorToSingle(Walk(walk_source())).reset(seed=s)[0].item() for s in (12, 10)
    ]


def test_resetting_without_a_seed_goes_on_and_none_in_a_list_too():
    env = Walk(walk_source(), num_envs=2)
    first = [env.reset(seed=1)[0], env.reset()[0], env.reset()[0]]
    again = [env.reset(seed=1)[0], env.reset()[0], env.reset(seed=[None, None])[0]]
    assert np.array_equal(first, again)
    assert not np.array_equal(first[0], first[1])
    mixed, _ = env.reset(seed=[1, None])
    assert mixed[0] == first[0][0]
    assert mixed[1] not in [f[1] for f in first]


def test_without_any_seed_two_environments_differ():
    a, b = Walk(walk_source()), Walk(walk_source())
    assert a.reset()[0] != b.reset()[0]


def test_measurement_seeds_are_fresh_in_every_row_and_step(closed_form):
    source = closed_form(reference="start")
    env = LLMSplitVector(4, source=source, reference="start")
    env.reset(seed=0)
    for a in actions(env, 12):
        env.step(a)
    seeds = np.concatenate([s for _, s in source.asked])
    assert len(seeds) == 4 * (1 + 12 + 2)  # a reference per episode, a measurement per step
    assert len(np.unique(seeds)) == len(seeds)


@pytest.mark.parametrize("steps", [0, 2, 3, 5])
def test_resume_is_bit_equal(steps):
    env = Walk(walk_source(), num_envs=3, episode_steps=3)
    plan = actions(env, 12)
    env.reset(seed=[5, 9, 2])
    for a in plan[:steps]:
        env.step(a)
    saved = json.loads(json.dumps(env.state_dict()))
    other = Walk(walk_source(), num_envs=3, episode_steps=3)
    other.load_state_dict(saved)
    for a in plan[steps:]:
        assert data_equivalence(env.step(a), other.step(a), exact=True)
    assert np.array_equal(env.reset()[0], other.reset()[0])


def test_a_foreign_state_is_refused(closed_form):
    env = LLMSplitVector(2, source=closed_form())
    env.reset(seed=0)
    saved = env.state_dict()
    with pytest.raises(InvalidInputError, match="num_envs is 2, not 3"):
        env.resized(3).load_state_dict(saved)
    with pytest.raises(InvalidInputError, match="episode_steps is 5, not 7"):
        LLMSplitVector(2, source=closed_form(), episode_steps=7).load_state_dict(saved)
    with pytest.raises(InvalidInputError, match="scenario is"):
        LLMSplitVector(2, source=closed_form(), actions="relative").load_state_dict(saved)
    with pytest.raises(InvalidInputError, match="another environment"):
        env.load_state_dict({})


def test_a_spent_budget_leaves_the_step_untaken():
    env, rich = Walk(walk_source(budget=5), num_envs=2), Walk(walk_source(), num_envs=2)
    env.reset(seed=3)
    rich.reset(seed=3)
    plan = actions(env, 4)
    for a in plan[:2]:
        env.step(a)
        rich.step(a)
    before = env.state_dict()
    with pytest.raises(BudgetExhaustedError):
        env.step(plan[2])
    assert env.state_dict() == before
    assert env.source.ledger.spent == 4
    env.set_source(walk_source())
    for a in plan[2:]:
        assert data_equivalence(env.step(a), rich.step(a), exact=True)


def test_the_end_of_an_episode_is_paid_in_one_call(closed_form):
    """With a reference at the start, the last step and the next episode's reference are one question, or none."""
    source = closed_form(reference="start")
    env = LLMSplitVector(2, source=source, reference="start", episode_steps=2)
    env.reset(seed=0)
    env.step([0, 0])
    env.step([0, 0])
    assert [len(X) for X, _ in source.asked] == [2, 2, 4]


def test_the_single_form_asks_nothing_for_an_episode_nobody_started(closed_form):
    source = closed_form(reference="start")
    env = LLMSplit(source=source, reference="start", episode_steps=2)
    env.reset(seed=0)
    env.step(0)
    *_, truncated, info = env.step(0)
    assert truncated
    assert info["episode_length"] == 2
    assert [len(X) for X, _ in source.asked] == [1, 1, 1]
    with pytest.raises(ResetNeeded):
        env.step(0)


def test_stepping_before_reset():
    with pytest.raises(ResetNeeded):
        Walk(walk_source()).step([0])


def test_bad_actions_seeds_and_options():
    env = Walk(walk_source(), num_envs=2)
    with pytest.raises(InvalidInputError, match="no reset_mask"):
        env.reset(options={"reset_mask": np.array([True, False])})
    env.reset(seed=0)
    with pytest.raises(InvalidInputError, match=r"actions have shape \(2,\), not \(3,\)"):
        env.step([0, 0, 0])
    with pytest.raises(InvalidInputError, match=r"actions are integers in 0 … 1, not \[0, 2\]"):
        env.step([0, 2])
    with pytest.raises(InvalidInputError, match="actions are integers"):
        env.step([0.0, 1.0])
    with pytest.raises(InvalidInputError, match="3 seeds for 2"):
        env.reset(seed=[1, 2, 3])
    with pytest.raises(InvalidInputError, match="non-negative"):
        env.reset(seed=-3)
    with pytest.raises(InvalidInputError, match="unknown reset option 'colour'"):
        env.reset(options={"colour": 1})
    with pytest.raises(InvalidInputError, match="reset_mask holds 2 booleans"):
        env.reset(options={"reset_mask": [1, 0]})
    with pytest.raises(InvalidInputError, match="num_envs is at least 1"):
        Walk(walk_source(), num_envs=0)
    with pytest.raises(InvalidInputError, match="episode_steps is at least 1"):
        Walk(walk_source(), episode_steps=0)
    with pytest.raises(InvalidInputError, match="batch of one"):
        VectorToSingle(env)


class Saying:
    version = 0

    def __init__(self, columns, says):
        self.columns, self.says = columns, says

    def answer(self, X, *, seeds):
        return self.says


def test_answers_that_are_no_numbers_are_refused_and_the_step_is_not_taken():
    columns = (Column("x", "1", -100, 100),)
    env = Walk(Saying(columns, np.array([1.0, np.nan])), num_envs=2)
    env.reset(seed=0)
    before = env.state_dict()
    with pytest.raises(InvalidInputError, match="Saying answered nan to the query"):
        env.step([0, 0])
    env.set_source(Saying(columns, np.zeros((2, 1))))
    with pytest.raises(InvalidInputError, match=r"2 queries with shape \(2, 1\), not \(2,\)"):
        env.step([0, 0])
    assert env.state_dict() == before


def test_foreign_sources_are_refused_in_one_line():
    env = Walk(walk_source())
    for columns, message in [
        ([Column("y", "1", -100, 100)], "answers the column y"),
        ([Column("x", "m", -100, 100)], r"x \[m, linear"),
        ([Column("x", "1", -50, 100)], "-50 … 100"),
        ([Column("x", "1", -100, 100), Column("z", "1", 0, 1)], r"answers the columns \(x, z\)"),
    ]:
        with pytest.raises(InvalidInputError, match=message) as error:
            env.set_source(Saying(tuple(columns), None))
        assert "\n" not in str(error.value)
    with pytest.raises(InvalidInputError, match="which int lacks"):
        env.set_source(3)
    env.set_source(Saying((Column("x", "1", -200, 100),), np.zeros(1)))  # a wider range covers ours


def test_gymnasiums_statistics_agree_with_ours():
    env = RecordEpisodeStatistics(Walk(walk_source(), num_envs=2, episode_steps=3))
    env.reset(seed=0)
    for a in actions(env, 6):
        *_, info = env.step(a)
    assert info["episode"]["r"] == pytest.approx(info["final_info"]["episode_return"])
    assert info["episode"]["l"].tolist() == [3, 3]
    assert list(env.length_queue) == [3] * 4


def test_info_can_be_listed_per_sub_environment():
    env = DictInfoToList(Walk(walk_source(), num_envs=2, episode_steps=2))
    env.reset(seed=0)
    env.step([0, 1])
    *_, infos = env.step([0, 1])
    assert len(infos) == 2
    assert infos[0]["final_info"]["episode_length"] == 2
    assert infos[0]["measurement"] != infos[1]["measurement"]


def test_resized_shares_the_source_and_nothing_else():
    env = Walk(walk_source(), num_envs=2)
    env.reset(seed=0)
    before = env.state_dict()
    other = env.resized(5)
    obs, _ = other.reset(seed=0)
    assert obs.shape == (5, 1)
    other.step([0] * 5)
    assert other.source is env.source
    assert env.state_dict() == before
    assert env.observation_space.shape == (2, 1)
