"""A word on stderr about a number format that the device is slow in."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from tinysight.classify.settings import TrainSettings


def say_if_slow(settings: TrainSettings, device: torch.device) -> None:
    """Say so when the settings ask for bf16 by name and the device has no units for it."""
    from tinysight.classify.placement import multiplies_bf16

    if settings.precision == "bf16" and not multiplies_bf16(device):
        print(
            f"train.precision (=bf16): the {device.type} has no units for bf16 that torch uses "
            f"and can be many times slower in it than in fp32. Leave the setting out to let the "
            f"device decide; a run that is resumed keeps its own.",
            file=sys.stderr,
        )
