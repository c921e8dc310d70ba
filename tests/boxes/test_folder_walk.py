from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.boxes.annotation_files import make_cvat, make_labelme
from tests.boxes.readers.test_voc import voc
from tinysight.boxes.folder_walk import walk_folders
from tinysight.boxes.reading import read_boxes
from tinysight.errors import DataError
from tinysight.written_files import save_written

FAULT = "the folder must be readable, but Permission denied. What is in it is left out; mend it."


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that may not be looked into; the tests may run as root, who may look anywhere."""
    folder = tmp_path / "data" / "locked"
    folder.mkdir(parents=True)
    scandir = os.scandir

    def refuse(path: Any) -> Iterator[os.DirEntry[str]]:
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    return folder


def test_what_a_report_wrote_is_left_out(tmp_path: Path) -> None:
    for name in ("a.txt", "report/tables/a.csv", "report/anchors.json", "report/mine.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    save_written(tmp_path / "report", ["tables/a.csv", "anchors.json"])
    assert [(below.path, below.file_names) for below in walk_folders(tmp_path)] == [
        (tmp_path, ("a.txt",)),
        (tmp_path / "report", ("mine.json",)),
        (tmp_path / "report/tables", ()),
    ]


def test_folders_come_in_order_and_those_behind_links_last(tmp_path: Path) -> None:
    for name in ("b", "c/d", "outside/e"):
        (tmp_path / name).mkdir(parents=True)
    root = tmp_path / "root"
    (tmp_path / "b").rename(tmp_path / "moved")
    root.mkdir()
    (tmp_path / "moved").rename(root / "b")
    (tmp_path / "c").rename(root / "c")
    (root / "a").symlink_to(tmp_path / "outside")
    (root / "loop").symlink_to(root)
    (root / "again").symlink_to(root / "c")
    (root / "z.txt").write_text("")
    (root / "y.txt").symlink_to(tmp_path / "nothing")
    found = [
        (str(folder.path.relative_to(root)), folder.file_names) for folder in walk_folders(root)
    ]
    assert found == [
        (".", ("y.txt", "z.txt")),
        ("b", ()),
        ("c", ()),
        ("c/d", ()),
        ("a", ()),
        ("a/e", ()),
    ]


CONTENTS = {
    "voc": ("a.xml", voc([(1, 1, 50, 40, "dog")])),
    "labelme": ("a.json", json.dumps(make_labelme())),
    "cvat": (
        "a.xml",
        make_cvat(
            '<image name="a.jpg" width="100" height="80">'
            '<box label="dog" xtl="1" ytl="1" xbr="50" ybr="40"/></image>'
        ),
    ),
    "yolo": ("a.txt", "0 .5 .5 .2 .4\n"),
    "tiny-imagenet": ("n01_boxes.txt", "a.JPEG\t0\t0\t9\t9\n"),
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_folder_that_cannot_be_read_is_a_finding(kind: str, locked: Path) -> None:
    name, text = CONTENTS[kind]
    (locked.parent / name).write_text(text)
    reading = read_boxes(locked.parent, image_size_wh=(100, 80))
    assert (reading.format, reading.accepted) == (kind, 1)
    (finding,) = reading.findings
    assert (finding.kind, finding.action) == ("unreadable_folder", "rejected")
    assert (finding.where, finding.message) == (str(locked), FAULT)


@pytest.mark.parametrize("format", [None, *CONTENTS])
@pytest.mark.parametrize("where", ["the folder", "one below it"])
def test_folder_of_which_nothing_can_be_read_is_one_message(
    where: str, format: str | None, locked: Path
) -> None:
    with pytest.raises(DataError, match=f"locked: {FAULT}"):
        read_boxes(locked if where == "the folder" else locked.parent, format=format)
