"""Proofs in other processes: the same bounds, and a plain message when a process dies."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from tests.boxes.tables import make_table, write_coco
from tinysight.boxes import proofs
from tinysight.boxes.analysis import analyse_boxes
from tinysight.boxes.proofs import proof_processes
from tinysight.boxes.reading import read_boxes
from tinysight.errors import DataError


def test_proofs_elsewhere_are_those_made_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    boxes = [(image % 7, 0, 1, 1, *rng.integers(4, 90, 2)) for image in range(40)]
    reading = read_boxes(
        write_coco(make_table(boxes, image_wh=[(100, 100)] * 7), tmp_path / "few.json")
    )
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    with proof_processes(2) as executor:
        assert executor is not None
        elsewhere = analyse_boxes(reading, (2, 3), certify_s=20, executor=executor).anchors
    here = analyse_boxes(reading, (2, 3), certify_s=20).anchors
    assert here is not None
    assert elsewhere is not None
    assert all(one.is_proof_finished for one in here.sets)
    assert [one.upper_bound for one in elsewhere.sets] == [one.upper_bound for one in here.sets]
    assert [one.gap for one in elsewhere.curve] == [one.gap for one in here.curve]
    assert elsewhere.chosen.upper_bound == here.chosen.upper_bound is not None


@pytest.mark.parametrize(("cores", "num_proofs"), [(1, 4), (None, 4), (8, 0)])
def test_one_core_or_no_proof_needs_no_other_process(
    cores: int | None, num_proofs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proofs.os, "cpu_count", lambda: cores)
    with proof_processes(num_proofs) as executor:
        assert executor is None


def test_a_killed_process_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs.os, "cpu_count", lambda: 2)
    with pytest.raises(DataError) as caught:
        _die_in_a_worker()
    assert str(caught.value) == (
        "The processes that prove how good anchors can be must run to the end, but one was "
        "killed, perhaps for want of memory. Try again with --certify 0."
    )


def _die_in_a_worker() -> None:
    with proof_processes(1) as executor:
        assert executor is not None
        worker = executor.submit(os.getpid).result()
        executor.submit(os.kill, worker, signal.SIGKILL).result()
