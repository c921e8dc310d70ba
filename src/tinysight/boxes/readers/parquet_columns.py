"""The columns of a Parquet file that are read, as plain values and lists of numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tinysight.boxes.readers.column_roles import ColumnRoles, find_columns
from tinysight.boxes.readers.file_bytes import check_file
from tinysight.errors import DataError

if TYPE_CHECKING:
    import pyarrow

_LONGEST_SHOWN = 60  # characters of a type in a message


def read_parquet_columns(
    path: Path,
) -> tuple[ColumnRoles, dict[str, pyarrow.ChunkedArray], int]:
    """Return which column is what, those columns by name, and the number of rows.

    Raises:
        DataError: The file is no sound Parquet file, the columns of a box cannot be found, or one
            that is needed holds lists or columns where a row must have one value, or that of the
            image its bytes alone.
    """
    import pyarrow
    from pyarrow import compute, parquet

    check_file(path)
    try:
        file = parquet.ParquetFile(path)
        schema = file.schema_arrow
        roles = _find_columns(schema, path)
        _check_types(schema, roles, path)
        # Of an image as the Hugging Face hub writes it, {bytes, path}, the bytes stay unread.
        structs = {name for name in roles.used if _is_struct(schema.field(name).type)}
        table = file.read(
            columns=[f"{name}.path" if name in structs else name for name in roles.used]
        )
    except (pyarrow.ArrowException, OSError) as error:
        said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise DataError(
            f"{path}: must be a sound Parquet file, but: {said}. Write or copy it again."
        ) from error
    columns = {name: table.column(name) for name in roles.used}
    columns |= {name: compute.struct_field(columns[name], "path") for name in structs}
    return roles, columns, table.num_rows


def _find_columns(schema: pyarrow.Schema, path: Path) -> ColumnRoles:
    """Return which column is what; of the image one that names it, where there is one."""
    roles = find_columns(schema.names, path)
    if roles.image is None or _is_name(schema.field(roles.image).type):
        return roles
    fit = [field.name for field in schema if field.name in roles.box or _is_name(field.type)]
    return replace(roles, image=find_columns(fit, path).image or roles.image)


def _check_types(schema: pyarrow.Schema, roles: ColumnRoles, path: Path) -> None:
    """Refuse a column of lists or of columns where a row must have one value, and bare bytes."""
    from pyarrow import types

    for name in roles.used:
        found = schema.field(name).type
        mend = "Write one row for each box, or leave the column out."
        must, is_fit = "one value", not _is_nested(found)
        if roles.box == (name,):
            is_list = types.is_list(found) or types.is_large_list(found)
            is_list = is_list or types.is_fixed_size_list(found)
            must = "a list of four numbers"
            is_fit = is_fit or (is_list and not _is_nested(found.value_type))
        elif name == roles.image:
            must, is_fit = "a name, or {bytes, path}", _is_name(found)
            if _is_bytes(found):
                mend = "Add a column file_name with the name of each image as text."
        if not is_fit:
            raise DataError(
                f"{path}: in the column {name} a row must have {must}, but the column is "
                f"{_shown(found)}. {mend}"
            )


def _is_name(found: pyarrow.DataType) -> bool:
    """Whether a column names images: one value a row that is no bytes, or {bytes, path}."""
    if _is_struct(found) and found.get_field_index("path") >= 0:
        found = found.field("path").type
    return not _is_nested(found) and not _is_bytes(found)


def _is_bytes(found: pyarrow.DataType) -> bool:
    from pyarrow import types

    found = found.value_type if types.is_dictionary(found) else found
    return bool(
        types.is_binary(found) or types.is_large_binary(found) or types.is_fixed_size_binary(found)
    )


def _is_nested(found: pyarrow.DataType) -> bool:
    from pyarrow import types

    return bool(types.is_nested(found))


def _is_struct(found: pyarrow.DataType) -> bool:
    from pyarrow import types

    return bool(types.is_struct(found))


def _shown(found: pyarrow.DataType) -> str:
    text = str(found)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
