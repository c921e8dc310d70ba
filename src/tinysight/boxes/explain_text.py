"""The schema of files that are not JSON, shown on their own first records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinysight.boxes.explanation import RecordNote, field_notes
from tinysight.boxes.readers.column_roles import ColumnRoles, find_columns
from tinysight.boxes.readers.file_bytes import read_head
from tinysight.errors import DataError

if TYPE_CHECKING:
    from tinysight.boxes.box_order import BoxOrder

Records = tuple[tuple[str, ...], tuple[RecordNote, ...]]

_YOLO = {
    "class": "the number of the class, from 0, in the order of `names`",
    "cx": "x of the centre of the box as a fraction of the image width",
    "cy": "y of the centre of the box as a fraction of the image height",
    "w": "width of the box as a fraction of the image width",
    "h": "height of the box as a fraction of the image height",
    "confidence": "how sure a detector is of the box",
    "points": "x and y of the points of an outline, which gives the box around it, perhaps with a "
    "confidence after them; or a box and its keypoints, where kpt_shape of the yaml says so",
}
_WIDER = (
    ("x1", "left edge of the face in pixels"),
    ("y1", "top edge of the face in pixels"),
    ("w", "width of the face in pixels"),
    ("h", "height of the face in pixels"),
    ("blur", "0 clear, 1 blurred, 2 heavily blurred"),
    ("expression", "0 typical, 1 exaggerated"),
    ("illumination", "0 normal, 1 extreme"),
    ("invalid", "1 when the annotators found the face hard to call one"),
    ("occlusion", "0 none, 1 partial, 2 heavy"),
    ("pose", "0 typical, 1 not"),
)
_TINY = {
    "file": "the image file",
    "wnid": "the class, as a WordNet id",
    "xmin": "first pixel column of the box, from 0",
    "ymin": "first pixel row of the box, from 0",
    "xmax": "last pixel column of the box, 63 at most",
    "ymax": "last pixel row of the box, 63 at most",
}
_VOC = {
    "filename": "the image file",
    "width": "width of the image in pixels",
    "height": "height of the image in pixels",
    "name": "the class of the first object",
}
_PIXELS = {
    "left": "first pixel column",
    "top": "first pixel row",
    "right": "last pixel column",
    "bottom": "last pixel row",
}
_CVAT_IMAGE = {
    "id": "the number of the image in the task",
    "name": "the image file",
    "width": "width of the image in pixels",
    "height": "height of the image in pixels",
    "subset": "the part of the project that the image is of",
    "task_id": "the task of the project that the image is of",
    "label": "the class of the object that the track follows",
    "source": "who drew it: a person or a program",
}
_CVAT_SHAPE = {
    "label": "the class of what is in the shape",
    "xtl": "left edge of the box in pixels",
    "ytl": "top edge of the box in pixels",
    "xbr": "right edge of the box in pixels",
    "ybr": "bottom edge of the box in pixels",
    "rotation": "by how many degrees it is turned about its centre; the box goes around that",
    "points": "x,y of the points of an outline between semicolons; the box goes around them",
    "cx": "x of the centre",
    "cy": "y of the centre",
    "rx": "radius along x",
    "ry": "radius along y",
    "rle": "the mask, run by run; its box is in left, top, width, height",
    "left": "left edge of the mask in pixels",
    "top": "top edge of the mask in pixels",
    "width": "width of the mask in pixels",
    "height": "height of the mask in pixels",
    "frame": "the frame of the video",
    "outside": "1 where the object is not in the frame: no box",
    "group_id": "shapes with one number belong together; each gives a box of its own",
    "keyframe": "1 where a person drew it, 0 where it follows from its neighbours",
    "occluded": "1 when something hides a part of the object",
    "z_order": "which shape lies above which",
    "source": "who drew it: a person or a program",
}
_CVAT_NO_AREA = {"points": "x,y of its points between semicolons; without an area it gives no box"}
_CVAT_SPECIAL: Mapping[str, Mapping[str, str]] = {
    "track": {"id": "the number of the track"},
    "polyline": _CVAT_NO_AREA,
    "points": _CVAT_NO_AREA,
}
_CVAT_UNUSED = frozenset({"id", "source", "keyframe", "occluded", "z_order", "rle"})
_PLAIN = {
    "id": "the class; the rows name no image",
    "height": "height of the image in pixels",
    "width": "width of the image in pixels",
    "bbox": "the box in pixels; nothing says in which order, so the order is measured",
}


def text_records(format: str, files: Sequence[str], order: BoxOrder) -> Records:
    """Return how a file of a format is built, and its first record with what its fields mean.

    Args:
        format: One of the formats that are not JSON.
        files: The files of the source, of which the first with a record is shown.
        order: What the four numbers of a box were read as.
    """
    if format in ("csv", "parquet"):
        return _table_records(format, Path(files[0]))
    if format == "cvat":
        return _cvat_records(files)
    explainers: dict[str, Callable[[Path], RecordNote | None]] = {
        "yolo": _yolo_record,
        "voc": partial(_voc_record, order=order),
        "wider-face": _wider_record,
        "tiny-imagenet": _tiny_record,
        "plain-rows": _plain_record,
    }
    for name in files:
        try:
            record = explainers[format](Path(name))
        except DataError:  # one bad file of a tree is a finding of the reading
            continue
        if record is not None:
            return (_LAYOUT[format],), (record,)
    return (_LAYOUT[format],), ()


_LAYOUT = {
    "yolo": "Each image has a text file of its own name with one line a box; what the classes are "
    "called, `names` of a data.yaml may say. There are no image sizes: they are read from the "
    "images or given.",
    "voc": "Each image has an XML file with its size and an <object> for each box.",
    "cvat": "The file describes the task in <meta>. Then each <image> has its name, its size and "
    "its shapes, or each <track> of a video has one shape a frame.",
    "wider-face": "The file names an image, says how many faces follow, then has a line for each.",
    "tiny-imagenet": "Each line has one image and its one box, between tabs.",
    "plain-rows": "Each line is one box with the size of its image.",
    "csv": "Each row is one box; the first row names the columns, which may come in any order.",
    "csv without header": "Each row is one box; no row names the columns, so that the place of "
    "each says what it is.",
    "parquet": "Each row is one box, in named and typed columns.",
}


def _lines(path: Path) -> list[str]:
    return [line for line in read_head(path).decode(errors="replace").splitlines() if line.strip()]


def _note(path: Path, record: Mapping[str, Any], meanings: Mapping[str, str]) -> RecordNote:
    fields = field_notes(record, meanings, frozenset(meanings))
    return RecordNote(f"first record of {path.name}", fields)


def _yolo_record(path: Path) -> RecordNote | None:
    lines = _lines(path)
    if not lines:
        return None
    fields = lines[0].split()
    if len(fields) > 6:
        record = {"class": fields[0], "points": " ".join(fields[1:])}
    else:
        record = dict(zip(("class", "cx", "cy", "w", "h", "confidence"), fields, strict=False))
    used = frozenset(_YOLO) - {"confidence"}
    return RecordNote(f"first record of {path.name}", field_notes(record, _YOLO, used))


def _voc_record(path: Path, order: BoxOrder) -> RecordNote | None:
    from tinysight.boxes.readers.voc import parse_voc

    found = parse_voc(path)
    record = {"filename": found.filename, "width": found.width, "height": found.height}
    if found.objects:
        record |= {"name": found.objects[0].name, **found.objects[0].corners}
    return _note(path, record, _VOC | _corners_as_read(order))


def _corners_as_read(order: BoxOrder) -> dict[str, str]:
    """Return what the four numbers of a box of VOC mean, which not every file has as Pascal VOC."""
    unit = "as a fraction of the image" if order.unit == "rel" else "in pixels"
    meanings = {}
    for name, word in zip(("xmin", "ymin", "xmax", "ymax"), _words_of(order), strict=True):
        if order.includes_last:
            meanings[name] = f"{_PIXELS[word]} of its box"
        else:
            meanings[name] = f"{word}{' edge' if word in _PIXELS else ''} of its box {unit}"
        if word in ("left", "top") and (order.includes_last or order.first_pixel):
            meanings[name] += f", counted from {order.first_pixel}"
    return meanings


def _words_of(order: BoxOrder) -> list[str]:
    return order.describe().split(" in ")[0].split(", ")


def _cvat_records(files: Sequence[str]) -> Records:
    from tinysight.boxes.readers.cvat import NO_AREAS, first_elements

    for name in files:
        try:
            elements = first_elements(Path(name))
        except DataError:  # one bad file of a tree is a finding of the reading
            continue
        notes = []
        for (tag, record), usual in zip(elements, (_CVAT_IMAGE, _CVAT_SHAPE), strict=False):
            meanings, unused = {**usual, **_CVAT_SPECIAL.get(tag, {})}, _CVAT_UNUSED
            if tag in NO_AREAS:
                unused = _CVAT_UNUSED | {"points"}
            fields = field_notes(record, meanings, frozenset(meanings) - unused)
            notes.append(RecordNote(f"first <{tag}> of {Path(name).name}", fields))
        if notes:
            return (_LAYOUT["cvat"],), tuple(notes)
    return (_LAYOUT["cvat"],), ()


def _wider_record(path: Path) -> RecordNote | None:
    lines = _lines(path)
    row = next((line.split() for line in lines if len(line.split()) >= 4), None)
    if row is None:
        return None
    record = {"image": lines[0], "faces": lines[1] if len(lines) > 1 else ""}
    record |= dict(zip((name for name, _ in _WIDER), row, strict=False))
    meanings = {"image": "the image file", "faces": "how many lines follow", **dict(_WIDER)}
    used = frozenset({"image", "faces", "x1", "y1", "w", "h"})
    return RecordNote(f"first record of {path.name}", field_notes(record, meanings, used))


def _tiny_record(path: Path) -> RecordNote | None:
    lines = _lines(path)
    if not lines:
        return None
    fields = lines[0].split("\t")
    # The files of the training classes leave out the wnid, which is in their name.
    names = [name for name in _TINY if name != "wnid" or len(fields) == 6]
    return _note(path, dict(zip(names, fields, strict=False)), _TINY)


def _plain_record(path: Path) -> RecordNote | None:
    from tinysight.boxes.readers.plain_rows import row_fields

    lines = _lines(path)
    return _note(path, row_fields(lines[0]), _PLAIN) if lines else None


def _table_records(format: str, path: Path) -> Records:
    from tinysight.boxes.readers.named_columns import roles_of_table

    if format == "csv":
        from tinysight.boxes.readers.delimited_text import read_delimited_text

        text = read_delimited_text(path)
        names: Sequence[str] = text.names
        layout = _LAYOUT["csv" if text.has_header else "csv without header"]
        table = text.table.slice(0, 1)
    else:
        from pyarrow import parquet

        file = parquet.ParquetFile(path)
        names = file.schema_arrow.names
        layout = _LAYOUT["parquet"]
        table = next(file.iter_batches(batch_size=1), None)
    values = [] if table is None or table.num_rows == 0 else list(table.to_pydict().values())
    # The names of a Parquet table do not tell all of it, nor does a first row what a size is of.
    roles = find_columns(names, path) if format == "csv" else roles_of_table(format, path)
    if roles.is_size_of == "either":
        roles = roles_of_table(format, path)
    record = {name: column[0] for name, column in zip(names, values, strict=False)}
    used = frozenset(roles.used)
    if roles.is_size_of == "box":
        used -= {roles.image_width, roles.image_height} - {*roles.box}
    note = RecordNote("first row", field_notes(record, _meanings(roles), used))
    if roles.class_name is None:
        layout += " No column names a class, such as class or label, so that all are one."
    return (layout,), (note,) if record else ()


def _meanings(roles: ColumnRoles) -> dict[str, str]:
    order = _words_of(roles.order) if roles.order else ["the box"]
    found = {name: f"{word} of the box" for name, word in zip(roles.box, order, strict=False)}
    if len(roles.box) == 1:
        found[roles.box[0]] = "the four numbers of the box; their order is measured"
    if roles.are_points:
        found = {
            name: f"{'xy'[at % 2]} of point {at // 2 + 1}; the box goes around the points"
            for at, name in enumerate(roles.box)
        }
    of_what = "of the image in pixels"
    if roles.is_size_of == "box":
        of_what = "of the box, which its corners tell already"
    for name, meaning in (
        (roles.image, "the image the box is in"),
        (roles.class_name, "the class of what is in the box"),
        (roles.image_width, f"width {of_what}"),
        (roles.image_height, f"height {of_what}"),
        (roles.annotation_id, "the number of this box"),
        (roles.is_crowd, "1 when the box is around a group that was not told apart"),
    ):
        if name is not None:
            found.setdefault(name, meaning)
    return found
