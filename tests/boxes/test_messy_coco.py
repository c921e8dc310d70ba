"""Seventeen ways in which COCO files of the wild are wrong; every good box must survive each."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.boxes.annotation_files import make_coco, write_json
from tests.real_data import real_file
from tinysight.boxes.findings import Reading
from tinysight.boxes.reading import read_boxes
from tinysight.errors import DataError

GOOD = 5


def kinds(reading: Reading) -> dict[str, tuple[int, str]]:
    return {count.kind: (count.count, count.action) for count in reading.findings.by_kind()}


def change(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Change one field of the second annotation; ``...`` removes it."""

    def apply(coco: dict[str, Any]) -> None:
        if value is ...:
            del coco["annotations"][1][key]
        else:
            coco["annotations"][1][key] = value

    return apply


def string_image_ids(coco: dict[str, Any]) -> None:
    for annotation in coco["annotations"]:
        annotation["image_id"] = str(annotation["image_id"])


def no_width(coco: dict[str, Any]) -> None:
    for image in coco["images"]:
        del image["width"]


def without(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda coco: coco.pop(key) and None


# The change, the finding it must make, its action, how many findings, and how many boxes stay.
VARIANTS: dict[str, tuple[Callable[[dict[str, Any]], None], str, str, int, int]] = {
    "string image_id": (string_image_ids, "image_id_type", "repaired", 5, 5),
    "zero size": (change("bbox", [1, 2, 0, 4]), "zero_size", "rejected", 1, 4),
    "negative size": (change("bbox", [1, 2, -3, 4]), "negative_size", "rejected", 1, 4),
    "over the edge": (change("bbox", [90, 2, 30, 4]), "over_edge", "repaired", 1, 5),
    "outside": (change("bbox", [200, 2, 30, 4]), "outside_image", "rejected", 1, 4),
    "orphan image": (change("image_id", 8), "unknown_image", "rejected", 1, 4),
    "orphan category": (change("category_id", 3), "unknown_category", "rejected", 1, 4),
    "duplicate id": (change("id", 100), "repeated_annotation_id", "accepted", 1, 5),
    "no id": (change("id", ...), "annotation_without_id", "repaired", 1, 5),
    "bbox of 3": (change("bbox", [1, 2, 3]), "box_wrong_length", "rejected", 1, 4),
    "bbox missing": (change("bbox", ...), "box_missing", "rejected", 1, 4),
    "NaN": (change("bbox", [1, 2, float("nan"), 4]), "box_not_finite", "rejected", 1, 4),
    "strings": (change("bbox", ["1", "2", "3", "4"]), "number_as_text", "repaired", 1, 5),
    "no width": (no_width, "no_image_size", "accepted", 2, 5),
    "no images": (without("images"), "no_images_list", "repaired", 1, 5),
    "no categories": (without("categories"), "no_categories_list", "repaired", 1, 5),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_messy_file_keeps_every_good_box_and_names_the_defect(name: str, tmp_path: Path) -> None:
    apply, kind, action, findings, boxes = VARIANTS[name]
    coco = make_coco()
    apply(coco)
    reading = read_boxes(write_json(tmp_path / "a.json", coco))
    assert reading.boxes_read == GOOD
    assert reading.table.num_boxes == boxes
    assert kinds(reading)[kind] == (findings, action)
    assert reading.rejected == GOOD - boxes
    # Nothing else is said than this one defect (and that NaN is not JSON).
    assert set(kinds(reading)) - {"not_quite_json"} == {kind}
    sound = read_boxes(write_json(tmp_path / "sound.json", make_coco()))
    others = [i for i in range(GOOD) if i != 1]
    kept = [i for i in range(GOOD) if boxes == GOOD or i != 1]
    assert reading.table.xywh_px[[kept.index(i) for i in others]].tolist() == (
        sound.table.xywh_px[others].tolist()
    )


def test_file_with_a_byte_order_mark_is_read_as_any_other(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(codecs.BOM_UTF8 + json.dumps(make_coco()).encode())
    reading = read_boxes(path)
    assert (reading.accepted, len(reading.findings)) == (GOOD, 0)


def test_real_dogs_are_all_found_though_their_ids_are_of_two_types() -> None:
    reading = read_boxes(real_file("dogs/dog_boundingbox_export_coco.json"))
    assert (reading.boxes_read, reading.table.num_boxes, reading.rejected) == (53, 53, 0)
    assert (reading.images, reading.table.class_names) == (50, ("dog", "cat"))
    assert kinds(reading) == {
        "repeated_category": (98, "repaired"),
        "image_id_type": (53, "repaired"),
    }
    # The only cat: annotation 8 in image 7.
    cats = reading.table.class_index == 1
    assert reading.table.annotation_ids[cats].tolist() == [8]


def test_finding_names_file_record_and_id(tmp_path: Path) -> None:
    coco = make_coco()
    coco["annotations"][1]["bbox"] = [1, 2, -3, 4]
    path = write_json(tmp_path / "a.json", coco)
    (finding,) = read_boxes(path).findings
    assert str(finding) == (
        f"{path}: annotations[1] (id=101): width and height must be > 0 pixels, got -3 x 4. "
        f"Left out."
    )


def test_names_that_are_numbers_are_names(tmp_path: Path) -> None:
    value = make_coco(
        images=[
            {"id": 7, "width": 100, "height": 80, "file_name": 12},
            {"id": 9, "width": 100, "height": 80, "file_name": True},
        ],
        categories=[{"id": 1, "name": 7}, {"id": 2, "name": " person\n"}, {"id": 3, "name": []}],
    )
    table = read_boxes(write_json(tmp_path / "a.json", value)).table
    assert table.image_names == ("12", "(image 9)")
    assert table.class_names == ("7", "person", "(category 3)")


def test_position_in_the_place_of_an_id_is_no_id_that_was_used_before(tmp_path: Path) -> None:
    coco = make_coco()
    coco["annotations"][2]["id"] = 1
    del coco["annotations"][1]["id"]
    reading = read_boxes(write_json(tmp_path / "a.json", coco))
    assert kinds(reading) == {"annotation_without_id": (1, "repaired")}


def test_what_is_no_object_has_one_finding_that_says_so(tmp_path: Path) -> None:
    coco = make_coco()
    coco["annotations"][1:1] = [None, 7]
    coco["annotations"][0]["id"] = 1
    reading = read_boxes(write_json(tmp_path / "a.json", coco))
    assert kinds(reading) == {"record_not_an_object": (2, "rejected")}
    assert reading.findings[0].message == "an annotation must be an object, got None. Left out."


@pytest.mark.parametrize(
    "segmentation", [[[5, 6, 40, 7, 20, 60]], [5, 6, 40, 7, 20, 60], [[5, 6, 9, 7, 9, 8]] * 2]
)
@pytest.mark.parametrize("bbox", [None, [], ...])
def test_missing_box_is_the_one_around_the_polygons(
    segmentation: Any, bbox: Any, tmp_path: Path
) -> None:
    coco = make_coco()
    change("bbox", bbox)(coco)
    change("segmentation", segmentation)(coco)
    reading = read_boxes(write_json(tmp_path / "a.json", coco))
    box = [5, 6, 4, 2] if len(segmentation) == 2 else [5, 6, 35, 54]
    assert reading.table.xywh_px[1].tolist() == box
    assert (reading.repaired, reading.rejected) == (1, 0)
    (finding,) = reading.findings
    assert (finding.kind, finding.message) == (
        "box_of_segmentation",
        "an annotation must have a bbox, got none. The box around its segmentation is used. "
        "Repaired.",
    )


@pytest.mark.parametrize(
    "segmentation",
    [{"counts": "abc", "size": [80, 100]}, [[1, 2, 3, 4]], [[1, "x", 3, 4, 5, 6]], [7], "a", [{}]],
)
def test_segmentation_without_polygons_gives_no_box(segmentation: Any, tmp_path: Path) -> None:
    coco = make_coco()
    change("bbox", ...)(coco)
    change("segmentation", segmentation)(coco)
    reading = read_boxes(write_json(tmp_path / "a.json", coco))
    (finding,) = reading.findings
    assert (finding.kind, finding.message) == (
        "box_missing",
        "an annotation must have a bbox, got none: it has a segmentation only, and no polygon. "
        "Add bbox. Left out.",
    )


@pytest.mark.parametrize("segmentation", ["", [], {}, None, ...])
def test_annotation_without_box_and_outline_has_none(segmentation: Any, tmp_path: Path) -> None:
    coco = make_coco()
    change("bbox", None)(coco)
    coco["annotations"][1]["segmentation"] = segmentation
    if segmentation is ...:
        del coco["annotations"][1]["segmentation"]
    reading = read_boxes(write_json(tmp_path / "a.json", coco))
    (finding,) = reading.findings
    assert finding.message == "must have a box of four numbers, got none. Left out."


def test_list_of_something_else_is_refused(tmp_path: Path) -> None:
    image = {"name": "a.jpg", "things": [{"kind": "car", "corners": {"x1": 1, "y1": 2}}]}
    path = write_json(tmp_path / "a.json", [image, 3])
    text = (
        f"{path}: must be a list of annotations with `bbox` and `image_id`, but none of its 2 "
        f"records has either. Check that this is a file of boxes, or name its format with --format."
    )
    with pytest.raises(DataError, match=re.escape(text)):
        read_boxes(path)


@pytest.mark.parametrize(
    ("width", "must"), [(1e-9, "at least 0.001"), (0, "> 0"), (-1e-9, "> 0"), (-3, "> 0")]
)
def test_a_side_that_is_too_small_is_told_how_large_it_must_be(
    width: float, must: str, tmp_path: Path
) -> None:
    content = make_coco()
    content["annotations"][0]["bbox"] = [1, 1, width, 5]
    reading = read_boxes(write_json(tmp_path / "boxes.json", content))
    (finding,) = (f for f in reading.findings if f.kind in ("zero_size", "negative_size"))
    assert f"width and height must be {must} pixels, got {width:.10g} x 5." in finding.message


@pytest.mark.parametrize(
    ("field", "what"),
    [({"caption": "a cat"}, "captions"), ({"segments_info": [{"id": 3}]}, "panoptic segments")],
)
def test_coco_files_without_boxes_are_named(
    field: dict[str, Any], what: str, tmp_path: Path
) -> None:
    content = make_coco()
    boxes = content["annotations"]
    content["annotations"] = [{"id": n, "image_id": 1, **field} for n in range(3)]
    path = write_json(tmp_path / "a.json", content)
    text = (
        f"{path}: must have annotations with `bbox`, but they are {what} without boxes. Take the "
        f"file of instances of the same images, such as instances_val2017.json."
    )
    with pytest.raises(DataError, match=re.escape(text)):
        read_boxes(path)
    content["annotations"] += boxes
    assert read_boxes(write_json(path, content)).accepted
