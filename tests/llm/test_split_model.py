"""Prefix, suffix, identity of a model, and what is refused."""

import json

import pytest
import torch
import transformers

from mbrl_split import data
from mbrl_split.errors import InvalidInputError, UnsupportedError
from mbrl_split.llm import SplitModel, cut_windows, residual_rms

SMALL = {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}


def ids_of(model, batch=2, tokens=32):
    return torch.randint(model.vocab_size, (batch, tokens), generator=torch.Generator().manual_seed(3))


def test_states_are_what_transformers_computes(shipped):
    ids = ids_of(shipped)
    states = shipped.prefix(ids)
    with torch.no_grad():
        out = shipped.model(input_ids=ids, output_hidden_states=True, use_cache=False)
    assert states.shape == (13, 2, 32, 128)
    for p in range(shipped.n_layers):
        assert torch.equal(states[p], out.hidden_states[p])
    # states[L] comes before the final norm, transformers' last one after it.
    final_norm = shipped.model.base_model.norm if shipped.name == "tiny-llama" else shipped.model.base_model.ln_f
    with torch.no_grad():
        torch.testing.assert_close(final_norm(states[-1]), out.hidden_states[-1])
    assert not torch.allclose(states[-1], out.hidden_states[-1])


def test_suffix_at_every_split(shipped):
    ids = ids_of(shipped)
    states, whole = shipped.prefix(ids), shipped.logits(ids)
    for split in range(shipped.n_layers + 1):
        assert torch.equal(shipped.suffix(states[split], split), whole)


def test_suffix_needs_the_states_alone(tiny_llama):
    """A row's logits do not change with the ids that are passed along, nor (beyond rounding) with its neighbours."""
    ids = ids_of(tiny_llama)
    states = tiny_llama.prefix(ids)[4]
    whole = tiny_llama.suffix(states, 4)
    assert torch.equal(tiny_llama.suffix(states, 4, input_ids=ids), whole)
    torch.testing.assert_close(tiny_llama.suffix(states[1:], 4), whole[1:], atol=1e-4, rtol=1e-4)


def test_noise_at_one_token_changes_that_token_and_later_ones_only(tiny_llama):
    ids = ids_of(tiny_llama, batch=1)
    received = tiny_llama.prefix(ids)[5].clone()
    clean = tiny_llama.suffix(received, 5)
    received[0, 10] += 5.0
    changed = (tiny_llama.suffix(received, 5) - clean).abs().amax(-1)[0]
    assert changed[:10].max() < 1e-4
    assert changed[10:].min() > 1e-3


def test_the_model_is_left_as_it_was(tiny_llama):
    ids = ids_of(tiny_llama)
    whole = tiny_llama.logits(ids)
    tiny_llama.suffix(tiny_llama.prefix(ids)[3], 3)
    with pytest.raises(IndexError):  # ids out of range break the forward in the middle of a suffix
        tiny_llama.suffix(torch.zeros(2, 5, 128), 3, input_ids=torch.full((2, 5), 99999))
    for layer in tiny_llama.stack.layers:
        assert "forward" not in vars(layer)
        assert not layer._forward_hooks
        assert not layer._forward_pre_hooks
    assert torch.equal(tiny_llama.logits(ids), whole)


def test_suffix_skips_the_work(tiny_llama):
    """Counted, not timed: a suffix at p calls the attention of L − p layers, and its layers' weights only."""
    calls = []
    handles = [
        layer.self_attn.register_forward_hook(lambda *_, i=i: calls.append(i))
        for i, layer in enumerate(tiny_llama.stack.layers)
    ]
    states = tiny_llama.prefix(ids_of(tiny_llama))
    for split in (1, 7, 11, 12):
        calls.clear()
        tiny_llama.suffix(states[split], split)
        assert calls == list(range(split, 12))
    for handle in handles:
        handle.remove()


def test_bad_calls_get_one_line(tiny_llama):
    states = tiny_llama.prefix(ids_of(tiny_llama))
    for bad in (-1, 13, 1.5, True):
        with pytest.raises(InvalidInputError, match="split"):
            tiny_llama.suffix(states[1], bad)
    with pytest.raises(InvalidInputError, match="128"):
        tiny_llama.suffix(states[1][..., :5], 1)
    with pytest.raises(InvalidInputError, match="token ids"):
        tiny_llama.prefix(torch.tensor([[0, 2048]]))
    with pytest.raises(InvalidInputError, match="512"):
        tiny_llama.prefix(torch.zeros(1, 513, dtype=torch.long))
    with pytest.raises(InvalidInputError, match="shape"):
        tiny_llama.prefix(torch.zeros(4, dtype=torch.long))


def test_fingerprint_follows_weights_config_and_dtype():
    def fresh(**changes):
        torch.manual_seed(0)
        config = transformers.LlamaConfig(**{**SMALL, **changes})
        return transformers.AutoModelForCausalLM.from_config(config)

    base = SplitModel(fresh()).fingerprint
    assert len(base) == 16
    assert int(base, 16) >= 0
    assert SplitModel(fresh()).fingerprint == base
    assert SplitModel(fresh(rms_norm_eps=1e-3)).fingerprint != base  # same weights, other config
    assert SplitModel(fresh().to(torch.bfloat16)).fingerprint != base
    nudged = fresh()
    with torch.no_grad():
        nudged.model.layers[1].mlp.up_proj.weight[0, 0] += 1e-3
    assert SplitModel(nudged).fingerprint != base


def test_fingerprint_survives_saving_and_loading(tmp_path):
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(transformers.LlamaConfig(**SMALL))
    model.save_pretrained(tmp_path)
    assert SplitModel.load(str(tmp_path)).fingerprint == SplitModel(model).fingerprint


def test_reference_rms(tiny_llama, monkeypatch):
    """By hand on the documented sample, here of 4 windows; the card, where there is one, agrees."""
    monkeypatch.setattr("mbrl_split.llm.residual.WINDOWS", 4)
    fresh = SplitModel(tiny_llama.model, tiny_llama.tokenizer)
    ids = cut_windows(data.documents("sotu", "replay"), tiny_llama.tokenizer, 127)
    ids = ids[:: len(ids) // 4][:4]
    by_hand = fresh.prefix(ids)[1].pow(2).mean(-1).sqrt().median().item()
    assert fresh.reference_rms == pytest.approx(by_hand, rel=1e-5)
    assert residual_rms(fresh)[1] == pytest.approx(by_hand, rel=1e-5)
    assert tiny_llama.reference_rms == pytest.approx(by_hand, rel=0.05)


@pytest.mark.parametrize(
    ("build", "line"),
    [
        (
            lambda: transformers.BartForConditionalGeneration(
                transformers.BartConfig(
                    vocab_size=96,
                    d_model=32,
                    encoder_layers=2,
                    decoder_layers=2,
                    encoder_attention_heads=4,
                    decoder_attention_heads=4,
                    encoder_ffn_dim=32,
                    decoder_ffn_dim=32,
                )
            ),
            "encoder-decoder",
        ),
        (
            lambda: transformers.MambaForCausalLM(
                transformers.MambaConfig(vocab_size=96, hidden_size=32, num_hidden_layers=3)
            ),
            "state-space",
        ),
        (lambda: transformers.BertForMaskedLM(transformers.BertConfig(**SMALL)), "not causal"),
        (
            lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**SMALL, "num_hidden_layers": 1})),
            "two decoder",
        ),
        (lambda: torch.nn.Linear(2, 2), "not a Hugging Face model"),
    ],
    ids=["encoder-decoder", "state-space", "bidirectional", "one layer", "no model"],
)
def test_refused(build, line):
    with pytest.raises(UnsupportedError, match=line) as refusal:
        SplitModel(build())
    assert "\n" not in str(refusal.value)


def test_a_model_whose_layers_talk_past_the_cut_is_refused():
    class Shortcut(transformers.LlamaForCausalLM):
        """Adds the embeddings once more before the head: the hidden state at the cut does not carry everything."""

        def forward(self, input_ids=None, **kwargs):
            out = super().forward(input_ids=input_ids, **kwargs)
            out.logits = out.logits + self.lm_head(self.model.embed_tokens(input_ids))
            return out

    torch.manual_seed(0)
    with pytest.raises(UnsupportedError, match="identity channel changes its logits"):
        SplitModel(Shortcut(transformers.LlamaConfig(**SMALL, initializer_range=0.2)))


def test_remote_code_is_refused(tmp_path):
    remote = type("Remote", (transformers.LlamaForCausalLM,), {"__module__": "transformers_modules.someone.model"})
    with pytest.raises(UnsupportedError, match="remote code"):
        SplitModel(remote(transformers.LlamaConfig(**SMALL)))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}))
    (tmp_path / "own.py").write_text("raise SystemExit('this must not run')")
    with pytest.raises(UnsupportedError, match="remote code"):
        SplitModel.load(str(tmp_path))


def test_loading_says_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setenv("MBRL_SPLIT_CACHE", str(tmp_path / "cache"))
    for arguments, line in [
        ({"name": "tiny-lama"}, "did you mean 'tiny-llama'"),
        ({"name": "someone/something"}, "cannot be reached"),
        ({"name": "/no/such/folder"}, "does not exist"),
        ({"name": str(tmp_path)}, "config.json"),
        ({"name": "smollm2-135m"}, "models fetch smollm2-135m"),
        ({"name": "tiny-llama", "dtype": "int8"}, "dtype"),
        ({"name": "tiny-llama", "device": "gpu"}, "device"),
    ]:
        with pytest.raises(InvalidInputError, match=line) as error:
            SplitModel.load(**arguments)
        assert "\n" not in str(error.value)


def test_weights_that_are_missing_or_broken_are_refused(tmp_path):
    transformers.LlamaModel(transformers.LlamaConfig(**SMALL)).save_pretrained(tmp_path)
    with pytest.raises(UnsupportedError, match="no weights for lm_head"):  # transformers itself would invent them
        SplitModel.load(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"broken" * 9)
    with pytest.raises(UnsupportedError, match="cannot be loaded"):
        SplitModel.load(str(tmp_path))


def test_pickled_weights_are_not_read(tmp_path):
    config = transformers.LlamaConfig(**SMALL)
    config.save_pretrained(tmp_path)
    torch.save(transformers.LlamaForCausalLM(config).state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(UnsupportedError, match="safetensors"):
        SplitModel.load(str(tmp_path))


def test_shipped_models_load_with_their_tokenizer(shipped):
    assert (shipped.n_layers, shipped.hidden_size, shipped.vocab_size, shipped.max_window) == (12, 128, 2048, 512)
    assert shipped.dtype == torch.float32
    text = "The state of the Union — is strong."
    assert shipped.tokenizer.decode(shipped.tokenizer(text)["input_ids"]) == text
