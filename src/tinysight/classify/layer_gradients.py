"""A layer's output in one forward pass, and the gradient of the logits with respect to it.

Where the layer is followed by nothing but global average pooling and a linear layer, that gradient
is known: at every position the weights of the class over the number of positions (Zhou et al.
2016, arXiv:1512.04150). Then nothing is differentiated. Otherwise the gradient is computed back to
the layer, and the layers before it run without a graph.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tinysight.classify.evaluate import evaluation_mode
from tinysight.classify.placement import autocast
from tinysight.classify.settings import TrainSettings
from tinysight.errors import RecipeError

_LISTED_DEPTH = 2  # a message lists "layer4.1", not "layer4.1.conv1"


@dataclass(frozen=True)
class LayerPass:
    """One forward pass, seen from one layer.

    Attributes:
        layer: Name of the layer.
        activations: (B, C, h, w) float32, the output of the layer, whatever format it was in.
        logits: (B, C) in the number format of the network.
        head: The last linear layer, if the logits are its output for the mean of ``activations``
            over all positions and nothing else.
    """

    layer: str
    activations: torch.Tensor
    logits: torch.Tensor
    head: nn.Linear | None

    def gradients(self, classes: torch.Tensor) -> torch.Tensor:
        """Return the gradient of one logit an image with respect to the activations.

        Args:
            classes: (B,) int64, the logit of each image.

        Returns:
            (B, C, h, w) float32; (B, C, 1, 1) where it is known to be the same at all positions.

        Raises:
            RecipeError: The logits do not depend on the activations.
        """
        if self.head is not None:
            positions = self.activations.shape[2] * self.activations.shape[3]
            return self.head.weight.detach().float()[classes][:, :, None, None] / positions
        gradients = None
        if self.logits.requires_grad:
            # In evaluation mode no image has a part in the logits of another one.
            chosen = torch.zeros_like(self.logits).scatter_(1, classes[:, None], 1.0)
            (gradients,) = torch.autograd.grad(
                self.logits, self.activations, chosen, retain_graph=True, allow_unused=True
            )
        if gradients is None:
            raise RecipeError(
                f"layer {self.layer}: the logits must depend on its output, and do not. "
                f"Name a layer on the way from the images to the logits."
            )
        return gradients


def run_from_layer(
    model: nn.Module, layer: str, images: torch.Tensor, settings: TrainSettings | None = None
) -> LayerPass:
    """Run a network in evaluation mode and record a graph from the output of one layer on.

    Modes, parameters, their gradients and hooks of the network are as before, also after an
    exception.

    Args:
        model: Maps images (B, 3, H, W) to logits (B, C).
        layer: Name of a module whose output is a feature map.
        images: (B, 3, H, W) float32, normalised.
        settings: Number format to run in; that of the surrounding context when not given.

    Raises:
        RecipeError: There is no such layer, it gives no feature map, or it does not run exactly
            once.
    """
    module = _module_named(model, layer, images)
    watch = _Watch(layer)
    # Parameters may be frozen and the caller in any mode of autograd: nothing is recorded until
    # the layer has run, and everything after it.
    with (
        torch.inference_mode(False),
        torch.no_grad(),
        evaluation_mode(model),
        watch.hooked(model, module),
        autocast(settings, images.device) if settings else nullcontext(),
    ):
        logits = model(images)
    if watch.activations is None:
        raise RecipeError(
            f"layer {layer}: must run in a forward pass, but does not. Name another layer."
        )
    return LayerPass(layer, watch.activations, logits, watch.head_of(logits))


def last_feature_layer(model: nn.Module) -> str:
    """Return the name of the child module in front of the global average pooling.

    Args:
        model: A network whose children are in the order in which they run.

    Raises:
        RecipeError: No child is an ``nn.AdaptiveAvgPool2d(1)``, or it is the first one.
    """
    before = None
    for name, child in model.named_children():
        if _is_global_pooling(child) and before is not None:
            return before
        before = name
    raise RecipeError(
        f"{type(model).__name__}: a network must have global average pooling as one of its "
        f"children for its last feature layer to be known, found none. Name the layer."
    )


def feature_layers(model: nn.Module, images: torch.Tensor) -> tuple[str, ...]:
    """Return the names of all modules whose output has places, in the order in which they end.

    Args:
        model: Any network; it is run once, in evaluation mode.
        images: (B, 3, H, W) float32, normalised; one image is enough.
    """
    names: dict[str, None] = {}

    def notice(name: str, output: Any) -> None:
        if _is_feature_map(output) and output.shape[2:] != (1, 1):
            names[name] = None

    with torch.no_grad(), evaluation_mode(model), ExitStack() as hooks:
        for name, module in model.named_modules():
            handle = module.register_forward_hook(
                lambda module, inputs, output, name=name: notice(name, output)
            )
            hooks.callback(handle.remove)
        model(images)
    return tuple(names)


class _Watch:
    """The hooks of one forward pass: cut the graph at a layer, notice how the logits are made."""

    def __init__(self, layer: str) -> None:
        self.activations: torch.Tensor | None = None
        self._layer = layer
        self._features: _Trace | None = None
        self._pooled: _Trace | None = None
        self._mapped: tuple[nn.Linear, _Trace] | None = None

    @contextmanager
    def hooked(self, model: nn.Module, layer: nn.Module) -> Iterator[None]:
        with ExitStack() as hooks:
            for module in model.modules():
                # With hooks of somebody else a module may give something else.
                if module._forward_hooks or module._forward_pre_hooks:
                    continue
                if _is_global_pooling(module):
                    hooks.callback(module.register_forward_hook(self._on_pooling).remove)
                elif type(module) is nn.Linear:
                    hooks.callback(module.register_forward_hook(self._on_linear).remove)
            hooks.callback(layer.register_forward_hook(self._on_layer).remove)
            yield

    def head_of(self, logits: torch.Tensor) -> nn.Linear | None:
        if self._mapped is None:
            return None
        head, output = self._mapped
        return head if output.is_still(logits) else None

    def _on_layer(self, module: nn.Module, inputs: Any, output: Any) -> torch.Tensor:
        if not _is_feature_map(output):
            found = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output)
            raise RecipeError(
                f"layer {self._layer}: its output must be a feature map (B, C, h, w), got {found}. "
                f"Name a layer before the pooling."
            )
        if self.activations is not None:
            raise RecipeError(
                f"layer {self._layer}: must run once in a forward pass, but runs again. "
                f"Name the module around it instead."
            )
        torch.set_grad_enabled(True)  # until the no_grad around the forward pass ends
        # Two copies: the network may write over what it gave out and over what it gets back.
        self.activations = output.detach().to(torch.float32, copy=True).requires_grad_()
        features = self.activations.to(output.dtype, copy=True)
        self._features = _Trace(features)
        return features

    def _on_pooling(self, module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        if self._features is not None and self._features.is_still(inputs[0]):
            self._pooled = _Trace(output)

    def _on_linear(self, module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        if self._pooled is not None and self._pooled.is_still(inputs[0]):
            assert isinstance(module, nn.Linear)
            self._mapped = (module, _Trace(output))


class _Trace:
    """Recognises a tensor (B, C, …), also flattened, for as long as nobody has written over it."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor
        self._version = tensor._version

    def is_still(self, tensor: torch.Tensor) -> bool:
        return (
            tensor.data_ptr() == self._tensor.data_ptr()
            and tensor.numel() == self._tensor.numel()
            and tensor.shape[:2] == self._tensor.shape[:2]
            and self._tensor._version == self._version
        )


def _module_named(model: nn.Module, layer: str, images: torch.Tensor) -> nn.Module:
    try:
        return model.get_submodule(layer)
    except AttributeError:
        names = feature_layers(model, images[:1])
        listed = [name for name in names if name.count(".") < _LISTED_DEPTH]
        close = difflib.get_close_matches(layer, names, n=1)
        raise RecipeError(
            f"layer {layer}: must be the name of a layer of {type(model).__name__}, which has none "
            f"of that name.{f' Did you mean {close[0]}?' if close else ''} "
            f"Choose one of {', '.join(listed)}, or a layer inside of one of them."
        ) from None


def _is_feature_map(output: Any) -> bool:
    return isinstance(output, torch.Tensor) and output.ndim == 4 and output.is_floating_point()


def _is_global_pooling(module: nn.Module) -> bool:
    return type(module) is nn.AdaptiveAvgPool2d and module.output_size in (1, (1, 1))
