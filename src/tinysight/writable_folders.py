"""Why nothing can be written into a folder."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def why_not_writable(folder: Path) -> str:
    """Return in the system's words why nothing can be written into a folder; nothing if it can.

    Args:
        folder: A folder that exists.
    """
    if os.access(folder, os.W_OK | os.X_OK):
        return ""
    return os.strerror(errno.EROFS if _is_read_only(folder) else errno.EACCES)


def _is_read_only(folder: Path) -> bool:
    """Return whether the whole file system is, so that permissions would change nothing."""
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except (AttributeError, OSError):  # a system without statvfs, or a folder that hides itself
        return False
