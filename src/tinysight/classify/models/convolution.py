"""A convolution that a CPU is quick at on small maps too."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from tinysight.classify.models.winograd import FILTER_PX, winograd_convolution

WINOGRAD_CHANNELS = 64
ROW_POSITIONS = 4
ROW_POSITIONS_WEIGHT_BF16 = 64
_MAX_ROWS = 8  # of images side by side; one row, or one for each image, takes longer


class SameConv2d(nn.Conv2d):
    """A convolution with padding ``kernel_size // 2``, no bias; as ``nn.Conv2d`` up to rounding.

    While training on a CPU it goes one of two other ways where that is quicker.

    In fp32 the multiplications are what takes the time, and for 3x3 filters of stride 1 and at
    least ``WINOGRAD_CHANNELS`` channels most of them are saved
    (:func:`~tinysight.classify.models.winograd.winograd_convolution`). Forward and backward pass,
    batches of 128, two cores with AVX2: 32 ms instead of 39 for 96 channels at 8x8 positions,
    55 instead of 93 for 128, 48 instead of 244 for 512 at 2x2
    (``benchmarks/convolution_speed.py``).

    oneDNN, which does torch's convolutions on a CPU, works through one line of one image at a
    time: on small maps, a matrix unit made for 16 positions is mostly idle. So small maps that are
    not convolved in Winograd's way are put side by side, with zeros between them, in a few rows for
    the whole batch; convolved like that, each of them still sees only its own padding. This pays
    for maps of at most ``ROW_POSITIONS`` output positions, and in bf16 for the gradients of the
    weights up to ``ROW_POSITIONS_WEIGHT_BF16``. Forward and backward pass in bf16, batches of 256,
    two cores with AMX: 14 ms instead of 84 for 512 channels at 2x2 positions, 9 instead of 18 for
    256 at 4x4, 114 instead of 159 for 512 at 8x8.

    Neither way knows ``torch.func.vmap`` or ``torch.func.jvp``; torch's own, in evaluation mode,
    does.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Odd.
        stride: Stride along both axes.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False
        )

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, ceil(H / stride), ceil(W / stride)).

        A single image, (in_channels, H, W), goes torch's own way.
        """
        if self.training:
            return _convolve(input, self.weight, self.stride[0])
        return super().forward(input)


@fx.wrap  # torch.fx takes it as one step: which way it goes depends on the input's shape
def _convolve(x: torch.Tensor, weight: torch.Tensor, stride: int) -> torch.Tensor:
    own = partial(functional.conv2d, stride=stride, padding=weight.shape[2] // 2)
    if x.device.type != "cpu" or x.ndim != 4:
        return own(x, weight)
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    if dtype == torch.float32 and stride == 1 and _winograd_pays(x, weight):
        return winograd_convolution(x, weight)
    limit = ROW_POSITIONS_WEIGHT_BF16 if dtype == torch.bfloat16 else ROW_POSITIONS
    if _positions(x, stride) > limit:
        return own(x, weight)
    return _RowConvolution.apply(x.to(dtype), weight.to(dtype), stride)  # type: ignore[no-any-return,no-untyped-call]


def _winograd_pays(x: torch.Tensor, weight: torch.Tensor) -> bool:
    return (
        weight.shape[1:] == (x.shape[1], FILTER_PX, FILTER_PX)
        and min(weight.shape[:2]) >= WINOGRAD_CHANNELS
        and min(x.shape[2:]) > 1
        and not torch.compiler.is_compiling()  # its loop would be unrolled
    )


class _RowConvolution(torch.autograd.Function):
    """Convolution of small maps, or at least its gradient of the weights, on rows of images."""

    @staticmethod
    def forward(x: torch.Tensor, weight: torch.Tensor, stride: int) -> torch.Tensor:
        padding = weight.shape[2] // 2
        if _positions(x, stride) > ROW_POSITIONS:
            return functional.conv2d(x, weight, stride=stride, padding=padding)
        rows = functional.conv2d(
            _side_by_side(x, _pitch(x, padding, stride)), weight, stride=stride, padding=padding
        )
        return _taken_apart(rows, len(x), -(-x.shape[3] // stride))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor, int], _: Any) -> None:
        x, weight, ctx.stride = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(
        ctx: Any, *grads: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        (grad,) = grads
        x, weight = ctx.saved_tensors
        stride, padding = ctx.stride, weight.shape[2] // 2
        needs_x, needs_weight = ctx.needs_input_grad[:2]
        grad_x = grad_weight = None
        is_x_in_rows = _positions(x, stride) <= ROW_POSITIONS
        if needs_x and not is_x_in_rows:
            grad_x, _ = _gradients(grad, x, weight, stride, (True, False))
        if needs_weight or (needs_x and is_x_in_rows):
            pitch = _pitch(x, padding, stride)
            grad_rows, grad_weight = _gradients(
                _side_by_side(grad, pitch // stride),
                _side_by_side(x, pitch),
                weight,
                stride,
                (needs_x and is_x_in_rows, needs_weight),
            )
            if grad_rows is not None:
                grad_x = _taken_apart(grad_rows, len(x), x.shape[3])
        return grad_x, grad_weight, None


def _gradients(
    grad: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    stride: int,
    wanted: tuple[bool, bool],
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    padding = weight.shape[2] // 2
    grad_x, grad_weight, _ = torch.ops.aten.convolution_backward(
        grad,
        x,
        weight,
        bias_sizes=None,
        stride=[stride] * 2,
        padding=[padding] * 2,
        dilation=[1, 1],
        transposed=False,
        output_padding=[0, 0],
        groups=1,
        output_mask=[*wanted, False],
    )
    return grad_x, grad_weight


def _positions(x: torch.Tensor, stride: int) -> int:
    height, width = x.shape[2:]
    return -(-height // stride) * -(-width // stride)


def _pitch(x: torch.Tensor, padding: int, stride: int) -> int:
    """Columns from one image to the next: a whole number of strides, room for the padding."""
    return -(-(x.shape[3] + padding) // stride) * stride


def _side_by_side(images: torch.Tensor, pitch: int) -> torch.Tensor:
    """Arrange (B, C, H, W) in rows, (R, C, H, B / R x pitch), channels last, zeros between."""
    num_rows = math.gcd(len(images), _MAX_ROWS)
    rows = images.permute(0, 2, 3, 1).unflatten(0, (num_rows, -1)).transpose(1, 2)
    rows = functional.pad(rows, (0, 0, 0, pitch - images.shape[3]))  # (R, H, B / R, pitch, C)
    return rows.flatten(2, 3).permute(0, 3, 1, 2)


def _taken_apart(rows: torch.Tensor, num_images: int, width: int) -> torch.Tensor:
    """Undo :func:`_side_by_side`: return (num_images, C, H, width), channels last."""
    rows = rows.permute(0, 2, 3, 1).unflatten(2, (num_images // len(rows), -1))
    images = rows[:, :, :, :width].transpose(1, 2).flatten(0, 1).permute(0, 3, 1, 2)
    return images.contiguous(memory_format=torch.channels_last)
