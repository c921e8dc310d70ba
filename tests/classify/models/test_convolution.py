from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import fx, nn
from torch.nn import functional

from tinysight.classify.models.convolution import TINY_MAP_POSITIONS, Conv3x3


def random_tensor(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=dtype)


def convolution(
    in_channels: int, out_channels: int, stride: int, dtype: torch.dtype = torch.float64
) -> Conv3x3:
    layer = Conv3x3(in_channels, out_channels, stride=stride)
    layer.weight.data = random_tensor(out_channels, in_channels, 3, 3, seed=1, dtype=dtype)
    return layer


@settings(deadline=None)
@given(
    batch=st.integers(1, 4),
    channels=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    size_hw=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    stride=st.integers(1, 3),
    is_channels_last=st.booleans(),
)
def test_output_and_gradients_are_those_of_torchs_convolution(
    batch: int,
    channels: tuple[int, int],
    size_hw: tuple[int, int],
    stride: int,
    is_channels_last: bool,
) -> None:
    memory_format = torch.channels_last if is_channels_last else torch.contiguous_format
    layer = convolution(*channels, stride).to(memory_format=memory_format)
    x = random_tensor(batch, channels[0], *size_hw).to(memory_format=memory_format)
    x.requires_grad_()

    output = layer(x)
    expected = functional.conv2d(x, layer.weight, stride=stride, padding=1)
    torch.testing.assert_close(output, expected, rtol=1e-12, atol=1e-12)

    upstream = random_tensor(*output.shape, seed=2)
    inputs = (x, layer.weight)
    found = torch.autograd.grad(output, inputs, upstream)
    torch.testing.assert_close(
        found, torch.autograd.grad(expected, inputs, upstream), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize(
    ("size_px", "stride", "training", "is_matrix_product"),
    [
        (2, 1, True, True),
        (4, 2, True, True),
        (3, 1, True, False),
        (4, 1, True, False),
        (2, 1, False, False),
    ],
)
def test_only_tiny_maps_in_training_become_a_matrix_product(
    size_px: int, stride: int, training: bool, is_matrix_product: bool
) -> None:
    layer = convolution(2, 3, stride).train(training)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        layer(random_tensor(2, 2, size_px, size_px))
    operations = {event.key for event in profile.key_averages()}
    assert ("aten::linear" in operations) == is_matrix_product
    assert ("aten::conv2d" in operations) != is_matrix_product
    assert ((-(-size_px // stride)) ** 2 <= TINY_MAP_POSITIONS) == (
        is_matrix_product or not training
    )


def test_a_tiny_map_keeps_channels_last_and_the_precision_of_autocast() -> None:
    layer = convolution(16, 8, 1, torch.float32).to(memory_format=torch.channels_last)
    x = random_tensor(4, 16, 2, 2, dtype=torch.bfloat16)
    x = x.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = layer(x)
        expected = layer.eval()(x)
    assert output.dtype == torch.bfloat16
    assert output.is_contiguous(memory_format=torch.channels_last)
    largest = float(expected.detach().abs().max())
    torch.testing.assert_close(output, expected, rtol=1e-2, atol=1e-2 * largest)


@pytest.mark.parametrize("training", [True, False])
def test_torch_fx_traces_it_whatever_the_shape_will_be(training: bool) -> None:
    model = nn.Sequential(convolution(2, 2, 2), nn.ReLU(), convolution(2, 2, 1)).train(training)
    traced = fx.symbolic_trace(model)
    for size_px in (3, 9):
        x = random_tensor(2, 2, size_px, size_px)
        torch.testing.assert_close(traced(x), model(x), rtol=1e-12, atol=1e-12)


def test_hooks_see_it_as_any_convolution() -> None:
    layer = convolution(2, 2, 1)
    seen: list[torch.Size] = []
    layer.register_forward_hook(lambda _, __, output: seen.append(output.shape))
    layer.register_full_backward_hook(lambda _, __, grads: seen.append(grads[0].shape))
    layer(random_tensor(2, 2, 2, 2).requires_grad_()).sum().backward()
    assert seen == [torch.Size((2, 2, 2, 2))] * 2
    assert isinstance(layer, nn.Conv2d)
    assert list(layer.state_dict()) == ["weight"]
