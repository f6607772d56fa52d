"""Training: the model-based loop, reinforcement learning on the truth, logs, checkpoints."""

from mbrl_split.training.argmax import ArgmaxPolicy, argmax_policy
from mbrl_split.training.chunk import Snapshot
from mbrl_split.training.lesson import lesson
from mbrl_split.training.log import Logger, NullLogger, RunLogger
from mbrl_split.training.measuring import affordable, measure_parts
from mbrl_split.training.objective import llm_split_objective, objective_of
from mbrl_split.training.trainer import ModelBasedTrainer
from mbrl_split.training.truth import TruthTrainer, train_on_truth

__all__ = [
    "ArgmaxPolicy",
    "Logger",
    "ModelBasedTrainer",
    "NullLogger",
    "RunLogger",
    "Snapshot",
    "TruthTrainer",
    "affordable",
    "argmax_policy",
    "lesson",
    "llm_split_objective",
    "measure_parts",
    "objective_of",
    "train_on_truth",
]
