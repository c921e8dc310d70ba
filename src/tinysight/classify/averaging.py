"""An exponential moving average of the weights, with batch-norm statistics of its own.

The averaged weights were never trained with the statistics that the raw network has collected, so
these are estimated again before the average is used (Izmailov et al. 2018, sec. 3.2).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import nn

from tinysight.classify.placement import autocast
from tinysight.classify.processes import Processes
from tinysight.classify.settings import TrainSettings

REFRESH_BATCHES = 32


def build_average(model: nn.Module, decay: float) -> nn.Module | None:
    """Return a copy of a network to hold the moving average of its weights; None for decay 0."""
    return copy.deepcopy(model) if decay > 0 else None


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, *, decay: float) -> None:
    """Move averaged weights towards those of the network, ``decay`` of them stays.

    ``torch.optim.swa_utils.AveragedModel`` does the same, but reads its counter from the device,
    which makes the host wait in every step.
    """
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1.0 - decay)


@torch.no_grad()
def refresh_batch_norms(
    model: nn.Module,
    batches: Iterable[torch.Tensor],
    *,
    device: torch.device,
    settings: TrainSettings,
    processes: Processes,
) -> None:
    """Estimate the batch-norm statistics of a network from training images.

    ``torch.optim.swa_utils.update_bn`` does the same, but each layer then reads its counter from
    the device in each batch, which makes the host wait.

    Args:
        model: The network, on ``device``; its mode is left as it was.
        batches: Augmented, normalised images, (B, 3, H, W) each.
        device: Where the images and the network are.
        settings: Number format of the network.
        processes: All processes end with the mean of their statistics.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    was_training = model.training
    for norm in norms:
        norm.reset_running_stats()
    model.train()
    for number, images in enumerate(batches, 1):
        for norm in norms:
            norm.momentum = 1 / number  # so that statistics are the mean of all batches so far
        with autocast(settings, device):
            model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.train(was_training)
    average_statistics(model, processes)


@torch.no_grad()
def average_statistics(model: nn.Module, processes: Processes) -> None:
    """Give every process the mean of the running statistics of all of them."""
    if processes.count == 1:
        return
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.copy_(processes.sum(buffer) / processes.count)
