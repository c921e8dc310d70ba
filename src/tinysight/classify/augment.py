"""Random changes of training images, on whole batches, one draw per image.

The functions here hold no randomness: what to do to each image comes from
:mod:`tinysight.classify.draws`. Inside, images are (B, S, S, 3) float32 with the mean colour at 0.
Then "filled with the mean colour" is a plain 0, and the permuted result is in channels_last memory
without a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from tinysight.classify.draws import AugmentDraws
from tinysight.classify.resampling import resample, stretching_weights
from tinysight.classify.settings import AugmentSettings

Channels = Sequence[float] | NDArray[np.float64]
"""Three numbers, one for each of red, green and blue."""


def augment_batch(
    images_u8: torch.Tensor,
    draws: AugmentDraws,
    settings: AugmentSettings,
    *,
    mean: Channels,
    std: Channels,
    image_px: int | None = None,
) -> torch.Tensor:
    """Pad and crop, flip, enlarge a part, rotate, add noise, drop a rectangle, normalise, shrink.

    All steps are linear in the colours, so the images are normalised first and the order above is
    kept; noise is cut off where it would leave the range of a pixel.

    Args:
        images_u8: (B, S, S, 3) uint8, contiguous, on any device.
        draws: Draws of these B images, on the same device.
        settings: The settings that the draws were made with.
        mean: Mean of each channel, in [0, 1].
        std: Standard deviation of each channel, in the same unit, > 0.
        image_px: Side of the result, 1 to S; S if not given. See :func:`shrink_batch`.

    Returns:
        (B, 3, image_px, image_px) float32 in channels_last memory, normalised by ``mean`` and
        ``std``.
    """
    # Working on the chosen images only saves time on a CPU. On an accelerator their number is not
    # known without waiting for the device, and in a graph not at all, so every image is changed and
    # the right one kept.
    gather_chosen = images_u8.device.type == "cpu" and not torch.compiler.is_compiling()
    image_px = image_px or images_u8.shape[1]
    return _augment(images_u8, draws, settings, mean, std, image_px, gather_chosen=gather_chosen)


def normalise_batch(images_u8: torch.Tensor, *, mean: Channels, std: Channels) -> torch.Tensor:
    """Turn (B, S, S, 3) uint8 into (B, 3, S, S) float32 ``(images / 255 - mean) / std``.

    Args:
        images_u8: (B, H, W, 3) uint8, contiguous.
        mean: Mean of each channel, in [0, 1].
        std: Standard deviation of each channel, in the same unit, > 0.

    Returns:
        (B, 3, H, W) float32 in channels_last memory.
    """
    return _normalise(images_u8, mean, std).permute(0, 3, 1, 2)


def shrink_batch(images: torch.Tensor, image_px: int) -> torch.Tensor:
    """Make (B, 3, S, S) images smaller, each pixel a mean of those it covers; S = image_px: as is.

    Args:
        images: (B, 3, S, S) float32 in channels_last memory.
        image_px: Side of the result, 1 to S.

    Returns:
        (B, 3, image_px, image_px) float32 in channels_last memory.
    """
    if image_px == images.shape[2]:
        return images
    shrunk = F.interpolate(images, size=(image_px, image_px), mode="bilinear", antialias=True)
    return shrunk.contiguous(memory_format=torch.channels_last)


def _augment(
    images_u8: torch.Tensor,
    draws: AugmentDraws,
    settings: AugmentSettings,
    mean: Channels,
    std: Channels,
    image_px: int,
    *,
    gather_chosen: bool,
) -> torch.Tensor:
    images = _normalise(_crop_and_flip(images_u8, draws, settings), mean, std)  # (B, S, S, 3)
    if settings.pad_px and settings.pad_mode == "mean":
        _fill_mean_colour(images, _padding_mask(images.shape[1], draws, settings))

    if settings.resized_crop_probability > 0:
        size_px = images.shape[1]
        by_rows = stretching_weights(draws.resized_top_px, draws.resized_height_px, size_px)
        by_columns = stretching_weights(draws.resized_left_px, draws.resized_width_px, size_px)
        if image_px < size_px and _is_crop_last(settings):
            # One product instead of three passes over the images.
            shrink = _shrinking_matrix(size_px, image_px, images.device)
            by_rows, by_columns = shrink @ by_rows, shrink @ by_columns
        images = resample(images, by_rows, by_columns)

    if settings.rotate_probability > 0:

        def rotate(chosen: torch.Tensor, select: torch.Tensor | slice) -> torch.Tensor:
            return _rotate(chosen, draws.angle_degrees[select], settings.pad_mode)

        images = _change_chosen(images, draws.is_rotated, rotate, gather=gather_chosen)

    if settings.noise_probability > 0 and len(draws.noise_bank):
        gain = [settings.noise_std / channel_std for channel_std in std]

        def add_noise(chosen: torch.Tensor, select: torch.Tensor | slice) -> torch.Tensor:
            start, sign = draws.noise_start[select], draws.noise_sign[select]
            noisy = chosen + _noise(chosen, draws.noise_bank, start, sign, gain)
            return _clamp_to_pixel_range(noisy, mean, std)

        images = _change_chosen(images, draws.is_noisy, add_noise, gather=gather_chosen)

    if settings.dropout_probability > 0:
        index = torch.arange(images.shape[1], device=images.device)
        in_rows = is_between(index, draws.dropout_top_px, draws.dropout_height_px)
        in_columns = is_between(index, draws.dropout_left_px, draws.dropout_width_px)
        _fill_mean_colour(images, rectangle_mask(in_rows, in_columns))
    return shrink_batch(images.permute(0, 3, 1, 2), image_px)


def _is_crop_last(settings: AugmentSettings) -> bool:
    return not (
        settings.rotate_probability or settings.noise_probability or settings.dropout_probability
    )


def _shrinking_matrix(size_px: int, image_px: int, device: torch.device) -> torch.Tensor:
    """Return (image_px, S): the weight of each old row in each new one in :func:`shrink_batch`."""
    rows = torch.eye(size_px, device=device)[None, None]
    return F.interpolate(rows, size=(image_px, size_px), mode="bilinear", antialias=True)[0, 0]


def _change_chosen(
    images: torch.Tensor,
    is_chosen: torch.Tensor,
    change: Callable[[torch.Tensor, torch.Tensor | slice], torch.Tensor],
    *,
    gather: bool,
) -> torch.Tensor:
    if gather:
        index = is_chosen.nonzero()[:, 0]
        if len(index) == 0:
            return images
        return images.index_copy_(0, index, change(images.index_select(0, index), index))
    return torch.where(is_chosen[:, None, None, None], change(images, slice(None)), images)


def _source_index(
    offset_px: torch.Tensor, size_px: int, pad_px: int, is_reversed: torch.Tensor | None = None
) -> torch.Tensor:
    """Row or column of the unpadded image that each row or column of the crop comes from.

    Returns (B, S) int64; below 0 or from ``size_px`` on it lies in the padding.
    """
    index = torch.arange(size_px, device=offset_px.device)
    if is_reversed is not None:
        index = torch.where(is_reversed[:, None], size_px - 1 - index, index)
    return index + (offset_px[:, None] - pad_px)


def _reflect(index: torch.Tensor, size_px: int) -> torch.Tensor:
    """Fold an index back into the image; the edge itself is not repeated (numpy's "reflect")."""
    period = max(2 * (size_px - 1), 1)
    index = index.abs() % period
    return torch.minimum(index, period - index)


def _crop_and_flip(
    images_u8: torch.Tensor, draws: AugmentDraws, settings: AugmentSettings
) -> torch.Tensor:
    """Pad by reflection, crop and flip in one gather of pixels: no padded image is ever made."""
    num_images, size_px = images_u8.shape[:2]
    rows = _source_index(draws.crop_top_px, size_px, settings.pad_px)
    columns = _source_index(draws.crop_left_px, size_px, settings.pad_px, draws.is_flipped)
    rows, columns = _reflect(rows, size_px), _reflect(columns, size_px)
    image = torch.arange(num_images, device=images_u8.device)[:, None]
    pixel = ((image * size_px + rows) * size_px)[:, :, None] + columns[:, None, :]  # (B, S, S)
    return images_u8.view(-1, 3).index_select(0, pixel.view(-1)).view(images_u8.shape)


def _padding_mask(size_px: int, draws: AugmentDraws, settings: AugmentSettings) -> torch.Tensor:
    rows = _source_index(draws.crop_top_px, size_px, settings.pad_px)
    columns = _source_index(draws.crop_left_px, size_px, settings.pad_px, draws.is_flipped)
    in_rows, in_columns = ((i >= 0) & (i < size_px) for i in (rows, columns))
    return ~rectangle_mask(in_rows, in_columns)


def is_between(index: torch.Tensor, start: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
    """Return (B, S) bool: which of the (S,) indices lie in ``length`` from ``start``, (B,) each."""
    return (index >= start[:, None]) & (index < (start + length)[:, None])


def rectangle_mask(in_rows: torch.Tensor, in_columns: torch.Tensor) -> torch.Tensor:
    """Return (B, H, W x 3) bool from (B, H) rows and (B, W) columns, for colours side by side.

    With the channels folded into the columns, masking runs over long stretches of memory and not
    over three values at a time.
    """
    in_values = in_columns[:, :, None].expand(-1, -1, 3).flatten(1)
    return in_rows[:, :, None] & in_values[:, None, :]


def _fill_mean_colour(images: torch.Tensor, mask: torch.Tensor) -> None:
    images.view(mask.shape).masked_fill_(mask, 0.0)


def _rotate(images: torch.Tensor, angle_degrees: torch.Tensor, pad_mode: str) -> torch.Tensor:
    """Rotate (B, S, S, 3) images about their centres, bilinear; all (B,) angles anticlockwise."""
    angle = torch.deg2rad(angle_degrees)[:, None, None]
    # -1 and 1 are the centres of the outer pixels (align_corners), so reflection does not repeat
    # the edge, as in padding.
    axis = torch.linspace(-1.0, 1.0, images.shape[1], device=images.device)
    x, y = axis[None, None, :], axis[None, :, None]
    source_x = angle.cos() * x - angle.sin() * y
    source_y = angle.sin() * x + angle.cos() * y
    rotated = F.grid_sample(
        images.permute(0, 3, 1, 2).contiguous(),  # twice as fast here as channels_last on a CPU
        torch.stack([source_x, source_y], dim=-1),
        mode="bilinear",
        padding_mode="reflection" if pad_mode == "reflect" else "zeros",
        align_corners=True,
    )
    return rotated.permute(0, 2, 3, 1).contiguous()


def _noise(
    images: torch.Tensor,
    bank: torch.Tensor,
    start: torch.Tensor,
    sign: torch.Tensor,
    gain: Channels,
) -> torch.Tensor:
    num_values = images[0].numel()
    windows = _windows(bank, start, num_values)  # (B, S x S x 3)
    windows.mul_(sign[:, None]).mul_(_per_value(gain, num_values, images.device))
    return windows.view(images.shape)


def _windows(bank: torch.Tensor, start: torch.Tensor, length: int) -> torch.Tensor:
    """Copy (B, length): that many numbers of the bank from each of the (B,) starts on."""
    if bank.device.type == "cpu":
        # Several times as fast here as what follows.
        return bank.unfold(0, length, 1).index_select(0, start)
    # A device may first copy a view that is not contiguous, as MPS does: all windows are 50 GB.
    return bank[start[:, None] + torch.arange(length, device=bank.device)]


def _per_value(channel: Channels, num_values: int, device: torch.device) -> torch.Tensor:
    """Repeat three numbers to (num_values,) float32: r, g, b, r, g, b and so on.

    A full row to multiply with is some times faster than three numbers that are broadcast. It is
    filled on the device, because sending it there would make the host wait.
    """
    numbers = [torch.full((1,), float(number), device=device) for number in channel]
    return torch.cat(numbers).repeat(num_values // len(channel))


def _normalise(images_u8: torch.Tensor, mean: Channels, std: Channels) -> torch.Tensor:
    num_values = images_u8[0].numel()
    scale, offset = _scale_and_offset(mean, std)
    images = images_u8.view(-1, num_values).to(torch.float32)
    # Multiplied and added in two steps: one fused step may round differently at the end of a
    # thread's share, and then the result would depend on the batch size.
    images.mul_(_per_value(scale, num_values, images.device))
    images.add_(_per_value(offset, num_values, images.device))
    return images.view(images_u8.shape)


def _scale_and_offset(mean: Channels, std: Channels) -> tuple[list[float], list[float]]:
    scale = [1.0 / (255.0 * s) for s in std]
    return scale, [-m / s for m, s in zip(mean, std, strict=True)]


def _clamp_to_pixel_range(images: torch.Tensor, mean: Channels, std: Channels) -> torch.Tensor:
    num_values = images[0].numel()
    low = _per_value([-m / s for m, s in zip(mean, std, strict=True)], num_values, images.device)
    high = _per_value(
        [(1 - m) / s for m, s in zip(mean, std, strict=True)], num_values, images.device
    )
    images.view(-1, num_values).clamp_(low, high)
    return images
