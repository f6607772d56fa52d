"""Is the cut exact? One tiny random model of each architecture, every split, compared with the uncut model.

    python benchmarks/architectures.py                 # about a minute on one core

Writes ``benchmarks/results/architectures.json`` and ``.md``. A random model says nothing about quality, but
everything about wiring: tuple-returning layers, learned positions, alibi, several masks, parallel blocks, sliding
windows, experts.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

from mbrl_split.channels import Identity
from mbrl_split.errors import UnsupportedError
from mbrl_split.llm import SplitModel
from mbrl_split.llm.stack import largest_difference

RESULTS = Path(__file__).parent / "results"
LAYERS, WIDTH, HEADS, VOCABULARY, TOKENS = 4, 32, 4, 96, 24

_PLAIN = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,  # large enough that every layer matters to the logits
    "pad_token_id": None,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_SHORT = {"sliding_window": 6}  # shorter than the test's windows, so that it matters

# model type → (what is special about its wiring, config beyond or instead of the plain one)
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("rotary positions, grouped keys", {}),
    "mistral": ("sliding window", _SHORT),
    "mixtral": ("experts, sliding window", {**_SHORT, "num_local_experts": 4}),
    "qwen2": (
        "two masks: full and sliding layers",
        {**_SHORT, "use_sliding_window": True, "max_window_layers": 2},
    ),
    "qwen3": ("normalised queries and keys", {"head_dim": 8}),
    "qwen3_moe": ("experts", {"head_dim": 8, "num_experts": 4, "moe_intermediate_size": 16, "num_experts_per_tok": 2}),
    "gemma": ("scaled embeddings", {"head_dim": 8}),
    "gemma2": ("two masks, soft-capped attention and logits", {**_SHORT, "head_dim": 8}),
    "gemma3_text": ("two masks, two rotary bases", {**_SHORT, "head_dim": 8, "sliding_window_pattern": 2}),
    "phi": ("parallel block, partial rotary", {"num_key_value_heads": 4}),
    "phi3": ("fused projections, sliding window", _SHORT),
    "gpt2": ("learned positions", {}),
    "gpt_bigcode": ("learned positions, one key head", {}),
    "gpt_neo": (
        "tuples, learned positions, local attention",
        {"attention_types": [[["global", "local"], 2]], "window_size": 6},
    ),
    "gptj": ("tuples, parallel block", {"rotary_dim": 4}),
    "codegen": ("parallel block, interleaved projections", {"rotary_dim": 4}),
    "gpt_neox": ("parallel residual", {}),
    "gpt_oss": (
        "attention sinks, experts, two masks",
        {**_SHORT, "head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2},
    ),
    "falcon": ("tuples, parallel block", {}),
    "bloom": ("tuples, alibi, embedding norm", {}),
    "mpt": (
        "tuples, alibi",
        {"d_model": WIDTH, "n_heads": HEADS, "n_layers": LAYERS, "max_seq_len": 64, "expansion_ratio": 2},
    ),
    "opt": ("learned positions with an offset", {"ffn_dim": 2 * WIDTH, "word_embed_proj_dim": WIDTH}),
    "xglm": (
        "sinusoidal positions, scaled embeddings",
        {"d_model": WIDTH, "ffn_dim": 64, "num_layers": LAYERS, "attention_heads": HEADS},
    ),
    "biogpt": ("learned positions with an offset", {}),
    "stablelm": ("partial rotary, layer norm", {}),
    "starcoder2": ("sliding window, biases", _SHORT),
    "olmo": ("norm without weights", {}),
    "olmo2": ("norm after the block", {}),
    "granite": ("residual, attention and logit multipliers", {"residual_multiplier": 0.5, "logits_scaling": 2.0}),
    "cohere": ("parallel block, scaled logits", {}),
    "cohere2": ("parallel block, two masks, layers without positions", {**_SHORT, "sliding_window_pattern": 2}),
    "persimmon": ("squared ReLU, normalised queries and keys", {}),
    "nemotron": ("squared ReLU, shifted norm", {"head_dim": 8}),
    "glm": ("partial rotary, fused gate", {"head_dim": 8}),
    "smollm3": ("layers without positions", {"no_rope_layers": [1, 1, 0, 1]}),
    "deepseek_v3": (
        "latent attention, first layers dense",
        {
            "num_key_value_heads": 4,
            "moe_intermediate_size": 16,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_group": 2,
            "topk_group": 1,
            "first_k_dense_replace": 2,
            "q_lora_rank": 16,
            "kv_lora_rank": 8,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
            "v_head_dim": 8,
            "head_dim": 8,
        },
    ),
}


@dataclass(frozen=True)
class Exactness:
    """One row of the table; differences are maxima over all splits, positions and tokens of the vocabulary."""

    architecture: str
    model_class: str
    special: str
    layers_at: str
    layers_return: str
    largest_logit: float
    identity_difference: float
    prefix_difference: float
    noise_difference: float
    noise_effect: float
    generates_alike: bool


def build(model_type: str) -> Any:
    """A tiny random model, the same at every call."""
    config = AutoConfig.for_model(model_type, **{**_PLAIN, **ARCHITECTURES[model_type][1]})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config).eval()


@torch.no_grad()
def examine(model_type: str) -> Exactness:
    """Cut a tiny model at every split, without and with noise, and compare with the uncut model."""
    hf_model = build(model_type)
    model = SplitModel(hf_model)
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, VOCABULARY, (2, TOKENS), generator=generator)
    reference = hf_model(input_ids=ids, use_cache=False, output_hidden_states=True)
    states = model.prefix(ids)
    identity = max(largest_difference(model.suffix(states[p], p), reference.logits) for p in range(LAYERS + 1))
    # transformers' own hidden_states[p] is what enters layer p; the last one comes after the final norm.
    prefix = max(largest_difference(states[p], reference.hidden_states[p]) for p in range(LAYERS))
    noise, effect = 0.0, float("inf")
    for p in range(1, LAYERS):
        received = states[p] + states[p].std() * torch.randn(states[p].shape, generator=generator)
        slow = _injected(model, hf_model, ids, p, received)
        noise = max(noise, largest_difference(model.suffix(received, p), slow))
        effect = min(effect, largest_difference(slow, reference.logits))
    ours = model.generate(ids[:1, :8], 2, Identity(), max_new_tokens=12).new_ids
    theirs = hf_model.generate(
        ids[:1, :8], attention_mask=torch.ones(1, 8), max_new_tokens=12, do_sample=False, pad_token_id=0
    )[0, 8:]
    lengths = set(model.stack.tuple_lengths)
    return Exactness(
        model_type,
        type(hf_model).__name__,
        ARCHITECTURES[model_type][0],
        next(name for name, module in hf_model.named_modules() if module is model.stack.layers),
        "tensor" if lengths == {None} else f"tuple of {max(n or 0 for n in lengths)}",
        reference.logits.abs().max().item(),
        identity,
        prefix,
        noise,
        effect,
        torch.equal(ours, theirs),
    )


def _injected(model: SplitModel, hf_model: Any, ids: torch.Tensor, p: int, received: torch.Tensor) -> torch.Tensor:
    """The slow way: run every layer, and swap what layer p (counted from 1) returned."""

    def swap(_: Any, __: Any, output: Any) -> Any:
        return (received, *output[1:]) if isinstance(output, tuple) else received

    handle = model.stack.layers[p - 1].register_forward_hook(swap)
    try:
        logits: torch.Tensor = hf_model(input_ids=ids, use_cache=False).logits
    finally:
        handle.remove()
    return logits


def table(rows: list[Exactness]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| architecture | special | layers | return | identity, all splits | noise, all splits | generates alike |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        exact = "bit-equal" if r.identity_difference == 0 else f"max Δ {r.identity_difference:.1e}"
        noisy = "bit-equal" if r.noise_difference == 0 else f"max Δ {r.noise_difference:.1e}"
        lines.append(
            f"| {r.architecture} | {r.special} | `{r.layers_at}` | {r.layers_return} | {exact} | {noisy} | "
            f"{'yes' if r.generates_alike else 'no'} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    rows = []
    for model_type in ARCHITECTURES:
        try:
            rows.append(examine(model_type))
        except UnsupportedError as refusal:
            print(f"{model_type}: refused: {refusal}")
            continue
        print(table(rows[-1:]).splitlines()[-1], flush=True)
    RESULTS.mkdir(exist_ok=True)
    found = {
        "command": "python benchmarks/architectures.py",
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "layers": LAYERS,
        "tokens": TOKENS,
        "rows": [asdict(r) for r in rows],
    }
    (RESULTS / "architectures.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    (RESULTS / "architectures.md").write_text(table(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
