from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tinysight.classify.models.receptive_field import Span, View, join_views, view_through

INPUT_PX = 1200  # more than twice the widest field that four windows below can have


def seen_by(model: nn.Module, position: int) -> tuple[int, int]:
    """First and last input row that an output row depends on, found by differentiation."""
    image = torch.zeros(1, 1, INPUT_PX, 1, dtype=torch.float64, requires_grad=True)
    output = model(image)
    output[0, :, position, 0].sum().backward()
    assert image.grad is not None
    rows = image.grad[0, 0, :, 0].nonzero().flatten()
    return int(rows.min()), int(rows.max())


def with_ones(model: nn.Module) -> nn.Module:
    """All weights positive, so that no two paths cancel."""
    for parameter in model.parameters():
        nn.init.ones_(parameter)
    return model.double()


def view_of(layers: Sequence[nn.Module]) -> View:
    view = View.of_input()
    for layer in layers:
        following = view_through(layer, view, (1, 1))
        assert following is not None
        view = following
    return view


@st.composite
def windows(draw: st.DrawFn) -> nn.Module:
    """A convolution or an average pooling along the rows."""
    kernel = draw(st.integers(1, 5))
    stride = draw(st.integers(1, 3))
    if draw(st.booleans()):
        dilation = draw(st.integers(1, 3))
        padding = draw(st.integers(0, 4))
        return nn.Conv2d(
            1, 1, (kernel, 1), (stride, 1), (padding, 0), dilation=(dilation, 1), bias=False
        )
    padding = draw(st.integers(0, kernel // 2))
    return nn.AvgPool2d((kernel, 1), (stride, 1), (padding, 0))


@settings(deadline=None)
@given(st.lists(windows(), min_size=1, max_size=4))
def test_spans_are_what_differentiation_finds_in_random_stacks(layers: list[nn.Module]) -> None:
    rows = view_of(layers).rows
    model = with_ones(nn.Sequential(*layers))
    length = model(torch.zeros(1, 1, INPUT_PX, 1, dtype=torch.float64)).shape[2]
    # Near the border a field lies in the padding, where there is nothing to differentiate.
    position = length // 2
    assert seen_by(model, position) == (
        rows.first_px + position * rows.jump_px,
        rows.last_px + position * rows.jump_px,
    )


class Branches(nn.Module):
    def __init__(self, left: nn.Module, right: nn.Module) -> None:
        super().__init__()
        self.left, self.right = left, right

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = self.left(x), self.right(x)
        length = min(left.shape[2], right.shape[2])
        return left[:, :, :length] + right[:, :, :length]


@settings(deadline=None)
@given(
    kernels=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    paddings=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    stride=st.integers(1, 3),
)
def test_joined_branches_see_what_differentiation_finds(
    kernels: tuple[int, int], paddings: tuple[int, int], stride: int
) -> None:
    branches = [
        nn.Conv2d(1, 1, (kernel, 1), (stride, 1), (padding, 0), bias=False)
        for kernel, padding in zip(kernels, paddings, strict=True)
    ]
    rows = join_views([view_of([branch]) for branch in branches]).rows
    position = 20
    assert seen_by(with_ones(Branches(*branches)), position) == (
        rows.first_px + position * stride,
        rows.last_px + position * stride,
    )
    assert rows.jump_px == stride


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Conv2d(1, 1, 3, padding=1), Span(-1, 1, 1)),
        (nn.Conv2d(1, 1, 3, 2, padding=1), Span(-1, 1, 2)),
        (nn.Conv2d(1, 1, 3, padding=2, dilation=2), Span(-2, 2, 1)),
        (nn.Conv2d(1, 1, 5, padding="same"), Span(-2, 2, 1)),
        (nn.Conv2d(1, 1, 4, padding="same"), Span(-1, 2, 1)),
        (nn.Conv2d(1, 1, 5, padding="valid"), Span(0, 4, 1)),
        (nn.Conv2d(1, 1, 7, 2, padding=3), Span(-3, 3, 2)),
        (nn.MaxPool2d(3, 2, padding=1), Span(-1, 1, 2)),
        (nn.MaxPool2d(2), Span(0, 1, 2)),
        (nn.MaxPool2d(2, dilation=3), Span(0, 3, 2)),
        (nn.AvgPool2d(4, 1), Span(0, 3, 1)),
        (nn.PixelUnshuffle(2), Span(0, 1, 2)),
        (nn.BatchNorm2d(1), Span(0, 0, 1)),
        (nn.ReLU(), Span(0, 0, 1)),
        (nn.Identity(), Span(0, 0, 1)),
    ],
    ids=repr,
)
def test_one_layer_by_hand(layer: nn.Module, expected: Span) -> None:
    view = view_through(layer, View.of_input(), (8, 8))
    assert view == View(expected, expected)


def test_an_even_same_convolution_agrees_with_differentiation() -> None:
    layer = nn.Conv2d(1, 1, (4, 1), padding="same", bias=False)
    rows = view_of([layer]).rows
    with pytest.warns(UserWarning, match="even kernel lengths"):
        assert seen_by(with_ones(layer), 50) == (50 + rows.first_px, 50 + rows.last_px)


def test_a_view_reports_the_larger_of_its_axes() -> None:
    view = view_through(nn.Conv2d(1, 1, (3, 7), (4, 2)), View.of_input(), (9, 9))
    assert view is not None
    assert (view.extent_px, view.jump_px) == (7, 4)


def test_global_pooling_sees_what_all_positions_see_together() -> None:
    view = view_of([nn.Conv2d(1, 1, 3, 2, padding=1)])
    pooled = view_through(nn.AdaptiveAvgPool2d(1), view, (4, 6))
    assert pooled == View(Span(-1, 7, 8), Span(-1, 11, 12), is_pooled=True)
    assert view_through(nn.Flatten(), view, (4, 6)) == pooled
    assert view_through(nn.Flatten(), pooled, (1, 1)) == pooled
    assert view_through(nn.Linear(2, 2), pooled, ()) == pooled


@pytest.mark.parametrize(
    "layer",
    [nn.Linear(2, 2), nn.ConvTranspose2d(1, 1, 2), nn.Upsample(2), nn.AdaptiveAvgPool2d(2)],
    ids=repr,
)
def test_a_layer_without_a_rule_gets_no_figure(layer: nn.Module) -> None:
    assert view_through(layer, View.of_input(), (8, 8)) is None


def test_branches_with_different_jumps_do_not_join() -> None:
    views = [view_of([nn.Conv2d(1, 1, 3, stride)]) for stride in (1, 2)]
    message = (
        r"branches that join must have the same jump, got 1x1 and 2x2 px\. "
        r"Give them the same strides\."
    )
    with pytest.raises(ValueError, match=message):
        join_views(views)


@settings(deadline=None)
@given(
    first=st.integers(-80, 0),
    extent=st.integers(1, 160),
    jump=st.integers(1, 16),
    positions=st.integers(1, 16),
    size=st.integers(1, 64),
)
def test_whole_views_are_counted_as_by_listing_pixels(
    first: int, extent: int, jump: int, positions: int, size: int
) -> None:
    span = Span(first, first + extent - 1, jump)
    image = set(range(size))
    expected = sum(
        image <= set(range(first + i * jump, first + i * jump + extent)) for i in range(positions)
    )
    assert span.count_whole_views(positions, size) == expected
