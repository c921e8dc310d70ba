"""Class activation maps: which places of an image speak for a class.

All methods weigh the feature maps of one layer by the gradient of a logit with respect to them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import nn

from tinysight.classify.layer_gradients import last_feature_layer, run_from_layer
from tinysight.classify.settings import TrainSettings

Method = Literal["grad-cam", "grad-cam++", "hires-cam", "layer-cam"]
METHODS: tuple[Method, ...] = get_args(Method)

Classes = torch.Tensor | Callable[[torch.Tensor], torch.Tensor]
"""(B, K) int64 class indices, or a function from logits (B, C) to them."""


@dataclass(frozen=True)
class ActivationMaps:
    """Maps of a batch of images, for K classes each; tensors on the device of the images.

    Attributes:
        maps: (B, K, h, w) float32 in [0, 1], at the size of the layer. 1 is the maximum of each
            map; all 0 where nothing speaks for the class.
        peaks: (B, K) float32, that maximum before scaling, in logits; ``maps * peaks`` is what the
            formula of the method gives.
        logits: (B, C) float32, of the same forward pass.
        classes: (B, K) int64, the class that each map is for.
        method: One of ``METHODS``.
        layer: Name of the layer whose feature maps were weighed.
        is_closed_form: Whether the gradient was known, so that there was no backward pass.
    """

    maps: torch.Tensor
    peaks: torch.Tensor
    logits: torch.Tensor
    classes: torch.Tensor
    method: Method
    layer: str
    is_closed_form: bool


def class_activation_maps(
    model: nn.Module,
    images: torch.Tensor,
    classes: Classes | None = None,
    *,
    method: Method = "grad-cam",
    layer: str | None = None,
    settings: TrainSettings | None = None,
) -> ActivationMaps:
    """Compute the maps of several classes for a batch of images from one forward pass.

    The network runs in evaluation mode. Afterwards the modes of its modules, ``requires_grad`` and
    ``grad`` of its parameters and its hooks are as they were, also after an exception. Feature
    maps, gradients and their sums are float32 whatever format the network computes in.

    Args:
        model: Maps images (B, 3, H, W) to logits (B, C).
        images: (B, 3, H, W) float32, normalised.
        classes: (B, K) int64 class indices on the device of the images, or a function that gives
            them for logits (B, C); the predicted class of each image when not given.
        method: "grad-cam": channels weighed by their mean gradient. "grad-cam++": by their
            positive gradients, so that small and repeated objects count; meant for feature maps
            that are nowhere negative. "hires-cam": every value weighed by its own gradient.
            "layer-cam": likewise, by positive gradients only.
        layer: Name of a module, as in ``model.named_modules()``, whose output is a feature map
            (B, C, h, w); what :func:`last_feature_layer` names when not given.
        settings: Number format to run in; that of the surrounding context when not given.

    Raises:
        RecipeError: The network has no such layer, or the layer gives no feature map, does not
            run exactly once in a forward pass or has no influence on the logits.
        ValueError: ``method`` or ``classes`` are not as described.

    Source:
        Selvaraju et al. 2017, Grad-CAM, eq. 1 and 2 (arXiv:1610.02391);
        Chattopadhay et al. 2018, Grad-CAM++, with exp(logit) as the score (arXiv:1710.11063);
        Draelos & Carin 2020, HiResCAM (arXiv:2011.08891), here with the final ReLU of the others;
        Jiang et al. 2021, LayerCAM (doi:10.1109/TIP.2021.3089943).
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}.")
    if layer is None:
        layer = last_feature_layer(model)
    seen = run_from_layer(model, layer, images, settings)
    weigh = _WEIGHINGS[method]
    # A caller's autocast must not turn the sums below into bf16.
    with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
        logits = seen.logits.detach().float()
        chosen = _choose_classes(classes, logits)
        raw = torch.stack(
            [
                weigh(seen.activations.detach(), seen.gradients(column)).clamp_min(0)
                for column in chosen.unbind(1)
            ],
            dim=1,
        )  # (B, K, h, w)
        peaks = raw.amax(dim=(2, 3))
        scale = torch.where(peaks > 0, peaks, 1.0)
        return ActivationMaps(
            maps=raw / scale[:, :, None, None],
            peaks=peaks,
            logits=logits,
            classes=chosen,
            method=method,
            layer=layer,
            is_closed_form=seen.head is not None,
        )


def _weigh_by_mean_gradient(activations: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    return _sum_channels(gradients.mean(dim=(2, 3)), activations)


def _weigh_by_positive_gradients(
    activations: torch.Tensor, gradients: torch.Tensor
) -> torch.Tensor:
    # For a score of exp(logit) the paper's quotient g^2 / (2 g^2 + g^3 sum(A)) is
    # 1 / (2 + g sum(A)), which does not underflow. The factor exp(logit), common to all channels
    # of an image, is left out: it changes no map and would make the peaks incomparable.
    quotient = 2 + gradients * activations.sum(dim=(2, 3), keepdim=True)
    weights = torch.where(quotient != 0, gradients.clamp_min(0) / quotient, 0.0)
    positions = activations.shape[2] * activations.shape[3]
    return _sum_channels(positions * weights.mean(dim=(2, 3)), activations)


def _weigh_each_value(activations: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    if gradients.shape[2:] == (1, 1):
        return _sum_channels(gradients[:, :, 0, 0], activations)
    return (gradients * activations).sum(dim=1)


def _weigh_each_value_positively(
    activations: torch.Tensor, gradients: torch.Tensor
) -> torch.Tensor:
    return _weigh_each_value(activations, gradients.clamp_min(0))


# From feature maps (B, C, h, w) and the gradient of one logit an image, (B, C, h, w) or, where it
# is the same at all positions, (B, C, 1, 1), to maps (B, h, w) before the ReLU.
_WEIGHINGS: dict[Method, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "grad-cam": _weigh_by_mean_gradient,
    "grad-cam++": _weigh_by_positive_gradients,
    "hires-cam": _weigh_each_value,
    "layer-cam": _weigh_each_value_positively,
}


def _sum_channels(weights: torch.Tensor, activations: torch.Tensor) -> torch.Tensor:
    return torch.einsum("bc,bchw->bhw", weights, activations)


def _choose_classes(classes: Classes | None, logits: torch.Tensor) -> torch.Tensor:
    if classes is None:
        return logits.argmax(dim=1, keepdim=True)
    if callable(classes):
        classes = classes(logits)
    num_images, num_classes = logits.shape
    if classes.ndim != 2 or len(classes) != num_images or classes.shape[1] == 0:
        raise ValueError(
            f"classes must have shape ({num_images}, K), K at least 1, got {tuple(classes.shape)}."
        )
    if classes.dtype != torch.int64 or not 0 <= classes.min() <= classes.max() < num_classes:
        raise ValueError(
            f"classes must be int64 in [0, {num_classes}), got {classes.dtype} in "
            f"[{classes.min()}, {classes.max()}]."
        )
    return classes
