"""Networks: small images in, logits out, weights from a seed and from nothing else."""

from __future__ import annotations

import torch
from torch import nn

from tinysight.classify.models.compact import (
    build_compact,
    build_compact10,
    build_compact12,
    build_compact14,
    build_compact20,
)
from tinysight.classify.models.resnet import BasicBlock, ResNet
from tinysight.classify.randomness import keyed_generator
from tinysight.classify.settings import ModelSettings
from tinysight.errors import RecipeError

__all__ = ["build_model", "build_without_weights"]

_RESNET_WIDTHS = (64, 128, 256, 512)
_COMPACT = {
    "compact": build_compact,
    "compact10": build_compact10,
    "compact12": build_compact12,
    "compact14": build_compact14,
    "compact20": build_compact20,
}
_RESNET_BLOCKS_PER_STAGE = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}


def build_model(settings: ModelSettings, num_classes: int, *, seed: int) -> nn.Module:
    """Build a network on the CPU, float32, in training mode, with weights drawn from ``seed``.

    Convolutions are drawn from N(0, 2 / fan_out), He et al. 2015 as in torchvision's ResNet; the
    head, weight and bias, from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), which is torch's own choice for
    a linear layer. Batch-norm gains start at 1 (at 0 for the last one of each residual block with
    ``zero_init_last_norm``), biases at 0. torch's global generator is neither read nor moved.

    Args:
        settings: Which network.
        num_classes: Length of the logits, at least 1.
        seed: Fixes the weights. The same seed gives the same bits on the same version of torch.

    Returns:
        A module that maps images (B, 3, H, W), normalised, H and W at least 32, to logits
        (B, num_classes).

    Raises:
        RecipeError: ``settings`` asks for a stem that the network does not have.
        ValueError: ``num_classes`` is below 1.

    Source:
        He et al. 2015, Delving Deep into Rectifiers, section 2.2 (arXiv:1502.01852);
        Goyal et al. 2017, section 5.1 (arXiv:1706.02677) for gains that start at 0.
    """
    model = build_without_weights(settings, num_classes)
    model.to_empty(device="cpu")
    _initialize(model, seed)
    if settings.zero_init_last_norm:
        for module in model.modules():
            if isinstance(module, BasicBlock):
                nn.init.zeros_(module.bn2.weight)
    return model


def build_without_weights(settings: ModelSettings, num_classes: int) -> nn.Module:
    """Build a network on the meta device: its layers and shapes, which take no memory.

    Args:
        settings: Which network.
        num_classes: Length of the logits, at least 1.

    Raises:
        RecipeError: ``settings`` asks for a stem that the network does not have.
        ValueError: ``num_classes`` is below 1.
    """
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}.")
    if settings.name in _COMPACT and settings.stem != "3x3":
        raise RecipeError(
            f"model.stem must be left out for model.name = {settings.name}, which has a stem of "
            f'its own, got "{settings.stem}". Remove model.stem or choose resnet18 or resnet34.'
        )
    # There a layer's own initialisation draws no numbers.
    with torch.device("meta"):
        if settings.name in _COMPACT:
            return _COMPACT[settings.name](num_classes)
        blocks_per_stage = _RESNET_BLOCKS_PER_STAGE[settings.name]
        return ResNet(blocks_per_stage, _RESNET_WIDTHS, num_classes, stem=settings.stem)


def _initialize(model: nn.Module, seed: int) -> None:
    torch_seed = int(keyed_generator(seed, "weights").integers(2**63))
    generator = torch.Generator().manual_seed(torch_seed)
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(
                module.weight, mode="fan_out", nonlinearity="relu", generator=generator
            )
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()  # ones, zeros and the running statistics: no draws
        elif isinstance(module, nn.Linear):
            bound = module.in_features**-0.5
            nn.init.uniform_(module.weight, -bound, bound, generator=generator)
            nn.init.uniform_(module.bias, -bound, bound, generator=generator)
        else:
            own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
            # to_empty left these as whatever was in memory.
            assert not own, f"{name} ({type(module).__name__}) has no rule for its weights"
