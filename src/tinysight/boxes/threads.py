"""Independent pieces of array work side by side: numpy computes without holding Python's lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_MOST_THREADS = 4  # each holds working arrays of its own


def map_in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return what ``work`` makes of each item, in the order of the items.

    Args:
        work: Must not depend on what it does to other items; its first exception is raised here.
        items: What to work on.
    """
    with ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_THREADS)) as pool:
        return list(pool.map(work, items))
