"""Sessions: rewards and queries by hand, the cache that moves, masks, late knowledge, resume, fading, traces."""

from __future__ import annotations

import json

import gymnasium
import numpy as np
import pytest
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from mbrl_split import InvalidInputError
from mbrl_split.agents import PPO
from mbrl_split.channels.doppler import gain_of_scatter
from mbrl_split.columns import Column
from mbrl_split.envs import check_environment
from mbrl_split.layer_split import LLMSplit, LLMSplitVector, scenario
from mbrl_split.layer_split.context_process import correlation_of
from mbrl_split.layer_split.costs import Prices
from mbrl_split.layer_split.envs.session import SessionVector
from mbrl_split.layer_split.envs.split import SplitVector
from mbrl_split.layer_split.scenarios import ChannelSpec

PHONE = {"device": "phone", "edge": "l4", "radio": "5g"}
INSTANT = {
    "channel": ChannelSpec(fading="none"),
    "context": (Column("noise", "RMS", 0.05, 1.0, "log"),),
    "context_process": {"fading": True, "sees_gain": True, "doppler": 0.05},
}
FORMS = [
    {},
    {"actions": "relative"},
    {"costs": {**PHONE, "deadline": 2.6}},
    {"costs": {**PHONE, "model": "mistral-7b-4bit", "memory": 1.2e9}},
    {"context_process": {"delay": 2, "knowledge_error": 2.0, "marginal": "normal"}},
    {"context_process": {"trace": "synthetic", "speed": 10.0}},
    {"context_process": {"session": False, "battery_joules": None, "edge_load": (0.0, 0.3, 0.9)}},
    {"context": (Column("snr_db", "dB", 0.0, 30.0), Column("m", "1", 1.0, 4.0, "log")), "channel": {"kind": "snr"}},
    INSTANT,
]


def make(closed_form, n=4, **overrides):
    return LLMSplitVector(n, "drive", source=closed_form("drive", **overrides), **overrides)


@pytest.mark.parametrize("overrides", FORMS)
def test_every_form_keeps_the_contract(overrides, closed_form):
    env = make(closed_form, **overrides)
    assert isinstance(env, SessionVector)
    check_environment(env)


def test_both_forms_are_made_by_name(closed_form):
    one = gymnasium.make("mbrl_split/LLMSplit-v0", scenario="drive", source=closed_form("drive"))
    assert isinstance(one.unwrapped, LLMSplit)
    obs, info = one.reset(seed=0)
    assert info["action_mask"].shape == (11,)
    assert obs.shape == (6,)
    _, _, _, _, info = one.step(3)
    assert info["action_mask"].dtype == np.bool_
    assert info["seconds"] > 0
    sb3_check_env(LLMSplit("drive", source=closed_form("drive")), warn=False)
    many = gymnasium.make_vec("mbrl_split/LLMSplit-v0", num_envs=3, scenario="drive", source=closed_form("drive"))
    assert isinstance(many, SessionVector)
    assert type(many.resized(5)) is SessionVector
    assert type(LLMSplitVector(2, source=closed_form())) is SplitVector


def test_every_turn_by_hand(closed_form):
    """Rewards, bills, cache and battery recomputed from what the environment reports, turn by turn."""
    source = closed_form("drive")
    env = LLMSplitVector(5, "drive", source=source)
    s, prices = env.scenario, Prices(env.scenario.costs, env.scenario.context_process, 12, 16)
    obs, _ = env.reset(seed=1)
    before = env._current["split"].copy()
    charge = env._current["battery"].copy()
    rng = np.random.default_rng(0)
    for t in range(s.episode_steps):
        np.testing.assert_allclose(obs[:, 4], t / 16)
        noise = s.context[0].from_unit(obs[:, 0].astype(np.float64))
        load = np.array(s.context_process.edge_load)[np.rint(obs[:, 3]).astype(int)]
        action = rng.integers(0, 11, 5)
        obs, reward, _, _, info = env.step(action)
        split = action + 1
        bill = prices.turn(split, before, 1 / noise**2, load, t)
        np.testing.assert_allclose(info["seconds"], bill.seconds, rtol=1e-5)
        np.testing.assert_allclose(info["moving_seconds"], bill.moving, rtol=1e-5)
        parts = ("device", "uplink", "edge", "downlink", "moving", "fixed")
        np.testing.assert_allclose(sum(info[f"{part}_seconds"] for part in parts), info["seconds"])
        np.testing.assert_allclose(info["compute_joules"] + info["transmit_joules"], info["joules"])
        assert (info["first_token_seconds"] < info["seconds"]).all()
        np.testing.assert_allclose(info["memory_bytes"], prices.memory_of(split, t))
        assert (info["moving_seconds"][split == before] == 0).all()
        assert (info["moving_seconds"] > 0).sum() == (0 if t == 0 else (split != before).sum())
        X = source.asked[-1][0]
        np.testing.assert_allclose(X, np.column_stack([split, noise, np.full(5, 2.0)]), rtol=1e-5)
        price = 1 + (1 - charge)
        energy = 0.5 * price * bill.joules / prices.reference_joules
        share = energy + 0.5 * (bill.seconds - bill.fixed) / prices.reference_seconds
        np.testing.assert_allclose(reward, -3 * info["damage"] + 1 - share, rtol=1e-4)
        charge = charge - (info["joules"] + s.context_process.turn_seconds) / 50_000
        before = split


def test_the_cache_grows_so_that_moving_gets_dearer(closed_form):
    env = make(closed_form, n=1, context_process={"correlation": 0.999999, "marginal": "normal", "start_tokens": 512})
    env.reset(seed=0)
    moving = []
    for t in range(16):
        moving.append(env.step(np.array([t % 2 * 4]))[4]["moving_seconds"][0])
    down = np.array(moving[1::2])  # from split 1 to split 5
    tokens = 512 + 128 * np.arange(1, 16, 2)
    np.testing.assert_allclose(down / down[0], tokens / tokens[0], rtol=0.01)


def test_masks_hold_deadline_and_memory(closed_form):
    env = make(closed_form, n=64, costs={**PHONE, "deadline": 2.5})
    _, info = env.reset(seed=0)
    seen = 0
    for _ in range(16):
        mask, state = info["action_mask"], env._current
        for a in range(11):
            seconds = env.bill(state, np.full(64, a + 1)).seconds
            late = seconds > 2.5
            alone = mask.sum(axis=1) == 1
            assert (mask[:, a] == ~late)[~alone].all()
            seen += int(late.sum())
        *_, info = env.step(np.full(64, 10))
        row = np.arange(64)
        assert (info["allowed"] == mask[row, 10]).all()
        assert mask[row, info["split"] - 1].all()  # a forbidden split is answered by an allowed one
        nearest = np.where(mask, np.abs(np.arange(11) - 10), 99).min(axis=1)
        np.testing.assert_array_equal(11 - info["split"], nearest)
    assert seen > 100

    tight = make(
        closed_form, n=2, costs={"model": "mistral-7b-4bit", "memory": 6e8}, context_process={"start_tokens": 512}
    )
    _, info = tight.reset(seed=0)
    per_layer = 0.5 * 218_112_000 + 2 * 1024 * 2 * (512 + 128)
    assert info["action_mask"].sum(axis=1).tolist() == [int(6e8 // per_layer)] * 2


def test_masks_reach_the_agents(closed_form):
    env = make(closed_form, n=4, costs={**PHONE, "deadline": 2.45})
    agent = PPO(env.single_observation_space, env.single_action_space, n_steps=16, seed=0)
    chosen = []
    step = env.step

    def watched(actions):
        mask = env.action_masks()
        chosen.append(mask[np.arange(4), actions])
        return step(actions)

    env.step = watched
    agent.learn(env, 256)
    assert np.all(chosen)
    assert len(chosen) == 64


def test_knowledge_is_late_and_noisy(closed_form):
    env = make(closed_form, n=2000, context_process={"delay": 2})
    obs, _ = env.reset(seed=0)
    truth, known = [], [obs[:, 0]]
    for _ in range(6):
        obs, _, _, _, info = env.step(np.zeros(2000, np.int64))
        truth.append(env.scenario.context[0].to_unit(info["noise"]))
        known.append(obs[:, 0])
    for t in range(2, 6):
        np.testing.assert_allclose(known[t], truth[t - 2], atol=1e-6)
    z = env.reset(seed=5)[0][:, 0]
    assert np.corrcoef(z, env.scenario.context[0].to_unit(env.level(env._current)))[0, 1] == pytest.approx(
        6 / np.pi * np.arcsin(correlation_of(env.context_process) ** 2 / 2), abs=0.03
    )
    noisy = make(closed_form, n=4000, context_process={"knowledge_error": 3.0})
    noisy.reset(seed=0)
    state = noisy._current
    inside = np.abs(noisy.scenario.context[0].to_unit(noisy.level(state)) - 0.5) < 0.1  # far from the cut ends
    error = 20 * np.log10(noisy.known_level(state) / noisy.level(state))
    assert error[inside].std() == pytest.approx(3.0, rel=0.1)


def test_instantaneous_gain_asks_for_sigma_over_h(closed_form):
    source = closed_form("drive", **INSTANT)
    env = LLMSplitVector(3000, "drive", source=source, **INSTANT)
    obs, _ = env.reset(seed=0)
    state = env._current
    h = gain_of_scatter(state["scatter"], 2.0)
    env.step(np.zeros(3000, np.int64))
    np.testing.assert_allclose(source.asked[-1][0][:, 1], np.clip(env.level(state) / h, 0.05, 1.0))
    np.testing.assert_allclose(obs[:, -1], np.minimum(h / 3, 1), rtol=1e-6)
    after = gain_of_scatter(env._current["scatter"], 2.0)
    from scipy.special import j0

    assert np.corrcoef(h**2, after**2)[0, 1] == pytest.approx(j0(2 * np.pi * 0.05) ** 2, abs=0.03)


def test_a_csv_trace_is_followed(closed_form, tmp_path):
    path = tmp_path / "trace.csv"
    snr = np.linspace(2, 24, 12)
    path.write_text("snr_db\n" + "\n".join(map(str, snr)), encoding="utf-8")
    env = make(closed_form, n=3, context_process={"trace": str(path)})
    env.reset(seed=0)
    place = env._current["place"].copy()
    for t in range(5):
        info = env.step(np.zeros(3, np.int64))[4]
        np.testing.assert_allclose(info["noise"], 10 ** (-snr[(place + t) % 12] / 20))


def test_resume_is_bit_equal(closed_form):
    kw = {"context_process": {"delay": 1, "knowledge_error": 1.0}, "costs": {**PHONE, "deadline": 2.6}}
    rng = np.random.default_rng(0)
    actions = rng.integers(0, 11, (40, 4))
    env = make(closed_form, **kw)
    env.reset(seed=3)
    for a in actions[:21]:
        env.step(a)
    saved = json.loads(json.dumps(env.state_dict()))
    rest = [env.step(a) for a in actions[21:]]
    other = make(closed_form, **kw)
    other.load_state_dict(saved)
    for a, (obs, reward, _, _, info) in zip(actions[21:], rest, strict=True):
        again = other.step(a)
        assert np.array_equal(again[0], obs)
        assert np.array_equal(again[1], reward)
        assert np.array_equal(again[4]["action_mask"], info["action_mask"])


def test_bad_sessions_are_refused(closed_form):
    for overrides, what in (
        ({"context_process": {"fading": True}}, "fading='none'"),
        ({"context_process": {"correlation": 1.0}}, "correlation"),
        ({"costs": {"edge": "l44"}}, "l4"),
        ({"context_process": {"edge_load": (0.2, 1.0)}}, "edge_load"),
    ):
        with pytest.raises(InvalidInputError, match=what):
            make(closed_form, **overrides)
    with pytest.raises(InvalidInputError, match="come together"):
        scenario("drive", costs=None)
    with pytest.raises(InvalidInputError, match="reference"):
        scenario("drive", reference="start")
