"""How the power of the hidden state is spread over tokens, at every depth: what a channel's power convention acts on.

    python benchmarks/activations.py [MODEL …]

After each layer, over 32 windows of 128 tokens: the median over tokens of the token's RMS (the unit of the scenarios'
noise, at layer 1), the RMS of the whole tensor, the largest coordinate, and the share of a window's power that its
strongest token carries. Where that share nears 1 the activation is *massive*: noise at a fixed SNR per tensor is then
set by one token, and drowns the others; noise at a fixed SNR per token is not.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import torch

from mbrl_split.llm import SplitModel
from mbrl_split.llm.residual import sample_ids, token_rms


def spread(name: str) -> list[dict[str, float]]:
    """One record per depth 0 … L."""
    model = SplitModel.load(name)
    batches = [model.prefix(ids) for ids in torch.split(sample_ids(model.tokenizer, model.max_window), 8)]
    records = []
    for depth in range(model.n_layers + 1):
        states = torch.cat([batch[depth] for batch in batches]).float()
        power = states.square().mean(-1)  # (windows, tokens)
        # By position: the first token of a window is the usual carrier.
        strongest = power.max(1)
        records.append(
            {
                "depth": depth,
                "median_token_rms": float(token_rms(states).median()),
                "tensor_rms": float(power.mean().sqrt()),
                "max_abs": float(states.abs().max()),
                "strongest_token_share": float((strongest.values / power.sum(1)).mean()),
                "strongest_is_first": float((strongest.indices == 0).float().mean()),
            }
        )
    return records


def figure(found: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Token and tensor RMS by depth, one panel a model."""
    panels, axes = plt.subplots(1, len(found), figsize=(3.6 * len(found), 3.2), sharey=True, squeeze=False)
    for axis, (model, records) in zip(axes[0], found.items(), strict=True):
        depth = [r["depth"] for r in records]
        axis.semilogy(depth, [r["median_token_rms"] for r in records], label="a token, median")
        axis.semilogy(depth, [r["tensor_rms"] for r in records], "--", label="the whole tensor")
        axis.semilogy(depth, [r["max_abs"] for r in records], ":", label="largest coordinate")
        axis.set(title=model, xlabel="layers")
    axes[0][0].set_ylabel("RMS of the hidden state")
    axes[0][0].legend(frameon=False, fontsize=8)
    panels.tight_layout()
    plt.rcParams["svg.hashsalt"] = "mbrl_split"
    panels.savefig(path, metadata={"Date": None})


def markdown(found: dict[str, list[dict[str, float]]], command: str) -> str:
    """The page."""
    lines = [
        "# Massive activations",
        "",
        f"By `{command}`, over 32 windows of 128 tokens. The median RMS of a token is the unit of the scenarios' noise "
        "(at layer 1). Where the strongest token carries nearly all power of a window, an SNR per tensor is the SNR of "
        "that token, and the noise drowns every other.",
        "",
        "![RMS by depth](activations.svg)",
        "",
        "| model | layers | token RMS (median) | tensor RMS | largest coordinate | share of the strongest token "
        "| it is the first |",
        "|---|---|---|---|---|---|---|",
    ]
    for model, records in found.items():
        last = records[-1]["depth"]
        shown = {0, 1, last, *(round(last * k / 6) for k in range(1, 6)), last - 1}
        for r in (r for r in records if r["depth"] in shown):
            lines.append(
                f"| {model} | {r['depth']} | {r['median_token_rms']:.3g} | {r['tensor_rms']:.3g} | {r['max_abs']:.4g} "
                f"| {r['strongest_token_share']:.0%} | {r['strongest_is_first']:.0%} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["tiny-llama", "tiny-gpt2", "smollm2-135m"])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "landscape")
    args = parser.parse_args()
    with torch.no_grad():
        found = {model: spread(model) for model in args.models}
    command = " ".join(["python benchmarks/activations.py", *args.models])
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "activations.json").write_text(json.dumps({"command": command, "models": found}, indent=1) + "\n")
    (args.out / "activations.md").write_text(markdown(found, command))
    figure(found, args.out / "activations.svg")


if __name__ == "__main__":
    main()
