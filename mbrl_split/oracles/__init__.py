"""The true, costly measurement: oracles, the ledger that counts and caps them, and the durable store."""

from mbrl_split.oracles.base import Measurement, Oracle, Price
from mbrl_split.oracles.conformance import check_oracle
from mbrl_split.oracles.function import FunctionOracle
from mbrl_split.oracles.ledger import Ledger, Rows
from mbrl_split.oracles.metered import Metered
from mbrl_split.oracles.store import FileStore, SqliteStore, Store, open_store

__all__ = [
    "FileStore",
    "FunctionOracle",
    "Ledger",
    "Measurement",
    "Metered",
    "Oracle",
    "Price",
    "Rows",
    "SqliteStore",
    "Store",
    "check_oracle",
    "open_store",
]
