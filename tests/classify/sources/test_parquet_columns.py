from __future__ import annotations

import json

import pyarrow as pa
import pytest

from tinysight.classify.sources.parquet_columns import check_columns, find_columns
from tinysight.errors import DataError

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
BYTES = ("jpeg", pa.binary())
LABEL = ("label", pa.int64())
LABELS = '{"info": {"features": {"label": {"names": 3}}}}'


def schema(*columns: tuple[str, pa.DataType], metadata: dict[str, str] | None = None) -> pa.Schema:
    return pa.schema(columns, metadata=metadata)


def test_the_struct_of_hugging_face_holds_image_and_name() -> None:
    columns = find_columns("p", schema(("img", IMAGE), ("fine_label", pa.int64())))
    assert (columns.image, columns.name, columns.label) == ("img.bytes", "img.path", "fine_label")
    assert (columns.split, columns.has_boxes, columns.class_names) == (None, False, ())


def test_names_of_classes_are_read_from_the_metadata() -> None:
    features = {"info": {"features": {"label": {"names": ["cat", "dog"]}}}}
    metadata = {"huggingface": json.dumps(features)}
    columns = find_columns("p", schema(("image", IMAGE), LABEL, metadata=metadata))
    assert columns.class_names == ("cat", "dog")


def image_features(*names: str) -> dict[str, str]:
    features = {name: {"_type": "Image"} for name in names}
    return {"huggingface": json.dumps({"info": {"features": features}})}


@pytest.mark.parametrize(
    ("names", "declared", "image"),
    [
        (("annotation", "image"), (), "image"),
        (("sound", "img", "mask"), ("mask",), "img"),
        (("sound", "photo"), ("photo",), "photo"),
        (("image", "img", "photo"), ("photo",), "photo"),
    ],
)
def test_of_several_structs_the_one_called_or_declared_an_image_is_taken(
    names: tuple[str, ...], declared: tuple[str, ...], image: str
) -> None:
    structs = [(name, IMAGE) for name in names]
    columns = find_columns("p", schema(*structs, LABEL, metadata=image_features(*declared)))
    assert (columns.image, columns.name) == (f"{image}.bytes", f"{image}.path")


@pytest.mark.parametrize(
    ("names", "declared"),
    [
        (("left", "right"), ()),
        (("left", "right"), ("left", "right")),
        (("image", "img"), ("image", "img")),
    ],
)
def test_several_structs_of_which_none_is_the_image_are_refused(
    names: tuple[str, ...], declared: tuple[str, ...]
) -> None:
    structs = [(name, IMAGE) for name in names]
    with pytest.raises(
        DataError,
        match=r"p: must have one column of images, or one of them called image or img, found 2 "
        rf"among {names[0]}: struct<.*>, {names[1]}: struct<.*>, label: int64. Write the images",
    ):
        find_columns("p", schema(*structs, LABEL, metadata=image_features(*declared)))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"info": {"features": {"label": 3}}}', LABELS])
def test_metadata_of_another_form_names_no_classes(text: str) -> None:
    found = schema(("image", IMAGE), LABEL, metadata={"huggingface": text})
    assert find_columns("p", found).class_names == ()


def test_the_columns_of_tiny_imagenet_are_known() -> None:
    texts = [(name, pa.string()) for name in ("split", "wnid", "file_name")]
    sides = [(name, pa.int32()) for name in ("xmin", "ymin", "xmax", "ymax")]
    columns = find_columns("p", schema(*texts, *sides, BYTES))
    assert (columns.image, columns.name, columns.label) == ("jpeg", "file_name", "wnid")
    assert (columns.split, columns.has_boxes, columns.is_tiny_imagenet) == ("split", True, True)


def test_a_split_or_name_that_is_no_text_is_left_alone() -> None:
    columns = find_columns("p", schema(BYTES, LABEL, ("split", pa.int8()), ("name", pa.int8())))
    assert (columns.split, columns.name) == (None, None)


def test_of_several_columns_of_bytes_the_one_called_image_is_taken() -> None:
    columns = find_columns("p", schema(("mask", pa.binary()), LABEL, ("image", pa.binary())))
    assert columns.image == "image"


def test_labels_may_be_dictionary_encoded_text() -> None:
    kind = pa.dictionary(pa.int32(), pa.string())
    assert find_columns("p", schema(BYTES, ("label", kind))).label == "label"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([LABEL], r"p: must have one column of image bytes, found none among label: int64. Write"),
        (
            [LABEL, BYTES, ("png", pa.binary())],
            r"one column of image bytes, or one of them called image or img, found 2 among label: ",
        ),
        (
            [BYTES],
            r"p: must have a label column, which is called wnid, label, .* or fine_label, found "
            r"none among jpeg: binary\. Rename the label column to one of these\.$",
        ),
        (
            [BYTES, ("label", pa.float32())],
            "must have whole numbers or text in its label column label, found none among jpeg: ",
        ),
    ],
)
def test_missing_columns_are_named_with_those_that_are_there(
    columns: list[tuple[str, pa.DataType]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        find_columns("p", schema(*columns))


def test_a_column_that_is_there_twice_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"p: must have the columns of .*, each once; label is there 2 times. Pack"
    ):
        check_columns("p", schema(BYTES, LABEL, LABEL), ["jpeg", "label"], image="jpeg")


def test_images_that_are_stored_as_text_are_refused() -> None:
    text = pa.struct([("bytes", pa.string())])
    with pytest.raises(
        DataError,
        match=r"p: column image.bytes must hold the bytes of images, found string. Pack files of "
        r"one kind at a time, with encoded images.",
    ):
        check_columns("p", schema(("image", text), LABEL), ["image.bytes"], image="image.bytes")
