"""XML annotation files event by event, with a defence against hostile ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.parsers import expat

from tinysight.boxes.readers.file_bytes import read_annotation_bytes
from tinysight.errors import DataError

Start = Callable[[tuple[str, ...], Mapping[str, str], int], None]
"""Called with the tags from below the root to an element, its attributes and its line."""
End = Callable[[tuple[str, ...], str], None]
"""Called with the same tags and the text since the last tag, stripped and cut."""

_DEEPEST = 100
_LONGEST_TEXT = 1000
_DECLARES_UTF16 = re.compile(rb"<\?xml[^>]*\bencoding\s*=\s*[\"']utf-?16", re.IGNORECASE)
_COMMENT = re.compile(r"<!--.*?(-->|\Z)", re.DOTALL)
_START_TAG = re.compile(r"<([^\s<>/!?]+)")


def root_tag(head: str) -> str:
    """Return the name of the first element of a text that begins with an XML file, or nothing."""
    found = _START_TAG.search(_COMMENT.sub("", head))
    return found[1] if found else ""


def parse_xml(
    path: Path,
    start: Start,
    end: End,
    *,
    root: str,
    what: str,
    advice: str,
    largest_bytes: int | None = None,
) -> None:
    """Parse a file that is plain or gzipped, and call back for each element below the root.

    Args:
        path: The file.
        start: Called where an element begins.
        end: Called where it ends.
        root: The name that the root must have.
        what: Name of the format, for messages, such as ``Pascal VOC``.
        advice: What to do with a file that has another root; a sentence.
        largest_bytes: Most bytes that a file of the format may have.

    Raises:
        DataError: It is not sound XML, declares a document type, is nested too deeply, is too
            large or has another root.
    """
    data = read_annotation_bytes(path)
    if largest_bytes is not None and len(data) > largest_bytes:
        raise DataError(
            f"{path}: must have at most {largest_bytes >> 20} MiB, as the annotation of one "
            f"image; got {len(data) >> 20:,} MiB. Check that this is a {what} file."
        )
    stack: list[str] = []
    text: list[str] = []
    # A declaration of UTF-16 that can be read byte by byte is from before the file was decoded.
    parser = expat.ParserCreate("utf-8" if _DECLARES_UTF16.match(data) else None)

    def refuse(*_: object) -> None:
        # An annotation has no document type; one that has could define entities that expand
        # without end or name other files.
        raise DataError(
            f"{path}: must be a plain {what} annotation, but it declares a document type. "
            f"Remove the DOCTYPE."
        )

    def open_tag(tag: str, attributes: dict[str, str]) -> None:
        if not stack and tag != root:
            raise DataError(f"{path}: must be a {what} <{root}>, got <{tag[:40]}>. {advice}")
        stack.append(tag)
        text.clear()
        if len(stack) > _DEEPEST:
            raise DataError(
                f"{path}: must be nested at most {_DEEPEST} deep, got more tags within tags. "
                f"Export the annotations again."
            )
        if len(stack) > 1:
            start(tuple(stack[1:]), attributes, parser.CurrentLineNumber)

    def close_tag(_: str) -> None:
        inner = tuple(stack[1:])
        stack.pop()
        value = "".join(text).strip()[:_LONGEST_TEXT]
        text.clear()
        if inner:
            end(inner, value)

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = open_tag
    parser.EndElementHandler = close_tag
    parser.CharacterDataHandler = text.append
    try:
        parser.Parse(bytes(data), True)
    except expat.ExpatError as error:
        raise DataError(
            f"{path}: must be sound XML, but line {error.lineno:,}, column {error.offset + 1:,}: "
            f"{expat.ErrorString(error.code)}. Export the annotations again or mend that place."
        ) from error
    except (ValueError, LookupError) as error:  # an encoding that Python does not know
        raise DataError(f"{path}: must be sound XML, but {error}. Save it as UTF-8.") from error
