"""Files written as a whole: a reader sees the old one or the new one, never half of either.

JSON, JSON lines and whatever a function writes. Lines can be added at the end as well; a torn last
one is left out when they are read.
"""

from __future__ import annotations

import errno
import json
import math
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from tinysight.errors import RunError
from tinysight.writable_folders import why_not_writable

UNFINISHED = ".unfinished"
"""How the names of files end that are being written, or that a process left that was killed."""

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

Record = dict[str, Any]


def replace_file(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file so that a reader, or a machine that loses power, sees all of it or none.

    Args:
        path: The file to write or replace; its folder exists.
        write: Writes the content to an open binary file.

    Raises:
        RunError: The disk is full or the file cannot be written; the old file is still there.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{UNFINISHED}")
    try:
        try:
            with open(temporary, "xb") as file:  # with the permissions that the umask leaves
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        # torch says only that it could not finish its file; why, is in the error before.
        reason = _system_error(error)
        if reason is None:
            raise
        raise RunError(_cannot_write(path, reason, "Nothing was left half-written; ")) from error


def remove_file(path: Path) -> None:
    """Remove a file if it is there.

    Raises:
        RunError: It cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(_cannot_write(path, error)) from error


def write_text(path: Path, text: str) -> None:
    """Replace a file by UTF-8 text, see :func:`replace_file`."""
    replace_file(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace a file by one indented JSON object, see :func:`replace_file`.

    A number that is not finite, which JSON cannot say, becomes null.
    """
    value = finite_or_null(value)
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def finite_or_null(value: Any) -> Any:
    """Return a value with every number in it that is not finite replaced by None."""
    if isinstance(value, Mapping):
        return {key: finite_or_null(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_null(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path, *, advice: str = "Train the run again.") -> Record:
    """Read one JSON object.

    Args:
        path: The file.
        advice: What to do about a damaged one; a sentence.

    Raises:
        RunError: The file is missing or is not one JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(cannot_read(path, error)) from error
    except ValueError as error:
        raise RunError(f"{path}: must be JSON, but {error}. {advice}") from error
    if not isinstance(value, dict):
        raise RunError(f"{path}: must be one JSON object, got {type(value).__name__}. {advice}")
    return value


def write_records(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Replace a file by one JSON object a line."""
    write_text(path, _lines(records))


def append_records(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Add JSON lines at the end of a file in one write.

    Raises:
        RunError: The disk is full or the file cannot be written.
    """
    try:
        with open(path, "ab") as file:
            file.write(_lines(records).encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise RunError(_cannot_write(path, error)) from error


def read_records(path: Path) -> list[Record]:
    """Read JSON lines; an absent file holds none, a torn last line is left out.

    Raises:
        RunError: The file cannot be read, or a line is no JSON object, other than a last one that
            is torn.
    """
    return [record for _, record in numbered_records(path)]


def numbered_records(path: Path) -> Iterator[tuple[int, Record]]:
    """Yield what :func:`read_records` returns with the number of each line, from 1."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise RunError(cannot_read(path, error)) from error
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            if number == len(lines):
                break
            raise RunError(
                f"{path}: line {number} must be JSON, but {error}. Train the run again."
            ) from error
        if not isinstance(record, dict):
            raise RunError(
                f"{path}: line {number} must be one JSON object, got {type(record).__name__}. "
                f"Train the run again."
            )
        yield number, record


def make_folder(path: Path) -> None:
    """Make sure that there is a folder to write into, with all folders above it.

    Raises:
        RunError: It cannot be made, or nothing can be written into it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        reason = why_not_writable(path)
    except OSError as error:
        # Unlike Path.is_file this takes a name that no file can have, or that cannot be looked at.
        reason = "it is a file" if os.path.isfile(path) else str(error.strerror)
    if reason:
        raise RunError(
            f"{path}: must be a folder that can be written to, but {reason}. Choose another --out."
        )


def _lines(records: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(record, allow_nan=False) + "\n" for record in records)


def _sync_folder(folder: Path) -> None:
    # The new name itself must survive a power cut; Windows cannot open a folder, and need not.
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _system_error(error: BaseException | None) -> OSError | None:
    """Return the error of the system that is, or led to, an error."""
    while error is not None and not isinstance(error, OSError):
        error = error.__context__
    return error


def cannot_read(path: Path, error: OSError) -> str:
    """Return the message about a file of a run that cannot be read."""
    return (
        f"{path}: must be a readable file, but {error.strerror}. "
        f"Name a run folder that `tinysight train` wrote."
    )


def _cannot_write(path: Path, error: OSError, state: str = "") -> str:
    if error.errno in _NO_ROOM:
        advice = f"{state}make room and run the command again, a training run with --resume."
        return (
            f"{path}: the disk must have room for the file, but it is full ({error.strerror}). "
            f"{advice[0].upper()}{advice[1:]}"
        )
    return f"{path}: must be writable, but {error.strerror}. Choose another folder."
