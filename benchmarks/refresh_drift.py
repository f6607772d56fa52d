"""A world that changes while the agent learns: which schedule notices, at an equal budget of truth?

An interferer switches on near the receiver: the true noise triples, the noise that the phone reports (and the agent
sees) does not. It happens once, at a step that no schedule knows: for each seed anywhere in the middle half.
Measured tables answer, so the damage is a real model's. What counts is the regret of the policy *while* it runs: the
mean over the run of what its choices lose against the best ones of the world as it is at that moment. (At the end
alone, whoever keeps all truth for the last step would win.) Learning is the argmax of the surrogate, so that nothing
but the schedule differs.

    python benchmarks/refresh_drift.py --out benchmarks/results/refresh
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from mbrl_split.agents import SurrogateBandit
from mbrl_split.envs import OracleSource
from mbrl_split.evaluation import bootstrap, iqm
from mbrl_split.layer_split import (
    LLMSplitVector,
    SplitJudge,
    TableOracle,
    argmax_policy,
    fading_gp,
    scenario,
    split_reward,
)
from mbrl_split.oracles import Ledger, Oracle
from mbrl_split.refresh import (
    Always,
    Doubling,
    ErrorTriggered,
    FixedInterval,
    Geometric,
    Never,
    PowerLawBudget,
    RandomAcquisition,
)
from mbrl_split.surrogates import TabulatedSurrogate
from mbrl_split.training import ModelBasedTrainer

FACTOR = 3.0
STEPS, CHUNK, BUDGET, INITIAL, MEMORY = 4000, 100, 100, 32, 32
EQUALISED = scenario("equalised")

# Open-loop schedules learn from the latest MEMORY rows: without forgetting, rows of the old world would stay for ever.
SCHEDULES = {
    "never": (Never(), None),
    "always": (Always(n=8), MEMORY),
    "fixed": (FixedInterval(every=700, n=9), MEMORY),
    "geometric": (Geometric(first=250, ratio=2.0, n=11), MEMORY),
    "doubling": (Doubling(first=1500), MEMORY),
    "paced": (PowerLawBudget(power=1.0, batch=8), MEMORY),
    "paced-late": (PowerLawBudget(power=2.0, batch=8), MEMORY),
    "error": (ErrorTriggered(n=24, audit_every=200, threshold=5.0, slack=1.0), MEMORY),
    "error-forget": (ErrorTriggered(n=24, audit_every=200, threshold=5.0, slack=1.0, forget=True), None),
}


class Interfered(Oracle):
    """A table whose noise is ``factor`` times what the query says."""

    def __init__(self, model: str, half: str) -> None:
        noise, m = EQUALISED.context
        self.table = TableOracle.load(
            model, replace(EQUALISED, context=(replace(noise, high=FACTOR * noise.high), m)), half
        )
        self.n_layers = self.table.n_layers
        self.columns = EQUALISED.columns(self.n_layers)
        self.identity = f"interfered {self.table.identity}"
        self.evaluation_size, self.unit = self.table.evaluation_size, self.table.unit
        self.factor = 1.0

    def _true(self, X):
        x = np.array(X, dtype=np.float64)
        x[:, 1] *= self.factor
        return x

    def price(self, X, *, seeds, size=None):
        return self.table.price(self._true(X), seeds=seeds, size=size)

    def measure(self, X, *, seeds, size=None):
        return self.table.measure(self._true(X), seeds=seeds, size=size)

    def expected(self, X):
        return self.table.expected(self._true(X))[0]


def problems(model: str, contexts: int) -> dict[float, SplitJudge]:
    """The decision problem before and after, by factor, on the judge half."""
    found = {}
    for factor in (1.0, FACTOR):
        judge = Interfered(model, "judge")
        judge.factor = factor
        found[factor] = SplitJudge.of_function(EQUALISED, judge.n_layers, judge.expected, contexts, seed=977)
    return found


def run(model: str, name: str, seed: int, judged: dict[float, SplitJudge], contexts: int) -> dict:
    """One run: regrets (reward) at the end of every segment, and what was paid when."""
    schedule, memory = SCHEDULES[name]
    rng = np.random.default_rng([seed, 17])
    change = int(rng.uniform(0.25, 0.75) * STEPS)
    oracle = Interfered(model, "replay")
    ledger = Ledger(oracle, budget=BUDGET)
    env = LLMSplitVector(16, EQUALISED, source=OracleSource(ledger))
    surrogate = TabulatedSurrogate(fading_gp(seed=seed, hyper_rows=150), 17)
    reward_function = split_reward(EQUALISED, oracle.n_layers)

    def rows(observations, arms):
        pairs = enumerate(EQUALISED.context)  # the last column of an observation, the split, does not matter here
        context = [np.clip(c.from_unit(np.clip(observations[:, j], 0, 1)), c.low, c.high) for j, c in pairs]
        every = np.repeat(np.column_stack(context), len(arms), axis=0)
        return np.column_stack([np.tile(arms + 1.0, len(observations)), every])

    def reward(damage, observations, arms):
        X = rows(observations, arms)
        return reward_function.reward(damage.reshape(-1), X).reshape(damage.shape)

    agent = SurrogateBandit(
        env.single_observation_space, env.single_action_space, surrogate=surrogate, rule="greedy", fit_every=0,
        features=rows, reward=reward, seed=seed,
    )  # fmt: skip

    def world(step: int) -> None:
        oracle.factor = FACTOR if step >= change else 1.0

    trainer = ModelBasedTrainer(
        env, agent, surrogate, schedule, RandomAcquisition(), ledger, total_steps=STEPS, segment_steps=CHUNK,
        initial_design=BUDGET if name == "never" else INITIAL, memory=memory, seed=seed, on_step=world,
    )  # fmt: skip
    policy = argmax_policy(surrogate, EQUALISED, oracle.n_layers)
    regrets, paid = [], []
    for now in trainer.segments():
        # A step at the change is a step in the new world; each policy counts for the segment that follows it.
        regrets.append(judged[oracle.factor].regret(policy).absolute)
        paid.append(now.true_evaluations)
    after = [r for k, r in enumerate(regrets) if (k + 1) * CHUNK >= change]
    return {
        "model": model, "schedule": name, "seed": seed, "settings": settings(name, contexts), "change": change,
        "regret": float(np.mean(regrets)),
        "after": float(np.mean(after)), "final": regrets[-1], "true_evaluations": ledger.spent,
        "refreshes": trainer.refreshes, "regrets": regrets, "paid": paid,
    }  # fmt: skip


def settings(name: str, contexts: int) -> str:
    """What a run's outcome depends on besides model, schedule and seed; a run with other settings is run again."""
    schedule, memory = SCHEDULES[name]
    return f"{schedule}, memory {memory}; {STEPS} steps by {CHUNK}, {BUDGET} paid, {INITIAL} first; {contexts} contexts"


COLUMNS = ("schedule", "regret over the run", "95 % interval", "worst seed", "after the change", "at the end", "paid")


def table(runs: list[dict]) -> str:
    """A row per schedule, and the best open-loop one against the triggered one, seed by seed."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    by_seed = {n: {r["seed"]: r for r in runs if r["schedule"] == n} for n in SCHEDULES}
    for name, own in by_seed.items():
        column = np.array([[r["regret"]] for r in own.values()])
        found = bootstrap(column)
        interval = "–" if found.low is None else f"{found.low:.3f} … {found.high:.3f}"
        after, final, paid = (np.mean([r[k] for r in own.values()]) for k in ("after", "final", "true_evaluations"))
        cells = [f"`{name}`", f"{iqm(column):.3f}", interval, *(f"{x:.3f}" for x in (column.max(), after, final))]
        lines.append("| " + " | ".join([*cells, f"{paid:.0f}"]) + " |")
    open_loop = [n for n in SCHEDULES if not n.startswith("error")]
    best = min(open_loop, key=lambda n: iqm([[r["regret"]] for r in by_seed[n].values()]))
    loss = np.array([r["regret"] - by_seed["error-forget"][seed]["regret"] for seed, r in by_seed[best].items()])
    error = loss.std(ddof=1) / len(loss) ** 0.5
    lines += [
        "",
        f"Best open-loop schedule: `{best}`. Paired by seed it loses {loss.mean():.3f} ± {error:.3f} (standard error) "
        f"more than `error-forget`, which is better on {(loss > 0).sum()} of {len(loss)} seeds.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="tiny-llama")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--contexts", type=int, default=300)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    log = args.out / "drift.jsonl"
    done = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    done = [r for r in done if r.get("settings") == settings(r["schedule"], args.contexts)]
    judged = problems(args.model, args.contexts)
    for seed in range(args.seeds):
        for name in SCHEDULES:
            if any((r["model"], r["schedule"], r["seed"]) == (args.model, name, seed) for r in done):
                continue
            done.append(run(args.model, name, seed, judged, args.contexts))
            with log.open("a") as file:
                file.write(json.dumps(done[-1]) + "\n")
            print(f"{name} {seed}: {done[-1]['regret']:.3f} with {done[-1]['true_evaluations']:.4g}", flush=True)
    own = [r for r in done if r["model"] == args.model]
    seeds = len({r["seed"] for r in own})
    (args.out / "drift.md").write_text(
        f"`python benchmarks/refresh_drift.py --model {args.model} --seeds {seeds} --out {args.out}`\n\n"
        f"{args.model}, {seeds} seeds, a budget of {BUDGET}; regret in units of reward per decision, IQM over seeds."
        "\n\n"
        f"{table(own)}"
    )


if __name__ == "__main__":
    main()
