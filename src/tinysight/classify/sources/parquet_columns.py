"""Which column of a Parquet file holds the images, the labels, the names and the parts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from tinysight.errors import DataError

IMAGE_COLUMNS = ("image", "img")
_ONE_CALLED = f"one of them called {' or '.join(IMAGE_COLUMNS)}"
LABEL_COLUMNS = (
    "wnid", "label", "labels", "class", "class_name", "category", "target", "fine_label",
)  # fmt: skip
NAME_COLUMNS = ("file_name", "filename", "name", "path")
SPLIT_COLUMN = "split"
BOX_COLUMNS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class Columns:
    """Which column says what; a field of a struct is written ``struct.field``."""

    image: str
    label: str
    name: str | None
    split: str | None
    has_boxes: bool
    is_tiny_imagenet: bool
    """Has the split, wnid and file name that the official layout is made of."""
    class_names: tuple[str, ...]
    """Of the numbers in the label column, where the metadata has them."""


def find_columns(file: str, schema: pa.Schema) -> Columns:
    """Return which column says what.

    Args:
        file: Name of the file, for messages.
        schema: The columns and metadata of the file.

    Raises:
        DataError: No column or several columns of image bytes, or no label column.
    """
    image, name = _image_in_struct(file, schema) or _image_column(file, schema)
    label = next((column for column in LABEL_COLUMNS if column in schema.names), None)
    if label is None:
        wanted = f"a label column, which is called {', '.join(LABEL_COLUMNS[:-1])} or "
        raise _fault(
            file,
            schema,
            f"{wanted}{LABEL_COLUMNS[-1]}",
            0,
            advice="Rename the label column to one of these.",
        )
    if not _is_text(schema, label) and not pa.types.is_integer(schema.field(label).type):
        raise _fault(file, schema, f"whole numbers or text in its label column {label}", 0)
    return Columns(
        image=image,
        label=label,
        name=name,
        split=SPLIT_COLUMN if _is_text(schema, SPLIT_COLUMN) else None,
        has_boxes=set(BOX_COLUMNS) <= set(schema.names),
        is_tiny_imagenet=all(_is_text(schema, name) for name in ("split", "wnid", "file_name")),
        class_names=_class_names(schema, label),
    )


def has_image_column(schema: pa.Schema) -> bool:
    """Return whether a file has a column that may hold images."""
    return any(_is_bytes(field.type) or _has_bytes(field.type) for field in schema)


def check_columns(file: str, schema: pa.Schema, paths: Sequence[str], *, image: str) -> None:
    """Check that one of several files can be read by the columns that were found in the first.

    Args:
        file: Name of the file, for messages.
        schema: Its columns.
        paths: The columns that will be read; a field of a struct is written ``struct.field``.
        image: The one among them that holds the images.

    Raises:
        DataError: A column is missing or there twice, or the images are not stored as bytes.
    """
    flat = schema.empty_table().flatten().schema
    for path in paths:
        if (times := flat.names.count(path)) != 1:
            found = f"there {times} times" if times else "missing"
            raise DataError(
                f"{file}: must have the columns of the other files, each once; {path} is {found}. "
                f"Pack files of one kind at a time."
            )
    kind = flat.field(image).type
    if not _is_bytes(kind):
        raise DataError(
            f"{file}: column {image} must hold the bytes of images, found {kind}. "
            f"Pack files of one kind at a time, with encoded images."
        )


def _image_in_struct(file: str, schema: pa.Schema) -> tuple[str, str | None] | None:
    """Return the fields of the struct that Hugging Face's ``datasets`` stores an image as."""
    structs = [field for field in schema if _has_bytes(field.type)]
    if not structs:
        return None
    field = structs[0] if len(structs) == 1 else _image_among(file, schema, structs)
    has_path = field.type.get_field_index("path") >= 0
    return f"{field.name}.bytes", f"{field.name}.path" if has_path else None


def _image_among(file: str, schema: pa.Schema, structs: Sequence[pa.Field]) -> pa.Field:
    """Return the struct of the image where others hold a mask, a second view or sound."""
    named = [field for field in structs if field.name in IMAGE_COLUMNS]
    declared = [field for field in structs if _feature(schema, field.name).get("_type") == "Image"]
    for candidates in (named, declared):
        if len(candidates) == 1:
            return candidates[0]
    raise _fault(file, schema, f"one column of images, or {_ONE_CALLED}", len(structs))


def _image_column(file: str, schema: pa.Schema) -> tuple[str, str | None]:
    binary = [field.name for field in schema if _is_bytes(field.type)]
    named = [name for name in binary if name in IMAGE_COLUMNS]
    image = binary if len(binary) == 1 else named
    if len(image) != 1:
        wanted = "one column of image bytes" + (f", or {_ONE_CALLED}" if binary else "")
        raise _fault(file, schema, wanted, len(binary))
    return image[0], next((column for column in NAME_COLUMNS if _is_text(schema, column)), None)


def _has_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_text(schema: pa.Schema, column: str) -> bool:
    if column not in schema.names:
        return False
    kind = schema.field(column).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _feature(schema: pa.Schema, column: str) -> Mapping[str, Any]:
    """Return what Hugging Face's ``datasets`` stores about a column, nothing if it does not."""
    try:
        feature = json.loads(schema.metadata[b"huggingface"])["info"]["features"][column]
    except (KeyError, TypeError, ValueError):
        return {}
    return feature if isinstance(feature, dict) else {}


def _class_names(schema: pa.Schema, label: str) -> tuple[str, ...]:
    """Return the names that Hugging Face's ``datasets`` stores with a ``ClassLabel`` column."""
    names = _feature(schema, label).get("names")
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _fault(
    file: str,
    schema: pa.Schema,
    wanted: str,
    num_found: int,
    *,
    advice: str = "Write the images with such a column.",
) -> DataError:
    columns = ", ".join(f"{field.name}: {field.type}" for field in schema)
    return DataError(
        f"{file}: must have {wanted}, found {num_found or 'none'} among {columns}. {advice}"
    )
