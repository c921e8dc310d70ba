"""CSV with any separator into columns of text, with the rows that do not fit it."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.findings import FindingGroup, whole_file_finding
from tinysight.boxes.readers.column_roles import columns_without_header
from tinysight.boxes.readers.file_bytes import read_annotation_bytes
from tinysight.errors import DataError

if TYPE_CHECKING:
    import pyarrow

SEPARATORS = (",", ";", "\t", "|")

_BLOCK_BYTES = 2**20
_LARGEST_BLOCK_BYTES = 16 * 2**20


@dataclass(frozen=True)
class DelimitedText:
    """A CSV file as columns of text."""

    names: tuple[str, ...]
    table: pyarrow.Table
    """Every column as text; empty fields are null."""
    row_numbers: NDArray[np.int64]
    """(n,) the rows of the table as a spreadsheet counts them, the header included."""
    misfits: tuple[tuple[int, str], ...]
    """Row number and fault of each row with too few or too many fields."""
    separator: str
    notes: tuple[FindingGroup, ...] = ()


def read_delimited_text(path: Path) -> DelimitedText:
    """Read a CSV file, plain or gzipped, with comma, semicolon, tab or bar between fields.

    Raises:
        DataError: The file has no header that can be understood, or no row at all.
    """
    import pyarrow
    from pyarrow import csv as arrow_csv

    data = bytes(read_annotation_bytes(path))
    notes = []
    try:
        text_head = data[:65536].decode(errors="strict" if len(data) <= 65536 else "ignore")
        data.decode()
    except UnicodeDecodeError as error:
        message = f"text must be UTF-8, but byte {error.start:,} is not. Read as Windows-1252."
        notes.append(whole_file_finding("not_utf8", "repaired", str(path), message))
        data = data.decode("cp1252", errors="replace").encode()
        text_head = data[:65536].decode(errors="ignore")
    first = next((line for line in text_head.splitlines() if line.strip()), "")
    if not first:
        raise DataError(f"{path}: must have a row that names the columns, but it is empty.")
    separator = max(SEPARATORS, key=first.count)
    try:
        row = next(csv.reader([first], delimiter=separator))
    except csv.Error as error:
        raise DataError(f"{path}: its first row must be readable, but {error}.") from error
    names, has_header = columns_without_header([field.strip() for field in row], path)
    misfits: list[tuple[int, str]] = []

    def skip(row: arrow_csv.InvalidRow) -> str:
        found = f"{row.actual_columns} in {row.text[:40]!r}"
        misfits.append((int(row.number or 0), f"{row.expected_columns} fields, got {found}"))
        return "skip"

    unique = [f"{position}:{name}" for position, name in enumerate(names)]

    def parse(quote: str | Literal[False]) -> pyarrow.Table:
        misfits.clear()
        return arrow_csv.read_csv(
            pyarrow.BufferReader(data),
            # One thread, so that the number of a misfit row is known.
            read_options=arrow_csv.ReadOptions(
                column_names=unique,
                skip_rows_after_names=int(has_header),
                use_threads=False,
                block_size=max(_BLOCK_BYTES, min(len(data) + 1, _LARGEST_BLOCK_BYTES)),
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=separator, quote_char=quote, invalid_row_handler=skip
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(unique, pyarrow.string()),
                strings_can_be_null=True,
                null_values=[""],
                quoted_strings_can_be_null=True,
            ),
        )

    try:
        if _has_stray_quote(data):
            message = "quotes must come in pairs, but one is left over. All were read as text."
            notes.append(whole_file_finding("stray_quote", "repaired", str(path), message))
            table = parse(False)
        else:
            table = parse('"')
    except pyarrow.ArrowInvalid as error:
        said = str(error).splitlines()[0][:200]
        raise DataError(
            f"{path}: must be a table with {len(names)} columns, but: {said}. Export it again."
        ) from error
    total = table.num_rows + len(misfits)
    numbers = np.arange(1 + int(has_header), total + 1 + int(has_header), dtype=np.int64)
    if misfits:
        numbers = numbers[~np.isin(numbers, [number for number, _ in misfits])][: table.num_rows]
    return DelimitedText(tuple(names), table, numbers, tuple(misfits), separator, tuple(notes))


def _has_stray_quote(data: bytes) -> bool:
    """Whether a quote is opened and never closed, which would swallow the rest of the file."""
    return data.count(b'"') % 2 == 1
