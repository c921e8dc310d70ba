"""Sizes of images that the annotations do not state: from the image files, or as given."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from tinysight.boxes.folder_walk import walk_folders
from tinysight.boxes.records import RawBoxes, ReadOptions
from tinysight.orientation import orientation_of

if TYPE_CHECKING:
    from PIL import Image

_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".jfif")

NO_IMAGE_SIZE = "no_image_size"
"""Kind of the marks of records whose image has no size that is known."""

_TURNED = (5, 6, 7, 8)  # orientations where the rows of the file are the columns of the picture


def is_image_name(name: str) -> bool:
    """Whether a name ends as those of image files do."""
    return name.lower().endswith(_IMAGE_SUFFIXES)


def fill_image_sizes(raw: RawBoxes, options: ReadOptions) -> RawBoxes:
    """Return the records with every image size that can be known.

    A size in the annotations stands; then the header of the image file beside them or in
    ``images_dir`` counts, and last ``image_size_wh``. Images that only a label file spoke of get
    the name of the file that was found. Records and images that were marked because no size was
    known, and it is now, are not marked any more.
    """
    unknown = np.flatnonzero(~np.isfinite(raw.image_wh_px).all(axis=1))
    if len(unknown) == 0:
        return _without_settled(raw)
    wh_px = raw.image_wh_px.copy()
    names = list(raw.image_names)
    files = ImageFiles(options.images_dir) if options.images_dir is not None else None
    for row in unknown.tolist():
        path = raw.image_paths[row] if raw.image_paths is not None else None
        if path is None and files is not None:
            path = files.find(names[row])
            if path is not None and raw.format == "yolo":
                names[row] = path.name
        size = read_image_size_wh(path) if path is not None else None
        if size is None:
            size = options.image_size_wh
        if size is not None:
            wh_px[row] = size
    return _without_settled(replace(raw, image_wh_px=wh_px, image_names=tuple(names)))


def _without_settled(raw: RawBoxes) -> RawBoxes:
    if NO_IMAGE_SIZE not in {*(mark.kind for mark in raw.marks), *(n.kind for n in raw.notes)}:
        return raw
    is_known = np.asarray(np.isfinite(raw.image_wh_px).all(axis=1))
    settled = np.flatnonzero(is_known[raw.image_index]).tolist()
    marks = (m.without(settled) if m.kind == NO_IMAGE_SIZE else m for m in raw.marks)
    notes = (
        note.at(np.flatnonzero(~is_known[note.image_index]))
        if note.kind == NO_IMAGE_SIZE and note.image_index is not None
        else note
        for note in raw.notes
    )
    return replace(
        raw,
        marks=tuple(mark for mark in marks if len(mark.rows)),
        notes=tuple(note for note in notes if len(note)),
    )


def read_image_size_wh(path: Path | IO[bytes]) -> tuple[int, int] | None:
    """Return width, height in pixels from the header of an image; None if it is no image.

    It is the size of the upright picture: what EXIF says of its orientation is followed. A pipe or
    device is no image: annotations may name anything, and it could be waited for without end.
    """
    import warnings

    from PIL import Image

    if isinstance(path, Path) and not os.path.isfile(path):
        return None
    try:
        # Pillow warns of large images; only the header is read here.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                return image.size[::-1] if _is_turned(image) else image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _is_turned(image: Image.Image) -> bool:
    """Whether EXIF says that width and height of the picture are those of the file swapped."""
    # Pillow gives the size of a TIFF upright already, and would decode a PNG to look for EXIF.
    if image.format == "TIFF" or "exif" not in image.info:
        return False
    try:
        return orientation_of(image) in _TURNED
    except Exception:  # Pillow raises nearly anything on damaged EXIF
        return False


class ImageFiles:
    """The image files below a folder, found by path, by name, or by name without suffix."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._by_name: dict[str, Path | None] = {}
        self._by_stem: dict[str, Path | None] = {}
        for below in walk_folders(folder):
            for name in below.file_names:
                if is_image_name(name):
                    path = below.path / name
                    # Two files of one name in different folders: neither is known to be meant.
                    self._by_name[name] = None if name in self._by_name else path
                    stem = path.stem
                    self._by_stem[stem] = None if stem in self._by_stem else path

    def find(self, name: str) -> Path | None:
        """Return the file of an image that annotations call ``name``."""
        plain = Path(name.replace("\\", "/"))
        if not plain.is_absolute() and ".." not in plain.parts and "\0" not in name:
            path = self._folder / plain
            # Unlike Path.is_file this takes a name that is longer than a file's may be.
            if is_image_name(name) and os.path.isfile(path):
                return path
        return self._by_name.get(plain.name) or self._by_stem.get(plain.name)
