"""Pools of worker processes that do not run the caller's script again.

A process that ``multiprocessing`` spawns imports the main module of its parent, because functions
of that module may be sent to it. Ours are sent functions of this package only. Without the import a
script needs no ``if __name__ == "__main__":``, and nothing in it is done once more by each worker.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

_ORIGINS = ("__spec__", "__file__")
_hiding = threading.Lock()


def open_pool(
    num_workers: int, *, initializer: Callable[[], None] | None = None
) -> ProcessPoolExecutor:
    """Return a pool of processes, spawned: the parent may hold threads of Arrow or torch.

    Args:
        num_workers: Processes, at least 1.
        initializer: Called in each process first. What is sent to a process, this included, must
            come from a module that can be imported by its name.
    """
    return ProcessPoolExecutor(num_workers, mp_context=_Context(), initializer=initializer)


def ignore_interrupts() -> None:
    """Leave Ctrl-C, which reaches every process of the terminal, to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Process(SpawnProcess):
    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        with _main_without_origin():
            return SpawnProcess._Popen(process_obj)


class _Context(SpawnContext):
    Process = _Process


@contextmanager
def _main_without_origin() -> Iterator[None]:
    """Hide by what name and from which file a spawned process would import the main module."""
    main = vars(sys.modules["__main__"])
    with _hiding:
        known = {name: main[name] for name in _ORIGINS if name in main}
        main.update(dict.fromkeys(known))
        try:
            yield
        finally:
            main.update(known)
