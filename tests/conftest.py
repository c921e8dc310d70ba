"""What every test gets: no network but loopback, torch as it was, the real data where it is."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.boxes.tables import draw_table, write_coco
from tests.real_data import real_file
from tinysight.boxes.findings import Reading
from tinysight.boxes.reading import read_boxes

# No test fails for being slow: a busy machine is no defect of the package.
settings.register_profile("tinysight", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tinysight")

_LOOPBACK = ("127.0.0.1", "::1", "localhost", "0.0.0.0", "")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that would leave this machine."""
    connect = socket.socket.connect

    def connect_to_loopback(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in _LOOPBACK:
            raise AssertionError(f"a test must not use the network, it connects to {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_to_loopback)


@pytest.fixture(autouse=True)
def torch_defaults() -> Iterator[None]:
    """Put back what a test may have changed for the whole process, if it uses torch at all."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = (
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_float32_matmul_precision(),
    )
    yield
    num_threads, dtype, deterministic, precision = before
    torch.set_num_threads(num_threads)
    torch.set_default_dtype(dtype)
    torch.use_deterministic_algorithms(deterministic)
    torch.set_float32_matmul_precision(precision)


@pytest.fixture(scope="session")
def real_shards() -> Path:
    """The folder with the real Tiny ImageNet shards."""
    return real_file("tiny-imagenet-200/part-0.parquet").parent


@pytest.fixture(scope="session")
def drawn_reading(tmp_path_factory: pytest.TempPathFactory) -> Reading:
    """400 random boxes of five classes on 60 images, read from a COCO file."""
    path = write_coco(draw_table(), tmp_path_factory.mktemp("drawn") / "drawn.json")
    return read_boxes(path)
