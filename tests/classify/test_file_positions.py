from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import pytest

from tinysight.classify.file_positions import read_at, write_at


@pytest.fixture(params=["pread", "seek"])
def file(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[IO[bytes]]:
    """A file of thirty bytes, on a system that has pread and pwrite and on one that has not."""
    if request.param == "seek":
        monkeypatch.delattr(os, "pread")
        monkeypatch.delattr(os, "pwrite")
    path = tmp_path / "file"
    path.write_bytes(bytes(range(30)))
    with open(path, "r+b", buffering=0) as opened:
        yield opened


@pytest.mark.parametrize(
    ("num_bytes", "offset", "expected"),
    [
        (0, 0, b""),
        (3, 0, b"\x00\x01\x02"),
        (4, 20, bytes(range(20, 24))),
        (9, 28, b"\x1c\x1d"),
        (1, 30, b""),
        (1, 99, b""),
    ],
)
def test_what_lies_at_a_place_is_read(
    file: IO[bytes], num_bytes: int, offset: int, expected: bytes
) -> None:
    assert read_at(file.fileno(), num_bytes, offset) == expected


def test_bytes_are_written_at_a_place_and_nowhere_else(file: IO[bytes]) -> None:
    write_at(file.fileno(), b"abc", 10)
    write_at(file.fileno(), memoryview(b"..\r\n\x1a..")[2:5], 40)  # as it is, in text mode too
    assert Path(file.name).read_bytes() == (
        bytes(range(10)) + b"abc" + bytes(range(13, 30)) + bytes(10) + b"\r\n\x1a"
    )


def test_what_the_system_writes_in_turns_is_written_whole(
    file: IO[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "pwrite" if hasattr(os, "pwrite") else "write"
    whole = getattr(os, name)
    turns = []

    def at_most_four(descriptor: int, data: memoryview, *offset: int) -> int:
        turns.append(len(data))
        return int(whole(descriptor, data[:4], *offset))

    monkeypatch.setattr(os, name, at_most_four)
    write_at(file.fileno(), b"0123456789", 3)
    assert turns == [10, 6, 2]
    assert Path(file.name).read_bytes()[:14] == b"\x00\x01\x020123456789\x0d"


def test_threads_share_a_file(file: IO[bytes]) -> None:
    blocks = [bytes([number]) * 64 for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: write_at(file.fileno(), blocks[n], 64 * n), range(200)))
        found = list(pool.map(lambda n: read_at(file.fileno(), 64, 64 * n), range(200)))
    assert found == blocks
