"""Accepted boxes as columns, and what must hold of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class BoxTable:
    """Accepted boxes as columns, with the images and classes they refer to.

    Images and classes without boxes are included. Pixels have no inside here: a box spans the
    real interval from ``left`` to ``left + width``, and an image from 0 to its width.

    Raises:
        ValueError: A column breaks an invariant. Readers hold them for every file, so this is a
            bug of the code that made the table and not a fault of a file.
    """

    xywh_px: NDArray[np.float64]
    """(n, 4) left, top, width, height in pixels of each source image; width and height > 0."""
    image_index: NDArray[np.int32]
    """(n,) rows of ``image_names``."""
    class_index: NDArray[np.int32]
    """(n,) rows of ``class_names``."""
    is_crowd: NDArray[np.bool_]
    """(n,) whether the box covers a group of objects that were not told apart."""
    annotation_ids: NDArray[Any]
    """(n,) int64 or str, as the file has them; positions from 0 where it has none."""
    image_wh_px: NDArray[np.float64]
    """(m, 2) width, height in pixels; NaN where no size is known."""
    image_names: tuple[str, ...]
    """(m,) file names."""
    class_names: tuple[str, ...]
    """(c,) names of the classes."""
    category_ids: tuple[int | str, ...]
    """(c,) the ids of the classes in the file."""

    def __post_init__(self) -> None:
        num_boxes = len(self.xywh_px)
        _must(self.xywh_px.shape == (num_boxes, 4), "xywh_px must be (n, 4)")
        for name in ("image_index", "class_index", "is_crowd", "annotation_ids"):
            _must(getattr(self, name).shape == (num_boxes,), f"{name} must be (n,)")
        _must(self.image_wh_px.shape == (self.num_images, 2), "image_wh_px must be (m, 2)")
        _must(len(self.category_ids) == self.num_classes, "category_ids must be (c,)")
        _must(bool(np.isfinite(self.xywh_px).all()), "xywh_px must be finite")
        _must(bool((self.xywh_px[:, 2:] > 0).all()), "width and height must be > 0")
        _must(_is_within(self.image_index, self.num_images), "image_index must be in [0, m)")
        _must(_is_within(self.class_index, self.num_classes), "class_index must be in [0, c)")

    @property
    def num_boxes(self) -> int:
        """Boxes, crowd regions included."""
        return len(self.xywh_px)

    @property
    def num_images(self) -> int:
        """Images, those without boxes included."""
        return len(self.image_names)

    @property
    def num_classes(self) -> int:
        """Classes, those without boxes included."""
        return len(self.class_names)

    @property
    def wh_px(self) -> NDArray[np.float64]:
        """(n, 2) width and height of each box in pixels of its source image."""
        return self.xywh_px[:, 2:]


def _is_within(index: NDArray[np.int32], count: int) -> bool:
    return len(index) == 0 or (int(index.min()) >= 0 and int(index.max()) < count)


def _must(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"BoxTable: {what}")
