"""Does a policy that a suite judged on a table keep its promise on the live model?

    mbrl-split bench run benchmarks/rl_vs_mbrl.yaml --out runs/rl_vs_mbrl --only equalised/ppo-hats-rounds-50/0
    python benchmarks/live_confirmation.py RUN [--contexts 40] [--store runs/confirmation.sqlite] [--out DIR]

RUN is the folder of a finished run of an agent. Its policy chooses a split in fresh contexts; so do the best fixed
split and the optimum, both as the judge's table has them. Then the model itself is asked: windows of the judge half's
documents drawn afresh, channel seeds of their own, the same for the three. What is compared is the gain over the best
fixed split per context, live and by the table, with bootstrap intervals over contexts. Measurements are in the store
before they count: stop it at any time, the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from scipy import stats

from mbrl_split.layer_split import PerplexityOracle, SplitJudge, TableOracle, agent_policy, compose_reward
from mbrl_split.oracles import Ledger, open_store
from mbrl_split.registry import AGENTS

SEED = 40_000  # of contexts and live evaluations; tables, judges and validation use others


def interval(x: np.ndarray) -> list[float]:
    """Mean, and its 95 % interval by Student's t over contexts."""
    half = stats.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x))
    return [float(x.mean()), float(x.mean() - half), float(x.mean() + half)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--contexts", type=int, default=40)
    parser.add_argument("--store", type=Path, default=Path("runs/confirmation.sqlite"))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    result = json.loads((args.run / "result.json").read_text(encoding="utf-8"))
    spec = result["spec"]
    name, model = spec["scenario"], spec["model"]
    table = TableOracle.load(model, name, "judge")
    problem = SplitJudge.of_table(table, args.contexts, seed=SEED)
    agent = AGENTS[spec["algorithm"]["agent"]].load(args.run / "agent")
    policy = agent_policy(agent, problem.scenario, problem.n_layers)
    context = problem.context
    everywhere = compose_reward(
        table.expected(problem.X.reshape(-1, problem.X.shape[-1]))[0].reshape(problem.X.shape[:2]),
        np.arange(1, problem.n_layers),
        problem.n_layers,
        problem.scenario.reward,
    )
    chosen = {
        "policy": policy(context, np.full(len(context), problem.n_layers // 2), 0),
        "best fixed": np.full(len(context), 1 + int(everywhere.mean(axis=0).argmax())),
        "optimal": 1 + everywhere.argmax(axis=1),
    }
    args.store.parent.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(PerplexityOracle.load(model, name, part="judge"), open_store(args.store))
    seeds = SEED + np.arange(len(context))
    live, promised = {}, {}
    for who, split in chosen.items():
        damage = []
        for i in range(len(context)):  # one by one: a kill costs one evaluation
            X = np.column_stack([split[i : i + 1], context[i : i + 1]])
            damage.append(float(ledger.measure(X, seeds=seeds[i : i + 1], purpose="audit").mean[0]))
            print(f"{who} {i + 1}/{len(context)}", end="\r", flush=True)
        live[who] = compose_reward(np.array(damage), split, problem.n_layers, problem.scenario.reward)
        promised[who] = everywhere[np.arange(len(context)), split - 1]
    gains = {who: live[who] - live["best fixed"] for who in ("policy", "optimal")}
    hoped = {who: promised[who] - promised["best fixed"] for who in gains}
    found = {
        "run": args.run.name,
        "command": f"python benchmarks/live_confirmation.py {args.run} --contexts {args.contexts}",
        "contexts": len(context),
        "evaluations": ledger.spent,
        "gain_of_policy": {"live": interval(gains["policy"]), "table": interval(hoped["policy"])},
        "gain_of_optimal": {"live": interval(gains["optimal"]), "table": interval(hoped["optimal"])},
        "live_minus_table": interval(gains["policy"] - hoped["policy"]),
        "same_split_as_optimal": float(np.mean(chosen["policy"] == chosen["optimal"])),
    }
    print(json.dumps(found, indent=1))
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "live.json").write_text(json.dumps(found, indent=1) + "\n")
        (args.out / "live.md").write_text(markdown(found))


def markdown(found: dict) -> str:
    rows = [("policy", "gain_of_policy"), ("optimum of the table", "gain_of_optimal")]
    lines = [
        "# Live confirmation",
        "",
        f"By `{found['command']}`: reward per context above the best fixed split in {found['contexts']} fresh "
        "contexts, on the live model and by the judge's table; means with 95 % intervals over contexts.",
        "",
        "| choice | live | table |",
        "|---|---|---|",
    ]
    text = lambda x: f"{x[0]:+.3f} ({x[1]:+.3f} … {x[2]:+.3f})"  # noqa: E731
    lines += [f"| {label} | {text(found[key]['live'])} | {text(found[key]['table'])} |" for label, key in rows]
    lines += ["", f"Live minus table, for the policy: {text(found['live_minus_table'])}.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
