"""From the packed images to batches on the device, in an order fixed by seed and epoch.

The uint8 images of the whole store stay in one place: mapped from the file on a CPU, in the memory
of the device otherwise. Order and random draws of an epoch are made once and sent once; a batch is
then a gather and some arithmetic, without workers and without waiting for the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tinysight.classify.augment import Channels, augment_batch, normalise_batch, shrink_batch
from tinysight.classify.draws import AugmentDraws, draw_augmentation
from tinysight.classify.mixing import MixDraws, draw_mixing, mix_batch
from tinysight.classify.randomness import keyed_generator
from tinysight.classify.settings import AugmentSettings
from tinysight.errors import RecipeError

Images = torch.Tensor | NDArray[np.uint8]
"""(N, S, S, 3) uint8: a tensor on the device, or an array or memory map for the CPU."""


@dataclass(frozen=True)
class LabelledImages:
    """The images of a store where batches are made, what is known of each, and how to normalise."""

    images_u8: Images
    """(N, S, S, 3) uint8, as :func:`place_images` returns them."""
    targets: NDArray[np.int64]
    """(N,) class index of each image; for batches to look at, (N, …) of anything known of it."""
    mean: Channels
    """Mean of each channel of the training part, in [0, 1]."""
    std: Channels
    """Standard deviation of each channel, in the same unit, > 0."""


Compiler = Callable[[Callable[..., Any]], Callable[..., Any]]

_UPLOAD_BYTES = 2**26  # what is copied to a device at a time, so that the host needs no second copy


@dataclass(frozen=True)
class Batch:
    """Images on the device with their targets."""

    images: torch.Tensor
    """(B, 3, S, S) float32, normalised, channels_last memory."""
    targets: torch.Tensor
    """(B,) int64 class index."""
    other_targets: torch.Tensor | None = None
    """(B,) int64 class index of the partner of each image; None if the recipe mixes nothing."""
    share: torch.Tensor | None = None
    """(B,) float32 weight of ``targets`` in the loss, in [0, 1], the rest is the weight of
    ``other_targets``; None if the recipe mixes nothing."""

    def split(self, num_parts: int) -> list[Batch]:
        """Cut the batch into equal parts, for the accumulation of gradients.

        Args:
            num_parts: A divisor of the number of images.

        Returns:
            Views of the same memory, in order.
        """
        size = len(self.targets) // num_parts
        assert size * num_parts == len(self.targets), "parts must be equal"
        cuts = [slice(start, start + size) for start in range(0, len(self.targets), size)]
        return [
            Batch(
                self.images[cut],
                self.targets[cut],
                None if self.other_targets is None else self.other_targets[cut],
                None if self.share is None else self.share[cut],
            )
            for cut in cuts
        ]


def epoch_order(num_images: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return (num_images,) int64: a permutation that depends on ``seed`` and ``epoch`` only."""
    return keyed_generator(seed, "order", epoch).permutation(num_images)


def steps_per_epoch(num_images: int, batch_size: int) -> int:
    """Return the number of full batches that it takes to see every image at least once."""
    return -(-num_images // batch_size)


def require_equal_parts(batch_size: int, *, num_processes: int, accumulate: int = 1) -> None:
    """Make sure that a batch can be cut into equal parts.

    Args:
        batch_size: Images of a batch over all processes.
        num_processes: Processes that share a batch; each gets whole pairs of images.
        accumulate: Parts into which each of them cuts its share.

    Raises:
        RecipeError: It cannot.
    """
    if batch_size <= 0 or batch_size % (2 * num_processes):
        raise RecipeError(
            f"train.batch_size (={batch_size}) must be a positive multiple of 2 x the number of "
            f"processes (={num_processes}). Change the batch size or the number of processes."
        )
    if batch_size % (num_processes * accumulate):
        raise RecipeError(
            f"train.batch_size (={batch_size}) must be a multiple of the number of processes "
            f"(={num_processes}) x train.accumulate (={accumulate}), so that all parts are equal. "
            f"Change one of the three."
        )


def place_images(images_u8: NDArray[np.uint8], device: torch.device) -> Images:
    """Put the images where batches are made; do it once and keep the result.

    Args:
        images_u8: (N, S, S, 3) uint8 array or memory map.
        device: Where the network computes.

    Returns:
        The same array on a CPU, where pages are read as they are needed; a tensor in the memory
        of any other device.
    """
    if device.type == "cpu":
        return images_u8
    placed = torch.empty(images_u8.shape, dtype=torch.uint8, device=device)
    step = max(_UPLOAD_BYTES // max(images_u8[:1].nbytes, 1), 1)
    for start in range(0, len(images_u8), step):
        # A copy, because torch warns of arrays that cannot be written, such as a mapped file.
        part = torch.from_numpy(np.array(images_u8[start : start + step]))
        placed[start : start + step] = part.to(device)
    return placed


def training_batches(
    images: LabelledImages,
    rows: NDArray[np.int64],
    settings: AugmentSettings,
    *,
    seed: int,
    epoch: int,
    batch_size: int,
    device: torch.device,
    first_step: int = 0,
    part: tuple[int, int] = (0, 1),
    image_px: int | None = None,
    compiler: Compiler | None = None,
) -> Iterator[Batch]:
    """Return the augmented batches of one epoch.

    All batches are full: the last one is filled up from the start of the same order (with draws
    of its own), so every image is seen at least once and shapes never change.

    Args:
        images: Those of the whole store.
        rows: (n,) rows of ``images`` to train on.
        settings: Augmentation.
        seed: Seed of the run.
        epoch: Epoch, from 0.
        batch_size: Images of a batch over all processes; a multiple of 2 x processes.
        device: Where the network computes.
        first_step: Batches of the epoch to leave out, without computing them.
        part: ``(rank, world size)``: this process gets its share of each batch, in one piece.
        image_px: Side to which the augmented images are made smaller; their own if not given.
        compiler: Makes all changes of a batch one graph, as :func:`torch.compile` does; they are
            made one by one when not given.

    Returns:
        An iterator over ``steps_per_epoch - first_step`` batches of ``batch_size / world size``.

    Raises:
        RecipeError: The batch cannot be cut into equal parts of whole pairs; there is no image;
            or an augmentation does not fit the size of the images.
        ValueError: The images are not on ``device``.
    """
    images_u8, size_px = images.images_u8, images.images_u8.shape[1]
    rank, world_size = part
    require_equal_parts(batch_size, num_processes=world_size)
    if len(rows) == 0:
        raise RecipeError("The training part must hold at least 1 image, found 0. Pack more data.")
    _check_placed(images_u8, device)

    num_positions = steps_per_epoch(len(rows), batch_size) * batch_size
    order = np.resize(epoch_order(len(rows), seed=seed, epoch=epoch), num_positions)
    draws = draw_augmentation(settings, num_positions, size_px=size_px, seed=seed, epoch=epoch)
    if settings.alternate_flips:
        draws = replace(draws, is_flipped=_alternating_flips(len(rows), order, seed, epoch))
    draws = draws.to(device)
    mixing = draw_mixing(settings, num_positions, size_px=size_px, seed=seed, epoch=epoch)
    mixing = mixing.to(device)
    ordered_rows = torch.from_numpy(rows[order]).to(device)
    ordered_targets = torch.from_numpy(images.targets[rows[order]]).to(device)
    change = partial(
        compiler(_change_images) if compiler else _change_images,
        settings=settings,
        mean=tuple(map(float, images.mean)),
        std=tuple(map(float, images.std)),
        image_px=image_px or size_px,
    )
    part_size = batch_size // world_size
    first_position = first_step * batch_size + rank * part_size

    # Inside, so that faults are raised by the call and not by the first batch.
    def batches() -> Iterator[Batch]:
        is_mixed = settings.mix_probability > 0
        for start in range(first_position, num_positions, batch_size):
            here = slice(start, start + part_size)
            own = ordered_targets[here]
            changed, other = change(
                _take(images_u8, ordered_rows[here]), own, draws[here], mixing[here]
            )
            yield Batch(changed, own, *((other, mixing.share[here]) if is_mixed else ()))

    return batches()


def evaluation_batches(
    images: LabelledImages,
    rows: NDArray[np.int64],
    *,
    batch_size: int,
    device: torch.device,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Return all images in the order of ``rows``, normalised but not augmented.

    Args:
        images: Those of the whole store.
        rows: (n,) rows of ``images``.
        batch_size: Images of a batch; the last one may be short.
        device: Where the network computes.

    Returns:
        An iterator over pairs of images, (B, 3, S, S) float32 in channels_last memory, and
        targets, (B, …) int64, on the device.

    Raises:
        ValueError: The images are not on ``device``.
    """
    images_u8 = images.images_u8
    _check_placed(images_u8, device)
    device_rows = torch.from_numpy(np.array(rows)).to(device)
    device_targets = torch.from_numpy(images.targets[rows]).to(device)

    def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for start in range(0, len(rows), batch_size):
            here = slice(start, start + batch_size)
            taken = _take(images_u8, device_rows[here])
            yield normalise_batch(taken, mean=images.mean, std=images.std), device_targets[here]

    return batches()


def _change_images(
    images_u8: torch.Tensor,
    targets: torch.Tensor,
    draws: AugmentDraws,
    mixing: MixDraws,
    *,
    settings: AugmentSettings,
    mean: Channels,
    std: Channels,
    image_px: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the images as the network sees them, and the targets of their partners in mixing."""
    if settings.mix_probability == 0:
        changed = augment_batch(images_u8, draws, settings, mean=mean, std=std, image_px=image_px)
        return changed, targets
    images = augment_batch(images_u8, draws, settings, mean=mean, std=std)
    images, others = mix_batch(images, targets, mixing, settings)
    return shrink_batch(images, image_px), others


def _alternating_flips(
    num_images: int, order: NDArray[np.int64], seed: int, epoch: int
) -> torch.Tensor:
    is_flipped_first = keyed_generator(seed, "alternating flips").random(num_images) < 0.5
    return torch.from_numpy(is_flipped_first[order] ^ bool(epoch % 2))


def _check_placed(images_u8: Images, device: torch.device) -> None:
    found = images_u8.device if isinstance(images_u8, torch.Tensor) else torch.device("cpu")
    if found.type != device.type:
        raise ValueError(
            f"`images_u8` must be on the device of the batches ({device}), found on {found}. "
            f"Call place_images once and pass its result."
        )


def _take(images_u8: Images, rows: torch.Tensor) -> torch.Tensor:
    """Copy these rows of the store, (B, S, S, 3) uint8; only their pages of a mapped file."""
    if isinstance(images_u8, torch.Tensor):
        return images_u8.index_select(0, rows)
    return torch.from_numpy(np.asarray(images_u8)[rows.numpy()])
