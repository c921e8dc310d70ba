"""``store.json``: what a store holds and how to tell that it is still whole.

It names no time, no path and no layout, so that two stores made from the same images with the
same seed are equal to the byte, wherever the images came from.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shlex import quote
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tinysight import run_folder
from tinysight.classify.file_positions import read_at
from tinysight.errors import DataError

FORMAT_VERSION: Literal[1] = 1
"""Goes up when a store of the version before can no longer be read.

1: first version.
"""

MANIFEST = "store.json"
IMAGES = "images.npy"
SAMPLES = "samples.parquet"
REJECTED = "rejected.csv"

HASHED_BYTES = 16 * 2**20
"""Length of the stretches that have a SHA-256 of their own."""
_HASHING_THREADS = 2
"""hashlib lets go of the interpreter lock; more threads would only wait for the disk."""

Count = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
PerChannel = tuple[float, float, float]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ClassEntry(_Part):
    """One class, in the order of class_index."""

    wnid: str
    name: str
    train: Count
    test: Count


class SplitEntry(_Part):
    """How the images were divided."""

    rule: str
    seed: int
    digest: Sha256


class CountsEntry(_Part):
    """What became of the images that were read: accepted + repaired + rejected = read."""

    read: Count
    accepted: Count
    repaired: Count
    rejected: Count


class PixelsEntry(_Part):
    """Channel statistics of the training part, in units of the full range 0-255."""

    mean: PerChannel
    std: PerChannel


class FileEntry(_Part):
    """The content of one file."""

    num_bytes: Count
    sha256: tuple[Sha256, ...]
    """Of each stretch of ``HASHED_BYTES``, the last one shorter."""


class Manifest(_Part):
    """The content of ``store.json``."""

    format_version: Literal[1]
    size_px: Annotated[int, Field(ge=1)]
    images: Count
    train: Count
    test: Count
    split: SplitEntry
    counts: CountsEntry
    repairs: dict[str, Count]
    rejections: dict[str, Count]
    train_pixels: PixelsEntry
    files: dict[str, FileEntry]
    classes: tuple[ClassEntry, ...]


class _SealedManifest(Manifest):
    sha256: Sha256
    """Of everything else in the manifest, so that a changed figure does not go unnoticed."""


def load_manifest(store: Path) -> Manifest:
    """Read and check ``store.json``.

    Raises:
        DataError: There is no such store, it is of another version, or the file is damaged or
            cannot be read.
    """
    path = store / MANIFEST
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(
            f"{store}: a store must hold {MANIFEST}, found none. {_how_to_get_a_store(store)}"
        ) from error
    except OSError as error:
        raise unreadable_file(path, error) from error
    try:
        sealed = _SealedManifest.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(str(part) for part in fault["loc"])
        if key == "format_version":
            raise DataError(
                f"{path}: format_version must be {FORMAT_VERSION}, found {fault['input']!r}. "
                f"Pack the source again, or use the version of tinysight that made the store."
            ) from error
        raise DataError(
            f"{path}: must be as it was written, {key or 'the text'} is not: {fault['msg']}. "
            f"Pack the source again."
        ) from error
    manifest = Manifest(**sealed.model_dump(exclude={"sha256"}))
    if sealed.sha256 != _seal_of(manifest):
        raise DataError(
            f"{path}: must have the content whose SHA-256 is recorded at its end, found another. "
            f"The file was changed or damaged; pack the source again."
        )
    return manifest


def _how_to_get_a_store(path: Path) -> str:
    """What to do about a path that is none: what stands there may be what is to be packed."""
    if os.path.exists(path / run_folder.RUN):
        return (
            f"It is the folder of a run; name the store that the run was trained on, which is in "
            f"its {run_folder.RUN}."
        )
    try:
        is_taken = os.path.isfile(path) or bool(os.listdir(path))
    except OSError:
        is_taken = False
    if is_taken:
        return f"Pack it first: tinysight data pack {quote(str(path))} --out STORE"
    return f"Make a store with: tinysight data pack SOURCE --out {quote(str(path))}"


def save_manifest(manifest: Manifest, store: Path) -> None:
    """Write ``store.json``."""
    sealed = _SealedManifest(**manifest.model_dump(), sha256=_seal_of(manifest))
    text = sealed.model_dump_json(indent=1) + "\n"
    # The same bytes on every system, also where lines would end otherwise.
    (store / MANIFEST).write_text(text, encoding="utf-8", newline="\n")


def _seal_of(manifest: Manifest) -> str:
    return hashlib.sha256(manifest.model_dump_json().encode()).hexdigest()


def hash_file(path: Path) -> FileEntry:
    """Return the length of a file and the SHA-256 of each stretch of it."""
    with open(path, "rb", buffering=0) as file, ThreadPoolExecutor(_HASHING_THREADS) as pool:
        num_bytes = os.fstat(file.fileno()).st_size

        def digest(start: int) -> str:
            return hashlib.sha256(read_at(file.fileno(), HASHED_BYTES, start)).hexdigest()

        return FileEntry(
            num_bytes=num_bytes,
            sha256=tuple(pool.map(digest, range(0, num_bytes, HASHED_BYTES))),
        )


def check_file(path: Path, expected: FileEntry) -> None:
    """Compare a file with what was recorded when it was written.

    Raises:
        DataError: The file is missing, of another length, cannot be read, or a stretch of it has
            changed.
    """
    check_length(path, expected)
    try:
        entry = hash_file(path)
    except OSError as error:
        raise unreadable_file(path, error) from error
    for number, (sha256, found) in enumerate(zip(expected.sha256, entry.sha256, strict=True)):
        if sha256 != found:
            start = number * HASHED_BYTES
            end = min(start + HASHED_BYTES, expected.num_bytes) - 1
            raise DataError(
                f"{path}: bytes {start}-{end} must have the SHA-256 recorded in {MANIFEST}, "
                f"found another. The file was changed or damaged; pack the source again."
            )


def check_length(path: Path, expected: FileEntry) -> None:
    """Raise DataError if a file is missing or of another length than recorded."""
    if not path.is_file():
        raise DataError(
            f"{path}: must be there, it is missing. The store is not whole; pack the source again."
        )
    found = path.stat().st_size
    if found != expected.num_bytes:
        raise DataError(
            f"{path}: must have the {expected.num_bytes:,} bytes recorded in {MANIFEST}, found "
            f"{found:,}. The file was changed or damaged; pack the source again."
        )


def unreadable_file(path: Path, error: OSError) -> DataError:
    """Return the fault of a file of a store that cannot be read."""
    return DataError(
        f"{path}: must be a file that can be read, {error.strerror or error}. "
        f"Change its permissions or pack the source again."
    )
