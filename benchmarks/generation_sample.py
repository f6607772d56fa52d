"""Text generated with the cut in place: read what the noise does.

    python benchmarks/generation_sample.py [MODEL …] [--out FILE]

Three noise levels (in units of the model's reference RMS; the receiver divides by a gain of 1) at three splits, greedy
decoding, one prompt. The channel seed is the same everywhere: along a row only the split changes, down a column only
the noise.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from mbrl_split.channels import Identity, Radio
from mbrl_split.llm import FETCHABLE, SplitModel, cached_model

PROMPT = "The Congress of the United States has the duty to"
NOISE = (0.1, 0.5, 2.0)
NEW_TOKENS = 32


def sample(model: SplitModel) -> list[str]:
    """The Markdown of one model."""
    layers = model.n_layers
    splits = (1, layers // 2, layers - 1)

    def say(split: int, noise: float | None) -> str:
        channel = Identity() if noise is None else Radio(noise * model.reference_rms)
        found = model.generate(PROMPT, split, channel, max_new_tokens=NEW_TOKENS, seed=1)
        return " ".join(found.text.split()).replace("|", "\\|") or "(nothing)"

    lines = [f"## {model.name} ({layers} layers)", "", f"Without a channel: {PROMPT} *{say(splits[0], None)}*", ""]
    lines += ["| noise (RMS) | " + " | ".join(f"split {p}" for p in splits) + " |", "|---" * (len(splits) + 1) + "|"]
    lines += [f"| {noise:g} | " + " | ".join(say(p, noise) for p in splits) + " |" for noise in NOISE]
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = [name for name in FETCHABLE if cached_model(name) is not None]
    parser.add_argument("models", nargs="*", default=["tiny-llama", *here])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "generation.md")
    args = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        "# What the noise does to generated text",
        "",
        f"By `python benchmarks/generation_sample.py {' '.join(args.models)}`. Prompt: *{PROMPT}*; {NEW_TOKENS} new "
        "tokens, greedy, no fading; every transmitted state gets noise of the stated strength, in units of the median "
        "token RMS after layer 1.",
        "",
    ]
    for name in args.models:
        lines += sample(SplitModel.load(name))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
