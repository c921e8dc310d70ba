"""One training at a time in a run folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tinysight.errors import RunError


@contextmanager
def sole_training(run: Path) -> Iterator[None]:
    """Keep other trainings out of a run folder while a block runs.

    The system ends the hold with the process, however that ends, so a killed run needs no tidying.
    Windows and file systems without such locks go without.

    Args:
        run: The run folder, which exists.

    Raises:
        RunError: Another process trains in it, or it cannot be looked into.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    try:
        descriptor = os.open(run, os.O_RDONLY)
    except OSError as error:
        raise RunError(
            f"{run}: must be a folder that can be looked into, but {error.strerror}. "
            f"Choose another --out."
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(
                f"{run}: must be written by one training at a time, but another one is at work in "
                f"it. Wait until it has ended, or choose another --out."
            ) from error
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(descriptor)
