"""Small networks with what makes class activation maps difficult."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


class PooledNet(nn.Module):
    """Two convolutions, global average pooling, a linear layer: the closed form holds."""

    def __init__(self, num_classes: int = 5) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(4, 6, 3, padding=1)
        self.relu2 = nn.ReLU()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(6, num_classes)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return self.relu2(self.conv2(self.relu1(self.conv1(images))))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.avgpool(self.features(images)).flatten(1))


class MeanNet(PooledNet):
    """The same function, but the mean is no module: its gradient must be computed."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.features(images).mean(dim=(2, 3)))


class ResidualNet(nn.Module):
    """Batch norm, a residual sum and activations, written over their inputs if so wanted."""

    def __init__(self, num_classes: int = 5, *, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.stem_relu = nn.ReLU(inplace)
        self.shortcut = nn.Identity()
        self.conv1 = nn.Conv2d(4, 4, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(4)
        self.relu1 = nn.ReLU(inplace)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(4)
        self.relu2 = nn.ReLU(inplace)
        self.dropout = nn.Dropout(0.5)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.stem_relu(self.stem(images))
        shortcut = self.shortcut(x)
        x = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        if self.inplace:
            x += shortcut
        else:
            x = x + shortcut
        x = self.relu2(x)
        return self.fc(self.avgpool(self.dropout(x)).flatten(1))


def with_weights(network: Network, seed: int = 0) -> Network:
    """Fill a network with weights that depend on the seed only; batch norm is not the identity."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in [*network.parameters(), *network.buffers()]:
        if tensor.is_floating_point():
            tensor.data = torch.randn(tensor.shape, generator=generator) * 0.5
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_var is not None
            module.running_var.data = module.running_var.data.square() + 0.5
    return network


def draw_images(num_images: int = 3, size_px: int = 12, seed: int = 1) -> torch.Tensor:
    """Return (N, 3, S, S) float32."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((num_images, 3, size_px, size_px), generator=generator)
