"""Images that are there twice: the same file, or a picture that shows the same, maybe mirrored.

Pictures are compared by their coarse shapes and colours, which survive another compression, size
or brightness. A picture is described by the lowest frequencies of its cosine transform, each over
its root mean square in all images, so that every frequency counts alike: otherwise two pictures
with a bright sky above a dark ground would be alike and nothing else would matter. The distance of
two pictures with descriptions x and y is ``|x - y|^2 / (|x|^2 + |y|^2)``: 0 for equal ones, about
1 for unrelated ones. Mirroring a picture changes the sign of its odd horizontal frequencies, so
each pair is compared as it is and mirrored in one go.

Every image is compared with every other one; NumPy only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEAR_DISTANCE = 0.125
"""Distance up to which two pictures are taken as the same.

Chosen by looking: among the 110,000 images of Tiny ImageNet there are ten pairs up to 0.11, all of
them the same picture and seven mirrored, and none from there to 0.14. Of the next ten, up to
0.165, two show the same and eight only look alike (obelisks, plaques). Other crops of one
photograph are mostly farther apart than that.
"""
MOST_PAIRS = 100_000

LUMA_FREQUENCIES = 12
"""Frequencies of the brightness in each direction; 12 of 64 pixels tell patterns of 5 pixels."""
CHROMA_FREQUENCIES = 6

# A pair is looked at closely where these alone do not rule it out.
_COARSE_LUMA, _COARSE_CHROMA = 8, 4
_BLOCK_IMAGES = 1024
_PAIRS_AT_ONCE = 50_000
_BLOCK_BYTES = 64 << 20
_LEAST_RMS = 1.0  # of a frequency, grey levels: what is less may be rounding
_LEAST_SQUARE = 1e-4  # of a whole description: what is less is a plain colour
_ROUNDING = 1e-4  # more than float32 sums of a few hundred products are wrong by

# Brightness and two colour differences of red, green and blue (ITU-R BT.601, unscaled).
_LUMA = (0.299, 0.587, 0.114)

Descriptions = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class DuplicatePairs:
    """Pairs of images that show the same, identical files first, then the closest.

    Attributes:
        rows: (P, 2) int64, rows of the images, the lower one first.
        is_identical: (P,) bool, whether the files are equal to the byte. Of several equal files
            each is paired with one other: the first of the other part of the split where there is
            one, so that no copy across the split is hidden, else the first of all.
        is_mirrored: (P,) bool, whether one shows the other left to right.
        distances: (P,) float32, 0 for identical files.
        found: How many there are; more than P only where there are over ``MOST_PAIRS``.
    """

    rows: Rows
    is_identical: NDArray[np.bool_]
    is_mirrored: NDArray[np.bool_]
    distances: NDArray[np.float32]
    found: int


@dataclass(frozen=True)
class _Pairs:
    rows: Rows  # (P, 2)
    distances: NDArray[np.float64]
    is_mirrored: NDArray[np.bool_]
    found: int

    def closest(self, most: int) -> _Pairs:
        """Return at most so many, the closest first and then by row."""
        order = np.lexsort((self.rows[:, 1], self.rows[:, 0], self.distances))[:most]
        return _Pairs(self.rows[order], self.distances[order], self.is_mirrored[order], self.found)


def find_duplicate_pairs(
    images_u8: NDArray[np.uint8],
    sha256s: Sequence[str],
    *,
    is_train: NDArray[np.bool_] | None = None,
    most_distance: float = NEAR_DISTANCE,
    on_progress: Callable[[int, int], None] | None = None,
) -> DuplicatePairs:
    """Find all pairs of images that are the same file or show the same.

    Pictures without any coarse shape, such as plain colours, are compared as files only.

    Args:
        images_u8: (N, S, S, 3) uint8, RGB; may be memory-mapped.
        sha256s: (N,) digest of the file of each image.
        is_train: (N,) whether an image is in the training part; all in one part when not given.
        most_distance: Distance up to which two pictures are taken as near, in (0, 1).
        on_progress: Called with the number of images done and of all.
    """
    _, group_of = np.unique(np.array(sha256s), return_inverse=True)
    in_one_part = np.zeros(len(group_of), np.bool_)
    identical = _identical_pairs(group_of, in_one_part if is_train is None else is_train)
    near = _near_pairs(
        describe_images(images_u8),
        *_kinds_of_columns(images_u8.shape[1]),
        most_distance,
        group_of,
        on_progress,
    )
    return DuplicatePairs(
        rows=np.concatenate([identical, near.rows]),
        is_identical=np.arange(len(identical) + len(near.rows)) < len(identical),
        is_mirrored=np.concatenate([np.zeros(len(identical), np.bool_), near.is_mirrored]),
        # Digits beyond these depend on the order in which a processor adds.
        distances=np.concatenate([np.zeros(len(identical)), near.distances])
        .round(5)
        .astype(np.float32),
        found=len(identical) + near.found,
    )


def describe_images(images_u8: NDArray[np.uint8]) -> Descriptions:
    """Return the whitened low frequencies of images, (N, D) float32.

    Columns are those of brightness, without the mean, and then of the two colour differences, each
    by vertical and then horizontal frequency. A frequency that no image has stays near 0.

    Args:
        images_u8: (N, S, S, 3) uint8, RGB.
    """
    size_px = images_u8.shape[1]
    waves = _cosines(size_px, min(LUMA_FREQUENCIES, size_px))
    chroma = min(CHROMA_FREQUENCIES, size_px)
    block = max(1, _BLOCK_BYTES // (12 * size_px**2))
    parts = []
    for start in range(0, len(images_u8), block):
        pixels = images_u8[start : start + block].astype(np.float32)
        count = len(pixels)
        columns = waves @ pixels.reshape(count, size_px, -1)  # (B, F, S * 3)
        rgb = waves @ columns.reshape(count, len(waves), size_px, 3)  # (B, F, F, 3)
        luma = rgb @ np.array(_LUMA, np.float32)
        differences = rgb[:, :chroma, :chroma, ::2] - luma[:, :chroma, :chroma, None]
        parts.append(
            np.concatenate(
                [
                    luma.reshape(count, -1)[:, 1:],
                    differences.transpose(0, 3, 1, 2).reshape(count, -1),
                ],
                axis=1,
            )
        )
    descriptions: Descriptions = np.concatenate(parts)
    power = np.square(descriptions, dtype=np.float64).mean(axis=0)
    descriptions /= np.sqrt(np.maximum(power, _LEAST_RMS**2)).astype(np.float32)
    return descriptions


def _cosines(size_px: int, count: int) -> NDArray[np.float32]:
    """Return the lowest frequencies of the orthonormal cosine transform, (count, size_px)."""
    places = (np.arange(size_px) + 0.5) / size_px
    waves = np.cos(np.pi * np.arange(count)[:, None] * places) * np.sqrt(2 / size_px)
    waves[0] /= np.sqrt(2)
    result: NDArray[np.float32] = waves.astype(np.float32)
    return result


def _kinds_of_columns(size_px: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which columns of a description are coarse, and which change sign in a mirror."""
    is_coarse, is_odd = [], []
    chroma = (CHROMA_FREQUENCIES, _COARSE_CHROMA)
    for count, coarse in ((LUMA_FREQUENCIES, _COARSE_LUMA), chroma, chroma):
        side = min(count, size_px)
        down, along = np.indices((side, side)).reshape(2, -1)
        is_coarse.append(np.maximum(down, along) < coarse)
        is_odd.append(along % 2 == 1)
    return np.concatenate(is_coarse)[1:], np.concatenate(is_odd)[1:]


def _identical_pairs(group_of: NDArray[np.int64], is_train: NDArray[np.bool_]) -> Rows:
    """Return (P, 2): pairs that join all equal files, across the split wherever that can be."""
    rows = np.arange(len(group_of))
    first = np.full(group_of.max(initial=-1) + 1, len(rows))
    first_train, first_test = first.copy(), first
    np.minimum.at(first_train, group_of[is_train], rows[is_train])
    np.minimum.at(first_test, group_of[~is_train], rows[~is_train])
    other = np.where(is_train, first_test[group_of], first_train[group_of])
    alone = other == len(rows)  # all copies are in one part
    other[alone] = np.minimum(first_train, first_test)[group_of[alone]]
    pairs = np.sort(np.stack([rows, other], axis=1), axis=1)
    return np.unique(pairs[pairs[:, 0] < pairs[:, 1]], axis=0)


def _near_pairs(
    descriptions: Descriptions,
    is_coarse: NDArray[np.bool_],
    is_odd: NDArray[np.bool_],
    most_distance: float,
    group_of: NDArray[np.int64],
    on_progress: Callable[[int, int], None] | None,
) -> _Pairs:
    """Compare every image with every other one that is not the same file."""
    from threadpoolctl import threadpool_limits

    squares = np.square(descriptions, dtype=np.float64).sum(axis=1)
    has_shape = np.flatnonzero(squares > _LEAST_SQUARE)
    lengths = np.sqrt(squares[has_shape]).astype(np.float32)[:, None]
    unit = descriptions[has_shape] / lengths
    # 1 - distance is at most the cosine of two descriptions. That is the product of their coarse
    # columns plus that of the others, which cannot exceed the product of the lengths of these.
    rest = np.sqrt(np.square(unit[:, ~is_coarse]).sum(axis=1, keepdims=True))
    even = np.concatenate([unit[:, is_coarse & ~is_odd], rest], axis=1)
    odd = np.ascontiguousarray(unit[:, is_coarse & is_odd])
    del unit
    least = np.float32(1 - most_distance - _ROUNDING)
    count, total = len(has_shape), len(descriptions)

    def search(start: int) -> _Pairs:
        """Compare a block of images with itself and with all after it."""
        found = _no_pairs()
        here = slice(start, start + _BLOCK_IMAGES)
        for other in range(start, count, _BLOCK_IMAGES):
            there = slice(other, other + _BLOCK_IMAGES)
            bounds = odd[here] @ odd[there].T
            np.abs(bounds, out=bounds)
            bounds += even[here] @ even[there].T
            if bounds.max() < least:
                continue
            first, second = (bounds >= least).nonzero()
            pairs = has_shape[np.stack([first + start, second + other], axis=1)]
            pairs = pairs[
                (pairs[:, 0] < pairs[:, 1]) & (group_of[pairs[:, 0]] != group_of[pairs[:, 1]])
            ]
            for begin in range(0, len(pairs), _PAIRS_AT_ONCE):
                part = pairs[begin : begin + _PAIRS_AT_ONCE]
                near = _measure(descriptions, squares, is_odd, part, most_distance)
                found = _joined(found, near) if len(near.rows) else found
        return found

    starts = range(0, count, _BLOCK_IMAGES)
    found = _no_pairs()
    # Each thread has its own blocks. Threads that share one small product wait for each other.
    with threadpool_limits(limits=1), ThreadPoolExecutor(os.cpu_count()) as pool:
        for start, near in zip(starts, pool.map(search, starts), strict=True):
            found = _joined(found, near)
            if on_progress:
                # A block is compared only with those after it, so the first ones take longest.
                left = max(0, count - start - _BLOCK_IMAGES)
                on_progress(round(total * (1 - (left / count) ** 2)), total)
    return found


def _measure(
    descriptions: Descriptions,
    squares: NDArray[np.float64],
    is_odd: NDArray[np.bool_],
    pairs: Rows,
    most_distance: float,
) -> _Pairs:
    products = descriptions[pairs[:, 0]].astype(np.float64) * descriptions[pairs[:, 1]]
    even, odd = products[:, ~is_odd].sum(axis=1), products[:, is_odd].sum(axis=1)
    sums = squares[pairs].sum(axis=1)
    distances = np.maximum(1 - 2 * (even + np.abs(odd)) / sums, 0)
    is_near = distances <= most_distance
    return _Pairs(pairs[is_near], distances[is_near], (odd < 0)[is_near], found=int(is_near.sum()))


def _joined(one: _Pairs, other: _Pairs) -> _Pairs:
    return _Pairs(
        rows=np.concatenate([one.rows, other.rows]),
        distances=np.concatenate([one.distances, other.distances]),
        is_mirrored=np.concatenate([one.is_mirrored, other.is_mirrored]),
        found=one.found + other.found,
    ).closest(MOST_PAIRS)


def _no_pairs() -> _Pairs:
    return _Pairs(np.empty((0, 2), np.int64), np.empty(0), np.empty(0, np.bool_), 0)
