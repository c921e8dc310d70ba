from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from tests.boxes.readers.test_voc import voc
from tinysight.boxes.reading import read_boxes
from tinysight.writable_names import all_writable, writable

LATIN_1 = os.fsdecode(b"caf\xe9")  # as an old camera or a Windows zip may write it


@pytest.mark.parametrize(
    ("name", "expected"),
    [("", ""), ("café", "café"), (LATIN_1, "caf\\udce9"), ("\U0001f415", "\U0001f415")],
)
def test_only_what_no_encoding_can_write_is_spelt_out(name: str, expected: str) -> None:
    assert writable(name) == expected
    assert all_writable(("a", name)) == ("a", expected)


@pytest.mark.parametrize("kind", ["yolo", "voc", "tiny-imagenet"])
def test_names_of_files_that_are_no_utf8_can_be_written(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / LATIN_1
    folder.mkdir()
    if kind == "yolo":
        (folder / f"{LATIN_1}.txt").write_text("0 0.5 0.5 0.2 0.4\n0 0.5 0.5 0.2\n")
        Image.new("L", (200, 100)).save(folder / f"{LATIN_1}.png")
    elif kind == "voc":
        text = voc([(1, 1, 50, 40, "dog"), (1, 1, 50, "x", "dog")]).replace("a.jpg", "")
        (folder / f"{LATIN_1}.xml").write_text(text)
        (folder / "b.xml").write_text("broken")
    else:
        (folder / f"{LATIN_1}_boxes.txt").write_text("a.JPEG\t0\t0\t9\t9\na.JPEG\t0\t0\t9\tx\n")
    reading = read_boxes(folder)
    assert reading.accepted == 1
    assert len(reading.findings) >= 1
    table = reading.table
    written = "".join([*table.image_names, *table.class_names, *map(str, reading.findings)])
    assert "caf\\udce9" in written
    written.encode()
    assert all(Path(file).is_file() for file in reading.files), "these open the files"
