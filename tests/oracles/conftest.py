"""What the tests of this room share."""

import pytest

from mbrl_split.llm import SplitModel


@pytest.fixture(scope="session")
def tiny_llama() -> SplitModel:
    return SplitModel.load("tiny-llama")
