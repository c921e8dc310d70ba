"""Class names of a YOLO tree: from ``data.yaml``, ``classes.txt`` or ``obj.names``.

Only the key ``names`` of the yaml is wanted, and it is written in three ways: a flow list, a block
list, or a block mapping from numbers. That needs no parser of all of yaml.
"""

from __future__ import annotations

import re
from pathlib import Path

from tinysight.boxes.readers.file_bytes import read_head
from tinysight.errors import DataError

LISTS = ("classes.txt", "obj.names", "_darknet.labels", "predefined_classes.txt")

_LARGEST_YAML_BYTES = 2**20
_ITEM = re.compile(
    r"\s*(?:-\s+(?P<listed>.+)|['\"]?(?P<number>\d{1,6})['\"]?\s*:\s*(?P<mapped>.+))"
)
_FLOW_ITEM = re.compile(
    r"\s*(?:['\"]?(?P<number>\d{1,6})['\"]?\s*:\s*)?"
    r"(?:'(?P<single>(?:[^']|'')*)'|\"(?P<double>[^\"]*)\"|(?P<bare>[^,\]}]*))\s*(?:,|$)"
)


def read_class_names(folder: Path) -> dict[int, str]:
    """Return the name of each class number; empty where the tree names none.

    Raises:
        DataError: ``names`` in the yaml is written in a way that is not understood.
    """
    yamls = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
    for path in yamls:
        names = parse_yaml_names(_text_of(path), path)
        if names:
            return names
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
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    start = next((n for n, line in enumerate(lines) if re.match(r"names\s*:", line)), None)
    if start is None:
        return {}
    first = _without_comment(lines[start].partition(":")[2]).strip()
    if first.startswith(("[", "{")):
        return _flow_names(" ".join([first, *lines[start + 1 :]]), path)
    names: dict[int, str] = {}
    for line in lines[start + 1 :] if not first else ():
        if not line.strip():
            continue
        item = _ITEM.fullmatch(_without_comment(line).rstrip())
        if item is None or (item["listed"] is None and not line.startswith((" ", "\t"))):
            break
        key = len(names) if item["number"] is None else int(item["number"])
        names[key] = _unquoted(item["listed"] or item["mapped"])
    if not names:
        raise DataError(
            f"{path}: `names` must be a list, or a mapping from class numbers, of names; got "
            f"{(first or 'nothing')[:40]!r}. Write it as names: [first, second]."
        )
    return names


def _flow_names(text: str, path: Path) -> dict[int, str]:
    closing = {"[": "]", "{": "}"}[text[0]]
    end = text.find(closing)
    if end < 0:
        raise DataError(
            f"{path}: `names` must be a whole list, but its {closing} is missing. Mend the file."
        )
    names: dict[int, str] = {}
    body = text[1:end].strip().rstrip(",")
    at = 0
    while at < len(body):
        item = _FLOW_ITEM.match(body, at)
        if item is None or item.end() == at:
            break
        key = len(names) if item["number"] is None else int(item["number"])
        name = item["single"] if item["single"] is not None else item["double"]
        names[key] = (item["bare"] or "").strip() if name is None else name.replace("''", "'")
        at = item.end()
    return names


def _without_comment(line: str) -> str:
    return re.sub(r"(?:^|\s)#.*$", "", line)


def _unquoted(text: str) -> str:
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return text


def _text_of(path: Path) -> str:
    return read_head(path, _LARGEST_YAML_BYTES).decode("utf-8", errors="replace")
