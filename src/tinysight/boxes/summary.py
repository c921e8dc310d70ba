"""What is in a set of boxes, as counts: classes, images, sizes, shapes, positions, pairs.

A summary holds whole numbers and extremes only. Summaries of parts that share no image therefore
merge in any order and grouping to the same bits, on one machine or many.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.distributions import (
    ASPECT_BINS,
    REL_BINS,
    SIDE_BINS,
    SIZE_NAMES,
    Counts,
    aspect_bin,
    count_by,
    count_centres,
    count_covered,
    rel_bin,
    side_bin,
    size_class,
)
from tinysight.boxes.near_duplicates import count_repeats
from tinysight.numerals import counted

if TYPE_CHECKING:
    from tinysight.boxes.table import BoxTable

MOST_MEETING = 500
"""Classes of one image up to which it is noted which of them meet; more would be millions of pairs.
"""

_MOST_PAIRS = 2**19  # pairs of classes looked at together, to bound memory
_MOST_DENSE = 2**26  # keys that are counted in an array with a place for each, and not by sorting


@dataclass(frozen=True)
class ClassCount:
    """One class: how many boxes it has, and in how many images."""

    name: str
    boxes: int
    images: int
    sizes: dict[str, int]
    """Boxes by COCO size class."""


@dataclass(frozen=True)
class BoxSummary:
    """Counts over a set of boxes; ``c`` classes, bins as in ``distributions``.

    Crowd regions count as boxes everywhere but among the near-duplicates.
    """

    class_names: tuple[str, ...]

    images: int
    images_without_boxes: int
    images_of_unknown_size: int
    """Their boxes are not on the maps of positions and not among the fractions of the image."""

    images_of_many_classes: int
    """Images of more than ``MOST_MEETING`` classes: it is not noted which of these meet."""

    boxes: int
    crowd_boxes: int
    repeated_boxes: int
    """Boxes that overlap an earlier box of their image and class almost entirely."""

    relabelled_boxes: int
    """Boxes that overlap an earlier box of their image almost entirely, under another class."""

    images_by_num_boxes: Counts
    """(m + 1,) images that hold 0, 1, … m boxes."""

    boxes_by_class: Counts
    """(c,)"""

    pair_classes: Counts
    """(p, 2) class indices a <= b that share an image, ascending; images of many classes only say
    a = b."""

    pair_images: Counts
    """(p,) images that hold both, > 0; for a = b the images of the class."""

    size_by_class: Counts
    """(c, 3) boxes by COCO size class: small, medium, large, pixels of the source image."""

    aspect_by_class: Counts
    """(c, ASPECT_BINS) boxes by width / height."""

    width_by_class: Counts
    """(c, SIDE_BINS) boxes by width, pixels of the source image."""

    height_by_class: Counts
    """(c, SIDE_BINS) boxes by height, pixels of the source image."""

    width_rel_by_class: Counts
    """(c, REL_BINS) boxes by width as a fraction of the image."""

    height_rel_by_class: Counts
    """(c, REL_BINS) boxes by height as a fraction of the image."""

    wh_px: Counts
    """(SIDE_BINS, SIDE_BINS) boxes by height (row) and width (column) in pixels."""

    wh_rel: Counts
    """(REL_BINS, REL_BINS) boxes by height (row) and width (column), fractions of the image."""

    centres: Counts
    """(GRID_CELLS, GRID_CELLS) box centres over the image, rows from the top."""

    covered: Counts
    """(GRID_CELLS, GRID_CELLS) boxes over each point of the image, rows from the top."""

    least_wh_px: NDArray[np.float64]
    """(2,) the least width and the least height; infinite without boxes."""

    greatest_wh_px: NDArray[np.float64]
    """(2,) the greatest width and the greatest height; 0 without boxes."""

    @property
    def images_by_class(self) -> Counts:
        """Images that hold each class, (c,)."""
        counts = np.zeros(len(self.class_names), dtype=np.int64)
        own = np.flatnonzero(np.ptp(self.pair_classes, axis=1) == 0)
        np.put(counts, self.pair_classes[own, 0], self.pair_images[own])
        return counts

    @property
    def sizes(self) -> dict[str, int]:
        """Boxes by COCO size class."""
        return dict(zip(SIZE_NAMES, self.size_by_class.sum(axis=0).tolist(), strict=True))

    @property
    def classes(self) -> tuple[ClassCount, ...]:
        """Every class, the one with the most boxes first, equals by name."""
        rows = zip(
            self.class_names,
            self.boxes_by_class.tolist(),
            self.images_by_class.tolist(),
            self.size_by_class.tolist(),
            strict=True,
        )
        counts = [
            ClassCount(name, boxes, images, dict(zip(SIZE_NAMES, sizes, strict=True)))
            for name, boxes, images, sizes in rows
        ]
        return tuple(sorted(counts, key=lambda entry: (-entry.boxes, entry.name)))

    @property
    def imbalance(self) -> float | None:
        """How many times as many boxes the largest class has as the smallest that has any."""
        counts = self.boxes_by_class[self.boxes_by_class > 0]
        return float(counts.max() / counts.min()) if len(counts) else None

    @property
    def evenness(self) -> float | None:
        """Entropy of the class shares over that of equal shares, in [0, 1]; 1 is balanced."""
        counts = self.boxes_by_class[self.boxes_by_class > 0]
        if len(self.class_names) < 2 or not len(counts):
            return None
        share = counts / counts.sum()
        return float(-(share * np.log(share)).sum() / np.log(len(self.class_names)))

    @property
    def boxes_per_image(self) -> float:
        """Mean number of boxes over all images."""
        return self.boxes / self.images if self.images else 0.0

    def median_boxes_per_image(self) -> int:
        """Return the number of boxes that half of the images do not exceed."""
        total = self.images_by_num_boxes.cumsum()
        return int(np.searchsorted(total, (self.images + 1) // 2)) if self.images else 0

    def cooccurrence(self, class_indices: NDArray[np.integer] | None = None) -> Counts:
        """Return in how many images two classes meet, symmetric.

        Args:
            class_indices: (m,) distinct classes, which have a row and a column each; all of them
                when not given, which for some ten thousand classes are too many for memory.

        Returns:
            (m, m), in the order of the classes.
        """
        num_classes = len(self.class_names)
        chosen = np.arange(num_classes) if class_indices is None else class_indices
        place = np.full(num_classes, -1)
        place[chosen] = np.arange(len(chosen))
        a, b = place[self.pair_classes.T]
        is_chosen = (a >= 0) & (b >= 0)
        a, b, met = a[is_chosen], b[is_chosen], self.pair_images[is_chosen]
        images = np.zeros((len(chosen), len(chosen)), dtype=np.int64)
        images[a, b] = met
        images[b, a] = met
        return images

    def meeting_classes(self) -> Counts:
        """Return the indices of the classes that share an image with another one, ascending."""
        one, other = self.pair_classes.T
        return np.unique(self.pair_classes[one != other])

    def commonest_pairs(self, most: int) -> NDArray[np.intp]:
        """Return the rows of the pairs of two classes that most images hold, the commonest first.

        Args:
            most: How many at the most.
        """
        rows = np.flatnonzero(np.ptp(self.pair_classes, axis=1))
        return rows[np.argsort(-self.pair_images[rows], kind="stable")[:most]]

    @property
    def note_on_pairs(self) -> str:
        """What the pairs leave out, in a sentence; empty where nothing."""
        num_wide = self.images_of_many_classes
        if not num_wide:
            return ""
        return (
            f"{counted(num_wide, 'image')} of more than {MOST_MEETING} classes "
            f"{'is' if num_wide == 1 else 'are'} left out of the pairs of classes."
        )

    @property
    def num_meetings(self) -> int:
        """How many pairs of two classes share an image."""
        return int(np.count_nonzero(np.ptp(self.pair_classes, axis=1)))


_MERGED_OTHERWISE = {
    "class_names",
    "pair_classes",
    "pair_images",
    "images_by_num_boxes",
    "least_wh_px",
    "greatest_wh_px",
}
_SUMMED = tuple(field.name for field in fields(BoxSummary) if field.name not in _MERGED_OTHERWISE)


def summarize_boxes(table: BoxTable) -> BoxSummary:
    """Count everything that a summary holds.

    Args:
        table: Accepted boxes with their images and classes, those without boxes included.
    """
    num_classes, num_images, owner = table.num_classes, table.num_images, table.class_index
    boxes_of_image = np.bincount(table.image_index, minlength=num_images)
    has_size = table.image_wh_px.min(axis=1, initial=np.inf) > 0  # False for NaN
    pair_classes, pair_images, num_wide = _count_pairs(table)
    repeats = count_repeats(table)

    # Columns, each contiguous: several times as fast as rows of four numbers.
    left, top, width, height = np.ascontiguousarray(table.xywh_px.T)
    width_bin, height_bin = side_bin(width), side_bin(height)
    sized = slice(None) if has_size.all() else np.flatnonzero(has_size[table.image_index])
    image_width, image_height = np.ascontiguousarray(table.image_wh_px.T)
    owner_sized, image = owner[sized], table.image_index[sized]
    start_rel = left[sized] / image_width[image], top[sized] / image_height[image]
    side_rel = width[sized] / image_width[image], height[sized] / image_height[image]
    width_rel_bin, height_rel_bin = rel_bin(side_rel[0]), rel_bin(side_rel[1])
    return BoxSummary(
        class_names=table.class_names,
        images=num_images,
        images_without_boxes=int((boxes_of_image == 0).sum()),
        images_of_unknown_size=int((~has_size).sum()),
        images_of_many_classes=num_wide,
        boxes=table.num_boxes,
        crowd_boxes=int(table.is_crowd.sum()),
        repeated_boxes=repeats.repeated,
        relabelled_boxes=repeats.relabelled,
        images_by_num_boxes=np.bincount(boxes_of_image, minlength=1),
        boxes_by_class=np.bincount(owner, minlength=num_classes),
        pair_classes=pair_classes,
        pair_images=pair_images,
        size_by_class=count_by(owner, size_class(width * height), (num_classes, 3)),
        aspect_by_class=count_by(owner, aspect_bin(width / height), (num_classes, ASPECT_BINS)),
        width_by_class=count_by(owner, width_bin, (num_classes, SIDE_BINS)),
        height_by_class=count_by(owner, height_bin, (num_classes, SIDE_BINS)),
        width_rel_by_class=count_by(owner_sized, width_rel_bin, (num_classes, REL_BINS)),
        height_rel_by_class=count_by(owner_sized, height_rel_bin, (num_classes, REL_BINS)),
        wh_px=count_by(height_bin, width_bin, (SIDE_BINS, SIDE_BINS)),
        wh_rel=count_by(height_rel_bin, width_rel_bin, (REL_BINS, REL_BINS)),
        centres=count_centres(start_rel, side_rel),
        covered=count_covered(start_rel, side_rel),
        least_wh_px=np.array([side.min(initial=np.inf) for side in (width, height)]),
        greatest_wh_px=np.array([side.max(initial=0.0) for side in (width, height)]),
    )


def merge_summaries(first: BoxSummary, *others: BoxSummary) -> BoxSummary:
    """Return the summary of all parts together, the same bits for any order and grouping.

    Classes are matched by name. Where all parts list the same classes in the same order, that order
    stays; otherwise the classes come in the order of their names. The parts must not share images:
    an image in two parts would count twice.
    """
    return reduce(_merge_two, others, first)


def _merge_two(one: BoxSummary, other: BoxSummary) -> BoxSummary:
    if one.class_names != other.class_names:
        keys = sorted({*_class_keys(one), *_class_keys(other)})
        one, other = _reordered(one, keys), _reordered(other, keys)
    num_classes = max(len(one.class_names), 1)
    pairs, pair_images = _add_counts(
        [(part.pair_classes @ (num_classes, 1), part.pair_images) for part in (one, other)]
    )
    pair_classes = np.stack(np.divmod(pairs, num_classes), axis=1)
    by_num_boxes = np.zeros(
        max(len(one.images_by_num_boxes), len(other.images_by_num_boxes)), dtype=np.int64
    )
    for part in (one, other):
        by_num_boxes[: len(part.images_by_num_boxes)] += part.images_by_num_boxes
    sums = {name: getattr(one, name) + getattr(other, name) for name in _SUMMED}
    return replace(
        one,
        pair_classes=pair_classes,
        pair_images=pair_images,
        images_by_num_boxes=by_num_boxes,
        least_wh_px=np.minimum(one.least_wh_px, other.least_wh_px),
        greatest_wh_px=np.maximum(one.greatest_wh_px, other.greatest_wh_px),
        **sums,
    )


def _class_keys(summary: BoxSummary) -> list[tuple[str, int]]:
    """Name each class by its name and which of that name it is: two may bear the same."""
    seen: dict[str, int] = {}
    keys = []
    for name in summary.class_names:
        keys.append((name, seen.get(name, 0)))
        seen[name] = seen.get(name, 0) + 1
    return keys


def _reordered(summary: BoxSummary, keys: list[tuple[str, int]]) -> BoxSummary:
    place = {key: index for index, key in enumerate(keys)}
    new_index = np.array([place[key] for key in _class_keys(summary)], dtype=np.int64)
    pairs = np.sort(new_index[summary.pair_classes], axis=1)
    moved: dict[str, Any] = {}
    for name in _SUMMED:
        if name.endswith("_by_class"):
            counts = getattr(summary, name)
            moved[name] = np.zeros((len(keys), *counts.shape[1:]), dtype=np.int64)
            moved[name][new_index] = counts
    return replace(
        summary, class_names=tuple(name for name, _ in keys), pair_classes=pairs, **moved
    )


def _count_pairs(table: BoxTable) -> tuple[Counts, Counts, int]:
    """Count the images in which two classes meet, a class with itself included.

    Returns:
        Pairs, their images, and how many images have so many classes that only the latter count.
    """
    num_classes = max(table.num_classes, 1)
    key = _distinct(
        table.image_index.astype(np.int64) * num_classes + table.class_index,
        table.num_images * num_classes,
    )
    image, owner = np.divmod(key, num_classes)
    # Within its image a class meets itself and those after it.
    num_classes_of = np.bincount(image, minlength=table.num_images)
    is_wide = num_classes_of > MOST_MEETING
    num_partners = num_classes_of.cumsum()[image] - np.arange(len(key))
    num_partners[is_wide[image]] = 1
    total = num_partners.cumsum()
    found = [(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))]
    start = 0
    while start < len(key):
        before = int(total[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(total, before + _MOST_PAIRS, side="right")))
        repeats = num_partners[start:stop]
        first = np.repeat(np.arange(start, stop), repeats)
        second = first + np.arange(len(first)) - np.repeat(repeats.cumsum() - repeats, repeats)
        found.append(_count_keys(owner[first] * num_classes + owner[second], num_classes**2))
        start = stop
    pairs, images = _add_counts(found)
    return np.stack(np.divmod(pairs, num_classes), axis=1), images, int(is_wide.sum())


def _distinct(keys: Counts, num_keys: int) -> Counts:
    """Return the distinct keys, ascending; each is in [0, num_keys)."""
    if num_keys > _MOST_DENSE:
        return np.unique(keys)
    is_there = np.zeros(num_keys, dtype=np.bool_)
    is_there[keys] = True
    return np.flatnonzero(is_there)


def _count_keys(keys: Counts, num_keys: int) -> tuple[Counts, Counts]:
    """Return the distinct keys, ascending, and how often each occurs."""
    if num_keys > _MOST_DENSE // 16:
        return np.unique(keys, return_counts=True)
    counts = np.bincount(keys, minlength=num_keys)
    distinct = np.flatnonzero(counts)
    return distinct, counts[distinct]


def _add_counts(parts: list[tuple[Counts, Counts]]) -> tuple[Counts, Counts]:
    """Add up the counts of keys over several parts; keys come out ascending."""
    keys, place = np.unique(np.concatenate([part[0] for part in parts]), return_inverse=True)
    counts = np.zeros(len(keys), dtype=np.int64)
    np.add.at(counts, place, np.concatenate([part[1] for part in parts]))
    return keys, counts
