"""The cut is exact on every architecture of the table in the docs."""

import benchmark_architectures as benchmark
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from mbrl_split.llm import SplitModel
from mbrl_split.llm.stack import largest_difference


def test_the_table_covers_what_it_claims():
    special = " ".join(words for words, _ in benchmark.ARCHITECTURES.values())
    assert len(benchmark.ARCHITECTURES) >= 20
    for kind in ("tuples", "learned positions", "alibi", "two masks", "parallel block", "sliding window", "experts"):
        assert kind in special


@pytest.mark.parametrize("model_type", benchmark.ARCHITECTURES)
def test_exact(model_type):
    found = benchmark.examine(model_type)
    scale = found.largest_logit
    assert scale > 0.1  # logits that say something
    assert found.identity_difference <= 1e-6 * scale
    assert found.prefix_difference <= 1e-6 * scale
    assert found.noise_difference <= 1e-6 * scale
    assert found.noise_effect > 0.1 * scale  # what crosses the cut matters at every split
    assert found.generates_alike


@pytest.mark.parametrize(("model_type", "right"), [("gpt2", False), ("opt", False), ("llama", True)])
def test_slicing_the_layers_is_wrong_where_positions_are_learned(model_type, right):
    """Negative control: the obvious way, layers[p:] fed by inputs_embeds, adds the positions twice."""
    model = SplitModel(benchmark.build(model_type))
    ids = torch.randint(3, benchmark.VOCABULARY, (2, 12), generator=torch.Generator().manual_seed(0))
    whole, states = model.logits(ids), model.prefix(ids)
    sliced = benchmark.build(model_type)
    holder = next(m for m in sliced.modules() for n in ("layers", "h") if len(getattr(m, n, ())) == model.n_layers)
    name = "h" if hasattr(holder, "h") else "layers"
    setattr(holder, name, getattr(holder, name)[2:])
    sliced.config.num_hidden_layers -= 2
    with torch.no_grad():
        logits = sliced(inputs_embeds=states[2], use_cache=False).logits
    assert (largest_difference(logits, whole) < 1e-4) == right
    assert largest_difference(model.suffix(states[2], 2), whole) < 1e-5


def test_bfloat16_is_cut_too():
    config = AutoConfig.for_model("llama", **benchmark._PLAIN)
    torch.manual_seed(0)
    model = SplitModel(AutoModelForCausalLM.from_config(config).to(torch.bfloat16))
    ids = torch.arange(3, 19).reshape(2, 8)
    states = model.prefix(ids)
    assert states.dtype == torch.bfloat16
    for split in range(model.n_layers + 1):
        assert torch.equal(model.suffix(states[split], split), model.logits(ids))
