"""A causal language model cut at a layer, and the perplexity of a text through a channel."""

from mbrl_split.llm.cache import FETCHABLE, cache_folder, cached_model
from mbrl_split.llm.depths import residual_rms
from mbrl_split.llm.fetch import fetch
from mbrl_split.llm.generate import Generation
from mbrl_split.llm.perplexity import Perplexity, perplexity, protocol_line
from mbrl_split.llm.residual import token_rms
from mbrl_split.llm.split_model import SplitModel
from mbrl_split.llm.windows import cut_windows, window_nll

__all__ = [
    "FETCHABLE",
    "Generation",
    "Perplexity",
    "SplitModel",
    "cache_folder",
    "cached_model",
    "cut_windows",
    "fetch",
    "perplexity",
    "protocol_line",
    "residual_rms",
    "token_rms",
    "window_nll",
]
