"""What is optimal, what was achieved, and how sure we are: judges, rollouts, statistics, calibration."""

from mbrl_split.evaluation.calibration import Calibration, calibration
from mbrl_split.evaluation.estimators import (
    iqm,
    mean,
    median,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)
from mbrl_split.evaluation.intervals import Interval, bootstrap, holm, paired_difference, paired_test
from mbrl_split.evaluation.policy import Acts, SplitPolicy, agent_policy, policy_splits, towards
from mbrl_split.evaluation.problem import DecisionProblem, Estimate, ExpectedDamage, Regret, exactly
from mbrl_split.evaluation.reach import Reach, first_reach_and_hold
from mbrl_split.evaluation.rollout import Episodes, evaluate
from mbrl_split.evaluation.session_model import SessionModel, SessionPolicy, estimated_correlation, estimated_loads
from mbrl_split.evaluation.session_problem import SessionProblem

__all__ = [
    "Acts",
    "Calibration",
    "DecisionProblem",
    "Episodes",
    "Estimate",
    "ExpectedDamage",
    "Interval",
    "Reach",
    "Regret",
    "SessionModel",
    "SessionPolicy",
    "SessionProblem",
    "SplitPolicy",
    "agent_policy",
    "bootstrap",
    "calibration",
    "estimated_correlation",
    "estimated_loads",
    "evaluate",
    "exactly",
    "first_reach_and_hold",
    "holm",
    "iqm",
    "mean",
    "median",
    "optimality_gap",
    "paired_difference",
    "paired_test",
    "performance_profile",
    "policy_splits",
    "probability_of_improvement",
    "towards",
]
