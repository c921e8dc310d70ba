"""The lists ``images`` and ``categories`` of a COCO file: names, sizes and the row of each id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.box_order import LARGEST_SIDE_PX
from tinysight.boxes.findings import FindingGroup
from tinysight.boxes.image_sizes import NO_IMAGE_SIZE
from tinysight.boxes.readers.box_numbers import as_number
from tinysight.boxes.readers.ids import plain_id, plain_label
from tinysight.boxes.readers.record_notes import RecordNotes

AnyJson = None | bool | int | float | str | list[Any]
"""What stands where an object should."""


class Image(msgspec.Struct, gc=False):
    """One of ``images``; every field of any type, so that one bad record does not cost a file."""

    id: Any = None
    width: Any = None
    height: Any = None
    file_name: Any = None


class Category(msgspec.Struct, gc=False):
    """One of ``categories``."""

    id: Any = None
    name: Any = None


def read_images(
    records: Sequence[Any] | None, path: Path, notes: list[FindingGroup]
) -> tuple[list[str], NDArray[np.float64], dict[Any, int]]:
    """Return names, sizes and the row of each id."""
    sound = _sound_images(records or ())
    if sound is not None:
        return sound
    found = RecordNotes(path, "images[{position}]")
    names: list[str] = []
    sizes: list[tuple[float, float]] = []
    listed: dict[Any, int] = {}
    for row, record in enumerate(records or ()):
        if type(record) is not Image:
            message = "an image must be an object, got {0}. Left out."
            found.add("image_not_an_object", "rejected", message, row, str(record)[:40])
            continue
        key = record.id if isinstance(record.id, int | float | str) else plain_id(record.id)
        if key is None:
            message = "an image must have an id, got none{0}. No box can refer to it."
            found.add("image_without_id", "accepted", message, row, "")
        elif key in listed:
            message = "the id of an image must be its own, but {0} was used before. Left out."
            found.add("repeated_image_id", "rejected", message, row, repr(record.id)[:60])
            continue
        else:
            listed[key] = len(names)
        name = record.file_name
        if not isinstance(name, str):
            name = plain_label(name)
        names.append(name or unlisted_name("image", plain_id(key)))
        sizes.append(_size_of(record, row, found))
    sizeless = np.flatnonzero(np.isnan(np.array(sizes, np.float64).reshape(-1, 2)[:, 0]))
    notes += (
        replace(group, image_index=sizeless) if group.kind == NO_IMAGE_SIZE else group
        for group in found.groups()
    )
    return names, np.array(sizes, np.float64).reshape(-1, 2), listed


def _sound_images(
    records: Sequence[Any],
) -> tuple[list[str], NDArray[np.float64], dict[Any, int]] | None:
    """Return the same where every image is as it should be, which is the rule."""
    if not set(map(type, records)) <= {Image}:
        return None
    ids = [record.id for record in records]
    names = [record.file_name for record in records]
    sides = [side for record in records for side in (record.width, record.height)]
    if not (
        set(map(type, ids)) | set(map(type, sides)) <= {int} and set(map(type, names)) <= {str}
    ):
        return None
    listed = dict(zip(ids, range(len(ids)), strict=True))
    is_sound = len(listed) == len(ids) and all(names)
    if not is_sound or not all(0 < side < LARGEST_SIDE_PX for side in sides):
        return None
    return names, np.array(sides, np.float64).reshape(-1, 2), listed


def _size_of(record: Image, row: int, found: RecordNotes) -> tuple[float, float]:
    width, height = record.width, record.height
    are_whole = type(width) is int and type(height) is int
    if are_whole and 0 < width < LARGEST_SIDE_PX and 0 < height < LARGEST_SIDE_PX:
        return width, height
    sides = [as_number(side) for side in (width, height)]
    if any(side is None or not 0 < side < LARGEST_SIDE_PX for side in sides):
        message = (
            "an image must have a width and a height > 0 pixels, got {0}. Its boxes were not "
            "checked against its edges."
        )
        shown = f"{'none' if width is None else repr(width)[:30]} x "
        shown += f"{'none' if height is None else repr(height)[:30]}"
        found.add(NO_IMAGE_SIZE, "accepted", message, row, shown)
        return np.nan, np.nan
    if isinstance(width, str) or isinstance(height, str):
        message = "the size of an image must be numbers, got the text {0}. Read as numbers."
        found.add("image_size_as_text", "repaired", message, row, f"{width!r} x {height!r}")
    return float(sides[0] or 0), float(sides[1] or 0)


def read_categories(
    records: Sequence[Any] | None, path: Path, notes: list[FindingGroup]
) -> tuple[list[str], list[int | str], dict[Any, int]]:
    """Return names, ids and the row of each id, a repeated category once."""
    found = RecordNotes(path, "categories[{position}]")
    names: list[str] = []
    ids: list[int | str] = []
    listed: dict[Any, int] = {}
    for row, record in enumerate(records or ()):
        if type(record) is not Category:
            message = "a category must be an object, got {0}. Left out."
            found.add("category_not_an_object", "rejected", message, row, str(record)[:40])
            continue
        key = record.id if isinstance(record.id, int | float | str) else plain_id(record.id)
        name = plain_label(record.name)
        if key is None:
            message = "a category must have an id, got none for {0}. Left out."
            found.add("category_without_id", "rejected", message, row, repr(name)[:60])
            continue
        name = name or unlisted_name("category", plain_id(key))
        if key in listed:
            first = names[listed[key]]
            if first == name:
                message = "a category must be listed once, but {0} is listed before. Merged."
                found.add("repeated_category", "repaired", message, row, repr(name)[:60])
            else:
                message = "the id of a category must be its own, but {0}. The first name is used."
                shown = f"{record.id!r} is {name[:30]!r} here and {first[:30]!r} before"
                found.add("conflicting_category", "repaired", message, row, shown)
            continue
        listed[key] = len(names)
        names.append(name)
        ids.append(plain_id(key) if plain_id(key) is not None else "")  # type: ignore[arg-type]
    notes += found.groups()
    return names, ids, listed


def unlisted_name(what: str, value: int | str | None) -> str:
    """Return a name for an image or category of which only an id is known."""
    return f"({what} without id)" if value is None else f"({what} {value})"


def is_unlisted_name(what: str, name: str) -> bool:
    """Return whether a name is one of :func:`unlisted_name`."""
    return name.startswith(f"({what} ") and name.endswith(")")
