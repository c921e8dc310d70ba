"""CSV with any separator into columns of text, with the rows that do not fit it."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
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


_LINE_BREAK = re.compile(r"[\r\n]")
# What Excel writes and reads as the first line of a file.
_SEPARATOR_LINE = re.compile(r"[ \t\r\n]*\"?sep=([,;\t|])\"?[ \t]*(?:\r\n?|\n|\Z)", re.IGNORECASE)
_BLANK_START = re.compile(rb"\s*[\r\n]")
_BLANK_INSIDE = re.compile(rb"\n\r?\n|\r\r")


@dataclass(frozen=True)
class DelimitedText:
    """A CSV file as columns of text."""

    names: tuple[str, ...]
    table: pyarrow.Table
    """Every column as text; empty fields are null."""
    row_numbers: NDArray[np.int64]
    """(n,) the rows of the table as a spreadsheet counts them, header and blank ones included."""
    misfits: tuple[tuple[int, str], ...]
    """Row number and fault of each row with too few or too many fields."""
    separator: str
    has_header: bool
    """Whether the first row names the columns; else they are known by their places."""
    notes: tuple[FindingGroup, ...] = ()


@dataclass(frozen=True)
class _Parsed:
    """What Arrow makes of the bytes; rows are counted from 1 without the blank ones."""

    table: pyarrow.Table
    misfits: tuple[tuple[int, str], ...]
    has_line_breaks: bool
    """Whether a field holds a line break, as only one in quotes can."""
    are_quotes_read: bool

    @property
    def num_rows(self) -> int:
        return int(self.table.num_rows) + len(self.misfits)


def read_delimited_text(path: Path) -> DelimitedText:
    """Read a CSV file, plain or gzipped, with comma, semicolon, tab or bar between fields.

    Raises:
        DataError: The file has no header that can be understood, or no row at all.
    """
    import pyarrow

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
    stated = _SEPARATOR_LINE.match(text_head)
    num_skipped = len(stated[0].splitlines()) if stated else 0
    if stated is not None:
        text_head = text_head[stated.end() :]
        data = data[stated.end() :]  # the line is ASCII
    blank = _BLANK_START.match(data)
    num_skipped += len(blank[0].splitlines()) if blank else 0
    data = data[blank.end() if blank else 0 :]
    first = next((line for line in text_head.splitlines() if line.strip()), "")
    if not first:
        raise DataError(f"{path}: must have a row that names the columns, but it is empty.")
    separator = stated[1] if stated else max(SEPARATORS, key=first.count)
    try:
        row = next(csv.reader([first], delimiter=separator))
    except csv.Error as error:
        raise DataError(f"{path}: its first row must be readable, but {error}.") from error
    names, has_header = columns_without_header([field.strip() for field in row], path)

    def parse(quote: str | Literal[False]) -> _Parsed:
        return _parse(data, names, separator, quote, skip_rows=int(has_header))

    try:
        parsed = parse(False if _has_stray_quote(data) else '"')
        if parsed.has_line_breaks:
            # A stray quote ends at the next one, and the rows between them are one field. Read as
            # text they are rows again, while the lines of a field that has several are none.
            as_text = parse(False)
            if as_text.table.num_rows > parsed.table.num_rows:
                parsed = as_text
    except pyarrow.ArrowInvalid as error:
        said = str(error).splitlines()[0][:200]
        raise DataError(
            f"{path}: must be a table with {len(names)} columns, but: {said}. Export it again."
        ) from error
    if not parsed.are_quotes_read:
        message = "quotes must stand around a field, but one is left over. All were read as text."
        notes.append(whole_file_finding("stray_quote", "repaired", str(path), message))
    elif parsed.has_line_breaks:
        message = "a field must be on one line, but one in quotes has several. Read as one field."
        notes.append(whole_file_finding("line_break_in_field", "accepted", str(path), message))
    rows = num_skipped + _filled_rows(data, parsed.are_quotes_read, parsed.num_rows + has_header)
    is_misfit = np.zeros(len(rows), np.bool_)
    is_misfit[[number - 1 for number, _ in parsed.misfits]] = True
    return DelimitedText(
        names=tuple(names),
        table=parsed.table,
        row_numbers=rows[int(has_header) :][~is_misfit[int(has_header) :]],
        misfits=tuple((int(rows[number - 1]), fault) for number, fault in parsed.misfits),
        separator=separator,
        has_header=has_header,
        notes=tuple(notes),
    )


def _parse(
    data: bytes,
    names: Sequence[str],
    separator: str,
    quote: str | Literal[False],
    *,
    skip_rows: int,
) -> _Parsed:
    import pyarrow
    from pyarrow import csv as arrow_csv

    unique = [f"{position}:{name}" for position, name in enumerate(names)]
    misfits: list[tuple[int, str]] = []
    num_broken = 0

    def skip(row: arrow_csv.InvalidRow) -> str:
        nonlocal num_broken
        num_broken += _LINE_BREAK.search(row.text) is not None
        found = f"{row.actual_columns} in {row.text[:40]!r}"
        misfits.append((int(row.number or 0), f"{row.expected_columns} fields, got {found}"))
        return "skip"

    table = arrow_csv.read_csv(
        pyarrow.BufferReader(data),
        # One thread, so that the number of a misfit row is known.
        read_options=arrow_csv.ReadOptions(
            column_names=unique,
            skip_rows_after_names=skip_rows,
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
    has_line_breaks = quote is not False and (num_broken > 0 or _has_line_breaks(table))
    return _Parsed(table, tuple(misfits), has_line_breaks, quote is not False)


def _has_stray_quote(data: bytes) -> bool:
    """Whether a quote is opened and never closed, which would swallow the rest of the file."""
    return data.count(b'"') % 2 == 1


def _has_line_breaks(table: pyarrow.Table) -> bool:
    from pyarrow import compute

    return any(
        compute.any(compute.match_substring_regex(column, _LINE_BREAK.pattern)).as_py()
        for column in table.columns
    )


def _filled_rows(data: bytes, are_quotes_read: bool, num_filled: int) -> NDArray[np.int64]:
    """Return the numbers of the rows that are not blank, counted from 1 with those that are."""
    if _BLANK_INSIDE.search(data) is None:
        return np.arange(1, num_filled + 1, dtype=np.int64)
    codes = np.frombuffer(data, np.uint8)
    is_end = codes == ord("\n")
    is_end[:-1] |= (codes[:-1] == ord("\r")) & ~is_end[1:]
    ends = np.flatnonzero(is_end)
    if are_quotes_read:
        ends = ends[np.searchsorted(np.flatnonzero(codes == ord('"')), ends) % 2 == 0]
    starts = np.concatenate([[0], ends + 1])
    stops = np.append(ends, len(codes))
    is_return = codes[np.minimum(starts, len(codes) - 1)] == ord("\r")
    is_blank = (starts >= stops) | (is_return & (stops - starts == 1))
    rows = np.flatnonzero(~is_blank).astype(np.int64) + 1
    # Quotes in the middle of a field open nothing; where they are, rows are counted as they come.
    return rows if len(rows) == num_filled else np.arange(1, num_filled + 1, dtype=np.int64)
