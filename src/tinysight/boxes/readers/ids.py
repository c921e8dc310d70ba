"""Joining records by ids that files write in different ways: 7, 7.0, "7", "007"."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.readers.box_numbers import as_number
from tinysight.boxes.readers.json_text import NOT_A_NUMBER
from tinysight.boxes.records import Mark

# Columns of ids have one width for all rows, so a single long id would cost memory in each.
_LONGEST_ID = 100
_NO_FRACTION = re.compile(r"(?<=\d)\.0+\Z")
_LARGEST_TABLE = 20_000_000


@dataclass(frozen=True)
class Join:
    """Where each id was found among the listed ones."""

    rows: NDArray[np.int32]
    """(n,) row of the listed id; rows past the listed ones for ids that are not listed."""
    is_converted: NDArray[np.bool_]
    """(n,) found only after text was turned into a number or the other way round."""
    is_unlisted: NDArray[np.bool_]
    """(n,)"""
    unlisted: tuple[int | str | None, ...]
    """The ids that are not listed, in the order of their rows; None stands for no id."""


def plain_id(value: object) -> int | str | None:
    """Return an id as an int or a text; None where there is none.

    Text of decimal digits is the int it spells, a float without fraction is that int. Of a text of
    more than 100 characters only begin and end are kept, with a digest of it all between them, so
    that different ids stay different.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return value if abs(value) < 2**63 else _bounded(str(value))
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else str(value)
    text = str(value).strip()
    is_int = text.removeprefix("-").isdecimal() and text.isascii() and len(text) < 19
    return int(text) if is_int else _bounded(text)


def plain_label(value: object) -> str:
    """Return the name of a class as text; empty where there is none.

    A number is a name where somebody wrote one; a truth value, a list or an object is none.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    text = str(value).strip()
    return "" if text.startswith(NOT_A_NUMBER) else text


def plain_class_names(names: Sequence[str]) -> list[str]:
    """Return names of classes with 1.0 as 1, where all of them are numbers.

    Tables have 1.0 for 1 as soon as a row of the column is empty. Among words 1.0 is a name.
    """
    numbers = map(as_number, names)
    are_numbers = all(number is not None and math.isfinite(number) for number in numbers)
    return [_NO_FRACTION.sub("", name) for name in names] if are_numbers else list(names)


def _bounded(text: str) -> str:
    if len(text) <= _LONGEST_ID:
        return text
    digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).hexdigest()
    kept = (_LONGEST_ID - len(digest) - 2) // 2
    return f"{text[:kept]}…{digest}…{text[-kept:]}"


def join_ids(
    values: Sequence[Any] | NDArray[np.int64], listed: dict[Any, int], num_listed: int
) -> Join:
    """Find the row of each id.

    Args:
        values: The ids to look up, of any JSON type.
        listed: Row of each listed id, as the file has it.
        num_listed: Number of rows; ids that are not listed get rows from here on.
    """
    if isinstance(values, np.ndarray):
        rows = _rows_of_numbers(values, listed)
        if (rows >= 0).all():
            none = np.zeros(len(rows), np.bool_)
            return Join(rows, none, none, ())
        values = values.tolist()
    try:
        rows = np.fromiter((listed.get(v, -1) for v in values), np.int32, len(values))
    except TypeError:  # a list or an object for an id
        safe = [v if isinstance(v, int | float | str) else None for v in values]
        rows = np.fromiter((listed.get(v, -1) for v in safe), np.int32, len(safe))
    is_converted = np.zeros(len(rows), np.bool_)
    is_unlisted = np.zeros(len(rows), np.bool_)
    unlisted: dict[int | str | None, int] = {}
    missed = np.flatnonzero(rows < 0)
    if len(missed):
        loose = _loose(listed)
        for row in missed.tolist():
            key = plain_id(values[row])
            if key is not None and key in loose:
                rows[row] = loose[key]
                is_converted[row] = True
            else:
                rows[row] = unlisted.setdefault(key, num_listed + len(unlisted))
                is_unlisted[row] = True
    return Join(rows, is_converted, is_unlisted, tuple(unlisted))


def _rows_of_numbers(values: NDArray[np.int64], listed: dict[Any, int]) -> NDArray[np.int32]:
    """Return the row of each whole number, -1 where it is not listed."""
    numbers = [key for key in listed if type(key) is int and abs(key) < 2**62]
    if not numbers:
        return np.full(len(values), -1, np.int32)
    keys = np.array(numbers, np.int64)
    rows = np.array([listed[key] for key in numbers], np.int32)
    order = np.argsort(keys)
    keys, rows = keys[order], rows[order]
    first, span = int(keys[0]), int(keys[-1] - keys[0]) + 1
    if span <= _LARGEST_TABLE:
        # Ids mostly lie close together: a table of them all is ten times quicker than a search.
        table = np.full(span + 1, -1, np.int32)
        table[keys - first] = rows
        is_within = (values >= first) & (values <= int(keys[-1]))
        return table[np.where(is_within, values - first, span)]
    at = np.minimum(np.searchsorted(keys, values), len(keys) - 1)
    return np.where(keys[at] == values, rows[at], -1).astype(np.int32)


def _loose(listed: dict[Any, int]) -> dict[int | str, int]:
    """Return the row of each listed id in its plain form, without those that two rows share."""
    loose: dict[int | str, int] = {}
    shared = set()
    for value, row in listed.items():
        key = plain_id(value)
        if key is None:
            continue
        if loose.setdefault(key, row) != row:
            shared.add(key)
    return {key: row for key, row in loose.items() if key not in shared}


def id_column(values: Sequence[Any]) -> tuple[NDArray[Any] | None, NDArray[np.int64]]:
    """Return ids as one column, int64 where all are whole numbers and text otherwise.

    Returns:
        (n,) ids, with the position for a record that has none, or None where no record has one;
        and the rows of the records that have none.
    """
    types = set(map(type, values))
    if types <= {int} and values:
        try:
            return np.fromiter(values, np.int64, len(values)), np.zeros(0, np.int64)
        except OverflowError:
            pass
    plain = [plain_id(value) for value in values]
    missing = np.array([row for row, value in enumerate(plain) if value is None], np.int64)
    if len(missing) == len(plain):
        return None, missing
    filled = [row if value is None else value for row, value in enumerate(plain)]
    if all(isinstance(value, int) for value in filled):
        return np.array(filled, np.int64), missing
    return np.array([str(value) for value in filled]), missing


def id_marks(ids: NDArray[Any] | None, missing: NDArray[np.int64], of: str) -> list[Mark]:
    """Return the marks of records without an id, and of those whose id an earlier one has.

    Args:
        ids: (n,) as :func:`id_column` returns them; None where no record has one.
        missing: The rows of the records that have none, as it returns them.
        of: What a record is, such as ``an annotation``.
    """
    if ids is None:
        return []
    marks = []
    if len(missing):
        message = f"{of} must have an id, got none. Its position is used instead."
        marks.append(Mark("annotation_without_id", "lossless", message, missing))
    # A position in the place of an id may be the id of another record.
    own = np.setdiff1d(np.arange(len(ids)), missing, assume_unique=True) if len(missing) else None
    repeated = repeated_rows(ids) if own is None else own[repeated_rows(ids[own])]
    if len(repeated):
        message = f"the id of {of} must be its own, but {{0}} was used before."
        values = (ids[repeated],)
        marks.append(Mark("repeated_annotation_id", "harmless", message, repeated, values))
    return marks


def repeated_rows(ids: NDArray[Any]) -> NDArray[np.int64]:
    """Return the rows whose id an earlier row has, ascending."""
    in_order = np.sort(ids)
    if not (in_order[1:] == in_order[:-1]).any():  # the rule, and many times as quick to see
        return np.zeros(0, np.int64)
    order = np.argsort(ids, kind="stable")
    is_repeat = ids[order][1:] == ids[order][:-1]
    return np.sort(order[1:][is_repeat]).astype(np.int64)
