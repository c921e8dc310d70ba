"""Decode the images of an index, in parallel, into the rows of one ``.npy`` file.

The parent reads the source in one pass, in its own order, and hands blocks of encoded images to
the workers; each worker decodes its block and writes every image straight to its final row. So
the archive is opened once, memory is bounded by the blocks in flight whatever the source, and no
pixels travel between processes.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinysight.classify.decode import UndecodableImage, WrongSize, decode_image
from tinysight.classify.file_positions import read_at, write_at
from tinysight.classify.sources.index import ImageIndex, Payload, Unreadable
from tinysight.errors import DataError
from tinysight.worker_processes import ignore_interrupts, open_pool

BLOCK_IMAGES = 256
BLOCK_BYTES = 4 * 2**20
"""A block ends at whichever of the two comes first."""
_BLOCKS_IN_FLIGHT = 3  # per worker: one decoded, one waiting, one being read

SUMMED_BYTES = 3 * 2**20
"""Rows added up at a time have about so many bytes, 256 rows of 64 x 64 px."""
_MAX_SUMMED_ROWS = 2**16  # uint32 holds as many squares of a byte

HEADER_BYTES = 128
"""Length of the header of ``images.npy``; NumPy pads it to a multiple of 64."""

Progress = Callable[[int, int], None]


class PackedImage(NamedTuple):
    """What is known about an image once it is in its row."""

    sha256: str
    width_px: int
    height_px: int
    repairs: tuple[str, ...]


class RejectedImage(NamedTuple):
    """Why an image has no row, see ``UndecodableImage``."""

    reason: str
    detail: str


Outcome = PackedImage | RejectedImage


@dataclass(frozen=True)
class RowWriter:
    """Decodes images into the rows of a file; small enough to be sent to a worker."""

    path: Path
    size_px: int
    wrong_size: WrongSize

    @property
    def row_bytes(self) -> int:
        """Length of one image in the file."""
        return self.size_px * self.size_px * 3

    def write(self, rows: Sequence[int], payloads: Sequence[Payload]) -> list[Outcome]:
        """Decode each payload into its row; rows of rejected images are left as they are."""
        with open(self.path, "r+b", buffering=0) as file, warnings.catch_warnings():
            # What Pillow warns about (odd metadata, large images) is judged by decode_image.
            warnings.simplefilter("ignore")
            return [
                self._write_row(file.fileno(), row, payload)
                for row, payload in zip(rows, payloads, strict=True)
            ]

    def _write_row(self, file: int, row: int, payload: Payload) -> Outcome:
        if isinstance(payload, Unreadable):
            return RejectedImage("not readable in its source", payload.reason)
        try:
            decoded = decode_image(payload, size_px=self.size_px, wrong_size=self.wrong_size)
        except UndecodableImage as error:
            return RejectedImage(error.reason, error.detail)
        encoded = payload if isinstance(payload, bytes) else payload.tobytes()
        pixels = np.ascontiguousarray(decoded.pixels_u8)
        write_at(file, pixels.data, HEADER_BYTES + row * self.row_bytes)
        return PackedImage(
            hashlib.sha256(encoded).hexdigest(),
            decoded.width_px,
            decoded.height_px,
            decoded.repairs,
        )


def decode_into_rows(
    index: ImageIndex,
    rows: Sequence[int],
    writer: RowWriter,
    *,
    num_workers: int,
    progress: Progress | None = None,
) -> list[Outcome]:
    """Decode every image of an index into its row.

    Args:
        index: The images.
        rows: Row of each image, distinct, in the order of ``index.images``.
        writer: Where and how; the file must be there and long enough.
        num_workers: Processes that decode; 1 decodes in this process.
        progress: Called with (images done, images in all).

    Returns:
        What became of each image, in the order of ``index.images``.

    Raises:
        DataError: A worker was killed.
        OSError: The file cannot be written, for instance because the disk is full.
    """
    outcomes: list[Outcome] = []
    blocks = _run_blocks(_blocks(index, rows), writer, num_workers)
    for done in blocks:
        outcomes += done
        if progress:
            progress(len(outcomes), len(rows))
    return outcomes


def create_rows_file(path: Path, num_rows: int, size_px: int) -> None:
    """Create ``images.npy`` at its full length, so that a full disk is found before the work.

    Raises:
        OSError: There is no room, or no file can be as long.
    """
    num_bytes = HEADER_BYTES + num_rows * size_px * size_px * 3
    with open(path, "xb", buffering=0) as file:
        try:
            file.truncate(num_bytes)
        except OverflowError as error:  # more than a system can count
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG)) from error
        if hasattr(os, "posix_fallocate"):  # macOS and Windows have none
            try:
                os.posix_fallocate(file.fileno(), 0, num_bytes)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # file systems without it
                    raise
        write_header(file.fileno(), num_rows, size_px)


def write_header(file: int, num_rows: int, size_px: int) -> None:
    """Write the header that says how many rows there are."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header,
        {"descr": "|u1", "fortran_order": False, "shape": (num_rows, size_px, size_px, 3)},
    )
    assert header.tell() == HEADER_BYTES
    write_at(file, header.getvalue(), 0)


def remove_rows(path: Path, is_kept: NDArray[np.bool_], size_px: int) -> None:
    """Close the gaps that rejected images left, in place, and shorten the file.

    Args:
        path: The file.
        is_kept: True for the rows to keep, in the order of the file, shape (N,).
        size_px: Side of the images.
    """
    row_bytes = size_px * size_px * 3
    kept = np.flatnonzero(is_kept)
    with open(path, "r+b", buffering=0) as opened:
        file = opened.fileno()
        for target, row in enumerate(kept.tolist()):
            if target != row:
                block = read_at(file, row_bytes, HEADER_BYTES + row * row_bytes)
                write_at(file, block, HEADER_BYTES + target * row_bytes)
        opened.truncate(HEADER_BYTES + len(kept) * row_bytes)
        write_header(file, len(kept), size_px)


def sum_pixels(
    path: Path, is_chosen: NDArray[np.bool_], size_px: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Add up the pixels of some rows, exactly.

    Args:
        path: The file.
        is_chosen: True for the rows to add up, shape (N,).
        size_px: Side of the images.

    Returns:
        By channel, the sum of the values and the sum of their squares, each of shape (3,).
    """
    totals = np.zeros((2, 3), dtype=np.int64)
    row_values = size_px * size_px * 3
    num_rows = min(max(1, SUMMED_BYTES // row_values), _MAX_SUMMED_ROWS)
    with open(path, "rb", buffering=0) as file:
        for start in range(0, len(is_chosen), num_rows):
            chosen = is_chosen[start : start + num_rows]
            block = read_at(
                file.fileno(), len(chosen) * row_values, HEADER_BYTES + start * row_values
            )
            values = np.frombuffer(block, dtype=np.uint8).reshape(len(chosen), row_values)[chosen]
            # Down the columns first, in the narrowest integers that hold the result: fastest.
            squares = np.multiply(values, values, dtype=np.uint16)
            for total, part in zip(totals, (values, squares), strict=True):
                by_position = np.add.reduce(part, axis=0, dtype=np.uint32)
                total += by_position.reshape(-1, 3).sum(axis=0, dtype=np.int64)
    return totals[0], totals[1]


def _blocks(index: ImageIndex, rows: Sequence[int]) -> Iterator[tuple[list[int], list[Payload]]]:
    block_rows: list[int] = []
    payloads: list[Payload] = []
    num_bytes = 0
    for row, payload in zip(rows, index.read(), strict=True):
        block_rows.append(row)
        payloads.append(payload)
        num_bytes += _num_bytes(payload)
        if len(payloads) == BLOCK_IMAGES or num_bytes >= BLOCK_BYTES:
            yield block_rows, payloads
            block_rows, payloads, num_bytes = [], [], 0
    if payloads:
        yield block_rows, payloads


def _num_bytes(payload: Payload) -> int:
    if isinstance(payload, Unreadable):
        return 0
    return len(payload) if isinstance(payload, bytes) else payload.nbytes


def _run_blocks(
    blocks: Iterator[tuple[list[int], list[Payload]]], writer: RowWriter, num_workers: int
) -> Iterator[list[Outcome]]:
    if num_workers == 1:
        for rows, payloads in blocks:
            yield writer.write(rows, payloads)
        return
    pool = open_pool(num_workers, initializer=ignore_interrupts)
    waiting: deque[Future[list[Outcome]]] = deque()
    try:
        for rows, payloads in blocks:
            waiting.append(pool.submit(writer.write, rows, payloads))
            if len(waiting) == _BLOCKS_IN_FLIGHT * num_workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise DataError(
            f"{num_workers} worker processes must run to the end, one was killed, perhaps for "
            f"want of memory. Try again with --workers 1."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
