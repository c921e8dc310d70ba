"""Many files, many processes, many machines: every shard becomes counts, and counts add up.

A shard is one or more annotation files that share no image with another shard. Its boxes are read
where the work is done and only counts travel back, so memory does not grow with the data. Shards
come back in any order; the sum has the same bits for every order.

Any ``concurrent.futures`` executor will do: processes of this machine by default,
:func:`dask_executor` for a Dask cluster, or one of the caller's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.geometry import Fit, sizes_at_input
from tinysight.boxes.parquet_shards import read_clean_parquet
from tinysight.boxes.reading import read_boxes
from tinysight.boxes.sizes import SizeHistogram, merge_histograms, size_histogram
from tinysight.boxes.summary import BoxSummary, merge_summaries, summarize_boxes
from tinysight.errors import DataError
from tinysight.worker_processes import open_pool

if TYPE_CHECKING:
    from tinysight.boxes.policies import Policy
    from tinysight.boxes.table import BoxTable

OnShard = Callable[[int, int], None]

_PENDING_PER_WORKER = 2
_PENDING_ELSEWHERE = 64  # where the executor does not say how many work for it
_MOST_MERGED_AT_ONCE = 4
_BOXES_AT_A_TIME = 2**17
_OUT_OF_MEMORY = "it may have run out of memory"
_RETRIES = 3  # times that Dask tries a shard again when its worker is lost


@dataclass(frozen=True)
class ShardSettings:
    """How the shards are read and measured; the same for all."""

    input_size_wh: tuple[int, int] | None = (640, 640)
    """Network input at which box sizes are counted, pixels; None for no histogram of sizes."""

    fit: Fit = "letterbox"
    format: str | None = None
    box_order: str | None = None
    policy: Policy = "clip"
    images_dir: Path | None = None
    image_size_wh: tuple[int, int] | None = None


@dataclass(frozen=True)
class ShardResult:
    """What one shard or many hold; ``accepted + repaired + rejected = boxes_read``, always."""

    summary: BoxSummary
    histogram: SizeHistogram | None
    """Sizes at the network's input without crowd boxes: what anchors are fitted to."""

    shards: int
    boxes_read: int
    accepted: int
    repaired: int
    rejected: int
    findings: dict[str, int] = field(default_factory=dict)
    """How many records have each kind of defect, by name."""

    box_orders: tuple[str, ...] = ()
    """The orders in which the four numbers were read, ascending; more than one is suspicious."""

    are_images_named: bool = True
    """Whether every shard says which boxes share an image."""


def summarize_shards(
    shards: str | Path | Sequence[str | Path | Sequence[str | Path]],
    settings: ShardSettings | None = None,
    *,
    executor: Executor | None = None,
    num_workers: int | None = None,
    most_pending: int | None = None,
    on_shard: OnShard | None = None,
) -> ShardResult:
    """Read shards side by side and add up what they hold.

    Args:
        shards: Each a file or folder, or several that belong together.
        settings: How they are read and measured.
        executor: Where the work is done; processes of this machine when not given.
        num_workers: How many processes of this machine; its cores when not given.
        most_pending: How many shards may be under way; two for each worker when not given, and 64
            where the executor does not say how many it has.
        on_shard: Called in this thread with the shards done and all, after each.

    Returns:
        The sum, the same bits for any executor and any order of the shards.

    Raises:
        DataError: There is no shard, one is named twice or cannot be read, or a worker was lost
            for good.
    """
    settings = settings or ShardSettings()
    groups = _grouped([shards] if isinstance(shards, str | Path) else shards)
    if executor is not None:
        return _gather(groups, settings, executor, most_pending or _pending_of(executor), on_shard)
    workers = min(num_workers or os.cpu_count() or 1, len(groups))
    if workers == 1:
        results = (summarize_shard(group, settings) for group in groups)
        return _sum_up(_counted(results, len(groups), on_shard))
    with open_pool(workers) as pool:
        return _gather(groups, settings, pool, most_pending or _pending_of(pool), on_shard)


def summarize_shard(paths: Sequence[Path], settings: ShardSettings) -> ShardResult:
    """Read one shard and count what it holds; this is what runs in a worker.

    Raises:
        DataError: It cannot be read.
    """
    clean = read_clean_parquet(paths) if _is_plain(settings) else None
    if clean is not None:
        return ShardResult(
            *_count(clean, settings),
            shards=1,
            boxes_read=clean.num_boxes,
            accepted=clean.num_boxes,
            repaired=0,
            rejected=0,
            box_orders=("xywh",),
        )
    reading = read_boxes(
        paths,
        format=settings.format,
        box_order=settings.box_order,
        policy=settings.policy,
        images_dir=settings.images_dir,
        image_size_wh=settings.image_size_wh,
    )
    findings: dict[str, int] = {}
    for entry in reading.findings.by_kind(most_examples=0):
        findings[entry.kind] = findings.get(entry.kind, 0) + entry.count
    return ShardResult(
        *_count(reading.table, settings),
        shards=1,
        boxes_read=reading.boxes_read,
        accepted=reading.accepted,
        repaired=reading.repaired,
        rejected=reading.rejected,
        findings=dict(sorted(findings.items())),
        box_orders=tuple(sorted({str(decision.order) for decision in reading.decisions})),
        are_images_named=reading.are_images_named,
    )


def merge_results(first: ShardResult, *others: ShardResult) -> ShardResult:
    """Add up results, the same bits for any order and grouping of them."""
    results = (first, *others)
    findings: dict[str, int] = {}
    for result in results:
        for kind, count in result.findings.items():
            findings[kind] = findings.get(kind, 0) + count
    histograms = [result.histogram for result in results if result.histogram is not None]
    return ShardResult(
        summary=merge_summaries(*(result.summary for result in results)),
        histogram=merge_histograms(*histograms) if histograms else None,
        shards=sum(result.shards for result in results),
        boxes_read=sum(result.boxes_read for result in results),
        accepted=sum(result.accepted for result in results),
        repaired=sum(result.repaired for result in results),
        rejected=sum(result.rejected for result in results),
        findings=dict(sorted(findings.items())),
        box_orders=tuple(sorted({order for result in results for order in result.box_orders})),
        are_images_named=all(result.are_images_named for result in results),
    )


@contextmanager
def dask_executor(address: str, *, timeout_s: float = 10.0) -> Iterator[Executor]:
    """Yield an executor whose work is done by a Dask cluster.

    The workers need this package and must see the files under the same paths. A shard whose worker
    is lost is done again by another.

    Args:
        address: Of the scheduler, for instance ``tcp://10.0.0.1:8786``.
        timeout_s: How long to wait for it.

    Raises:
        DataError: Dask is not installed, or the scheduler does not answer.
    """
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        raise DataError(
            "A Dask cluster needs the package distributed, which is not installed. "
            "Install it with: pip install 'tinysight[dask]'"
        ) from error
    try:
        client: Any = Client(address, timeout=timeout_s, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        raise DataError(
            f"{address}: must be the address of a Dask scheduler that answers within "
            f"{timeout_s:g} s, but: {error}. Start one with `dask scheduler`, or check the address."
        ) from error
    with client:
        executor = _ClusterExecutor(client)
        try:
            yield executor
        finally:
            executor.shutdown(wait=False, cancel_futures=True)


class _ClusterExecutor(Executor):
    """Makes each call on a cluster, and waits for what it gives in a thread.

    Dask's own executor looks at the state of a result after it has received it, and takes one whose
    worker was lost in between for an exception.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._threads = ThreadPoolExecutor(_PENDING_ELSEWHERE, "shard")

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        call = self._client.submit(fn, *args, pure=False, retries=_RETRIES, **kwargs)
        return self._threads.submit(call.result)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._threads.shutdown(wait, cancel_futures=cancel_futures)


def _grouped(
    shards: Sequence[str | Path | Sequence[str | Path]],
) -> list[tuple[Path, ...]]:
    groups = [
        (Path(shard),) if isinstance(shard, str | Path) else tuple(Path(path) for path in shard)
        for shard in shards
    ]
    if not groups:
        raise DataError("Shards must be named, got none. Name the files that hold the boxes.")
    seen: set[str] = set()
    for path in (path for group in groups for path in group):
        place = os.path.abspath(path)
        if place in seen:
            raise DataError(f"{path}: a shard must be named once, it would count twice.")
        seen.add(place)
    return groups


def _gather(
    groups: Sequence[tuple[Path, ...]],
    settings: ShardSettings,
    executor: Executor,
    most_pending: int,
    on_shard: OnShard | None,
) -> ShardResult:
    """Keep a bounded number of shards under way, and add up as they come back."""
    waiting = iter(groups)
    shard_of: dict[Future[ShardResult], tuple[Path, ...]] = {}

    def finished() -> Iterator[ShardResult]:
        for group in waiting:
            try:
                future = executor.submit(summarize_shard, group, settings)
            except BrokenProcessPool as error:  # it broke before its first result came back
                raise DataError(_lost(group, _OUT_OF_MEMORY)) from error
            shard_of[future] = group
            if len(shard_of) >= most_pending:
                yield from collected()
        while shard_of:
            yield from collected()

    def collected() -> Iterator[ShardResult]:
        done, _ = wait(shard_of, return_when=FIRST_COMPLETED)
        for future in done:
            group = shard_of.pop(future)
            yield _result_of(future, group)

    try:
        return _sum_up(_counted(finished(), len(groups), on_shard))
    finally:
        for future in shard_of:
            future.cancel()


def _result_of(future: Future[ShardResult], group: tuple[Path, ...]) -> ShardResult:
    try:
        return future.result()
    except DataError:
        raise
    except (BrokenProcessPool, MemoryError) as error:
        raise DataError(_lost(group, _OUT_OF_MEMORY)) from error
    except Exception as error:
        # A fault of Dask, for instance KilledWorker: known by its home, as Dask may be absent.
        if type(error).__module__.startswith("distributed."):
            raise DataError(_lost(group, str(error).splitlines()[0])) from error
        raise


def _lost(group: tuple[Path, ...], why: str) -> str:
    return (
        f"{group[0]}: the worker that read this shard or one beside it must live to the end, but "
        f"it was lost: {why}. Use fewer workers or smaller shards."
    )


def _counted(
    results: Iterable[ShardResult], total: int, on_shard: OnShard | None
) -> Iterator[ShardResult]:
    for done, result in enumerate(results, 1):
        if on_shard is not None:
            on_shard(done, total)
        yield result


def _sum_up(results: Iterator[ShardResult]) -> ShardResult:
    kept: list[ShardResult] = []
    for result in results:
        kept.append(result)
        if len(kept) == _MOST_MERGED_AT_ONCE:
            kept = [merge_results(*kept)]
    return merge_results(*kept)


def _count(table: BoxTable, settings: ShardSettings) -> tuple[BoxSummary, SizeHistogram | None]:
    """Count slice by slice: the working arrays stay small, and in the processor's cache."""
    summaries, histograms = [], []
    for part in _slices(table):
        summaries.append(summarize_boxes(part))
        if settings.input_size_wh is not None:
            sizes_wh_px = sizes_at_input(part, settings.input_size_wh, settings.fit)
            histograms.append(size_histogram(sizes_wh_px))
    return merge_summaries(*summaries), merge_histograms(*histograms) if histograms else None


def _slices(table: BoxTable) -> Iterator[BoxTable]:
    """Yield the table in parts of whole images, each of about as many boxes."""
    if table.num_boxes <= _BOXES_AT_A_TIME:
        yield table
        return
    order: NDArray[np.intp] | None = None
    if (np.diff(table.image_index) < 0).any():
        order = np.argsort(table.image_index, kind="stable")
    ends = np.bincount(table.image_index, minlength=table.num_images).cumsum()
    first_image, first_row = 0, 0
    while first_image < table.num_images:
        stop = int(np.searchsorted(ends, first_row + _BOXES_AT_A_TIME, side="right"))
        # At least one image; all that are left where the rest has no more boxes.
        stop = max(stop, first_image + 1)
        part = slice(first_row, int(ends[stop - 1]))
        rows = part if order is None else order[part]
        images = slice(first_image, stop)
        yield replace(
            table,
            xywh_px=table.xywh_px[rows],
            image_index=table.image_index[rows] - np.int32(first_image),
            class_index=table.class_index[rows],
            is_crowd=table.is_crowd[rows],
            annotation_ids=table.annotation_ids[rows],
            image_wh_px=table.image_wh_px[images],
            image_names=table.image_names[images],
        )
        first_image, first_row = stop, int(ends[stop - 1])


def _is_plain(settings: ShardSettings) -> bool:
    """Whether nothing was said about how to read the files."""
    return (
        settings.format in (None, "parquet")
        and settings.box_order in (None, "xywh")
        and settings.images_dir is None
        and settings.image_size_wh is None
    )


def _pending_of(executor: Executor) -> int:
    workers = getattr(executor, "_max_workers", None)
    return _PENDING_PER_WORKER * workers if isinstance(workers, int) else _PENDING_ELSEWHERE
