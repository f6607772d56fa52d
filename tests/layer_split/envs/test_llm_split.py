"""The layer split: registration, rewards through the environment, drift, spaces, Stable-Baselines3, bad input."""

import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from stable_baselines3.common.vec_env import DummyVecEnv

from mbrl_split import InvalidInputError
from mbrl_split.columns import Column
from mbrl_split.envs import OracleSource
from mbrl_split.layer_split import LLMSplit, LLMSplitVector, SplitVector, compose_reward, observe, scenario
from mbrl_split.oracles import FunctionOracle, Ledger

ID = "mbrl_split/LLMSplit-v0"
FORMS = [
    ("equalised", {}),
    ("equalised", {"actions": "relative"}),
    ("equalised", {"reference": "start"}),
    ("paper-a", {}),
    ("paper-a", {"actions": "relative", "reference": "start"}),
]


def test_make_and_make_vec(closed_form):
    one = gymnasium.make(ID, scenario="equalised", source=closed_form())
    assert isinstance(one.unwrapped, LLMSplit)
    assert one.unwrapped.n_layers == 12
    assert one.action_space == gymnasium.spaces.Discrete(11)
    many = gymnasium.make_vec(ID, num_envs=7, scenario="paper-a", source=closed_form("paper-a"), episode_steps=3)
    assert type(many) is SplitVector
    assert many.num_envs == 7
    assert many.reset(seed=0)[0].shape == (7, 3)
    assert many.scenario == scenario("paper-a", episode_steps=3)


def test_importing_the_package_loads_no_torch():
    code = "import sys, mbrl_split; sys.exit('torch' in sys.modules or 'mbrl_split.envs' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("name", "overrides"), FORMS)
def test_both_checkers_have_nothing_to_say(name, overrides, closed_form):
    env = gymnasium.make(ID, scenario=name, source=closed_form(name, **overrides), **overrides)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
        sb3_check_env(env.unwrapped, warn=True)


@pytest.mark.parametrize(("name", "overrides"), FORMS)
def test_every_step_by_hand(name, overrides, closed_form):
    """State, query, reward and observation recomputed from the first observation and the actions alone."""
    source = closed_form(name, **overrides)
    env = LLMSplitVector(5, scenario=name, source=source, **overrides)
    s = env.scenario
    obs, _ = env.reset(seed=3)
    start = env._current
    noise0, m, p0 = start["start_context"][:, 0], start["start_context"][:, 1], start["split"]
    reference = np.zeros(5)
    if s.reference == "start":
        (X, seeds), *_ = source.asked
        assert np.array_equal(X, np.column_stack([p0, noise0, m]))
        reference = X[:, 1] / X[:, 0] + 0.1 * (seeds % 1000) / 1000
    p = p0.copy()
    env.action_space.seed(0)
    for t in range(s.episode_steps):
        a = env.action_space.sample()
        p = a + 1 if s.actions == "absolute" else np.clip(p + a - 4, 1, 11)
        obs, reward, _, truncated, info = env.step(a)
        X, seeds = source.asked[-1]
        noise = np.clip(noise0 * np.exp(-s.drift * (p - p0)), 0.05, 1.0)
        assert np.allclose(X[:5], np.column_stack([p, noise, m]), rtol=1e-13)
        damage = X[:5, 1] / X[:5, 0] + 0.1 * (seeds[:5] % 1000) / 1000
        assert np.array_equal(info["damage"], damage)
        assert np.array_equal(info["split"], p)
        assert np.array_equal(info["query_seed"], seeds[:5])
        w = s.reward
        excess = damage - reference
        quality = -w.quality * excess if w.kind == "log" else w.quality * (1 - np.exp(excess))
        assert np.allclose(reward, quality + w.load * (1 - p / 12), rtol=1e-12)
        assert np.allclose(reward, info["quality"] + info["load"], rtol=1e-12)
        assert np.array_equal(reward, compose_reward(damage, p, 12, w, reference))
        assert truncated.all() == (t == s.episode_steps - 1)
        last = np.stack(list(info["final_obs"])) if truncated.all() else obs
        assert np.allclose(last, observe(s, 12, np.column_stack([noise, m]), p, reference), atol=1e-7)


def test_contexts_are_uniform_along_their_scales(closed_form):
    env = LLMSplitVector(4000, source=closed_form())
    obs, _ = env.reset(seed=0)
    assert (obs >= 0).all()
    assert (obs <= 1).all()
    for j in range(2):
        counts = np.histogram(obs[:, j], bins=8, range=(0, 1))[0]
        assert np.abs(counts - 500).max() < 120  # 5.7 standard deviations
    first = np.bincount(env._current["split"], minlength=12)[1:]
    assert np.abs(first - 4000 / 11).max() < 100
    assert np.abs(np.corrcoef(obs.T) - np.eye(3)).max() < 0.08


def test_drift_comes_back(closed_form):
    """Moving away and back restores the noise: the factors telescope (in the paper's form they would not)."""
    env = LLMSplitVector(64, scenario="paper-a", source=closed_form("paper-a"), drift=0.05)
    env.reset(seed=1)
    seen = []
    for split in (6, 11, 1, 6):
        *_, info = env.step(np.full(64, split - 1))
        seen.append(info["query"][:, 1])
    inside = (np.stack(seen) > 0.0501).all(axis=0) & (np.stack(seen) < 0.99).all(axis=0)
    assert inside.sum() > 30
    assert np.array_equal(seen[0], seen[3])
    ratio = seen[1][inside] / seen[0][inside]
    assert ratio == pytest.approx(np.exp(-0.05 * 5))


def test_a_context_without_columns_and_one_step_episodes():
    columns = scenario("equalised", context=()).columns(6)
    source = OracleSource(Ledger(FunctionOracle(lambda X: X[:, 0] * 0.1, columns)))
    env = LLMSplitVector(3, source=source, context=(), episode_steps=1)
    obs, _ = env.reset(seed=0)
    assert obs.shape == (3, 1)
    obs, reward, _, truncated, _ = env.step([0, 1, 4])
    assert truncated.all()
    assert reward == pytest.approx(-3 * 0.1 * np.array([1, 2, 5]) + 1 - np.array([1, 2, 5]) / 6)
    other = env.resized(3)
    other.load_state_dict(env.state_dict())
    assert np.array_equal(env.step([0, 0, 0])[0], other.step([0, 0, 0])[0])


def test_stable_baselines3_trains_on_it_unmodified(closed_form):
    env = gymnasium.make(ID, source=closed_form(episode_steps=3), episode_steps=3)
    model = PPO("MlpPolicy", env, n_steps=64, batch_size=32, n_epochs=2, seed=0, device="cpu")
    model.learn(192)
    assert model.num_timesteps == 192
    assert len(model.ep_info_buffer) == 64
    assert {e["l"] for e in model.ep_info_buffer} == {3}


def test_dummy_vec_env_sees_the_batchs_episodes(closed_form):
    """SB3's own vector of single forms walks through the same episodes as the native vector."""
    theirs = DummyVecEnv([lambda: LLMSplit(source=closed_form(reference="start"), reference="start")] * 3)
    theirs.seed(5)
    ours = LLMSplitVector(3, source=closed_form(reference="start"), reference="start")
    assert np.array_equal(theirs.reset(), ours.reset(seed=5)[0])
    ours.action_space.seed(0)
    for _ in range(12):
        a = ours.action_space.sample()
        obs, reward, _, truncated, info = ours.step(a)
        their_obs, their_reward, done, their_info = theirs.step(a)
        assert np.array_equal(obs, their_obs)
        assert np.array_equal(reward.astype(np.float32), their_reward)
        assert np.array_equal(done, truncated)
        if done.any():
            assert np.array_equal(info["final_obs"][1], their_info[1]["terminal_observation"])
            assert their_info[1]["TimeLimit.truncated"]
            assert their_info[1]["episode_return"] == info["final_info"]["episode_return"][1]


def test_bad_input_gets_one_clear_line(closed_form):
    source = closed_form()
    for call, message in [
        (lambda: LLMSplit("equalized", source=source), "unknown scenario 'equalized'; did you mean 'equalised'"),
        (lambda: LLMSplit(source=source, episodes=3), "unknown scenario field 'episodes'"),
        (lambda: LLMSplit(source="tabel"), "unknown source 'tabel'; did you mean 'table'"),
        (lambda: LLMSplit(source=7), "source is 'table', 'live', None, or an object"),
        (lambda: LLMSplit(model="tiny-lama", source="live"), "tiny-lama"),
        (lambda: LLMSplit(model="tiny-lama", source="table"), "tiny-lama"),
        (lambda: LLMSplit(model="tiny-lama"), "tiny-lama"),
        (lambda: LLMSplit(source=source, num_envs=3), "make_vec"),
        (lambda: LLMSplit(source=source, context=(Column("loss", "1", 0, 1),)), "answers the columns"),
        (lambda: LLMSplit(source=source, context=(Column("loss", "1", 0, 1),), drift=0.1), "drift acts on"),
        (lambda: LLMSplit(source=source, reference="end"), "reference is 'clean' or 'start'"),
    ]:
        with pytest.raises(InvalidInputError, match=message) as error:
            call()
        assert "\n" not in str(error.value)
    with pytest.raises(TypeError, match="render_mode"):  # Stable-Baselines3's make_vec_env relies on the type
        LLMSplit(source=source, render_mode="human")


def test_a_model_beside_a_source_is_checked(closed_form):
    from mbrl_split.layer_split.envs.built_in import _layers

    layers = _layers("tiny-llama")
    assert LLMSplit(model="tiny-llama", source=closed_form(n_layers=layers)).n_layers == layers
    wrong = rf"has {layers} layers, hence splits 1 … {layers - 1}; the source answers 1 … {layers}"
    with pytest.raises(InvalidInputError, match=wrong):
        LLMSplit(model="tiny-llama", source=closed_form(n_layers=layers + 1))
