"""Which column of a table is what, found by its name, in any order and spelling."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal

from tinysight.boxes.box_order import BoxOrder
from tinysight.boxes.image_sizes import is_image_name
from tinysight.errors import DataError

# Names without case and punctuation; the first of a list that a table has is taken.
_IMAGE = (
    "filename",
    "imagename",
    "imagepath",
    "imagefile",
    "imagefilename",
    "filepath",
    "imageid",
    "patientid",
    "image",
    "img",
    "path",
    "file",
    "frame",
)
_CLASS = (
    "classname",
    "labelname",
    "categoryname",
    "class",
    "label",
    "category",
    "target",
    "cls",
    "objectclass",
    "objectname",
    "species",
    "tag",
    "classid",
    "categoryid",
    "labelid",
    "name",
    "wnid",
    "synset",
)
_IDS = ("annotationid", "annid", "boxid", "bboxid", "id")
_CROWD = ("iscrowd", "isgroupof")
_IMAGE_WIDTH = ("imagewidth", "imgwidth", "imwidth", "imagew", "imgw")
_IMAGE_HEIGHT = ("imageheight", "imgheight", "imheight", "imageh", "imgh")
_LEFT = ("xmin", "x1", "left", "x0", "minx", "xtopleft")
_TOP = ("ymin", "y1", "top", "y0", "miny", "ytopleft")
_RIGHT = ("xmax", "x2", "right", "maxx", "xbottomright")
_BOTTOM = ("ymax", "y2", "bottom", "maxy", "ybottomright")
_CENTRE_X = ("xcenter", "xcentre", "centerx", "centrex", "cx", "xc")
_CENTRE_Y = ("ycenter", "ycentre", "centery", "centrey", "cy", "yc")
_X = ("x", *_LEFT)
_Y = ("y", *_TOP)
# Where a table has both w, h and width, height, the short ones are of the box.
_WIDTH = ("boxwidth", "bboxwidth", "w", "width")
_HEIGHT = ("boxheight", "bboxheight", "h", "height")
_OTHER_WIDTH, _OTHER_HEIGHT = ("width", "w"), ("height", "h")  # of the image, if not of the box
_BOX = ("bbox", "box", "boundingbox")

_MOST_SHOWN, _LONGEST_SHOWN = 12, 40  # columns, and characters of their names, in a message


@dataclass(frozen=True)
class ColumnRoles:
    """The columns of a table that are read."""

    image: str | None
    class_name: str | None
    box: tuple[str, ...]
    """Four columns of numbers, one with a list of four, or x and y of three points or more."""
    order: BoxOrder | None
    """What the names of the four columns say; None where a list of four says nothing."""
    image_width: str | None
    image_height: str | None
    annotation_id: str | None
    is_crowd: str | None
    is_size_of: Literal["image", "box", "either"] = "image"
    """Of what the two sides are; names such as ``width`` leave it open beside corners."""

    @property
    def are_points(self) -> bool:
        """Whether the box is the one around points."""
        return len(self.box) > 4

    @property
    def used(self) -> tuple[str, ...]:
        """Every column that is read, once."""
        single = (
            self.image,
            self.class_name,
            self.image_width,
            self.image_height,
            self.annotation_id,
            self.is_crowd,
        )
        return tuple(dict.fromkeys([*self.box, *(name for name in single if name is not None)]))


def find_columns(names: Sequence[str], path: Path) -> ColumnRoles:
    """Find the columns of boxes, images and classes by their names.

    Raises:
        DataError: No four columns of a box are recognised, or two columns have one name.
    """
    plain: dict[str, str] = {}
    for name in filter(None, names):  # tables of a spreadsheet may end in columns without a name
        key = re.sub(r"[^a-z0-9]", "", name.lower())
        if key in plain and name in plain.values():
            raise DataError(
                f"{path}: columns must have names of their own, got {_shown(name)!r} twice."
            )
        plain.setdefault(key, name)
    whole = dict(plain)
    # bbox_x, box.xmin, Roi.X1 and the like, where no other column has the bare name
    for key, name in whole.items():
        for prefix in ("bbox", "box", "roi"):
            bare = key.removeprefix(prefix)
            if bare != key and bare not in ("id", "name", "label"):
                plain.setdefault(bare, name)

    def first(candidates: Sequence[str]) -> str | None:
        return next((plain[key] for key in candidates if key in plain), None)

    box, order = _box_columns(first)
    if not box and "regionshapeattributes" in plain:
        raise DataError(
            f"{path}: must have four columns of a box, but it is a CSV of VGG Image Annotator, "
            f"which has regions in one column. Export from there as JSON or COCO."
        )
    if not box:
        shown = ", ".join(map(_shown, names[:_MOST_SHOWN]))
        raise DataError(
            f"{path}: must have four columns of a box, such as xmin, ymin, xmax, ymax or x, y, "
            f"width, height, or one called bbox; got the columns {shown}. "
            f"Rename the columns, or export one row for each box."
        )

    def beside_box(candidates: Sequence[str]) -> str | None:
        found = (whole[key] for key in candidates if key in whole)
        return next((name for name in found if name not in box), None)

    image_width, image_height = first(_IMAGE_WIDTH), first(_IMAGE_HEIGHT)
    is_open = image_width is None and image_height is None and len(box) == 4
    return ColumnRoles(
        image=first(_IMAGE),
        class_name=first(_CLASS),
        box=box,
        order=order,
        image_width=image_width or beside_box(_OTHER_WIDTH),
        image_height=image_height or beside_box(_OTHER_HEIGHT),
        is_size_of="either" if is_open and order == BoxOrder("xyxy") else "image",
        annotation_id=first(_IDS),
        is_crowd=first(_CROWD),
    )


def _shown(name: str) -> str:
    """Return a name as a message shows it: what is no table may have names of any length."""
    return name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}…"


def _box_columns(
    first: Callable[[Sequence[str]], str | None],
) -> tuple[tuple[str, ...], BoxOrder | None]:
    """Return the columns of a box and what their names say of the order."""

    def four(*columns: Sequence[str]) -> tuple[str, ...]:
        found = [name for name in map(first, columns) if name is not None]
        return tuple(found) if len(found) == 4 else ()

    corners, points = four(_LEFT, _TOP, _RIGHT, _BOTTOM), _point_columns(first)
    if corners:
        # The second of four points is no far corner of a box.
        return points if set(corners) & set(points) else corners, BoxOrder("xyxy")
    if centre := four(_CENTRE_X, _CENTRE_Y, _WIDTH, _HEIGHT):
        return centre, BoxOrder("cxcywh")
    # A column of lists goes before x, y, width, height: beside one, width is that of the image.
    if (box := first(_BOX)) is not None:
        return (box,), None
    sides = four(_X, _Y, _WIDTH, _HEIGHT)
    return sides, BoxOrder("xywh") if sides else None


def _point_columns(first: Callable[[Sequence[str]], str | None]) -> tuple[str, ...]:
    """Return x1, y1, x2, y2, x3, y3 and so on, also counted from 0, of three points or more."""
    found: list[str] = []
    for number in count(0):
        x, y = first([f"x{number}"]), first([f"y{number}"])
        if x is not None and y is not None:
            found += [x, y]
        elif number > 0:
            break
    return tuple(found) if len(found) >= 6 else ()


def columns_without_header(row: Sequence[str], path: Path) -> tuple[list[str], bool]:
    """Return column names for a first row, and whether that row is a header.

    Two layouts without header are common: image, four corners, class; and the same with the width
    and height of the image. In both an image without boxes may have its name alone. A third, of
    makesense.ai, has class and image change places, and a size for the second corner.
    """
    names = ["image", "x1", "y1", "x2", "y2", "class", "image_width", "image_height"]
    if len(row) == 8 and is_image_name(row[5]) and not is_image_name(row[0]):
        names = ["class", "x", "y", "width", "height", "image", "image_width", "image_height"]
    if len(row) in (6, 8) and row[0] and not any(row[1:]):
        return names[: len(row)], False
    if not any(_is_number(field) for field in row):
        return list(row), True
    are_numbers = [_is_number(field) or not field.strip() for field in row]
    expected = [False, True, True, True, True, False, True, True]
    if len(row) in (6, 8) and are_numbers[1:5] == expected[1:5] and not are_numbers[0]:
        return names[: len(row)], False
    advice = "Add a header."
    if all(are_numbers):
        advice = (
            "Add a header; if no column names the image or the class, as in MOT and VisDrone, "
            "convert the files to COCO."
        )
    raise DataError(
        f"{path}: the first row must name the columns, such as image, class, xmin, ymin, xmax, "
        f"ymax; got {', '.join(row)[:80]!r}. {advice}"
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
