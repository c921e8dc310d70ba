from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinysight.boxes.readers.ids import id_column, join_ids, plain_id, repeated_rows

ids = st.one_of(st.integers(-5, 30), st.integers(-(2**62), 2**62))


@given(st.lists(ids, max_size=30), st.lists(ids, unique=True, max_size=10))
def test_join_of_numbers_equals_a_dictionary(values: list[int], listed: list[int]) -> None:
    rows = {value: row for row, value in enumerate(listed)}
    expected = [rows.get(value) for value in values]
    for given_values in (values, np.array(values, np.int64)):
        join = join_ids(given_values, rows, len(listed))
        found = [
            None if new else int(row) for row, new in zip(join.rows, join.is_unlisted, strict=True)
        ]
        assert found == expected
        assert not join.is_converted.any()
        assert [join.unlisted[row - len(listed)] for row in join.rows[join.is_unlisted]] == [
            value for value, row in zip(values, expected, strict=True) if row is None
        ]


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (7, 7), ("7", 7), (" 007 ", 7), (7.0, 7), ("-3", -3), ("a7", "a7"), (7.5, "7.5"),
        (None, None), (True, "true"), ("7" * 30, "7" * 30), (2**70, str(2**70)), ("٧", "٧"),
    ],
)  # fmt: skip
def test_plain_form_of_an_id(value: Any, plain: int | str | None) -> None:
    assert plain_id(value) == plain


@pytest.mark.parametrize("place", [0, 150, 299])
def test_long_ids_that_differ_in_one_place_stay_different(place: int) -> None:
    ids = ["a" * place + letter + "a" * (299 - place) for letter in "bc"]
    plain = [str(plain_id(value)) for value in ids]
    assert plain[0] != plain[1]
    assert [len(text) for text in plain] == [100, 100]
    assert len(join_ids(ids, {}, 0).unlisted) == 2
    assert plain_id("a" * 100) == "a" * 100


def test_text_and_numbers_are_joined_and_told_apart() -> None:
    join = join_ids(["7", 8, None, [1], "x"], {7: 0, "8": 1, "x": 2}, 3)
    assert join.rows.tolist()[:2] == [0, 1]
    assert join.is_converted.tolist() == [True, True, False, False, False]
    assert join.is_unlisted.tolist() == [False, False, True, True, False]


def test_column_of_ids_is_of_numbers_where_all_are() -> None:
    column, missing = id_column([5, "6", None])
    assert column is not None
    assert (column.tolist(), missing.tolist()) == ([5, 6, 2], [2])
    column, _ = id_column([5, "a"])
    assert column is not None
    assert column.tolist() == ["5", "a"]
    assert id_column([None, None])[0] is None


@given(st.lists(st.integers(0, 5), max_size=20))
def test_repeated_rows_are_those_with_an_equal_before_them(values: list[int]) -> None:
    expected = [row for row, value in enumerate(values) if value in values[:row]]
    assert repeated_rows(np.array(values, np.int64)).tolist() == expected
