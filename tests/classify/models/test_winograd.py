from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from tests.classify.models.test_convolution import random_tensor
from tinysight.classify.models import winograd as module
from tinysight.classify.models.convolution import WINOGRAD_CHANNELS, SameConv2d
from tinysight.classify.models.winograd import (
    TILE_PX,
    tile_transforms,
    transforms_of_one_axis,
    winograd_convolution,
)


@pytest.mark.parametrize("tile_px", TILE_PX)
def test_transforms_give_the_output_of_a_tile_exactly(tile_px: int) -> None:
    inputs, filters, outputs = transforms_of_one_axis(tile_px)
    assert (inputs.shape, filters.shape, outputs.shape) == (
        (tile_px + 2, tile_px + 2),
        (tile_px + 2, 3),
        (tile_px, tile_px + 2),
    )
    # An identity of polynomials in g and d: it holds if it holds for all pairs of unit vectors.
    for tap in range(3):
        for place in range(tile_px + 2):
            products = filters[:, tap] * inputs[:, place]
            expected = [Fraction(int(place == start + tap)) for start in range(tile_px)]
            assert list(outputs @ products) == expected


def test_transforms_of_two_places_are_those_of_lavin_and_gray() -> None:
    inputs, filters, outputs = transforms_of_one_axis(2)
    # Equations 3 and 4 of arXiv:1509.09308, up to the signs of rows that cancel.
    half = Fraction(1, 2)
    assert np.abs(inputs).tolist() == [[1, 0, 1, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 0, 1]]
    assert np.abs(filters).tolist() == [[1, 0, 0], [half] * 3, [half] * 3, [0, 0, 1]]
    assert np.abs(outputs).tolist() == [[1, 1, 1, 0], [0, 1, 1, 1]]


def results(convolve: Any, x: torch.Tensor, weight: torch.Tensor, upstream: torch.Tensor) -> Any:
    x, weight = x.detach().requires_grad_(), weight.detach().requires_grad_()
    output = convolve(x, weight)
    return output, *torch.autograd.grad(output, (x, weight), upstream)


def torchs_own(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return functional.conv2d(x, weight, padding=1)


@settings(deadline=None)
@given(
    batch=st.integers(1, 9),
    channels=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    size_hw=st.tuples(st.integers(1, 13), st.integers(1, 13)),
    values_at_once=st.sampled_from([1, 500, 3000, 1 << 20]),
    is_channels_last=st.booleans(),
)
def test_output_and_gradients_are_those_of_torchs_convolution(
    batch: int,
    channels: tuple[int, int],
    size_hw: tuple[int, int],
    values_at_once: int,
    is_channels_last: bool,
) -> None:
    memory_format = torch.channels_last if is_channels_last else torch.contiguous_format
    x = random_tensor(batch, channels[0], *size_hw).to(memory_format=memory_format)
    weight = random_tensor(channels[1], channels[0], 3, 3, seed=1).to(memory_format=memory_format)
    upstream = random_tensor(batch, channels[1], *size_hw, seed=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_VALUES_AT_ONCE", values_at_once)
        found = results(winograd_convolution, x, weight, upstream)
    expected = results(torchs_own, x, weight, upstream)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("size_px", [2, 3, 4, 6, 8, 16])
def test_in_fp32_they_are_as_near_as_it_says(size_px: int) -> None:
    maps = [
        random_tensor(8, 64, size_px, size_px, seed=seed, dtype=torch.float32) for seed in (0, 2)
    ]
    weight = random_tensor(64, 64, 3, 3, seed=1, dtype=torch.float32)
    found = results(winograd_convolution, maps[0], weight, maps[1])
    exact = results(torchs_own, maps[0].double(), weight.double(), maps[1].double())
    for ours, reference in zip(found, exact, strict=True):
        assert (ours - reference).abs().max() < 2e-5 * reference.abs().max()


@pytest.mark.parametrize(
    ("size_px", "tile_px"),
    [(1, 2), (2, 2), (3, 3), (4, 4), (5, 3), (6, 3), (7, 4), (8, 4), (12, 4)],
)
def test_tiles_are_those_with_the_fewest_multiplications(size_px: int, tile_px: int) -> None:
    assert module._Grid.of(size_px, size_px).tile_px == tile_px


def test_first_and_second_derivatives_are_those_of_differences() -> None:
    x = random_tensor(2, 2, 4, 5).requires_grad_()
    weight = random_tensor(3, 2, 3, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(winograd_convolution, (x, weight))
    assert torch.autograd.gradgradcheck(winograd_convolution, (x, weight))


@pytest.mark.parametrize("wanted", [(True, False), (False, True)])
def test_gradients_that_are_not_wanted_are_not_made(
    monkeypatch: pytest.MonkeyPatch, wanted: tuple[bool, bool]
) -> None:
    made: list[tuple[bool, bool]] = []
    gradients = module._gradients

    def watched(*arguments: Any) -> Any:
        found = gradients(*arguments)
        made.append((found[0] is not None, found[1] is not None))
        return found

    monkeypatch.setattr(module, "_gradients", watched)
    x, weight = random_tensor(2, 2, 4, 4), random_tensor(3, 2, 3, 3, seed=1)
    leaf = (x if wanted[0] else weight).requires_grad_()
    winograd_convolution(x, weight).sum().backward()
    found, leaf.grad = leaf.grad, None
    torchs_own(x, weight).sum().backward()
    assert made == [wanted]
    torch.testing.assert_close(found, leaf.grad)


def test_without_gradients_the_transformed_input_is_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_VALUES_AT_ONCE", 1)
    x, weight = random_tensor(5, 2, 4, 4), random_tensor(3, 2, 3, 3, seed=1)
    output, tiles, _ = module._convolved(x, weight, is_differentiated=False)
    assert len(tiles) == 1
    with torch.no_grad():
        found = winograd_convolution(x, weight)
    torch.testing.assert_close(found, torchs_own(x, weight))
    assert torch.equal(found, output.permute(0, 3, 1, 2))


@pytest.mark.parametrize("size_px", [4, 7])
def test_a_large_transformed_input_is_not_kept_but_made_again(
    size_px: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, weight = random_tensor(5, 2, size_px, size_px), random_tensor(3, 2, 3, 3, seed=1)
    upstream = random_tensor(5, 3, size_px, size_px, seed=2)
    monkeypatch.setattr(module, "_VALUES_AT_ONCE", 2 * 36 * 2)  # two images of one tile each
    kept = results(winograd_convolution, x, weight, upstream)
    monkeypatch.setattr(module, "_VALUES_KEPT", 0)
    assert len(module._convolved(x, weight, is_differentiated=True)[1]) < len(x)
    again = results(winograd_convolution, x, weight, upstream)
    torch.testing.assert_close(again, kept, rtol=0, atol=0)


def test_an_activation_may_write_over_its_output() -> None:
    x, weight = random_tensor(2, 2, 4, 4), random_tensor(3, 2, 3, 3, seed=1)
    found, expected = (
        torch.autograd.grad(convolve(x, weight.requires_grad_()).relu_().sum(), weight)
        for convolve in (winograd_convolution, torchs_own)
    )
    torch.testing.assert_close(found, expected)


def test_autocast_around_the_backward_pass_changes_nothing() -> None:
    x = random_tensor(2, 64, 4, 4, dtype=torch.float32)
    weight = random_tensor(64, 64, 3, 3, seed=1, dtype=torch.float32).requires_grad_()
    (expected,) = torch.autograd.grad(winograd_convolution(x, weight).square().sum(), weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = winograd_convolution(x, weight)
        (found,) = torch.autograd.grad(output.square().sum(), weight)
    assert output.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_wrong_number_of_channels_is_torchs_fault_to_tell() -> None:
    layer = SameConv2d(WINOGRAD_CHANNELS, WINOGRAD_CHANNELS, 3)
    with pytest.raises(RuntimeError, match="to have 64 channels, but got 32 channels"):
        layer(torch.zeros(1, 32, 4, 4))


def test_transforms_are_made_once() -> None:
    assert tile_transforms(4, torch.float32) is tile_transforms(4, torch.float32)


class Watched:
    """Counts the calls, and passes them on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        monkeypatch.setattr(
            "tinysight.classify.models.convolution.winograd_convolution", self._convolve
        )

    def _convolve(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return winograd_convolution(x, weight)


@pytest.mark.parametrize(
    ("channels", "size_px", "kernel_size", "stride", "dtype", "is_used"),
    [
        (WINOGRAD_CHANNELS, 2, 3, 1, torch.float32, True),
        (WINOGRAD_CHANNELS, 9, 3, 1, torch.float32, True),
        (WINOGRAD_CHANNELS - 1, 9, 3, 1, torch.float32, False),
        (WINOGRAD_CHANNELS, 1, 3, 1, torch.float32, False),
        (WINOGRAD_CHANNELS, 9, 1, 1, torch.float32, False),
        (WINOGRAD_CHANNELS, 9, 3, 2, torch.float32, False),
        (WINOGRAD_CHANNELS, 9, 3, 1, torch.float64, False),
        (WINOGRAD_CHANNELS, 9, 3, 1, torch.bfloat16, False),
    ],
)
def test_training_in_fp32_uses_it_where_it_pays(
    monkeypatch: pytest.MonkeyPatch,
    channels: int,
    size_px: int,
    kernel_size: int,
    stride: int,
    dtype: torch.dtype,
    is_used: bool,
) -> None:
    watched = Watched(monkeypatch)
    layer = SameConv2d(channels, channels, kernel_size, stride=stride).to(dtype)
    x = random_tensor(2, channels, size_px, size_px, dtype=dtype)
    output = layer(x)
    assert watched.calls == int(is_used)
    expected = layer.eval()(x)
    assert watched.calls == int(is_used)
    tolerance = 2e-2 if dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(output, expected, rtol=tolerance, atol=tolerance)


def test_bf16_by_autocast_does_not_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    layer = SameConv2d(WINOGRAD_CHANNELS, WINOGRAD_CHANNELS, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer(random_tensor(2, WINOGRAD_CHANNELS, 4, 4, dtype=torch.float32))
    assert watched.calls == 0


# Dynamo makes an instance of the autograd function for itself, which torch deprecates.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0")
def test_compiled_networks_do_not_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    layer = SameConv2d(WINOGRAD_CHANNELS, WINOGRAD_CHANNELS, 3)
    x = random_tensor(2, WINOGRAD_CHANNELS, 4, 4, dtype=torch.float32)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    output = compiled(x)
    assert watched.calls == 0
    torch.testing.assert_close(output, layer.eval()(x), rtol=0, atol=0)


def test_results_repeat_bit_for_bit_and_are_channels_last() -> None:
    layer = SameConv2d(96, 64, 3).to(memory_format=torch.channels_last)
    x = random_tensor(40, 96, 6, 6, dtype=torch.float32)
    x = x.contiguous(memory_format=torch.channels_last)
    upstream = random_tensor(40, 64, 6, 6, seed=2, dtype=torch.float32)
    runs = [results(winograd_convolution, x, layer.weight, upstream) for _ in range(3)]
    assert runs[0][0].is_contiguous(memory_format=torch.channels_last)
    assert runs[0][1].is_contiguous(memory_format=torch.channels_last)
    for run in runs[1:]:
        torch.testing.assert_close(run, runs[0], rtol=0, atol=0)


def test_no_image_is_no_fault() -> None:
    weight = torch.empty(3, 2, 3, 3).requires_grad_()
    output = winograd_convolution(torch.empty(0, 2, 4, 4), weight)
    assert output.shape == (0, 3, 4, 4)
    output.sum().backward()
    assert torch.equal(weight.grad, torch.zeros_like(weight))
