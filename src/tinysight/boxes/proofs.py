"""Processes that prove how good anchors can be, while the rest of a report is made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from tinysight.errors import DataError
from tinysight.worker_processes import ignore_interrupts, open_pool


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
    pool = open_pool(min(num_proofs, num_cores), initializer=ignore_interrupts)
    try:
        yield pool
    except BrokenProcessPool as error:
        raise DataError(
            "The processes that prove how good anchors can be must run to the end, but one was "
            "killed, perhaps for want of memory. Try again with --certify 0."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
