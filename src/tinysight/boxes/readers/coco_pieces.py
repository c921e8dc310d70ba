"""A large COCO json read piece by piece: a few megabytes at a time, no record kept.

The list ``annotations`` is cut between two of its records, wherever ``}, {`` stands, and each piece
is parsed as a list of its own. No cut can go wrong unseen: an array is its elements with commas
between them, and JSON has one reading only, so if every piece is a list of records, then the pieces
behind one another are the records of the whole. A cut inside a text or a nested object leaves a
piece that is not JSON.

Half a gigabyte at once costs more in fresh memory than in parsing.
"""

from __future__ import annotations

import re
from io import FileIO
from pathlib import Path

import msgspec

from tinysight.boxes.readers.coco_annotations import (
    AnnotationColumns,
    SoundAnnotation,
    SoundColumns,
)
from tinysight.boxes.readers.coco_lists import AnyJson, Category, Image
from tinysight.boxes.readers.file_bytes import check_file
from tinysight.boxes.readers.json_text import check_density
from tinysight.boxes.readers.repeated_keys import refuse_repeated_keys

PIECE_BYTES = 2**20
"""Text that is parsed at a time; a smaller file is parsed at once."""

LISTS = ("annotations", "images", "categories")
"""The keys of a file that are read; each counts once."""

_LIST_START = re.compile(rb'"annotations"[ \t\r\n]*:[ \t\r\n]*\[')
_LONGEST_LIST_START = 256
_BETWEEN = re.compile(rb"\}([ \t\r\n]*,[ \t\r\n]*)\Z")
_LONGEST_BETWEEN = 256
_LONGEST_RECORD_IN_PIECES = 16


class SoundCoco(msgspec.Struct, gc=False):
    """A file whose annotations are all of the right types; twice as fast to parse."""

    annotations: list[SoundAnnotation]
    images: list[Image | AnyJson] | None = None
    categories: list[Category | AnyJson] | None = None


_parse_file = msgspec.json.Decoder(SoundCoco).decode
_parse_piece = msgspec.json.Decoder(list[SoundAnnotation]).decode


def read_in_pieces(
    path: Path, piece_bytes: int = PIECE_BYTES
) -> tuple[AnnotationColumns, SoundCoco] | None:
    """Read a COCO file whose annotations are all as they should be.

    Args:
        path: A file.
        piece_bytes: Text to parse at a time, > 0.

    Returns:
        The columns of the annotations, and the other two lists. None for a file that has to be read
        as a whole: because it is small, gzipped or not quite JSON, because a record is not sound,
        or because something stands where it is not expected.
    """
    if check_file(path).st_size <= piece_bytes:
        return None
    try:
        with path.open("rb", buffering=0) as file:
            return _read_in_pieces(file, path, piece_bytes)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError):
        return None  # reading the whole says what is wrong, and where


def _read_in_pieces(
    file: FileIO, path: Path, piece_bytes: int
) -> tuple[AnnotationColumns, SoundCoco] | None:
    found = _read_to_list(file, piece_bytes)
    if found is None:
        return None
    head, begun = found
    check_density(head, path)
    around = _parse_file(head + b'"annotations":[]}')
    columns = SoundColumns()
    # One piece of memory for all pieces of text, and its first byte is the bracket before them.
    text = bytearray(_LONGEST_RECORD_IN_PIECES * piece_bytes)
    text[: 1 + len(begun)] = b"[" + begun
    end = 1 + len(begun)
    with memoryview(text) as view:
        while more := file.readinto(view[end : end + piece_bytes]):
            end += more
            cut, following = _last_cut(text, end)
            if following == 0:
                if end + piece_bytes > len(text):
                    return None
                continue
            comma, text[cut] = text[cut], ord("]")  # or white space before the comma
            try:
                columns.add(_parse_piece(view[: cut + 1]))
            except msgspec.ValidationError:
                return None
            except msgspec.DecodeError:  # the list ends in this piece
                text[cut] = comma
                break
            text[1 : 1 + end - following] = text[following:end]
            end -= following - 1
        tail = bytes(view[1:end]) + file.read()
    check_density(tail, path)
    rest = _parse_file(b'{"annotations":[' + tail)
    refuse_repeated_keys(head + b'"annotations":[' + tail, LISTS, path)
    columns.add(rest.annotations)
    lists = SoundCoco(
        annotations=[],
        images=around.images if rest.images is None else rest.images,
        categories=around.categories if rest.categories is None else rest.categories,
    )
    return columns.finish(), lists


def _read_to_list(file: FileIO, piece_bytes: int) -> tuple[bytes, bytes] | None:
    """Return the text before the list of annotations and the beginning of the list's own."""
    text = bytearray()
    while more := file.read(piece_bytes):
        searched = max(0, len(text) - _LONGEST_LIST_START)
        text += more
        start = _LIST_START.search(text, searched)
        if start:
            return bytes(text[: start.start()]), bytes(text[start.end() :])
    return None


def _last_cut(text: bytearray, end: int) -> tuple[int, int]:
    """Return where the last record but one ends and where the last begins; 0, 0 if unknown."""
    brace = text.rfind(b"{", 0, end)
    while brace > 0:
        between = _BETWEEN.search(text, max(0, brace - _LONGEST_BETWEEN), brace)
        if between:
            return between.start(1), brace
        brace = text.rfind(b"{", 0, brace)
    return 0, 0
