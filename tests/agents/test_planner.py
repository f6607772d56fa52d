"""The planner against chains solved by hand and linear systems."""

import numpy as np
import pytest

from mbrl_split.agents import Planner, TabularModel
from mbrl_split.errors import InvalidInputError


def chain(n=5, gamma=0.9, mask=None):
    """Left or right on n cells; entering the last pays 1 and ends (its row of P is empty)."""
    P, R = np.zeros((n - 1, 2, n - 1)), np.zeros((n - 1, 2))
    for s in range(n - 1):
        P[s, 0, max(s - 1, 0)] = 1
        if s + 1 < n - 1:
            P[s, 1, s + 1] = 1
        else:
            R[s, 1] = 1
    return TabularModel(P, R, mask, gamma)


def test_a_chain_in_closed_form():
    plan = Planner(chain()).value_iteration()
    np.testing.assert_allclose(plan.values, 0.9 ** np.array([3, 2, 1, 0]), atol=1e-8)
    assert plan.policy.tolist() == [1, 1, 1, 1]
    assert plan.act([0, 3]).tolist() == [1, 1]
    np.testing.assert_allclose(plan.q[1], [0.9 * 0.9**3, 0.9**2], atol=1e-8)


def test_a_finite_horizon_by_hand():
    plan = Planner(chain(gamma=1.0)).finite_horizon(2)
    np.testing.assert_allclose(plan.values, [[0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]])
    assert plan.act(2, t=0) == 1
    final = np.array([7.0, 0, 0, 0])
    assert Planner(chain(gamma=1.0)).finite_horizon(2, final=final).values[0, 1] == 7


def random_model(rng, states=30, actions=4, gamma=0.95):
    P = rng.dirichlet(np.ones(states) * 0.2, size=(states, actions)) * rng.uniform(0.9, 1, size=(states, actions, 1))
    mask = rng.random((states, actions)) < 0.6
    mask[:, 1] = True
    return TabularModel(P, rng.normal(size=(states, actions)), mask, gamma)


def test_the_optimum_solves_its_linear_system_and_no_policy_beats_it():
    rng = np.random.default_rng(0)
    model = random_model(rng)
    planner = Planner(model)
    plan = planner.value_iteration(tolerance=1e-10)
    rows = np.arange(30)
    P_pi, R_pi = model.P[rows, plan.policy], model.R[rows, plan.policy]
    exact = np.linalg.solve(np.eye(30) - model.gamma * P_pi, R_pi)
    np.testing.assert_allclose(plan.values, exact, atol=1e-9)
    assert np.abs(plan.values - exact).max() <= plan.error + 1e-12
    assert model.mask[rows, plan.policy].all()
    np.testing.assert_allclose(planner.policy_value(plan.policy), exact, atol=1e-7)
    for _ in range(50):
        other = np.array([rng.choice(np.flatnonzero(m)) for m in model.mask])
        assert (planner.policy_value(other) <= exact + 1e-7).all()


def test_masks_matter():
    free, mask = chain(), np.ones((4, 2), dtype=bool)
    mask[1, 1] = False
    plan = Planner(chain(mask=mask)).value_iteration()
    np.testing.assert_allclose(plan.values[:2], 0, atol=1e-8)
    assert Planner(free).value_iteration().values[0] > 0.7
    with pytest.raises(InvalidInputError, match="not allowed"):
        Planner(chain(mask=mask)).policy_value(np.ones(4, dtype=int))


def test_policy_value_of_random_play_and_with_a_horizon():
    model = random_model(np.random.default_rng(1))
    planner = Planner(model)
    weights = model.mask / model.mask.sum(axis=1, keepdims=True)
    P_pi = np.einsum("sa,sax->sx", weights, model.P)
    R_pi = (weights * model.R).sum(axis=1)
    exact = np.linalg.solve(np.eye(30) - model.gamma * P_pi, R_pi)
    np.testing.assert_allclose(planner.policy_value(weights), exact, atol=1e-7)
    np.testing.assert_allclose(planner.policy_value(weights, horizon=2), R_pi + model.gamma * P_pi @ R_pi)
    plan = planner.finite_horizon(5)
    np.testing.assert_allclose(planner.policy_value(plan.policy, horizon=5), plan.values[0])


def test_any_operator_serves_as_transitions():
    from scipy.sparse import csr_matrix

    model = random_model(np.random.default_rng(2))
    sparse = TabularModel(csr_matrix(model.P.reshape(120, 30)), model.R, model.mask, model.gamma)
    np.testing.assert_allclose(
        Planner(sparse).value_iteration().values, Planner(model).value_iteration().values, atol=1e-10
    )


def test_bad_models_are_refused():
    good = chain()
    with pytest.raises(InvalidInputError, match="sum to at most one"):
        TabularModel(good.P * 1.1, good.R)
    with pytest.raises(InvalidInputError, match="sum to at most one"):
        TabularModel(good.P * -1, good.R)
    with pytest.raises(InvalidInputError, match="state 0 allows no action"):
        TabularModel(good.P, good.R, np.zeros((4, 2), dtype=bool))
    with pytest.raises(InvalidInputError, match="not finite"):
        TabularModel(good.P, good.R * np.nan)
    with pytest.raises(InvalidInputError, match="gamma"):
        TabularModel(good.P, good.R, gamma=1.5)
    with pytest.raises(InvalidInputError, match="horizon"):
        Planner(chain(gamma=1.0)).value_iteration()
