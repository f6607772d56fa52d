"""Training: the model-based loop, reinforcement learning on the truth, logs, checkpoints."""

from mbrl_split.training.follower import Follower
from mbrl_split.training.log import Logger, NullLogger, RunLogger
from mbrl_split.training.measuring import measure_parts, n_affordable
from mbrl_split.training.segment import Snapshot
from mbrl_split.training.trainer import ModelBasedTrainer
from mbrl_split.training.truth import TruthTrainer, train_on_truth

__all__ = [
    "Follower",
    "Logger",
    "ModelBasedTrainer",
    "NullLogger",
    "RunLogger",
    "Snapshot",
    "TruthTrainer",
    "measure_parts",
    "n_affordable",
    "train_on_truth",
]
