"""One update of ours against one of Stable-Baselines3's, from equal weights and transitions; defaults of both."""

import copy
import dataclasses
import inspect
import re
from pathlib import Path

import numpy as np
import pytest
import stable_baselines3 as sb3
import torch
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.logger import configure
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import DummyVecEnv

from mbrl_split.agents import A2C, DQN, PPO, Constant
from mbrl_split.agents.actor_critic import ActorCritic
from mbrl_split.agents.conformance import Corridor
from mbrl_split.agents.q_network import QNetwork
from mbrl_split.interaction.stream import make_stream

SPACES = Corridor().observation_space, Corridor().action_space
HIDDEN = (64, 64)

# Two orders of summing. In double precision theirs still rounds a truncated episode's last reward to single.
CLOSE = {np.float64: 1e-8, np.float32: 1e-6}


class InDouble(FlattenExtractor):
    def forward(self, observations):
        return super().forward(observations).double()


class BufferInDouble(RolloutBuffer):
    def reset(self):
        super().reset()
        for name in ("rewards", "returns", "values", "log_probs", "advantages"):
            setattr(self, name, getattr(self, name).astype(np.float64))


@pytest.fixture(params=[np.float64, np.float32], ids=["float64", "float32"])
def dtype(request):
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64 if request.param is np.float64 else torch.float32)
    yield request.param
    torch.set_default_dtype(before)


def extractor(dtype):
    return {"features_extractor_class": InDouble if dtype is np.float64 else FlattenExtractor}


def hand_over(layers, name, views):
    """Our weights to theirs."""
    for i, layer in enumerate(layers):
        layer.weight.data[...] = torch.from_numpy(views[f"{name}.w{i}"].T.copy())
        layer.bias.data[...] = torch.from_numpy(views[f"{name}.b{i}"].copy())


def apart(layers, name, views):
    """The largest difference of any weight."""
    return max(
        np.abs(theirs.detach().numpy() - mine).max()
        for i, layer in enumerate(layers)
        for theirs, mine in ((layer.weight.T, views[f"{name}.w{i}"]), (layer.bias, views[f"{name}.b{i}"]))
    )


class Permuted:
    """Stable-Baselines3's order of the minibatches, which counts along sub-environments first; ours along steps."""

    def __init__(self, seed, steps, envs):
        self.draw, self.index = np.random.RandomState(seed), np.arange(steps * envs).reshape(steps, envs).T.ravel()

    def permutation(self, n):
        return self.index[self.draw.permutation(n)]


def one_update_each(kind, dtype, steps, envs, *, theirs=None, **settings):
    """Both learn from one rollout of the same actions; (largest difference of a weight, our agent, weights before)."""
    rng = np.random.default_rng(0)
    script = rng.integers(3, size=(steps, envs))

    mine = kind(*SPACES, seed=3, n_steps=steps, **settings)
    if dtype is np.float64:
        mine.networks = ActorCritic(2, 3, HIDDEN, "tanh", rng, dtype=dtype)
        mine.optimiser = type(mine.optimiser)(mine.networks.parameters, eps=mine.optimiser.eps)
    mine.networks.parameters.value[...] += 0.2 * rng.normal(size=mine.networks.parameters.value.shape)
    start = mine.networks.parameters.value.copy()

    class Scripted(ActorCriticPolicy):
        def forward(self, obs, deterministic=False):
            actions = torch.from_numpy(script[model.rollout_buffer.pos])
            values, log_prob, _ = self.evaluate_actions(obs, actions)
            return actions, values, log_prob

    vec = DummyVecEnv([Corridor] * envs)
    vec.seed(int(copy.deepcopy(mine._rng["env"]).integers(2**31)))
    settings.pop("rms_prop", None)  # theirs is named by a class
    settings = {"policy_kwargs": extractor(dtype), "n_steps": steps, **settings, **(theirs or {})}
    buffer = BufferInDouble if dtype is np.float64 else RolloutBuffer
    model = getattr(sb3, kind.__name__)(Scripted, vec, device="cpu", rollout_buffer_class=buffer, **settings)
    actor = [*model.policy.mlp_extractor.policy_net[::2], model.policy.action_net]
    critic = [*model.policy.mlp_extractor.value_net[::2], model.policy.value_net]
    hand_over(actor, "actor", mine.networks.parameters.views)
    hand_over(critic, "critic", mine.networks.parameters.views)
    np.random.seed(7)  # noqa: NPY002 (where theirs draws from)
    model.learn(steps * envs)

    mine._choose = lambda *_: script[mine._rollout.pos]
    mine._rng["batch"] = Permuted(7, steps, envs)
    mine.learn([Corridor() for _ in range(envs)], steps * envs)
    assert model._n_updates == getattr(model, "n_epochs", 1)
    assert len(mine.history.records) == 1
    views = mine.networks.parameters.views
    return max(apart(actor, "actor", views), apart(critic, "critic", views)), mine, start


A2C_CASES = {
    "defaults": ({}, {}),
    "entropy and a longer eps": ({"ent_coef": 0.02, "rms_prop_eps": 1e-3, "normalize_advantage": True}, {}),
    "adam": ({"use_rms_prop": False}, {}),
    "tensorflow": (
        {"rms_prop": "tensorflow"},
        {"policy_kwargs": {"optimizer_class": RMSpropTFLike, "optimizer_kwargs": {"eps": 1e-5}}},
    ),
}


@pytest.mark.parametrize("case", A2C_CASES)
def test_one_update_of_a2c(case, dtype):
    settings, theirs = copy.deepcopy(A2C_CASES[case])
    if theirs:
        theirs["policy_kwargs"].update(extractor(dtype))
    off, mine, start = one_update_each(A2C, dtype, 30, 4, theirs=theirs, **settings)
    assert off < CLOSE[dtype]
    assert np.abs(mine.networks.parameters.value - start).max() > 1e-5


PPO_CASES = {
    "defaults but for the batch": {"batch_size": 32},
    "everything on": {"batch_size": 64, "n_epochs": 4, "ent_coef": 0.01, "clip_range_vf": 0.1, "clip_range": 0.1},
    "raw advantages": {"batch_size": 32, "n_epochs": 3, "normalize_advantage": False, "max_grad_norm": 0.05},
}


@pytest.mark.parametrize("case", PPO_CASES)
def test_one_update_of_ppo(case, dtype):
    off, mine, start = one_update_each(PPO, dtype, 32, 4, **PPO_CASES[case])
    assert off < CLOSE[dtype]
    assert np.abs(mine.networks.parameters.value - start).max() > 1e-3


class Drawn:
    """Draws from a replay buffer that are written down."""

    def __init__(self, index):
        self.index, self.used = index, 0

    def integers(self, high, size):
        assert self.index.max() < high
        self.used += size
        return self.index[self.used - size : self.used]


@pytest.mark.parametrize("n_steps", [1, 3])
@pytest.mark.parametrize("settings", [{}, {"max_grad_norm": 0.1, "gamma": 0.9, "learning_rate": 0.01}])
def test_one_update_of_dqn(n_steps, settings, dtype):
    """Three gradient steps; theirs is never double."""
    rng, size, stored = np.random.default_rng(0), 64, 150
    settings = {"n_steps": n_steps, "batch_size": size, "learning_rate": 1e-3, "gradient_steps": 3, **settings}
    mine = DQN(*SPACES, seed=3, double=False, learning_starts=stored - 1, **settings)
    if dtype is np.float64:
        mine.network = QNetwork(2, 3, HIDDEN, "relu", rng, dtype=dtype)
        mine.optimiser = type(mine.optimiser)(mine.network.parameters, eps=mine.optimiser.eps)
    mine.network.target_parameters.value[...] += 0.3 * rng.normal(size=mine.network.parameters.value.shape)
    start = mine.network.parameters.value.copy()

    vec = DummyVecEnv([Corridor])
    model = sb3.DQN("MlpPolicy", vec, device="cpu", policy_kwargs=extractor(dtype), **settings)
    model.set_logger(configure(None, []))
    online, lagging = (net.q_net[::2] for net in (model.q_net, model.q_net_target))
    hand_over(online, "q", mine.network.parameters.views)
    hand_over(lagging, "q", mine.network.target_parameters.views)
    stream = make_stream(Corridor())
    stream.reset(5)
    mine.start(Corridor())
    for action in rng.integers(3, size=(stored, 1)):
        obs, step = stream.obs, stream.step(action)
        mine._replay.add(obs, action, step, 0)
        cut = {"TimeLimit.truncated": bool(step.truncated[0] and not step.terminated[0])}
        model.replay_buffer.add(obs, step.next_obs, action, step.reward, step.ended, [cut])
    mine.num_steps = stored

    index = rng.integers(stored, size=3 * size)
    mine._rng["batch"], theirs = Drawn(index), Drawn(index)
    model.replay_buffer.sample = lambda n, env: model.replay_buffer._get_samples(theirs.integers(stored, n), env)
    mine.update()
    model.train(3, size)
    assert mine._rng["batch"].used == theirs.used == len(index)
    assert apart(online, "q", mine.network.parameters.views) < CLOSE[dtype]
    assert np.abs(mine.network.parameters.value - start).max() > 1e-3


# Of their constructors: no hyper-parameters, or of what is not here.
NOT_HERE = {
    *("policy", "env", "policy_kwargs", "verbose", "stats_window_size", "tensorboard_log", "_init_setup_model"),
    *("use_sde", "sde_sample_freq", "rollout_buffer_class", "rollout_buffer_kwargs"),
    *("replay_buffer_class", "replay_buffer_kwargs", "optimize_memory_usage"),
}
# Of ours: switches that theirs has not, so that theirs counts as off. Which RMSprop shows in the optimiser.
SWITCHES = {"normalize_observations", "normalize_reward", "n_basis", "dueling", "double"}
OURS_ALONE = {"rms_prop"}


def kind_of(weights):
    rows = [w if len(w) <= w.shape[1] else w.T for w in weights]
    found = all(np.allclose(w @ w.T, (w @ w.T)[0, 0] * np.eye(len(w)), atol=1e-4) for w in rows)
    return "orthogonal" if found else "uniform"


def ours_by_default(kind):
    agent = kind(*SPACES)
    found = {f.name: getattr(agent.config, f.name) for f in dataclasses.fields(agent.config)}
    found = {name: v.value if isinstance(v, Constant) else v for name, v in found.items() if name not in OURS_ALONE}
    signature = inspect.signature(kind.__init__).parameters
    found |= {name: signature[name].default for name in ("seed", "device")}
    optimiser = agent.optimiser
    found |= {name: getattr(optimiser, name) for name in ("alpha", "beta1", "beta2", "eps") if hasattr(optimiser, name)}
    views = (agent.network if kind is DQN else agent.networks).parameters.views
    weights = [view for name, view in views.items() if ".w" in name]
    return found | {"optimiser": type(optimiser).__name__, "initial weights": kind_of(weights)}


def theirs_by_default(kind):
    theirs = getattr(sb3, kind.__name__)
    found = {name: p.default for name, p in inspect.signature(theirs.__init__).parameters.items()}
    found = {name: value for name, value in found.items() if name not in NOT_HERE | {"self"}}
    model = theirs("MlpPolicy", DummyVecEnv([Corridor]), device="cpu")
    (group,) = model.policy.optimizer.param_groups
    off = ("weight_decay", "momentum", "centered", "amsgrad")
    assert not any(group.get(name) for name in off), "ours has none of these"
    betas = dict(zip(("beta1", "beta2"), group.get("betas", ()), strict=False))
    found |= {"optimiser": type(model.policy.optimizer).__name__, "eps": group["eps"], **betas}
    found |= {"alpha": group["alpha"]} if "alpha" in group else {}
    if kind is DQN:
        hidden = [model.policy.q_net.q_net[:-1]]
        weights = [layer.weight for layer in model.policy.q_net.q_net[::2]]
    else:
        hidden = [model.policy.mlp_extractor.policy_net, model.policy.mlp_extractor.value_net]
        weights = [layer.weight for net in hidden for layer in net[::2]]
        weights += [model.policy.action_net.weight, model.policy.value_net.weight]
    arches = {tuple(layer.out_features for layer in net[::2]) for net in hidden}
    activations = {type(layer).__name__.lower() for net in hidden for layer in net[1::2]}
    (found["net_arch"],), (found["activation"],) = arches, activations
    found["initial weights"] = kind_of([w.detach().numpy() for w in weights])
    return found


def listed():
    """The table of the page: (agent, setting) to (ours, theirs)."""
    page = Path(__file__).parents[2] / "docs" / "api" / "agents.md"
    rows = re.findall(r"^\| (PPO|A2C|DQN) \| `(.+?)` \| `(.+?)` \| `(.+?)` \| .+ \|$", page.read_text(), re.MULTILINE)
    return {(agent, name): (ours, theirs) for agent, name, ours, theirs in rows}


@pytest.mark.parametrize("kind", [PPO, A2C, DQN])
def test_every_default_is_theirs_or_listed(kind):
    ours, theirs = ours_by_default(kind), theirs_by_default(kind)
    theirs |= dict.fromkeys(SWITCHES & ours.keys(), False)
    assert ours.keys() == theirs.keys()
    different = {
        (kind.__name__, name): (repr(ours[name]), repr(theirs[name])) for name in ours if ours[name] != theirs[name]
    }
    assert different == {key: row for key, row in listed().items() if key[0] == kind.__name__}
