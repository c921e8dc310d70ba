"""A real Dask scheduler and two workers on loopback, one of them killed half way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import distributed
import pytest

from tests.boxes.tables import assert_same_bits, draw_table, take_images, write_coco
from tinysight.boxes.engine import dask_executor, summarize_shards
from tinysight.cli import main

START_WITHIN_S = 60


@dataclass
class Cluster:
    """A scheduler and its workers, each a process of its own."""

    address: str
    workers: list[subprocess.Popen[bytes]]

    def num_workers(self) -> int:
        with distributed.Client(self.address, set_as_default=False) as client:
            return len(client.scheduler_info(n_workers=-1)["workers"])


def wait_for(what: str, path: Path, holds: object) -> str:
    until = time.monotonic() + START_WITHIN_S
    while time.monotonic() < until:
        if path.exists() and callable(holds) and holds(path.read_text()):
            return path.read_text()
        time.sleep(0.05)
    raise AssertionError(f"{what} did not start: {path.read_text() if path.exists() else ''}")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    processes: list[subprocess.Popen[bytes]] = []
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def start(name: str, *words: str) -> subprocess.Popen[bytes]:
        with open(tmp_path / f"{name}.log", "wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *words], stdout=log, stderr=log, env=environment
            )
        processes.append(process)
        return process

    try:
        file = tmp_path / "scheduler.json"
        start(
            "scheduler",
            *("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"),
            *("--no-dashboard", "--scheduler-file", str(file)),
        )
        text = wait_for("the scheduler", file, lambda text: '"address"' in text)
        address = text.split('"address": "')[1].split('"')[0]
        assert address.startswith("tcp://127.0.0.1:")
        workers = [
            start(
                f"worker-{number}",
                *("distributed.cli.dask_worker", address, "--host", "127.0.0.1", "--no-nanny"),
                *("--nthreads", "1", "--no-dashboard", "--local-directory", str(tmp_path)),
            )
            for number in range(2)
        ]
        found = Cluster(address, workers)
        until = time.monotonic() + START_WITHIN_S
        while found.num_workers() < 2:
            assert time.monotonic() < until, "the workers did not start"
            time.sleep(0.1)
        yield found
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()


def test_a_killed_worker_costs_no_box_and_no_bit(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = draw_table(3, boxes=900, images=96, empty=8)
    shards = [
        write_coco(take_images(table, range(start, start + 4)), tmp_path / f"{start:02}.json")
        for start in range(0, 96, 4)
    ]
    alone = summarize_shards(shards, num_workers=1)
    words = ["boxes", "summary", *map(str, shards), "--shards", "--dask", cluster.address]
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["boxes"] == 900
    killed_at: list[int] = []

    def kill_half_way(done: int, total: int) -> None:
        if done >= total // 2 and not killed_at:
            os.kill(cluster.workers[0].pid, signal.SIGKILL)
            cluster.workers[0].wait()
            killed_at.append(done)

    # Few at a time, so that half of the work is still to be done when the worker dies.
    with dask_executor(cluster.address) as executor:
        found = summarize_shards(shards, executor=executor, on_shard=kill_half_way, most_pending=4)
    assert killed_at == [12]
    assert cluster.workers[0].returncode == -signal.SIGKILL
    assert cluster.num_workers() == 1
    assert (found.shards, found.boxes_read, found.summary.images) == (24, 900, 96)
    assert_same_bits(found, alone)
