"""Schedules: closed forms by hand, what they refuse, and that no schedule can overspend."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbrl_split.columns import Column
from mbrl_split.errors import BudgetExhaustedError, InvalidInputError
from mbrl_split.oracles import FunctionOracle, Ledger
from mbrl_split.refresh import (
    Always,
    Doubling,
    ErrorTriggered,
    FixedInterval,
    Geometric,
    Never,
    PowerLawBudget,
    RefreshSchedule,
    RefreshState,
    UncertaintyTriggered,
    ValueOfInformation,
    cusum,
    page_hinkley,
)
from mbrl_split.registry import SCHEDULES


def state(**changes: object) -> RefreshState:
    base = RefreshState(1000, 10_000, steps_since_refresh=500, refreshes=0, spent=20.0, budget=100.0, n_rows=20)
    return replace(base, **changes)  # type: ignore[arg-type]


def due_steps(schedule: RefreshSchedule, total: int, segment: int) -> list[int]:
    """The steps at which the schedule pays, on a run that asks at every segment's end."""
    last, refreshes, out = 0, 0, []
    for step in range(segment, total + 1, segment):
        d = schedule.decide(state(step=step, steps_since_refresh=step - last, refreshes=refreshes, budget=math.inf))
        if d.n:
            out.append(step)
            last, refreshes = step, refreshes + 1
    return out


def test_open_loop_schedules_pay_when_they_say() -> None:
    assert due_steps(Never(), 1000, 100) == []
    assert due_steps(Always(), 300, 100) == [100, 200, 300]
    assert due_steps(FixedInterval(300), 1000, 100) == [300, 600, 900]
    assert due_steps(Geometric(100, 2.0), 1000, 100) == [100, 200, 400, 800]
    assert due_steps(Doubling(100), 1000, 100) == [100, 200, 400, 800]
    assert Doubling(100).decide(state(n_rows=24)).n == 24


def test_pacing_follows_its_curve_to_the_last_evaluation() -> None:
    spent = 10.0
    for step in range(500, 10_001, 500):
        spent += PowerLawBudget(power=2.0, batch=1).decide(state(step=step, spent=spent)).n
        assert spent == max(10, int(100 * (step / 10_000) ** 2))
    assert spent == 100


def test_uncertainty_and_value_of_information_compare_with_their_thresholds() -> None:
    assert UncertaintyTriggered(0.1, n=4).decide(state(epistemic=0.11)).n == 4
    assert UncertaintyTriggered(0.1, n=4).decide(state(epistemic=0.09)).n == 0
    assert UncertaintyTriggered(0.1, n=4).decide(state()).n == 0  # an unknown uncertainty never pays
    assert UncertaintyTriggered(0.1, n=4, every=501).decide(state(epistemic=1.0)).n == 0
    # 9,000 steps left × .01 = 90 to win; 8 evaluations at 11 cost 88, at 12 they cost 96.
    assert ValueOfInformation(11, n=8).decide(state(value_of_information=0.01)).n == 8
    assert ValueOfInformation(12, n=8).decide(state(value_of_information=0.01)).n == 0


def test_detectors_match_hand_computed_sums() -> None:
    # up: max(0, 0+1−.5)=.5; .5+2−.5=2; 2−3−.5→0; 0+1−.5=.5   down: 0; 0; 3−.5=2.5; 2.5−1−.5=1
    assert [cusum([1, 2, -3, 1][:k], 0.5) for k in range(5)] == [0, 0.5, 2, 2.5, 1]
    # means 1, 1.5, 0, .25: deviations 0, .5, −3, .75; slack 0; up 0, .5, 0, .75; down 0, 0, 3, 2.25
    assert [page_hinkley([1, 2, -3, 1][:k], 0.0) for k in range(5)] == [0, 0, 0.5, 3, 2.25]
    assert cusum([2.0] * 8, 0.5) == 12
    assert page_hinkley([2.0] * 8, 0.5) == 0  # a constant error is no change


def test_error_trigger_audits_then_alarms() -> None:
    schedule = ErrorTriggered(n=8, audit_every=100, audit_n=2, threshold=3.0, slack=0.5)
    first = schedule.decide(state(steps_since_audit=100))
    assert (first.n, first.audit) == (0, 2)
    assert schedule.decide(state(steps_since_audit=99)).audit == 0
    assert schedule.decide(state(residuals=(2.0, 2.0))).n == 0
    assert schedule.decide(state(residuals=(2.0, 2.0, 2.0))).n == 8
    assert schedule.decide(state(residuals=(-2.0, -2.0, -2.0))).n == 8


@pytest.mark.parametrize(
    "build",
    [
        lambda: FixedInterval(0),
        lambda: FixedInterval(10, n=0),
        lambda: Geometric(10, ratio=1.0),
        lambda: PowerLawBudget(power=0),
        lambda: UncertaintyTriggered(float("nan")),
        lambda: ErrorTriggered(detector="adwin"),  # type: ignore[arg-type]
        lambda: ErrorTriggered(slack=-1),
        lambda: PowerLawBudget().decide(state(budget=math.inf)),
    ],
)
def test_bad_settings_are_refused(build: object) -> None:
    with pytest.raises(InvalidInputError):
        build()  # type: ignore[operator]


def test_every_schedule_is_data() -> None:
    for name in SCHEDULES:
        cls = SCHEDULES[name]
        try:
            schedule = cls()
        except TypeError:
            schedule = cls(7)  # the one setting without a default
        assert cls(**schedule.config()) == schedule
        assert hash(schedule) == hash(cls(**schedule.config()))


schedules = st.one_of(
    st.builds(Always, st.integers(1, 40)),
    st.builds(FixedInterval, st.integers(1, 500), st.integers(1, 40)),
    st.builds(Geometric, st.integers(1, 500), st.floats(1.1, 4), st.integers(1, 40)),
    st.builds(Doubling, st.integers(1, 500)),
    st.builds(PowerLawBudget, st.floats(0.2, 4), st.integers(1, 20)),
    st.builds(UncertaintyTriggered, st.floats(0.01, 1), st.integers(1, 40), st.integers(1, 500)),
    st.builds(ErrorTriggered, st.integers(1, 40), st.integers(1, 300), st.integers(1, 10)),
    st.builds(ValueOfInformation, st.floats(0.01, 10), st.integers(1, 40), st.integers(1, 500)),
)


@settings(max_examples=150, deadline=None)
@given(schedule=schedules, budget=st.floats(0, 120), initial=st.integers(0, 30), seed=st.integers(0, 2**16))
def test_no_schedule_overspends(schedule: RefreshSchedule, budget: float, initial: int, seed: int) -> None:
    """Random schedules against random budgets, on a real ledger: what is asked for can always be paid."""
    rng = np.random.default_rng(seed)
    oracle = FunctionOracle(lambda X: X[:, 0], (Column("x", "1", 0.0, 1.0),))
    ledger = Ledger(oracle, budget=budget)

    def measure(n: int) -> None:
        ledger.measure(rng.random((n, 1)), seeds=rng.integers(0, 1000, n))

    if initial > budget:
        with pytest.raises(BudgetExhaustedError):
            measure(initial)
        initial = 0
    else:
        measure(initial)
    rows, refreshes, last, last_audit = initial, 0, 0, 0
    residuals: tuple[float, ...] = ()
    for step in range(100, 2001, 100):
        for _ in range(2):
            decision = schedule.decide(
                RefreshState(
                    step,
                    2000,
                    step - last,
                    refreshes,
                    ledger.spent,
                    budget,
                    rows,
                    epistemic=float(rng.random()),
                    residuals=residuals,
                    steps_since_audit=step - last_audit,
                    value_of_information=float(rng.random()),
                )
            )
            if decision.audit:
                measure(decision.audit)
                residuals = (*residuals, *rng.normal(1.0, 2.0, decision.audit))
                last_audit = step
        if decision.n:
            measure(decision.n)  # raises BudgetExhaustedError if the schedule asked for too much
            rows, refreshes, last, residuals = rows + decision.n, refreshes + 1, step, ()
        assert ledger.spent <= budget
