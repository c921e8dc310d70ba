"""Reading and writing at a place of an open file, also where the system has no call for it."""

from __future__ import annotations

import os
from threading import Lock

# Windows has neither pread nor pwrite: there a place is sought first, by one thread at a time.
_SEEKING = Lock()


def read_at(file: int, num_bytes: int, offset: int) -> bytes:
    """Return at most ``num_bytes`` from ``offset`` on, fewer at the end; threads may share a file.

    Args:
        file: Descriptor of a file that is open in binary.
        num_bytes: Length.
        offset: Bytes from the beginning of the file.

    Raises:
        OSError: The system cannot read there.
    """
    if hasattr(os, "pread"):
        return os.pread(file, num_bytes, offset)
    with _SEEKING:
        os.lseek(file, offset, os.SEEK_SET)
        return os.read(file, num_bytes)


def write_at(file: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of ``data`` at ``offset``; the system may take several turns.

    Args:
        file: Descriptor of a file that is open in binary.
        data: Bytes, or anything that lies in memory like bytes.
        offset: Bytes from the beginning of the file.

    Raises:
        OSError: The system cannot write there.
    """
    view = memoryview(data).cast("B")
    while view:
        written = _write_once(file, view, offset)
        view, offset = view[written:], offset + written


def _write_once(file: int, view: memoryview, offset: int) -> int:
    if hasattr(os, "pwrite"):
        return os.pwrite(file, view, offset)
    with _SEEKING:
        os.lseek(file, offset, os.SEEK_SET)
        return os.write(file, view)
