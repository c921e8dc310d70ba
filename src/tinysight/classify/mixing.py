"""Mixup and cutmix: an image is mixed with its neighbour in the epoch's shuffled order.

Neighbours are pairs (2i, 2i + 1), so the partner of an image does not depend on the batch size as
long as that is even. Label smoothing is a matter of the loss and not done here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from tinysight.classify.augment import is_between, rectangle_mask
from tinysight.classify.draws import PositionDraws
from tinysight.classify.randomness import keyed_generator
from tinysight.classify.settings import AugmentSettings


@dataclass(frozen=True)
class MixDraws(PositionDraws):
    """How the image at each of N positions is mixed; see :func:`draw_mixing`."""

    blend: torch.Tensor
    """(N,) float32: weight of the partner in every pixel (mixup); 0 for none."""
    cut_top_px: torch.Tensor
    """(N,) int64: first row of the rectangle taken from the partner (cutmix)."""
    cut_left_px: torch.Tensor
    """(N,) int64: first column of that rectangle."""
    cut_height_px: torch.Tensor
    """(N,) int64; 0 where nothing is cut."""
    cut_width_px: torch.Tensor
    """(N,) int64; 0 where nothing is cut."""
    share: torch.Tensor
    """(N,) float32: weight of the image's own target; for cutmix its exact share of the pixels."""


def draw_mixing(
    settings: AugmentSettings, num_positions: int, *, size_px: int, seed: int, epoch: int
) -> MixDraws:
    """Draw for each position whether its image is mixed, how, and how much.

    Where both are switched on, mixup and cutmix are equally likely. The first n positions get the
    same draws however many positions there are.

    Args:
        settings: ``mix_probability``, ``mixup_alpha`` and ``cutmix_alpha`` count.
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
    """

    def stream(purpose: str) -> np.random.Generator:
        return keyed_generator(seed, "augment", epoch, purpose)

    def own_share(purpose: str, alpha: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        if alpha == 0:
            return np.ones(num_positions)
        return stream(purpose).beta(alpha, alpha, num_positions)

    is_mixed = stream("mix").random(num_positions) < settings.mix_probability
    is_cut = stream("mix kind").random(num_positions) < 0.5
    if settings.mixup_alpha == 0 or settings.cutmix_alpha == 0:
        is_cut[:] = settings.cutmix_alpha > 0

    blend = 1.0 - own_share("mixup", settings.mixup_alpha)
    blend = np.where(is_mixed & ~is_cut, blend, 0.0).astype(np.float32)

    side_px = size_px * np.sqrt(1.0 - own_share("cutmix", settings.cutmix_alpha))
    side_px = np.where(is_mixed & is_cut, side_px, 0.0).astype(np.int64)[:, None]
    centre_px = stream("cutmix centre").integers(0, size_px, (num_positions, 2))
    start_px = np.clip(centre_px - side_px // 2, 0, size_px)
    end_px = np.clip(centre_px - side_px // 2 + side_px, 0, size_px)
    cut_px = end_px - start_px

    share = 1.0 - blend - cut_px.prod(axis=1) / size_px**2
    return MixDraws(
        blend=torch.from_numpy(blend),
        cut_top_px=torch.from_numpy(start_px[:, 0].copy()),
        cut_left_px=torch.from_numpy(start_px[:, 1].copy()),
        cut_height_px=torch.from_numpy(cut_px[:, 0].copy()),
        cut_width_px=torch.from_numpy(cut_px[:, 1].copy()),
        share=torch.from_numpy(share.astype(np.float32)),
    )


def mix_batch(
    images: torch.Tensor, targets: torch.Tensor, draws: MixDraws
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix each image with its neighbour: 0 with 1, 2 with 3, and so on.

    The loss of an image is ``share x loss(targets) + (1 - share) x loss(other_targets)`` with
    ``share`` from the draws.

    Args:
        images: (B, 3, S, S) float32 in channels_last memory; B even.
        targets: (B,) int64.
        draws: Draws of these B images, on the same device.

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
    mixed = torch.where(cut, partner, mixed)
    mixed = mixed.view(num_images, size_px, size_px, 3).permute(0, 3, 1, 2)
    return mixed, _swap_neighbours(targets)


def _swap_neighbours(values: torch.Tensor) -> torch.Tensor:
    return values.view(-1, 2, *values.shape[1:]).flip(1).reshape(values.shape)
