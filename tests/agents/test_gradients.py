"""The written-out gradients and optimisers against torch."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike

from mbrl_split.agents import DQN, NonFiniteError
from mbrl_split.agents.actor_critic import ActorCritic
from mbrl_split.agents.categorical import best, log_softmax, sample
from mbrl_split.agents.losses import clipped_policy_loss
from mbrl_split.agents.networks import Parameters, orthogonal
from mbrl_split.agents.on_policy import standardised
from mbrl_split.agents.optimisers import Adam, RMSprop, TensorFlowRMSprop
from mbrl_split.agents.q_network import QNetwork


def policy_batch(rng, n, size, actions, masked, dtype):
    mask = rng.random((n, actions)) < 0.7
    mask[:, 0] = True
    chosen = np.array([rng.choice(np.flatnonzero(m)) for m in mask]) if masked else rng.integers(actions, size=n)
    batch = {
        "obs": rng.normal(size=(n, size)).astype(dtype),
        "action": chosen,
        "advantage": rng.normal(size=n).astype(dtype),
        "log_prob": np.log(rng.uniform(0.1, 0.6, size=n)).astype(dtype),
        "return": rng.normal(size=n).astype(dtype),
        "value": rng.normal(size=n).astype(dtype),
    }
    return {**batch, "mask": mask} if masked else batch


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("clip_range_vf", [None, 0.3])
def test_actor_critic_gradient_equals_autograd(activation, masked, clip_range_vf):
    rng = np.random.default_rng(0)
    nets = ActorCritic(5, 4, (16, 16), activation, rng, dtype=np.float64)
    nets.parameters.value += 0.3 * rng.normal(size=nets.parameters.value.shape)
    batch = policy_batch(rng, 64, 5, 4, masked, np.float64)
    settings = {"clip_range": 0.2, "clip_range_vf": clip_range_vf, "ent_coef": 0.05, "vf_coef": 0.7}
    written = nets.gradient(batch, **settings)
    gradient = nets.parameters.grad.copy()
    assert np.abs(gradient).min() < np.abs(gradient).max()
    autograd = nets.gradient(batch, **settings, autograd=True)
    np.testing.assert_allclose(gradient, nets.parameters.grad, rtol=0, atol=1e-12)
    for name, value in autograd.items():
        assert written[name] == pytest.approx(value, abs=1e-6), name
    assert 0 < written["clip_fraction"] < 1, "both branches of the clip are exercised"


def test_single_precision_gradient_equals_autograd():
    rng = np.random.default_rng(1)
    nets = ActorCritic(4, 3, (64, 64), "tanh", rng)
    batch = policy_batch(rng, 256, 4, 3, False, np.float32)
    settings = {"clip_range": 0.2, "clip_range_vf": None, "ent_coef": 0.01, "vf_coef": 0.5}
    nets.gradient(batch, **settings)
    gradient = nets.parameters.grad.copy()
    nets.gradient(batch, **settings, autograd=True)
    np.testing.assert_allclose(gradient, nets.parameters.grad, rtol=0, atol=1e-6)


def test_value_gradient_alone():
    rng = np.random.default_rng(2)
    nets = ActorCritic(4, 3, (8,), "tanh", rng, dtype=np.float64)
    batch = policy_batch(rng, 32, 4, 3, False, np.float64)
    loss = nets.value_gradient(batch)
    assert loss == pytest.approx(np.mean((nets.values(batch["obs"]) - batch["return"]) ** 2))
    actor, critic = (nets.parameters.span(part) for part in ("actor", "critic"))
    assert not nets.parameters.grad[actor].any()
    eps, weights = 1e-6, nets.parameters.value[critic]
    for index in (0, 7, len(weights) - 1):
        before = weights[index]
        weights[index] = before + eps
        up = np.mean((nets.values(batch["obs"]) - batch["return"]) ** 2)
        weights[index] = before - eps
        down = np.mean((nets.values(batch["obs"]) - batch["return"]) ** 2)
        weights[index] = before
        assert nets.parameters.grad[critic][index] == pytest.approx((up - down) / (2 * eps), abs=1e-7)


@pytest.mark.parametrize("dueling", [False, True])
def test_q_gradient_equals_autograd(dueling):
    rng = np.random.default_rng(3)
    net = QNetwork(4, 3, (16, 16), "relu", rng, dueling=dueling, dtype=np.float64)
    obs, actions = rng.normal(size=(40, 4)), rng.integers(3, size=40)
    targets = net(obs)[np.arange(40), actions] + 2 * rng.normal(size=40)  # both branches of the Huber loss
    loss, value = net.gradient(obs, actions, targets)
    gradient = net.parameters.grad.copy()
    loss_torch, value_torch = net.gradient(obs, actions, targets, autograd=True)
    np.testing.assert_allclose(gradient, net.parameters.grad, rtol=0, atol=1e-12)
    assert (loss, value) == (pytest.approx(loss_torch), pytest.approx(value_torch))


def test_double_and_masked_targets_by_hand():
    net = QNetwork(1, 3, (), "relu", np.random.default_rng(0), dtype=np.float64)
    net.parameters.views["q.w0"][...], net.parameters.views["q.b0"][...] = 0, [1.0, 5.0, 3.0]
    net.target_parameters.views["q.w0"][...], net.target_parameters.views["q.b0"][...] = 0, [10.0, 20.0, 30.0]
    rows = np.zeros((3, 1))
    mask = np.array([[True, True, True], [True, False, True], [True, True, True]])
    batch = {"reward": np.ones(3), "next_obs": rows, "discount": np.array([0.9, 0.81, 0.0]), "next_mask": mask}
    lagging = net.lagging_values(rows)
    # Online picks action 1, or 2 where 1 is forbidden; the lagging network values it; the third row has terminated.
    np.testing.assert_allclose(net.targets(batch, lagging, double=True), [1 + 0.9 * 20, 1 + 0.81 * 30, 1])
    batch["next_mask"] = np.array([[True, True, False]] * 3)
    np.testing.assert_allclose(net.targets(batch, lagging, double=False), [1 + 0.9 * 20, 1 + 0.81 * 20, 1])
    net.target_parameters.views["q.b0"][...] = np.inf
    assert net.targets(batch, net.lagging_values(rows), double=True)[2] == 1.0, "no 0·∞ after a final state"


def test_minibatches_drawn_together_are_learned_from_in_turn():
    """Double targets of each minibatch follow the online network as it stands when its turn comes."""
    env = gym.make("CartPole-v1")
    for double in (False, True):
        agent = DQN(env.observation_space, env.action_space, seed=0, double=double, batch_size=200, gradient_steps=7)
        agent.start(env, 64)
        agent.collect(64)
        drawn = np.random.default_rng()
        drawn.bit_generator.state = agent._rng["batch"].bit_generator.state
        for obs, action, targets in agent._batches(agent._replay, 7):
            batch = agent._replay.sample(200, drawn, gamma=0.99)  # one at a time
            lagging = agent.network.lagging_values(batch["next_obs"])
            expected = agent.network.targets(batch, lagging, double=double)
            np.testing.assert_array_equal(obs, batch["obs"])
            np.testing.assert_array_equal(action, batch["action"])
            np.testing.assert_allclose(targets, expected, rtol=0, atol=1e-6)
            agent.network.parameters.value += 0.01


def test_advantages_are_standardised_by_minibatch():
    a = np.random.default_rng(0).normal(3, 2, size=11)
    out = standardised(a, 5)
    for rows in (slice(0, 5), slice(5, 10)):
        np.testing.assert_allclose(out[rows], (a[rows] - a[rows].mean()) / (a[rows].std(ddof=1) + 1e-8))
    assert out[10] == a[10], "a single one has no deviation"
    np.testing.assert_allclose(standardised(a[:3], 5), (a[:3] - a[:3].mean()) / (a[:3].std(ddof=1) + 1e-8))


def test_masked_entropy_and_ratio_by_hand():
    """Three actions, one forbidden, logits (0, ln 3, 100): p = (1/4, 3/4, 0)."""
    logits, mask = np.array([[0.0, np.log(3), 100.0]]), np.array([[True, True, False]])
    log_p, p = log_softmax(logits, mask)
    np.testing.assert_allclose(p, [[0.25, 0.75, 0.0]])
    batch = {"action": np.array([1]), "advantage": np.array([2.0]), "log_prob": np.log([0.5]), "mask": mask}
    loss, d_logits = clipped_policy_loss(logits, batch, clip_range=0.2, ent_coef=0.0)
    assert loss["entropy"] == pytest.approx(0.25 * np.log(4) + 0.75 * np.log(4 / 3))
    assert log_p[0, 1] == pytest.approx(np.log(0.75))
    # The ratio is 1.5, clipped at 1.2: the loss is −1.2·2, without a gradient.
    assert loss["policy_loss"] == pytest.approx(-2.4)
    assert not d_logits.any()
    batch["advantage"] = np.array([-2.0])
    negative, d_logits = clipped_policy_loss(logits, batch, clip_range=0.2, ent_coef=0.0)
    assert negative["policy_loss"] == pytest.approx(3.0), "min takes the unclipped gain when the advantage is negative"
    np.testing.assert_allclose(d_logits, [[-3.0 * 0.25, 3.0 * 0.25, 0.0]])
    assert negative["approx_kl"] == pytest.approx(0.5 - np.log(1.5))


def test_sampling_follows_the_weights_and_never_takes_a_zero():
    p = np.tile([0.0, 0.2, 0.0, 0.8, 0.0], (50_000, 1))
    drawn = np.bincount(sample(p, np.random.default_rng(0)), minlength=5) / 50_000
    np.testing.assert_allclose(drawn, p[0], atol=0.006)
    assert drawn[[0, 2, 4]].sum() == 0

    class Top:
        def random(self, n):
            return np.full(n, 1 - 2**-53)

    assert (sample(p[:3] * 3.3333333, Top()) == 3).all(), "the largest draw stays on the last positive weight"


def test_the_best_action_is_an_allowed_one_even_at_minus_infinity():
    values = np.array([[-np.inf, -np.inf, 1.0]])
    assert best(values, np.array([[False, True, False]]))[0] == 1


@pytest.mark.parametrize("eps", [1e-5, 1e-8])
def test_adam_equals_torch(eps):
    rng = np.random.default_rng(0)
    ours = Parameters({"w": (7, 3), "b": (3,)}, np.float64)
    ours.value[...] = rng.normal(size=24)
    theirs = torch.nn.Parameter(torch.from_numpy(ours.value.copy()))
    adam, reference = Adam(ours, eps=eps), torch.optim.Adam([theirs], lr=1.0, eps=eps)
    for step in range(30):
        gradient = rng.normal(size=24) * 10 ** rng.normal()
        ours.grad[...] = gradient
        theirs.grad = torch.from_numpy(gradient.copy())
        reference.param_groups[0]["lr"] = 1e-2 / (step + 1)
        norm = adam.step(1e-2 / (step + 1), max_grad_norm=0.5, env_step=0)
        expected = torch.nn.utils.clip_grad_norm_([theirs], 0.5)
        reference.step()
        assert norm == pytest.approx(expected.item())
        np.testing.assert_allclose(ours.value, theirs.detach().numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "reference"),
    [(RMSprop, torch.optim.RMSprop), (TensorFlowRMSprop, RMSpropTFLike)],
    ids=["torch", "tensorflow"],
)
def test_rmsprop_equals_its_namesake(kind, reference):
    rng = np.random.default_rng(0)
    ours = Parameters({"w": (7, 3)}, np.float64)
    ours.value[...] = rng.normal(size=21)
    theirs = torch.nn.Parameter(torch.from_numpy(ours.value.copy()))
    mine, peer = kind(ours, alpha=0.9, eps=1e-3), reference([theirs], lr=1.0, alpha=0.9, eps=1e-3)
    for step in range(30):
        gradient = rng.normal(size=21) * 10 ** rng.normal()
        ours.grad[...] = gradient
        theirs.grad = torch.from_numpy(gradient.copy())
        peer.param_groups[0]["lr"] = 1e-2 / (step + 1)
        mine.step(1e-2 / (step + 1), max_grad_norm=None, env_step=0)
        peer.step()
        np.testing.assert_allclose(ours.value, theirs.detach().numpy(), rtol=0, atol=1e-12)


def test_the_two_rmsprops_by_hand():
    for kind, expected in ((RMSprop, 3 / (np.sqrt(0.9) + 0.1)), (TensorFlowRMSprop, 3 / np.sqrt(0.9 + 0.9 + 0.1))):
        parameters = Parameters({"w": (1,)}, np.float64)
        parameters.grad[...] = 3.0
        kind(parameters, alpha=0.9, eps=0.1).step(0.5, max_grad_norm=None, env_step=0)
        # From zero the average is .1·9 = .9; from one .9·1 + .1·9.
        assert parameters.value[0] == pytest.approx(-0.5 * expected)


def test_a_gradient_that_is_not_finite_names_tensor_and_step_and_moves_nothing():
    parameters = Parameters({"actor.w0": (2, 2), "critic.b1": (3,)})
    parameters.grads["critic.b1"][1] = np.nan
    with pytest.raises(NonFiniteError, match=r"gradient of critic\.b1 is nan at index \(1,\) at environment step 77"):
        Adam(parameters).step(1e-3, max_grad_norm=0.5, env_step=77)
    assert not parameters.value.any()
    assert issubclass(NonFiniteError, FloatingPointError)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4)])
def test_orthogonal(shape):
    matrix = orthogonal(shape, np.random.default_rng(0))
    product = matrix.T @ matrix if shape[0] >= shape[1] else matrix @ matrix.T
    np.testing.assert_allclose(product, np.eye(min(shape)), atol=1e-12)


def test_initial_gains():
    nets = ActorCritic(6, 4, (64, 64), "tanh", np.random.default_rng(0))
    norms = {name: np.linalg.norm(w, 2) for name, w in nets.parameters.views.items() if ".w" in name}
    assert norms["actor.w0"] == pytest.approx(np.sqrt(2), rel=1e-5)
    assert norms["actor.w2"] == pytest.approx(0.01, rel=1e-5)
    assert norms["critic.w2"] == pytest.approx(1.0, rel=1e-5)
    assert not nets.parameters.views["actor.b0"].any()
