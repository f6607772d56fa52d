"""Optuna over refresh schedules, acquisitions and surrogates; on measured tables, unless asked otherwise.

A study knows no model and no table: a :class:`Runner` runs one configuration on one instance. The runner of suites is
``mbrl_split.bench.tuned.RowRunner``; your own is any function of plain data.
"""

from mbrl_split.tuning.base import InfeasibleError, Instance, Outcome, Row, Runner
from mbrl_split.tuning.config import Confirm, Range, Space, TuneData, load_tune, tune_data
from mbrl_split.tuning.confirm import Candidate, candidates, confirm, pick
from mbrl_split.tuning.cost import Cost, cost_of
from mbrl_split.tuning.journal import stored_study
from mbrl_split.tuning.sampler import MemorylessTPE
from mbrl_split.tuning.search import mean_evaluations, mean_regret, outcomes_of, search
from mbrl_split.tuning.space import suggest

__all__ = [
    "Candidate",
    "Confirm",
    "Cost",
    "InfeasibleError",
    "Instance",
    "MemorylessTPE",
    "Outcome",
    "Range",
    "Row",
    "Runner",
    "Space",
    "TuneData",
    "candidates",
    "confirm",
    "cost_of",
    "load_tune",
    "mean_evaluations",
    "mean_regret",
    "outcomes_of",
    "pick",
    "search",
    "stored_study",
    "suggest",
    "tune_data",
]
