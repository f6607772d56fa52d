"""The example package: every kind of plug-in is found by its name and does its work."""

import json
import sys

import gymnasium
import numpy as np
import pytest

from mbrl_split import InvalidInputError, UnsupportedError, cli, registry
from mbrl_split.bench import load_suite, run_suite
from mbrl_split.layer_split import PerplexityOracle, TableOracle, scenario
from mbrl_split.layer_split.oracle.context import channel_of
from mbrl_split.oracles import Ledger
from mbrl_split.refresh import RefreshState
from mbrl_split.testing import (
    check_agent,
    check_channel,
    check_environment,
    check_oracle,
    check_problem,
    check_surrogate,
)

from .plugin import PACKAGE, install

NAMES = {
    "surrogates": "trees",
    "agents": "gradient-bandit",
    "schedules": "square",
    "acquisitions": "spread",
    "channels": "saturated",
    "oracles": "formula",
    "problems": "tilt",
    "commands": "tilt",
    "baselines": "middle",
}
SATURATED = {"kind": "saturated", "settings": {"limit": 2.0}}


@pytest.fixture(autouse=True)
def installed(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch)


def test_every_kind_has_an_example():
    assert [kind.kind for kind in registry.KINDS] == list(NAMES)
    for kind in registry.KINDS:
        assert NAMES[kind.kind] in kind
        assert kind.origin(NAMES[kind.kind]) == "mbrl-split-plugin 0.1.0"
        assert callable(kind[NAMES[kind.kind]])


def test_info_lists_the_names(capsys):
    cli.main(["info"])
    lines = capsys.readouterr().out.splitlines()
    for kind, name in NAMES.items():
        (line,) = [line for line in lines if line.startswith(f"{kind}: ")]
        assert name in line.partition(": ")[2].split(", ")


def test_they_keep_the_contracts():
    check_surrogate(registry.SURROGATES["trees"]())
    check_agent(registry.AGENTS["gradient-bandit"])
    check_oracle(registry.ORACLES["formula"]("tiny-llama", scenario("equalised")))
    check_channel(channel_of(scenario("equalised", channel=SATURATED).channel, {"noise": 0.5, "m": 2.0}, 1.5))
    check_problem(registry.PROBLEMS["tilt"]())
    env = gymnasium.make_vec("mbrl_split_plugin:mbrl_split_plugin/Tilt-v0", num_envs=3)
    check_environment(env)


def test_the_bandit_finds_the_better_arm():
    agent = registry.AGENTS["gradient-bandit"](gymnasium.spaces.Box(0, 1, (1,)), gymnasium.spaces.Discrete(3), seed=0)
    rng, nothing = np.random.default_rng(0), np.zeros((1, 1))
    for _ in range(300):
        arm = agent.act(nothing)
        agent.observe(nothing, arm, rng.normal([0.0, 1.0, 0.5])[arm])
    assert agent.act(nothing, deterministic=True) == [1]


def test_the_schedule_and_the_acquisition_do_what_they_say():
    schedule = registry.SCHEDULES["square"](first=100, n=8)

    def rows(step, refreshes, spent=0):
        return schedule.decide(RefreshState(step, 9999, step, refreshes, spent, budget=20, n_rows=1)).n

    assert [rows(99, 0), rows(100, 0), rows(399, 1), rows(400, 1), rows(900, 2, spent=17)] == [0, 8, 0, 8, 3]
    line = np.array([[0.0], [0.1], [0.5], [0.9], [1.0]])
    chosen = registry.ACQUISITIONS["spread"]().select(line, None, 3, np.random.default_rng(0))
    # Wherever it begins, each further row is the one that is farthest from those before.
    for i in range(1, 3):
        gaps = np.abs(line - line[chosen[:i]].T).min(axis=1)
        assert gaps[chosen[i]] == gaps.max() > 0


def test_a_channel_is_named_in_a_scenario_and_vouched_for_in_the_store():
    def measuring(**channel):
        return PerplexityOracle.load("tiny-llama", scenario("equalised", channel=channel, windows=2, window=32, pool=4))

    oracle, X = measuring(**SATURATED), [[3, 0.5, 2.0]]
    assert "kind=saturated" in oracle.identity
    assert "by=mbrl-split-plugin 0.1.0" in oracle.identity
    heard = measuring().measure(X, seeds=[0]).mean
    assert not np.allclose(oracle.measure(X, seeds=[0]).mean, heard)
    boundless = measuring(kind="saturated", settings={"limit": 1e6})
    assert np.array_equal(boundless.measure(X, seeds=[0]).mean, heard)


def test_what_a_channel_cannot_use_is_one_line():
    spec = scenario("equalised", channel={"kind": "saturated", "settings": {"limt": 2.0}}).channel
    with pytest.raises(InvalidInputError, match=r"channel 'saturated' with the context noise, m: .*limt"):
        channel_of(spec, {"noise": 0.5, "m": 2.0}, 1.0)
    with pytest.raises(InvalidInputError, match="channel 'saturated' with the context noise: it needs 'm'"):
        channel_of(scenario("equalised", channel=SATURATED).channel, {"noise": 0.5}, 1.0)
    with pytest.raises(InvalidInputError, match="settings are for the channels of other packages"):
        scenario("equalised", channel={"settings": {"csi": "none"}})
    with pytest.raises(UnsupportedError, match="tables know no channel of kind 'saturated'"):
        TableOracle.load("tiny-llama", scenario("equalised", channel=SATURATED))


def test_an_oracle_is_a_source():
    env = gymnasium.make("mbrl_split/LLMSplit-v0", source="formula")
    env.reset(seed=0)
    assert env.step(5)[4]["damage"] < 4
    assert isinstance(env.unwrapped.source.ledger, Ledger)
    with pytest.raises(InvalidInputError, match="did you mean 'formula'"):
        gymnasium.make("mbrl_split/LLMSplit-v0", source="formla")


def test_a_suite_of_plug_ins_runs(tmp_path):
    suite = load_suite(PACKAGE / "suite.yaml", ["seeds=1", "bandit-trees.env_steps=600", "contexts=100"])
    assert run_suite(suite, tmp_path / "out", list(suite.cells())) == []
    runs = [json.loads(path.read_text()) for path in (tmp_path / "out" / "runs").glob("*/result.json")]
    last = {run["spec"]["algorithm"]["algorithm"]: run["curve"][-1] for run in runs}
    assert set(last) == {"best-fixed", "middle", "argmax-trees", "bandit-trees"}
    assert all(np.isfinite(point["regret"]) for point in last.values())
    assert last.pop("best-fixed")["true_evaluations"] == 0
    assert all(0 < point["true_evaluations"] <= 120 for point in last.values())


def test_a_problem_is_posed_by_its_name(tmp_path):
    bandit = {"algorithm": "bandit", "agent": "gradient-bandit", "source": "oracle", "budget": 400, "env_steps": 400}
    data = {"name": "s", "title": "t", "seeds": 1, "algorithms": [{"algorithm": "level"}, bandit]}
    data["problems"] = [{"problem": "tilt", "settings": {"noise_std": 0.2}}]
    path = tmp_path / "suite.yaml"
    path.write_text(json.dumps(data))
    cli.main(["bench", "run", str(path), "--out", str(tmp_path / "out")])
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    level, learnt = summary["rows"]
    assert summary["units"] == {"tilt": "field measurement"}
    assert learnt["true_evaluations"] == 400
    assert "regret" not in learnt
    assert learnt["value"] > -8 * 0.35 > -8 * 0.4  # of eight steps; tilt 2 is the best to hold, as is known for "level"
    assert learnt["value"] == pytest.approx(level["value"])
    data["problems"] = ["tlt"]
    path.write_text(json.dumps(data))
    with pytest.raises(InvalidInputError, match="unknown problem 'tlt'; did you mean 'tilt'"):
        load_suite(path)


def test_a_command_is_one_of_the_command_line(capsys):
    cli.main(["tilt", "--distance", "1.6"])
    assert capsys.readouterr().out == "3\n"


def test_a_plug_in_that_cannot_be_loaded_is_one_line(tmp_path, capsys):
    broken = tmp_path / "broken-2.0.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_text("Metadata-Version: 2.4\nName: broken\nVersion: 2.0\n")
    (broken / "entry_points.txt").write_text(
        "[mbrl_split.agents]\nlost = no_such_module:Agent\nppo = broken:PPO\n"
        "[mbrl_split.commands]\nlost = no_such_module:run\nbench run = broken:run\n"
    )
    with pytest.raises(InvalidInputError, match=r"agent 'lost' of the package broken 2\.0 cannot be loaded: No module"):
        registry.AGENTS["lost"]
    assert registry.AGENTS["ppo"].__module__.startswith("mbrl_split.")
    assert "no_such_module" not in sys.modules
    # Nor does its command take the place of one of ours, or take the others along.
    cli.main(["bench", "list", str(PACKAGE)])
    assert "suite.yaml" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        cli.main(["lost"])
    assert "command 'lost' of the package broken 2.0 cannot be loaded" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        cli.main(["bench", "run", "absent.yaml"])
    assert "cannot read absent.yaml" in capsys.readouterr().err
