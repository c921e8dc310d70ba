"""Formats with one file an image: all files below some paths are one source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tinysight.boxes.folder_walk import Folder, walk_folders
from tinysight.boxes.readers.collector import Collector
from tinysight.errors import DataError

ReadFile = Callable[[Path, int, Collector], None]
"""Adds what is in one file, given its number, to the collector, or raises before it adds any."""


def read_tree(
    paths: Sequence[Path], suffixes: tuple[str, ...], what: str, read_file: ReadFile
) -> Collector:
    """Read files, and all files of some suffixes below folders.

    A file that cannot be read is a finding, unless none can.

    Args:
        paths: Files and folders.
        suffixes: Ends of the names of files below folders, in lower case.
        what: Name of the format, for messages.
        read_file: Reads one file.

    Raises:
        DataError: No file can be read.
    """
    unread: list[Folder] = []
    files = [file for path in paths for file in _files_at(path, suffixes, what, unread)]
    collector = Collector(files)
    for folder in unread:
        collector.note(folder.as_finding())
    faults = []
    for number, file in enumerate(files):
        try:
            read_file(file, number, collector)
        except DataError as fault:
            faults.append(fault)
            collector.unreadable(file, str(fault).removeprefix(f"{file}: "))
    if faults and len(faults) == len(files):
        raise faults[0]
    return collector


def _files_at(path: Path, suffixes: tuple[str, ...], what: str, unread: list[Folder]) -> list[Path]:
    """Return the files at a path, and add to the folders that could not be looked into."""
    if not path.is_dir():
        return [path]
    folders = list(walk_folders(path))
    faults = [folder for folder in folders if folder.fault]
    files = [
        folder.path / name
        for folder in folders
        for name in folder.file_names
        if name.lower().endswith(suffixes)
    ]
    if not files and faults:
        raise DataError(f"{faults[0].path}: {faults[0].fault}")
    if not files:
        raise DataError(f"{path}: must hold {what} files, but no {suffixes[0]} is below it.")
    unread += faults
    return files
