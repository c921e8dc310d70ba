"""A compact residual network for 64x64 images, chosen for training on a CPU."""

from __future__ import annotations

import torch
from torch import nn

from tinysight.classify.models.resnet import build_stage


class CompactResNet(nn.Module):
    """Residual network of 3.5 million parameters and 0.277 GMAC at 64x64, total stride 8.

    On a CPU a small network spends its time on memory rather than on arithmetic: the 32x32 maps
    hold most of its values, and batch norm, ReLU and their gradients pass over each of them
    several times. So only the stem works at 32x32; all blocks work at 16x16 and 8x8, where there
    are fewer values and enough channels to fill a core's matrix unit (widths are multiples of 32).

    A training step (bf16, channels_last, batches of 256, two cores with AMX) takes 660 images/s,
    against 745 for a ResNet-18 of half the width behind a stem of stride 2, which has half the
    MACs. Of the other candidates, blocks at 32x32 took longer for each MAC, a space-to-depth stem
    was no quicker and a patch stem of stride 4 keeps less detail. Speed for each MAC decided; the
    candidates' accuracies were not compared.

    Args:
        num_classes: Length of the logits.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.relu = nn.ReLU()
        self.layer1 = build_stage(2, 32, 96, stride=2)
        self.layer2 = build_stage(3, 96, 256, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(256, num_classes)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (B, 3, H, W), normalised, to the last feature maps (B, 256, H/8, W/8)."""
        x = self.relu(self.bn1(self.conv1(images)))
        return self.layer2(self.layer1(x))  # type: ignore[no-any-return]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (B, 3, H, W), float, normalised, to logits (B, num_classes)."""
        pooled = self.avgpool(self.features(images)).flatten(1)
        return self.fc(pooled)  # type: ignore[no-any-return]
