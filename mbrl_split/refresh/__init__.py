"""When to pay for the truth (schedules), and for which rows (acquisitions).

>>> from mbrl_split.refresh import FixedInterval, RefreshState
>>> FixedInterval(every=1000, n=8).decide(RefreshState(2000, 9000, 1000, 1, spent=24, budget=64, n_rows=24))
RefreshDecision(n=8, reason='1000 steps have passed', refit=True, audit=0, forget=False)
"""

from mbrl_split.refresh.base import Acquisition, RefreshDecision, RefreshSchedule, RefreshState, Where
from mbrl_split.refresh.decisive import UCB, Disagreement, Thompson, TopTwo
from mbrl_split.refresh.design import cross, design_pool, random_design, sobol_design
from mbrl_split.refresh.detectors import cusum, page_hinkley
from mbrl_split.refresh.fidelity import Fidelity, clarity
from mbrl_split.refresh.integrated import IntegratedVariance
from mbrl_split.refresh.named import cost_aware, diverse
from mbrl_split.refresh.objective import Objective
from mbrl_split.refresh.open_loop import Always, Doubling, FixedInterval, Geometric, Never, Paced
from mbrl_split.refresh.scored import CostAware, Diverse, MaxEpistemic, ScoredAcquisition
from mbrl_split.refresh.triggered import ErrorTriggered, UncertaintyTriggered, ValueOfInformation
from mbrl_split.refresh.uniform import OnPolicyAcquisition, RandomAcquisition

__all__ = [
    "UCB",
    "Acquisition",
    "Always",
    "CostAware",
    "Disagreement",
    "Diverse",
    "Doubling",
    "ErrorTriggered",
    "Fidelity",
    "FixedInterval",
    "Geometric",
    "IntegratedVariance",
    "MaxEpistemic",
    "Never",
    "Objective",
    "OnPolicyAcquisition",
    "Paced",
    "RandomAcquisition",
    "RefreshDecision",
    "RefreshSchedule",
    "RefreshState",
    "ScoredAcquisition",
    "Thompson",
    "TopTwo",
    "UncertaintyTriggered",
    "ValueOfInformation",
    "Where",
    "clarity",
    "cost_aware",
    "cross",
    "cusum",
    "design_pool",
    "diverse",
    "page_hinkley",
    "random_design",
    "sobol_design",
]
