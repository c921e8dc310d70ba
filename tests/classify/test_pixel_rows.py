from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.builders import encode, make_pixels
from tinysight.classify import pixel_rows
from tinysight.classify.decode import GREY
from tinysight.classify.pixel_rows import (
    HEADER_BYTES,
    PackedImage,
    RejectedImage,
    RowWriter,
    create_rows_file,
    decode_into_rows,
    remove_rows,
    sum_pixels,
)
from tinysight.classify.sources.index import (
    ImageIndex,
    IndexedImage,
    Location,
    Payload,
    Unreadable,
)
from tinysight.errors import DataError

SIZE_PX = 8


def index_of(payloads: Sequence[Payload]) -> ImageIndex:
    def read_at(locations: Sequence[Location]) -> Iterator[Payload]:
        return iter(payloads)

    images = tuple(
        IndexedImage(f"all/a/{number}", f"{number}", 0, "all", (number,), None)
        for number in range(len(payloads))
    )
    return ImageIndex("test", "test", ("a",), ("a",), images, read_at)


def rows_file(tmp_path: Path, num_rows: int) -> Path:
    path = tmp_path / "images.npy"
    create_rows_file(path, num_rows, SIZE_PX)
    return path


def killed(*_: object) -> None:
    os._exit(9)


def test_a_new_file_has_its_full_length_and_is_a_numpy_array(tmp_path: Path) -> None:
    path = rows_file(tmp_path, 1000)
    assert path.stat().st_size == HEADER_BYTES + 1000 * SIZE_PX * SIZE_PX * 3
    assert np.load(path).shape == (1000, SIZE_PX, SIZE_PX, 3)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_every_image_lands_in_its_row_and_every_fault_is_told(
    tmp_path: Path, num_workers: int
) -> None:
    pixels = [make_pixels(seed, SIZE_PX) for seed in range(5)]
    payloads: list[Payload] = [encode(image) for image in pixels[:4]]
    payloads += [pixels[4], b"no image", Unreadable("missing")]
    rows = [3, 0, 6, 1, 2, 5, 4]
    path = rows_file(tmp_path, len(rows))
    done: list[tuple[int, int]] = []
    outcomes = decode_into_rows(
        index_of(payloads),
        rows,
        RowWriter(path, SIZE_PX, "resize"),
        num_workers=num_workers,
        progress=lambda *counts: done.append(counts),
    )
    stored = np.load(path)
    for image, row in zip(pixels, rows, strict=False):
        np.testing.assert_array_equal(stored[row], image)
    assert [type(outcome) for outcome in outcomes] == [PackedImage] * 5 + [RejectedImage] * 2
    assert outcomes[5] == RejectedImage("not an image", "begins with b'no i'")
    assert outcomes[6] == RejectedImage("not readable in its source", "missing")
    assert done[-1] == (7, 7)


def test_hash_is_that_of_the_file_and_repairs_are_kept(tmp_path: Path) -> None:
    import hashlib

    data = encode(make_pixels(0, SIZE_PX)[:, :, 0])
    path = rows_file(tmp_path, 1)
    writer = RowWriter(path, SIZE_PX, "resize")
    outcome = decode_into_rows(index_of([data]), [0], writer, num_workers=1)[0]
    assert outcome == PackedImage(hashlib.sha256(data).hexdigest(), SIZE_PX, SIZE_PX, (GREY,))


def test_results_do_not_depend_on_blocks_or_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    payloads: list[Payload] = [encode(make_pixels(seed, SIZE_PX)) for seed in range(9)]
    monkeypatch.setattr(pixel_rows, "BLOCK_IMAGES", 2)
    results = []
    for num_workers in (1, 2):
        path = rows_file(tmp_path, 9)
        writer = RowWriter(path, SIZE_PX, "resize")
        outcomes = decode_into_rows(
            index_of(payloads), list(range(9))[::-1], writer, num_workers=num_workers
        )
        results.append((outcomes, path.read_bytes()))
        path.unlink()
    assert results[0] == results[1]


def test_a_block_ends_when_it_has_enough_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_rows, "BLOCK_BYTES", 100)
    index = index_of([bytes(60), bytes(60), Unreadable("x"), bytes(200), bytes(1)])
    blocks = [rows for rows, _ in pixel_rows._blocks(index, range(5))]
    assert blocks == [[0, 1], [2, 3], [4]]


def test_a_killed_worker_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = RowWriter(rows_file(tmp_path, 1), SIZE_PX, "resize")
    monkeypatch.setattr(pixel_rows, "ignore_interrupts", killed)
    with pytest.raises(DataError, match="2 worker processes must run to the end, one was killed"):
        decode_into_rows(index_of([b""]), [0], writer, num_workers=2)


@pytest.mark.parametrize("kept", [[0, 1, 2, 3], [1, 3], [0], [3]])
def test_removing_rows_keeps_the_others_in_order(tmp_path: Path, kept: list[int]) -> None:
    path = rows_file(tmp_path, 4)
    images = np.stack([make_pixels(seed, SIZE_PX) for seed in range(4)])
    np.save(path, images)
    remove_rows(path, np.isin(np.arange(4), kept), SIZE_PX)
    np.testing.assert_array_equal(np.load(path), images[kept])
    assert path.stat().st_size == HEADER_BYTES + len(kept) * SIZE_PX * SIZE_PX * 3


@pytest.mark.parametrize("block_rows", [1, 3, 256])
def test_sums_are_those_of_whole_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_rows: int
) -> None:
    monkeypatch.setattr(pixel_rows, "SUMMED_BYTES", block_rows * SIZE_PX * SIZE_PX * 3)
    images = np.stack([make_pixels(seed, SIZE_PX) for seed in range(7)])
    np.save(tmp_path / "images.npy", images)
    is_chosen = np.array([True, False, True, True, False, False, True])
    sums, squares = sum_pixels(tmp_path / "images.npy", is_chosen, SIZE_PX)
    chosen = images[is_chosen].astype(np.int64)
    np.testing.assert_array_equal(sums, chosen.sum(axis=(0, 1, 2)))
    np.testing.assert_array_equal(squares, (chosen**2).sum(axis=(0, 1, 2)))


def test_sums_of_white_images_do_not_overflow(tmp_path: Path) -> None:
    images = np.full((300, SIZE_PX, SIZE_PX, 3), 255, dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    sums, squares = sum_pixels(tmp_path / "images.npy", np.ones(300, dtype=np.bool_), SIZE_PX)
    assert sums.tolist() == [300 * SIZE_PX**2 * 255] * 3
    assert squares.tolist() == [300 * SIZE_PX**2 * 255**2] * 3
