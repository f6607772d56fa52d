"""Suites as data, their runs, results and report; the contract of a method."""

from mbrl_split.bench.base import CurvePoint, Method, Task
from mbrl_split.bench.loading import load_suite
from mbrl_split.bench.published import restore
from mbrl_split.bench.results import read_runs, summarise
from mbrl_split.bench.runner import run_cell, run_suite, select
from mbrl_split.bench.suite import Cell, Suite

__all__ = [
    "Cell",
    "CurvePoint",
    "Method",
    "Suite",
    "Task",
    "load_suite",
    "read_runs",
    "restore",
    "run_cell",
    "run_suite",
    "select",
    "summarise",
]
