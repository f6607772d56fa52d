"""One thread where bits matter: the order of a sum's terms, and with it its last bits, depend on how many share it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """One thread for torch alone; cheap enough for every evaluation."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch and for the linear algebra of numpy and scipy, as far as it is loaded; for a whole run."""
    with one_torch_thread(), threadpool_limits(1):
        yield
