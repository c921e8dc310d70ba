"""Every folder below one, those that links lead to as well, each once.

What `tinysight boxes report` wrote into one of them is left out: a report may lie among the
annotations that it is about, and is then neither an annotation nor an image of theirs.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tinysight.boxes.findings import FindingGroup, whole_file_finding
from tinysight.written_files import WRITTEN, written_names


@dataclass(frozen=True)
class Folder:
    """One folder, or why it could not be looked into."""

    path: Path
    file_names: tuple[str, ...] = ()
    """Names of what is no folder, ascending, without what a report wrote there."""
    fault: str = ""
    """What must hold and what was found; empty where it was looked into."""

    def as_finding(self) -> FindingGroup:
        """Return the finding of a folder that could not be looked into."""
        return whole_file_finding("unreadable_folder", "rejected", str(self.path), self.fault)


def walk_folders(root: Path) -> Iterator[Folder]:
    """Yield a folder and those below it by name, and then those that links lead to.

    A folder that is reached in several ways comes once, so that a loop of links has an end.
    """
    below = [root]
    linked: deque[Path] = deque()
    seen: set[tuple[int, int]] = set()
    of_reports: set[Path] = set()
    while below or linked:
        path = below.pop() if below else linked.popleft()
        try:
            status = path.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(path) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            what = "link must lead to a folder" if path.is_symlink() else "folder must be readable"
            fault = f"the {what}, but {error.strerror}. What is in it is left out; mend it."
            yield Folder(path, fault=fault)
            continue
        names, folders = [], []
        for entry in entries:
            if not _is_folder(entry):
                names.append(entry.name)
            elif entry.is_symlink():
                linked.append(path / entry.name)
            else:
                folders.append(path / entry.name)
        below += folders[::-1]
        if WRITTEN in names:
            of_reports |= {path / name for name in written_names(path)}
        yield Folder(path, tuple(name for name in names if path / name not in of_reports))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether a name is that of a folder, or of a link that leads to one or led to one once."""
    try:
        if entry.is_dir():
            return True
    except OSError:  # links in a circle
        return False
    # A broken link with a suffix is a file to whoever reads files of that suffix.
    is_broken = entry.is_symlink() and not os.path.exists(entry.path)
    return is_broken and not Path(entry.name).suffix
