"""Processes that prove how good anchors can be, while the rest of a report is made."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from tinysight.errors import DataError


@contextmanager
def proof_processes(num_proofs: int) -> Iterator[Executor | None]:
    """Yield where proofs run side by side; None where there is no proof or one core only.

    Args:
        num_proofs: How many there will be.

    Raises:
        DataError: A process was killed.
    """
    num_cores = os.cpu_count() or 1
    if num_cores == 1 or num_proofs == 0:
        yield None
        return
    pool = ProcessPoolExecutor(
        min(num_proofs, num_cores),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_process,
    )
    try:
        yield pool
    except BrokenProcessPool as error:
        raise DataError(
            "The processes that prove how good anchors can be must run to the end, but one was "
            "killed, perhaps for want of memory. Try again with --certify 0."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_process() -> None:
    # Ctrl-C reaches every process of the terminal; only the parent answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
