"""When to pay for the truth (schedules), and for which rows (acquisitions).

>>> from mbrl_split.refresh import FixedInterval, RefreshState
>>> FixedInterval(every=1000, n=8).decide(RefreshState(2000, 9000, 1000, 1, spent=24, budget=64, n_rows=24))
RefreshDecision(n=8, reason='1000 steps have passed', refit=True, audit=0, forget=False)
"""

from mbrl_split.refresh.base import Acquisition, CandidatePool, RefreshDecision, RefreshSchedule, RefreshState
from mbrl_split.refresh.decision_aware import UCB, Disagreement, Thompson, TopTwo
from mbrl_split.refresh.design import design_pool, random_design, sobol_design, with_all_actions
from mbrl_split.refresh.detectors import cusum, page_hinkley
from mbrl_split.refresh.fidelity import Fidelity, probability_best
from mbrl_split.refresh.integrated import IntegratedVariance
from mbrl_split.refresh.open_loop import Always, Doubling, FixedInterval, Geometric, Never, PowerLawBudget
from mbrl_split.refresh.reward_function import RewardFunction
from mbrl_split.refresh.scored import CostAware, Diverse, MaxEpistemic, ScoredAcquisition
from mbrl_split.refresh.triggered import ErrorTriggered, UncertaintyTriggered, ValueOfInformation
from mbrl_split.refresh.uniform import OnPolicyAcquisition, RandomAcquisition

__all__ = [
    "UCB",
    "Acquisition",
    "Always",
    "CandidatePool",
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
    "OnPolicyAcquisition",
    "PowerLawBudget",
    "RandomAcquisition",
    "RefreshDecision",
    "RefreshSchedule",
    "RefreshState",
    "RewardFunction",
    "ScoredAcquisition",
    "Thompson",
    "TopTwo",
    "UncertaintyTriggered",
    "ValueOfInformation",
    "cusum",
    "design_pool",
    "page_hinkley",
    "probability_best",
    "random_design",
    "sobol_design",
    "with_all_actions",
]
