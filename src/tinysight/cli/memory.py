"""How the process of a training run gets and keeps its memory."""

from __future__ import annotations

import ctypes
import os
import sys

_M_TRIM_THRESHOLD = -1  # names and numbers of glibc's malloc.h
_M_MMAP_MAX = -4
_HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"  # read by torch when it first allocates a large tensor


def prepare_memory() -> None:
    """Keep the memory that a training step frees for the next one, in huge pages where there are.

    By default every large tensor is mapped and unmapped, and the system fills each of its pages
    with zeros again: tens of thousands of page faults a step. And in pages of 4 KiB the processor
    spends a part of each step on finding them: with pages of 2 MiB a step took 5 % less. A value
    of THP_MEM_ALLOC_ENABLE that the user has set stays. A command may decide this for its process;
    the library never does. Does nothing where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return
    os.environ.setdefault(_HUGE_PAGES, "1")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
