from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.boxes.annotation_files import (
    make_coco,
    make_labelme,
    make_labelme_shape,
    write_json,
)
from tinysight.boxes import policies
from tinysight.boxes.policies import POLICIES, Policy, outcome_of
from tinysight.boxes.reading import read_boxes
from tinysight.boxes.records import Severity
from tinysight.errors import DataError

SEVERITIES: tuple[Severity, ...] = (
    "lossless", "harmless", "overhang", "outside", "orphan", "unusable",
)  # fmt: skip


def test_docstring_has_the_table_that_the_code_follows() -> None:
    assert policies.__doc__ is not None
    rows = re.split(r"\n    (?=\w+: )", policies.__doc__)[1:]
    told = {}
    for row in rows:
        name, _, rest = row.partition(":")
        told[name] = re.findall(r"\b(accepted|repaired|rejected|fault)\b", rest)[:4]
    assert set(told) == set(SEVERITIES)
    for severity in SEVERITIES:
        read = [outcome_of(severity, policy) for policy in POLICIES if policy != "strict"]
        assert told[severity] == [*read, "fault"], severity


def messy() -> dict[str, Any]:
    coco = make_coco()
    changes: list[tuple[str, Any]] = [
        ("bbox", ["10", 20, 30, 40]),  # lossless
        ("id", 100),  # harmless
        ("bbox", [90, 70, 30, 40]),  # overhang
        ("bbox", [300, 5, 39, 70]),  # outside
        ("image_id", 77),  # orphan
    ]
    for annotation, (key, value) in zip(coco["annotations"], changes, strict=True):
        annotation[key] = value
    coco["annotations"].append({"id": 200, "image_id": 7, "category_id": 1, "bbox": [1, 2, 0, 4]})
    return coco


@pytest.mark.parametrize(
    ("policy", "accepted", "repaired", "rejected"),
    [("keep", 4, 1, 1), ("clip", 1, 2, 3), ("drop", 1, 1, 4)],
)
def test_each_policy_accounts_for_every_box(
    policy: Policy, accepted: int, repaired: int, rejected: int, tmp_path: Path
) -> None:
    reading = read_boxes(write_json(tmp_path / "a.json", messy()), policy=policy)
    assert reading.boxes_read == 6
    assert (reading.accepted, reading.repaired, reading.rejected) == (accepted, repaired, rejected)
    assert reading.table.num_boxes == accepted + repaired


def test_each_finding_says_what_became_of_the_record(tmp_path: Path) -> None:
    coco = make_coco()
    coco["annotations"] = [
        {"id": 1, "image_id": 7, "category_id": 1, "bbox": [10, 20, 30, 40]},
        {"id": 1, "image_id": "7", "category_id": 1, "bbox": [11, 20, 30, 40]},
        {"id": 1, "image_id": 7, "category_id": 1, "bbox": [900, 900, 9, 9]},
        {"id": 1, "image_id": "7", "category_id": 1, "bbox": [900, 900, 9, 9]},
        {"id": 1, "image_id": 7, "category_id": 1, "bbox": [12, 20, 30, 40]},
    ]
    reading = read_boxes(write_json(tmp_path / "a.json", coco))
    assert (reading.accepted, reading.repaired, reading.rejected) == (2, 1, 2)
    found = {
        (finding.kind, finding.record[12]): (finding.action, finding.message.rsplit(". ", 1)[-1])
        for finding in reading.findings
    }
    for kind, record, action, done in [
        ("repeated_annotation_id", "1", "repaired", "Repaired for another defect."),
        ("repeated_annotation_id", "2", "rejected", "Left out for another defect."),
        ("repeated_annotation_id", "3", "rejected", "Left out for another defect."),
        ("repeated_annotation_id", "4", "accepted", "Kept as it is."),
        ("image_id_type", "1", "repaired", "Repaired."),
        ("image_id_type", "3", "rejected", "Left out for another defect."),
        ("outside_image", "2", "rejected", "Left out."),
        ("outside_image", "3", "rejected", "Left out."),
    ]:
        assert found[kind, record] == (action, done), (kind, record)
    assert len(reading.findings) == 8


def test_keep_leaves_boxes_as_they_are_and_adds_the_image_that_is_not_listed(
    tmp_path: Path,
) -> None:
    table = read_boxes(write_json(tmp_path / "a.json", messy()), policy="keep").table
    assert table.xywh_px[2].tolist() == [90, 70, 30, 40]
    assert table.image_names == ("a.jpg", "b.jpg", "(image 77)")
    assert np.isnan(table.image_wh_px[2]).all()


def test_clip_cuts_as_a_mask_of_pixels_would(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    boxes = np.concatenate(
        [rng.integers(-50, 120, (200, 2)), rng.integers(1, 150, (200, 2))], axis=1
    )
    coco = make_coco(
        annotations=[
            {"id": i, "image_id": 7, "category_id": 1, "bbox": box}
            for i, box in enumerate(boxes.tolist())
        ]
    )
    path = write_json(tmp_path / "a.json", coco)
    table = read_boxes(path, policy="clip", box_order="xywh").table
    kept = dict(zip(table.annotation_ids.tolist(), table.xywh_px.tolist(), strict=True))
    for number, (x, y, w, h) in enumerate(boxes.tolist()):
        columns = [c for c in range(100) if x <= c < x + w]
        rows = [r for r in range(80) if y <= r < y + h]
        if not columns or not rows:
            assert number not in kept
            continue
        assert kept[number] == [columns[0], rows[0], len(columns), len(rows)]


def test_strict_takes_a_file_without_defects(tmp_path: Path) -> None:
    reading = read_boxes(write_json(tmp_path / "a.json", make_coco()), policy="strict")
    assert (reading.accepted, len(reading.findings)) == (5, 0)


def test_strict_says_what_it_met_first_and_how_much_there_is(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", messy())
    text = (
        f"{path}: with the policy strict there must be no finding, got 6 (1 number_as_text, "
        f"1 outside_image, 1 over_edge, 1 repeated_annotation_id, 1 unknown_image, 1 zero_size). "
        f"The first: {path}: annotations[0] (id=100): the numbers of a box must be numbers"
    )
    with pytest.raises(DataError, match=re.escape(text)):
        read_boxes(path, policy="strict")


def test_rounding_at_an_edge_is_no_defect(tmp_path: Path) -> None:
    coco = make_coco()
    coco["annotations"][0]["bbox"] = [60.03, 10, 40, 20]
    assert len(read_boxes(write_json(tmp_path / "a.json", coco)).findings) == 0
    coco["annotations"][0]["bbox"] = [60.06, 10, 40, 20]
    assert len(read_boxes(write_json(tmp_path / "a.json", coco)).findings) == 1


def test_numbers_that_would_overflow_later_are_rejected(tmp_path: Path) -> None:
    coco = make_coco()
    coco["annotations"][0]["bbox"] = [0, 0, 1e300, 1e300]
    for policy in ("keep", "clip"):
        reading = read_boxes(write_json(tmp_path / "a.json", coco), policy=policy)
        assert reading.rejected == 1
        assert next(iter(reading.findings)).kind == "number_too_large"


def high_boxes() -> list[list[int]]:
    """Corners in pictures of 480 x 640 pixels, below the edge of 640 x 480."""
    return [[200 + i, 150, 290 + i, 500 + 3 * i] for i in range(30)]


def write_swapped(folder: Path, name: str) -> Path:
    boxes = high_boxes()
    if name == "coco":
        coco = make_coco(images=[{"id": 7, "width": 640, "height": 480, "file_name": "a.jpg"}])
        coco["annotations"] = [
            {"id": i, "image_id": 7, "category_id": 1, "bbox": [x, y, u - x, v - y]}
            for i, (x, y, u, v) in enumerate(boxes)
        ]
        return write_json(folder / "a.json", coco)
    if name == "labelme":
        shapes = [make_labelme_shape("rectangle", [[x, y], [u, v]]) for x, y, u, v in boxes]
        labelme = make_labelme(shapes, imageWidth=640, imageHeight=480)
        return write_json(folder / "a.json", labelme)
    if name == "voc":
        objects = "".join(
            f"<object><name>d</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin><xmax>{u}</xmax>"
            f"<ymax>{v}</ymax></bndbox></object>"
            for x, y, u, v in boxes
        )
        size = "<size><width>640</width><height>480</height></size>"
        (folder / "a.xml").write_text(f"<annotation>{size}{objects}</annotation>")
        return folder / "a.xml"
    rows = [",".join(map(str, ["a.jpg", *box, "dog", 640, 480])) for box in boxes]
    header = "image,xmin,ymin,xmax,ymax,class,width,height"
    (folder / "a.csv").write_text("\n".join([header, *rows]))
    return folder / "a.csv"


@pytest.mark.parametrize("name", ["coco", "csv", "labelme", "voc"])
def test_swapped_sizes_of_images_are_told_and_turn_no_box(name: str, tmp_path: Path) -> None:
    path = write_swapped(tmp_path, name)
    reading = read_boxes(path, policy="keep")
    assert reading.box_order.layout == ("xywh" if name == "coco" else "xyxy")
    assert reading.table.wh_px[0].tolist() == [90 + (name == "voc"), 350 + (name == "voc")]
    (finding,) = (one for one in reading.findings if one.kind == "image_sizes_swapped")
    assert finding.action == "accepted"
    assert finding.message == (
        "width and height of an image must be those of the picture as its boxes have it, but of "
        "30 boxes 0.0 % lie inside their images, and 100.0 % "
        "if width and height are swapped, as where they were stated before a picture was turned "
        "upright. Used as stated; swap them in the file, or pass --policy keep so that no box is "
        "cut."
    )
    assert "box_order" not in {one.kind for one in reading.findings}
    assert "box_order_doubtful" not in {one.kind for one in reading.findings}


def test_columns_without_names_may_have_y_before_x(tmp_path: Path) -> None:
    path = write_swapped(tmp_path, "csv")
    path.write_text(path.read_text().partition("\n")[2])
    assert read_boxes(path).box_order.layout == "yxyx"


def test_overruled_order_is_a_finding_and_repairs_every_box(tmp_path: Path) -> None:
    boxes = [[10 + i, 20 + i, 70 + i, 60 + i / 2] for i in range(20)]
    coco = make_coco(
        annotations=[
            {"id": i, "image_id": 7, "category_id": 1, "bbox": box} for i, box in enumerate(boxes)
        ]
    )
    path = write_json(tmp_path / "a.json", coco)
    reading = read_boxes(path)
    (finding,) = reading.findings
    assert (finding.kind, reading.repaired) == ("box_order", 20)
    assert finding.message == (
        "the numbers of a box must be in the declared order, but of 20 boxes 5.0 % lie inside "
        "their images as xywh, which coco declares, and 100.0 % as xyxy. Read as xyxy; pass "
        "--box-order xywh if that is wrong."
    )
    assert reading.table.xywh_px[0].tolist() == [10, 20, 60, 40]


@pytest.mark.parametrize(
    ("num_boxes", "box", "found"),
    [
        (1, [0.1, 0.2, 0.3, 1.0], "of 1 box none has one from 1.5 up, and not all are whole"),
        (15, [0.1, 0.2, 0.3, 0.4], "of 15 boxes none has one from 1.5 up, and not all are whole"),
        (15, [0.1, 0.2, 0.3, 2.4], ""),
        (15, [0, 0, 1, 1], ""),
    ],
)
def test_few_boxes_that_seem_to_be_fractions_are_told(
    num_boxes: int, box: list[float], found: str, tmp_path: Path
) -> None:
    coco = make_coco()
    coco["annotations"] = [
        {"id": number, "image_id": 7, "category_id": 1, "bbox": box} for number in range(num_boxes)
    ]
    reading = read_boxes(write_json(tmp_path / "a.json", coco))
    assert (reading.accepted, str(reading.box_order)) == (num_boxes, "xywh")
    expected = (
        f"the numbers of a box must be in pixels, but {found}. Read as declared; pass --box-order "
        f"xywh:rel if that is wrong."
    )
    assert [(finding.kind, finding.message) for finding in reading.findings] == (
        [("box_unit_doubtful", expected)] if found else []
    )
    asked = read_boxes(tmp_path / "a.json", box_order="xywh", policy="keep")
    assert len(asked.findings) == 0


def test_few_boxes_of_yolo_that_seem_to_be_pixels_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("0 320 240 100 100\n1 100 100 50 50\n0 0.5 0.5 0.2 0.2\n")
    reading = read_boxes(path, image_size_wh=(640, 480))
    assert (reading.accepted, reading.rejected) == (1, 2)
    messages = {finding.kind: finding.message for finding in reading.findings}
    assert messages["box_unit_doubtful"] == (
        "the numbers of a box must be fractions of the image, but of 3 boxes 2 have one above 2. "
        "Read as declared; pass --box-order cxcywh if that is wrong."
    )
