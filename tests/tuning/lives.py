"""A study in many lives, each ended by a kill at a random moment; run as a script, beside an uninterrupted one."""

import json
import os
import random
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna

from mbrl_split.tuning import Instance, Outcome, search, stored_study, tune_data


@dataclass(frozen=True)
class Bowl:
    """A cheap runner: the regret falls with the budget, and depends on the settings and on the seed's own noise."""

    seconds: float = 0.0

    def __call__(self, row: dict, instance: Instance) -> Outcome:
        time.sleep(self.seconds)
        noise = np.random.default_rng([instance.seed, int(instance.held_out)]).normal()
        every = row["settings"].get("schedule", {}).get("every", 3000)
        regret = 10 / row["budget"] + 0.1 * abs(np.log(every / 2000)) + (row["source"] == "gp") * 0.2 + 0.02 * noise
        return Outcome(float(regret), "headroom", 0.75 * row["budget"], row["budget"] / 10)


TASK = {
    "name": "bowl",
    "title": "t",
    "scenarios": ["equalised"],
    "models": ["tiny-llama"],
    "trials": 14,
    "startup": 5,
    "seeds": 3,
    "space": {
        "agent": {"ppo": None},
        "source": {"gp": None, "mlp": None},
        "schedule": {
            "never": None,
            "fixed": {"every": {"low": 500, "high": 8000, "log": True}, "n": {"low": 4, "high": 32}},
            "geometric": {"first": {"low": 500, "high": 4000}, "ratio": {"low": 1.5, "high": 3.0}},
        },
        "budget": {"low": 10, "high": 100},
    },
    "confirm": {"top": 3, "seeds": 3},
}
ONE = {"objectives": ["regret"], "max_evaluations": 40}


def ended(folder: Path) -> list:
    """Everything about the trials that ended, in order of their places."""
    study = stored_study(folder)
    assert study is not None
    trials = sorted(
        (t for t in study.get_trials() if t.state == optuna.trial.TrialState.COMPLETE),
        key=lambda t: t.user_attrs["place"],
    )
    return [[t.user_attrs, t.params, t.values, t.constraints, t.intermediate_values] for t in trials]


def killed_until_done(folder: Path, changes: dict, rng: random.Random) -> int:
    """Search in forked processes that are killed at random until one of them finishes; returns the number of lives."""
    lives = 0
    while True:
        lives += 1
        child = os.fork()
        if child == 0:
            timer = threading.Timer(rng.uniform(0.1, 0.6), os.kill, (os.getpid(), signal.SIGKILL))
            timer.daemon = True
            if lives < 40:  # in the end one may live
                timer.start()
            search(tune_data(TASK | changes), Bowl(0.03), folder=folder)  # over a second: three lives at least
            os._exit(0)
        rng.random()  # another moment in the next life
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            return lives


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    out = Path(sys.argv[1])
    report = {}
    for name, changes in (("two", {}), ("one", ONE)):
        search(tune_data(TASK | changes), Bowl(), folder=out / f"{name}-whole")
        lives = killed_until_done(out / f"{name}-killed", changes, random.Random(7))
        report[name] = {
            "lives": lives,
            "whole": ended(out / f"{name}-whole"),
            "killed": ended(out / f"{name}-killed"),
        }
    print(json.dumps(report))
