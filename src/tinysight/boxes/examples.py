"""A few photographs of an annotated set, with the boxes that are on them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.geometry import factors_to_input
from tinysight.boxes.image_sizes import ImageFiles
from tinysight.boxes.quality import match_anchors
from tinysight.orientation import UPRIGHT, orientation_of, turned_upright

if TYPE_CHECKING:
    from PIL import Image

    from tinysight.boxes.anchors import AnchorSet
    from tinysight.boxes.table import BoxTable

_MOST_PIXELS = 50_000_000
MOST_BOXES = 30
"""Boxes of one picture, the largest of the image; more hide each other."""


@dataclass(frozen=True)
class AnchorMatch:
    """The best anchor of each box of an image."""

    wh_px: NDArray[np.float64]
    """(n, 2) width and height in pixels of the image."""

    index: NDArray[np.intp]
    """(n,) which anchor it is."""


@dataclass(frozen=True)
class Example:
    """One image with its boxes."""

    photograph: Image.Image
    """RGB, upright, at its own size."""

    boxes_xywh_px: NDArray[np.float64]
    """(n, 4) left, top, width, height in pixels of the image, the largest first."""

    class_names: tuple[str, ...]
    """(n,)"""

    num_boxes: int
    """How many the image has; more than n where it has very many."""

    def match(self, anchors: AnchorSet) -> AnchorMatch:
        """Return the best anchor of each box, scaled from the input of the network to the image."""
        image_wh = np.array(self.photograph.size, dtype=np.float64)
        (factors,) = factors_to_input(image_wh[None], anchors.input_size_wh, anchors.fit)
        best = match_anchors(self.boxes_xywh_px[:, 2:] * factors, anchors.anchors_wh_px).anchor
        return AnchorMatch(anchors.anchors_wh_px[best] / factors, best)


def choose_examples(table: BoxTable, images_dir: Path, most: int) -> Iterator[Example]:
    """Yield images spread evenly over a set, those that can be read and have boxes.

    Args:
        table: Boxes and their images.
        images_dir: Where the image files are.
        most: How many at the most.
    """
    files = ImageFiles(images_dir)
    with_boxes = np.unique(table.image_index)
    # Every so-manieth image first; the others stand in for those that cannot be read.
    first = with_boxes[np.linspace(0, len(with_boxes) - 1, min(most, len(with_boxes))).astype(int)]
    order = [*first.tolist(), *sorted(set(with_boxes.tolist()) - set(first.tolist()))]
    found = 0
    for image in order[: 20 * most]:
        path = files.find(table.image_names[image])
        photograph = None if path is None else _open(path, table.image_wh_px[image].tolist())
        if photograph is None:
            continue
        rows = np.flatnonzero(table.image_index == image)
        by_area = rows[np.argsort(-table.wh_px[rows].prod(axis=1), kind="stable")][:MOST_BOXES]
        yield Example(
            photograph=photograph,
            boxes_xywh_px=table.xywh_px[by_area],
            class_names=tuple(table.class_names[index] for index in table.class_index[by_area]),
            num_boxes=len(rows),
        )
        found += 1
        if found == most:
            return


def _open(path: Path, stated_wh_px: Sequence[float]) -> Image.Image | None:
    """Return a picture as its boxes have it: upright, unless only the file as stored fits them."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a large image; those are left out here
            with Image.open(path) as image:
                if image.width * image.height > _MOST_PIXELS:
                    return None
                orientation = _orientation(image)  # asked for first: a TIFF forgets it
                image.load()
                upright = turned_upright(image, orientation)
                wh_px = tuple(stated_wh_px)
                if wh_px == image.size and wh_px != upright.size:
                    upright = image
                return upright.convert("RGB")
    except Exception:  # Pillow's readers raise nearly anything on damaged files
        return None


def _orientation(image: Image.Image) -> int:
    try:
        return orientation_of(image)
    except Exception:  # and on damaged EXIF, while the picture may be sound
        return UPRIGHT
