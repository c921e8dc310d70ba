"""How long does augmenting a batch take, against kornia's AugmentationSequential?

Both start from 256 uint8 images of 64 x 64 in memory and end with normalised float32 images in
channels_last memory, so every row holds conversion and normalisation. Ours includes the gather of
the images and its part of the draws of an epoch of Tiny ImageNet, which are made at once; kornia's
the draws of the batch. Runs take turns; the table shows medians. Kornia draws each kind of change
per image as well; its mixup and cutmix take the partner by a random permutation, its rotation fills
with zeros only.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Iterator

import numpy as np
import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from kornia import augmentation as kornia_augmentation

from tinysight.classify.batches import LabelledImages, training_batches
from tinysight.classify.draws import draw_augmentation
from tinysight.classify.mixing import draw_mixing
from tinysight.classify.settings import AugmentSettings

BATCH_SIZE, SIZE_PX, NUM_IMAGES = 256, 64, 4096
EPOCH_IMAGES = 301 * BATCH_SIZE  # those of the 70/30 split of Tiny ImageNet, the last batch filled
MEAN, STD = (0.48, 0.45, 0.40), (0.27, 0.26, 0.28)
OFF = {"pad_px": 0, "flip_probability": 0.0}
CROP, FLIP = {"pad_px": 8}, {"flip_probability": 0.5}
ROTATE, NOISE = {"rotate_probability": 0.5}, {"noise_probability": 0.5}
RESIZED_CROP = {"resized_crop_probability": 1.0}
DROPOUT, MIX = {"dropout_probability": 0.5}, {"mix_probability": 1.0}


def ours(settings: AugmentSettings, images_u8: np.ndarray) -> Iterator[torch.Tensor]:
    """Yield batches without end, epoch after epoch."""
    rows, targets = np.arange(NUM_IMAGES), np.zeros(NUM_IMAGES, dtype=np.int64)
    epoch = 0
    while True:
        for batch in training_batches(
            LabelledImages(images_u8, targets, MEAN, STD),
            rows,
            settings,
            seed=0,
            epoch=epoch,
            batch_size=BATCH_SIZE,
            device=torch.device("cpu"),
        ):
            yield batch.images
        epoch += 1


def kornias(steps: list[torch.nn.Module], images_u8: np.ndarray) -> Iterator[torch.Tensor]:
    """Yield batches without end; the images come in the order of memory, which costs nothing."""
    normalize = kornia_augmentation.Normalize(torch.tensor(MEAN), torch.tensor(STD))
    sequence = kornia_augmentation.AugmentationSequential(*steps, normalize, data_keys=["input"])
    batches = torch.from_numpy(images_u8).split(BATCH_SIZE)
    while True:
        for batch_u8 in batches:
            images = batch_u8.permute(0, 3, 1, 2).float().div_(255)
            yield sequence(images).contiguous(memory_format=torch.channels_last)


def make_rows() -> list[tuple[str, dict[str, object], list[torch.nn.Module]]]:
    """Return name, fields of our settings, and kornia's modules of each row of the table."""
    crop = kornia_augmentation.RandomCrop((SIZE_PX, SIZE_PX), padding=8, padding_mode="reflect")
    flip = kornia_augmentation.RandomHorizontalFlip(p=0.5)
    resized_crop = kornia_augmentation.RandomResizedCrop((SIZE_PX, SIZE_PX), scale=(0.35, 1.0))
    rotate = kornia_augmentation.RandomRotation(15.0, p=0.5)
    noise = kornia_augmentation.RandomGaussianNoise(std=0.05, p=0.5)
    sides_8_to_16_px = {"scale": (8**2 / 64**2, 16**2 / 64**2), "ratio": (0.5, 2.0)}
    dropout = kornia_augmentation.RandomErasing(**sides_8_to_16_px, p=0.5)
    mixup = kornia_augmentation.RandomMixUpV2(data_keys=["input"])
    cutmix = kornia_augmentation.RandomCutMixV2(data_keys=["input"], use_correct_lambda=True)
    return [
        ("normalise only", {}, []),
        ("crop", CROP, [crop]),
        ("flip", FLIP, [flip]),
        ("resized crop", RESIZED_CROP, [resized_crop]),
        ("rotation", ROTATE, [rotate]),
        ("noise", NOISE, [noise]),
        ("dropout", DROPOUT, [dropout]),
        ("mixup", MIX | {"cutmix_alpha": 0.0}, [mixup]),
        ("cutmix", MIX | {"mixup_alpha": 0.0}, [cutmix]),
        ("crop, flip", CROP | FLIP, [crop, flip]),
        ("crop, flip, dropout", CROP | FLIP | DROPOUT, [crop, flip, dropout]),
        (
            "crop, flip, rot., noise, drop.",
            CROP | FLIP | ROTATE | NOISE | DROPOUT,
            [crop, flip, rotate, noise, dropout],
        ),
    ]


def time_once(batches: Iterator[torch.Tensor]) -> float:
    """Return the seconds that the next batch takes."""
    start = time.perf_counter()
    next(batches)
    return time.perf_counter() - start


def time_draws(settings: AugmentSettings) -> float:
    """Return the seconds that the draws of an epoch take, a batch's part of them."""
    seconds = []
    for epoch in range(3):
        start = time.perf_counter()
        draw_augmentation(settings, EPOCH_IMAGES, size_px=SIZE_PX, seed=0, epoch=epoch)
        draw_mixing(settings, EPOCH_IMAGES, size_px=SIZE_PX, seed=0, epoch=epoch)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds) * BATCH_SIZE / EPOCH_IMAGES


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=16, help="batches a row and side")
    repeats = parser.parse_args().repeats
    rng = np.random.default_rng(0)
    images_u8 = rng.integers(0, 256, (NUM_IMAGES, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    print(
        f"batch {BATCH_SIZE} of {SIZE_PX} x {SIZE_PX}, {torch.get_num_threads()} CPU threads, "
        f"torch {torch.__version__}, median of {repeats}"
    )
    print(f"{'':31}{'ours ms':>9}{'kornia ms':>11}{'ratio':>8}")
    for name, settings, modules in make_rows():
        own_settings = AugmentSettings.model_validate(OFF | settings)
        sides = ours(own_settings, images_u8), kornias(modules, images_u8)
        for side in sides:  # warm up
            time_once(side)
        times = [[time_once(side) for side in sides] for _ in range(repeats)]
        own_s, kornia_s = (statistics.median(column) for column in zip(*times, strict=True))
        # The median is that of batches, and the draws are made before the first of an epoch.
        own_s += time_draws(own_settings)
        print(f"{name:31}{own_s * 1e3:9.2f}{kornia_s * 1e3:11.2f}{kornia_s / own_s:8.1f}")


if __name__ == "__main__":
    main()
