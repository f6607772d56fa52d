"""Text generated with the cut in place."""

import copy

import pytest
import torch
from transformers import DynamicCache

from mbrl_split.channels import Identity, Radio
from mbrl_split.errors import InvalidInputError
from mbrl_split.llm.generate import transmission_seed

PROMPT = "Mr. Speaker, the people of the United States"


def test_identity_generates_what_transformers_does(shipped):
    ids = torch.tensor([shipped.tokenizer(PROMPT)["input_ids"]])
    expected = shipped.model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=16, do_sample=False, pad_token_id=0
    )[0, ids.shape[1] :]
    for split in (1, 11):
        found = shipped.generate(PROMPT, split, Identity(), max_new_tokens=16)
        assert torch.equal(found.new_ids, expected)
        assert str(found) == shipped.tokenizer.decode(expected, skip_special_tokens=True)


def two_parties(model, ids, split, channel, n, seed):
    """The slow way: two copies of the model, each with its own cache, that exchange received states only."""
    ue, edge = copy.deepcopy(model), copy.deepcopy(model)
    ue_cache, edge_cache = DynamicCache(config=model.config), DynamicCache(config=model.config)
    new, step, position = [], ids, 0
    for transmission in range(n):
        sent = {}
        with ue.stack.observed(sent.__setitem__), ue.stack.skipped(split, model.n_layers):
            ue.model(input_ids=step, past_key_values=ue_cache, use_cache=True)
        received = channel(sent[split], seeds=[transmission_seed(seed, transmission)])
        # The edge's layer 0 caches nothing, so positions are given; it is told token 0 whatever was sent.
        positions = torch.arange(position, position + step.shape[1])[None]
        with edge.stack.skipped(0, split, received):
            logits = edge.model(
                input_ids=torch.zeros_like(step), position_ids=positions, past_key_values=edge_cache, use_cache=True
            ).logits
        position += step.shape[1]
        step = logits[:, -1:].argmax(-1)
        new.append(step.item())
    for layer in range(model.n_layers):
        held = [cache.get_seq_length(layer) > 0 for cache in (ue_cache, edge_cache)]
        assert held == [layer < split, layer >= split]
    return new


@torch.no_grad()
@pytest.mark.parametrize("split", [2, 9])
def test_noisy_generation_is_that_of_two_separate_parties(shipped, split):
    channel = Radio(noise_std=0.5 * shipped.reference_rms)
    found = shipped.generate(PROMPT, split, channel, max_new_tokens=8, seed=4, eos_token_id=-1)
    slow = two_parties(shipped, found.prompt_ids[None], split, channel, 8, 4)
    assert found.new_ids.tolist() == slow


def test_every_state_crosses_once_with_its_own_seed(tiny_llama):
    seen = []

    class Watched(Identity):
        def __call__(self, hidden, *, seeds):
            seen.append((hidden.shape[1], tuple(seeds)))
            return hidden

    found = tiny_llama.generate(PROMPT, 5, Watched(), max_new_tokens=6, seed=9, eos_token_id=-1)
    assert [tokens for tokens, _ in seen] == [len(found.prompt_ids), 1, 1, 1, 1, 1]
    assert [seeds for _, seeds in seen] == [(transmission_seed(9, k),) for k in range(6)]
    assert len({seeds for _, seeds in seen}) == 6
    assert (found.transmissions, found.sent) == (6, len(found.prompt_ids) + 5)


def test_noise_matters_and_seeds_repeat(tiny_llama):
    clean = tiny_llama.generate(PROMPT, 1, Identity(), max_new_tokens=8)
    loud = Radio(noise_std=3 * tiny_llama.reference_rms)
    noisy = tiny_llama.generate(PROMPT, 1, loud, max_new_tokens=8, seed=1)
    assert noisy.text != clean.text
    assert noisy.text == tiny_llama.generate(PROMPT, 1, loud, max_new_tokens=8, seed=1).text
    assert noisy.text != tiny_llama.generate(PROMPT, 1, loud, max_new_tokens=8, seed=2).text


def test_sampling_comes_from_the_seed_and_leaves_the_global_generator_alone(tiny_llama):
    torch.manual_seed(123)
    expected = torch.rand(1)
    torch.manual_seed(123)
    first = tiny_llama.generate(PROMPT, 6, Identity(), max_new_tokens=12, seed=7, do_sample=True)
    assert torch.equal(torch.rand(1), expected)
    assert first.text == tiny_llama.generate(PROMPT, 6, Identity(), max_new_tokens=12, seed=7, do_sample=True).text
    assert first.text != tiny_llama.generate(PROMPT, 6, Identity(), max_new_tokens=12, seed=8, do_sample=True).text


def test_bad_calls_get_one_line(tiny_llama):
    for prompt, split, settings, line in [
        ("", 3, {}, "empty"),
        (PROMPT, 0, {}, "split"),
        (PROMPT, 12, {}, "split"),
        (PROMPT, 3, {"max_new_tokens": 0}, "max_new_tokens"),
        (PROMPT, 3, {"max_new_tokens": 512}, "do not fit"),
        (PROMPT, 3, {"seed": -1}, "seed"),
        (torch.zeros(2, 3, dtype=torch.long), 3, {}, "shape"),
    ]:
        with pytest.raises(InvalidInputError, match=line):
            tiny_llama.generate(prompt, split, Identity(), **settings)
