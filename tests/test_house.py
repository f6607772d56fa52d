"""The house: a core that knows no language model, a wing that no core room knows, and no import circle."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mbrl_split

PACKAGE = Path(mbrl_split.__file__).parent
WING = ("layer_split", "llm", "channels", "data")
CORE = sorted(
    path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in (*WING, "__init__.py")
)
# What a language model, a text or a radio would bring: no name of the core is about them.
FOREIGN = re.compile(
    r"(?:^|_)(nll|perplexity|nats|tokens?|tokenizer|vocabulary|windows?|llm|channels?|snr|gains?|damages?|splits?|"
    r"n_layers|scenario)(?:_|$)"
)
ALLOWED = {
    # What a suite's shorthand for layer splits is called, and what finds the wing by name.
    "scenarios": "suite and tuning files",
    "layer_splits": "the shorthand's expansion",
    "CHANNELS": "a registry",
    "check_channel": "found by name",
    "MbrlSplitError": "the package's own name",
    "window": "of episodes, in agents.StopAt",
    "head_gain": "of a network's first weights",
}

SMALL_RUN = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[:2] in [["mbrl_split", room] for room in %r]:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
import importlib, pkgutil
import mbrl_split

for found in pkgutil.walk_packages(mbrl_split.__path__, "mbrl_split."):
    if found.name.split(".")[1] not in %r:
        importlib.import_module(found.name)
assert "transformers" not in sys.modules, "a core room loads transformers"

import gymnasium as gym
import numpy as np
from mbrl_split.agents import PPO
from mbrl_split.columns import Column
from mbrl_split.envs import CostlyReward, OracleSource
from mbrl_split.oracles import FunctionOracle, Ledger
from mbrl_split.refresh import FixedInterval, RandomAcquisition
from mbrl_split.surrogates import MLPSurrogate
from mbrl_split.training import ModelBasedTrainer

columns = [Column(name, "1", -9, 9) for name in ("place", "speed", "angle", "turn")]
columns.append(Column("push", "1", 0, 1, "ordinal"))
ledger = Ledger(FunctionOracle(lambda X: X[:, 2] ** 2, columns), budget=40)
cart = gym.make_vec("CartPole-v1", num_envs=4, vectorization_mode="sync")
env = CostlyReward(cart, OracleSource(ledger), compose=lambda y, obs, action: -y)
agent = PPO(env.single_observation_space, env.single_action_space, n_steps=16, seed=0)
surrogate = MLPSurrogate(steps=50)
trainer = ModelBasedTrainer(
    env, agent, surrogate, FixedInterval(128, n=8), RandomAcquisition(), ledger, total_steps=256, initial_design=16,
    segment_steps=64,
)
trainer.run()
assert ledger.spent == 24 and agent.num_steps >= 256
print("trained")
""" % (list(WING), list(WING))  # noqa: UP031  (the script has braces of its own)


def test_the_core_imports_and_trains_with_the_wing_blocked() -> None:
    done = subprocess.run([sys.executable, "-c", SMALL_RUN], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "trained"), done.stderr


def test_training_loads_no_language_models() -> None:
    ask = "import sys, mbrl_split.training; print('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True).stdout == "False\n"


def public_names(path: Path) -> set[str]:
    """Classes, functions, arguments, fields, attributes and columns that a module lets others see."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        if (isinstance(node, ast.FunctionDef) and not node.name.startswith("_")) or getattr(
            node, "name", ""
        ) == "__init__":
            found |= {a.arg for a in [*node.args.args, *node.args.kwonlyargs]}  # type: ignore[union-attr]
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Column" and node.args:
            found.add(str(getattr(node.args[0], "value", "")))
    return {name for name in found if not name.startswith("_")}


def words(name: str) -> str:
    """``n_tokens`` and ``SplitModel`` alike as lower-case words between underscores."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


@pytest.mark.parametrize("path", CORE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_name_of_the_core_is_about_a_language_model(path: Path) -> None:
    assert {name for name in public_names(path) if FOREIGN.search(words(name)) and name not in ALLOWED} == set()


def test_a_foreign_name_is_noticed(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        "class TokenCount:\n    def size(self, n_windows): self.nll = 1\nc = Column('snr_db', 'dB', 0, 1)\n"
    )
    assert {n for n in public_names(module) if FOREIGN.search(words(n))} == {"TokenCount", "n_windows", "nll", "snr_db"}
