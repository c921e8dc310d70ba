"""Mixup, cutmix and resizemix: an image is mixed with its neighbour in the epoch's shuffled order.

Neighbours are pairs (2i, 2i + 1), so the partner of an image does not depend on the batch size as
long as that is even. Label smoothing is a matter of the loss and not done here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tinysight.classify.augment import is_between, rectangle_mask
from tinysight.classify.draws import EpochStreams, PositionDraws, column_vectors
from tinysight.classify.resampling import resample, shrinking_weights
from tinysight.classify.settings import AugmentSettings

_LEAST_RESIZED = 0.1


@dataclass(frozen=True)
class MixDraws(PositionDraws):
    """How the image at each of N positions is mixed; see :func:`draw_mixing`."""

    blend: torch.Tensor
    """(N,) float32: weight of the partner in every pixel (mixup); 0 for none."""
    cut_top_px: torch.Tensor
    """(N,) int64: first row of the rectangle that shows the partner (cutmix, resizemix)."""
    cut_left_px: torch.Tensor
    """(N,) int64: first column of that rectangle."""
    cut_height_px: torch.Tensor
    """(N,) int64; 0 where nothing is cut."""
    cut_width_px: torch.Tensor
    """(N,) int64; 0 where nothing is cut."""
    is_resized: torch.Tensor
    """(N,) bool: the rectangle shows the whole partner, made smaller (resizemix)."""
    share: torch.Tensor
    """(N,) float32: weight of the image's own target; with a rectangle, its exact share of the
    pixels."""


def draw_mixing(
    settings: AugmentSettings, num_positions: int, *, size_px: int, seed: int, epoch: int
) -> MixDraws:
    """Draw for each position whether its image is mixed, how, and how much.

    Those of mixup, cutmix and resizemix that are switched on are equally likely. The first n
    positions get the same draws however many positions there are.

    Args:
        settings: ``mix_probability``, ``mixup_alpha``, ``cutmix_alpha`` and ``resizemix_max_side``
            count.
        num_positions: Positions to draw for, at least 0.
        size_px: Side S of the square images.
        seed: Seed of the run.
        epoch: Epoch, from 0.

    Returns:
        The draws, in the memory of the CPU.

    Source:
        Zhang et al. 2018, mixup (arXiv:1710.09412), eq. 1: share of the image ~ Beta(a, a).
        Yun et al. 2019, CutMix (arXiv:1905.04899), sec. 3.1 and appendix A: a rectangle of sides
        S x sqrt(1 - lambda) about a uniform centre, cut off at the border of the image; the share
        is then the share of the pixels that is left.
        Qin et al. 2020, ResizeMix (arXiv:2012.11101), sec. 3.2: the partner, made smaller to a
        side of S x tau, tau ~ U(0.1, resizemix_max_side), at a uniform place.
    """
    streams = EpochStreams(seed, epoch, num_positions)
    is_mixup, is_cutmix, is_resizemix = _draw_kinds(settings, streams)
    # Nothing is drawn for a kind that mixes no image: on an accelerator an epoch would wait for it.
    blend = np.zeros(num_positions, dtype=np.float32)
    if is_mixup.any():
        alpha = settings.mixup_alpha
        own_share = streams.of("mixup").beta(alpha, alpha, num_positions)
        blend = np.where(is_mixup, 1.0 - own_share, 0.0).astype(np.float32)
    cut_px = np.zeros((num_positions, 4), dtype=np.int64)
    if is_cutmix.any():
        cut_px = _draw_cutmix(settings, streams, size_px, is_cutmix)
    if is_resizemix.any():
        resized_px = _draw_resizemix(settings, streams, size_px)
        cut_px = np.where(is_resizemix[:, None], resized_px, cut_px)
    share = 1.0 - blend - cut_px[:, 2:].prod(axis=1) / size_px**2
    top_px, left_px, height_px, width_px = column_vectors(cut_px)
    return MixDraws(
        blend=torch.from_numpy(blend),
        cut_top_px=top_px,
        cut_left_px=left_px,
        cut_height_px=height_px,
        cut_width_px=width_px,
        is_resized=torch.from_numpy(is_resizemix),
        share=torch.from_numpy(share.astype(np.float32)),
    )


def _draw_kinds(
    settings: AugmentSettings, streams: EpochStreams
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which images are mixed by mixup, by cutmix and by resizemix, (N,) each."""
    is_mixed = streams.choose("mix", settings.mix_probability)
    if not is_mixed.any():
        return is_mixed, is_mixed, is_mixed
    kinds = [
        name
        for name, is_on in (
            ("cutmix", settings.cutmix_alpha > 0),
            ("mixup", settings.mixup_alpha > 0),
            ("resizemix", settings.resizemix_max_side > 0),
        )
        if is_on
    ]
    drawn = (streams.of("mix kind").random(streams.num_positions) * len(kinds)).astype(np.int64)
    mixup, cutmix, resizemix = (
        is_mixed & (drawn == kinds.index(name)) if name in kinds else np.zeros_like(is_mixed)
        for name in ("mixup", "cutmix", "resizemix")
    )
    return mixup, cutmix, resizemix


def _draw_cutmix(
    settings: AugmentSettings, streams: EpochStreams, size_px: int, is_cut: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return (N, 4): top, left, height and width of a rectangle; of no area where not cut."""
    alpha = settings.cutmix_alpha
    own_share = streams.of("cutmix").beta(alpha, alpha, streams.num_positions)
    side_px = size_px * np.sqrt(1.0 - own_share)
    side_px = np.where(is_cut, side_px, 0.0).astype(np.int64)[:, None]
    centre_px = streams.of("cutmix centre").integers(0, size_px, (streams.num_positions, 2))
    start_px = np.clip(centre_px - side_px // 2, 0, size_px)
    end_px = np.clip(centre_px - side_px // 2 + side_px, 0, size_px)
    return np.concatenate([start_px, end_px - start_px], axis=1)


def _draw_resizemix(
    settings: AugmentSettings, streams: EpochStreams, size_px: int
) -> NDArray[np.int64]:
    """Return (N, 4): top, left, height and width of a square that lies inside the image."""
    side_rel = streams.of("resizemix side").uniform(
        _LEAST_RESIZED, settings.resizemix_max_side, streams.num_positions
    )
    side_px = np.maximum(size_px * side_rel, 1.0).astype(np.int64)[:, None]
    corner_px = streams.place_inside("resizemix corner", side_px, size_px)
    return np.concatenate([corner_px, side_px, side_px], axis=1)


def mix_batch(
    images: torch.Tensor, targets: torch.Tensor, draws: MixDraws, settings: AugmentSettings
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix each image with its neighbour: 0 with 1, 2 with 3, and so on.

    The loss of an image is ``share x loss(targets) + (1 - share) x loss(other_targets)`` with
    ``share`` from the draws.

    Args:
        images: (B, 3, S, S) float32 in channels_last memory; B even.
        targets: (B,) int64.
        draws: Draws of these B images, on the same device.
        settings: The settings that the draws were made with.

    Returns:
        The mixed images, (B, 3, S, S) float32 in channels_last memory, and the targets of the
        partners, (B,) int64.
    """
    num_images, _, size_px, _ = images.shape
    own = images.permute(0, 2, 3, 1).reshape(num_images, size_px, size_px * 3)
    partner = _swap_neighbours(own)
    # own + blend x (partner - own) leaves an image with blend 0 exactly as it was.
    mixed = (partner - own).mul_(draws.blend[:, None, None]).add_(own)
    row = torch.arange(size_px, device=images.device)
    cut = rectangle_mask(
        is_between(row, draws.cut_top_px, draws.cut_height_px),
        is_between(row, draws.cut_left_px, draws.cut_width_px),
    )
    if settings.resizemix_max_side > 0:
        smaller = _shrunk_into_rectangle(partner, draws)
        partner = torch.where(draws.is_resized[:, None, None], smaller, partner)
    mixed = torch.where(cut, partner, mixed)
    mixed = mixed.view(num_images, size_px, size_px, 3).permute(0, 3, 1, 2)
    return mixed, _swap_neighbours(targets)


def _shrunk_into_rectangle(images: torch.Tensor, draws: MixDraws) -> torch.Tensor:
    """Show each whole (S, S x 3) image in its rectangle; outside of it, 0."""
    size_px = images.shape[1]
    by_rows = shrinking_weights(draws.cut_top_px, draws.cut_height_px, size_px)
    by_columns = shrinking_weights(draws.cut_left_px, draws.cut_width_px, size_px)
    return resample(images.unflatten(2, (size_px, 3)), by_rows, by_columns).flatten(2)


def _swap_neighbours(values: torch.Tensor) -> torch.Tensor:
    return values.view(-1, 2, *values.shape[1:]).flip(1).reshape(values.shape)
