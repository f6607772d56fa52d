"""Whole sessions on the live model against the sum of their turns' table rewards: what adding them gets wrong.

    python benchmarks/drive_live.py --model smollm2-135m --sessions 24 --out benchmarks/results/drive

The policy of dynamic programming is rolled out in ``drive`` (it sees no damage, so that its splits are known before the
model runs). Then the session is run for real, turn by turn with one growing key-value cache: the tokens of a turn cross
the channel at the turn's split, whatever they leave in the cache stays there, and later turns read it wherever the
split has gone. Text is the judge half's documents; the context of the start crosses at the first turn's split, in
its noise; of a long one only the last ``--context`` tokens are run.

Each turn is scored thrice: in its session; alone, with the same channel draw and a clean start, as the table measures;
and by the table's expectation. *Session − alone* is what the context does; *alone − table* is the chance of text and
channel, and what the table itself has wrong. Finished sessions are lines of ``live-<model>.jsonl``: a run that was cut
short goes on, and costs nothing twice.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from mbrl_split.data import documents
from mbrl_split.layer_split import LLMSplitVector, SessionModel, TableOracle, TableSource, scenario
from mbrl_split.layer_split.oracle.context import channel_of
from mbrl_split.layer_split.scenarios import Scenario
from mbrl_split.llm import SplitModel

SEED = 2024


def rolled_out(s: Scenario, table: TableOracle, sessions: int, turns: int) -> list[dict[str, Any]]:
    """Splits, noise and table damage of the first turns of each session under the policy for the whole of it."""
    damage = lambda X: table.expected(X)[0]  # noqa: E731
    policy = SessionModel(s, table.n_layers, damage).policy("optimal")
    env = LLMSplitVector(sessions, s, source=TableSource(table))
    obs, info = env.reset(seed=[SEED + i for i in range(sessions)])
    found: list[dict[str, Any]] = [{"splits": [], "noise": [], "table": [], "moved": 0} for _ in range(sessions)]
    for _ in range(turns):
        obs, _, _, _, info = env.step(policy.act(obs, mask=info["action_mask"]))
        expected = damage(info["query"])
        for i, row in enumerate(found):
            split = int(info["split"][i])
            row["moved"] += split != (row["splits"] or [split])[-1]
            row["splits"].append(split)
            row["noise"].append(float(info["noise"][i]))
            row["table"].append(float(expected[i]))
    return found


@torch.no_grad()
def turn_logits(model: SplitModel, ids: Tensor, cache: DynamicCache, split: int, change: Any) -> Tensor:
    """Logits of new tokens, (1, tokens, vocabulary), whose states are changed at the cut; the cache grows."""
    with model.stack.transformed(split, change):
        logits: Tensor = model.model(input_ids=ids, past_key_values=cache, use_cache=True).logits
    return logits


def scored(logits: Tensor, targets: Tensor) -> float:
    """Capped mean NLL of a turn, nats/token."""
    nll = torch.nn.functional.cross_entropy(logits[0].float(), targets, reduction="mean").item()
    cap = math.log(logits.shape[-1])
    return min(nll, cap) if math.isfinite(nll) else cap


def clean(hidden: Tensor) -> Tensor:
    """No channel."""
    return hidden


def live(
    model: SplitModel, s: Scenario, ids: Tensor, plan: dict[str, Any], number: int, start: int
) -> dict[str, list[float]]:
    """Damage of every turn in its session and alone, nats/token.

    Args:
        model: The model.
        s: The session.
        ids: Its tokens, (start + turns·window + 1,).
        plan: Its splits and noise.
        number: Of the session; seeds the channel.
        start: Tokens before the first turn.
    """
    assert s.context_process is not None
    window = s.context_process.prompt_tokens + s.context_process.answer_tokens

    def over(turn: int, noise: float) -> Any:
        channel = channel_of(s.channel, {"noise": noise, "m": s.context[1].low}, model.reference_rms)
        return lambda hidden: channel(hidden, seeds=[1000 * number + turn]).to(hidden)

    caches = DynamicCache(), DynamicCache()  # through the channel, clean
    if start:
        first = ids[None, :start]
        turn_logits(model, first, caches[0], plan["splits"][0], over(999, plan["noise"][0]))
        turn_logits(model, first, caches[1], plan["splits"][0], clean)
    in_session, alone = [], []
    for turn, (split, noise) in enumerate(zip(plan["splits"], plan["noise"], strict=True)):
        begin = start + turn * window
        new, targets = ids[None, begin : begin + window], ids[begin + 1 : begin + window + 1]
        noisy = over(turn, noise)

        def damage(dirty: DynamicCache, tidy: DynamicCache) -> float:
            through = turn_logits(model, new, dirty, split, noisy)  # noqa: B023
            return scored(through, targets) - scored(turn_logits(model, new, tidy, split, clean), targets)  # noqa: B023

        in_session.append(damage(*caches))
        alone.append(damage(DynamicCache(), DynamicCache()))
    return {"session": in_session, "alone": alone}


def interval(values: np.ndarray) -> list[float]:
    """Mean and 95 % percentile bootstrap interval over sessions."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (4000, len(values)))].mean(axis=1)
    return [float(values.mean()), *(float(q) for q in np.quantile(means, [0.025, 0.975]))]


def summary(rows: list[dict[str, Any]], quality: float) -> dict[str, Any]:
    """Mean errors per turn in reward units, and by turn."""
    session, alone, table = (np.array([row[name] for row in rows]) for name in ("session", "alone", "table"))
    by_turn = -quality * (session - alone).mean(axis=0)
    return {
        "sessions": len(rows),
        "turns": session.shape[1],
        "moves_per_session": float(np.mean([row["moved"] for row in rows])),
        "damage": {"session": float(session.mean()), "alone": float(alone.mean()), "table": float(table.mean())},
        "reward_error": interval(-quality * (session - table).mean(axis=1)),
        "of_context": interval(-quality * (session - alone).mean(axis=1)),
        "of_chance_and_table": interval(-quality * (alone - table).mean(axis=1)),
        "of_context_by_turn": [float(x) for x in by_turn],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny-llama")
    parser.add_argument("--sessions", type=int, default=24)
    parser.add_argument("--turns", type=int, default=6, help="first turns of a session that are run")
    parser.add_argument("--context", type=int, default=512, help="most tokens run before the first turn")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/drive"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    s = scenario("drive")
    assert s.context_process is not None
    start = min(s.context_process.start_tokens, args.context)
    plans = rolled_out(s, TableOracle.load(args.model, s, half="judge"), args.sessions, args.turns)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"live-{args.model}.jsonl"
    rows: list[dict[str, Any]] = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            rows.append(row)
    model = SplitModel.load(args.model)
    texts = documents(s.text, "judge")
    window = s.context_process.prompt_tokens + s.context_process.answer_tokens
    need = start + args.turns * window + 1
    tokens = [torch.tensor(model.tokenizer(text)["input_ids"]) for text in texts]
    places = [(d, i) for d, t in enumerate(tokens) for i in range(0, len(t) - need, need)]
    done: dict[int, dict[str, Any]] = {}
    for number, plan in enumerate(plans):
        document, begin = places[number * len(places) // len(plans)]
        # A session of before is kept if it was the same one: its text, what ran before it, its turns.
        session = {"number": number, "document": document, "begin": begin, "start": start}
        if kept := [row for row in rows if {**session, "splits": plan["splits"]}.items() <= row.items()]:
            done[number] = kept[-1]
            continue
        ids = tokens[document][begin : begin + need]
        row = {**session, **plan, **live(model, s, ids, plan, number, start)}
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        done[number] = row
        means = ", ".join(f"{name} {np.mean(row[name]):.3f}" for name in ("session", "alone", "table"))
        print(f"session {number + 1}/{len(plans)}: {means}", flush=True)
    about = {
        "model": args.model,
        "context": start,
        "command": f"python benchmarks/drive_live.py --model {args.model} --sessions {args.sessions} --turns "
        f"{args.turns} --context {args.context}",
    }
    found = {**about, **summary([done[i] for i in sorted(done)], s.reward.quality)}
    partial = args.out / f"live-{args.model}.partial"
    partial.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, args.out / f"live-{args.model}.json")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
