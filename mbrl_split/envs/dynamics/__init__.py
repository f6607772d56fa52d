"""What changes from turn to turn, as pure functions of arrays: noise level, fading, mobility, server load, battery."""

from mbrl_split.envs.dynamics.battery import drain, joule_price
from mbrl_split.envs.dynamics.edge_load import load_matrix, next_load
from mbrl_split.envs.dynamics.fading import next_scatter, scatter_memory
from mbrl_split.envs.dynamics.level import (
    bin_edges,
    correlation_of,
    latent_of,
    level_of,
    next_latent,
    transition_matrix,
)
from mbrl_split.envs.dynamics.mobility import drive_by, read_trace, trace_of

__all__ = [
    "bin_edges",
    "correlation_of",
    "drain",
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
