"""What is optimal, what was achieved, and how sure we are: judges, rollouts, statistics, calibration."""

from mbrl_split.evaluation.argmax import ArgmaxPolicy, RulePolicy
from mbrl_split.evaluation.calibration import Calibration, calibration
from mbrl_split.evaluation.conformance import check_problem
from mbrl_split.evaluation.estimators import (
    iqm,
    mean,
    median,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)
from mbrl_split.evaluation.function_problem import FunctionProblem
from mbrl_split.evaluation.gym_problem import GymProblem
from mbrl_split.evaluation.intervals import Interval, bootstrap, holm, paired_difference, paired_test
from mbrl_split.evaluation.problem import JUDGE_SEED, Estimate, Judge, Judgement, Problem, Regret
from mbrl_split.evaluation.rollout import Episodes, evaluate
from mbrl_split.evaluation.time_to_target import TimeToTarget, evaluations_to_target

__all__ = [
    "JUDGE_SEED",
    "ArgmaxPolicy",
    "Calibration",
    "Episodes",
    "Estimate",
    "FunctionProblem",
    "GymProblem",
    "Interval",
    "Judge",
    "Judgement",
    "Problem",
    "Regret",
    "RulePolicy",
    "TimeToTarget",
    "bootstrap",
    "calibration",
    "check_problem",
    "evaluate",
    "evaluations_to_target",
    "holm",
    "iqm",
    "mean",
    "median",
    "optimality_gap",
    "paired_difference",
    "paired_test",
    "performance_profile",
    "probability_of_improvement",
]
