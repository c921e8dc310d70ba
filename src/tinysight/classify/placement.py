"""Where a network computes, in which memory order and in which number format."""

from __future__ import annotations

import torch
from torch import nn

from tinysight.classify.settings import TrainSettings


def place_model(model: nn.Module, settings: TrainSettings, device: torch.device) -> nn.Module:
    """Move a network to a device and its filters into the memory order of the recipe."""
    model = model.to(device)
    if settings.channels_last:
        # torch's own annotation of Module.to leaves this form out.
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def autocast(settings: TrainSettings, device: torch.device) -> torch.autocast:
    """Return the context in which a network computes in the precision of the recipe."""
    return torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16")
