"""A 3x3 convolution that a CPU is quick at on maps of a few positions too."""

from __future__ import annotations

import torch
from torch import fx, nn
from torch.nn import functional

TINY_MAP_POSITIONS = 4


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution with padding 1 and without bias; the same numbers as ``nn.Conv2d``.

    oneDNN, which does torch's convolutions on a CPU, works on one image at a time: with 2x2
    positions an image, a matrix unit made for 16 rows is mostly idle. While training on a CPU,
    maps of at most ``TINY_MAP_POSITIONS`` output positions therefore go through one matrix product
    for the whole batch. For 512 channels, 2x2 positions and batches of 256 in bf16 that takes
    20 ms instead of 89 ms, forward and backward; from 4x4 positions on it does not pay.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Stride along both axes.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, stride, padding=1, bias=False)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, ceil(H / stride), ceil(W / stride))."""
        if self.training:
            return _convolve(input, self.weight, self.stride[0])
        return super().forward(input)


@fx.wrap  # torch.fx takes it as one step: which way it goes depends on the input's shape
def _convolve(x: torch.Tensor, weight: torch.Tensor, stride: int) -> torch.Tensor:
    height, width = (-(-size // stride) for size in x.shape[2:])
    if x.device.type != "cpu" or height * width > TINY_MAP_POSITIONS:
        return functional.conv2d(x, weight, stride=stride, padding=1)
    padded = functional.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1)  # (B, H + 2, W + 2, C)
    rows, columns = (stride * (size - 1) + 1 for size in (height, width))
    taps = [
        padded[:, top : top + rows : stride, left : left + columns : stride]
        for top in range(3)
        for left in range(3)
    ]
    patches = torch.cat(taps, dim=3)  # (B, height, width, 9 C), in the order of the filters below
    return functional.linear(patches, weight.permute(0, 2, 3, 1).flatten(1)).permute(0, 3, 1, 2)
