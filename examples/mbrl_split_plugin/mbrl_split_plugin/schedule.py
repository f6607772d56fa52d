"""A schedule: refreshes at steps first · 1, 4, 9, …, so that their distance grows evenly."""

from dataclasses import dataclass

from mbrl_split.refresh import RefreshDecision, RefreshSchedule


@dataclass(frozen=True)
class Squares(RefreshSchedule):
    """Called with the row's `settings: {schedule: {first: ..., n: ...}}`."""

    first: int
    n: int = 8

    def decide(self, state):
        due = self.first * (state.refreshes + 1) ** 2
        if state.step < due:
            return RefreshDecision(0, f"the next refresh is due at step {due}")
        return RefreshDecision(min(self.n, int(state.remaining)), f"step {due} reached")
