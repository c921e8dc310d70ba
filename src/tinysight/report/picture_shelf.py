"""The pictures of a page, each there once, and the cells of tables that show them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from urllib.parse import urlencode

from tinysight.report.page import Link, PictureCell


class PictureShelf:
    """The pictures of a page, each once, in the order in which they were asked for."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files
        self._numbers: dict[str, int] = {}

    def number_of(self, sample_id: str) -> int | None:
        """Return the number of a picture, or None where there is none."""
        if sample_id not in self._files:
            return None
        return self._numbers.setdefault(sample_id, len(self._numbers))

    @property
    def files(self) -> list[bytes]:
        """The image files by number."""
        return [self._files[sample_id] for sample_id in self._numbers]


def picture_cell(
    shelf: PictureShelf, sample_id: str, label: str, in_gallery: Collection[str]
) -> PictureCell | None:
    """Return a table's cell with a picture that opens in the gallery where it is there.

    Args:
        shelf: The pictures of the page.
        sample_id: Which one; there is no cell of one that the shelf has not.
        label: Its class in words.
        in_gallery: Sample ids of the pictures of the gallery.
    """
    number = shelf.number_of(sample_id)
    if number is None:
        return None
    anchor = _image_anchor(sample_id) if sample_id in in_gallery else ""
    return PictureCell(number, f"{sample_id}, labelled {label}", anchor)


def sample_link(sample_id: str, in_gallery: Collection[str]) -> Link | str:
    """Return the name of a picture, as a link into the gallery where it is there."""
    return Link(sample_id, _image_anchor(sample_id)) if sample_id in in_gallery else sample_id


def _image_anchor(sample_id: str) -> str:
    return f"#{urlencode({'image': sample_id})}"
