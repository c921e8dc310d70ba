from __future__ import annotations

import copy
import operator
from typing import Any

import pytest
import torch
from torch import nn

from tinysight.classify.models import build_model
from tinysight.classify.models.summary import (
    LayerSummary,
    ModelSummary,
    describe_receptive_field,
    summarize,
)
from tinysight.classify.settings import ModelSettings


def summary_of(name: str, stem: str = "3x3", *, classes: int = 200) -> ModelSummary:
    return summarize(build_model(ModelSettings(name=name, stem=stem), classes, seed=0))


def by_name(summary: ModelSummary) -> dict[str, LayerSummary]:
    rows = {layer.name: layer for layer in summary.layers}
    assert len(rows) == len(summary.layers)
    return rows


# golden figures, worked out by hand


def test_resnet18_with_7x7_stem_row_by_row() -> None:
    # jump before x (kernel - 1) is what each convolution adds to the field.
    expected = [
        # name, output shape, parameters, MACs, receptive field, jump
        ("conv1", (64, 32, 32), 9_408, 64 * 32 * 32 * 3 * 49, 7, 2),
        ("bn1", (64, 32, 32), 128, 0, 7, 2),
        ("relu", (64, 32, 32), 0, 0, 7, 2),
        ("maxpool", (64, 16, 16), 0, 0, 11, 4),
    ]
    field, jump, width, side = 11, 4, 64, 16
    for layer, out_width in ((1, 64), (2, 128), (3, 256), (4, 512)):
        for block in (0, 1):
            path = f"layer{layer}.{block}"
            stride = 2 if layer > 1 and block == 0 else 1
            side //= stride
            shape, norm = (out_width, side, side), 2 * out_width
            field_before = field
            weights = 9 * width * out_width
            field, jump = field + 2 * jump, jump * stride
            expected += [
                (f"{path}.conv1", shape, weights, weights * side * side, field, jump),
                (f"{path}.bn1", shape, norm, 0, field, jump),
                (f"{path}.relu1", shape, 0, 0, field, jump),
            ]
            weights = 9 * out_width * out_width
            field += 2 * jump
            expected += [
                (f"{path}.conv2", shape, weights, weights * side * side, field, jump),
                (f"{path}.bn2", shape, norm, 0, field, jump),
            ]
            if stride == 2:
                weights = width * out_width
                cost = weights * side * side
                expected += [
                    (f"{path}.downsample.0", shape, weights, cost, field_before, jump),
                    (f"{path}.downsample.1", shape, norm, 0, field_before, jump),
                ]
            expected += [
                (f"{path}.add", shape, 0, 0, field, jump),
                (f"{path}.relu2", shape, 0, 0, field, jump),
            ]
            width = out_width
    assert (field, jump) == (435, 32)
    expected += [
        ("avgpool", (512, 1, 1), 0, 0, 435 + 32, 64),
        ("flatten", (512,), 0, 0, 435 + 32, 64),
        ("fc", (200,), 512 * 200 + 200, 512 * 200, 435 + 32, 64),
    ]
    found = [
        (
            layer.name,
            layer.output_shape,
            layer.parameters,
            layer.macs,
            layer.receptive_field_px,
            layer.jump_px,
        )
        for layer in summary_of("resnet18", "7x7").layers
    ]
    assert found == expected


def test_the_receptive_field_of_the_7x7_stem_resnet18_is_435() -> None:
    summary = summary_of("resnet18", "7x7")
    rows = by_name(summary)
    fields = [
        rows[f"layer{layer}.{block}.relu2"].receptive_field_px
        for layer in (1, 2, 3, 4)
        for block in (0, 1)
    ]
    assert fields == [27, 43, 67, 99, 147, 211, 307, 435]
    assert (summary.receptive_field_px, summary.jump_px, summary.feature_hw) == (435, 32, (2, 2))


def test_the_receptive_field_of_the_3x3_stem_resnet18_is_109() -> None:
    # 3; two blocks of 2+2 at jump 1; 2+4, 4+4 at 2; 4+8, 8+8 at 4; 8+16, 16+16 at 8
    summary = summary_of("resnet18")
    rows = by_name(summary)
    fields = [
        rows[f"layer{layer}.{block}.relu2"].receptive_field_px
        for layer in (1, 2, 3, 4)
        for block in (0, 1)
    ]
    assert fields == [7, 11, 17, 25, 37, 53, 77, 109]
    assert (summary.receptive_field_px, summary.jump_px, summary.feature_hw) == (109, 8, (8, 8))


@pytest.mark.parametrize(
    ("name", "stem", "parameters", "macs"),
    [
        ("resnet18", "3x3", 11_271_432, 2_221_772_800),
        ("resnet18", "7x7", 11_279_112, 148_148_224),
        ("compact", "3x3", 3_531_304, 276_973_568),
        ("compact10", "3x3", 609_864, 53_011_456),
        ("compact12", "3x3", 930_696, 47_912_448),
        ("compact14", "3x3", 3_772_968, 223_521_792),
        ("compact20", "3x3", 7_259_304, 350_923_776),
    ],
)
def test_totals_at_64_px_and_200_classes(name: str, stem: str, parameters: int, macs: int) -> None:
    summary = summary_of(name, stem)
    assert (summary.parameters, summary.macs) == (parameters, macs)
    assert sum(layer.parameters for layer in summary.layers) == parameters


def test_macs_of_resnet18_by_hand() -> None:
    # The first stage works at 64x64, each following one at a quarter of the positions.
    def stage(first: int, width: int, positions: int, *, has_shortcut: bool) -> int:
        weights = 9 * first * width + 3 * 9 * width * width
        return positions * (weights + (first * width if has_shortcut else 0))

    by_hand = (
        64 * 64 * 27 * 64
        + stage(64, 64, 64 * 64, has_shortcut=False)
        + stage(64, 128, 32 * 32, has_shortcut=True)
        + stage(128, 256, 16 * 16, has_shortcut=True)
        + stage(256, 512, 8 * 8, has_shortcut=True)
        + 512 * 200
    )
    assert summary_of("resnet18").macs == by_hand
    assert round(by_hand / 1e9, 3) == 2.222


def test_activation_bytes_are_those_that_hooks_measure() -> None:
    model = build_model(ModelSettings(name="compact"), 200, seed=0).eval()
    measured: dict[str, int] = {}
    for name, module in model.named_modules():
        if not list(module.children()) and not isinstance(module, nn.Identity):
            module.register_forward_hook(
                lambda _, __, output, name=name: operator.setitem(measured, name, output.nbytes)
            )
    with torch.no_grad():
        model(torch.zeros(1, 3, 64, 64))
    summary = summarize(model)
    additions = [layer for layer in summary.layers if layer.kind == "add"]
    assert [layer.activation_bytes for layer in additions] == [
        measured[layer.name.replace("add", "relu2")] for layer in additions
    ]
    rows = {layer.name: layer.activation_bytes for layer in summary.layers if layer.kind != "add"}
    assert rows == measured | {"flatten": 0}
    assert summary.activation_bytes == sum(layer.activation_bytes for layer in summary.layers)


def test_activation_bytes_of_the_first_layers_by_hand() -> None:
    rows = by_name(summary_of("resnet18", "7x7"))
    assert rows["conv1"].activation_bytes == 64 * 32 * 32 * 4
    assert rows["maxpool"].activation_bytes == 64 * 16 * 16 * 4
    assert rows["fc"].activation_bytes == 200 * 4


# other networks


def test_groups_and_dilation_count() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=2, dilation=2, bias=True),
        nn.Conv2d(12, 24, 5, stride=3, groups=4, bias=False),
    )
    first, second = summarize(model, (3, 20, 26)).layers
    assert first.output_shape == (12, 20, 26)
    assert first.macs == 12 * 20 * 26 * 3 * 9
    assert (first.parameters, first.receptive_field_px) == (12 * 3 * 9 + 12, 5)
    assert second.output_shape == (24, 6, 8)
    assert second.macs == 24 * 6 * 8 * (12 // 4) * 25
    assert (second.parameters, second.receptive_field_px, second.jump_px) == (24 * 3 * 25, 9, 3)


def test_a_layer_used_twice_runs_twice_and_is_counted_once() -> None:
    shared = nn.Conv2d(3, 3, 3, padding=1, bias=False)
    summary = summarize(nn.Sequential(shared, nn.ReLU(inplace=True), shared))
    assert [layer.parameters for layer in summary.layers] == [81, 0, 0]
    assert [layer.receptive_field_px for layer in summary.layers] == [3, 3, 5]
    assert summary.layers[1].activation_bytes == 0
    assert summary.parameters == 81
    assert summary.macs == 2 * 81 * 64 * 64


def test_a_network_without_global_pooling_ends_in_its_last_map() -> None:
    summary = summarize(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 2)), (3, 8, 8)
    )
    assert (summary.receptive_field_px, summary.feature_hw) == (3, (6, 6))
    assert [layer.receptive_field_px for layer in summary.layers] == [3, 8, 8]
    assert [layer.macs for layer in summary.layers] == [4 * 36 * 27, 0, 288]


# the model is left as it was


def test_the_model_is_left_exactly_as_it_was() -> None:
    model = build_model(ModelSettings(name="compact"), 5, seed=0)
    model(torch.rand(2, 3, 32, 32)).sum().backward()
    model.get_submodule("layer1").eval()
    calls: list[Any] = []
    handles = [
        model.get_submodule("layer1").register_forward_hook(lambda *seen: calls.append(seen)),
        model.register_forward_pre_hook(lambda *seen: calls.append(seen)),
        model.get_submodule("fc").register_full_backward_hook(lambda *seen: calls.append(seen)),
    ]
    state = copy.deepcopy(model.state_dict())
    grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    tensors = {name: id(p) for name, p in model.named_parameters()}
    modes = {name: module.training for name, module in model.named_modules()}
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    generator = torch.get_rng_state()

    summarize(model)

    assert calls == []
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert {name: id(p) for name, p in model.named_parameters()} == tensors
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()] == hooks
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert grads
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, grads[name])
    assert torch.equal(torch.get_rng_state(), generator)
    model(torch.rand(2, 3, 32, 32)).sum().backward()
    assert len(calls) == 3  # the hooks still work
    for handle in handles:
        handle.remove()


# faults


class Undecided(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


class Attention(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(x)


class Uneven(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.long = nn.Conv2d(3, 3, 1, stride=2)
        self.short = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.long(x) + self.short(x)


def test_a_network_that_cannot_be_traced_is_refused() -> None:
    message = (
        r"Undecided must be a network that torch\.fx can trace, got TraceError: .*"
        r"Let no branch or loop depend on a tensor's values\."
    )
    with pytest.raises(ValueError, match=message):
        summarize(Undecided())


def test_a_layer_without_a_rule_is_refused_by_name() -> None:
    message = (
        r"1: every layer must be of a kind whose receptive field is known, got Upsample\. "
        r"Use common torch\.nn layers and additions, or add a rule to "
        r"tinysight\.classify\.models\.receptive_field\."
    )
    with pytest.raises(ValueError, match=message):
        summarize(nn.Sequential(nn.Conv2d(3, 3, 3), nn.Upsample(scale_factor=2)))


def test_an_operation_without_a_rule_is_refused_by_its_place() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 3), Attention())
    with pytest.raises(ValueError, match=r"^1\.sigmoid: every layer .* got sigmoid\."):
        summarize(model)


def test_branches_with_different_jumps_are_refused_by_their_place() -> None:
    message = r"^0\.add: branches that join must have the same jump, got 2x2 and 64x64 px\."
    with pytest.raises(ValueError, match=message):
        summarize(nn.Sequential(Uneven()))


def test_an_input_that_the_network_does_not_take_is_refused() -> None:
    message = (
        r"input_chw \(=\(1, 64, 64\)\) must be a shape that the network accepts, got "
        r"RuntimeError: .+\. Choose another input shape\."
    )
    with pytest.raises(ValueError, match=message):
        summarize(nn.Sequential(nn.Conv2d(3, 3, 3)), (1, 64, 64))


# in plain words


@pytest.mark.parametrize(
    ("name", "stem", "expected"),
    [
        (
            "resnet18",
            "7x7",
            "Each of the 2x2 positions of the last feature map sees 435x435 px, its receptive "
            "field; the image has 64x64 px: all of them see the whole image.",
        ),
        (
            "resnet18",
            "3x3",
            # Position i is centred on pixel 8 i and sees 54 px to each side: i = 2 … 6 see it all.
            "Each of the 8x8 positions of the last feature map sees 109x109 px, its receptive "
            "field; the image has 64x64 px: 25 of 64 see the whole image, those nearer to its "
            "border only a part.",
        ),
    ],
)
def test_the_receptive_field_in_plain_words(name: str, stem: str, expected: str) -> None:
    assert describe_receptive_field(summary_of(name, stem)) == expected


def test_a_field_smaller_than_the_image_in_plain_words() -> None:
    summary = summarize(nn.Sequential(nn.Conv2d(3, 3, 5, padding=2)), (3, 40, 64))
    assert describe_receptive_field(summary) == (
        "Each of the 40x64 positions of the last feature map sees 5x5 px, its receptive field; "
        "the image has 40x64 px: none sees the whole image, only pooling brings it together."
    )
