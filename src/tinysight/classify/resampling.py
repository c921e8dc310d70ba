"""Resampling the images of a batch, each in its own way, as two products of matrices.

Rows and columns are resampled one after the other, which for bilinear weights and for means over
covered pixels gives the same as both at once.
"""

from __future__ import annotations

import torch


def resample(images: torch.Tensor, by_rows: torch.Tensor, by_columns: torch.Tensor) -> torch.Tensor:
    """Make each new pixel a weighted sum of old ones.

    Args:
        images: (B, H, W, 3) floating point.
        by_rows: (B, H', H) weight of each old row in each new one.
        by_columns: (B, W', W) weight of each old column in each new one.

    Returns:
        (B, H', W', 3), contiguous.
    """
    num_images, height, width, _ = images.shape
    shorter = (by_rows @ images.reshape(num_images, height, -1)).unflatten(2, (width, 3))
    return torch.einsum("bxw,bywc->byxc", by_columns, shorter).contiguous()


def stretching_weights(start: torch.Tensor, length: torch.Tensor, size_px: int) -> torch.Tensor:
    """Return the bilinear weights that stretch a piece of ``size_px`` pixels to all of them.

    Nothing outside the piece counts: beyond the centres of its first and last pixel, these are
    repeated. With ``torch.nn.functional.interpolate``, this is ``align_corners=False``.

    Args:
        start: (B,) first pixel of the piece.
        length: (B,) pixels of the piece, 1 to ``size_px``.
        size_px: Pixels along the axis.

    Returns:
        (B, size_px, size_px) float32: weight of each old pixel in each new one; rows sum to 1.
    """
    index = torch.arange(size_px, device=start.device)
    first, last = start[:, None], (start + length - 1)[:, None]
    source = first + (index + 0.5) * (length / size_px)[:, None] - 0.5
    source = source.clamp(min=first, max=last)
    return (1.0 - (source[:, :, None] - index).abs()).clamp(min=0.0)


def shrinking_weights(start: torch.Tensor, length: torch.Tensor, size_px: int) -> torch.Tensor:
    """Return the weights that shrink ``size_px`` pixels into a piece of them, each a mean.

    Args:
        start: (B,) first new pixel of the piece.
        length: (B,) new pixels; where 0, all weights are 0.
        size_px: Pixels along the axis.

    Returns:
        (B, size_px, size_px) float32: share of each old pixel in each new one; rows outside of the
        piece are 0, the others sum to 1.
    """
    index = torch.arange(size_px, device=start.device)
    per_new = size_px / length.clamp(min=1)[:, None, None]  # old pixels in a new one
    first = (index[None, :, None] - start[:, None, None]) * per_new
    overlap = torch.minimum(first + per_new, index + 1.0) - torch.maximum(first, index * 1.0)
    is_inside = (index >= start[:, None]) & (index < (start + length)[:, None])
    return overlap.clamp(min=0.0) / per_new * is_inside[:, :, None]
