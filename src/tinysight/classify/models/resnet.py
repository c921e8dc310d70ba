"""Residual networks with basic blocks, for images from 32x32 up.

Parameters carry torchvision's names (``conv1``, ``layer1.0.conv1``, ``fc``), so weights can be
compared or exchanged by name. Every activation is a module of its own, used once: a hook on any
of them sees one tensor a forward pass, and none of them writes over its input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from tinysight.classify.models.convolution import SameConv2d


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: ``relu(residual(x) + shortcut(x))``.

    The shortcut (``downsample``) is the identity, or a 1x1 convolution with batch norm where the
    shape changes, strided or behind an average pooling.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Stride of the first convolution and of the shortcut.
        pools_shortcut: Whether the shortcut takes the mean of each stride x stride positions; it
            sees one of them otherwise.

    Source:
        He et al. 2016, Deep Residual Learning for Image Recognition, section 3.3, option B
        (arXiv:1512.03385); He et al. 2019, Bag of Tricks, section 4.2, ResNet-D, for the pooling
        (arXiv:1812.01187).
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int = 1, pools_shortcut: bool = False
    ) -> None:
        super().__init__()
        self.conv1 = SameConv2d(in_channels, out_channels, 3, stride=stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu1 = nn.ReLU()
        self.conv2 = SameConv2d(out_channels, out_channels, 3)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 and pools_shortcut:
            self.downsample = nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True),  # as many positions as the convolution gives
                SameConv2d(in_channels, out_channels, 1),
                nn.BatchNorm2d(out_channels),
            )
        elif stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                SameConv2d(in_channels, out_channels, 1, stride=stride),
                nn.BatchNorm2d(out_channels),
            )
        self.relu2 = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, ceil(H / stride), ceil(W / stride))."""
        residual = self.relu1(self.bn1(self.conv1(x)))
        residual = self.bn2(self.conv2(residual))
        return self.relu2(residual + self.downsample(x))  # type: ignore[no-any-return]


class ResNet(nn.Module):
    """Stem, four stages of basic blocks, global average pooling, one linear layer.

    The last two make class activation maps a closed form: the logit of class c is the mean over
    positions of ``fc.weight[c] @ features[:, y, x]``, plus ``fc.bias[c]``.

    Args:
        blocks_per_stage: Number of blocks of ``layer1`` … ``layer4``.
        widths: Channels of ``layer1`` … ``layer4``; every stage but the first halves the size.
        num_classes: Length of the logits.
        stem: "3x3" keeps the size (total stride 8); "7x7" with max-pooling quarters it (total
            stride 32), as for 224x224 photographs.
    """

    def __init__(
        self,
        blocks_per_stage: Sequence[int],
        widths: Sequence[int],
        num_classes: int,
        *,
        stem: Literal["3x3", "7x7"],
    ) -> None:
        super().__init__()
        self.maxpool: nn.Module
        if stem == "3x3":
            self.conv1 = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
            self.maxpool = nn.Identity()
        else:
            self.conv1 = nn.Conv2d(3, widths[0], 7, stride=2, padding=3, bias=False)
            self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU()
        self.layer1 = build_stage(blocks_per_stage[0], widths[0], widths[0], stride=1)
        self.layer2 = build_stage(blocks_per_stage[1], widths[0], widths[1], stride=2)
        self.layer3 = build_stage(blocks_per_stage[2], widths[1], widths[2], stride=2)
        self.layer4 = build_stage(blocks_per_stage[3], widths[2], widths[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[3], num_classes)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (B, 3, H, W), normalised, to the last feature maps (B, C, H', W')."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        x = self.layer2(self.layer1(x))
        return self.layer4(self.layer3(x))  # type: ignore[no-any-return]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (B, 3, H, W), float, normalised, to logits (B, num_classes)."""
        pooled = self.avgpool(self.features(images)).flatten(1)
        return self.fc(pooled)  # type: ignore[no-any-return]


def build_stage(
    num_blocks: int,
    in_channels: int,
    out_channels: int,
    *,
    stride: int,
    pools_shortcut: bool = False,
) -> nn.Sequential:
    """Return ``num_blocks`` basic blocks in a row; the first one changes channels and size."""
    first = BasicBlock(in_channels, out_channels, stride=stride, pools_shortcut=pools_shortcut)
    rest = (BasicBlock(out_channels, out_channels) for _ in range(num_blocks - 1))
    return nn.Sequential(first, *rest)
