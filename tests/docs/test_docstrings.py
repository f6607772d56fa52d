"""Examples in docstrings give what they say."""

import doctest
import importlib
import inspect
import pkgutil
import runpy

import griffe
import pytest

import mbrl_split

from .pages import DOCS


def examples():
    for found in pkgutil.walk_packages(mbrl_split.__path__, "mbrl_split."):
        module = importlib.import_module(found.name)
        for test in doctest.DocTestFinder(exclude_empty=True).find(module, found.name):
            if test.examples:
                test.globs = {}  # an example works alone: what it uses it imports
                yield pytest.param(test, id=test.name)


@pytest.mark.parametrize("test", list(examples()))
def test_docstring_example(test):
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    lines = []
    runner.run(test, out=lines.append)
    assert runner.failures == 0, "".join(lines)


def public_classes():
    for room in ["", *(module.name for module in pkgutil.iter_modules(mbrl_split.__path__) if module.ispkg)]:
        home = importlib.import_module(f"mbrl_split.{room}".rstrip("."))
        for name in home.__all__:
            found = getattr(home, name)
            if inspect.isclass(found) and found.__module__.startswith("mbrl_split"):
                yield f"{room}.{name}", found


# What is handed out rather than made: it is shown where it is given.
HANDED_OUT = {
    "agents.TabularPlan": "Planner",
    "bench.Cell": "load_suite",
    "bench.CurvePoint": "Method",
    "bench.Suite": "load_suite",
    "bench.Task": "Method",
    "envs.CostlyRewardSingle": "CostlyReward",
    "envs.CostlyRewardVector": "CostlyReward",
    "envs.RandomStream": "CostlyEnv",
    "evaluation.Calibration": "calibration",
    "evaluation.Episodes": "evaluate",
    "evaluation.Estimate": "Judge",
    "evaluation.Interval": "bootstrap",
    "evaluation.Judgement": "Judge",
    "evaluation.TimeToTarget": "evaluations_to_target",
    "interaction.Step": "make_stream",
    "layer_split.ChannelSpec": "scenario",
    "layer_split.ContextProcessSpec": "scenario",
    "layer_split.CostSpec": "scenario",
    "layer_split.MeasurementPlan": "plan_from",
    "layer_split.RewardSpec": "scenario",
    "layer_split.SessionVector": "LLMSplitVector",
    "layer_split.SplitRule": "argmax_policy",
    "layer_split.SplitVector": "LLMSplitVector",
    "layer_split.TableData": "TableOracle",
    "llm.Generation": "SplitModel",
    "llm.Perplexity": "perplexity",
    "oracles.Measurement": "Ledger",
    "oracles.Price": "Oracle",
    "oracles.Rows": "Ledger",
    "refresh.RefreshDecision": "FixedInterval",
    "training.NullLogger": "RunLogger",
    "training.Snapshot": "TruthTrainer",
    "tuning.Candidate": "confirm",
    "tuning.Confirm": "TuneData",
    "tuning.Cost": "cost_of",
    "tuning.Instance": "search",
    "tuning.Outcome": "outcomes_of",
}


def needs_an_example(found):
    """Contracts are written by the user (the how-to pages do so), errors are raised."""
    contract = inspect.isabstract(found) or getattr(found, "_is_protocol", False)
    return not (contract or issubclass(found, BaseException))


def test_every_public_class_has_an_example():
    classes = dict(public_classes())
    bare = {name for name, found in classes.items() if needs_an_example(found) and ">>>" not in (found.__doc__ or "")}
    assert bare == set(HANDED_OUT)
    for name, giver in HANDED_OUT.items():
        assert hasattr(importlib.import_module(f"mbrl_split.{name.partition('.')[0]}"), giver), giver


def test_a_reference_to_nothing_is_refused():
    with_links = runpy.run_path(str(DOCS / "tools" / "docstrings.py"))["with_links"]
    with griffe.temporary_visited_module("class A:\n    x = 1\nclass B(A):\n    def f(self): ...") as module:
        method = module["B.f"]
        assert 'identifier="module.B.f"' in with_links("As :meth:`f`.", method)
        assert 'identifier="module.A.x"' in with_links("As :attr:`x`, which is inherited.", method)
        for target in ("g", "mbrl_split.nowhere"):
            with pytest.raises(
                LookupError, match=rf"module\.B\.f: the docstring refers to {target}, which is not there"
            ):
                with_links(f"As :func:`~{target}`.", method)


TABLE = """Text.

====  =====
a     b
====  =====
x     long
      cell
====  =====

====  =====
y     p|q
====  =====
"""


def test_plain_tables_become_markdown_tables():
    tools = runpy.run_path(str(DOCS / "tools" / "docstrings.py"))
    lines = [line for line in tools["with_tables"](TABLE).splitlines() if line]
    head = ["| a | b |", "| --- | --- |", "| x | long cell |"]
    assert lines == ["Text.", *head, "|  |  |", "| --- | --- |", "| y | p\\|q |"]
    assert tools["with_tables"]("a = b\n===== ===") == "a = b\n===== ==="
