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
from numpy.typing import NDArray

from tinysight.classify.randomness import keyed_generator
from tinysight.classify.settings import AugmentSettings
from tinysight.errors import RecipeError

NUM_NOISE_WINDOWS = 2**20
"""Places in the noise bank at which the noise of one image can begin."""


@dataclass(frozen=True)
class EpochStreams:
    """The random numbers of one epoch, a stream of its own for each purpose.

    So what is drawn for one purpose, or not drawn, leaves those of all others as they were.

    Attributes:
        seed: Seed of the run.
        epoch: Epoch, from 0.
        num_positions: N, positions to draw for.
    """

    seed: int
    epoch: int
    num_positions: int

    def of(self, purpose: str) -> np.random.Generator:
        """Return the stream of a purpose, at its start."""
        return keyed_generator(self.seed, "augment", self.epoch, purpose)

    def choose(self, purpose: str, probability: float) -> NDArray[np.bool_]:
        """Choose each position with a probability; nothing is drawn for 0.

        Returns:
            (N,) bool.
        """
        if probability == 0:
            return np.zeros(self.num_positions, dtype=np.bool_)
        return self.of(purpose).random(self.num_positions) < probability

    def place_inside(
        self, purpose: str, sides_px: NDArray[np.int64], size_px: int
    ) -> NDArray[np.int64]:
        """Draw where rectangles lie, every place equally likely at which all of one is inside.

        Args:
            purpose: What the corners are for.
            sides_px: (N, 2) heights and widths, or (N, 1) for squares, each at most ``size_px``.
            size_px: Side of the image.

        Returns:
            (N, 2) int64: first row and first column.
        """
        corner_rel = self.of(purpose).random((self.num_positions, 2))
        return (corner_rel * (size_px - sides_px + 1)).astype(np.int64)


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
    streams = EpochStreams(seed, epoch, num_positions)
    # What no image needs is not drawn: an epoch on an accelerator takes a second, and the draws of
    # everything a tenth of one, in which it would wait.
    crop_px = streams.of("crop").integers(0, 2 * settings.pad_px + 1, (num_positions, 2))
    crop_top_px, crop_left_px = column_vectors(crop_px)
    resized_px = column_vectors(_draw_enlarged_parts(settings, streams, size_px))
    is_rotated, angle_degrees = _draw_rotation(settings, streams)
    is_noisy, noise_start, noise_sign, noise_bank = _draw_noise(settings, streams, size_px)
    dropout_px = column_vectors(_draw_dropout(settings, streams, size_px))
    return AugmentDraws(
        crop_top_px=crop_top_px,
        crop_left_px=crop_left_px,
        is_flipped=torch.from_numpy(streams.choose("flip", settings.flip_probability)),
        resized_top_px=resized_px[0],
        resized_left_px=resized_px[1],
        resized_height_px=resized_px[2],
        resized_width_px=resized_px[3],
        is_rotated=torch.from_numpy(is_rotated),
        angle_degrees=torch.from_numpy(angle_degrees),
        is_noisy=torch.from_numpy(is_noisy),
        noise_start=torch.from_numpy(noise_start),
        noise_sign=torch.from_numpy(noise_sign),
        dropout_top_px=dropout_px[0],
        dropout_left_px=dropout_px[1],
        dropout_height_px=dropout_px[2],
        dropout_width_px=dropout_px[3],
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


def column_vectors(table: NDArray[np.int64]) -> tuple[torch.Tensor, ...]:
    """Return the columns of a table (N, C) as C contiguous tensors (N,) of the same type."""
    return tuple(torch.from_numpy(table.T.copy()))


def _draw_enlarged_parts(
    settings: AugmentSettings, streams: EpochStreams, size_px: int
) -> NDArray[np.int64]:
    """Return (N, 4): top, left, height and width of the part that fills the image in the end."""
    whole_px = np.tile(np.array([0, 0, size_px, size_px], np.int64), (streams.num_positions, 1))
    if settings.resized_crop_probability == 0:
        return whole_px
    num_positions, min_area_rel = streams.num_positions, settings.resized_crop_min_area
    area_px = streams.of("resized crop area").uniform(min_area_rel, 1.0, num_positions) * size_px**2
    log_ratio = streams.of("resized crop ratio").uniform(-1.0, 1.0, num_positions) * math.log(4 / 3)
    sides_px = np.sqrt(area_px[:, None] * np.exp(np.stack([log_ratio, -log_ratio], axis=1)))
    sides_px = np.clip(np.rint(sides_px), 1, size_px).astype(np.int64)
    corner_px = streams.place_inside("resized crop corner", sides_px, size_px)
    is_resized = streams.choose("resized crop", settings.resized_crop_probability)
    parts_px = np.concatenate([corner_px, sides_px], axis=1)
    return np.where(is_resized[:, None], parts_px, whole_px)


def _draw_rotation(
    settings: AugmentSettings, streams: EpochStreams
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Return which images are rotated, (N,), and by how many degrees, (N,)."""
    probability = settings.rotate_probability if settings.rotate_degrees > 0 else 0.0
    degrees = np.zeros(streams.num_positions)
    if settings.rotate_probability > 0:
        turns = streams.of("angle").uniform(-1.0, 1.0, streams.num_positions)
        degrees = turns * settings.rotate_degrees
    return streams.choose("rotate", probability), degrees.astype(np.float32)


def _draw_noise(
    settings: AugmentSettings, streams: EpochStreams, size_px: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Return which are noisy, where each noise begins, its sign, (N,) each, and the bank."""
    num_positions = streams.num_positions
    is_noisy = streams.choose(
        "noise", settings.noise_probability if settings.noise_std > 0 else 0.0
    )
    if not is_noisy.any():
        start, sign = np.zeros(num_positions, np.int64), np.zeros(num_positions, np.float32)
        return is_noisy, start, sign, np.zeros(0, np.float32)
    start = streams.of("noise window").integers(0, NUM_NOISE_WINDOWS, num_positions)
    sign = (streams.of("noise sign").integers(0, 2, num_positions) * 2 - 1).astype(np.float32)
    num_normals = NUM_NOISE_WINDOWS + size_px * size_px * 3
    bank = streams.of("noise bank").standard_normal(num_normals, dtype=np.float32)
    return is_noisy, start, sign, bank


def _draw_dropout(
    settings: AugmentSettings, streams: EpochStreams, size_px: int
) -> NDArray[np.int64]:
    """Return (N, 4): top, left, height and width of what is dropped; height 0 for nothing."""
    if settings.dropout_probability == 0:
        return np.zeros((streams.num_positions, 4), np.int64)
    sides_px = streams.of("dropout sides").integers(
        settings.dropout_min_px, settings.dropout_max_px + 1, (streams.num_positions, 2)
    )
    corner_px = streams.place_inside("dropout corner", sides_px, size_px)
    dropped_px = np.concatenate([corner_px, sides_px], axis=1)
    dropped_px[:, 2] *= streams.choose("dropout", settings.dropout_probability)
    return dropped_px
