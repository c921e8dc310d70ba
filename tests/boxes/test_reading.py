from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.boxes.annotation_files import (
    make_coco,
    make_cvat,
    make_labelme,
    make_labelme_shape,
    write_json,
)
from tests.real_data import real_file
from tinysight.boxes.policies import POLICIES
from tinysight.boxes.reading import read_boxes
from tinysight.errors import DataError


def test_sound_file_is_read_as_it_stands(tmp_path: Path) -> None:
    coco = make_coco()
    reading = read_boxes(write_json(tmp_path / "a.json", coco))
    table = reading.table
    assert (reading.format, str(reading.box_order), reading.images) == ("coco", "xywh", 2)
    assert table.xywh_px.tolist() == [a["bbox"] for a in coco["annotations"]]
    assert table.annotation_ids.tolist() == [100, 101, 102, 103, 104]
    assert [table.image_names[i] for i in table.image_index] == ["a.jpg"] * 3 + ["b.jpg"] * 2
    assert [table.class_names[i] for i in table.class_index] == ["dog", "cat", "dog", "cat", "dog"]
    assert table.category_ids == (1, 2)
    assert table.image_wh_px.tolist() == [[100, 80], [100, 80]]


@pytest.mark.parametrize(
    ("name", "boxes", "images", "classes"),
    [
        ("coco-val2017/instances_val2017_boxes.json.gz", 36_781, 5_000, 80),
        ("voc2007/voc2007_trainval_boxes.json.gz", 15_662, 5_011, 20),
        ("voc2007/voc2007_test_boxes.json.gz", 14_976, 4_952, 20),
    ],
)
def test_real_files_equal_a_plain_join_of_their_json(
    name: str, boxes: int, images: int, classes: int
) -> None:
    path = real_file(name)
    reading = read_boxes(path)
    assert (reading.boxes_read, reading.accepted, len(reading.findings)) == (boxes, boxes, 0)
    assert (reading.images, reading.table.num_classes) == (images, classes)
    with gzip.open(path) as file:
        plain = json.load(file)
    file_names = {image["id"]: image["file_name"] for image in plain["images"]}
    sizes = {image["id"]: (image["width"], image["height"]) for image in plain["images"]}
    class_names = {category["id"]: category["name"] for category in plain["categories"]}
    table = reading.table
    for row in range(0, boxes, 97):
        annotation = plain["annotations"][row]
        image = table.image_index[row]
        assert table.annotation_ids[row] == annotation["id"]
        assert table.xywh_px[row].tolist() == annotation["bbox"]
        assert table.image_names[image] == file_names[annotation["image_id"]]
        assert tuple(table.image_wh_px[image]) == sizes[annotation["image_id"]]
        assert table.class_names[table.class_index[row]] == class_names[annotation["category_id"]]


def test_several_files_are_one_table_with_classes_by_name(tmp_path: Path) -> None:
    first = write_json(tmp_path / "a.json", make_coco())
    other = make_coco(categories=[{"id": 1, "name": "cat"}, {"id": 2, "name": "bird"}])
    other["images"][1]["file_name"] = "c.jpg"
    second = write_json(tmp_path / "b.json", other)
    reading = read_boxes([first, second])
    table = reading.table
    assert (reading.boxes_read, table.num_boxes) == (10, 10)
    # a.jpg of the same size is in both files; b.jpg and c.jpg in one each.
    assert table.image_names == ("a.jpg", "b.jpg", "c.jpg")
    assert table.class_names == ("dog", "cat", "bird")
    assert [table.class_names[i] for i in table.class_index[5:7]] == ["cat", "bird"]


ROWS = "id: 0, height: 330, width: 1093, bbox:[69, 464, 312, 175],\n" * 30
NAMELESS = {
    "plain-rows": (ROWS, 30),
    "csv": ("class,x,y,width,height,image_width,image_height\ndog,1,2,3,4,50,60\n", 1),
    "csv of a row without": (
        "image,class,x,y,width,height,image_width,image_height\n,dog,1,2,3,4,50,60\n",
        0,
    ),
    "via": ('{"a": {"regions": [], "size": 1}, "b": {"regions": [], "filename": "b.jpg"}}', 1),
    "createml": ('[{"annotations": []}, {"image": "b.jpg", "annotations": []}]', 1),
    "cvat": ('<annotations><image id="1"/><image name="b.jpg"/></annotations>', 1),
    "coco": ('{"images": [{"id": 1, "width": 5, "height": 5}], "annotations": []}', 1),
    "wider-face": ("0 0 9 9\n", 1),
}


@pytest.mark.parametrize("kind", NAMELESS)
def test_images_without_a_name_are_not_those_of_another_file(kind: str, tmp_path: Path) -> None:
    text, num_nameless = NAMELESS[kind]
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_text(text)
    format = kind.split()[0]
    alone = read_boxes(paths[0], format=format).images
    assert read_boxes(paths, format=format).images == alone + num_nameless


def test_files_of_different_formats_are_read_together(tmp_path: Path) -> None:
    coco = write_json(tmp_path / "a.json", make_coco())
    table = tmp_path / "b.csv"
    table.write_text("image,class,x,y,width,height\nz.jpg,dog,1,2,3,4\n")
    reading = read_boxes([coco, table], image_size_wh=(50, 50))
    assert reading.format == "coco, csv"
    assert reading.table.num_boxes == 6
    assert reading.table.annotation_ids.dtype.kind == "i"


def test_detections_as_a_bare_list_make_images_of_their_ids(tmp_path: Path) -> None:
    path = write_json(tmp_path / "results.json", make_coco()["annotations"])
    reading = read_boxes(path)
    assert (reading.boxes_read, reading.table.num_boxes) == (5, 5)
    assert reading.table.image_names == ("(image 7)", "(image 9)")
    assert {count.kind for count in reading.findings.by_kind()} == {
        "no_images_list",
        "no_categories_list",
    }


def test_ids_with_leading_zeros_join_numbers_but_not_where_that_is_ambiguous(
    tmp_path: Path,
) -> None:
    coco = make_coco()
    coco["annotations"][0]["image_id"] = "0007"
    assert read_boxes(write_json(tmp_path / "a.json", coco)).table.num_boxes == 5
    coco["images"].append({"id": "07", "width": 9, "height": 9, "file_name": "c.jpg"})
    reading = read_boxes(write_json(tmp_path / "a.json", coco))
    assert [count.kind for count in reading.findings.by_kind()] == ["unknown_image"]


def test_repeated_categories_are_merged_and_conflicting_ones_told(tmp_path: Path) -> None:
    coco = make_coco()
    coco["categories"] += [{"id": 1, "name": "dog"}, {"id": 2, "name": "bird"}]
    reading = read_boxes(write_json(tmp_path / "a.json", coco))
    assert reading.table.class_names == ("dog", "cat")
    found = {count.kind: str(count.examples[0]) for count in reading.findings.by_kind()}
    assert set(found) == {"repeated_category", "conflicting_category"}
    assert (
        "categories[3]: the id of a category must be its own, but 2 is 'bird' here and 'cat'"
        in (found["conflicting_category"])
    )


FAULTS: dict[str, tuple[bytes | None, str]] = {
    "missing.json": (None, "must be a file or folder of box annotations, found: No such file"),
    "empty.json": (b"", "must hold box annotations, but it is empty."),
    "blank.txt": (b" \n\n", "must hold box annotations, but it is empty."),
    "cut.json": (
        b'{"images": [],\n "annotations": [{"id": 1}, {"id": 2, "bbox": [1, 2',
        "must be whole JSON, but the file ends early, at line 2, column 52 (byte 66), in "
        "annotations[1].bbox[1], after ",
    ),
    "cut-at-line.json": (
        b'{"images": [],\n',
        ", after '{\"images\": [],'. Copy or download it again.",
    ),
    "comma.json": (
        b'{"images": [],\n "annotations": [{"id": 1} {"id": 2}]}',
        "must be JSON, but expected ',' or ']' at line 2, column 28 (byte 42), in annotations[0]",
    ),
    "dict.json": (
        b"{'images': []}",
        "It looks like a printed Python dict: write it with json.dump",
    ),
    "deep.json": (b"[" * 200_000, "must be JSON nested at most 1000 deep"),
    "deeper.json": (b'{"info": ' + b"[" * 200_000, "must be JSON nested at most 1000 deep"),
    "notcoco.json": (b'{"a": 1}', "must have the list `annotations` of a COCO file, but has none."),
    "images.json": (b'{"images": []}', "but has only a list of images."),
    "wrong.json": (
        b'{"annotations": {"a": 1}}',
        "annotations: must be what the format has there, but: Expected array",
    ),
    "zip.json": (b"PK\x03\x04abc", "but it is a zip archive. Unpack it"),
    "gz.json.gz": (gzip.compress(b'{"annotations": []}')[:-9], "is cut off after"),
    "gz2.json.gz": (b"\x1f\x8b\x08\x00" + b"\xff" * 60, "must be a sound gzip file, but"),
    "bomb.json.gz": (gzip.compress(b'{"annotations": [' + b"1," * (40 * 2**20)), "as filler does"),
    "binary.dat": (b"\x7fELF\x00\x01\x02", "must be of a known format, but it is a binary file."),
    "image.png": (
        b"\x89PNG\r\n\x1a\n\0\0",
        "must hold box annotations, but it is an image. Name the file or folder of the "
        "annotations, and that of the images with --images.",
    ),
    "words.txt": (b"hello world\n", "must be of a known format, but its first line is 'hello"),
    "numbers.txt": (
        b"682 140 83 39\n",
        "A table of boxes needs a first line that names its columns, such as "
        "image,class,xmin,ymin,xmax,ymax, and commas between them.",
    ),
    "list.txt": (b"a.jpg\nb/c.png\n", "it is a list of images without boxes."),
    "cut.xml": (b"<annotation><object>", "must be sound XML, but line 1, column 21: no element"),
    "html.xml": (b"<html></html>", "must be a Pascal VOC <annotation>, got <html>."),
    "bomb.xml": (
        b"<!DOCTYPE a [<!ENTITY b 'x'>]><annotation>&b;</annotation>",
        "but it declares a document type. Remove the DOCTYPE.",
    ),
    "deep.xml": (b"<annotation>" * 500, "must be nested at most 100 deep"),
    "cut.parquet": (b"PAR1abc", "must be a sound Parquet file, but:"),
    "names.csv": (b"a,b,c\n1,2,3\n", "must have four columns of a box, such as xmin, ymin"),
    "noheader.csv": (b"1,2,3,4,5\n", "the first row must name the columns"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_file_that_cannot_be_read_is_refused_with_one_message(name: str, tmp_path: Path) -> None:
    data, text = FAULTS[name]
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(DataError, match=re.escape(text)) as fault:
        read_boxes(path)
    assert str(fault.value).startswith(str(path))
    assert len(str(fault.value)) < 500


def test_ten_gigabytes_of_brackets_are_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "brackets.json"
    with path.open("wb") as file:
        file.write(b"[" * 100_000)
        file.truncate(10 * 2**30)  # a sparse file, which takes no room
    with pytest.raises(DataError, match="must be JSON nested at most 1000 deep"):
        read_boxes(path)
    with path.open("r+b") as file:
        file.write(b'{"annotations": [1, 2,')
    text = "must be JSON nested|must have at most 8 GiB, got 10.0 GiB. Split it into files"
    with pytest.raises(DataError, match=text):
        read_boxes(path, format="coco")


def test_loop_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(DataError, match="must be a file or folder of box annotations, found: "):
        read_boxes(tmp_path / "a")


def test_loop_of_links_below_a_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    write_json(tmp_path / "a.json", make_coco())
    assert read_boxes(tmp_path).accepted == 5


def test_folder_without_annotations_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("hello")
    text = "must hold box annotations, but of its 1 file none is one"
    with pytest.raises(DataError, match=text):
        read_boxes(tmp_path)


def test_folder_with_several_annotation_files_is_asked_about(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", make_coco())
    write_json(tmp_path / "b.json", make_coco())
    with pytest.raises(DataError, match=r"it holds a\.json, b\.json\. Name the file"):
        read_boxes(tmp_path)


def test_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="must be a plain file of box annotations"):
        read_boxes(tmp_path / "pipe")


def test_words_that_are_no_choice_are_refused(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", make_coco())
    with pytest.raises(DataError, match=r"`policy` must be one of keep, clip, drop, strict, got"):
        read_boxes(path, policy="cut")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"`format` must be one of coco, yolo, .* got 'cocoa'"):
        read_boxes(path, format="cocoa")
    with pytest.raises(DataError, match="must be a folder with the images, but there is none"):
        read_boxes(path, images_dir=tmp_path / "no")
    with pytest.raises(DataError, match="`image_size_wh` must be a width and a height > 0"):
        read_boxes(path, image_size_wh=(0, 5))
    with pytest.raises(DataError, match="Annotation files must be named, got none"):
        read_boxes([])
    with pytest.raises(DataError, match="must be named once, but"):
        read_boxes([path, tmp_path / "." / "a.json"])


def test_file_without_boxes_is_a_finding_and_a_fault_under_strict(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", make_coco(annotations=[]))
    reading = read_boxes(path)
    assert (reading.images, reading.boxes_read) == (2, 0)
    assert [finding.kind for finding in reading.findings] == ["no_boxes"]
    with pytest.raises(DataError, match="annotations must have boxes, but there is none"):
        read_boxes(path, policy="strict")


def test_reading_twice_gives_the_same_bits(tmp_path: Path) -> None:
    path = real_file("sample_coco.txt")
    first, second = read_boxes(path).table, read_boxes(path).table
    assert first.xywh_px.tobytes() == second.xywh_px.tobytes()
    assert first.class_index.tobytes() == second.class_index.tobytes()


def test_rows_that_name_no_image_say_so_together_with_files_that_do(tmp_path: Path) -> None:
    rows, listed = tmp_path / "rows.txt", tmp_path / "a.csv"
    rows.write_text("id: 0, height: 30, width: 93, bbox:[60, 5, 30, 20],\n" * 40)
    listed.write_text("image,xmin,ymin,xmax,ymax,class\na.jpg,1,2,4,6,dog\n")
    readings = [read_boxes(files) for files in (rows, listed, [rows, listed])]
    assert [reading.are_images_named for reading in readings] == [False, True, False]
    assert [reading.images_in_words for reading in readings] == [
        "images without a name",
        "1 image",
        "images without a name",
    ]


odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.one_of(st.integers(), st.floats(), st.text(max_size=3), st.none()), max_size=5),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
numbers = st.one_of(st.integers(-50, 150), st.floats(-50, 150), odd)
annotation = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            "id": st.one_of(st.integers(0, 5), odd),
            "image_id": st.one_of(st.sampled_from([7, 9, "7", "9", 7.0]), odd),
            "category_id": st.one_of(st.sampled_from([1, 2, "1"]), odd),
            "bbox": st.one_of(st.lists(numbers, min_size=4, max_size=4), odd),
            "iscrowd": odd,
        },
    ),
    odd,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    annotations=st.lists(annotation, max_size=12),
    images=st.one_of(st.none(), st.lists(odd, max_size=3)),
    policy=st.sampled_from(["keep", "clip", "drop"]),
)
def test_every_record_of_any_json_is_accepted_repaired_or_rejected(
    annotations: list[Any], images: list[Any] | None, policy: Any, tmp_path: Path
) -> None:
    coco = make_coco(annotations=annotations)
    if images is not None:
        coco["images"] += images
    reading = read_boxes(write_json(tmp_path / "a.json", coco), policy=policy)
    assert reading.boxes_read == len(annotations)
    assert reading.accepted + reading.repaired + reading.rejected == len(annotations)
    rejected = {f.record for f in reading.findings if f.action == "rejected"}
    records = {record for record in rejected if record.startswith("annotations[")}
    assert len(records) == reading.rejected
    table = reading.table
    if policy == "clip" and table.num_boxes:
        ends = table.xywh_px[:, :2] + table.xywh_px[:, 2:]
        limit = table.image_wh_px[table.image_index]
        assert (np.isnan(limit) | (ends <= limit + 0.05)).all()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    at=st.integers(0, 2000),
    to=st.integers(0, 2000),
    insert=st.binary(max_size=6),
    policy=st.sampled_from(POLICIES),
)
def test_damaged_bytes_are_read_or_refused(
    at: int, to: int, insert: bytes, policy: Any, tmp_path: Path
) -> None:
    data = json.dumps(make_coco()).encode()
    path = tmp_path / "a.json"
    path.write_bytes(data[:at] + insert + data[max(at, to) :])
    try:
        reading = read_boxes(path, policy=policy)
    except DataError as refusal:
        text = str(refusal)
    else:
        kept = reading.accepted + reading.repaired
        assert kept + reading.rejected == reading.boxes_read
        assert kept == reading.table.num_boxes
        text = reading.files[0]
    assert text.startswith(str(path))


UNNAMED = {
    "a.json": make_labelme([make_labelme_shape("rectangle", [[1, 2], [30, 40]], label=None)]),
    "b.json": [{"image": "a.jpg", "annotations": [{"coordinates": {}}]}],
    "c.json": {"a": {"filename": "a.jpg", "regions": [{"region_attributes": {}}]}},
    "a.xml": "<annotation><object><bndbox><xmin>1</xmin></bndbox></object></annotation>",
    "b.xml": make_cvat('<image name="a.jpg"><box xtl="1"/></image>'),
}


@pytest.mark.parametrize("name", UNNAMED)
def test_class_of_records_without_one_is_none_of_the_source(name: str, tmp_path: Path) -> None:
    content = UNNAMED[name]
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / name).write_text(text)
    reading = read_boxes(tmp_path / name)
    assert (reading.boxes_read, reading.rejected) == (1, 1)
    assert [name for name in reading.table.class_names if name.startswith("(")] == []


def test_file_that_two_paths_lead_to_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    file = write_json(folder / "a.json", make_labelme())
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    for other in (folder, file, tmp_path / "link"):
        with pytest.raises(DataError, match=r"a\.json: must be read once, but two of the paths"):
            read_boxes([tmp_path / "a", other])


def test_links_within_one_of_two_folders_are_followed_as_in_one(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "own").mkdir(parents=True)
        write_json(tmp_path / name / "own" / "a.json", make_labelme(imagePath=f"{name}.jpg"))
    (tmp_path / "a" / "link").symlink_to(tmp_path / "a" / "own", target_is_directory=True)
    alone = read_boxes(tmp_path / "a").boxes_read
    assert read_boxes([tmp_path / "a", tmp_path / "b"]).boxes_read == alone + 1


def test_images_of_one_name_in_two_files_are_put_together_and_told(tmp_path: Path) -> None:
    first = write_json(tmp_path / "a.json", make_coco())
    coco = make_coco()
    coco["images"][0]["file_name"] = "c.jpg"
    second = write_json(tmp_path / "b.json", coco)
    reading = read_boxes([first, second])
    assert (reading.images, reading.accepted) == (3, 10)
    (finding,) = reading.findings
    assert (finding.kind, finding.action) == ("image_in_two_files", "accepted")
    assert str(finding) == (
        f"{second}: images of one name and size in two files are one, and 1 image here, the first "
        f"b.jpg, is in an earlier file too. Their boxes were put together; rename the images if "
        f"they are different ones."
    )
