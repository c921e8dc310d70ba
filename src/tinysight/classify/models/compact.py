"""Compact residual networks for 64x64 images, chosen for training on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from tinysight.classify.models.resnet import build_stage

STEM_CHANNELS = 32


class CompactResNet(nn.Module):
    """Stem of stride 2, stages of basic blocks that halve the size, pooling, one linear layer.

    On a CPU a small network spends its time on memory rather than on arithmetic: the 32x32 maps
    of a 64x64 image hold most of its values, and batch norm, ReLU and their gradients pass over
    each of them several times. So only the stem works at 32x32; all blocks work at 16x16 and below,
    where there are fewer values and enough channels to fill a core's matrix unit (widths are
    multiples of 16). docs/speedrun.md compares the candidates.

    Args:
        num_classes: Length of the logits.
        blocks_per_stage: Number of blocks of ``layer1``, ``layer2`` and so on; the first block of
            each has stride 2.
        widths: Channels of each stage.
        pools_shortcut: Whether the shortcuts of these first blocks take means.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        blocks_per_stage: Sequence[int],
        widths: Sequence[int],
        pools_shortcut: bool,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, STEM_CHANNELS, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM_CHANNELS)
        self.relu = nn.ReLU()
        self._stages = tuple(f"layer{number}" for number in range(1, len(widths) + 1))
        channels = pairwise((STEM_CHANNELS, *widths))
        for name, num_blocks, (in_channels, width) in zip(
            self._stages, blocks_per_stage, channels, strict=True
        ):
            stage = build_stage(
                num_blocks, in_channels, width, stride=2, pools_shortcut=pools_shortcut
            )
            self.add_module(name, stage)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[-1], num_classes)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (B, 3, H, W), normalised, to the last feature maps (B, C, H', W')."""
        x: torch.Tensor = self.relu(self.bn1(self.conv1(images)))
        for name in self._stages:
            x = getattr(self, name)(x)
        return x

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (B, 3, H, W), float, normalised, to logits (B, num_classes)."""
        pooled = self.avgpool(self.features(images)).flatten(1)
        return self.fc(pooled)  # type: ignore[no-any-return]


def build_compact(num_classes: int) -> CompactResNet:
    """Return a network of 3.5 million parameters and 0.277 GMAC; its last maps are 8x8."""
    return CompactResNet(
        num_classes, blocks_per_stage=(2, 3), widths=(96, 256), pools_shortcut=False
    )


def build_compact10(num_classes: int) -> CompactResNet:
    """Return a network of 0.6 million parameters and 0.053 GMAC; its last maps are 8x8."""
    return CompactResNet(
        num_classes, blocks_per_stage=(2, 2), widths=(48, 128), pools_shortcut=True
    )


def build_compact12(num_classes: int) -> CompactResNet:
    """Return a network of 0.9 million parameters and 0.048 GMAC; its last maps are 4x4."""
    return CompactResNet(
        num_classes, blocks_per_stage=(2, 2, 1), widths=(48, 96, 192), pools_shortcut=True
    )


def build_compact14(num_classes: int) -> CompactResNet:
    """Return a network of 3.8 million parameters and 0.224 GMAC; its last maps are 4x4."""
    return CompactResNet(
        num_classes, blocks_per_stage=(3, 2, 1), widths=(96, 192, 384), pools_shortcut=True
    )


def build_compact20(num_classes: int) -> CompactResNet:
    """Return a network of 7.3 million parameters and 0.351 GMAC; its last maps are 4x4."""
    return CompactResNet(
        num_classes, blocks_per_stage=(4, 3, 2), widths=(96, 192, 384), pools_shortcut=True
    )
