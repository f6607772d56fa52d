"""The shipped models, loaded once; and tiny random models of many architectures (from the benchmark's script)."""

import importlib.util
import sys
from pathlib import Path

import pytest

from mbrl_split import data
from mbrl_split.llm import SplitModel

_SCRIPT = Path(__file__).parents[2] / "benchmarks" / "architectures.py"
_spec = importlib.util.spec_from_file_location("benchmark_architectures", _SCRIPT)
_module = importlib.util.module_from_spec(_spec)
sys.modules["benchmark_architectures"] = _module
_spec.loader.exec_module(_module)


@pytest.fixture(scope="session", params=data.MODELS)
def shipped(request):
    """Each shipped model in turn."""
    return SplitModel.load(request.param)


@pytest.fixture(scope="session")
def tiny_llama():
    return SplitModel.load("tiny-llama")
