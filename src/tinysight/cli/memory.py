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
    with zeros again: tens of thousands of page faults a step. And the processor has more pages of
    4 KiB to find than it remembers; with pages of 2 MiB a step takes 1 to 4 % less
    (docs/speedrun.md). A value of THP_MEM_ALLOC_ENABLE that the user has set stays. A command may
    decide this for its process; the library never does. Does nothing on other systems.
    """
    if not sys.platform.startswith("linux"):
        return
    os.environ.setdefault(_HUGE_PAGES, "1")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
