"""The true, costly measurement: oracles, the ledger that counts and caps them, and the durable store."""

from mbrl_split.oracles.base import WINDOW_DTYPE, Measurement, Oracle, Price
from mbrl_split.oracles.conformance import check_oracle
from mbrl_split.oracles.families import FAMILIES, family_of
from mbrl_split.oracles.function import FunctionOracle
from mbrl_split.oracles.ledger import Ledger, Rows
from mbrl_split.oracles.perplexity import PerplexityOracle
from mbrl_split.oracles.plan import Plan, build_table, default_levels, measure, plan_from, print_progress
from mbrl_split.oracles.store import FileStore, SqliteStore, Store, open_store
from mbrl_split.oracles.table import TableOracle
from mbrl_split.oracles.table_file import TableData, read_table, table_path

__all__ = [
    "FAMILIES",
    "WINDOW_DTYPE",
    "FileStore",
    "FunctionOracle",
    "Ledger",
    "Measurement",
    "Oracle",
    "PerplexityOracle",
    "Plan",
    "Price",
    "Rows",
    "SqliteStore",
    "Store",
    "TableData",
    "TableOracle",
    "build_table",
    "check_oracle",
    "default_levels",
    "family_of",
    "measure",
    "open_store",
    "plan_from",
    "print_progress",
    "read_table",
    "table_path",
]
