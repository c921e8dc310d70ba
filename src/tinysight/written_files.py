"""What a report wrote into its folder, so that the next one can clear away what it left there.

A file is written over or removed only if an earlier report wrote it and nobody has changed it
since: its SHA-256 must be the one that was noted then.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from tinysight.errors import RunError
from tinysight.whole_files import read_json, write_json

WRITTEN = "files.json"

_MOST_BYTES = 2**22  # a note has some hundred bytes a file; a larger file is something else


def require_own(folder: Path, names: Iterable[str]) -> None:
    """Refuse to write over files that no report wrote into a folder as they are.

    Args:
        folder: The folder, which need not exist.
        names: Paths relative to it, with slashes, of what is to be written; none need exist.

    Raises:
        RunError: One is of somebody else, or was changed, or ``files.json`` is no note.
    """
    noted = _noted(folder)
    if os.path.lexists(folder / WRITTEN) and _content_of_note(folder) is None:
        raise RunError(_is_of_others(folder / WRITTEN, "it is no note of what a report wrote"))
    for name in names:
        path = folder / name
        if os.path.lexists(path) and not (name in noted and _is_as_noted(path, noted[name])):
            fault = "it was changed since" if name in noted else "none noted that it did"
            raise RunError(_is_of_others(path, fault))


@contextmanager
def replacing(folder: Path, names: Iterable[str]) -> Iterator[None]:
    """Note what is written into a folder inside the context, and clear away what was before.

    Where the writing is broken off, what was written until then is noted as well, so that the next
    report may write over it.

    Args:
        folder: The folder, which may be made inside the context.
        names: Paths relative to it, with slashes, of all that is written.

    Raises:
        RunError: A file is of somebody else, see :func:`require_own`, or the note cannot be
            written.
    """
    names = tuple(names)
    require_own(folder, names)
    before = _noted(folder)
    try:
        yield
    except BaseException:
        there = {name: _digest(folder / name) for name in names if (folder / name).is_file()}
        if there:
            with suppress(RunError):  # the first fault is the one to tell
                write_json(folder / WRITTEN, {"sha256": before | there})
        raise
    remove_stale(folder, kept=names)
    save_written(folder, names)


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
        if is_inside and _is_as_noted(path, noted[name]):
            path.unlink()


def written_names(folder: Path) -> frozenset[str]:
    """Return the names of what a report wrote into a folder, its note included.

    Returns:
        Paths relative to the folder, with slashes; none where there is no note.
    """
    noted = _noted(folder)
    return frozenset({WRITTEN, *noted}) if noted else frozenset()


def _noted(folder: Path) -> dict[str, str]:
    return {
        name: digest
        for name, digest in (_content_of_note(folder) or {}).items()
        if isinstance(digest, str) and name != WRITTEN and ".." not in PurePosixPath(name).parts
    }


def _content_of_note(folder: Path) -> dict[str, Any] | None:
    path = folder / WRITTEN
    if not path.is_file() or path.stat().st_size > _MOST_BYTES:
        return None
    try:
        digests = read_json(path).get("sha256")
    except (RunError, RecursionError):
        return None
    return digests if isinstance(digests, dict) else None


def _is_of_others(path: Path, fault: str) -> str:
    return (
        f"{path}: must be absent or as an earlier report wrote it, but {fault}, and it would be "
        f"lost. Move it away, or choose another --out."
    )


def _is_as_noted(path: Path, digest: str) -> bool:
    try:
        return path.is_file() and _digest(path) == digest
    except OSError:  # it may not be read, so it is none of ours
        return False


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
