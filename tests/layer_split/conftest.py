"""What the tests of the wing share: the smallest model, and a closed-form source where no model is needed."""

import numpy as np
import pytest

from mbrl_split.columns import Column
from mbrl_split.layer_split import scenario
from mbrl_split.llm import SplitModel


@pytest.fixture(scope="session")
def tiny_llama() -> SplitModel:
    return SplitModel.load("tiny-llama")


class ClosedForm:
    """Damage that grows with the noise and falls with depth, plus a little noise that follows from the seed."""

    version = 0

    def __init__(self, columns, jitter=0.0):
        self.columns, self.jitter = tuple(columns), jitter
        self.asked = []

    def answer(self, X, *, seeds):
        X, seeds = np.asarray(X), np.asarray(seeds)
        self.asked.append((X.copy(), seeds.copy()))
        return X[:, 1] / X[:, 0] + self.jitter * (seeds % 1000) / 1000


@pytest.fixture
def closed_form():
    """Builds the source for a scenario: closed_form("equalised", n_layers=12, jitter=0.1)."""

    def build(name="equalised", n_layers=12, jitter=0.1, **overrides):
        return ClosedForm(scenario(name, **overrides).columns(n_layers), jitter)

    return build


@pytest.fixture
def narrow_noise():
    """A context whose noise is nearly fixed, so that drift meets the column's ends."""
    return (Column("noise", "RMS", 0.5, 0.6, "log"), Column("m", "1", 1.0, 1.0, "log"))
