"""The live check of sessions: a turn-by-turn run with one growing cache is one pass over the whole session."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import DynamicCache

from mbrl_split.data import documents
from mbrl_split.layer_split import scenario
from mbrl_split.llm import SplitModel

_SCRIPT = Path(__file__).parents[3] / "benchmarks" / "drive_live.py"
_spec = importlib.util.spec_from_file_location("benchmark_drive_live", _SCRIPT)
drive_live = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(drive_live)


@pytest.fixture(scope="module")
def model():
    return SplitModel.load("tiny-llama")


def marked(size):
    """A change that depends on nothing but the position in the turn."""
    ripple = torch.sin(torch.arange(size * 10_000.0)).reshape(1, size, -1)
    return lambda hidden: hidden + 0.3 * ripple[..., : hidden.shape[-1]]


@torch.no_grad()
def test_turns_with_a_cache_are_one_pass(model):
    """Splits 3, 9, 2: in one pass the states of each turn's tokens are changed at that turn's split."""
    ids = torch.arange(5, 5 + 48)[None] * 7 % model.vocab_size
    splits, cache = (3, 9, 2), DynamicCache()
    turns = [
        drive_live.turn_logits(model, ids[:, 16 * t : 16 * t + 16], cache, p, marked(16)) for t, p in enumerate(splits)
    ]

    def at(turn):
        def change(hidden):
            rows = slice(16 * turn, 16 * turn + 16)
            hidden = hidden.clone()
            hidden[:, rows] = marked(16)(hidden[:, rows])
            return hidden

        return change

    with (
        model.stack.transformed(3, at(0)),
        model.stack.transformed(9, at(1)),
        model.stack.transformed(2, at(2)),
    ):
        whole = model.model(input_ids=ids, use_cache=False).logits
    torch.testing.assert_close(torch.cat(turns, dim=1), whole, atol=2e-4, rtol=1e-4)
    fresh = drive_live.turn_logits(model, ids[:, 16:32], DynamicCache(), 9, marked(16))
    assert (fresh - turns[1]).abs().max() > 0.1  # what was said before matters


def test_without_a_start_the_first_turn_is_alone(model):
    """Nothing was said before it: damage in the session and alone are the same number; later they differ."""
    s = scenario("drive", episode_steps=2, context_process={"prompt_tokens": 16, "answer_tokens": 16})
    ids = torch.tensor(model.tokenizer(documents("sotu", "judge")[0])["input_ids"][:65])
    found = drive_live.live(model, s, ids, {"splits": [2, 6], "noise": [0.8, 0.8]}, number=1, start=0)
    assert found["session"][0] == found["alone"][0]
    assert found["session"][1] != found["alone"][1]
    again = drive_live.live(model, s, ids, {"splits": [2, 6], "noise": [0.8, 0.8]}, number=1, start=0)
    assert found == again


def test_errors_are_means_over_sessions():
    rows = [
        {"session": [0.3, 0.5], "alone": [0.2, 0.3], "table": [0.1, 0.1], "moved": 1},
        {"session": [0.1, 0.1], "alone": [0.1, 0.1], "table": [0.1, 0.2], "moved": 0},
    ]
    found = drive_live.summary(rows, quality=3.0)
    assert found["of_context"][0] == pytest.approx(-3 * np.mean([0.1, 0.2, 0, 0]))
    assert found["reward_error"][0] == pytest.approx(-3 * np.mean([0.2, 0.4, 0, -0.1]))
    assert found["of_context_by_turn"] == pytest.approx([-3 * 0.05, -3 * 0.1])
    assert found["reward_error"][0] == pytest.approx(found["of_context"][0] + found["of_chance_and_table"][0])
    assert found["moves_per_session"] == 0.5
