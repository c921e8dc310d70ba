from __future__ import annotations

import gzip
import json
import random
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from distributed import KilledWorker

from tests.boxes.tables import (
    COCO_VAL,
    VOC_TEST,
    VOC_TRAINVAL,
    assert_same_bits,
    draw_table,
    real_table,
    rename_classes,
    take_images,
    write_coco,
    write_parquet,
)
from tinysight.boxes import engine as module
from tinysight.boxes.engine import (
    ShardSettings,
    dask_executor,
    merge_results,
    summarize_shard,
    summarize_shards,
)
from tinysight.boxes.geometry import sizes_at_input
from tinysight.boxes.sizes import size_histogram
from tinysight.boxes.summary import summarize_boxes
from tinysight.errors import DataError


class AtOnce(Executor):
    """Does the work when it is handed in; the results come back in the order of a set."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Seven shards of one drawn table: COCO and Parquet, classes in several orders."""
    folder = tmp_path_factory.mktemp("shards")
    table = draw_table(7, boxes=600, images=90, empty=6)
    paths = []
    for number, start in enumerate(range(0, 90, 13)):
        part = take_images(table, range(start, min(start + 13, 90)))
        if number % 3 == 1:
            part = rename_classes(part, (3, 1, 4, 0, 2))
        if number % 3 == 2 and not part.is_crowd.any():
            paths.append(write_parquet(part, folder / f"{number}.parquet"))
        else:
            paths.append(write_coco(part, folder / f"{number}.json"))
    return paths


def test_the_sum_is_that_of_one_table(shards: list[Path]) -> None:
    table = draw_table(7, boxes=600, images=90, empty=6)
    found = summarize_shards(shards, num_workers=1)
    assert (found.shards, found.boxes_read, found.summary.images) == (7, 600, 90)
    assert found.accepted + found.repaired + found.rejected == found.boxes_read
    whole = summarize_boxes(table)
    assert_same_bits(found.summary, whole)
    assert found.histogram is not None
    assert_same_bits(
        found.histogram, size_histogram(sizes_at_input(table, (640, 640), "letterbox"))
    )
    assert found.box_orders == ("xywh",)


@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_the_shards_gives_the_same_bits(shards: list[Path], seed: int) -> None:
    whole = summarize_shards(shards, num_workers=1)
    order = random.Random(seed).sample(shards, len(shards))
    assert_same_bits(summarize_shards(order, executor=AtOnce()), whole)
    results = [summarize_shard((path,), ShardSettings()) for path in order]
    nested = merge_results(merge_results(*results[:3]), merge_results(*results[3:]))
    assert_same_bits(nested, whole)


def test_threads_and_processes_give_the_same_bits(shards: list[Path]) -> None:
    whole = summarize_shards(shards, num_workers=1)
    with ThreadPoolExecutor(3) as threads:
        assert_same_bits(summarize_shards(shards, executor=threads), whole)
    assert_same_bits(summarize_shards(shards, num_workers=2), whole)


def test_a_shard_in_slices_gives_the_same_bits(
    shards: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = summarize_shards(shards, num_workers=1)
    for boxes in (1, 7, 50):
        monkeypatch.setattr(module, "_BOXES_AT_A_TIME", boxes)
        assert_same_bits(summarize_shards(shards, num_workers=1), whole)


def test_the_short_way_through_parquet_gives_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_parquet(draw_table(2, empty=0), tmp_path / "a.parquet")
    short = summarize_shard((path,), ShardSettings())
    monkeypatch.setattr(module, "read_clean_parquet", lambda paths: None)
    assert_same_bits(summarize_shard((path,), ShardSettings()), short)


def test_two_files_can_be_one_shard(shards: list[Path]) -> None:
    whole = summarize_shards(shards, num_workers=1)
    found = summarize_shards([shards[:3], shards[3], shards[4:]], num_workers=1)
    assert found.shards == 3
    assert found.boxes_read == whole.boxes_read
    assert_same_bits(found.histogram, whole.histogram)


def test_findings_and_rejections_add_up(tmp_path: Path) -> None:
    table = draw_table(1, boxes=20, images=4, empty=0)
    for number in (0, 1):
        path = write_coco(table, tmp_path / f"{number}.json")
        value = json.loads(path.read_text())
        value["annotations"][3]["bbox"] = [1, 2, 3]
        value["annotations"][4]["bbox"] = [1, 2, 0, 3]
        path.write_text(json.dumps(value))
    found = summarize_shards([tmp_path / "0.json", tmp_path / "1.json"], num_workers=1)
    assert (found.boxes_read, found.rejected, found.summary.boxes) == (40, 4, 36)
    assert sum(found.findings.values()) == 4
    assert all(count % 2 == 0 for count in found.findings.values())


def test_the_settings_reach_the_reader(tmp_path: Path) -> None:
    table = draw_table(1, boxes=20, images=4, empty=0)
    path = write_coco(table, tmp_path / "a.json")
    swapped = summarize_shard((path,), ShardSettings(box_order="yxwh", policy="keep"))
    assert swapped.box_orders == ("yxwh",)
    assert summarize_shard((path,), ShardSettings(input_size_wh=None)).histogram is None
    small = summarize_shard((path,), ShardSettings(input_size_wh=(64, 32), fit="stretch"))
    assert_same_bits(small.histogram, size_histogram(sizes_at_input(table, (64, 32), "stretch")))


def test_progress_counts_every_shard_once(shards: list[Path]) -> None:
    seen: list[tuple[int, int]] = []
    summarize_shards(shards, num_workers=1, on_shard=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 7) for done in range(1, 8)]


def test_few_shards_are_under_way_at_a_time(shards: list[Path]) -> None:
    class Counting(ThreadPoolExecutor):
        under_way = 0
        most = 0

        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            return super().submit(fn, *args, **kwargs)

    def done(_: int, __: int) -> None:
        executor.under_way -= 1

    with Counting(1) as executor:
        summarize_shards(shards, executor=executor, on_shard=done)
    assert executor.most <= 3


def test_one_path_is_one_shard(shards: list[Path]) -> None:
    assert_same_bits(
        summarize_shards(str(shards[0]), num_workers=1),
        summarize_shards(shards[:1], num_workers=1),
    )


def test_a_shard_named_twice_is_refused(shards: list[Path]) -> None:
    again = shards[0].parent / "." / shards[0].name
    with pytest.raises(DataError, match=r"0\.json: a shard must be named once, it would count twi"):
        summarize_shards([*shards, again])


def test_no_shard_is_refused() -> None:
    with pytest.raises(DataError, match="Shards must be named, got none"):
        summarize_shards([])


@pytest.mark.parametrize("workers", [1, 2])
def test_a_shard_that_cannot_be_read_is_named(
    shards: list[Path], tmp_path: Path, workers: int
) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('{"annotations": [')
    with pytest.raises(DataError, match=r"broken\.json"):
        summarize_shards([*shards, broken], num_workers=workers)


@pytest.mark.parametrize(
    "error", [BrokenProcessPool("a child was killed"), MemoryError(), "dask"], ids=str
)
def test_a_worker_that_is_lost_for_good_is_a_fault_with_the_shard(error: Any) -> None:
    if error == "dask":
        killed = KilledWorker
        worker = SimpleNamespace(address="tcp://127.0.0.1:1")
        error = killed("shard-1", worker, allowed_failures=3)

    class Losing(Executor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_exception(error)
            return future

    with pytest.raises(
        DataError,
        match=r"a\.json: the worker that read this shard or one beside it must live to the end, but"
        r".*Use fewer workers or smaller shards",
    ):
        summarize_shards(["a.json"], executor=Losing())


def test_another_fault_of_a_worker_is_not_hidden() -> None:
    class Buggy(Executor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_exception(ZeroDivisionError("bug"))
            return future

    with pytest.raises(ZeroDivisionError):
        summarize_shards(["a.json"], executor=Buggy())


def kill_this_process(*_: Any) -> None:
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_of_the_pool_ends_the_work(
    shards: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "summarize_shard", kill_this_process)
    with ProcessPoolExecutor(1) as pool:
        with pytest.raises(DataError, match="it may have run out of memory"):
            summarize_shards(shards, executor=pool)


def test_a_scheduler_that_does_not_answer_is_a_fault() -> None:
    with pytest.raises(
        DataError,
        match=r"tcp://127\.0\.0\.1:9: must be the address of a Dask scheduler that answers within 1"
        r" s.*Start one with `dask scheduler`",
    ):
        with dask_executor("tcp://127.0.0.1:9", timeout_s=1):
            raise AssertionError("there is no scheduler")


def test_dask_is_asked_for_by_name_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(DataError, match=r"Install it with: pip install 'tinysight\[dask\]'"):
        with dask_executor("tcp://127.0.0.1:8786"):
            raise AssertionError("there is no Dask")


def test_real_files_side_by_side_hold_every_box(tmp_path: Path) -> None:
    import os

    real_table(COCO_VAL)  # skips without the data
    folder = Path(os.environ["TINYSIGHT_DATA"])
    found = summarize_shards(
        [folder / name for name in (COCO_VAL, VOC_TRAINVAL, VOC_TEST)], num_workers=2
    )
    assert found.boxes_read == found.accepted == 36781 + 15662 + 14976
    assert found.summary.images == 5000 + 5011 + 4952
    assert found.histogram is not None
    assert found.histogram.num_boxes == found.boxes_read
    # The same without the package's reader.
    with gzip.open(folder / VOC_TEST) as file:
        widths = [entry["bbox"][2] for entry in json.load(file)["annotations"]]
    assert found.summary.greatest_wh_px[0] >= np.max(widths)
