from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import fx, nn

from tinysight.classify.models import convolution as module
from tinysight.classify.models.convolution import SameConv2d


def random_tensor(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=dtype)


def random_signs(*shape: int, seed: int = 0) -> torch.Tensor:
    """-1, 0 and 1 in bf16: sums of their products are exact in any order."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-1, 2, shape, generator=generator).bfloat16()


def convolution(
    in_channels: int,
    out_channels: int,
    stride: int,
    dtype: torch.dtype = torch.float64,
    kernel_size: int = 3,
) -> SameConv2d:
    layer = SameConv2d(in_channels, out_channels, kernel_size, stride=stride)
    shape = (out_channels, in_channels, kernel_size, kernel_size)
    layer.weight.data = random_tensor(*shape, seed=1, dtype=dtype)
    return layer


def gradients(
    layer: nn.Module, x: torch.Tensor, upstream: torch.Tensor
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """Return the output, and the gradients of the input and of the weights."""
    x = x.detach().requires_grad_()
    output = layer(x)
    return output, torch.autograd.grad(output, (x, *layer.parameters()), upstream)


def torchs_own(layer: SameConv2d) -> nn.Conv2d:
    size, stride = layer.kernel_size[0], layer.stride[0]
    own = nn.Conv2d(layer.in_channels, layer.out_channels, size, stride, size // 2, bias=False)
    own.weight.data = layer.weight.data
    return own


geometry = {
    "batch": st.integers(1, 17),
    "channels": st.tuples(st.integers(1, 5), st.integers(1, 5)),
    "size_hw": st.tuples(st.integers(1, 6), st.integers(1, 6)),
    "kernel_size": st.sampled_from([1, 3, 5]),
    "stride": st.integers(1, 3),
    "is_channels_last": st.booleans(),
}


@settings(deadline=None)
@given(**geometry)
def test_output_and_gradients_are_those_of_torchs_convolution(
    batch: int,
    channels: tuple[int, int],
    size_hw: tuple[int, int],
    kernel_size: int,
    stride: int,
    is_channels_last: bool,
) -> None:
    memory_format = torch.channels_last if is_channels_last else torch.contiguous_format
    layer = convolution(*channels, stride, kernel_size=kernel_size).to(memory_format=memory_format)
    x = random_tensor(batch, channels[0], *size_hw).to(memory_format=memory_format)
    upstream = random_tensor(*layer(x).shape, seed=2)
    torch.testing.assert_close(
        gradients(layer, x, upstream),
        gradients(torchs_own(layer), x, upstream),
        rtol=1e-12,
        atol=1e-12,
    )


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_single_image_is_convolved_as_torch_does(is_training: bool, stride: int) -> None:
    layer = convolution(2, 3, stride).train(is_training)
    image = random_tensor(2, 4, 4)
    upstream = random_tensor(*torchs_own(layer)(image).shape, seed=2)
    torch.testing.assert_close(
        gradients(layer, image, upstream), gradients(torchs_own(layer), image, upstream)
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # torch.func uses torch.jit
def test_a_layer_in_evaluation_mode_can_be_mapped_and_pushed_forward() -> None:
    layer = convolution(2, 3, 1).eval()
    batches = random_tensor(3, 2, 2, 2, 2)
    mapped = torch.func.vmap(layer)(batches)
    torch.testing.assert_close(mapped, torch.stack([layer(batch) for batch in batches]))
    _, moved = torch.func.jvp(layer, (batches[0],), (batches[1],))
    torch.testing.assert_close(moved, layer(batches[1]))


# Square maps, and the reference in float64: in bf16 torch's own gradients hold values of memory
# never written to where a strided convolution leaves a single column (torch 2.13, oneDNN).
@settings(deadline=None, max_examples=50)
@given(**geometry | {"size_hw": st.integers(1, 9).map(lambda size_px: (size_px, size_px))})
def test_in_bf16_they_are_exact_where_the_sums_are(
    batch: int,
    channels: tuple[int, int],
    size_hw: tuple[int, int],
    kernel_size: int,
    stride: int,
    is_channels_last: bool,
) -> None:
    memory_format = torch.channels_last if is_channels_last else torch.contiguous_format
    layer = SameConv2d(*channels, kernel_size, stride=stride)
    layer.weight.data = random_signs(*layer.weight.shape, seed=1).to(memory_format=memory_format)
    x = random_signs(batch, channels[0], *size_hw).to(memory_format=memory_format)
    upstream = random_signs(*layer(x).shape, seed=2)
    found = gradients(layer, x, upstream)
    expected = gradients(torchs_own(layer).double(), x.double(), upstream.double())
    assert found[0].dtype == torch.bfloat16
    torch.testing.assert_close(found, expected, rtol=0, atol=0, check_dtype=False)


@pytest.mark.parametrize(
    ("size_px", "stride", "dtype", "in_rows"),
    [
        (2, 1, torch.float32, "all"),
        (4, 2, torch.float32, "all"),
        (3, 1, torch.float32, "nothing"),
        (2, 1, torch.bfloat16, "all"),
        (3, 1, torch.bfloat16, "weight"),
        (16, 2, torch.bfloat16, "weight"),
        (9, 1, torch.bfloat16, "nothing"),
    ],
)
def test_small_maps_are_put_in_rows_while_training(
    monkeypatch: pytest.MonkeyPatch, size_px: int, stride: int, dtype: torch.dtype, in_rows: str
) -> None:
    arranged: list[tuple[int, ...]] = []
    side_by_side = module._side_by_side

    def watched(images: torch.Tensor, pitch: int) -> torch.Tensor:
        rows = side_by_side(images, pitch)
        arranged.append(tuple(rows.shape))
        return rows

    monkeypatch.setattr(module, "_side_by_side", watched)
    layer = convolution(2, 3, stride, dtype)
    x = random_tensor(16, 2, size_px, size_px, dtype=dtype).requires_grad_()
    output = layer(x)
    pitch = size_px + stride if stride > 1 else size_px + 1
    x_in_rows = (8, 2, size_px, 2 * pitch)
    grad_in_rows = (8, 3, size_px // stride, 2 * pitch // stride)
    assert arranged == ([x_in_rows] if in_rows == "all" else [])

    arranged.clear()
    output.sum().backward()
    assert arranged == ([] if in_rows == "nothing" else [grad_in_rows, x_in_rows])

    arranged.clear()
    layer.eval()(x).sum().backward()
    assert arranged == []


def test_other_devices_use_torchs_own() -> None:
    layer = convolution(2, 3, 2).to("meta")
    assert layer(torch.empty(2, 2, 4, 4, dtype=torch.float64, device="meta")).shape == (2, 3, 2, 2)


@pytest.mark.parametrize("frozen", ["input", "weight"])
@pytest.mark.parametrize(("size_px", "stride"), [(2, 1), (8, 1), (8, 2)])
def test_what_needs_no_gradient_gets_none(frozen: str, size_px: int, stride: int) -> None:
    layer = convolution(2, 3, stride, torch.bfloat16)
    x = random_tensor(2, 2, size_px, size_px, dtype=torch.bfloat16)
    (x if frozen == "weight" else layer.weight).requires_grad_()
    (layer.weight if frozen == "weight" else x).requires_grad_(False)
    layer(x).sum().backward()
    assert (x.grad is None) == (frozen == "input")
    assert (layer.weight.grad is None) == (frozen == "weight")


def test_second_derivatives_exist_too() -> None:
    layer = convolution(2, 2, 1)
    x = random_tensor(1, 2, 2, 2).requires_grad_()
    weight = layer.weight.detach().requires_grad_()

    def convolve(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, {"weight": weight}, (x,))

    assert torch.autograd.gradgradcheck(convolve, (x, weight))


@pytest.mark.parametrize("size_px", [2, 8, 20])
def test_gradients_repeat_bit_for_bit_and_keep_the_layout_of_the_weights(size_px: int) -> None:
    layer = convolution(16, 32, 1, torch.bfloat16).to(memory_format=torch.channels_last)
    x = random_tensor(24, 16, size_px, size_px, dtype=torch.bfloat16)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    runs: list[Any] = []
    for _ in range(3):
        x.grad = layer.weight.grad = None
        layer(x).square().sum().backward()
        assert x.grad is not None
        assert layer.weight.grad is not None
        runs.append((x.grad, layer.weight.grad))
    assert runs[0][1].stride() == layer.weight.stride()
    for run in runs[1:]:
        torch.testing.assert_close(run, runs[0], rtol=0, atol=0)


# Dynamo makes an instance of the autograd function for itself, which torch deprecates.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0")
@pytest.mark.parametrize(("size_px", "stride"), [(2, 1), (8, 2), (12, 1)])
def test_torch_compile_takes_it_in_one_graph_with_the_same_numbers(
    size_px: int, stride: int
) -> None:
    layer = convolution(3, 4, stride, torch.float32)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    x = random_tensor(8, 3, size_px, size_px, dtype=torch.float32)
    found = []
    for network in (layer, compiled):
        x.grad = layer.weight.grad = None
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = network(x.requires_grad_())
        output.float().square().sum().backward()
        found.append((output, x.grad, layer.weight.grad))
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)


@pytest.mark.parametrize("size_px", [2, 4])
def test_it_keeps_channels_last_and_the_precision_of_autocast(size_px: int) -> None:
    layer = convolution(16, 8, 1, torch.float32).to(memory_format=torch.channels_last)
    x = random_tensor(4, 16, size_px, size_px, dtype=torch.float32)
    x = x.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = layer(x)
        expected = copy.deepcopy(layer).eval()(x)
    assert output.dtype == torch.bfloat16
    assert output.is_contiguous(memory_format=torch.channels_last)
    largest = float(expected.detach().abs().max())
    torch.testing.assert_close(output, expected, rtol=1e-2, atol=1e-2 * largest)
    output.sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32


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
