"""The bytes of an annotation file: plain or gzipped, of bounded size, as UTF-8 without a mark."""

from __future__ import annotations

import codecs
import os
import stat
import zlib
from pathlib import Path

from tinysight.errors import DataError

LARGEST_FILE_BYTES = 8 * 2**30
"""A larger file would not fit the memory of most machines while it is parsed."""
_LARGEST_RATIO = 200
"""Annotations compress 3 to 40 times; deflate's limit, which only filler reaches, is 1032."""
_RATIO_IS_CHECKED_FROM_BYTES = 64 * 2**20
_BLOCK_BYTES = 2**20
_GZIP = b"\x1f\x8b"
_ARCHIVES = {
    b"PK\x03\x04": "a zip archive",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ\x00": "an xz file",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a rar archive",
    b"(\xb5/\xfd": "a zstd file",
}


def check_file(path: Path) -> os.stat_result:
    """Return the status of a file that can be read.

    Raises:
        DataError: There is no such file, or it is no plain file.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(
            f"{path}: must be a file of box annotations, but {error.strerror}. Check the path."
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise DataError(
            f"{path}: must be a plain file of box annotations, but it is a folder, pipe or "
            f"device. Name a file."
        )
    return status


def plain_path(path: Path) -> Path:
    """Return a path without the ``.gz`` of a gzipped file."""
    return path.with_suffix("") if path.suffix.lower() == ".gz" else path


def read_head(path: Path, num_bytes: int = 64 * 1024) -> bytes:
    """Return the first bytes of a file, of what is inside it where it is gzipped.

    Raises:
        DataError: The file cannot be read, or is an archive of another kind.
    """
    check_file(path)
    try:
        with path.open("rb") as file:
            head = file.read(num_bytes)
    except OSError as error:
        raise DataError(_cannot_read(path, error)) from error
    _check_archive(head, path)
    if head.startswith(_GZIP):
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, num_bytes)
        except zlib.error as error:
            raise DataError(_broken_gzip(path, error)) from error
    return bytes(_as_utf8(head))


def _check_archive(data: bytes, path: Path) -> None:
    for magic, name in _ARCHIVES.items():
        if data.startswith(magic):
            raise DataError(
                f"{path}: must be annotations, plain or gzipped, but it is {name}. "
                f"Unpack it and name the file or folder inside."
            )


def read_annotation_bytes(path: Path) -> bytes | memoryview:
    """Return a whole file as UTF-8 without byte order mark.

    Raises:
        DataError: The file cannot be read, is too large, is a broken or absurd gzip file or an
            archive of another kind.
    """
    status = check_file(path)
    if status.st_size > LARGEST_FILE_BYTES:
        raise DataError(
            f"{path}: must have at most {LARGEST_FILE_BYTES / 2**30:.0f} GiB, got "
            f"{status.st_size / 2**30:,.1f} GiB. Split it into files of fewer images."
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(_cannot_read(path, error)) from error
    _check_archive(data, path)
    if data.startswith(_GZIP):
        data = _unzip(data, path)
    return _as_utf8(data)


def _unzip(packed: bytes, path: Path) -> bytes:
    """Decompress block by block, so that a bomb is met before it fills the memory."""
    view = memoryview(packed)
    blocks: list[bytes] = []
    num_out = 0
    while view:
        inflate = zlib.decompressobj(wbits=31)
        feed: bytes | memoryview = view
        try:
            while not inflate.eof:
                block = inflate.decompress(feed, _BLOCK_BYTES)
                feed = inflate.unconsumed_tail
                if not block and not feed and not inflate.eof:
                    raise DataError(
                        f"{path}: the gzip file is cut off after {len(packed):,} bytes, its end "
                        f"is missing. Copy or download it again."
                    )
                blocks.append(block)
                num_out += len(block)
                _check_bomb(num_out, len(packed), path)
        except zlib.error as error:
            raise DataError(_broken_gzip(path, error)) from error
        # Several gzip files after one another are one file; padding of zeros may follow.
        view = memoryview(inflate.unused_data.lstrip(b"\0"))
    return b"".join(blocks)


def _check_bomb(num_out: int, num_packed: int, path: Path) -> None:
    is_absurd = num_out > _RATIO_IS_CHECKED_FROM_BYTES and num_out > _LARGEST_RATIO * num_packed
    if is_absurd or num_out > LARGEST_FILE_BYTES:
        raise DataError(
            f"{path}: must unpack to annotations, but its {num_packed:,} bytes unpack to more than "
            f"{num_out:,}, as filler does. If it is sound, unpack it yourself and name that file."
        )


def _as_utf8(data: bytes) -> bytes | memoryview:
    if data.startswith(codecs.BOM_UTF8):
        # A view, so that half a gigabyte is not copied for three bytes.
        return memoryview(data)[3:]
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace").encode("utf-8", errors="replace")
    return data


def _cannot_read(path: Path, error: OSError) -> str:
    return f"{path}: must be readable, but {error.strerror}. Check the path and its permissions."


def _broken_gzip(path: Path, error: zlib.error) -> str:
    return f"{path}: must be a sound gzip file, but {error}. Copy or download it again."
