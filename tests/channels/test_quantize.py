"""Quantised transmission: bounds, scales, exact cases."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mbrl_split import InvalidInputError
from mbrl_split.channels import Quantize


def hidden(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def send(x: torch.Tensor, *arguments: Any) -> torch.Tensor:
    return Quantize(*arguments)(x, seeds=range(len(x)))


@given(bits=st.sampled_from([2, 4, 8, 16]), magnitude=st.floats(1e-20, 1e20), seed=st.integers(0, 1000))
@settings(deadline=None)
def test_the_error_is_at_most_half_a_step(bits: int, magnitude: float, seed: int) -> None:
    x = hidden(2, 3, 16, seed=seed) * magnitude
    for scale, axes in (("token", (-1,)), ("tensor", (-2, -1))):
        step = x.abs().amax(axes, keepdim=True) / (2 ** (bits - 1) - 1)
        assert bool(((send(x, bits, scale) - x).abs() <= step * (0.5 + 1e-2)).all())
    # the bound is met, not missed by far
    assert (
        float(((send(x, bits, "token") - x).abs() / (x.abs().amax(-1, keepdim=True) / (2 ** (bits - 1) - 1))).max())
        > 0.3
    )


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("scale", ["token", "tensor"])
def test_at_most_2_to_the_bits_minus_1_levels(bits: int, scale: Any) -> None:
    y = send(hidden(1, 1, 4096), bits, scale)
    assert len(y.unique()) <= 2**bits - 1
    torch.testing.assert_close(send(y, bits, scale), y)  # sending the result again changes nothing
    torch.testing.assert_close(send(-y, bits, scale), -y)


def test_whole_numbers_that_fit_are_exact() -> None:
    x = torch.arange(-127.0, 128.0)[None, None]
    assert torch.equal(send(x, 8), x)
    x = torch.arange(-7.0, 8.0)[None, None]
    assert torch.equal(send(x, 4), x)


def test_a_massive_activation_drowns_the_other_tokens_with_one_scale_per_tensor() -> None:
    x = hidden(1, 8, 64)
    x[0, 0, 5] = 23_500.0
    per_token, per_tensor = send(x, 8, "token"), send(x, 8, "tensor")
    assert not per_tensor[0, 1:].any()
    assert float((per_token - x)[0, 1:].square().mean()) < 1e-3


@pytest.mark.parametrize(("bits", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_shorter_floats(bits: Any, dtype: torch.dtype) -> None:
    x = hidden(2, 3, 16)
    assert torch.equal(send(x, bits), x.to(dtype).float())
    largest = torch.finfo(dtype).max
    huge = torch.tensor([[[3.0e38, -3.4e38, 1.0]]], dtype=torch.float64) * 10
    assert send(huge, bits).tolist() == [[[largest, -largest, 10.0]]]


@pytest.mark.parametrize("bits", [16, 8, 4, "fp16", "bf16"])
def test_zeros_stay_zeros(bits: Any) -> None:
    assert torch.equal(send(torch.zeros(1, 2, 4), bits), torch.zeros(1, 2, 4))


def test_the_smallest_floats_do_not_divide_by_zero() -> None:
    assert send(torch.full((1, 1, 4), 1e-45), 8).isfinite().all()


@pytest.mark.parametrize("arguments", [(1,), (17,), (8.0,), ("int8",), (True,), (8, "row")])
def test_unknown_forms_are_refused(arguments: Any) -> None:
    with pytest.raises(InvalidInputError):
        Quantize(*arguments)
