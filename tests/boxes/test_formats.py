from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import pytest

from tests.boxes.annotation_files import make_coco, make_labelme, write_json
from tinysight.boxes.findings import save_findings
from tinysight.boxes.formats import READERS, find_annotations
from tinysight.boxes.reading import read_boxes
from tinysight.errors import DataError

CONTENTS = {
    "coco": b'{"images": [], "annotations": [], "categories": []}',
    "via": b'{"_via_settings": {}, "_via_img_metadata": {}}',
    "labelme": b'{"version": "5.5.0", "flags": {}, "shapes": [], "imagePath": "a.jpg"}',
    "cvat": b"<?xml version='1.0'?><!-- <annotation> --><annotations></annotations>",
    "createml": b'[{"image": "a.jpg", "annotations": []}]',
    "voc": b"<?xml version='1.0'?><annotation></annotation>",
    "yolo": b"0 0.5 0.5 0.1 0.1\n12 0.25 0.5 1e-1 0.1\n",
    "csv": b"image;class;x;y;width;height\n",
    "parquet": b"PAR1....",
    "wider-face": b"0--Parade/a.jpg\n1\n1 2 3 4 0 0 0 0 0 0\n",
    "tiny-imagenet": b"n01443537_0.JPEG\t0\t0\t63\t63\n",
    "plain-rows": b"id: 0, height: 330, width: 1093, bbox:[69, 464, 312, 175],\r\n",
}


@pytest.mark.parametrize("format", CONTENTS)
@pytest.mark.parametrize("suffix", [".txt", ".json", ""])
def test_format_is_found_by_content_whatever_the_name(
    format: str, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"annotations{suffix}"
    path.write_bytes(CONTENTS[format])
    assert find_annotations(path) == (format, path)


def test_one_damaged_line_does_not_hide_a_format(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("0 0.5 0.5 0.1 0.1\nx\n0 0.5 0.5 0.1 0.1\n")
    assert find_annotations(path)[0] == "yolo"


def test_line_longer_than_the_head_is_still_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(",".join(f"column{number}" for number in range(20_000)))
    assert find_annotations(path)[0] == "csv"


def test_brackets_that_are_never_closed_take_no_longer_than_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    row = "id: 0, height: 9, width: 9, bbox:[1, 1, 2, 2]"
    path.write_text(f"{row}\n{row[:-13]}{'bbox:[' * 300_000}1, 1, 2, 2]\n")
    table = read_boxes(path, box_order="xywh").table
    assert table.xywh_px.tolist() == [[1, 1, 2, 2]] * 2


def test_only_annotation_file_of_a_folder_is_the_one_that_is_read(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    path = write_json(tmp_path / "images" / "a.json", make_coco())
    assert find_annotations(tmp_path) == ("coco", path)


def test_json_with_keys_of_two_formats_is_asked_about(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", {"annotations": [], "_via_settings": {}})
    text = "it has keys of both. Pass --format coco or --format via."
    with pytest.raises(DataError, match=re.escape(text)):
        find_annotations(path)


@pytest.mark.parametrize(
    ("text", "format"),
    [
        ('{"shapes": [{"label": "info", "flags": {"x": "images"}}]}', "labelme"),
        ('{"a.jpg1": {"regions": [], "filename": "bbox"}}', "via"),
        ('[{"image_id": 1, "image": "a.jpg", "annotations": []}]', "coco"),
        ('[{"imagefilename": "a.jpg"}]', "createml"),
        ("[]", "coco"),
        ("<annotation><object><name>annotations</name></object></annotation>", "voc"),
    ],
)
def test_values_are_not_taken_for_keys(text: str, format: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text(text)
    assert find_annotations(path) == (format, path)


def test_json_with_keys_of_three_formats_is_asked_about(tmp_path: Path) -> None:
    value: dict[str, Any] = {"annotations": [], "_via_settings": {}, "shapes": []}
    path = write_json(tmp_path / "a.json", value)
    text = (
        "must be COCO or VGG Image Annotator or LabelMe json, but it has keys of all of them. "
        "Pass --format coco or --format via or --format labelme."
    )
    with pytest.raises(DataError, match=re.escape(text)):
        find_annotations(path)


_RESULT = {"from_name": "label", "value": {"x": 10, "y": 10, "rectanglelabels": ["cat"]}}
_LABEL_STUDIO = {
    "json": [
        {"id": 1, "annotations": [{"id": 1, "result": [_RESULT]}], "data": {"image": "/data/a.jpg"}}
    ],
    "without boxes": [{"id": 1, "annotations": [{"result": []}], "data": {"image": "a.jpg"}}],
    "not annotated": [{"id": 1, "annotations": [], "total_annotations": 0, "data": {}}],
    "one task": {"id": 1, "annotations": [{"id": 1, "result": [_RESULT]}], "data": {}},
    "json-min": [{"image": "/data/a.jpg", "id": 1, "label": [_RESULT["value"]]}],
}


@pytest.mark.parametrize("value", _LABEL_STUDIO.values(), ids=_LABEL_STUDIO)
def test_json_of_label_studio_is_told_from_annotations(value: Any, tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", value)
    text = (
        f"{path}: must be of a known format, but it is Label Studio's own JSON. Export from Label "
        f"Studio as COCO, YOLO or Pascal VOC."
    )
    with pytest.raises(DataError, match=re.escape(text)):
        find_annotations(path)


_VOTT_ASSET = {
    "asset": {"name": "a.jpg", "size": {"width": 9, "height": 9}},
    "regions": [{"boundingBox": {"left": 1, "top": 1, "width": 3, "height": 3}, "tags": ["x"]}],
}


@pytest.mark.parametrize(
    "value", [_VOTT_ASSET, {"assets": {"x": _VOTT_ASSET}}, {"videoSettings": {}, "assets": {}}]
)
def test_json_of_vott_is_told_from_annotations(value: Any, tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", value)
    text = (
        f"{path}: must be of a known format, but it is VoTT's own JSON. Export from VoTT as CSV or "
        f"Pascal VOC."
    )
    with pytest.raises(DataError, match=re.escape(text)):
        find_annotations(path)


def test_via_with_an_attribute_called_as_a_key_of_vott_is_via(tmp_path: Path) -> None:
    region = {"shape_attributes": {"name": "rect"}, "region_attributes": {"asset": "x"}}
    path = write_json(tmp_path / "a.json", {"k": {"filename": "a.jpg", "regions": [region]}})
    assert find_annotations(path)[0] == "via"


def test_coco_with_a_key_of_label_studio_is_coco(tmp_path: Path) -> None:
    text = '{"annotations": [{"bbox": [1, 2, 3, 4], "from_name": "label", "result": []}]}'
    (tmp_path / "a.json").write_text(text)
    assert find_annotations(tmp_path / "a.json")[0] == "coco"


def test_description_of_label_studio_beside_its_labels_is_no_second_set(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text("1 0.5 0.5 0.2 0.4\n")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    description = {"categories": [{"id": 0, "name": "cat"}], "info": {"version": "1.0"}}
    write_json(tmp_path / "notes.json", description)
    reading = read_boxes(tmp_path, image_size_wh=(10, 10))
    assert (reading.format, reading.table.class_names) == ("yolo", ("cat", "dog"))
    assert len(reading.findings) == 0
    write_json(tmp_path / "boxes.json", description)
    with pytest.raises(DataError, match=r"it holds a tree of yolo and boxes\.json\. Pass --format"):
        read_boxes(tmp_path)


@pytest.mark.parametrize(
    ("yaml", "is_yolo"),
    [
        ("lr: 0.1\n", False),
        ("class_names: [a]\nmodel:\n  names: [a]\n", False),
        ("path: x\nnames: [a]\n", True),
        ("names:\n  0: a\n", True),
        ("'names' : [a]\n", True),
    ],
)
def test_a_yaml_without_names_beside_a_text_makes_no_yolo_tree(
    yaml: str, is_yolo: bool, tmp_path: Path
) -> None:
    write_json(tmp_path / "annotations.json", make_coco())
    (tmp_path / "README.txt").write_text("hello")
    (tmp_path / "config.yaml").write_text(yaml)
    if is_yolo:
        with pytest.raises(DataError, match=r"it holds a tree of yolo and annotations\.json\."):
            find_annotations(tmp_path)
    else:
        assert find_annotations(tmp_path) == ("coco", tmp_path / "annotations.json")


def test_findings_of_a_check_are_no_annotations(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(CONTENTS["yolo"])
    save_findings([], tmp_path / "findings.csv")
    assert find_annotations(tmp_path) == ("yolo", tmp_path)
    (tmp_path / "findings.csv").write_text("kind,action,file\n")
    with pytest.raises(DataError, match=r"it holds a tree of yolo and findings\.csv\."):
        find_annotations(tmp_path)


def test_folder_with_trees_of_two_formats_is_asked_about(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(CONTENTS["voc"])
    (tmp_path / "data.yaml").write_text("names: [dog]\n")
    (tmp_path / "a.txt").write_bytes(CONTENTS["yolo"])
    text = "it holds a tree of voc and one of yolo. Pass --format voc or --format yolo, or name"
    with pytest.raises(DataError, match=re.escape(text)):
        find_annotations(tmp_path)


@pytest.mark.parametrize("other", ["[]", "[1, 2]", "", "null", '{"shapes": '])
def test_json_of_no_format_beside_labelme_is_of_its_tree(other: str, tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", make_labelme())
    (tmp_path / "b.json").write_text(other)
    reading = read_boxes(tmp_path)
    assert (reading.format, reading.accepted) == ("labelme", 1)
    assert [finding.kind for finding in reading.findings] == ["unreadable_file"]


@pytest.mark.parametrize("format", ["voc", "cvat"])
def test_an_empty_xml_file_is_of_the_tree_of_the_others(format: str, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("")
    assert find_annotations(tmp_path) == ("voc", tmp_path)
    (tmp_path / "b.xml").write_bytes(CONTENTS[format])
    assert find_annotations(tmp_path) == (format, tmp_path)


def test_the_documentation_has_a_row_for_each_format() -> None:
    text = (Path(__file__).parents[2] / "docs" / "formats-and-units.md").read_text(encoding="utf-8")
    _, _, section = text.partition("## Box annotations that `tinysight boxes` reads\n")
    table = section.partition("\n## ")[0]
    assert re.findall(r"^\| `([a-z][a-z-]*)` \|", table, re.MULTILINE) == list(READERS)
    assert {len(re.findall(r"\|", row)) for row in re.findall(r"^\|.*$", table, re.M)} == {5}


@pytest.mark.parametrize(
    ("name", "row", "format"),
    [
        ("a.tsv", "a.jpg\tcat\t10\t20\t30\t40", "csv"),
        ("a.tsv", "a.jpg\t10\t20\t30\t40\t3", "csv"),
        ("a.tsv", "a.jpg\tn01443537\t10\t20\t64\t40", "csv"),
        ("a.tsv", "a.jpg\t10\t20\t30\t40", "csv"),
        ("a.tsv", "val_0.JPEG\tn01443537\t0\t0\t63\t9", "tiny-imagenet"),
        ("a.tsv", "n01443537_0.JPEG\t10\t20\t30\t40", "tiny-imagenet"),
        ("n01443537_boxes.txt", "a.jpg\t10\t20\t30\t40", "tiny-imagenet"),
        ("n01443537_boxes.txt.gz", "a.jpg\t10\t20\t30\t40", "tiny-imagenet"),
    ],
)
def test_tiny_imagenet_is_known_by_the_names_of_wordnet(
    name: str, row: str, format: str, tmp_path: Path
) -> None:
    text = f"{row}\n{row}\nx\n".encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    assert find_annotations(tmp_path / name)[0] == format


def test_table_without_header_may_have_tabs_and_numbers_for_classes(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("a.jpg\t10\t20\t30\t40\t3\nb.jpg\t1\t2\t30\t60\t1\n")
    reading = read_boxes(tmp_path / "a.tsv", image_size_wh=(100, 80))
    assert reading.table.xywh_px.tolist() == [[10, 20, 20, 20], [1, 2, 29, 58]]
    assert reading.table.class_names == ("1", "3")


def test_list_of_jfif_images_is_no_annotation(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a.jfif\nb.JFIF\n")
    with pytest.raises(DataError, match="it is a list of images without boxes"):
        find_annotations(tmp_path / "a.txt")


_OTHERS: dict[str, tuple[Any, str]] = {
    "supervisely": (
        {"size": {"width": 9}, "objects": [{"classTitle": "a", "geometryType": "rectangle"}]},
        "it is Supervisely's own JSON. Export from Supervisely as COCO, YOLO or Pascal VOC.",
    ),
    "superannotate": (
        {"metadata": {"name": "a.jpg"}, "instances": [{"type": "bbox", "points": {"x1": 1}}]},
        "it is SuperAnnotate's own JSON. Export from SuperAnnotate as COCO.",
    ),
    "via 3": (
        {"project": {"via_fid_list": ["1"]}, "metadata": {"x": {"xy": [2, 1, 1, 5, 5]}}},
        "it is of VGG Image Annotator 3, of which 1 and 2 are read. Convert it to COCO.",
    ),
    "bdd100k": (
        [{"name": "a.jpg", "labels": [{"category": "car", "box2d": {"x1": 1}}]}],
        "it is a list with `labels` and `box2d`, as BDD100K and Scalabel have it. Convert it to "
        "COCO.",
    ),
}


@pytest.mark.parametrize(("value", "said"), _OTHERS.values(), ids=_OTHERS)
def test_json_of_other_programs_is_named(value: Any, said: str, tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", value)
    text = f"{path}: must be of a known format, but {said}"
    with pytest.raises(DataError, match=re.escape(text)):
        find_annotations(path)
    write_json(tmp_path / "b.json", value)
    with pytest.raises(DataError, match=re.escape(said)):
        find_annotations(tmp_path)


def test_the_table_of_via_3_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("# Exported using VGG Image Annotator (http://x)\n# CSV_HEADER = metadata_id\n")
    with pytest.raises(DataError, match=r"it is of VGG Image Annotator 3.*Convert it to COCO"):
        find_annotations(path)


def test_a_folder_of_json_lines_is_told_that_they_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "metadata.jsonl").write_text('{"a": 1}\n{"a": 2}\n')
    with pytest.raises(DataError, match=r"YOLO .txt\. JSON lines are not read\. Name the file or"):
        find_annotations(tmp_path)
