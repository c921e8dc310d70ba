"""What a YOLO tree says of itself: class names and the shape of keypoints.

The names come from ``data.yaml``, ``classes.txt`` or ``obj.names``. Only two keys of the yaml are
wanted. ``names`` is written in three ways: a flow list, a block list, or a mapping from numbers,
flow or block; ``kpt_shape`` is two numbers. That needs no parser of all of yaml.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from tinysight.boxes.readers.file_bytes import read_head
from tinysight.errors import DataError

PARTS = ("train", "valid", "val", "test")
"""What the folders of the parts of a data set are called."""

LISTS = ("classes.txt", "obj.names", "_darknet.labels", "predefined_classes.txt")

_LARGEST_YAML_BYTES = 2**20

_ESCAPES = {
    **dict(zip('0abtnvfre "/\\', '\0\a\b\t\n\v\f\r\x1b "/\\', strict=True)),
    **dict(zip("N_LP", "\x85\xa0\u2028\u2029", strict=True)),
}
_ESCAPE = re.compile(
    r"\\(?:(?P<sign>[0abtnvfre \"/\\N_LP])"
    r"|x(?P<x>[0-9A-Fa-f]{2})|u(?P<u>[0-9A-Fa-f]{4})|U(?P<U>00(?:0[0-9A-Fa-f]|10)[0-9A-Fa-f]{4}))"
)
_ANY_ESCAPE = re.sub(r"\?P<\w+>", "?:", _ESCAPE.pattern)
_QUOTED = r"'(?P<single>(?:[^']|'')*+)'" rf"|\"(?P<double>(?:[^\"\\]|{_ANY_ESCAPE})*+)\""
# A bare name begins with no sign of yaml, and ends before " #" and ": ".
_BARE_START = r"(?![-?:](?:\s|\Z)|[&*!|>%@`#,\[\]{}'\"])"
_GAP = re.compile(r"(?:\s|(?<=\s)#[^\n]*+)*+")
_NUMBER = r"['\"]?(?P<number>\d{1,6})['\"]?\s*:"
_FLOW_KEY = re.compile(_NUMBER)
_FLOW_NAME = re.compile(
    rf"{_QUOTED}|(?P<bare>{_BARE_START}"
    r"(?:[^\s:#,\[\]{}]|:(?![\s,\[\]{}]|\Z)|(?<=\S)#|\s++(?![#,\[\]{}]))+)"
)
_BLOCK_ITEM = re.compile(
    rf"(?:-|\s+{_NUMBER}|\s+-)\s+"
    rf"(?:{_QUOTED}|(?P<bare>{_BARE_START}(?:[^\s:#]|:(?!\s|\Z)|(?<=\S)#|\s++(?!#))+))"
    r"(?:\s+#.*|\s*)"
)

_NAMES_KEY = re.compile(r"^names\s*:", re.MULTILINE)
_KEYPOINT_SHAPE = re.compile(
    r"^kpt_shape[ \t]*:\s*(?:\[\s*|-\s+)(?P<points>\d{1,4})(?:\s*,\s*|\s+-\s+)(?P<numbers>[23])\b",
    re.MULTILINE,
)


def yaml_files(folder: Path) -> list[Path]:
    """Return the yaml files of a folder by name."""
    return sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))


def read_keypoint_numbers(yamls: Sequence[Path]) -> int:
    """Return how many numbers of keypoints follow each box, 0 where the yaml files say nothing."""
    for path in yamls:
        shape = _KEYPOINT_SHAPE.search(_text_of(path))
        if shape is not None:
            return int(shape["points"]) * int(shape["numbers"])
    return 0


def read_names_around(part: Path, *, is_whole: bool) -> dict[int, str]:
    """Return the class names that the tree around a part of it states; empty where it has none.

    Args:
        part: A folder that was named, or that of a file.
        is_whole: Whether there are folders called ``labels`` below it.

    Raises:
        DataError: As :func:`read_class_names`.
    """
    for folder, yamls in _yamls_around(part, is_whole=is_whole):
        try:
            listed = read_listed_names(folder)
        except DataError:  # what nobody named and nobody can read says nothing
            listed = {}
        names = read_class_names(folder, yamls) if yamls else listed
        if names or listed:
            return names or listed
    return {}


def read_keypoint_numbers_around(part: Path, *, is_whole: bool) -> int:
    """Return :func:`read_keypoint_numbers` of the tree around a part of it."""
    for _, yamls in _yamls_around(part, is_whole=is_whole):
        if found := read_keypoint_numbers(yamls):
            return found
    return 0


def _yamls_around(part: Path, *, is_whole: bool) -> Iterator[tuple[Path, list[Path]]]:
    """Yield the folders around a part of a tree that may speak of it, with their yaml files."""
    around = Path(os.path.abspath(part))
    if not is_whole:
        labels = folder_of_labels(part)
        if labels is None:
            return
        around = labels.parent
        try:
            yamls = yaml_files(around)
        except OSError:
            yamls = []
        yield around, [path for path in yamls if _is_readable(path)]
    # Roboflow has a folder with images and labels for each part, and one yaml above them all.
    if around.name in PARTS and _is_readable(above := around.parent / "data.yaml"):
        yield around.parent, [above]


def folder_of_labels(part: Path) -> Path | None:
    """Return the last folder called ``labels`` on a path, the folder itself included.

    On the path as it is written, or else without the links in it; None without one.
    """
    for path in dict.fromkeys((Path(os.path.abspath(part)), Path(os.path.realpath(part)))):
        for folder in (path, *path.parents):
            if folder.name == "labels":
                return folder
    return None


def _is_readable(path: Path) -> bool:
    return os.path.isfile(path) and os.access(path, os.R_OK)


def read_class_names(folder: Path, yamls: Sequence[Path]) -> dict[int, str]:
    """Return the name of each class number; empty where the tree names none.

    Args:
        folder: The root of the tree.
        yamls: The yaml files that count.

    Raises:
        DataError: ``names`` in a yaml is written in a way that is not understood, or two of them
            have different ones.
    """
    stated = [(path, parse_yaml_names(_text_of(path), path)) for path in yamls]
    stated = [(path, names) for path, names in stated if names]
    if stated:
        first, names = stated[0]
        for other, others in stated[1:]:
            if others != names:
                raise DataError(
                    f"{folder}: must have one yaml file with class names, but `names` of "
                    f"{first.name} and {other.name} differ. Name the one that counts as well: "
                    f"{folder / other.name}."
                )
        return names
    return read_listed_names(folder)


def read_listed_names(folder: Path) -> dict[int, str]:
    """Return the class names of a list in a folder, one a line; empty where it has no list."""
    for listed in (folder / name for name in LISTS):
        if listed.is_file():
            lines = [line.strip() for line in _text_of(listed).splitlines()]
            while lines and not lines[-1]:
                lines.pop()
            return dict(enumerate(lines))
    return {}


def parse_yaml_names(text: str, path: Path) -> dict[int, str]:
    """Return what ``names`` of a yaml file says; empty where it has no such key.

    Raises:
        DataError: There is such a key and its value is none of the three forms.
    """
    lines = text.splitlines()
    start = next((n for n, line in enumerate(lines) if _NAMES_KEY.match(line)), None)
    if start is None:
        return {}
    value = "\n".join([lines[start].partition(":")[2], *lines[start + 1 :]])
    at = _end_of_gap(value, 0)
    if value[at : at + 1] in ("[", "{"):
        return _flow_names(value, at, path)
    first, _, rest = value.partition("\n")
    if _end_of_gap(first, 0) < len(first):
        raise _not_understood(path, first)
    names: dict[int, str] = {}
    for line in rest.split("\n"):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not line.startswith((" ", "\t", "- ")):
            break  # the next key
        item = _BLOCK_ITEM.fullmatch(line)
        if item is None:
            raise _not_understood(path, line)
        key = len(names) if item["number"] is None else int(item["number"])
        names[key] = _name_of(item)
    if not names:
        raise _not_understood(path, "")
    return names


def _flow_names(text: str, at: int, path: Path) -> dict[int, str]:
    """Return the names of a list or mapping in brackets, the first of which is at ``at``."""
    is_mapping = text[at] == "{"
    closing = "}" if is_mapping else "]"
    names: dict[int, str] = {}
    at = _end_of_gap(text, at + 1)
    while text[at : at + 1] != closing:
        begin, key = at, len(names)
        if is_mapping and (number := _FLOW_KEY.match(text, at)) is not None:
            key = int(number["number"])
            at = _end_of_gap(text, number.end())
        item = _FLOW_NAME.match(text, at) if at > begin or not is_mapping else None
        if item is not None:
            names[key] = _name_of(item)
            at = _end_of_gap(text, item.end())
        if at == len(text):
            raise DataError(
                f"{path}: `names` must be a whole list, but its {closing} is missing. Mend the "
                f"file."
            )
        if item is None or text[at] not in (",", closing):
            raise _not_understood(path, text[begin:])
        if text[at] == ",":
            at = _end_of_gap(text, at + 1)
    return names


def _end_of_gap(text: str, at: int) -> int:
    """Return where blanks and comments that begin at a place end."""
    gap = _GAP.match(text, at)
    return at if gap is None else gap.end()


def _name_of(item: re.Match[str]) -> str:
    """Return the name that a quoted or bare item spells; a line break in it is a blank."""
    spelled = item["single"] or item["double"] or item["bare"] or ""
    name = re.sub(r"\s*\n\s*", " ", spelled)
    if item["single"] is not None:
        return name.replace("''", "'")
    return name.strip() if item["double"] is None else _ESCAPE.sub(_unescaped, name)


def _unescaped(escape: re.Match[str]) -> str:
    if escape["sign"] is not None:
        return _ESCAPES[escape["sign"]]
    return chr(int(escape["x"] or escape["u"] or escape["U"], 16))


def _not_understood(path: Path, found: str) -> DataError:
    line = found.strip().partition("\n")[0]
    return DataError(
        f"{path}: `names` must be a list, or a mapping from class numbers, of names; got "
        f"{(line or 'nothing')[:40]!r}. Write it as names: [first, second]."
    )


def _text_of(path: Path) -> str:
    return read_head(path, _LARGEST_YAML_BYTES).decode("utf-8-sig", errors="replace")
