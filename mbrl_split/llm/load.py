"""Find and load a model by name: shipped, fetched, a local folder or a hub id."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from mbrl_split import data
from mbrl_split.errors import InvalidInputError, UnsupportedError
from mbrl_split.llm.cache import FETCHABLE, cached_model
from mbrl_split.registry import unknown

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def load_pretrained(name: str | os.PathLike[str], *, device: str, dtype: str) -> tuple[Any, Any, dict[str, Any]]:
    """The transformers model (on its device, in its dtype), its tokenizer (None if it has none) and its card.

    Only safetensors are read and no code that comes with a model is run.

    Raises:
        InvalidInputError: No such model, device or dtype, or the hub cannot be reached.
        UnsupportedError: The model is no causal LM of transformers, or has no safetensors.
    """
    if dtype not in DTYPES:
        raise InvalidInputError(f"dtype is {' or '.join(map(repr, DTYPES))}, not {dtype!r}")
    where = _device(device)
    source, local = _locate(os.fspath(name))
    with quiet():
        from transformers import AutoModelForCausalLM, AutoTokenizer

        local = local or not _hub_reachable()
        _check_config(source, local)
        try:
            model, found = AutoModelForCausalLM.from_pretrained(
                source,
                dtype=DTYPES[dtype],
                local_files_only=local,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise UnsupportedError(f"model {source} cannot be loaded: {_first_line(error)}") from error
        if missing := sorted(found["missing_keys"]):
            # transformers would go on with random numbers in their place.
            raise UnsupportedError(
                f"model {source} has no weights for {', '.join(missing[:3])}{' …' * (len(missing) > 3)}"
            )
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local, trust_remote_code=False)
        except Exception:  # a model without a (usable) tokenizer still takes token ids
            tokenizer = None
    # Only our own cards are trusted: a folder of a user may have been trained on since its card was written.
    own = name in data.MODELS or name in FETCHABLE
    return model.to(where), tokenizer, _card(Path(source)) if own else {}


def n_layers_of(name: str | os.PathLike[str]) -> int:
    """L of a model by its config alone; no weights are read.

    Raises:
        InvalidInputError: No such model, or the hub cannot be reached.
        UnsupportedError: It is no causal LM of transformers.
    """
    source, local = _locate(os.fspath(name))
    with quiet():
        config = _check_config(source, local or not _hub_reachable())
    return int(config.get_text_config().num_hidden_layers)


def _locate(name: str) -> tuple[str, bool]:
    """(what transformers loads, whether it is on this disk)."""
    if name in data.MODELS:
        return str(data.model_path(name)), True
    if name in FETCHABLE:
        folder = cached_model(name)
        if folder is None:
            raise InvalidInputError(
                f"model {name!r} is not in the cache yet: run `mbrl-split models fetch {name}` once"
            )
        return str(folder), True
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise InvalidInputError(f"folder {path} holds no model: there is no config.json")
        return str(path), True
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise InvalidInputError(f"model folder {name} does not exist")
    return name, False


def _card(folder: Path) -> dict[str, Any]:
    path = folder / "card.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _check_config(source: str, local: bool) -> Any:
    """The config; refuse by it alone what cannot be a causal LM, before anything large is downloaded."""
    from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

    try:
        raw, _ = PretrainedConfig.get_config_dict(source, local_files_only=local)
    except OSError as error:
        if Path(source).is_dir():
            raise InvalidInputError(f"model folder {source}: config.json cannot be read as JSON") from error
        where = "the Hugging Face hub cannot be reached" if local else "the Hugging Face hub does not have it"
        raise InvalidInputError(
            f"{unknown('model', source, (*data.MODELS, *FETCHABLE))}; it is no folder, and {where}"
        ) from error
    if raw.get("is_encoder_decoder"):
        raise UnsupportedError(f"model {source} is an encoder-decoder model: the cut needs one stack of decoder layers")
    try:
        config = AutoConfig.from_pretrained(source, local_files_only=local, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        why = "runs remote code" if "auto_map" in raw else f"has the type {raw.get('model_type')!r}"
        raise UnsupportedError(
            f"model {source} {why}: only architectures that are part of transformers can be cut"
        ) from error
    if config.is_encoder_decoder:
        raise UnsupportedError(f"model {source} is an encoder-decoder model: the cut needs one stack of decoder layers")
    if type(config) not in AutoModelForCausalLM._model_mapping:
        raise UnsupportedError(f"model {source} ({config.model_type}) is no causal language model")
    return config


def _hub_reachable() -> bool:
    """One short try, because transformers would retry for half a minute before it says the same."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=5.0)
    except Exception:  # whatever the HTTP library raises: no network, no proxy, no such host
        return False
    return True


def _device(device: str) -> torch.device:
    try:
        where = torch.device(device)
    except RuntimeError as error:
        raise InvalidInputError(f"unknown device {device!r}: 'cpu', 'cuda', 'cuda:1', …") from error
    if where.type == "cuda" and not torch.cuda.is_available():
        raise InvalidInputError(f"device {device!r} is not there: torch sees no CUDA device")
    return where


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' progress bars, restored afterwards."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
