"""Advantages and n-step returns against slow loops and closed forms."""

import numpy as np
import pytest

from mbrl_split.agents import gae
from mbrl_split.agents.replay import Replay
from mbrl_split.interaction.stream import Step


def slow_gae(rewards, values, next_values, terminated, ended, gamma, lam):
    """A_t as the plain double sum Σ_k (γλ)^k δ_{t+k} up to the end of the episode."""
    steps, envs = rewards.shape
    out = np.zeros_like(rewards)
    for i in range(envs):
        for t in range(steps):
            weight = 1.0
            for k in range(t, steps):
                bootstrap = 0.0 if terminated[k, i] else gamma * next_values[k, i]
                out[t, i] += weight * (rewards[k, i] + bootstrap - values[k, i])
                weight *= gamma * lam
                if ended[k, i]:
                    break
    return out


@pytest.mark.parametrize("lam", [0.0, 0.7, 1.0])
def test_gae_equals_the_double_sum(lam):
    rng = np.random.default_rng(0)
    shape = (40, 5)
    rewards, values, next_values = rng.normal(size=(3, *shape))
    terminated = rng.random(shape) < 0.1
    ended = terminated | (rng.random(shape) < 0.1)
    fast = gae(rewards, values, next_values, terminated, ended, gamma=0.9, gae_lambda=lam)
    np.testing.assert_allclose(
        fast, slow_gae(rewards, values, next_values, terminated, ended, 0.9, lam), rtol=0, atol=1e-12
    )


def test_gae_of_a_constant_reward_in_closed_form():
    """Reward 1, value zero, λ = 1: the advantage is the geometric sum (1 − γ^n)/(1 − γ)."""
    steps, gamma = 30, 0.95
    zeros = np.zeros((steps, 1))
    last = np.zeros((steps, 1), dtype=bool)
    last[-1] = True
    advantages = gae(zeros + 1, zeros, zeros, last, last, gamma=gamma, gae_lambda=1.0)[:, 0]
    to_go = np.arange(steps, 0, -1)
    np.testing.assert_allclose(advantages, (1 - gamma**to_go) / (1 - gamma), rtol=1e-12)


def test_a_truncation_bootstraps_and_a_termination_does_not():
    """An endless reward of 1 has V = 1/(1 − γ) everywhere: with the true values every advantage is 0, cut or not.

    Negative control: calling the cut a termination makes the advantage at the cut −γV.
    """
    gamma, steps = 0.9, 6
    value = 1 / (1 - gamma)
    rewards, values = np.ones((steps, 1)), np.full((steps, 1), value)
    cut = np.zeros((steps, 1), dtype=bool)
    cut[2] = True
    never = np.zeros_like(cut)
    truncated = gae(rewards, values, values, never, cut, gamma=gamma, gae_lambda=0.95)
    np.testing.assert_allclose(truncated, 0, atol=1e-12)
    terminated = gae(rewards, values, values, cut, cut, gamma=gamma, gae_lambda=0.95)
    assert terminated[2, 0] == pytest.approx(-gamma * value)
    # Letting the advantage flow across the cut would change the rows before it as soon as the next episode differs.
    rewards[3:] = 100.0
    across = gae(rewards, values, values, never, never, gamma=gamma, gae_lambda=0.95)
    assert across[2, 0] > 50
    np.testing.assert_allclose(
        gae(rewards, values, values, never, cut, gamma=gamma, gae_lambda=0.95)[:3], 0, atol=1e-12
    )


def test_nothing_not_a_number_leaks_over_an_end():
    rewards, values, next_values = np.ones((4, 1)), np.zeros((4, 1)), np.zeros((4, 1))
    terminated = np.array([[False], [True], [False], [False]])
    next_values[1] = np.nan  # the value after a final state is nobody's business
    values[2] = np.nan
    advantages = gae(rewards, values, next_values, terminated, terminated, gamma=0.9, gae_lambda=0.9)
    assert np.isfinite(advantages[:2]).all()
    assert np.isnan(advantages[2])


def random_step(rng, n, t, ended_p=0.15):
    terminated = rng.random(n) < ended_p / 2
    truncated = ~terminated & (rng.random(n) < ended_p)
    obs = np.stack([np.arange(n), np.full(n, t + 1.0)], axis=1).astype(np.float32)
    live = rng.random(n) > 0.2
    return Step(obs, obs, rng.normal(size=n), terminated & live, truncated & live, live, None, None)


@pytest.mark.parametrize("capacity", [1000, 75])
def test_n_step_returns_against_a_slow_loop(capacity):
    """Dead rows never enter; the real k; no return across an end; the ring's edge is respected after it has turned."""
    rng = np.random.default_rng(1)
    envs, gamma, n = 3, 0.9, 4
    replay, story = Replay(capacity, envs, 2, 2), [[] for _ in range(envs)]
    obs = np.zeros((envs, 2), dtype=np.float32)
    for t in range(60):
        obs = np.stack([np.arange(envs), np.full(envs, float(t))], axis=1).astype(np.float32)
        step = random_step(rng, envs, t)
        replay.add(obs, np.full(envs, t % 2), step, version=0)
        for i in range(envs):
            if step.live[i]:
                story[i].append((t, step.reward[i], step.terminated[i], step.ended[i]))
    kept = [rows[-(capacity // envs) :] for rows in story]
    assert len(replay) == sum(len(rows) for rows in kept)

    batch = replay.sample(4000, np.random.default_rng(2), gamma=gamma, n_steps=n)
    seen = set()
    for row in range(4000):
        i, t = int(batch["obs"][row, 0]), int(batch["obs"][row, 1])
        seen.add((i, t))
        at = next(k for k, r in enumerate(kept[i]) if r[0] == t)
        total, k = 0.0, 0
        while True:
            when, reward, terminated, ended = kept[i][at + k]
            total += gamma**k * reward
            k += 1
            if ended or k == n or at + k == len(kept[i]):
                break
        assert batch["reward"][row] == pytest.approx(total)
        assert batch["discount"][row] == pytest.approx(0.0 if terminated else gamma**k)
        assert batch["next_obs"][row, 1] == when + 1
    assert len(seen) == len(replay), "every stored transition is drawn"


def test_sampling_is_uniform_over_unequal_rings():
    replay = Replay(100, 2, 2, 2)
    for t in range(40):
        step = random_step(np.random.default_rng(t), 2, t)
        step.live = np.array([True, t % 4 == 0])
        replay.add(np.array([[0, t], [1, t]], dtype=np.float32), np.zeros(2, dtype=int), step, version=0)
    drawn = replay.sample(20_000, np.random.default_rng(0), gamma=1.0)["obs"][:, 0].mean()
    assert drawn == pytest.approx(10 / 50, abs=0.01)


def test_stale_rewards_are_relabelled_once_and_in_every_return_that_holds_them():
    replay, calls = Replay(10, 1, 2, 2), []
    for t in range(4):
        obs = np.array([[0.0, t]], dtype=np.float32)
        no = np.zeros(1, dtype=bool)
        replay.add(obs, np.array([1]), Step(obs, obs + 1, np.array([1.0]), no, no, ~no, None, None), version=t // 2)

    def relabel(obs, actions, next_obs):
        calls.append(len(obs))
        return 10.0 + obs[:, 1]

    for _ in range(2):
        batch = replay.sample(200, np.random.default_rng(0), gamma=0.5, n_steps=2, version=1, relabel=relabel)
        by_time = {int(t): float(r) for t, r in zip(batch["obs"][:, 1], batch["reward"], strict=True)}
        # Rows 0 and 1 are stale (version 0): 10 and 11; rows 2 and 3 keep 1.
        assert by_time == {0: 10 + 0.5 * 11, 1: 11 + 0.5 * 1, 2: 1.5, 3: 1.0}
    assert calls == [2], "each stale row once; what was relabelled is stored"


def test_a_cut_stops_returns():
    replay = Replay(10, 1, 1, 2)
    no = np.zeros(1, dtype=bool)
    for t in range(4):
        obs = np.array([[t]], dtype=np.float32)
        replay.add(obs, np.array([0]), Step(obs, obs + 1, np.array([1.0]), no, no, ~no, None, None), version=0)
        if t == 1:
            replay.cut()
    batch = replay.sample(200, np.random.default_rng(0), gamma=1.0, n_steps=3)
    steps = {int(t): int(k) for t, k in zip(batch["obs"][:, 0], batch["reward"], strict=True)}
    assert steps == {0: 2, 1: 1, 2: 2, 3: 1}
    assert (batch["discount"] > 0).all(), "a cut is no termination"
