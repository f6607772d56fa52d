"""Learning, schedules, resumption at any step, refusals."""

import json
import os
import signal
import subprocess
import sys
import time

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

from mbrl_split.agents import A2C, DQN, PPO, REINFORCE, Checkpoint, Linear, NonFiniteError, StopAt, zoo_run
from mbrl_split.agents.conformance import Corridor
from mbrl_split.agents.optimisers import Adam, RMSprop, TensorFlowRMSprop
from mbrl_split.errors import InvalidInputError, MbrlSplitError


def mean_return(agent, env_id, episodes):
    """Deterministic episodes, one after the other."""
    env, returns = gym.make(env_id), []
    for i in range(episodes):
        obs, _ = env.reset(seed=1000 + i)
        total, done = 0.0, False
        while not done:
            obs, reward, terminated, truncated, _ = env.step(int(agent.act(obs, deterministic=True)))
            total, done = total + reward, terminated or truncated
        returns.append(total)
    return np.mean(returns)


def test_ppo_learns_cartpole():
    envs = [gym.make("CartPole-v1") for _ in range(8)]
    reached = []
    for seed in range(3):  # about one seed in eight is not there yet after so few steps
        agent = PPO(envs[0].observation_space, envs[0].action_space, seed=seed, **PPO.zoo_settings("CartPole-v1"))
        history = agent.learn(envs, 30_720)
        assert history.column("episode/return")[1][:5].mean() < 40, "an untrained policy falls early"
        reached.append(mean_return(agent, "CartPole-v1", 5))
    assert np.median(reached) > 300


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (A2C, {"learning_rate": 5e-3}),
        (DQN, {"learning_starts": 200, "target_update_interval": 100, "train_freq": 1}),
        (REINFORCE, {"learning_rate": 2e-2}),
    ],
)
def test_the_others_learn_the_corridor(kind, config):
    """Going right always pays; a random policy rarely arrives in twelve steps."""

    def right_share(agent):
        obs = np.array([[c / 4, s / 12] for c in range(4) for s in range(6)], dtype=np.float32)
        return (agent.act(obs, deterministic=True) == 2).mean()

    class Goal(Corridor):
        def step(self, action):
            obs, _, terminated, truncated, info = super().step(action)
            return obs, 1.0 if terminated else -0.1, terminated, truncated, info

    env = Goal()
    agent = kind(env.observation_space, env.action_space, seed=1, net_arch=(16,), **config)
    agent.learn([Goal() for _ in range(4)], 4_000)
    assert right_share(agent) > 0.9


@pytest.mark.parametrize("stop", [1, 5, 77, 130])
def test_resumption_at_any_step_with_schedules_is_exact(tmp_path, stop):
    """Also in the middle of a rollout, through a checkpoint and with falling rates."""

    def make():
        envs = [Corridor(), Corridor()]
        config = {"n_steps": 16, "batch_size": 16, "learning_rate": Linear(1e-2), "clip_range": Linear(0.3, 0.1)}
        return PPO(envs[0].observation_space, envs[0].action_space, seed=5, **config), envs

    straight, envs = make()
    straight.learn(envs, 200)
    cut, envs = make()
    cut.start(envs, 200)
    while cut.num_steps < stop:
        cut.collect(min(2, stop - cut.num_steps))
        if cut.update_due:
            cut.update()
    cut.save(tmp_path / "a")
    resumed = PPO.load(tmp_path / "a")
    resumed.learn([Corridor(), Corridor()], 200 - resumed.num_steps)
    assert resumed.history == straight.history
    assert np.array_equal(resumed.networks.parameters.value, straight.networks.parameters.value)


def test_two_halves_are_a_whole_even_if_steps_come_in_odd_batches():
    def make():
        envs = [Corridor() for _ in range(8)]
        return A2C(envs[0].observation_space, envs[0].action_space, seed=5), envs

    whole, envs = make()
    whole.learn(envs, 200)
    halves, envs = make()
    halves.learn(envs, 100)  # 104 steps of 8
    halves.learn(envs, 100)
    assert halves.num_steps == whole.num_steps == 200
    assert halves.history == whole.history


def test_a_kill_during_a_checkpoint_leaves_a_whole_one(tmp_path):
    """A process saves without pause and is killed, again and again; what is there always loads, and is never older."""
    code = """
import sys
from mbrl_split.agents import DQN
from mbrl_split.agents.conformance import Corridor
from pathlib import Path
env, path = Corridor(), sys.argv[1]
if Path(path, "agent.json").exists():
    agent = DQN.load(path)
else:
    agent = DQN(env.observation_space, env.action_space, seed=0, learning_starts=10)
agent.start(env)
print("ready", flush=True)
while True:
    agent.collect(4)
    agent.save(path)
"""
    rng, steps = np.random.default_rng(0), 0
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "a")], stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(0.15 + 0.2 * rng.random())
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        if steps or (tmp_path / "a" / "agent.json").exists():
            agent = DQN.load(tmp_path / "a")
            assert agent.num_steps >= steps
            steps = agent.num_steps
    assert steps > 0


def test_checkpoints_and_early_stop(tmp_path):
    env = Corridor()
    agent = A2C(env.observation_space, env.action_space, seed=0)
    checkpoint = Checkpoint(tmp_path / "c", every=20)
    agent.learn(env, 50, callback=checkpoint)
    assert A2C.load(tmp_path / "c").num_steps == 40
    agent.learn(env, 10_000, callback=StopAt(0.0, window=2))
    assert agent.num_steps < 200


def test_what_is_saved_executes_nothing(tmp_path):
    env = Corridor()
    agent = PPO(env.observation_space, env.action_space, seed=0, n_steps=8)
    agent.learn(env, 20)
    agent.save(tmp_path / "a")
    agent.save(tmp_path / "a")
    assert {p.suffix for p in (tmp_path / "a").iterdir()} == {".json", ".safetensors"}
    assert len(list((tmp_path / "a").iterdir())) == 2, "the previous checkpoint is cleared away"
    manifest = json.loads((tmp_path / "a" / "agent.json").read_text())
    assert manifest["tree"]["agent"] == "PPO"


def test_a_reward_or_loss_that_is_not_finite_stops():
    class Broken(Corridor):
        bad = np.nan

        def step(self, action):
            obs, reward, terminated, truncated, info = super().step(action)
            return obs, self.bad if self.np_random.random() < 0.05 else reward, terminated, truncated, info

    env = Broken()
    with pytest.raises(NonFiniteError, match=r"the reward is nan .* at environment step \d+"):
        PPO(env.observation_space, env.action_space, seed=0, n_steps=16).learn(env, 1000)

    agent = DQN(env.observation_space, env.action_space, seed=0, learning_starts=4)
    agent.network.target_parameters.views["q.b0"][0] = np.inf
    with (
        pytest.raises(NonFiniteError, match=r"Q-learning loss is (nan|inf).* at environment step"),
        np.errstate(all="ignore"),
    ):
        agent.learn(Corridor(), 100)
    agent.network.parameters.views["q.b0"][0] = np.inf
    with pytest.raises(NonFiniteError, match="action value is nan"), np.errstate(all="ignore"):
        agent.act(np.zeros(2))
    before = PPO(env.observation_space, env.action_space, seed=0, n_steps=16)
    before.networks.parameters.views["critic.b2"][0] = np.nan
    with pytest.raises(NonFiniteError, match=r"advantages? is nan"):
        before.learn(Corridor(), 100)


@pytest.mark.parametrize("kind", [PPO, A2C, DQN, REINFORCE])
def test_bad_input_is_one_clear_line(kind, tmp_path):
    env = Corridor()
    good = (env.observation_space, env.action_space)

    def message(make):
        with pytest.raises(MbrlSplitError) as caught:
            make()
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "Discrete" in message(lambda: kind(good[0], gym.spaces.Box(-1, 1, (1,))))
    assert "Box or Discrete" in message(lambda: kind(gym.spaces.Dict({}), good[1]))
    assert "did you mean 'learning_rate'" in message(lambda: kind(*good, learning_rat=1))
    assert "schedule" in message(lambda: kind(*good, learning_rate="fast"))
    assert "gamma must be between 0 and 1" in message(lambda: kind(*good, gamma=2.0))
    agent = kind(*good, seed=0)
    assert "shape (3,)" in message(lambda: agent.act(np.zeros(3)))
    assert "allows no action" in message(lambda: agent.act(np.zeros(2), mask=np.zeros(3, dtype=bool)))
    assert "mask has shape" in message(lambda: agent.act(np.zeros(2), mask=np.ones(2, dtype=bool)))
    assert "total_steps" in message(lambda: agent.learn(env, 0))
    assert "start(env)" in message(lambda: kind(*good).collect(1))
    assert "no readable agent" in message(lambda: kind.load(tmp_path / "nothing"))
    agent.save(tmp_path / "a")
    other = PPO if kind is not PPO else A2C
    assert f"holds a {kind.__name__}, not a {other.__name__}" in message(lambda: other.load(tmp_path / "a"))
    (tmp_path / "a" / "agent.json").write_text("{")
    assert "no readable agent" in message(lambda: kind.load(tmp_path / "a"))
    (tmp_path / "file").write_text("")
    assert "cannot write" in message(lambda: agent.save(tmp_path / "file"))
    assert message(lambda: zoo_run(kind.__name__, "CartPole-v0")).count("did you mean 'CartPole-v1'")


def test_which_rmsprop(tmp_path):
    spaces = Corridor().observation_space, Corridor().action_space
    assert type(A2C(*spaces).optimiser) is RMSprop
    assert type(A2C(*spaces, rms_prop="tensorflow").optimiser) is TensorFlowRMSprop
    with pytest.raises(InvalidInputError, match=r"rms_prop must be one of .*'torch', 'tensorflow'.*, not 'keras'"):
        A2C(*spaces, rms_prop="keras")
    with pytest.raises(InvalidInputError, match="rms_prop must be"):  # it would be ignored
        A2C(*spaces, use_rms_prop=False, rms_prop="tensorflow")
    # A checkpoint that does not name it goes on with the one that it was made with.
    for settings, kind in (({"rms_prop": "tensorflow"}, TensorFlowRMSprop), ({"use_rms_prop": False}, Adam)):
        A2C(*spaces, **settings).save(tmp_path)
        manifest = json.loads((tmp_path / "agent.json").read_text())
        del manifest["tree"]["config"]["rms_prop"]
        (tmp_path / "agent.json").write_text(json.dumps(manifest))
        assert type(A2C.load(tmp_path).optimiser) is kind


def test_a_full_rollout_asks_for_an_update():
    env = Corridor()
    agent = PPO(env.observation_space, env.action_space, seed=0, n_steps=8)
    agent.start(env)
    assert agent.collect(100) == 8
    with pytest.raises(InvalidInputError, match="call update"):
        agent.collect(1)
    assert agent.update()["step"] == 8
    assert agent.update() == {}


@pytest.mark.parametrize(("kind", "settings"), [(A2C, {"n_steps": 1}), (REINFORCE, {"max_steps": 1})])
def test_a_rollout_of_reset_steps_alone_teaches_nothing_and_is_forgotten(kind, settings):
    class Short(Corridor):
        def step(self, action):
            obs, reward, _, _, info = super().step(action)
            return obs, reward, True, False, info

    env = SyncVectorEnv([Short] * 2)
    agent = kind(env.single_observation_space, env.single_action_space, seed=0, **settings)
    history = agent.learn(env, 20)
    assert history.column("step")[1].tolist() == list(range(2, 21, 2)), "every second step of both is a reset"


def test_a_changed_source_drops_the_rollout_or_relabels(tmp_path):
    env = Corridor()
    ppo = PPO(env.observation_space, env.action_space, seed=0, n_steps=8)
    ppo.start(env)
    ppo.collect(5)
    ppo.on_source_changed(1)
    assert ppo.update() == {}
    dqn = DQN(env.observation_space, env.action_space, seed=0, learning_starts=8, batch_size=64)
    dqn.relabel = lambda obs, actions, next_obs: np.full(len(obs), 50.0)
    dqn.learn(env, 30)
    dqn.on_source_changed(1)
    dqn.learn(env, 8)
    stored = dqn._replay.fields
    version, reward = stored["version"][0, :38], stored["reward"][0, :38]
    assert (reward[:30][version[:30] == 1] == 50).all()
    assert (version[:30] == 1).sum() > 20
    assert set(reward[30:]) <= {0.0, 1.0}
    dqn.save(tmp_path)
    assert (DQN.load(tmp_path).relabel, dqn.reload(tmp_path).relabel) == (None, dqn.relabel)
    dqn.relabel = None
    dqn.on_source_changed(2)
    assert len(dqn._replay) == 0


def test_epsilon_is_drawn_for_each_sub_environment():
    agent = DQN(Corridor().observation_space, gym.spaces.Discrete(3), seed=0)
    explored = agent._explore(np.full(4000, 7), None, 0.3, np.random.default_rng(0)) != 7
    assert explored.mean() == pytest.approx(0.3, abs=0.03)


def test_leave_one_out_baseline_by_hand():
    from mbrl_split.agents.reinforce import _episodes, leave_one_out

    # Episode 0: returns 3, 2, 1; episode 1: returns 10, 20. Ages pair them; the third step stands alone.
    returns, episode, age = np.array([3.0, 2, 1, 10, 20]), np.array([0, 0, 0, 1, 1]), np.array([0, 1, 2, 0, 1])
    np.testing.assert_allclose(leave_one_out(returns, episode, age), [10, 20, 15, 3, 2])
    np.testing.assert_allclose(leave_one_out(returns[:3], episode[:3], age[:3]), 0)

    live = np.array([[1, 1], [1, 0], [0, 1], [1, 1]], dtype=bool)
    ended = np.array([[0, 1], [1, 0], [0, 0], [0, 0]], dtype=bool)
    labels, ages = _episodes(live, ended, np.array([4, 0]))
    # Column 0: ages 4, 5, (dead), then a new episode at 0; column 1: 0, (dead), new episode 0, 1. Row by row:
    assert ages.tolist() == [4, 0, 5, 0, 0, 1]
    assert labels.tolist() == [0, 1, 0, 3, 2, 3]


def test_scaling_survives_saving(tmp_path):
    class Large(Corridor):
        def __init__(self):
            super().__init__()
            self.observation_space = gym.spaces.Box(-2e4, 2e4, (2,), dtype=np.float32)

        def _observe(self):
            return (super()._observe() * 1e4).astype(np.float32)

    env = Large()
    agent = PPO(env.observation_space, env.action_space, seed=0, n_steps=32, normalize_observations=True)
    agent.learn(env, 256)
    obs = np.array([[2500.0, 5000.0], [7500.0, 800.0]], dtype=np.float32)
    seen = agent._encoding(obs)
    assert np.abs(seen).max() < 4
    agent.save(tmp_path / "a")
    assert np.array_equal(PPO.load(tmp_path / "a")._encoding(obs), seen)


def test_running_moments_equal_numpy():
    from mbrl_split.agents.normalise import RewardScaler, RunningMoments

    rows, moments = np.random.default_rng(0).normal(3, 5, size=(100, 2)), RunningMoments(2)
    for part in np.split(rows, [1, 2, 40, 90]):
        moments.update(part)
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0))
    np.testing.assert_allclose(moments.var, rows.var(axis=0))

    scaler, returns = RewardScaler(1, 0.5), []
    total = 0.0
    for reward, ended in [(1.0, False), (2.0, False), (-4.0, True), (8.0, False)]:
        total = 0.5 * total + reward
        returns.append(total)
        scaler.update(np.array([reward]), np.array([ended]), np.array([True]))
        total = 0.0 if ended else total
    assert scaler(np.array([3.0]))[0] == pytest.approx(3.0 / np.sqrt(np.var(returns) + 1e-8))
