"""3x3 convolutions with a quarter of the multiplications, as products of matrices.

A 3x3 filter takes nine multiplications for each position of its output. Two polynomials of
degrees m - 1 and 2 take m + 2 multiplications instead of 3 m once their values at m + 2 points
are known, and a convolution is such a product along both axes: squares of (m + 2) x (m + 2)
positions and filters are transformed, multiplied position by position, and transformed back into
m x m positions of the output. With m = 4 that is 2.25 multiplications a position.

Sources:
    Winograd 1980, Arithmetic Complexity of Computations; Lavin and Gray 2016, Fast Algorithms for
    Convolutional Neural Networks (arXiv:1509.09308), for squares, their gradients and the sizes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.nn.grad import conv2d_input, conv2d_weight

FILTER_PX = 3
TILE_PX = (2, 3, 4)  # larger ones lose too many digits
_OVERLAP_PX = FILTER_PX - 1
_VALUES_KEPT = 1 << 26
_VALUES_AT_ONCE = 1 << 21  # of transformed input: room for wide products that still fit a cache


def winograd_convolution(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Convolve maps with 3x3 filters, stride 1, zeros around the maps.

    In fp32 the results differ from exact ones by about 1e-5 of the largest, where torch's own
    differ by 1e-6. The transformed filters, four times their size, are kept for the gradients, and
    so is the transformed input: 2.25 times its size for sides that are multiples of 4, at most
    four times for other square maps of more than one position. Of large inputs, beyond 256 MiB in
    fp32, it is computed again instead. ``torch.func.vmap`` and derivatives in forward mode are not
    to be had.

    Args:
        x: (B, C, H, W), float32 or float64.
        weight: (K, C, 3, 3), of the same type.

    Returns:
        (B, K, H, W), channels last.
    """
    output, *_ = _WinogradConvolution.apply(x, weight, torch.is_grad_enabled())  # type: ignore[no-untyped-call]
    return output.permute(0, 3, 1, 2)  # type: ignore[no-any-return]


class _WinogradConvolution(torch.autograd.Function):
    """Gives the output (B, H, W, K); transformed input and filters for the gradients to come."""

    @staticmethod
    def forward(
        x: torch.Tensor, weight: torch.Tensor, is_differentiated: bool
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        with torch.autocast("cpu", enabled=False):
            return _convolved(x, weight, is_differentiated=is_differentiated)

    @staticmethod
    def setup_context(
        ctx: Any,
        inputs: tuple[torch.Tensor, torch.Tensor, bool],
        output: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    ) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[:2], *output[1:])

    @staticmethod
    def backward(
        ctx: Any, *grads: torch.Tensor | None
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        grad = grads[0]
        x, weight, tiles, filters = ctx.saved_tensors
        if grad is None:
            return None, None, None
        wanted = ctx.needs_input_grad[:2]
        with torch.autocast("cpu", enabled=False):
            if torch.is_grad_enabled():  # second derivatives are wanted
                return *_torchs_gradients(grad.permute(0, 3, 1, 2), x, weight, wanted), None
            return *_gradients(grad, x, tiles, filters, wanted), None


def _convolved(
    x: torch.Tensor, weight: torch.Tensor, *, is_differentiated: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The output (B, H, W, K), the transformed input or room for a part of it, and the filters."""
    images = x.permute(0, 2, 3, 1)
    num_images, height, width, channels = images.shape
    grid = _Grid.of(height, width)
    transforms = tile_transforms(grid.tile_px, x.dtype)
    filters = _transformed(weight, transforms)
    at_once = grid.images_at_once(num_images, channels)
    tiles_shape = (grid.tiles, grid.window_px**2, channels)
    keeps_tiles = is_differentiated and num_images * math.prod(tiles_shape) <= _VALUES_KEPT
    tiles = images.new_empty(num_images if keeps_tiles else at_once, *tiles_shape)
    output = images.new_empty(num_images, grid.height, grid.width, len(weight))
    squares = output.view(
        num_images, grid.rows, grid.tile_px, grid.columns, grid.tile_px, len(weight)
    )
    windows = _Windows.of(images, grid, at_once)
    for part in _parts(num_images, at_once):
        own = tiles[part] if keeps_tiles else tiles[: part.stop - part.start]
        inputs = windows.transformed(part, out=own)
        products = torch.bmm(inputs.transpose(0, 1), filters.permute(1, 2, 0))
        positions = torch.matmul(transforms.output, products.transpose(0, 1))
        squares[part] = _in_rows(positions, grid, grid.tile_px)
    if (grid.height, grid.width) != (height, width):
        output = output[:, :height, :width].contiguous()
    return output, tiles, filters  # no view: what comes next may write over the output


def _gradients(
    grad: torch.Tensor,
    x: torch.Tensor,
    tiles: torch.Tensor,
    filters: torch.Tensor,
    wanted: tuple[bool, bool],
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Gradients of the input and of the filters: every transform the other way round.

    Args:
        grad: Of the output, (B, H, W, K).
        x: The input, (B, C, H, W).
        tiles: The transformed input, or no more of it than the shape of a part.
        filters: The transformed filters.
        wanted: Whether the gradient of the input, and that of the filters, is asked for.
    """
    num_images, channels, height, width = x.shape
    grid = _Grid.of(height, width)
    transforms = tile_transforms(grid.tile_px, grad.dtype)
    by_position = filters.transpose(0, 1)  # (n², K, C)
    grad_filters = torch.empty_like(by_position, memory_format=torch.contiguous_format)
    if not num_images:
        grad_filters.zero_()
    grad_images = grad.new_empty(num_images, height, width, channels) if wanted[0] else None
    below, beside = grid.height - height, grid.width - width
    upstream = functional.pad(grad, (0, 0, 0, beside, 0, below)) if below or beside else grad
    at_once = grid.images_at_once(num_images, channels)
    padded = grad.new_empty(
        at_once, grid.rows + 1, grid.tile_px, grid.columns + 1, grid.tile_px, channels
    )
    has_tiles = len(tiles) == num_images
    again = None if has_tiles else _Windows.of(x.permute(0, 2, 3, 1), grid, at_once)
    for part in _parts(num_images, at_once):
        positions = _cut(upstream[part], grid.tile_px, grid.tile_px)
        products = torch.matmul(transforms.output.t(), positions).transpose(0, 1)
        if wanted[1]:
            if again is None:
                inputs = tiles[part].flatten(0, 1)
            else:
                room = torch.empty_like(tiles[: part.stop - part.start])
                inputs = again.transformed(part, out=room)
            is_added = float(part.start > 0)  # the first part's sums start from nothing
            grad_filters.baddbmm_(products.transpose(1, 2), inputs.transpose(0, 1), beta=is_added)
        if grad_images is not None:
            grad_inputs = torch.bmm(products, by_position).transpose(0, 1)
            windows = torch.matmul(transforms.input.t(), grad_inputs)
            around = padded[: part.stop - part.start]
            _add_up(_in_rows(windows, grid, grid.window_px), grid, out=around)
            whole = around.flatten(3, 4).flatten(1, 2)
            grad_images[part] = whole[:, 1 : 1 + height, 1 : 1 + width]
    return (
        None if grad_images is None else grad_images.permute(0, 3, 1, 2),
        _of_filters(grad_filters, transforms) if wanted[1] else None,
    )


def _torchs_gradients(
    grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, wanted: tuple[bool, bool]
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    grad_x = grad_weight = None
    if wanted[0]:
        grad_x = conv2d_input(list(x.shape), weight, grad, padding=1)
    if wanted[1]:
        grad_weight = conv2d_weight(x, list(weight.shape), grad, padding=1)
    return grad_x, grad_weight


@dataclass(frozen=True)
class TileTransforms:
    """The three transforms of a tile size m, both axes at once; n = m + 2.

    Attributes:
        input: (n², n²), from a window of the input.
        filter: (n², 9), from a filter.
        output: (m², n²), from products to a tile of the output.
    """

    input: torch.Tensor
    filter: torch.Tensor
    output: torch.Tensor


@cache
def tile_transforms(tile_px: int, dtype: torch.dtype) -> TileTransforms:
    """Return the transforms of a tile size, on the CPU.

    Args:
        tile_px: Places of the output along a side of a tile, m.
        dtype: Of the matrices; they are computed exactly and rounded once.
    """
    along_one_axis = transforms_of_one_axis(tile_px)
    both = (np.kron(matrix, matrix).astype(np.float64) for matrix in along_one_axis)
    return TileTransforms(*(torch.from_numpy(matrix).to(dtype) for matrix in both))


def transforms_of_one_axis(tile_px: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the transforms along one axis as matrices of fractions.

    The output of a tile is ``output @ ((filter @ g) * (input @ d))`` for a filter g (3,) and a
    window d (n,). They are made of the values of polynomials at 0, 1, -1, 2, -2, as many as
    are needed, and at infinity: a product of two polynomials is interpolated (Toom and Cook), and
    that multiplication is transposed.

    Returns:
        input (n, n), filter (n, 3), output (m, n).
    """
    points = [Fraction(point) for point in (0, 1, -1, 2, -2)[: tile_px + FILTER_PX - 2]]
    output = np.array([[point**power for point in points] for power in range(tile_px)])
    output = np.column_stack([output, [Fraction(int(i == tile_px - 1)) for i in range(tile_px)]])
    scales = [math.prod((p - q for q in points if q != p), start=Fraction(1)) for p in points]
    values = [
        [p**power / scale for power in range(FILTER_PX)]
        for p, scale in zip(points, scales, strict=True)
    ]
    at_infinity = [Fraction(int(power == FILTER_PX - 1)) for power in range(FILTER_PX)]
    # A row is a polynomial: the product of x - q over all other points q, its coefficients
    # from the lowest power on. That of infinity is the product over all points.
    lagrange = [[*_product([q for q in points if q != p]), Fraction(0)] for p in points]
    return np.array([*lagrange, _product(points)]), np.array([*values, at_infinity]), output


def _product(roots: list[Fraction]) -> list[Fraction]:
    """Coefficients of the product of x - root, the constant first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        scaled = [*(-root * value for value in coefficients), Fraction(0)]
        coefficients = [a + b for a, b in zip(shifted, scaled, strict=True)]
    return coefficients


@dataclass(frozen=True)
class _Grid:
    """How maps are cut into tiles."""

    tile_px: int
    rows: int
    columns: int

    @classmethod
    def of(cls, height: int, width: int) -> _Grid:
        """The grid with the fewest multiplications."""
        grids = [cls(px, -(-height // px), -(-width // px)) for px in TILE_PX]
        return min(grids, key=lambda grid: grid.tiles * grid.window_px**2)

    @property
    def window_px(self) -> int:
        return self.tile_px + _OVERLAP_PX

    @property
    def tiles(self) -> int:
        return self.rows * self.columns

    @property
    def height(self) -> int:
        return self.rows * self.tile_px

    @property
    def width(self) -> int:
        return self.columns * self.tile_px

    def images_at_once(self, num_images: int, channels: int) -> int:
        values = self.tiles * self.window_px**2 * channels
        return max(1, min(num_images, _VALUES_AT_ONCE // values))


@dataclass(frozen=True)
class _Windows:
    """The windows of images, transformed a part of the images at a time.

    Attributes:
        images: (B, H, W, C).
        grid: How they are cut.
        padded: Room for a part of the images, with zeros where windows reach beyond them.
    """

    images: torch.Tensor
    grid: _Grid
    padded: torch.Tensor

    @classmethod
    def of(cls, images: torch.Tensor, grid: _Grid, at_once: int) -> _Windows:
        height, width = grid.height + _OVERLAP_PX, grid.width + _OVERLAP_PX
        return cls(images, grid, images.new_zeros(at_once, height, width, images.shape[3]))

    def transformed(self, part: slice, *, out: torch.Tensor) -> torch.Tensor:
        """Fill ``out``, (B, tiles, n², C) for the images of a part; return its tiles in one row."""
        images, padded = self.images[part], self.padded[: part.stop - part.start]
        padded[:, 1 : 1 + images.shape[1], 1 : 1 + images.shape[2]] = images
        windows = _cut(padded, self.grid.window_px, self.grid.tile_px)
        transform = tile_transforms(self.grid.tile_px, images.dtype).input
        return torch.bmm(transform.expand(len(windows), -1, -1), windows, out=out.flatten(0, 1))


def _parts(num_images: int, at_once: int) -> Iterator[slice]:
    for start in range(0, num_images, at_once):
        yield slice(start, min(start + at_once, num_images))


def _transformed(weight: torch.Tensor, transforms: TileTransforms) -> torch.Tensor:
    """Filters (K, C, 3, 3) as (K, n², C): the product of small matrices is the quicker one."""
    by_filter = weight.permute(0, 2, 3, 1).flatten(1, 2)
    return torch.bmm(transforms.filter.expand(len(weight), -1, -1), by_filter)


def _of_filters(grad: torch.Tensor, transforms: TileTransforms) -> torch.Tensor:
    """The gradient of transformed filters, here (n², K, C), as that of the filters (K, C, 3, 3)."""
    by_filter = torch.matmul(transforms.filter.t(), grad.transpose(0, 1))
    return by_filter.unflatten(1, (FILTER_PX, FILTER_PX)).permute(0, 3, 1, 2)  # type: ignore[no-any-return]


def _cut(images: torch.Tensor, size_px: int, step_px: int) -> torch.Tensor:
    """Squares of (B, H, W, C), one every ``step_px`` along both axes: (squares, positions, C)."""
    squares = images.unfold(1, size_px, step_px).unfold(2, size_px, step_px)
    return squares.permute(0, 1, 2, 4, 5, 3).reshape(-1, size_px**2, images.shape[3])


def _in_rows(squares: torch.Tensor, grid: _Grid, size_px: int) -> torch.Tensor:
    """Squares (squares, positions, C) as (B, rows, size, columns, size, C)."""
    shape = (-1, grid.rows, grid.columns, size_px, size_px, squares.shape[2])
    return squares.view(shape).transpose(2, 3)


def _add_up(windows: torch.Tensor, grid: _Grid, *, out: torch.Tensor) -> None:
    """Add windows where they overlap.

    Args:
        windows: (B, rows, n, columns, n, C).
        grid: How they were cut.
        out: (B, rows + 1, m, columns + 1, m, C), the maps with one position of padding before them.
    """
    m, rows, columns = grid.tile_px, grid.rows, grid.columns
    out[:, :rows, :, :columns] = windows[:, :, :m, :, :m]
    out[:, rows] = 0
    out[:, :, :, columns] = 0
    out[:, 1:, :_OVERLAP_PX, :columns] += windows[:, :, m:, :, :m]
    out[:, :rows, :, 1:, :_OVERLAP_PX] += windows[:, :, :m, :, m:]
    out[:, 1:, :_OVERLAP_PX, 1:, :_OVERLAP_PX] += windows[:, :, m:, :, m:]
