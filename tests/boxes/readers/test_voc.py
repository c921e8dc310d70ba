from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tinysight.boxes.reading import read_boxes
from tinysight.errors import DataError


def voc(
    boxes: list[tuple[object, ...]], size: str = "<width>100</width><height>80</height>"
) -> str:
    objects = "".join(
        "<object><bndbox><ymin>{1}</ymin><xmin>{0}</xmin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox>"
        "<name>{4}</name><part><bndbox><xmin>1</xmin></bndbox></part></object>".format(*box)
        for box in boxes
    )
    return f"<annotation><filename>a.jpg</filename><size>{size}</size>{objects}</annotation>"


def test_corners_count_from_one_and_include_the_last_pixel(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(voc([(1, 1, 100, 80, "dog"), (11, 21, 30, 40, "cat")]))
    reading = read_boxes(path)
    assert (reading.format, str(reading.box_order)) == ("voc", "xyxy:1")
    assert reading.table.xywh_px.tolist() == [[0, 0, 100, 80], [10, 20, 20, 20]]
    assert reading.table.class_names == ("dog", "cat")
    assert len(reading.findings) == 0


def test_corners_from_zero_are_recognised(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(voc([(0, 0, 100, 80, "dog"), (10, 20, 30, 40, "cat")]))
    reading = read_boxes(path)
    assert str(reading.box_order) == "xyxy"
    assert reading.table.xywh_px.tolist() == [[0, 0, 100, 80], [10, 20, 20, 20]]


def test_corners_from_zero_are_recognised_without_a_size(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(voc([(0, 0, 50, 40, "dog")], ""))
    reading = read_boxes(path)
    assert str(reading.box_order) == "xyxy"
    assert reading.table.xywh_px.tolist() == [[0, 0, 50, 40]]


def test_one_negative_corner_does_not_change_how_all_are_counted(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / f"{number}.xml").write_text(voc([(1, 1, 100, 80, "dog")]))
    (tmp_path / "odd.xml").write_text(voc([(-2, 30, 60, 70, "dog")]))
    reading = read_boxes(tmp_path)
    assert str(reading.box_order) == "xyxy:1"
    assert reading.table.xywh_px[0].tolist() == [0, 0, 100, 80]
    assert [finding.kind for finding in reading.findings] == ["over_edge"]


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [
        ("utf-16-le", "UTF-16"),
        ("utf-16-be", "utf-16"),
        ("utf-16-le", ""),
        ("utf-8", "utf-8"),
        ("cp1252", "windows-1252"),
    ],
)
def test_file_is_read_in_the_encoding_that_it_has(
    encoding: str, declared: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.xml"
    mark = "\ufeff" if encoding.startswith("utf-16") else ""
    head = f'<?xml version="1.0" encoding="{declared}"?>\n' if declared else ""
    path.write_bytes((mark + head + voc([(1, 1, 50, 40, "Bär")])).encode(encoding))
    reading = read_boxes(path)
    assert reading.table.class_names == ("Bär",)
    assert len(reading.findings) == 0


def test_folder_keeps_its_good_files_and_names_the_bad_one(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(voc([(1, 1, 50, 40, "dog")]))
    (tmp_path / "b.xml").write_text(voc([(1, 1, 50, 40, "dog")])[:-20])
    reading = read_boxes(tmp_path)
    (finding,) = reading.findings
    assert (reading.accepted, finding.kind) == (1, "unreadable_file")
    assert finding.where == str(tmp_path / "b.xml")
    assert finding.message.startswith("must be sound XML, but line 1, column ")


def test_folder_behind_a_link_is_read(tmp_path: Path) -> None:
    root = tmp_path / "data"
    (root / "train").mkdir(parents=True)
    (root / "train/a.xml").write_text(voc([(1, 1, 50, 40, "dog")]))
    (tmp_path / "b.xml").write_text(voc([(1, 1, 50, 40, "dog"), (1, 1, 5, 4, "cat")]))
    (root / "val").symlink_to(tmp_path)  # which holds this folder as well
    reading = read_boxes(root)
    assert (reading.accepted, len(reading.findings)) == (3, 0)


def test_image_of_a_gzipped_file_without_its_name_is_called_by_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.xml.gz"
    path.write_bytes(gzip.compress(voc([(1, 1, 50, 40, "dog")]).replace("a.jpg", "").encode()))
    assert read_boxes(path).table.image_names == ("x.jpg",)


def test_bad_objects_are_named_by_their_number(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(
        voc(
            [
                (1, 1, 50, 40, "dog"),
                (1, "x", 50, 40, "dog"),
                (60, 1, 50, 40, "dog"),
                (1, 1, 9, 9, ""),
            ]
        )
    )
    reading = read_boxes(path)
    assert (reading.boxes_read, reading.accepted, reading.rejected) == (4, 1, 3)
    assert {finding.record: finding.kind for finding in reading.findings} == {
        "object 2": "box_not_numbers",
        "object 3": "negative_size",
        "object 4": "unknown_category",
    }


@pytest.mark.parametrize("size", ["", "<width>0</width><height>0</height>", "<width>x</width>"])
def test_file_without_size_keeps_its_boxes(size: str, tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(voc([(1, 1, 50, 40, "dog")], size))
    reading = read_boxes(path)
    assert (reading.accepted, [f.kind for f in reading.findings]) == (1, ["no_image_size"])


def test_text_of_another_encoding_is_read_as_declared(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    text = '<?xml version="1.0" encoding="ISO-8859-1"?>' + voc([(1, 1, 50, 40, "caf\xe9")])
    path.write_bytes(text.encode("latin-1"))
    assert read_boxes(path).table.class_names == ("caf\xe9",)


def test_xml_of_another_kind_is_said_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "annotations.xml"
    path.write_text("<dataset><images><image file='a.jpg'/></images></dataset>")
    with pytest.raises(
        DataError,
        match=r"annotations\.xml: must be a Pascal VOC <annotation>, got <dataset>\. Check the "
        r"file, or export the annotations as Pascal VOC or COCO\.$",
    ):
        read_boxes(path)
