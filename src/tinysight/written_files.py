"""What a report wrote into its folder, so that the next one can clear away what it left there.

A file is removed only if an earlier report wrote it and nobody has changed it since: its SHA-256
must be the one that was noted then.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from tinysight.errors import RunError
from tinysight.run_folder import read_json, write_json

WRITTEN = "files.json"

_MOST_BYTES = 2**22  # a note has some hundred bytes a file; a larger file is something else


def save_written(folder: Path, names: Iterable[str]) -> None:
    """Note files of a folder with their SHA-256 in its ``files.json``.

    Args:
        folder: The folder.
        names: Paths relative to it, with slashes; each exists.

    Raises:
        RunError: The note cannot be written.
    """
    write_json(folder / WRITTEN, {"sha256": {name: _digest(folder / name) for name in names}})


def remove_stale(folder: Path, kept: Iterable[str]) -> None:
    """Remove the files that ``files.json`` notes, which are as they were written then.

    Args:
        folder: The folder; without a note, or with one that cannot be read, nothing is removed.
        kept: Names that stay.
    """
    noted = _noted(folder)
    for name in sorted({*noted} - {*kept}):
        path = folder / name
        is_inside = path.resolve().is_relative_to(folder.resolve())
        if is_inside and path.is_file() and _digest(path) == noted[name]:
            path.unlink()


def written_names(folder: Path) -> frozenset[str]:
    """Return the names of what a report wrote into a folder, its note included.

    Returns:
        Paths relative to the folder, with slashes; none where there is no note.
    """
    noted = _noted(folder)
    return frozenset({WRITTEN, *noted}) if noted else frozenset()


def _noted(folder: Path) -> dict[str, str]:
    path = folder / WRITTEN
    if not path.is_file() or path.stat().st_size > _MOST_BYTES:
        return {}
    try:
        digests = read_json(path).get("sha256")
    except (RunError, RecursionError):
        return {}
    if not isinstance(digests, dict):
        return {}
    return {
        name: digest
        for name, digest in digests.items()
        if isinstance(digest, str) and name != WRITTEN and ".." not in PurePosixPath(name).parts
    }


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
