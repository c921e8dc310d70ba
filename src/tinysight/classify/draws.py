"""What happens to each training image of an epoch, drawn up front.

Draws are vectors over the positions in the epoch's shuffled order. They depend on the seed, the
epoch and the position only: not on the batch size, the device, the number of processes or the
step at which a run was resumed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import ClassVar, Self

import numpy as np
import torch

from tinysight.classify.randomness import keyed_generator
from tinysight.classify.settings import AugmentSettings
from tinysight.errors import RecipeError

NUM_NOISE_WINDOWS = 2**20
"""Places in the noise bank at which the noise of one image can begin."""


@dataclass(frozen=True)
class PositionDraws:
    """Draws of an epoch: every field is a vector over positions, but for the shared ones."""

    SHARED: ClassVar[frozenset[str]] = frozenset()

    def __getitem__(self, positions: slice) -> Self:
        """Return the draws of these positions; shared fields are kept whole."""
        return self._map(lambda name, value: value if name in self.SHARED else value[positions])

    def to(self, device: torch.device) -> Self:
        """Return the same draws in the memory of ``device``."""
        return self._map(lambda name, value: value.to(device))

    def _map(self, change: Callable[[str, torch.Tensor], torch.Tensor]) -> Self:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return type(self)(**{name: change(name, value) for name, value in values.items()})


@dataclass(frozen=True)
class AugmentDraws(PositionDraws):
    """What is done to the image at each of N positions; see :func:`draw_augmentation`."""

    SHARED: ClassVar[frozenset[str]] = frozenset({"noise_bank"})

    crop_top_px: torch.Tensor
    """(N,) int64: first row of the crop in the padded image, 0 to 2 x pad_px."""
    crop_left_px: torch.Tensor
    """(N,) int64: first column of the crop in the padded image, 0 to 2 x pad_px."""
    is_flipped: torch.Tensor
    """(N,) bool."""
    resized_top_px: torch.Tensor
    """(N,) int64: first row of the part that is enlarged to the whole image; where nothing is
    enlarged, the part is the whole image."""
    resized_left_px: torch.Tensor
    """(N,) int64: first column of that part."""
    resized_height_px: torch.Tensor
    """(N,) int64, 1 to S."""
    resized_width_px: torch.Tensor
    """(N,) int64, 1 to S."""
    is_rotated: torch.Tensor
    """(N,) bool."""
    angle_degrees: torch.Tensor
    """(N,) float32, anticlockwise; counts only where ``is_rotated``."""
    is_noisy: torch.Tensor
    """(N,) bool."""
    noise_start: torch.Tensor
    """(N,) int64: first value in ``noise_bank`` of the noise of the image."""
    noise_sign: torch.Tensor
    """(N,) float32: +1 or -1; 0 where no image is noisy."""
    dropout_top_px: torch.Tensor
    """(N,) int64: first row of the dropped rectangle."""
    dropout_left_px: torch.Tensor
    """(N,) int64: first column of the dropped rectangle."""
    dropout_height_px: torch.Tensor
    """(N,) int64; 0 where nothing is dropped."""
    dropout_width_px: torch.Tensor
    """(N,) int64."""
    noise_bank: torch.Tensor
    """(NUM_NOISE_WINDOWS + S x S x 3,) float32 standard normals, empty where no image is noisy."""


def draw_augmentation(
    settings: AugmentSettings, num_positions: int, *, size_px: int, seed: int, epoch: int
) -> AugmentDraws:
    """Draw all random parameters of one epoch.

    Each kind of parameter has its own stream, so switching one augmentation on or off leaves the
    draws of the others as they were; and the first n positions get the same draws however many
    positions there are.

    The noise of an image is a window of one bank of standard normals, drawn anew for each epoch,
    with a random start and sign. Normals of its own for each image would cost more than all other
    augmentations together. The window is as good: its values are different draws, hence
    independent; two images share values only at shifted pixels, or, for the few that draw the same
    of the 2^21 windows (77,000 noisy images: 1 in 27), the same noise on another image; and no
    image meets its noise again, because the next epoch has another bank.

    Args:
        settings: Which augmentations, how often and how strong.
        num_positions: Positions to draw for, at least 0.
        size_px: Side S of the square images.
        seed: Seed of the run.
        epoch: Epoch, from 0.

    Returns:
        The draws, in the memory of the CPU.

    Source:
        Szegedy et al. 2015, Going Deeper with Convolutions (arXiv:1409.4842), sec. 6, for crops
        that are enlarged: a share of the area ~ U(min, 1), the ratio of the sides, here uniform in
        its logarithm, from 3/4 to 4/3. A side that would be longer than the image is as long.

    Raises:
        RecipeError: The longest side to drop is longer than the images' side.
    """
    require_dropout_fits(settings, size_px=size_px)

    def stream(purpose: str) -> np.random.Generator:
        return keyed_generator(seed, "augment", epoch, purpose)

    def chosen(purpose: str, probability: float) -> torch.Tensor:
        if probability == 0:
            return torch.zeros(num_positions, dtype=torch.bool)
        return torch.from_numpy(stream(purpose).random(num_positions) < probability)

    # What no image needs is not drawn: an epoch on an accelerator takes a second, and the draws of
    # everything a tenth of one, in which it would wait.
    crop_px = stream("crop").integers(0, 2 * settings.pad_px + 1, (num_positions, 2))
    part_px = torch.tensor([0, 0, size_px, size_px]).repeat(num_positions, 1)
    if settings.resized_crop_probability > 0:
        is_resized = chosen("resized crop", settings.resized_crop_probability)[:, None]
        parts_px = _draw_parts(settings.resized_crop_min_area, num_positions, size_px, stream)
        part_px = torch.where(is_resized, parts_px, part_px)
    is_rotated = chosen(
        "rotate", settings.rotate_probability if settings.rotate_degrees > 0 else 0.0
    )
    angle = np.zeros(num_positions)
    if settings.rotate_probability > 0:
        angle = stream("angle").uniform(-1.0, 1.0, num_positions) * settings.rotate_degrees
    is_noisy = chosen("noise", settings.noise_probability if settings.noise_std > 0 else 0.0)
    noise_start = noise_sign = np.zeros(num_positions, dtype=np.int64)
    noise_bank = np.zeros(0, dtype=np.float32)
    if bool(is_noisy.any()):
        noise_start = stream("noise window").integers(0, NUM_NOISE_WINDOWS, num_positions)
        noise_sign = stream("noise sign").integers(0, 2, num_positions) * 2 - 1
        num_normals = NUM_NOISE_WINDOWS + size_px * size_px * 3
        noise_bank = stream("noise bank").standard_normal(num_normals, dtype=np.float32)

    dropout_px = torch.zeros((num_positions, 4), dtype=torch.int64)
    if settings.dropout_probability > 0:
        is_dropped = chosen("dropout", settings.dropout_probability)
        sides_px = stream("dropout sides").integers(
            settings.dropout_min_px, settings.dropout_max_px + 1, (num_positions, 2)
        )
        # A rectangle is always whole: its corner is drawn so that all of it lies inside the image.
        corner_rel = stream("dropout corner").random((num_positions, 2))
        corner_px = (corner_rel * (size_px - sides_px + 1)).astype(np.int64)
        dropout_px = torch.from_numpy(np.concatenate([corner_px, sides_px], axis=1))
        dropout_px[:, 2] *= is_dropped
    return AugmentDraws(
        crop_top_px=torch.from_numpy(crop_px[:, 0].copy()),
        crop_left_px=torch.from_numpy(crop_px[:, 1].copy()),
        is_flipped=chosen("flip", settings.flip_probability),
        resized_top_px=part_px[:, 0],
        resized_left_px=part_px[:, 1],
        resized_height_px=part_px[:, 2],
        resized_width_px=part_px[:, 3],
        is_rotated=is_rotated,
        angle_degrees=torch.from_numpy(angle.astype(np.float32)),
        is_noisy=is_noisy,
        noise_start=torch.from_numpy(noise_start),
        noise_sign=torch.from_numpy(noise_sign.astype(np.float32)),
        dropout_top_px=dropout_px[:, 0],
        dropout_left_px=dropout_px[:, 1],
        dropout_height_px=dropout_px[:, 2],
        dropout_width_px=dropout_px[:, 3],
        noise_bank=torch.from_numpy(noise_bank),
    )


def require_dropout_fits(settings: AugmentSettings, *, size_px: int) -> None:
    """Make sure that every rectangle to drop lies inside its image.

    Args:
        settings: Whether there is coarse dropout, and of which sides.
        size_px: Side of the images.

    Raises:
        RecipeError: The longest side to drop is longer than the images' side.
    """
    if settings.dropout_probability > 0 and settings.dropout_max_px > size_px:
        raise RecipeError(
            f"augment.dropout_max_px (={settings.dropout_max_px}) must be at most the side of the "
            f"images (={size_px} px). Make it smaller or set augment.dropout_probability to 0."
        )


def _draw_parts(
    min_area_rel: float,
    num_positions: int,
    size_px: int,
    stream: Callable[[str], np.random.Generator],
) -> torch.Tensor:
    """Return (N, 4) int64: top, left, height and width of the parts that are enlarged."""
    area_px = stream("resized crop area").uniform(min_area_rel, 1.0, num_positions) * size_px**2
    log_ratio = stream("resized crop ratio").uniform(-1.0, 1.0, num_positions) * math.log(4 / 3)
    sides_px = np.sqrt(area_px[:, None] * np.exp(np.stack([log_ratio, -log_ratio], axis=1)))
    sides_px = np.clip(np.rint(sides_px), 1, size_px).astype(np.int64)
    corner_rel = stream("resized crop corner").random((num_positions, 2))
    corner_px = (corner_rel * (size_px - sides_px + 1)).astype(np.int64)
    return torch.from_numpy(np.concatenate([corner_px, sides_px], axis=1))
