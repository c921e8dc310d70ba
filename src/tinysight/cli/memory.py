"""How the process of a training run keeps its memory."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD = -1  # names and numbers of glibc's malloc.h
_M_MMAP_MAX = -4


def keep_freed_memory() -> None:
    """Tell glibc to keep the memory that a training step frees for the next step.

    By default every large tensor is mapped and unmapped, and the system fills each of its pages
    with zeros again: tens of thousands of page faults a step. A command may decide this for its
    process; the library never does. Does nothing where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
