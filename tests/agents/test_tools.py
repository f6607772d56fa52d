"""Writers, zoo settings, SB3's forms."""

import json

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from mbrl_split.agents import (
    A2C,
    PPO,
    Callbacks,
    CSVWriter,
    JSONLWriter,
    Linear,
    ProgressBar,
    TensorBoardWriter,
    to_sb3,
    zoo_run,
)
from mbrl_split.agents.conformance import Corridor
from mbrl_split.agents.schedules import schedule, to_data
from mbrl_split.agents.zoo import ZOO
from mbrl_split.errors import InvalidInputError, UnsupportedError


def test_writers(tmp_path):
    env = Corridor()
    agent = A2C(env.observation_space, env.action_space, seed=0)
    with (
        JSONLWriter(tmp_path / "log.jsonl") as lines,
        CSVWriter(tmp_path / "log.csv") as table,
        TensorBoardWriter(tmp_path / "tb") as board,
        ProgressBar(60) as bar,
    ):
        agent.learn(env, 60, callback=Callbacks(lines, table, board, bar))
    records = agent.history.records
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()] == records
    import csv

    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert len(rows) == len(records)
    for row, record in zip(rows, records, strict=True):
        assert {k: float(v) for k, v in row.items() if v} == record

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tb"))
    events.Reload()
    scalars = events.Scalars("train/value_loss")
    assert [s.step for s in scalars] == [int(r["step"]) for r in records]
    np.testing.assert_allclose([s.value for s in scalars], [r["train/value_loss"] for r in records], rtol=1e-6)


def test_schedules():
    linear = Linear(1.0, 0.2, until=0.5)
    assert [linear(p) for p in (0, 0.25, 0.5, 0.9)] == [1.0, pytest.approx(0.6), pytest.approx(0.2), pytest.approx(0.2)]
    assert schedule(to_data(linear)) == linear
    assert schedule(3)(0.7) == 3.0
    for bad in (True, "x", {"linear": {"begin": 1}}, {"cosine": {}}, lambda p: p):
        with pytest.raises(InvalidInputError):
            schedule(bad)


@pytest.mark.parametrize("agent", sorted(ZOO))
def test_zoo_settings_are_valid(agent):
    import mbrl_split.agents as agents

    kind = getattr(agents, agent)
    for env_id in ZOO[agent]:
        kind(gym.spaces.Box(-1, 1, (4,)), gym.spaces.Discrete(2), **kind.zoo_settings(env_id))
        assert zoo_run(agent, env_id)["n_envs"] > 0


def test_predict_in_the_form_of_stable_baselines3():
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.vec_env import DummyVecEnv

    agent = PPO(Corridor().observation_space, Corridor().action_space, seed=0)
    mean, _ = evaluate_policy(agent, DummyVecEnv([Corridor]), n_eval_episodes=3, warn=False)
    assert np.isfinite(mean)
    actions, state = agent.predict(np.zeros((4, 2)), state="s", deterministic=True)
    assert (actions.shape, state) == ((4,), "s")


def test_to_sb3_trains_stable_baselines3_and_keeps_final_observations():
    import stable_baselines3 as sb3

    vec = to_sb3(SyncVectorEnv([Corridor] * 3, autoreset_mode=AutoresetMode.SAME_STEP))
    vec.seed(4)
    obs = vec.reset()
    reference = SyncVectorEnv([Corridor] * 3, autoreset_mode=AutoresetMode.SAME_STEP)
    np.testing.assert_array_equal(obs, reference.reset(seed=4)[0])
    ends = 0
    rng = np.random.default_rng(0)
    for _ in range(40):
        actions = rng.integers(3, size=3)
        obs, rewards, dones, infos = vec.step(actions)
        expected = reference.step(actions)
        np.testing.assert_array_equal(obs, expected[0])
        np.testing.assert_array_equal(rewards, expected[1])
        for i in np.flatnonzero(dones):
            ends += 1
            np.testing.assert_array_equal(infos[i]["terminal_observation"], expected[4]["final_obs"][i])
            assert infos[i]["TimeLimit.truncated"] == (expected[3][i] and not expected[2][i])
    assert ends > 3
    model = sb3.PPO("MlpPolicy", vec, n_steps=32, batch_size=32, gamma=0.9, learning_rate=3e-3, seed=0, device="cpu")
    model.learn(96 * 40)
    assert model.num_timesteps == 96 * 40
    # Twelve tosses of the coin pay more than to arrive: it has learnt to stay away from the last cell.
    obs, cut = vec.reset(), []
    for _ in range(36):
        obs, _, dones, infos = vec.step(model.predict(obs, deterministic=True)[0])
        cut += [info["TimeLimit.truncated"] for info, done in zip(infos, dones, strict=True) if done]
    assert cut == [True] * 9
    with pytest.raises(UnsupportedError, match="SAME_STEP"):
        to_sb3(SyncVectorEnv([Corridor] * 3))


def test_the_room_stands_alone():
    """What it imports of the library: streams and policies, its errors and its registry."""
    import ast
    from pathlib import Path

    import mbrl_split.agents

    for path in Path(mbrl_split.agents.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mbrl_split"):
                assert node.module.startswith(("mbrl_split.agents", "mbrl_split.interaction")) or node.module in (
                    "mbrl_split.errors",
                    "mbrl_split.registry",
                ), f"{path.name} imports {node.module}"


def test_a_float64_environment_and_discrete_observations():
    class Cells(Corridor):
        def __init__(self):
            super().__init__()
            self.observation_space = gym.spaces.Discrete(5, start=2)

        def _observe(self):
            return np.int64(self.cell + 2)

    agent = PPO(Cells().observation_space, Cells().action_space, seed=0, n_steps=16, batch_size=16)
    agent.learn([Cells(), Cells()], 64)
    assert agent.act(3).shape == ()
    assert agent.act([2, 3, 6]).shape == (3,)
    with pytest.raises(InvalidInputError, match="outside"):
        agent.act(7)
