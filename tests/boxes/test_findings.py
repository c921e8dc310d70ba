from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from tests.boxes.annotation_files import make_coco, write_json
from tinysight.boxes.findings import (
    Finding,
    FindingGroup,
    Findings,
    save_findings,
    whole_file_finding,
)
from tinysight.boxes.reading import read_boxes
from tinysight.errors import RunError


def group(count: int, kind: str = "zero_size") -> FindingGroup:
    return FindingGroup(
        kind=kind,
        action="rejected",
        message="width must be > 0, got {0}.",
        files=("a.json", "b.json"),
        file_index=np.arange(count, dtype=np.int32) % 2,
        record_format="annotations[{position}]",
        positions=np.arange(count, dtype=np.int64) + 10,
        ids=np.arange(count) + 500,
        values=(np.linspace(0, -1, count),),
    )


def test_findings_are_a_sequence_of_their_groups() -> None:
    findings = Findings((group(3), whole_file_finding("x", "repaired", "c.json", "a {brace}")))
    listed = list(findings)
    assert len(findings) == len(listed) == 4
    assert listed[1] == findings[1] == findings[-3]
    assert findings[1:3] == listed[1:3]
    assert str(listed[1]) == ("b.json: annotations[11] (id=501): width must be > 0, got -0.5.")
    assert str(listed[3]) == "c.json: a {brace}"
    with pytest.raises(IndexError):
        findings[4]


def test_counts_by_kind_are_exact_and_largest_first() -> None:
    findings = Findings((group(2, "a"), group(5, "b"), group(7, "a")))
    first, second = findings.by_kind(most_examples=3)
    assert (first.kind, first.count, len(first.examples)) == ("a", 9, 3)
    assert (second.kind, second.count) == ("b", 5)


def test_millions_of_findings_cost_columns_and_not_objects() -> None:
    findings = Findings((group(2_000_000),))
    assert len(findings) == 2_000_000
    assert findings[1_999_999].record == "annotations[2000009] (id=2000499)"
    assert findings.by_kind()[0].count == 2_000_000


def test_csv_lists_every_finding_with_odd_characters_whole(tmp_path: Path) -> None:
    odd = whole_file_finding("x", "accepted", 'a,"b"\n.json', "é\ud800")
    path = tmp_path / "findings.csv"
    save_findings(Findings((group(3), odd)), path)
    rows = list(csv.reader(io.StringIO(path.read_bytes().decode(), newline="")))
    assert rows[0] == ["kind", "action", "file", "record", "message"]
    assert len(rows) == 5
    assert rows[1][:4] == ["zero_size", "rejected", "a.json", "annotations[10] (id=500)"]
    assert rows[4] == ["x", "accepted", 'a,"b"\n.json', "", "é\\ud800"]


def test_csv_in_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="must be writable"):
        save_findings([], tmp_path / "no" / "findings.csv")


def test_values_with_braces_do_not_disturb_a_message(tmp_path: Path) -> None:
    coco = make_coco()
    coco["annotations"][0]["bbox"] = "{0} {position}"
    finding = next(iter(read_boxes(write_json(tmp_path / "{a}.json", coco)).findings))
    assert isinstance(finding, Finding)
    assert "'{0} {position}'" in finding.message
