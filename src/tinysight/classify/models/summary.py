"""What a network is made of, layer by layer: shapes, parameters, MACs, receptive field, memory.

The network is traced with ``torch.fx`` and run once on the meta device, so branches count as they
are and no number is computed. A layer without a rule here is an error, never a wrong figure.
"""

from __future__ import annotations

import copy
import operator
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from tinysight.classify.models.receptive_field import View, join_views, view_through

_BYTES_PER_VALUE = 4  # float32
_ADDITIONS = (operator.add, operator.iadd, torch.add)
_FLATTENINGS = ("flatten", torch.flatten)


@dataclass(frozen=True)
class LayerSummary:
    """One layer of a network. ``nn.Identity`` has no row: it does nothing and costs nothing."""

    name: str
    """Path of the module; for an operation, path of the module it stands in and its name."""
    kind: str
    """Class of the module or name of the operation, for instance ``Conv2d`` or ``add``."""
    output_shape: tuple[int, ...]
    """Shape of the output for one image, without the batch axis."""
    parameters: int
    """Trainable values; those of a layer that is used twice count in its first row only."""
    macs: int
    """Multiply-accumulates for one image: convolutions and linear layers without their biases,
    multiplications with padding included; 0 for anything else, as is customary."""
    receptive_field_px: int
    """Extent in input pixels, padding included, of what can change one output position: the larger
    of height and width. Global pooling sees what all of its positions see together."""
    jump_px: int
    """Distance in input pixels between the receptive fields of neighbouring output positions; for
    global pooling, of neighbouring windows if there were more than one."""
    activation_bytes: int
    """Memory of the output for one image in float32; 0 where it is the memory of the input."""


@dataclass(frozen=True)
class ModelSummary:
    """A network as a table of its layers, in the order in which they run, and totals."""

    input_chw: tuple[int, int, int]
    """Shape of one input image."""
    layers: tuple[LayerSummary, ...]
    """One row a layer."""
    parameters: int
    """Parameters of the network, each counted once."""
    macs: int
    """Sum over the layers."""
    activation_bytes: int
    """Sum over the layers: the outputs of all of them for one image in float32. What a training
    step keeps is less where a layer needs no output for its gradient, and more for 3x3
    convolutions on a CPU (:mod:`tinysight.classify.models.winograd`)."""
    receptive_field_px: int
    """Receptive field of the last feature map, before global pooling."""
    jump_px: int
    """Total stride of the last feature map, before global pooling."""
    feature_hw: tuple[int, int]
    """Positions of the last feature map: height, width."""
    whole_view_positions: int
    """How many of these positions have the whole image in their receptive field."""


def summarize(model: nn.Module, input_chw: tuple[int, int, int] = (3, 64, 64)) -> ModelSummary:
    """Describe every layer of ``model`` without running it on numbers.

    A position of a layer's output can depend on one interval of input rows and one of columns.
    A window (convolution, pooling) widens the interval by ``dilation * (kernel - 1) * jump`` and
    multiplies the jump by its stride; where branches join, the interval is the smallest that
    holds those of all branches, so for the concentric branches of a ResNet the largest counts.

    Args:
        model: Any network that ``torch.fx`` can trace, on any device, in any mode. It is left
            exactly as it is; its hooks are not called.
        input_chw: Shape of one input image: channels, height, width.

    Returns:
        Rows and totals for one image.

    Raises:
        ValueError: The model cannot be traced, does not accept such an input, or has a layer for
            which there is no rule.

    Source:
        Araujo, Norris & Sim 2019, Computing Receptive Fields of Convolutional Neural Networks,
        Distill, doi:10.23915/distill.00021.
    """
    graph_module = _trace(model)
    shapes = _shapes(graph_module, input_chw)
    views: dict[fx.Node, View] = {}
    rows: list[LayerSummary] = []
    counted: set[int] = set()
    last_map: tuple[View, tuple[int, ...]] | None = None
    for node in graph_module.graph.nodes:
        if node.op == "placeholder":
            views[node] = View.of_input()
            last_map = views[node], shapes[node]
            continue
        if node.op == "output":
            continue
        name = _name(node)
        module = graph_module.get_submodule(node.target) if node.op == "call_module" else None
        inputs = [(views[source], shapes[source]) for source in node.all_input_nodes]
        view = views[node] = _view_after(name, node, module, inputs)
        if not view.is_pooled:
            last_map = view, shapes[node]
        if isinstance(module, nn.Identity):
            continue
        rows.append(_row(name, node, module, shapes[node], view, counted))
    assert last_map is not None, "fx gives every graph a placeholder"
    return _totals(model, input_chw, tuple(rows), *last_map)


def describe_receptive_field(summary: ModelSummary) -> str:
    """Return one sentence that compares receptive field and image in plain words."""
    height_px, width_px = summary.input_chw[1:]
    rows, columns = summary.feature_hw
    extent_px = summary.receptive_field_px
    positions = rows * columns
    if summary.whole_view_positions == positions:
        consequence = "all of them see the whole image"
    elif summary.whole_view_positions:
        consequence = (
            f"{summary.whole_view_positions} of {positions} see the whole image, "
            f"those nearer to its border only a part"
        )
    else:
        consequence = "none sees the whole image, only pooling brings it together"
    return (
        f"Each of the {rows}x{columns} positions of the last feature map sees "
        f"{extent_px}x{extent_px} px, its receptive field; the image has {height_px}x{width_px} "
        f"px: {consequence}."
    )


def _trace(model: nn.Module) -> fx.GraphModule:
    """Trace a copy without weights and hooks, so that the model itself is never touched."""
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), requires_grad=False)
    for buffer in model.buffers():
        memo[id(buffer)] = buffer.detach().to("meta")
    for module in model.modules():
        for attribute, value in vars(module).items():
            if "_hooks" in attribute and isinstance(value, dict):
                memo[id(value)] = OrderedDict()
    try:
        bare = copy.deepcopy(model, memo).eval()
        return fx.GraphModule(bare, _LayerTracer().trace(bare))
    except Exception as error:  # whatever the model's own code does with a stand-in for a tensor
        raise ValueError(
            f"{type(model).__name__} must be a network that torch.fx can trace, got "
            f"{type(error).__name__}: {error}. Let no branch or loop depend on a tensor's values."
        ) from error


class _LayerTracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, nn.Conv2d) or super().is_leaf_module(m, module_qualified_name)


class _ShapeRecorder(fx.Interpreter):
    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.shapes: dict[fx.Node, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, torch.Tensor):
            self.shapes[n] = tuple(result.shape)[1:]
        return result


def _shapes(
    graph_module: fx.GraphModule, input_chw: tuple[int, int, int]
) -> dict[fx.Node, tuple[int, ...]]:
    recorder = _ShapeRecorder(graph_module)
    try:
        with torch.no_grad():
            recorder.run(torch.empty((1, *input_chw), device="meta"))
    except Exception as error:  # a layer's own complaint about its input, of any type
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"input_chw (={input_chw}) must be a shape that the network accepts, got "
            f"{type(error).__name__}: {reason}. Choose another input shape."
        ) from error
    return recorder.shapes


def _name(node: fx.Node) -> str:
    if node.op == "call_module":
        return str(node.target)
    stack = node.meta.get("nn_module_stack") or {}
    path = next((str(entry[0]) for entry in reversed(stack.values())), "")
    operation = _kind(node, None)
    return f"{path}.{operation}" if path else operation


def _kind(node: fx.Node, module: nn.Module | None) -> str:
    if module is not None:  # a refinement of a layer of torch is still that layer
        kinds = type(module).__mro__
        return next(kind.__name__ for kind in kinds if kind.__module__.startswith("torch.nn"))
    return node.target if isinstance(node.target, str) else node.target.__name__


def _view_after(
    name: str,
    node: fx.Node,
    module: nn.Module | None,
    inputs: list[tuple[View, tuple[int, ...]]],
) -> View:
    view: View | None = None
    if node.target in _ADDITIONS:
        try:
            view = join_views([view for view, _ in inputs])
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    elif len(inputs) == 1:
        before, input_shape = inputs[0]
        if module is not None:
            view = view_through(module, before, input_shape[1:])
        elif node.target in _FLATTENINGS:
            view = before.pooled(input_shape[1:])
    if view is None:
        raise ValueError(
            f"{name}: every layer must be of a kind whose receptive field is known, got "
            f"{_kind(node, module)}. Use common torch.nn layers and additions, or add a rule to "
            f"tinysight.classify.models.receptive_field."
        )
    return view


def _row(
    name: str,
    node: fx.Node,
    module: nn.Module | None,
    output_shape: tuple[int, ...],
    view: View,
    counted: set[int],
) -> LayerSummary:
    num_outputs = torch.Size(output_shape).numel()
    macs = 0
    if isinstance(module, nn.Conv2d):
        macs = num_outputs * module.weight[0].numel()
    elif isinstance(module, nn.Linear):
        macs = num_outputs * module.in_features
    parameters = 0
    if module is not None:
        for parameter in module.parameters():
            if id(parameter) not in counted:
                counted.add(id(parameter))
                parameters += parameter.numel()
    kind = _kind(node, module)
    is_input_memory = kind.lower() == "flatten" or getattr(module, "inplace", False)
    return LayerSummary(
        name=name,
        kind=kind,
        output_shape=output_shape,
        parameters=parameters,
        macs=macs,
        receptive_field_px=view.extent_px,
        jump_px=view.jump_px,
        activation_bytes=0 if is_input_memory else num_outputs * _BYTES_PER_VALUE,
    )


def _totals(
    model: nn.Module,
    input_chw: tuple[int, int, int],
    layers: tuple[LayerSummary, ...],
    last_view: View,
    last_shape: tuple[int, ...],
) -> ModelSummary:
    _, height, width = last_shape
    whole_rows = last_view.rows.count_whole_views(height, input_chw[1])
    whole_columns = last_view.columns.count_whole_views(width, input_chw[2])
    return ModelSummary(
        input_chw=input_chw,
        layers=layers,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        macs=sum(layer.macs for layer in layers),
        activation_bytes=sum(layer.activation_bytes for layer in layers),
        receptive_field_px=last_view.extent_px,
        jump_px=last_view.jump_px,
        feature_hw=(height, width),
        whole_view_positions=whole_rows * whole_columns,
    )
