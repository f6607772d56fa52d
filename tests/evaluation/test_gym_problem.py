"""Any Gymnasium environment as a problem: its judge against loops over gymnasium.make."""

from __future__ import annotations

import copy

import gymnasium as gym
import numpy as np
import pytest

from mbrl_split.errors import InvalidInputError, UnsupportedError
from mbrl_split.evaluation import GymProblem, check_problem
from mbrl_split.interaction import Policy, ZeroSource
from mbrl_split.oracles import Ledger, Metered


class Lean(Policy):
    """Pushes the cart to where the pole falls."""

    def act(self, obs, *, deterministic=False, mask=None):
        return (np.asarray(obs)[..., 2] > 0).astype(np.int64)


def loop(problem, seed, n, episodes, act):
    """Returns of ``episodes`` per environment, each with a seed of its own, stepped together."""
    envs = [gym.make(problem.env_id, **problem.kwargs) for _ in range(n)]
    obs = [env.reset(seed=seed + i)[0] for i, env in enumerate(envs)]
    returns, total = [[] for _ in envs], np.zeros(n)
    while min(len(r) for r in returns) < episodes:
        for i, action in enumerate([act(o) for o in obs]):
            obs[i], reward, terminated, truncated, _ = envs[i].step(action)
            total[i] += reward
            if terminated or truncated:
                returns[i].append(total[i])
                total[i], obs[i] = 0.0, envs[i].reset()[0]
    return [r for rs in returns for r in rs[:episodes]]


@pytest.mark.parametrize(("episodes", "judge_envs", "quota"), [(10, 4, 3), (3, 10, 1)])
def test_returns_are_those_of_an_independent_loop(episodes, judge_envs, quota):
    problem = GymProblem("CartPole-v1", episodes=episodes, judge_envs=judge_envs)
    found = problem.judge(seed=7).judge(Lean())
    by_hand = loop(problem, 7, min(judge_envs, episodes), quota, lambda obs: int(obs[2] > 0))
    assert found.per_unit.tolist() == by_hand[:episodes]
    assert found.unit == "episode"
    assert found.value == pytest.approx(np.mean(by_hand[:episodes]))
    assert found.std_error == pytest.approx(np.std(by_hand[:episodes], ddof=1) / np.sqrt(episodes))
    assert problem.judge(seed=7).judge(Lean()).per_unit.tolist() == found.per_unit.tolist()
    assert problem.judge(seed=8).judge(Lean()).per_unit.tolist() != found.per_unit.tolist()


def test_the_random_policy_is_the_action_spaces_own():
    problem = GymProblem("CartPole-v1", episodes=200, judge_envs=20)
    judge = problem.judge(seed=3)
    found = judge.reference("random")
    space = copy.deepcopy(gym.make("CartPole-v1").action_space)
    space.seed(3)
    assert found.per_unit.tolist() == loop(problem, 3, 20, 10, lambda obs: space.sample())
    assert found.value == pytest.approx(22.2, abs=4 * found.std_error)  # known of CartPole
    assert judge.reference("random").per_unit.tolist() == found.per_unit.tolist()
    assert judge.headroom is None
    assert judge.about() == {"episodes": 200}
    with pytest.raises(InvalidInputError, match="unknown reference 'optimal'"):
        judge.reference("optimal")


def test_settings_of_the_environment():
    """FrozenLake without slipping: the way is known, and always pays 1."""
    problem = GymProblem("FrozenLake-v1", episodes=4, is_slippery=False)

    class Way(Policy):
        def act(self, obs, *, deterministic=False, mask=None):
            return np.array([{0: 1, 4: 1, 8: 2, 9: 1, 13: 2, 14: 2}[int(o)] for o in np.asarray(obs)])

    assert problem.judge(seed=0).judge(Way()).per_unit.tolist() == [1, 1, 1, 1]
    assert problem.describe() == {
        "env_id": "FrozenLake-v1",
        "episodes": 4,
        "judge_envs": 10,
        "is_slippery": False,
    }
    assert problem.action_table() == [{"action": a} for a in range(4)]
    check_problem(problem)


def test_actions_that_are_numbers():
    problem = GymProblem("Pendulum-v1", episodes=3)

    class Push(Policy):
        def act(self, obs, *, deterministic=False, mask=None):
            return np.clip(-np.asarray(obs)[..., 2:], -2, 2).astype(np.float32)

    found = problem.judge(seed=2).judge(Push()).per_unit
    np.testing.assert_allclose(found, loop(problem, 2, 3, 1, lambda obs: np.clip(-obs[2:], -2, 2)))
    assert problem.action_table() == []
    check_problem(problem)


def test_a_real_step_is_the_truth():
    problem = GymProblem("CartPole-v1")
    assert problem.unit == "environment step"
    assert problem.oracle() is None
    assert problem.reward_function() is None
    assert problem.columns == ()
    ledger = Ledger(budget=20)
    env = Metered(problem.make_env(5), ledger)
    env.reset(seed=0)
    env.step(np.zeros(5, np.int64))
    assert ledger.spent == 5
    for ask in (
        lambda: problem.lookup(lambda X: X[:, 0]),
        lambda: problem.rule(lambda context: context[:, 0]),
        lambda: problem.planner(),
        lambda: problem.record_rows(ledger),
        lambda: problem.make_env(2, source=ZeroSource(())),
    ):
        with pytest.raises(UnsupportedError):
            ask()


def test_what_is_wrong_is_said():
    with pytest.raises(InvalidInputError, match="no environment 'CartPol-v1'"):
        GymProblem("CartPol-v1")
    for name in ("episodes", "judge_envs"):
        with pytest.raises(InvalidInputError, match=f"{name} is at least 1, not 0"):
            GymProblem("CartPole-v1", **{name: 0})
