"""From a word to a source: the measured table, the live model, a plug-in's oracle, or what the user brought."""

from __future__ import annotations

import json
from pathlib import Path

from mbrl_split.data import MODELS, model_path
from mbrl_split.envs.source import OracleSource
from mbrl_split.errors import InvalidInputError, UnsupportedError
from mbrl_split.interaction import Source
from mbrl_split.layer_split.scenarios import Scenario
from mbrl_split.registry import ORACLES, unknown

DEFAULT_MODEL = "tiny-llama"


def resolve_source(source: str | Source | None, model: str | None, scenario: Scenario) -> Source:
    """The source an environment was asked for.

    Raises:
        InvalidInputError: An unknown word, an object that is no source, no such table or model, or a model whose number
            of layers is not the source's.
    """
    if not (source is None or isinstance(source, str)):
        columns = getattr(source, "columns", None)
        if not columns or not callable(getattr(source, "answer", None)) or columns[0].name != "split":
            raise InvalidInputError(
                f"source is 'table', 'live', None, or an object with answer() and columns that begin with 'split', "
                f"not {source!r}"
            )
        layers, high = _layers(model), int(columns[0].high)
        if layers is not None and layers - 1 != high:
            raise InvalidInputError(
                f"model {model!r} has {layers} layers, hence splits 1 … {layers - 1}; the source answers 1 … {high}"
            )
        return source
    if source is not None and source not in ORACLES:
        raise InvalidInputError(unknown("source", source, ORACLES) + "; or pass a Source object")
    return _built_in(source, model or DEFAULT_MODEL, scenario)


def _built_in(word: str | None, model: str, scenario: Scenario) -> Source:
    # Imported here: an environment that is handed its source loads neither torch nor a model.
    from mbrl_split.layer_split.tables.source import TableSource
    from mbrl_split.layer_split.tables.table import TableOracle
    from mbrl_split.oracles import Ledger

    if word == "table" or (word is None and _table_is_shipped(model, scenario)):
        return TableSource(TableOracle.load(model, scenario))
    return OracleSource(Ledger(ORACLES[word or "live"](model, scenario)))


def _table_is_shipped(model: str, scenario: Scenario) -> bool:
    from mbrl_split.layer_split.tables.families import family_of
    from mbrl_split.layer_split.tables.table_file import table_path

    try:
        family = family_of(scenario.channel)
    except UnsupportedError:  # no table could serve this channel
        return False
    return table_path(model, family.name, "replay", scenario.text).is_file()


def _layers(model: str | None) -> int | None:
    """The layers of a model, read from its configuration; None where that is not at hand."""
    if model is None:
        return None
    folder = model_path(model) if model in MODELS else Path(model)
    config = folder / "config.json"
    if not config.is_file():
        return None
    found = json.loads(config.read_text(encoding="utf-8"))
    layers = found.get("num_hidden_layers", found.get("n_layer"))
    return None if layers is None else int(layers)
