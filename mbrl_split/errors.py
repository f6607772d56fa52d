"""What the library raises when the input is wrong: one line that says what, where, and what would be right."""

from __future__ import annotations


class MbrlSplitError(Exception):
    """Base class of the library's own errors; the command line prints the message alone and exits with code 2."""


class InvalidInputError(MbrlSplitError, ValueError):
    """The caller's input cannot be used; nothing was done and nothing was lost."""


class BudgetExhaustedError(MbrlSplitError):
    """The ledger's budget does not allow the measurement; nothing was measured and nothing was charged."""


class UnsupportedError(MbrlSplitError):
    """A model, file or environment that the library cannot treat correctly, and therefore not at all."""
