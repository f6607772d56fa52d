"""One thread, for torch and for linear algebra, and back again: published runs have the same bits on any machine."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from mbrl_split.threads import one_thread, one_torch_thread


def blas_threads():
    assert np.linalg.norm(np.ones(3)) > 1  # linear algebra is loaded
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.mark.parametrize("failing", [False, True])
def test_one_thread_and_back(failing):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with threadpool_limits(2, user_api="blas"):
            outside = blas_threads()
            assert outside == {2}, "the test needs a library whose threads can be set"
            try:
                with one_thread():
                    assert (torch.get_num_threads(), blas_threads()) == (1, {1})
                    if failing:
                        raise ArithmeticError
            except ArithmeticError:
                assert failing
            assert (torch.get_num_threads(), blas_threads()) == (3, outside)
            with one_torch_thread():
                assert (torch.get_num_threads(), blas_threads()) == (1, outside)
    finally:
        torch.set_num_threads(before)
