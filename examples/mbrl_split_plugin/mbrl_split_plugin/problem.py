"""A problem: tilts of an antenna, for suites to pose. Its optimum is not worked out, so reports show values."""

import numpy as np

from mbrl_split.envs import OracleSource
from mbrl_split.errors import InvalidInputError
from mbrl_split.evaluation import Judge, Judgement, Problem, evaluate
from mbrl_split.interaction import Policy
from mbrl_split.oracles import FunctionOracle, Ledger
from mbrl_split_plugin.environment import COLUMNS, Tilt, loss


class TiltProblem(Problem):
    """Called with the `settings` of a suite's entry: the noise of a measurement, and the judge's episodes."""

    reference_names = ("level",)
    has_consequences, action_word, unit = False, "tilt", "field measurement"
    columns = COLUMNS

    def __init__(self, noise_std=0.1, episodes=100):
        self.noise_std, self.episodes = noise_std, episodes

    def make_env(self, num_envs, *, source=None):
        return Tilt(num_envs, source)

    def oracle(self):
        return FunctionOracle(loss, COLUMNS, self.noise_std, identity="tilt 1")

    def judge(self, seed):
        return Drives(self.episodes, seed)

    def describe(self):
        return {"problem": "tilt", "noise_std": self.noise_std, "episodes": self.episodes}


class Drives(Judge):
    """The mean return of episodes, without the noise."""

    def __init__(self, episodes, seed):
        self.episodes, self.seed = episodes, seed

    def judge(self, policy):
        env = Tilt(self.episodes, OracleSource(Ledger(FunctionOracle(loss, COLUMNS))))
        return Judgement.of(evaluate(policy, env, self.episodes, seed=self.seed).returns, "episode")

    def reference(self, name):
        if name != "level":
            raise InvalidInputError(f"the only reference is 'level', not {name!r}")
        return self.judge(Level())


class Level(Policy):
    """The middle tilt, always."""

    def act(self, obs, *, deterministic=True, mask=None):
        return np.full(len(np.asarray(obs)), 2)
