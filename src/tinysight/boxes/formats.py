"""Which format a file or folder is in, found by its content."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

from tinysight.boxes.findings import COLUMNS
from tinysight.boxes.folder_walk import walk_folders
from tinysight.boxes.image_sizes import is_image_name
from tinysight.boxes.other_programs import (
    KEY,
    VIA_KEYS,
    refuse_other_json,
    refuse_other_table,
)
from tinysight.boxes.readers.file_bytes import plain_path, read_head
from tinysight.boxes.readers.json_text import check_nesting
from tinysight.boxes.readers.xml_text import root_tag
from tinysight.boxes.records import RawBoxes, ReadOptions
from tinysight.errors import DataError
from tinysight.numerals import counted

Reader = Callable[[Sequence[Path], ReadOptions], RawBoxes]


def _reader(module: str, function: str) -> Reader:
    """Return a reader that imports its module when it is called."""

    def read(paths: Sequence[Path], options: ReadOptions) -> RawBoxes:
        reader: Reader = getattr(import_module(f"tinysight.boxes.readers.{module}"), function)
        return reader(paths, options)

    return read


READERS: Mapping[str, Reader] = {
    "coco": _reader("coco", "read_coco"),
    "yolo": _reader("yolo", "read_yolo"),
    "voc": _reader("voc", "read_voc"),
    "csv": _reader("named_columns", "read_csv"),
    "parquet": _reader("named_columns", "read_parquet"),
    "via": _reader("via", "read_via"),
    "labelme": _reader("labelme", "read_labelme"),
    "cvat": _reader("cvat", "read_cvat"),
    "createml": _reader("createml", "read_createml"),
    "wider-face": _reader("wider_face", "read_wider_face"),
    "tiny-imagenet": _reader("tiny_imagenet", "read_tiny_imagenet"),
    "plain-rows": _reader("plain_rows", "read_plain_rows"),
}
"""The reader of each format, by the name that ``--format`` takes."""

TREE_FORMATS = frozenset({"yolo", "voc", "labelme", "cvat"})
"""Formats with one file an image, or with one for some of many: many paths are one source."""

_MOST_FILES_LOOKED_AT = 200_000
_ANNOTATION_SUFFIXES = (".json", ".json.gz", ".csv", ".csv.gz", ".tsv", ".parquet")
_JSON_LINES_SUFFIXES = (".jsonl", ".ndjson", ".manifest")
_LISTED_FILES = 5
_LINES_LOOKED_AT = 50
_HEAD_CHARACTERS = 16 * 1024
_HEAD_OF_MANY_BYTES = 4 * 1024
_MOST_XML_FILES_LOOKED_INTO = 100

_KEYS = {
    "coco": {"annotations", "images", "categories", "bbox", "licenses", "info"},
    "via": {"regions", *VIA_KEYS},
    "labelme": {"shapes", "shape_type", "imageData"},
}
"""Keys of each format whose files are JSON objects, at any depth."""
_NAMES = {"coco": "COCO", "via": "VGG Image Annotator", "labelme": "LabelMe"}
_CREATEML_KEYS = {"imagefilename", "coordinates"}
# How PNG, JPEG, GIF and TIFF begin.
_IMAGE_MARKS = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*")
# No bracket within the brackets: each one that is never closed would be followed to the end.
_PLAIN_ROW = re.compile(r"(?=.*height\s*:)(?=.*width\s*:).*bbox\s*:\s*\[[^\[\]]*\]", re.IGNORECASE)
_YOLO_ROW = re.compile(r"\d+(\.0+)?(\s+[-+.\deE]+){4,}")
# Other tables without a header too have an image and four numbers between tabs: only the names of
# WordNet and numbers of a pixel in 64 tell.
_TINY_BOX = r"([ ]*\t[ ]*-?(\d|[0-5]\d|6[0-3])){4}"
_TINY_ROW = re.compile(rf"(n\d{{8}}_\d+\.\w+|[^\t]+\t[ ]*n\d{{8}}){_TINY_BOX}")
_TINY_ROW_OF_CLASS = re.compile(rf"[^\t]+{_TINY_BOX}")


def find_annotations(path: Path) -> tuple[str, Path]:
    """Return the format of a file or folder, and the file in it where a folder holds just one.

    Raises:
        DataError: It is of no known format, or of one of several.
    """
    format, found = _find(path)
    if format is None:
        raise _empty(found)
    return format, found


def find_all_annotations(paths: Sequence[Path]) -> list[tuple[str, Path]]:
    """Find what :func:`find_annotations` does for each of several paths.

    Beside YOLO label files an empty file is one too: that of an image without objects.
    """
    every = [_find(path) for path in paths]
    has_labels = any(format == "yolo" for format, _ in every)
    found = []
    for format, path in every:
        if format is None and not (has_labels and plain_path(path).suffix == ".txt"):
            raise _empty(path)
        found.append((format or "yolo", path))
    return found


def _find(path: Path) -> tuple[str | None, Path]:
    if path.is_dir():
        return _format_of_folder(path)
    return _format_of_file(path), path


def _empty(path: Path) -> DataError:
    advice = ""
    if plain_path(path).suffix == ".txt":
        advice = (
            " If it is the YOLO label file of an image without objects, name its folder or pass "
            "--format yolo."
        )
    return DataError(f"{path}: must hold box annotations, but it is empty.{advice}")


def _format_of_file(path: Path) -> str | None:
    """Return the format of a file, None of one that is empty."""
    head = read_head(path)
    if head.startswith(b"PAR1"):
        return "parquet"
    text = head.decode("utf-8", errors="replace").lstrip("\ufeff")
    body = text.lstrip()
    if not body:
        return None
    if body.startswith(("{", "[")):
        check_nesting(head, path)
        refuse_other_json(body, path)
    if body.startswith("{"):
        return _format_of_json(text, path)
    if body.startswith("[") and not _PLAIN_ROW.match(body):
        return _format_of_list(body)
    if body.startswith("<"):
        return _format_of_root(root_tag(body))
    if head.startswith(_IMAGE_MARKS):
        raise DataError(
            f"{path}: must hold box annotations, but it is an image. Name the file or folder of "
            f"the annotations, and that of the images with --images."
        )
    if "\0" in text:
        raise _unknown(path, "it is a binary file")
    found = _format_of_text(body, path)
    if found is None:
        raise _unknown(
            path,
            f"its first line is {body.splitlines()[0][:60]!r}",
            " A table of boxes needs a first line that names its columns, such as "
            "image,class,xmin,ymin,xmax,ymax, and commas between them.",
        )
    return found


def _format_of_json(text: str, path: Path) -> str:
    found = _formats_by_keys(text)
    if len(found) > 1:
        names = " or ".join(_NAMES[format] for format in found)
        both = "both" if len(found) == 2 else "all of them"
        raise DataError(
            f"{path}: must be {names} json, but it has keys of {both}. "
            f"Pass --format {' or --format '.join(found)}."
        )
    return found[0] if found else "coco"


def _formats_by_keys(text: str) -> list[str]:
    """Return the formats of which a JSON object has keys."""
    keys = set(KEY.findall(text))
    return [format for format, known in _KEYS.items() if keys & known]


def _format_of_list(text: str) -> str:
    keys = set(KEY.findall(text))
    is_coco = keys & {"bbox", "image_id"}
    is_createml = keys & _CREATEML_KEYS or {"image", "annotations"} <= keys
    return "createml" if is_createml and not is_coco else "coco"


def _format_of_root(tag: str) -> str:
    return "cvat" if tag == "annotations" else "voc"


def _format_of_text(text: str, path: Path) -> str | None:
    # The head of a large file may end within its last line.
    lines = text.splitlines()[: -1 if len(text) >= _HEAD_CHARACTERS else None]
    lines = [line for line in lines[:_LINES_LOOKED_AT] if line.strip()] or [text]
    if all(is_image_name(line.strip()) for line in lines):
        raise DataError(
            f"{path}: must hold box annotations, but it is a list of images without boxes. Name "
            f"the file or folder with the boxes."
        )
    refuse_other_table(lines[0], path)
    if _PLAIN_ROW.match(lines[0]):
        return "plain-rows"
    if path.suffix.lower() in (".yaml", ".yml"):
        return "yolo"
    is_wider = len(lines) >= 2 and is_image_name(lines[0].strip()) and lines[1].strip().isdecimal()
    if is_wider:
        return "wider-face"
    is_of_class = plain_path(path).name.endswith("_boxes.txt")
    if _are_most(_TINY_ROW_OF_CLASS if is_of_class else _TINY_ROW, lines):
        return "tiny-imagenet"
    if _are_most(_YOLO_ROW, lines):
        return "yolo"
    if any(mark in lines[0] for mark in ",;\t|"):
        return "csv"
    return None


def _are_most(row: re.Pattern[str], lines: Sequence[str]) -> bool:
    """Whether most lines are such rows; not all, as one damaged line must not hide the format."""
    return sum(row.fullmatch(line.strip()) is not None for line in lines) * 2 > len(lines)


def _format_of_folder(folder: Path) -> tuple[str | None, Path]:
    names: tuple[str, ...] = ()
    text = 0
    xml: list[Path] = []
    others: list[Path] = []
    faults: list[str] = []
    looked_at = num_lines = 0
    for below in walk_folders(folder):
        if below.fault:
            faults.append(f"{below.path}: {below.fault}")
        if below.path == folder:
            names = below.file_names
            if "wnids.txt" in names or any(name.endswith("_boxes.txt") for name in names):
                return "tiny-imagenet", folder
        for name in below.file_names:
            looked_at += 1
            lower = name.lower()
            if lower.endswith(".xml"):
                xml.append(below.path / name)
            text += lower.endswith(".txt")
            num_lines += lower.endswith(_JSON_LINES_SUFFIXES)
            if lower.endswith(_ANNOTATION_SUFFIXES):
                others.append(below.path / name)
        if looked_at > _MOST_FILES_LOOKED_AT:
            break
    yamls = [folder / name for name in names if name.endswith((".yaml", ".yml"))]
    found = _formats_of_xml(xml)
    if text and (yamls or not xml):
        if any(map(_names_classes, yamls)) or _has_yolo_labels(folder):
            found.append("yolo")
    others = [path for path in others if not _is_of_check(path)]
    if "yolo" in found:  # Label Studio describes its export of YOLO labels in one
        others = [path for path in others if path.name != "notes.json"]
    is_labelme, others = _without_labelme(others)
    found += ["labelme"] if is_labelme else []
    if len(found) == 1 and not others:
        return found[0], folder
    if len(others) == 1 and not found:
        return _format_of_file(others[0]), others[0]
    if not found and not others and faults:
        raise DataError(faults[0])
    if not found and not others:
        lines = " JSON lines are not read." if num_lines else ""
        raise DataError(
            f"{folder}: must hold box annotations, but of its {counted(looked_at, 'file')} none is "
            f"one: no .json, .xml, .csv, .parquet or YOLO .txt.{lines} Name the file or folder "
            f"that does."
        )
    if not found:
        _refuse_other_programs(others[:_LISTED_FILES])
    listed = ", ".join(str(path.relative_to(folder)) for path in others[:_LISTED_FILES])
    more = f" and {len(others) - _LISTED_FILES:,} more" if len(others) > _LISTED_FILES else ""
    trees = f"a tree of {' and one of '.join(found)}" if found else ""
    parts = " and ".join(part for part in (trees, f"{listed}{more}" if others else "") if part)
    advice = f"Pass --format {' or --format '.join(found)}, or name" if found else "Name"
    raise DataError(
        f"{folder}: must hold one set of annotations, but it holds {parts}. "
        f"{advice} the file that is meant."
    )


def _refuse_other_programs(paths: Sequence[Path]) -> None:
    """Refuse the files of a program that is not read, one an image or project."""
    for path in paths:
        if plain_path(path).suffix.lower() == ".json":
            refuse_other_json(_head_of_many(path), path)


def _formats_of_xml(paths: Sequence[Path]) -> list[str]:
    """Return the formats of XML files, of which many are looked into but not all."""
    roots = set()
    for path in paths[:_MOST_XML_FILES_LOOKED_INTO]:
        try:
            roots.add(root_tag(read_head(path, _HEAD_OF_MANY_BYTES).decode(errors="replace")))
        except DataError:  # a finding of the reader
            roots.add("")
    # A file without a tag is of the tree of the others, whose reader tells what is wrong with it.
    found = {_format_of_root(root) for root in (roots - {""} or roots)}
    return sorted(found, reverse=True)


def _without_labelme(paths: Sequence[Path]) -> tuple[bool, list[Path]]:
    """Return whether there are files of LabelMe, and the files that are not of their tree.

    Beside files of LabelMe, json files of no known format are of their tree: the reader tells what
    is wrong with each.
    """
    formats = {path: _json_formats(path) for path in paths}
    if not any(found == {"labelme"} for found in formats.values()):
        return False, list(paths)
    return True, [path for path, found in formats.items() if found not in ({"labelme"}, set())]


def _json_formats(path: Path) -> set[str] | None:
    """Return the formats of which a json file has keys, and None for a file of another kind."""
    if plain_path(path).suffix.lower() != ".json":
        return None
    body = _head_of_many(path).lstrip("\ufeff").lstrip()
    if body.startswith("["):
        return {_format_of_list(body)} if KEY.search(body) else set()
    return set(_formats_by_keys(body))


def _head_of_many(path: Path) -> str:
    """Return the begin of one of many files, empty where it cannot be read."""
    try:
        return read_head(path, _HEAD_OF_MANY_BYTES).decode("utf-8", errors="replace")
    except DataError:  # a finding of the reader
        return ""


def _is_of_check(path: Path) -> bool:
    """Whether a file is what `tinysight boxes check --findings` wrote."""
    if path.suffix.lower() != ".csv":
        return False
    try:
        return read_head(path, _HEAD_OF_MANY_BYTES).startswith(f"{','.join(COLUMNS)}\n".encode())
    except DataError:  # a finding of the reader
        return False


def _names_classes(path: Path) -> bool:
    """Whether a yaml has the key ``names``, as that of a YOLO tree does and others do not."""
    try:
        text = read_head(path).decode("utf-8", errors="replace")
    except DataError:  # a finding of the reader
        return False
    return re.search(r"^\ufeff?['\"]?names['\"]?[ \t]*:", text, re.MULTILINE) is not None


def _has_yolo_labels(folder: Path) -> bool:
    for below in walk_folders(folder):
        for name in below.file_names:
            if not name.lower().endswith(".txt") or name.lower() in ("classes.txt", "readme.txt"):
                continue
            try:
                head = read_head(below.path / name, 2000).decode(errors="replace").strip()
            except DataError:  # one bad file must not hide the others
                continue
            if head and _YOLO_ROW.fullmatch(head.splitlines()[0].strip()):
                return True
    return False


def _unknown(path: Path, found: str, mend: str = "") -> DataError:
    return DataError(
        f"{path}: must be of a known format, but {found}. Pass --format with one of "
        f"{', '.join(READERS)}.{mend}"
    )
