"""The ledger: the only road to an oracle. It counts what truth costs, and caps it."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbrl_split.columns import check_rows
from mbrl_split.errors import BudgetExhaustedError, InvalidInputError, UnsupportedError
from mbrl_split.oracles.base import Measurement, Oracle, Price, check_seeds
from mbrl_split.oracles.record import decode, encode
from mbrl_split.oracles.store import Store


@dataclass(frozen=True)
class Rows:
    """What a ledger was asked, in order, and what it answered; every array has n rows.

    Attributes:
        X: Queries, shape (n, d).
        seeds: Seeds, shape (n,).
        charge: True evaluations charged, shared references included, shape (n,).
        purpose: What each row was for (``"train"``, ``"audit"``, …), shape (n,).
        measurement: The answers, with the oracle's own records.
    """

    X: NDArray[np.float64]
    seeds: NDArray[np.int64]
    charge: NDArray[np.float64]
    purpose: NDArray[np.str_]
    measurement: Measurement

    def __len__(self) -> int:
        return len(self.X)

    @property
    def y(self) -> NDArray[np.float64]:
        """The measured numbers, shape (n,)."""
        return self.measurement.mean

    @property
    def std_error(self) -> NDArray[np.float64]:
        """Their standard errors, shape (n,); nan where unknown."""
        return self.measurement.std_error

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Seconds each measurement took when it was truly made, shape (n,)."""
        return self.measurement.seconds

    def take(self, keep: NDArray[np.bool_]) -> Rows:
        """The rows under the mask."""
        return Rows(self.X[keep], self.seeds[keep], self.charge[keep], self.purpose[keep], self.measurement.take(keep))

    @property
    def records(self) -> NDArray[np.void]:
        """The oracle's own records; their field ``query`` counts these rows."""
        return self.measurement.records


class Ledger:
    """Asks an oracle, counts every question in true evaluations, and stops at the budget.

    The charge of a row is ``size / evaluation_size``, plus each shared reference that this ledger has not used before.
    It depends on the ledger's own history alone: a measurement found in the store is charged like a fresh one, so that
    a run's cost does not depend on who ran before.

    Args:
        oracle: What measures; None where the truth is a real step of an environment: then only :meth:`charge` works.
        store: Where finished measurements live. With a store each row is looked up right before it would be measured,
            and is durable before it is used. Without one nothing is remembered and a call is measured in one batch.
        budget: True evaluations this ledger may charge; None is unlimited.
        progress: Called with (rows done, rows asked) as a call proceeds.

    Raises:
        InvalidInputError: The budget is negative, or the oracle has no identity to store under.

    Example:
        >>> from mbrl_split.columns import Column
        >>> from mbrl_split.oracles import FunctionOracle, Ledger
        >>> ledger = Ledger(FunctionOracle(lambda X: X[:, 0] ** 2, [Column("x", "1", 0, 9)]), budget=3)
        >>> ledger.measure([[1.0], [2.0]], seeds=[0, 1]).mean
        array([1., 4.])
        >>> ledger.spent, ledger.remaining
        (2.0, 1.0)
        >>> ledger.rows().y
        array([1., 4.])
    """

    def __init__(
        self,
        oracle: Oracle | None = None,
        store: Store | None = None,
        budget: float | None = None,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        if budget is not None and not budget >= 0:
            raise InvalidInputError(f"a budget is at least 0 true evaluations, not {budget}")
        oracle = RealSteps() if oracle is None else oracle
        if store is not None and not oracle.identity:
            raise InvalidInputError(
                "measurements of an oracle without identity cannot be kept in a store: give it identity=…"
            )
        self.oracle, self.store, self.budget, self.progress = oracle, store, budget, progress
        # Accounts are kept in whole units of size: sums of fractions would drift.
        self._spent = 0
        self._references: set[int] = set()
        self._charged: dict[str, int] = {}
        self._entries = _no_rows(len(oracle.columns))
        self._recent: list[Rows] = []
        self.wall_seconds = 0.0
        """Seconds spent waiting for measurements in this process (little, where the store knew them)."""

    @property
    def spent(self) -> float:
        """True evaluations charged so far."""
        return self._spent / self.oracle.evaluation_size

    @property
    def remaining(self) -> float:
        """True evaluations left; infinite without a budget."""
        return np.inf if self.budget is None else max(0.0, self.budget - self.spent)

    @property
    def seconds(self) -> float:
        """Recorded seconds of everything charged. For reports: no decision may read it."""
        return float(self.entries.seconds.sum())

    @property
    def entries(self) -> Rows:
        """Everything that was asked, in order."""
        if self._recent:
            self._entries = _join([self._entries, *self._recent])
            self._recent = []
        return self._entries

    def rows(self, purposes: str | Iterable[str] | None = None) -> Rows:
        """The entries of the given purposes (all by default): what a surrogate is fitted to."""
        entries = self.entries
        if purposes is None:
            return entries
        wanted = [purposes] if isinstance(purposes, str) else list(purposes)
        return entries.take(np.isin(entries.purpose, wanted))

    def charge_of(self, X: ArrayLike, *, seeds: ArrayLike, size: int | None = None) -> float:
        """True evaluations that :meth:`measure` would charge now; measures and charges nothing."""
        price = self.oracle.price(X, seeds=seeds, size=size)
        return sum(self._charges(price)) / self.oracle.evaluation_size

    def measure(
        self,
        X: ArrayLike,
        *,
        seeds: ArrayLike,
        size: int | None = None,
        purpose: str = "train",
    ) -> Measurement:
        """Measure every row of ``X`` and charge it.

        Args:
            X: Queries, shape (n, len(columns)).
            seeds: One non-negative integer per row.
            size: Of each row, in the oracle's unit; default the declared size.
            purpose: What the measurement is for; a key for :meth:`rows`.

        Returns:
            The measurement, row by row.

        Raises:
            BudgetExhaustedError: The call does not fit in what remains; nothing of it was measured or charged.
            InvalidInputError: A row, a seed or a size is illegal; nothing was measured or charged.
        """
        began = time.perf_counter()
        try:
            return self._measure(X, seeds, size, purpose)
        finally:
            self.wall_seconds += time.perf_counter() - began

    def _measure(self, X: ArrayLike, seeds: ArrayLike, size: int | None, purpose: str) -> Measurement:
        price = self.oracle.price(X, seeds=seeds, size=size)
        x = check_rows(X, self.oracle.columns)
        s = check_seeds(seeds, len(x))
        charges = self._charges(price)
        self._check_budget(sum(charges))
        if self.store is None:
            found = self.oracle.measure(x, seeds=s, size=price.size)
            self._enter(x, s, price.references, charges, purpose, found)
            self._report(len(x), len(x))
            return found
        parts = []
        for i in range(len(x)):
            part = self._one(self.store, x[i], int(s[i]), price)
            # Charged row by row: what was finished before an interruption was asked, and counts.
            self._enter(x[i : i + 1], s[i : i + 1], price.references[i : i + 1], charges[i : i + 1], purpose, part)
            self._report(i + 1, len(x))
            parts.append(part)
        return Measurement.concatenate(parts) if parts else Measurement.empty()

    def charge(self, n: int, purpose: str = "train") -> None:
        """Charge ``n`` true evaluations that no oracle makes, for instance real environment steps.

        Raises:
            BudgetExhaustedError: They do not fit in what remains; nothing was charged.
            InvalidInputError: ``n`` is negative or no whole number.
        """
        if not float(n).is_integer() or n < 0:
            raise InvalidInputError(f"a charge is a whole number of at least 0, not {n}")
        units = int(n) * self.oracle.evaluation_size
        self._check_budget(units)
        self._spent += units
        self._charged[purpose] = self._charged.get(purpose, 0) + int(n)

    @property
    def charged(self) -> dict[str, int]:
        """True evaluations charged by :meth:`charge`, by purpose."""
        return dict(self._charged)

    def state_dict(self) -> dict[str, Any]:
        """The whole history as plain data (JSON can hold it); the measurements, exact to the bit, as base64."""
        entries = self.entries
        return {
            "identity": self.oracle.identity,
            "spent": self._spent,
            "references": sorted(self._references),
            "charged": dict(self._charged),
            "X": entries.X.tolist(),
            "seeds": entries.seeds.tolist(),
            "charge": entries.charge.tolist(),
            "purpose": entries.purpose.tolist(),
            "measurement": base64.b64encode(encode(entries.measurement)).decode(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`; the budget stays what this ledger was given.

        Raises:
            InvalidInputError: The state belongs to another oracle.
        """
        if state["identity"] != self.oracle.identity:
            raise InvalidInputError(
                f"the ledger's state is of oracle {state['identity']!r}, not {self.oracle.identity!r}"
            )
        self._spent = int(state["spent"])
        self._references = set(state["references"])
        self._charged = dict(state["charged"])
        self._recent = []
        self._entries = Rows(
            X=np.array(state["X"], dtype=np.float64).reshape(len(state["seeds"]), len(self.oracle.columns)),
            seeds=np.array(state["seeds"], dtype=np.int64),
            charge=np.array(state["charge"], dtype=np.float64),
            purpose=np.array(state["purpose"], dtype=np.str_),
            measurement=decode(base64.b64decode(state["measurement"])),
        )

    def _charges(self, price: Price) -> list[int]:
        """The charge of each row of a call, in units of size; a reference is new to the first row that uses it."""
        seen = set(self._references)
        charges = []
        for shared in price.references:
            new = set(shared.tolist()) - seen
            seen |= new
            charges.append(price.size + len(new) * price.reference_size)
        return charges

    def _check_budget(self, asked: int) -> None:
        if self.budget is None:
            return
        size = self.oracle.evaluation_size
        # The budget in units of size; the hair forgives a budget such as 0.3 its binary rounding.
        if self._spent + asked > self.budget * size * (1 + 1e-12):
            raise BudgetExhaustedError(
                f"this costs {asked / size:g} true evaluations, but only {self.remaining:g} "
                f"of the budget of {self.budget:g} remain"
            )

    def _one(self, store: Store, row: NDArray[np.float64], seed: int, price: Price) -> Measurement:
        oracle = self.oracle
        key = oracle.key(row, seed=seed, size=price.size)
        found = store.get(key)
        if found is None:
            found = oracle.measure(row[None], seeds=[seed], size=price.size)
            query = {column.name: float(value) for column, value in zip(oracle.columns, row, strict=True)}
            about = {"oracle": oracle.identity, "query": query, "seed": seed}
            found = store.put(key, found, about)
        return found

    def _enter(
        self,
        x: NDArray[np.float64],
        seeds: NDArray[np.int64],
        references: tuple[NDArray[np.int64], ...],
        charges: list[int],
        purpose: str,
        found: Measurement,
    ) -> None:
        self._spent += sum(charges)
        for shared in references:
            self._references.update(shared.tolist())
        charge = np.array(charges, dtype=np.float64) / self.oracle.evaluation_size
        self._recent.append(Rows(x.copy(), seeds.copy(), charge, np.array([purpose] * len(x), dtype=np.str_), found))

    def _report(self, done: int, asked: int) -> None:
        if self.progress is not None:
            self.progress(done, asked)


class RealSteps(Oracle):
    """In the seat of the oracle where truth is a real step: it measures nothing."""

    columns = ()
    identity = ""
    evaluation_size = 1
    unit = "steps"

    def price(self, X: ArrayLike, *, seeds: ArrayLike, size: int | None = None) -> Price:
        raise UnsupportedError(_NO_ORACLE)

    def measure(self, X: ArrayLike, *, seeds: ArrayLike, size: int | None = None) -> Measurement:
        raise UnsupportedError(_NO_ORACLE)


_NO_ORACLE = "this ledger has no oracle: it counts real steps, by charge(n, purpose)"


def _no_rows(d: int) -> Rows:
    return Rows(np.empty((0, d)), np.empty(0, np.int64), np.empty(0), np.empty(0, np.str_), Measurement.empty())


def _join(parts: list[Rows]) -> Rows:
    return Rows(
        X=np.concatenate([p.X for p in parts]),
        seeds=np.concatenate([p.seeds for p in parts]),
        charge=np.concatenate([p.charge for p in parts]),
        purpose=np.concatenate([p.purpose for p in parts]),
        measurement=Measurement.concatenate([p.measurement for p in parts]),
    )
