"""The model-based loop on a known function: what it learns, what it pays, and that interruptions leave no trace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mbrl_split.agents import PPO, SurrogateBandit
from mbrl_split.envs import OracleSource
from mbrl_split.errors import BudgetExhaustedError, InvalidInputError
from mbrl_split.layer_split import LLMSplitVector, SplitJudge, agent_policy, argmax_policy, scenario
from mbrl_split.layer_split.envs import rules
from mbrl_split.oracles import FunctionOracle, Ledger
from mbrl_split.refresh import (
    UCB,
    Always,
    Doubling,
    ErrorTriggered,
    FixedInterval,
    IntegratedVariance,
    Never,
    OnPolicyAcquisition,
    PowerLawBudget,
    RandomAcquisition,
    Thompson,
    UncertaintyTriggered,
    ValueOfInformation,
)
from mbrl_split.surrogates import MLPSurrogate, TabulatedSurrogate
from mbrl_split.training import ModelBasedTrainer, RunLogger, TruthTrainer, train_on_truth

SCENARIO = scenario("equalised", context={"noise": [0.03, 3.0]})
COLUMNS = SCENARIO.columns(12)


def damage(X):
    """Smooth, more with noise and fading, less with depth: the best split moves from 1 to 11."""
    return 2.0 * np.tanh(X[:, 1] * (1 + 0.5 / X[:, 2])) * np.exp(-0.25 * X[:, 0])


def make(budget=64.0, schedule=None, acquisition=None, noise=0.02, total=2048, scenario=SCENARIO, **settings):
    ledger = Ledger(FunctionOracle(damage, scenario.columns(12), noise_std=noise, seconds=0.5), budget=budget)
    env = LLMSplitVector(8, scenario, source=OracleSource(Ledger(ledger.oracle)))
    agent = PPO(env.single_observation_space, env.single_action_space, n_steps=16, batch_size=64, n_epochs=4, seed=1)
    surrogate = TabulatedSurrogate(MLPSurrogate(hidden=(32, 32), steps=150, seed=2), 9)
    settings = {"initial_design": 24, "segment_steps": 256, "seed": 3, **settings}
    return ModelBasedTrainer(
        env,
        agent,
        surrogate,
        schedule or FixedInterval(512, n=8),
        acquisition or OnPolicyAcquisition(),
        ledger,
        total_steps=total,
        **settings,
    )


def records(folder: Path, kind: str | None = None) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [r for r in lines if kind is None or r["kind"] == kind]


def test_it_pays_what_the_schedule_says_and_logs_both_rewards(tmp_path):
    trainer = make(logger=RunLogger(tmp_path), budget=100)
    snapshots = list(trainer.segments())
    assert [s.step for s in snapshots] == [256, 512, 768, 1024, 1280, 1536, 1792, 2048]
    assert [s.true_evaluations for s in snapshots] == [24, 32, 32, 40, 40, 48, 48, 48]
    # What was bought at 512 is in the surrogate then, and in the agent 256 steps later.
    assert [s.behind_agent[0] for s in snapshots] == [24, 24, 32, 32, 40, 40, 48, 48]
    seconds = [s.behind_agent[1] for s in snapshots]
    assert 0 < seconds[0] == seconds[1] < seconds[2]
    assert seconds[-1] == trainer.ledger.seconds
    # 24 to begin, 8 at 512, 1024 and 1536; the last border is the end, where truth would teach nobody.
    assert trainer.ledger.spent == 48
    assert trainer.ledger.entries.purpose.tolist() == ["initial"] * 24 + ["refresh"] * 24
    assert trainer.source.version == 5  # 1, the first fit, three refreshes
    assert [r["step"] for r in records(tmp_path, "refresh")] == [512, 1024, 1536]
    truth = records(tmp_path, "truth")
    assert len(truth) == 48
    assert all(("predicted" in r) == (r["purpose"] != "initial") for r in truth)
    for r in truth:
        load = 1 - r["query"][0] / 12
        assert r["true_reward"] == pytest.approx(-3 * r["measured"] + load)
        if "predicted" in r:
            assert r["surrogate_reward"] == pytest.approx(-3 * r["predicted"] + load)
    train = records(tmp_path, "train")
    assert train[-1]["step"] == 2048
    assert all("surrogate/episode/return" in r and "episode/return" not in r for r in train)
    assert any((tmp_path / "tb").iterdir())


def test_the_surrogate_never_learns_from_its_own_labels():
    trainer = make(noise=0.0)
    seen = []
    learner = trainer.surrogate.surrogate  # under the table
    fit = learner.fit
    learner.fit = lambda X, y, **kw: (seen.append((X.copy(), y.copy())), fit(X, y, **kw))[1]
    trainer.run()
    assert len(seen) == 4
    for X, y in seen:
        np.testing.assert_array_equal(y, [damage(row[None])[0] for row in X])


def test_the_agent_learns_from_the_surrogate_alone():
    trainer = make(budget=None, schedule=Never(), total=512)
    trainer.run()
    assert trainer.ledger.spent == 24
    assert len(trainer.visited.queries) == 512


def test_it_learns_what_one_split_for_all_contexts_cannot_give():
    trainer = make(budget=200, schedule=FixedInterval(4096, n=16), total=16_384, initial_design=120, segment_steps=2048)
    agent = trainer.run()
    problem = SplitJudge.of_function(SCENARIO, 12, damage, n_contexts=2000, seed=9)
    # 1 is what the best fixed split loses; the surrogate knows nearly all, and the agent most of what it knows.
    assert problem.regret(argmax_policy(lambda X: trainer.surrogate.predict(X).mean, SCENARIO, 12)).reported < 0.1
    assert problem.regret(agent_policy(agent, SCENARIO, 12)).reported < 0.5
    assert problem.regret(agent_policy(make().agent, SCENARIO, 12)).reported > 2


@pytest.mark.parametrize("budget", [24, 30, 33.5])
def test_a_spent_budget_ends_paying_not_training(tmp_path, budget):
    trainer = make(budget=budget, schedule=Always(n=8), logger=RunLogger(tmp_path), total=1024)
    trainer.run()
    assert trainer.step == 1024
    assert trainer.ledger.spent == int(budget)


def test_a_budget_for_no_row_at_all_is_an_error():
    with pytest.raises(BudgetExhaustedError, match="no row to begin with"):
        make(budget=0.5).run()


def test_clean_references_count_when_the_budget_is_cut():
    """Rows that cost more than one evaluation each: the loop buys as many as fit, never more."""
    trainer = make(budget=40, schedule=Always(n=8), total=1024)
    oracle = trainer.ledger.oracle
    plain = oracle.price

    def price(X, *, seeds, size=None):
        p = plain(X, seeds=seeds, size=size)
        references = tuple(np.array([int(s) % 40]) for s in seeds)
        return type(p)(p.size, references, 1)

    oracle.price = price
    trainer.run()
    assert 38 <= trainer.ledger.spent <= 40
    assert len(trainer.ledger.entries) < 30


def test_audits_are_paid_noticed_and_learnt_from(tmp_path):
    schedule = ErrorTriggered(n=8, audit_every=256, audit_n=2, threshold=0.5, slack=0.0)
    trainer = make(budget=200, schedule=schedule, logger=RunLogger(tmp_path))
    trainer.run()
    purposes = trainer.ledger.entries.purpose.tolist()
    audits = records(tmp_path, "audit")
    assert purposes.count("audit") == 2 * len(audits) > 0
    assert purposes.count("refresh") > 0
    assert trainer.learnt >= 24 + purposes.count("refresh") + 2
    # The residual that the schedule saw is the one that the log can reproduce.
    rows = [r for r in records(tmp_path, "truth") if r["purpose"] == "audit"][:2]
    z = [(r["measured"] - r["predicted"]) / r["predicted_std"] for r in rows]
    assert audits[0]["residual"] == pytest.approx(np.mean(z))


@pytest.mark.parametrize(
    ("schedule", "acquisition"),
    [
        (Doubling(512), UCB()),
        (PowerLawBudget(batch=1), Thompson()),
        (UncertaintyTriggered(1e-6, n=4), IntegratedVariance(candidates=64)),
        (ValueOfInformation(1e-6, n=4), RandomAcquisition()),
    ],
)
def test_schedules_and_acquisitions_work_together(schedule, acquisition):
    trainer = make(budget=60, schedule=schedule, acquisition=acquisition, total=1024, pool_contexts=16)
    trainer.run()
    assert 24 < trainer.ledger.spent <= 60


@pytest.mark.parametrize("mode", ["mean", "lcb", "sample"])
def test_what_the_agent_is_told_follows_the_mode(mode):
    trainer = make(source_mode=mode, kappa=2.0, schedule=Never(), total=512)
    answer, told = trainer.source.answer, []

    def answering(X, *, seeds):
        told.append((np.array(X), answer(X, seeds=seeds)))
        return told[-1][1]

    trainer.source.answer = answering
    trainer.run()
    X, said = (np.concatenate(parts) for parts in zip(*told, strict=True))
    assert len(X) == 512
    p = trainer.surrogate.predict(X)
    if mode == "sample":
        z = (said - p.mean) / p.std_epistemic
        assert 0.5 < z.std() < 2.0
        assert (z > 0).any()
        assert (z < 0).any()
    else:
        np.testing.assert_allclose(said, p.mean + (2.0 * p.std_epistemic if mode == "lcb" else 0.0), rtol=1e-12)


def test_other_seeds_and_equal_seeds(tmp_path):
    def outcome(name, **settings):
        trainer = make(logger=RunLogger(tmp_path / name, tensorboard=False), total=1024, **settings)
        trainer.run()
        return (tmp_path / name / "metrics.jsonl").read_bytes(), trainer.ledger.entries.X

    first, again, other = outcome("a"), outcome("b"), outcome("c", seed=4)
    assert first[0] == again[0]
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[1], other[1])


SETUPS = {
    "fixed": {},
    "relative": {"scenario": scenario("equalised", actions="relative", drift=0.01), "schedule": Always(n=4)},
    "start": {"scenario": scenario("equalised", reference="start"), "acquisition": RandomAcquisition(where="both")},
    "audits": {"schedule": ErrorTriggered(8, 256, 2, threshold=0.5, slack=0.0), "acquisition": Thompson()},
}


@pytest.mark.parametrize("name", SETUPS)
def test_resumed_is_uninterrupted_bit_for_bit(tmp_path, name):
    whole = make(logger=RunLogger(tmp_path / "whole"), budget=100, **SETUPS[name])
    whole.run()

    def attempt():
        folder = tmp_path / "cut"
        return make(logger=RunLogger(folder), checkpoint_dir=folder / "checkpoint", budget=100, **SETUPS[name])

    for segments_until_cut in (1, 3, 2):
        going = attempt().segments()
        for _ in range(segments_until_cut):
            next(going)
        del going  # what is not in the checkpoint is lost, as if the process had died
    last = attempt()
    last.run()
    assert (tmp_path / "cut" / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    assert last.ledger.state_dict() == whole.ledger.state_dict()
    obs = np.random.default_rng(0).random((64, *last.env.single_observation_space.shape)).astype(np.float32)
    np.testing.assert_array_equal(last.agent.act(obs, deterministic=True), whole.agent.act(obs, deterministic=True))
    X = whole.ledger.entries.X
    np.testing.assert_array_equal(last.surrogate.predict(X).mean, whole.surrogate.predict(X).mean)


def queries(contexts, arms):
    """What a damage surrogate is asked about every (context, arm): arm k cuts after layer k + 1."""
    _, context, _ = rules.unobserve(SCENARIO, 12, contexts, contexts)
    return rules.build_inputs(np.tile(arms + 1, len(contexts)), np.repeat(context, len(arms), axis=0))


def split_reward(damage, contexts, arms):
    return rules.compose_reward(damage, arms + 1, 12, SCENARIO.reward)


def test_a_resumed_bandit_follows_the_surrogate_it_shares(tmp_path):
    def attempt(name):
        folder = tmp_path / name
        logger = RunLogger(folder, tensorboard=False)
        trainer = make(schedule=Always(n=4), total=1024, logger=logger, checkpoint_dir=folder / "checkpoint")
        spaces = trainer.env.single_observation_space, trainer.env.single_action_space
        shared = {"surrogate": trainer.surrogate, "features": queries, "reward": split_reward, "fit_every": 0}
        trainer.agent = SurrogateBandit(*spaces, seed=1, n_steps=8, **shared)
        return trainer

    whole = attempt("whole")
    whole.run()
    going = attempt("cut").segments()
    assert next(going).step < next(going).step < 1024
    last = attempt("cut")
    last.run()
    assert last.agent.surrogate is last.surrogate
    assert (tmp_path / "cut" / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    next(make(checkpoint_dir=tmp_path).segments())
    with pytest.raises(InvalidInputError, match="seed was 3, is 4"):
        make(checkpoint_dir=tmp_path, seed=4).run()
    fresh = make(checkpoint_dir=tmp_path, seed=4, total=512)
    fresh.run(resume=False)
    assert fresh.step == 512


def test_a_run_that_was_left_goes_on_without_a_checkpoint(tmp_path):
    whole, left = (make(logger=RunLogger(tmp_path / name, tensorboard=False)) for name in ("whole", "left"))
    whole.run()
    assert next(left.segments()).step == 256
    for _ in range(2):
        left.run()
        assert left.ledger.state_dict() == whole.ledger.state_dict()
        assert records(tmp_path / "left") == records(tmp_path / "whole")


def test_a_log_may_move(tmp_path):
    """Resuming into a new folder logs what follows, and not a gap of zero bytes before it."""
    next(make(logger=RunLogger(tmp_path / "old"), checkpoint_dir=tmp_path / "checkpoint").segments())
    make(logger=RunLogger(tmp_path / "new"), checkpoint_dir=tmp_path / "checkpoint").run()
    assert records(tmp_path / "new", "train")[0]["step"] == 384
    again = RunLogger(tmp_path / "new", tensorboard=False)
    again.rewind(0, 0)
    again.log("train", 1)
    assert records(tmp_path / "new") == [{"kind": "train", "step": 1}]


@pytest.mark.slow
def test_sigkill_at_random_moments_changes_nothing(tmp_path):
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import torch; torch.set_num_threads(1)\n"
        "from pathlib import Path; from test_trainer import make; from mbrl_split.training import RunLogger\n"
        "folder = Path(sys.argv[2])\n"
        "make(logger=RunLogger(folder, tensorboard=False), checkpoint_dir=folder / 'checkpoint', total=4096).run()\n"
        "(folder / 'DONE').touch()\n"
    )
    folder = tmp_path / "killed"
    folder.mkdir()
    command = [sys.executable, "-c", script, str(Path(__file__).parent), str(folder)]
    rng = np.random.default_rng(0)
    kills = 0
    while not (folder / "DONE").exists():
        process = subprocess.Popen(command)
        if kills < 2:
            marker = folder / "checkpoint" / "LATEST"
            before = marker.read_text() if marker.exists() else None
            while process.poll() is None and (not marker.exists() or marker.read_text() == before):
                time.sleep(0.01)
            time.sleep(float(rng.uniform(0, 0.3)))
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
        process.wait()
    assert kills > 0
    whole = make(logger=RunLogger(tmp_path / "whole", tensorboard=False), total=4096)
    whole.run()
    assert (folder / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()


def truth_trainer(folder, total=512, budget=None, **settings):
    ledger = Ledger(FunctionOracle(damage, COLUMNS, noise_std=0.02), budget=budget)
    env = LLMSplitVector(8, SCENARIO, source=OracleSource(ledger))
    agent = PPO(env.single_observation_space, env.single_action_space, n_steps=16, batch_size=64, n_epochs=2, seed=1)
    return TruthTrainer(
        env,
        agent,
        ledger,
        total_steps=total,
        segment_steps=128,
        logger=RunLogger(folder, tensorboard=False),
        **settings,
    )


def test_learning_on_the_truth_pays_each_step_and_resumes_exactly(tmp_path):
    whole = truth_trainer(tmp_path / "whole")
    whole.run()
    assert whole.ledger.spent == 512
    assert all("true/episode/return" in r for r in records(tmp_path / "whole", "train"))
    for _ in range(3):
        next(truth_trainer(tmp_path / "cut", checkpoint_dir=tmp_path / "cut" / "checkpoint").segments())
    last = truth_trainer(tmp_path / "cut", checkpoint_dir=tmp_path / "cut" / "checkpoint")
    last.run()
    assert (tmp_path / "cut" / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    assert last.ledger.state_dict() == whole.ledger.state_dict()


def test_learning_on_the_truth_stops_where_the_budget_does(tmp_path):
    trainer = truth_trainer(tmp_path, budget=300)
    snapshots = list(trainer.segments())
    assert trainer.ledger.spent == 296  # 37 steps of 8; the next would not have fitted
    assert snapshots[-1].finished
    assert snapshots[-1].step == 296
    assert records(tmp_path, "end")[0]["spent"] == 296


def test_a_raised_budget_goes_on(tmp_path):
    """Also from 256 steps, where the budget of 256 ends at a segment's border; an equal budget changes nothing."""
    for budget, step, ends in ((256, 256, 1), (256, 256, 1), (384, 384, 2), (388, 384, 3), (1000, 512, 3)):
        trainer = truth_trainer(tmp_path, budget=budget, checkpoint_dir=tmp_path / "checkpoint")
        trainer.run()
        assert (trainer.step, trainer.ledger.spent) == (step, step)
        assert len(records(tmp_path, "end")) == ends
        assert trainer.finished


def test_learning_on_the_truth_goes_on_without_a_checkpoint(tmp_path):
    trainer = truth_trainer(tmp_path, budget=7)
    trainer.run()
    trainer.run()
    assert [r["step"] for r in records(tmp_path)] == [0], "the end is told once, and stays told"
    trainer = truth_trainer(tmp_path, budget=300)
    next(trainer.segments())
    for budget, spent, ends in ((300, 296, 1), (300, 296, 1), (1000, 512, 1)):
        trainer.ledger.budget = budget
        trainer.run()
        assert (trainer.step, trainer.ledger.spent) == (spent, spent)
        assert len(records(tmp_path, "end")) == ends
    assert records(tmp_path, "train")[0]["step"] == 128


def test_the_last_checkpoint_stays_whole_until_the_next_is(tmp_path):
    """The budget ends at a border: the last checkpoint and the one before it are of the same step."""
    trainer = truth_trainer(tmp_path, budget=256, checkpoint_dir=tmp_path / "checkpoint")
    segments = trainer.segments()
    assert [next(segments).step, next(segments).step] == [128, 256]

    def killed(folder):
        raise KeyboardInterrupt

    trainer.agent.save = killed
    with pytest.raises(KeyboardInterrupt):
        next(segments)
    again = truth_trainer(tmp_path, budget=256, checkpoint_dir=tmp_path / "checkpoint")
    assert [s.step for s in again.segments()] == [256]
    assert again.ledger.spent == 256


def test_steps_that_an_agent_comes_with_are_not_the_runs(tmp_path):
    trainer = truth_trainer(tmp_path, budget=300)
    trainer.agent.learn(LLMSplitVector(8, SCENARIO, source=OracleSource(Ledger(trainer.ledger.oracle))), 128)
    assert [s.step for s in trainer.segments()] == [128, 256, 296]
    assert records(tmp_path, "end")[0]["step"] == 296


def test_train_on_truth_returns_the_agent():
    ledger = Ledger(FunctionOracle(damage, COLUMNS))
    env = LLMSplitVector(4, SCENARIO, source=OracleSource(ledger))
    agent = PPO(env.single_observation_space, env.single_action_space, n_steps=16, seed=1)
    assert train_on_truth(env, agent, ledger, total_steps=128) is agent
    assert ledger.spent == 128


def test_progress_is_plain_lines_off_a_terminal(capfd):
    make(total=512, show_progress=True).run()
    lines = capfd.readouterr().err.splitlines()
    assert lines == [
        "256/512 steps  24 true evaluations, surrogate 2",
        "512/512 steps  24 true evaluations, surrogate 2",
    ]


def test_what_is_wrong_is_said():
    with pytest.raises(InvalidInputError, match="total_steps"):
        make(total=0)
    with pytest.raises(InvalidInputError, match="initial_design is 0"):
        make(initial_design=0).run()
    with pytest.raises(InvalidInputError, match="split = 40"):
        make(initial_design=[[40, 1.0, 1.0]]).run()


def test_argmax_policy_acts_on_observations_as_it_does_on_contexts():
    for kw in ({}, {"actions": "relative", "max_move": 2}):
        s = scenario("equalised", **kw)
        rng = np.random.default_rng(0)
        X = np.column_stack([c.sample(200, rng) for c in COLUMNS])
        surrogate = MLPSurrogate(hidden=(32,), steps=100).fit(X, damage(X), columns=COLUMNS)

        def predict(X, surrogate=surrogate):
            return surrogate.predict(X).mean

        policy = argmax_policy(predict, s, 12)
        problem = SplitJudge.of_function(s, 12, predict, n_contexts=100)
        assert problem.achieved(policy) == pytest.approx(problem.achieved(agent_policy(policy, s, 12)), abs=1e-6)
        if s.actions == "absolute":
            assert problem.regret(policy).absolute == pytest.approx(0, abs=1e-12)
        assert policy.act(np.array([0.5, 0.5, 0.5], np.float32)).shape == ()
