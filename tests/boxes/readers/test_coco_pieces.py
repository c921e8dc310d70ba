"""A file read piece by piece gives what it gives as a whole, wherever it is cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.boxes.annotation_files import make_coco, write_json
from tinysight.boxes.readers import coco, coco_pieces
from tinysight.boxes.readers.coco_annotations import AnnotationColumns, sound_columns
from tinysight.boxes.readers.coco_pieces import SoundCoco, read_in_pieces
from tinysight.boxes.reading import read_boxes
from tinysight.errors import DataError

TRAPS = st.sampled_from(
    ["cat", "}, {", '"annotations": [', '], "annotations": [', "]}", "\\", 'a "quoted" {', "é{},{"]
)
SIDES = st.floats(0, 1000, allow_nan=False)
SEGMENTATIONS = st.one_of(
    st.lists(st.lists(SIDES, max_size=4), max_size=2),
    st.fixed_dictionaries({"counts": TRAPS, "size": st.just([3, 4])}),
    st.lists(st.fixed_dictionaries({"counts": TRAPS}), max_size=3),
)
ANNOTATIONS = st.fixed_dictionaries(
    {
        "id": st.integers(0, 2**63 - 1),
        "image_id": st.integers(0, 9),
        "category_id": st.integers(0, 3),
        "bbox": st.tuples(SIDES, SIDES, SIDES, SIDES),
    },
    optional={"iscrowd": st.integers(0, 1), "segmentation": SEGMENTATIONS, "note": TRAPS},
)
IMAGES = st.fixed_dictionaries(
    {"id": st.integers(0, 9), "width": st.integers(1, 99), "height": st.just(9), "file_name": TRAPS}
)
CATEGORIES = st.fixed_dictionaries({"id": st.integers(0, 3), "name": TRAPS})


@st.composite
def coco_texts(draw: st.DrawFn) -> str:
    lists: dict[str, Any] = {"annotations": draw(st.lists(ANNOTATIONS, max_size=8))}
    if draw(st.booleans()):
        lists["images"] = draw(st.lists(IMAGES, max_size=3))
    if draw(st.booleans()):
        lists["categories"] = draw(st.lists(CATEGORIES, max_size=3))
    if draw(st.booleans()):
        lists["info"] = draw(st.one_of(TRAPS, st.just({"annotations": [{"id": 1}]})))
    names = draw(st.permutations(list(lists)))
    return json.dumps(
        {name: lists[name] for name in names},
        indent=draw(st.sampled_from([None, 0, 2])),
        separators=draw(st.sampled_from([None, (",", ":"), (" , ", " : ")])),
        ensure_ascii=draw(st.booleans()),
    )


def assert_equal(columns: AnnotationColumns, expected: AnnotationColumns) -> None:
    np.testing.assert_array_equal(columns.numbers, expected.numbers)
    for name in ("ids", "image_ids", "category_ids", "is_crowd"):
        np.testing.assert_array_equal(getattr(columns, name), getattr(expected, name))
    shown = [[(mark.kind, mark.rows.tolist()) for mark in c.marks] for c in (columns, expected)]
    assert shown[0] == shown[1]


@given(text=coco_texts(), piece_bytes=st.integers(1, 600))
def test_pieces_are_equal_to_the_whole(
    text: str, piece_bytes: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("coco") / "boxes.json"
    path.write_text(text, encoding="utf-8")
    found = read_in_pieces(path, piece_bytes)
    if found is None:
        return
    whole = msgspec.json.decode(path.read_bytes(), type=SoundCoco)
    columns, lists = found
    assert_equal(columns, sound_columns(whole.annotations))
    assert lists.images == whole.images
    assert lists.categories == whole.categories


@given(text=coco_texts(), at=st.integers(0), changed=st.sampled_from(list('{}[],":x\n 0')))
def test_a_changed_byte_is_read_as_in_the_whole_or_left_to_it(
    text: str, at: int, changed: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = bytearray(text.encode())
    data[at % len(data)] = ord(changed)
    path = tmp_path_factory.mktemp("coco") / "boxes.json"
    path.write_bytes(data)
    found = read_in_pieces(path, 40)
    if found is None:
        return
    whole = msgspec.json.decode(data, type=SoundCoco)
    assert_equal(found[0], sound_columns(whole.annotations))
    assert found[1].images == whole.images


@pytest.mark.parametrize("order", ["images first", "annotations first"])
@pytest.mark.parametrize("indent", [None, 1])
def test_an_ordinary_file_is_read_in_pieces(order: str, indent: int | None, tmp_path: Path) -> None:
    content = make_coco()
    if order == "annotations first":
        content = {"annotations": content.pop("annotations"), **content}
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(content, indent=indent))
    found = read_in_pieces(path, 150)
    assert found is not None
    assert found[0].numbers.tolist() == [list(a["bbox"]) for a in content["annotations"]]
    assert [image.file_name for image in found[1].images or ()] == [
        image["file_name"] for image in content["images"]
    ]


def test_only_what_cannot_be_read_in_pieces_is_left_to_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "boxes.json"
    text = json.dumps(make_coco())
    for case in (
        text[:-1],  # cut off
        text[: len(text) // 2],
        text + "x",
        text.replace('"annotations"', '"notes"'),
        "\ufeff" + text,
        "[" + text + "]",
        text.replace('"bbox": [', '"bbox": [1, ', 1),
        text.replace('"id": 1', f'"id": {2**70}'),
    ):
        path.write_text(case, encoding="utf-8")
        assert read_in_pieces(path, 60) is None
    path.write_text(text)
    assert read_in_pieces(path, len(text)) is None  # small enough to be read at once
    assert read_in_pieces(path, len(text) - 1) is not None
    assert read_in_pieces(path, 1) is None  # a record of many pieces


@pytest.mark.parametrize("name", ["annotations", "images", "categories"])
@pytest.mark.parametrize("piece_bytes", [60, coco_pieces.PIECE_BYTES])
def test_a_list_that_is_there_twice_is_refused(
    name: str, piece_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "boxes.json"
    content = make_coco()
    path.write_text(f'{json.dumps(content)[:-1]}, "{name}": {json.dumps(content[name])}}}')
    monkeypatch.setattr(
        coco, "read_in_pieces", lambda path: read_in_pieces(path, piece_bytes=piece_bytes)
    )
    with pytest.raises(DataError, match=f"must have the list `{name}` once, but has it 2 times"):
        read_boxes(path)


def test_keys_within_records_may_be_those_of_the_lists(tmp_path: Path) -> None:
    content = make_coco()
    content["info"] = {"images": 3, "annotations": [{"images": '"images": []'}]}
    for record in content["categories"]:
        record["images"] = record["categories"] = 7
    path = write_json(tmp_path / "boxes.json", content)
    assert read_in_pieces(path, 60) is not None
    assert read_boxes(path).boxes_read == len(content["annotations"])


def test_a_large_file_goes_through_pieces_and_gives_the_same_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = make_coco()
    for annotation in content["annotations"]:
        annotation["segmentation"] = [[1.5] * 80_000]
    path = write_json(tmp_path / "large.json", content)
    assert path.stat().st_size > coco_pieces.PIECE_BYTES
    in_pieces = read_boxes(path)
    monkeypatch.setattr(coco, "load_json", None)
    assert read_boxes(path).table.num_boxes == in_pieces.boxes_read  # the whole is not looked at
    monkeypatch.undo()
    monkeypatch.setattr(coco, "read_in_pieces", lambda path: None)
    whole = read_boxes(path)
    np.testing.assert_array_equal(whole.table.xywh_px, in_pieces.table.xywh_px)
    np.testing.assert_array_equal(whole.table.annotation_ids, in_pieces.table.annotation_ids)
    assert whole.table.image_names == in_pieces.table.image_names
    assert whole.table.class_names == in_pieces.table.class_names
