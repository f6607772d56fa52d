"""A copy of an agent, a pickle, or what comes back from another process goes on learning as the agent itself does."""

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from mbrl_split.agents.conformance import Corridor
from mbrl_split.agents.networks import MLP, Parameters
from mbrl_split.agents.optimisers import Adam, RMSprop, TensorFlowRMSprop
from mbrl_split.agents.replay import Replay
from mbrl_split.registry import AGENTS

from .registered import SETTINGS, knowledge, same

OTHERS = {
    "a2c-tensorflow": {"rms_prop": "tensorflow"},
    "a2c-adam": {"use_rms_prop": False},
    "dqn-dueling": {"dueling": True},
}
CASES = {**SETTINGS, **{name: {**SETTINGS[name.split("-")[0]], **extra} for name, extra in OTHERS.items()}}
COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda x: pickle.loads(pickle.dumps(x))}


def make(name, seed=4):
    kind = AGENTS[name if name in SETTINGS else name.split("-")[0]]
    return kind(Corridor().observation_space, Corridor().action_space, seed=seed, **CASES[name])


def vector(mode=AutoresetMode.NEXT_STEP):
    return SyncVectorEnv([Corridor] * 2, autoreset_mode=mode)


def go_on(agent, steps):
    """Without a word about the environment."""
    until = agent.num_steps + steps
    while agent.num_steps < until:
        if agent.update_due:
            agent.update()
        agent.collect(until - agent.num_steps)


def test_every_registered_agent_is_here():
    assert set(SETTINGS) == set(AGENTS)


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("name", CASES)
def test_a_copy_learns_as_the_agent_does(name, way):
    """In fresh environments, of both kinds, and through two copies in a row."""
    agent = make(name)
    agent.learn(vector(), 61)
    twin = COPIES[way](COPIES[way](agent))
    assert same(knowledge(twin), knowledge(agent))
    for fresh in (vector, lambda: [Corridor(), Corridor()]):
        before = knowledge(agent)
        agent.learn(fresh(), 60)
        assert same(knowledge(twin), before), "the original moves alone"
        twin.learn(fresh(), 60)
        assert same(knowledge(twin), knowledge(agent))
        assert not same(before["state"], knowledge(agent)["state"]), "both have learned"


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("name", CASES)
def test_a_copy_goes_on_in_the_middle_of_everything(name, mode, way):
    """It takes its environment along; so does a pair of both."""
    agent, env = make(name), vector(mode)
    agent.start(env, 200)
    go_on(agent, 45)
    agent.collect(3)
    twin = COPIES[way](agent)
    other, others_env = COPIES[way]((agent, env))
    go_on(agent, 50)
    go_on(twin, 50)
    assert same(knowledge(twin), knowledge(agent))
    go_on(other, 50)
    agent.learn(env, 30)
    other.learn(others_env, 30)
    assert same(knowledge(other), knowledge(agent))


def test_agents_learn_in_other_processes():
    """There, and here again when they are back."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        agents = {name: make(name) for name in CASES}
        for agent in agents.values():
            agent.learn(vector(), 61)
        there = {name: pool.submit(agent.learn, vector(), 60) for name, agent in agents.items()}
        back = {name: pool.submit(copy.deepcopy, agent) for name, agent in agents.items()}
        for name, agent in agents.items():
            returned = back[name].result(timeout=120)
            agent.learn(vector(), 60)
            assert there[name].result(timeout=120) == agent.history, name
            returned.learn(vector(), 60)
            assert same(knowledge(returned), knowledge(agent)), name


@pytest.mark.parametrize("way", COPIES)
def test_views_of_a_copy_are_views_of_its_own_vector(way):
    shapes = {**MLP.shapes("a", (3, 4, 2)), **MLP.shapes("b", (3, 1))}
    whole = Parameters(shapes)
    net = MLP("a", (3, 4, 2), whole, rng=np.random.default_rng(0))
    optimisers = [kind(whole, "b") for kind in (Adam, RMSprop, TensorFlowRMSprop)]
    whole2, net2, optimisers2 = COPIES[way]((whole, net, optimisers))
    for flat, names in ((whole2.value, whole2.views), (whole2.grad, whole2.grads)):
        assert names
        assert all(np.shares_memory(view, flat) and not np.shares_memory(view, whole.value) for view in names.values())
    assert net2.parameters is whole2
    assert all(o.parameters is whole2 for o in optimisers2)
    whole2.value[...] = 0
    assert not net2(np.ones((1, 3), np.float32)).any()
    assert net(np.ones((1, 3), np.float32)).any()
    # Between forward and backward.
    x, d = np.ones((5, 3), np.float32), np.ones((5, 2), np.float32)
    net.forward(x)
    net3 = COPIES[way](net)
    net.backward(d)
    net3.backward(d)
    assert np.array_equal(net.parameters.grad, net3.parameters.grad)
    assert net3.parameters.grad.any()


@pytest.mark.parametrize("way", COPIES)
def test_a_copied_replay_writes_where_it_reads(way):
    replay = Replay(8, 2, 3, 2)
    twin = COPIES[way](replay)
    assert all(np.shares_memory(twin._flat[name], field) for name, field in twin.fields.items() if field.size)
