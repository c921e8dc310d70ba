"""torch's optimizers on two groups of parameters: those that decay and those that do not."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tinysight.classify.muon import FilterMuon, JointOptimizer
from tinysight.classify.settings import OptimizerSettings

ADAMW_BETA2 = 0.999
_PIXEL_CHANNELS = 3

Optimizer = torch.optim.Optimizer | JointOptimizer


def build_optimizer(
    model: nn.Module,
    settings: OptimizerSettings,
    *,
    lr: float,
    momentum: float,
    muon_dtype: torch.dtype = torch.bfloat16,
) -> Optimizer:
    """Return an optimizer for all parameters of a network.

    Convolution and linear weights decay, those of the first convolution unless the recipe says
    otherwise. Batch-norm gains and biases do so only when the recipe says so: pulling them to zero
    costs accuracy (He et al. 2019, "Bag of Tricks", sec. 3.1).

    Args:
        model: The network.
        settings: Kind and weight decay.
        lr: Learning rate of the first step; :func:`set_schedule` changes it.
        momentum: Momentum, or beta 1 for AdamW, of the first step.
        muon_dtype: Number format of Muon's iterations.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if settings.name == "muon":
        filters = [p for p in parameters if p.ndim == 4 and not _sees_pixels(p)]
        others = [p for p in parameters if not any(p is weight for weight in filters)]
        muon = FilterMuon(
            filters,
            lr=lr * settings.muon_lr_ratio,
            momentum=momentum,
            # Muon multiplies weights by 1 - lr * decay, SGD as good as by 1 - (its lr) * decay.
            weight_decay=settings.weight_decay / settings.muon_lr_ratio,
            num_iterations=settings.muon_iterations,
            dtype=muon_dtype,
        )
        for group in muon.param_groups:
            group["lr_ratio"] = settings.muon_lr_ratio
        return JointOptimizer([_build_sgd(others, settings, lr=lr, momentum=momentum), muon])
    if settings.name == "adamw":
        groups = _group_by_decay(parameters, settings)
        return torch.optim.AdamW(groups, lr=lr, betas=(momentum, ADAMW_BETA2), fused=True)
    return _build_sgd(parameters, settings, lr=lr, momentum=momentum)


def _build_sgd(
    parameters: list[nn.Parameter], settings: OptimizerSettings, *, lr: float, momentum: float
) -> torch.optim.SGD:
    return torch.optim.SGD(
        _group_by_decay(parameters, settings),
        lr=lr,
        momentum=momentum,
        nesterov=settings.nesterov and momentum > 0,
        fused=True,
    )


def _group_by_decay(
    parameters: list[nn.Parameter], settings: OptimizerSettings
) -> list[dict[str, Any]]:
    decaying = [p for p in parameters if _decays(p, settings)]
    steady = [p for p in parameters if not _decays(p, settings)]
    groups: list[dict[str, Any]] = [
        {"params": decaying, "weight_decay": settings.weight_decay},
        {"params": steady, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _decays(parameter: nn.Parameter, settings: OptimizerSettings) -> bool:
    if parameter.ndim <= 1:
        return settings.decay_norms_and_biases
    return settings.decay_stem or not _sees_pixels(parameter)


def _sees_pixels(parameter: nn.Parameter) -> bool:
    return parameter.ndim == 4 and parameter.shape[1] <= _PIXEL_CHANNELS


def set_schedule(optimizer: Optimizer, *, lr: float, momentum: float) -> None:
    """Set the learning rate and the momentum of the next step in every group."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_ratio", 1.0)
        if "betas" in group:
            group["betas"] = (momentum, group["betas"][1])
        else:
            group["momentum"] = momentum
