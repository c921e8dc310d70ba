"""What one output position of a layer can see of the input image.

Exact intervals rather than sizes: padding and stride shift them, so where branches join, two
fields of the same size may cover different pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from torch import nn

_POINTWISE = (nn.BatchNorm2d, nn.Dropout, nn.GELU, nn.Identity, nn.ReLU, nn.SiLU)


@dataclass(frozen=True)
class Span:
    """Along one axis: output position i sees input pixels first + i * jump … last + i * jump.

    Pixels below 0 or beyond the image are padding.
    """

    first_px: int
    last_px: int
    jump_px: int

    @property
    def extent_px(self) -> int:
        """Number of pixels from first to last."""
        return self.last_px - self.first_px + 1

    def through_window(self, kernel: int, stride: int, padding: int, dilation: int) -> Span:
        """Return what an output of a sliding window over this layer sees."""
        first_px = self.first_px - padding * self.jump_px
        last_px = self.last_px + (dilation * (kernel - 1) - padding) * self.jump_px
        return Span(first_px, last_px, self.jump_px * stride)

    def count_whole_views(self, positions: int, size_px: int) -> int:
        """Count the output positions that see all pixels 0 … size_px - 1."""
        return sum(
            self.first_px + i * self.jump_px <= 0 and self.last_px + i * self.jump_px >= size_px - 1
            for i in range(positions)
        )


@dataclass(frozen=True)
class View:
    """What an output position sees, and whether all positions have been brought together."""

    rows: Span
    columns: Span
    is_pooled: bool = False

    @classmethod
    def of_input(cls) -> Self:
        """Return the view of the input itself: each pixel sees itself."""
        return cls(Span(0, 0, 1), Span(0, 0, 1))

    @property
    def extent_px(self) -> int:
        """Extent of the receptive field, the larger of height and width."""
        return max(self.rows.extent_px, self.columns.extent_px)

    @property
    def jump_px(self) -> int:
        """Distance between neighbouring receptive fields, the larger of the two axes."""
        return max(self.rows.jump_px, self.columns.jump_px)

    def through_window(
        self, kernel: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1
    ) -> View:
        """Return the view behind a sliding window; each value as torch.nn takes it, int or pair."""
        settings = (_pair(value) for value in (kernel, stride, padding, dilation))
        of_rows, of_columns = zip(*settings, strict=True)
        return View(
            self.rows.through_window(*of_rows),
            self.columns.through_window(*of_columns),
            self.is_pooled,
        )

    def pooled(self, map_hw: tuple[int, ...]) -> View:
        """Return the view behind one window that covers the whole map."""
        if self.is_pooled:
            return self
        whole = self.through_window(map_hw, stride=map_hw)
        return View(whole.rows, whole.columns, is_pooled=True)


def view_through(module: nn.Module, view: View, map_hw: tuple[int, ...]) -> View | None:
    """Return what the output of ``module`` sees, or None for a kind of layer without a rule.

    Args:
        module: A layer with one input.
        view: What the layer's input sees.
        map_hw: Height and width of the layer's input; empty once positions are flattened.
    """
    if isinstance(module, _POINTWISE):
        return view
    if isinstance(module, nn.Linear):
        # On a map it would mix columns, which is no sliding window.
        return view if view.is_pooled else None
    if isinstance(module, nn.Conv2d):
        padding = _padding_of(module)
        return view.through_window(module.kernel_size, module.stride, padding, module.dilation)
    if isinstance(module, nn.MaxPool2d):
        window = (module.kernel_size, module.stride, module.padding, module.dilation)
        return view.through_window(*window)
    if isinstance(module, nn.AvgPool2d):
        return view.through_window(module.kernel_size, module.stride, module.padding)
    if isinstance(module, nn.PixelUnshuffle):
        return view.through_window(module.downscale_factor, module.downscale_factor)
    if isinstance(module, nn.AdaptiveAvgPool2d) and _pair(module.output_size) == (1, 1):
        return view.pooled(map_hw)
    if isinstance(module, nn.Flatten):
        return view.pooled(map_hw)
    return None


def join_views(views: list[View]) -> View:
    """Return the smallest view that holds all of ``views``, which must have the same jumps.

    Raises:
        ValueError: The jumps differ, so positions of the branches do not correspond.
    """
    jumps_px = sorted({(view.rows.jump_px, view.columns.jump_px) for view in views})
    if len(jumps_px) > 1:
        raise ValueError(
            f"branches that join must have the same jump, got "
            f"{' and '.join(f'{rows}x{columns}' for rows, columns in jumps_px)} px. "
            f"Give them the same strides."
        )
    return View(
        _union([view.rows for view in views]),
        _union([view.columns for view in views]),
        is_pooled=all(view.is_pooled for view in views),
    )


def _union(spans: list[Span]) -> Span:
    first_px = min(span.first_px for span in spans)
    last_px = max(span.last_px for span in spans)
    return Span(first_px, last_px, spans[0].jump_px)


def _padding_of(convolution: nn.Conv2d) -> Any:
    if convolution.padding == "valid":
        return 0
    if convolution.padding == "same":
        pairs = zip(convolution.dilation, convolution.kernel_size, strict=True)
        # Of an odd total, torch puts the larger part at the end.
        return tuple(dilation * (kernel - 1) // 2 for dilation, kernel in pairs)
    return convolution.padding


def _pair(value: Any) -> tuple[Any, Any]:
    if isinstance(value, tuple | list):
        first, second = value
        return first, second
    return value, value
