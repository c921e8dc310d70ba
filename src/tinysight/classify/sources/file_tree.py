"""The files of a folder or of a zip archive, listed and read alike."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from tinysight.classify.sources.index import Location, Unreadable
from tinysight.errors import DataError

MAX_FILE_BYTES = 64 * 2**20
"""No small image is larger than this; a file that claims to be is not read."""
MAX_LINKS = 4
"""So many links may lie on the way to a folder; ten folders that each link to the nine others would
be read ten million times."""


class FileTree(Protocol):
    """Files with relative names, ``/`` between folders."""

    @property
    def where(self) -> str:
        """Name of the folder or archive, for messages."""

    @property
    def names(self) -> Sequence[str]:
        """Every file, in the order in which they are read fastest."""

    @property
    def empty_folders(self) -> Sequence[str]:
        """Folders without a file at any depth, sorted."""

    def fault_of_link(self, name: str) -> str | None:
        """Return what is wrong with a file that is a link, if it is one that cannot be followed."""

    def read_many(self, names: Sequence[Location]) -> Iterator[bytes | Unreadable]:
        """Yield the content of each file in order, or why it could not be read."""


class FolderTree:
    """The files below a folder; hidden files and folders are left out."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.where = root.name or str(root)
        self.names: Sequence[str]
        self.empty_folders: Sequence[str]
        self.names, self.empty_folders = _walk(root)

    def fault_of_link(self, name: str) -> str | None:
        """Return what is wrong with a file that is a link, if it is one that cannot be followed."""
        path = os.path.join(self._root, name)
        return "leads nowhere" if os.path.islink(path) and not os.path.exists(path) else None

    def read_many(self, names: Sequence[Location]) -> Iterator[bytes | Unreadable]:
        """Yield the content of each file in order, or why it could not be read."""
        return (_read_bounded(os.path.join(self._root, str(name))) for name in names)


class SubTree:
    """The files below one folder of another tree; ``prefix`` is its name with a slash, or empty."""

    def __init__(self, tree: FileTree, prefix: str) -> None:
        self._tree = tree
        self._prefix = prefix
        self.where = tree.where
        self.names: Sequence[str] = _below(tree.names, prefix)
        self.empty_folders: Sequence[str] = _below(tree.empty_folders, prefix)

    def fault_of_link(self, name: str) -> str | None:
        """Return what is wrong with a file that is a link, if it is one that cannot be followed."""
        return self._tree.fault_of_link(f"{self._prefix}{name}")

    def read_many(self, names: Sequence[Location]) -> Iterator[bytes | Unreadable]:
        """Yield the content of each file in order, or why it could not be read."""
        return self._tree.read_many([f"{self._prefix}{name}" for name in names])


def without_files(folders: Iterable[str], files: Iterable[str]) -> list[str]:
    """Return those of the folders that hold none of the files at any depth, sorted."""
    used: set[str] = set()
    for file in files:
        folder = file.rpartition("/")[0]
        while folder and folder not in used:
            used.add(folder)
            folder = folder.rpartition("/")[0]
    return sorted(set(folders) - used)


def read_text(tree: FileTree, name: str) -> str:
    """Return one text file of a tree.

    Raises:
        DataError: The file is missing, cannot be read or is not UTF-8.
    """
    return _decode(next(tree.read_many([name])), tree.where, name)


def read_text_in(folder: Path, name: str) -> str:
    """Return one text file of a folder whose other files are not looked at.

    Raises:
        DataError: The file is missing, cannot be read or is not UTF-8.
    """
    return _decode(_read_bounded(str(folder / name)), folder.name or str(folder), name)


def _decode(payload: bytes | Unreadable, where: str, name: str) -> str:
    if isinstance(payload, Unreadable):
        raise DataError(
            f"{where}: {name} must be there and readable, it is {payload.reason}. "
            f"Get the whole data set again."
        )
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where}: {name} must be UTF-8 text, byte {error.start} is not. "
            f"Get the whole data set again."
        ) from error


def _below(names: Sequence[str], prefix: str) -> list[str]:
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]


def _read_bounded(path: str) -> bytes | Unreadable:
    try:
        with open(path, "rb", buffering=0) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return Unreadable("missing")
    except OSError as error:
        return Unreadable(f"not readable: {error.strerror}")
    if len(data) > MAX_FILE_BYTES:
        return Unreadable(f"larger than {MAX_FILE_BYTES >> 20} MiB")
    return data


class _Way(NamedTuple):
    """How a folder was come to."""

    folders: frozenset[tuple[int, int]]
    """The folder and those above it, whatever they are called."""
    num_links: int


def _walk(root: Path) -> tuple[list[str], list[str]]:
    """Return the files below a folder, and the folders without any, in sorted order."""
    names: list[str] = []
    listed: list[str] = []
    ways: dict[str, _Way] = {}
    for folder, folders, files in os.walk(root, onerror=_raise_unreadable, followlinks=True):
        # Data sets are often put together with links; one that leads back up would not end. One
        # to a folder beside it is read under both names, lest one of two classes disappear.
        way = _way_to(folder, ways.get(os.path.dirname(folder)))
        if way is None:
            folders.clear()
            continue
        ways[folder] = way
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        visible = sorted(name for name in files if not name.startswith("."))
        _check_names(folder, [*folders, *visible])
        relative = Path(folder).relative_to(root).as_posix()
        listed.append(relative)
        prefix = "" if relative == "." else f"{relative}/"
        names += [f"{prefix}{name}" for name in visible]
    return names, without_files(listed[1:], names)  # the first is the root


def _way_to(folder: str, above: _Way | None) -> _Way | None:
    """Return how a folder is come to from the one that lists it, or nothing if it leads back up."""
    try:
        state = os.stat(folder)
    except OSError as error:
        raise unreadable_folder(error) from error
    here = (state.st_dev, state.st_ino)
    if above is None:
        return _Way(frozenset({here}), 0)
    if here in above.folders:
        return None
    num_links = above.num_links + os.path.islink(folder)
    if num_links > MAX_LINKS:
        raise DataError(
            f"{folder}: at most {MAX_LINKS} links may lie on the way to a folder, {num_links} do. "
            f"Remove links between folders that lead to each other."
        )
    return _Way(above.folders | {here}, num_links)


def _check_names(folder: str, names: Sequence[str]) -> None:
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{folder}: names of files and folders must be UTF-8, {os.fsencode(name)!r} is "
                f"not. Rename it."
            ) from error


def _raise_unreadable(error: OSError) -> None:
    raise unreadable_folder(error) from error


def unreadable_folder(error: OSError) -> DataError:
    """Return the fault of a folder that cannot be listed."""
    return DataError(
        f"{error.filename}: every folder of a source must be readable, {error.strerror}. "
        f"Change its permissions or leave it out."
    )
