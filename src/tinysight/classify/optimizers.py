"""torch's optimizers on two groups of parameters: those that decay and those that do not."""

from __future__ import annotations

import torch
from torch import nn

from tinysight.classify.settings import OptimizerSettings

ADAMW_BETA2 = 0.999


def build_optimizer(
    model: nn.Module, settings: OptimizerSettings, *, lr: float, momentum: float
) -> torch.optim.Optimizer:
    """Return an optimizer for all parameters of a network.

    Convolution and linear weights decay. Batch-norm gains and biases do so only when the recipe
    says so: pulling them to zero costs accuracy (He et al. 2019, "Bag of Tricks", sec. 3.1).

    Args:
        model: The network.
        settings: Kind and weight decay.
        lr: Learning rate of the first step; :func:`set_schedule` changes it.
        momentum: Momentum, or beta 1 for AdamW, of the first step.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decaying = [p for p in parameters if p.ndim > 1 or settings.decay_norms_and_biases]
    steady = [p for p in parameters if not (p.ndim > 1 or settings.decay_norms_and_biases)]
    groups = [
        {"params": decaying, "weight_decay": settings.weight_decay},
        {"params": steady, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if settings.name == "adamw":
        return torch.optim.AdamW(groups, lr=lr, betas=(momentum, ADAMW_BETA2), fused=True)
    return torch.optim.SGD(
        groups, lr=lr, momentum=momentum, nesterov=settings.nesterov and momentum > 0, fused=True
    )


def set_schedule(optimizer: torch.optim.Optimizer, *, lr: float, momentum: float) -> None:
    """Set the learning rate and the momentum of the next step in every group."""
    for group in optimizer.param_groups:
        group["lr"] = lr
        if "betas" in group:
            group["betas"] = (momentum, group["betas"][1])
        else:
            group["momentum"] = momentum
