"""What changes from turn to turn, as pure functions of arrays: noise level, fading, mobility, server load, battery."""

from mbrl_split.layer_split.context_process.battery import discharge, joule_price
from mbrl_split.layer_split.context_process.edge_load import load_matrix, next_load
from mbrl_split.layer_split.context_process.fading import next_scatter, scatter_memory
from mbrl_split.layer_split.context_process.level import (
    bin_edges,
    correlation_of,
    latent_of,
    level_of,
    next_latent,
    transition_matrix,
)
from mbrl_split.layer_split.context_process.mobility import drive_by, read_trace, trace_of

__all__ = [
    "bin_edges",
    "correlation_of",
    "discharge",
    "drive_by",
    "joule_price",
    "latent_of",
    "level_of",
    "load_matrix",
    "next_latent",
    "next_load",
    "next_scatter",
    "read_trace",
    "scatter_memory",
    "trace_of",
    "transition_matrix",
]
