"""JSON annotation files into typed columns, with the place of every fault.

``msgspec`` parses the fields that are needed and skips the rest. What is not JSON but is common in
the wild (NaN, Infinity, trailing commas, halves of surrogate pairs) is replaced by JSON of the same
length and parsed again, so that positions in messages stay those of the file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tinysight.boxes.findings import FindingGroup, whole_file_finding
from tinysight.boxes.readers.file_bytes import check_file, read_annotation_bytes, read_head
from tinysight.boxes.readers.repeated_keys import refuse_repeated_keys
from tinysight.errors import DataError

NOT_A_NUMBER = "\x7f"
"""Begins the strings that stand for NaN and infinite numbers; no writer of JSON makes one."""

_LARGEST_TRACED_BYTES = 64 * 2**20
_DEEPEST = 1000
_SHOWN_BYTES = 30
_SHOWN_CHARACTERS = 40
_MOST_PARTS_SHOWN = 6
_READ_AT_ONCE_BYTES = 2**20
_BRACKET_SAMPLES = 64
_BRACKET_BLOCK_BYTES = 16 * 1024
_BRACKETS_CHECKED_FROM_BYTES = 64 * 2**20
_LARGEST_BRACKET_SHARE = 1 / 6

_NEARLY = re.compile(
    rb'(?P<string>"(?:[^"\\]|\\.)*+")|(?P<nan>NaN)|(?P<inf>-?Infinity)'
    rb"|(?P<exponent>-?\d+(?:\.\d*)?[eE]\+?\d{3,})|(?P<digits>-?\d{300,}[\d.]*)"
    rb"|(?P<comma>,(?=\s*[\]}]))",
    re.DOTALL,
)
_LONE_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|"
    rb"(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)
_TOKEN = re.compile(rb'(?P<string>"(?:[^"\\]|\\.)*+"?)|[\[\]{}:,]', re.DOTALL)
_NEXT_VALUE = re.compile(rb"\s*([\[{])")
_BYTE_OF_MESSAGE = re.compile(r"\(byte (\d+)\)")


def load_json(
    path: Path, kinds: Sequence[Any], *, unique: Collection[str] = ()
) -> tuple[Any, tuple[FindingGroup, ...]]:
    """Read a JSON file, plain or gzipped, see :func:`decode_json`.

    Args:
        path: The file.
        kinds: Types, the strictest first.
        unique: Keys that the object may have once only.
    """
    if check_file(path).st_size > _READ_AT_ONCE_BYTES:
        # Before a file of nothing but brackets is read, which may have gigabytes of them.
        check_nesting(read_head(path), path)
    data = read_annotation_bytes(path)
    check_nesting(bytes(data[: 2 * _DEEPEST]), path)
    decoded = decode_json(data, kinds, path)
    if unique:
        refuse_repeated_keys(data, unique, path)
    return decoded


def check_nesting(head: bytes, path: Path) -> None:
    """Refuse a file that begins with nothing but opening brackets.

    Raises:
        DataError: It does.
    """
    if len(head) > _DEEPEST and not head[: 2 * _DEEPEST].strip(b'[{": \t\r\n'):
        raise DataError(_too_deep(path))


def check_density(data: bytes | memoryview, path: Path) -> None:
    """Refuse a text of brackets: each would cost sixty times its size in memory.

    Raises:
        DataError: A large part of a long text is opening brackets.
    """
    if len(data) < _BRACKETS_CHECKED_FROM_BYTES:
        return
    text = np.frombuffer(data, np.uint8)
    starts = np.linspace(0, len(text) - _BRACKET_BLOCK_BYTES, _BRACKET_SAMPLES).astype(np.int64)
    sample = np.concatenate([text[start : start + _BRACKET_BLOCK_BYTES] for start in starts])
    share = float(((sample == ord("[")) | (sample == ord("{"))).mean())
    if share > _LARGEST_BRACKET_SHARE:
        raise DataError(
            f"{path}: must be annotations, but {share:.0%} of its {len(data):,} bytes are opening "
            f"brackets. Export the annotations again."
        )


def decode_json(
    data: bytes | memoryview, kinds: Sequence[Any], path: Path
) -> tuple[Any, tuple[FindingGroup, ...]]:
    """Parse a JSON file into a type, mending what is nearly JSON.

    Args:
        data: The file as UTF-8.
        kinds: Types that ``msgspec`` decodes to, the strictest first; the first that fits is
            returned.
        path: Name of the file, for messages.

    Returns:
        The value, and a finding for each kind of mending.

    Raises:
        DataError: The text is not JSON, is cut off, is nested too deeply or fits no type; the
            message says where.
    """
    check_density(data, path)
    try:
        return _first_fit(data, kinds), ()
    except UnicodeDecodeError:
        pass
    except msgspec.ValidationError as error:
        if "out of range" not in str(error):
            raise DataError(_wrong_structure(path, error)) from error
    except msgspec.DecodeError:
        pass
    except RecursionError as error:
        raise DataError(_too_deep(path)) from error
    return _decode_mended(bytes(data), kinds, path)


def _first_fit(data: bytes | memoryview, kinds: Sequence[Any]) -> Any:
    for kind in kinds[:-1]:
        try:
            return msgspec.json.decode(data, type=kind)
        except msgspec.ValidationError:
            continue
    return msgspec.json.decode(data, type=kinds[-1])


def shown_number(value: object) -> str:
    """Return a value of a file as a message shows it."""
    if isinstance(value, str):
        if value.startswith(NOT_A_NUMBER):
            return {"+": "Infinity", "-": "-Infinity"}.get(value[1:2], "NaN")
        return repr(value)
    if isinstance(value, list):
        shown = ", ".join(shown_number(item) for item in value[:6])
        return f"[{shown}{', …' if len(value) > 6 else ''}]"
    return (
        {None: "null", True: "true", False: "false"}.get(value, str(value))
        if (value is None or isinstance(value, bool))
        else _cut(str(value))
    )


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def _decode_mended(
    data: bytes, kinds: Sequence[Any], path: Path
) -> tuple[Any, tuple[FindingGroup, ...]]:
    notes: list[FindingGroup] = []
    try:
        data.decode()
    except UnicodeDecodeError as error:
        message = (
            f"text must be UTF-8, but byte {error.start:,} is not. The bytes that are not were "
            f"replaced."
        )
        notes.append(whole_file_finding("not_utf8", "repaired", str(path), message))
        data = data.decode(errors="replace").encode()
    mended, counts = _mend(data)
    for what, count in counts.items():
        message = f"JSON has no {what}; found in it: {count:,}. Read as it was meant."
        notes.append(whole_file_finding("not_quite_json", "repaired", str(path), message))
    try:
        return _first_fit(mended, kinds), tuple(notes)
    except msgspec.ValidationError as error:
        raise DataError(_wrong_structure(path, error)) from error
    except msgspec.DecodeError as error:
        raise DataError(_not_json(path, mended, error)) from error
    except RecursionError as error:
        raise DataError(_too_deep(path)) from error


def _mend(data: bytes) -> tuple[bytes, dict[str, int]]:
    """Return text of the same length without what is not JSON, and how often each thing was met."""
    counts = {"NaN": 0, "Infinity": 0, "number that large": 0, "trailing comma": 0}
    counts["half of a surrogate pair"] = 0

    def replacement(match: re.Match[bytes]) -> bytes:
        found = match[0]
        name = match.lastgroup
        if name == "string":
            if b"\\u" not in found:
                return found
            return _LONE_SURROGATE.sub(lone, found)
        if name == "comma":
            counts["trailing comma"] += 1
            return b" "
        if name == "exponent" and not math.isinf(float(found)):
            return found  # 1.5e+002, as some writers have it, is large in its spelling only
        counts[{"nan": "NaN", "inf": "Infinity"}.get(str(name), "number that large")] += 1
        if name == "nan":
            return b'"\x7f"'
        sign = b"-" if found.startswith(b"-") else b"+"
        return b'"\x7f' + sign + b" " * (len(found) - 4) + b'"'

    def lone(match: re.Match[bytes]) -> bytes:
        counts["half of a surrogate pair"] += 1
        return b"\\ufffd"

    mended = _NEARLY.sub(replacement, data)
    return mended, {name: count for name, count in counts.items() if count}


def _wrong_structure(path: Path, error: Exception) -> str:
    found, _, place = str(error).partition(" - at ")
    place = place.replace("`", "").removeprefix("$").removeprefix(".") or "the whole file"
    found = found.replace("`", "")
    return (
        f"{path}: {place}: must be what the format has there, but: {found}. Check that this is an "
        f"annotation file, or name its format with --format."
    )


def _too_deep(path: Path) -> str:
    return (
        f"{path}: must be JSON nested at most {_DEEPEST} deep, got more brackets within brackets. "
        f"Export the annotations again."
    )


def _not_json(path: Path, data: bytes, error: Exception) -> str:
    said = _BYTE_OF_MESSAGE.search(str(error))
    if said is None:
        end = len(data.rstrip())
        place = _place_of(data, end)
        if end == 0:
            return f"{path}: must be JSON, but the file is empty. Export the annotations again."
        return (
            f"{path}: must be whole JSON, but the file ends early, at {place}, after "
            f"{_around(data[:end], end)}. Copy or download it again."
        )
    at = int(said[1])
    reason = str(error).removeprefix("JSON is malformed: ").partition(" (byte")[0]
    # The parser may stand after the bracket.
    if reason == "trailing characters" and (begin := _NEXT_VALUE.match(data, max(0, at - 1))):
        return (
            f"{path}: must be one JSON value, but a second begins at "
            f"{_place_of(data, begin.start(1))}, as in JSON lines, which are not read. Export the "
            f"annotations in a format that is, such as COCO."
        )
    hint = "Export the annotations again or mend that place."
    if data[at : at + 1] == b"'" or re.match(rb"\s*\{\s*'", data):
        hint = "It looks like a printed Python dict: write it with json.dump."
    return (
        f"{path}: must be JSON, but {reason} at {_place_of(data, at)}: {_around(data, at)}. {hint}"
    )


def _around(data: bytes, at: int) -> str:
    near = data[max(0, at - _SHOWN_BYTES) : at + _SHOWN_BYTES].decode(errors="replace")
    return repr("".join(c if c.isprintable() else " " for c in near))


def _place_of(data: bytes, at: int) -> str:
    line = data.count(b"\n", 0, at) + 1
    column = at - (data.rfind(b"\n", 0, at) + 1) + 1
    place = f"line {line:,}, column {column:,} (byte {at:,})"
    inside = _record_at(data, at) if at <= _LARGEST_TRACED_BYTES else ""
    return f"{place}, in {inside}" if inside else place


def _record_at(data: bytes, at: int) -> str:
    """Return the path of the value at a byte, such as ``annotations[17].bbox``."""
    stack: list[str | int] = []
    key = ""
    for match in _TOKEN.finditer(data, 0, at):
        token = match[0]
        if token == b"[":
            stack.append(0)
        elif token == b"{":
            stack.append("")
        elif token in (b"]", b"}"):
            if stack:
                stack.pop()
        elif token == b",":
            if stack and isinstance(stack[-1], int):
                stack[-1] += 1
        elif token == b":":
            if stack and isinstance(stack[-1], str):
                stack[-1] = key
        else:
            key = token[1:41].decode(errors="replace").rstrip('"')
        if len(stack) > _DEEPEST:
            return ""
    shown = stack[:_MOST_PARTS_SHOWN]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in shown)
    return path.removeprefix(".").rstrip(".") + ("…" if len(stack) > len(shown) else "")
