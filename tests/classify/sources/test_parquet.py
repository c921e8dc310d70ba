from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.builders import Files, encode, make_pixels, tiny_imagenet_files
from tinysight.classify.sources.index import ImageIndex, Unreadable
from tinysight.classify.sources.opening import open_source
from tinysight.errors import DataError

PNGS = [encode(make_pixels(seed)) for seed in range(12)]
IMAGE_STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def hugging_face_table(
    labels: list[int], names: list[str] | None, paths: list[str | None] | None = None
) -> pa.Table:
    paths = paths or [None] * len(labels)
    images = [
        {"bytes": png, "path": path} for png, path in zip(PNGS[: len(labels)], paths, strict=True)
    ]
    table = pa.table({"image": pa.array(images, IMAGE_STRUCT), "label": pa.array(labels)})
    if names is None:
        return table
    features = {"label": {"names": names, "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    return table.replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )


def write(path: Path, table: pa.Table, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)
    return path


def samples(index: ImageIndex) -> list[tuple[str, int]]:
    return [(image.sample_id, image.class_index) for image in index.images]


def test_hugging_face_labels_keep_their_order_and_their_names(tmp_path: Path) -> None:
    table = hugging_face_table([2, 0, 1, 2], ["zebra", "ant", "cow"], ["a", "b", "c", "d"])
    index = open_source(write(tmp_path / "train-00000-of-00001.parquet", table))
    assert index.layout == "Parquet"
    assert index.wnids == ("zebra", "ant", "cow")
    assert samples(index) == [
        ("train/cow/a", 2), ("train/zebra/b", 0), ("train/ant/c", 1), ("train/cow/d", 2),
    ]  # fmt: skip
    assert list(index.read()) == PNGS[:4]


def test_rows_without_names_or_with_equal_names_are_named_by_their_place(tmp_path: Path) -> None:
    for paths in (None, ["x", "x", "y"], ["x", "y", None]):
        table = hugging_face_table([0, 0, 1], ["ant", "cow"], paths)
        index = open_source(write(tmp_path / "p.parquet", table))
        assert [image.sample_id for image in index.images] == [
            "all/ant/p.parquet#0", "all/ant/p.parquet#1", "all/cow/p.parquet#2",
        ]  # fmt: skip


def test_numbers_with_gaps_become_contiguous_and_minus_1_has_no_label(tmp_path: Path) -> None:
    index = open_source(write(tmp_path / "p.parquet", hugging_face_table([30, 7, -1, 7], None)))
    assert index.wnids == ("7", "30")
    assert [image.class_index for image in index.images] == [1, 0, 0]
    assert index.num_unlabelled == 1
    assert list(index.read()) == [PNGS[0], PNGS[1], PNGS[3]]


def test_two_numbers_with_one_name_stay_two_classes(tmp_path: Path) -> None:
    table = hugging_face_table([0, 1, 2], ["crane", "ant", "crane"])
    index = open_source(write(tmp_path / "p.parquet", table))
    assert index.wnids == ("0 crane", "1 ant", "2 crane")


def test_files_and_folders_named_by_their_part_are_that_part(tmp_path: Path) -> None:
    table = hugging_face_table([0, 1], ["ant", "cow"])
    root = tmp_path / "data"
    write(root / "train-00000-of-00002.parquet", table)
    write(root / "train-00001-of-00002.parquet", table)
    write(root / "validation-00000-of-00001.parquet", table)
    write(root / "test" / "0000.parquet", table)
    splits = [image.original_split for image in open_source(root).images]
    assert sorted(set(splits)) == ["test", "train", "val"]
    assert splits.count("train") == 4


def test_plain_columns_with_names_of_classes_are_numbered_in_sorted_order(tmp_path: Path) -> None:
    table = pa.table(
        {
            "image": pa.array(PNGS[:3], pa.binary()),
            "label": ["dog", "cat", "dog"],
            "split": ["train", "train", "validation"],
            "file_name": ["1.png", "2.png", "3.png"],
        }
    )
    index = open_source(write(tmp_path / "pets.parquet", table))
    assert samples(index) == [
        ("train/dog/1.png", 1), ("train/cat/2.png", 0), ("val/dog/3.png", 1),
    ]  # fmt: skip


@pytest.mark.parametrize("row_group_size", [1, 4, 5, 12])
def test_rows_come_in_order_whatever_the_row_groups(tmp_path: Path, row_group_size: int) -> None:
    table = hugging_face_table([0, 1, 2] * 4, ["a", "b", "c"])
    path = write(tmp_path / "p.parquet", table, row_group_size=row_group_size)
    assert list(open_source(path).read()) == PNGS
    chosen = open_source(path, num_classes=2)
    assert list(chosen.read()) == [png for row, png in enumerate(PNGS) if row % 3 < 2]


def test_shards_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 9):
        table = hugging_face_table([0, 1], ["a", "b"], [f"{number}-0", f"{number}-1"])
        write(tmp_path / "d" / f"part-{number}.parquet", table)
    index = open_source(tmp_path / "d")
    assert [image.sample_id for image in index.images] == [
        "all/a/9-0", "all/b/9-1", "all/a/10-0", "all/b/10-1",
    ]  # fmt: skip


def test_a_row_without_bytes_is_told(tmp_path: Path) -> None:
    images = [{"bytes": PNGS[0], "path": None}, {"bytes": None, "path": "x"}]
    table = pa.table({"image": pa.array(images, IMAGE_STRUCT), "label": [0, 1]})
    index = open_source(write(tmp_path / "p.parquet", table))
    assert list(index.read()) == [PNGS[0], Unreadable("no bytes in its row")]


def tiny_table(files: Files) -> pa.Table:
    rows = []
    for file, content in files.items():
        match file.split("/"):
            case ["train", wnid, "images", name]:
                rows.append(("train", wnid, name, 0, 1, 2, 3, content))
            case ["val", "images", name]:
                rows.append(("val", "n03", name, 0, 1, 2, 3, content))
    names = ("split", "wnid", "file_name", "xmin", "ymin", "xmax", "ymax", "jpeg")
    return pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


def test_tiny_imagenet_columns_give_official_names_boxes_and_words(tmp_path: Path) -> None:
    files = tiny_imagenet_files(classes=3, per_class=2, val_per_class=0)
    write(tmp_path / "t" / "part-0.parquet", tiny_table(files))
    (tmp_path / "t" / "wnids.txt").write_bytes(files["wnids.txt"])
    (tmp_path / "t" / "words.txt").write_bytes(files["words.txt"])
    index = open_source(tmp_path / "t", num_classes=2)
    assert index.wnids == ("n01", "n03")  # the first two of the list, which is not sorted
    assert index.class_names == ("name of n01, other", "name of n03, other")
    assert index.images[0].sample_id == "train/n03/n03_0.JPEG"
    assert index.images[0].file == "train/n03/images/n03_0.JPEG"
    assert index.images[0].box_xyxy_px == (0, 1, 2, 3)


def boxed_table(kind: pa.DataType, values: list[Any]) -> pa.Table:
    """Two images, with ``values`` in the column xmin."""
    table = hugging_face_table([0, 1], ["ant", "cow"])
    for side in ("ymin", "xmax", "ymax"):
        table = table.append_column(side, pa.array([7, 7]))
    return table.append_column("xmin", pa.array(values, kind, from_pandas=False))


@pytest.mark.parametrize(
    ("kind", "values", "whole"),
    [
        (pa.uint8(), [3, None], [3, None]),
        (pa.float64(), [3.0, -0.0], [3, 0]),
        (pa.float32(), [float("nan"), 2.0**31 - 128], [None, 2**31 - 128]),
        (pa.null(), [None, None], [None, None]),
    ],
)
def test_sides_of_boxes_are_whole_numbers_or_null(
    tmp_path: Path, kind: pa.DataType, values: list[Any], whole: list[int | None]
) -> None:
    index = open_source(write(tmp_path / "p.parquet", boxed_table(kind, values)))
    boxes = [image.box_xyxy_px for image in index.images]
    assert boxes == [(side, 7, 7, 7) for side in whole]
    assert not any(isinstance(side, float) for box in boxes for side in box or ())


@pytest.mark.parametrize(
    ("kind", "value", "found"),
    [
        (pa.float64(), 0.55, "0.55"),
        (pa.float64(), float("inf"), "inf"),
        (pa.int64(), 2**31, "2147483648"),
        (pa.bool_(), True, "True"),
        (pa.string(), "12", "'12'"),
        (pa.list_(pa.int32()), list(range(100)), "[0, 1, 2, 3, 4, 5, ...]"),
    ],
)
def test_other_sides_of_boxes_are_refused_before_anything_is_decoded(
    tmp_path: Path, kind: pa.DataType, value: Any, found: str
) -> None:
    path = write(tmp_path / "p.parquet", boxed_table(kind, [None, value]))
    with pytest.raises(
        DataError,
        match=re.escape(
            f"p.parquet: xmin must hold whole pixels (32 bits) or null, row 1 has {found}. Correct "
            f"it, or drop or rename the columns of boxes (xmin, ymin, xmax, ymax)."
        ),
    ):
        open_source(path)


def test_a_wnid_that_the_class_list_lacks_is_named(tmp_path: Path) -> None:
    files = tiny_imagenet_files(classes=2)
    write(tmp_path / "t" / "part-0.parquet", tiny_table(files))
    (tmp_path / "t" / "wnids.txt").write_text("n03\n")
    with pytest.raises(DataError, match=r"column wnid must hold classes of wnids.txt, found 'n01'"):
        open_source(tmp_path / "t")


def test_shards_with_other_columns_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "d" / "a.parquet", hugging_face_table([0, 1], None))
    write(tmp_path / "d" / "b.parquet", pa.table({"image": pa.array([b""]), "x": [1]}))
    with pytest.raises(
        DataError, match=r"b.parquet: must have the columns of the other files, .* mi"
    ):
        open_source(tmp_path / "d")


@pytest.mark.parametrize("first", ["a", "b"])
def test_shards_whose_images_are_stored_in_two_ways_are_refused(tmp_path: Path, first: str) -> None:
    second = "b" if first == "a" else "a"
    struct = hugging_face_table([0, 1], None)
    plain = pa.table({"image": pa.array(PNGS[:2], pa.binary()), "label": [0, 1]})
    write(tmp_path / "d" / f"{first}.parquet", struct)
    write(tmp_path / "d" / f"{second}.parquet", plain)
    missing = "image.bytes" if first == "a" else "image"
    with pytest.raises(
        DataError,
        match=rf"b.parquet: must have the columns of the other files, each once; {missing} is "
        r"missing. Pack files of one kind at a time.",
    ):
        open_source(tmp_path / "d")


def test_a_shard_with_labels_but_no_images_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "d" / "a.parquet", hugging_face_table([0, 1], None))
    write(tmp_path / "d" / "b.parquet", pa.table({"label": [0, 1]}))
    with pytest.raises(DataError, match=r"b.parquet: .*; image.bytes is missing. Pack files of"):
        open_source(tmp_path / "d")


@pytest.mark.parametrize("name", ["words.txt", "wnids.txt"])
def test_a_list_beside_the_shards_that_is_no_utf_8_is_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "t" / "part-0.parquet", tiny_table(tiny_imagenet_files()))
    (tmp_path / "t" / name).write_bytes(b"n01\n\xff")
    for source in (tmp_path / "t", path):
        with pytest.raises(
            DataError, match=f"t: {name} must be UTF-8 text, byte 4 is not. Get the whole data"
        ):
            open_source(source)


def test_files_beside_the_shards_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "d" / "a.parquet", hugging_face_table([0, 1], None))
    for name in ("words.txt", "notes.txt", "1.png"):
        (tmp_path / "d" / name).write_bytes(b"")
    assert sorted(open_source(tmp_path / "d").ignored) == ["1.png", "notes.txt"]
    assert open_source(path).ignored == ()


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "p.parquet", hugging_face_table([0, 1], None))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(
        DataError, match=r"p.parquet: must be a whole Parquet file, .* Get the file"
    ):
        open_source(path)


def test_a_file_that_lost_rows_since_it_was_listed_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "p.parquet", hugging_face_table([0, 1] * 6, None))
    index = open_source(path)
    write(path, hugging_face_table([0, 1], None))
    with pytest.raises(
        DataError, match=r"p.parquet: must be a whole Parquet file, row 2 is missing"
    ):
        list(index.read())


def test_text_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    broken = pa.StringArray.from_buffers(
        1, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")
    )
    table = pa.table({"image": pa.array([b""], pa.binary()), "label": broken})
    with pytest.raises(DataError, match=r"p.parquet: must be a whole Parquet file, 'utf-8' codec"):
        open_source(write(tmp_path / "p.parquet", table))


def test_a_file_damaged_in_its_images_is_refused_when_they_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "p.parquet", hugging_face_table([0, 1] * 6, None), compression="zstd")
    index = open_source(path)
    data = bytearray(path.read_bytes())
    data[40:400] = bytes(360)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"p.parquet: must be a whole Parquet file"):
        list(index.read())
