from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinysight.boxes.readers.json_text import decode_json, shown_number
from tinysight.errors import DataError

PATH = Path("a.json")


def read(data: bytes) -> tuple[Any, list[str]]:
    value, notes = decode_json(data, (dict[str, Any],), PATH)
    return value, [note[0].message for note in notes]


@pytest.mark.parametrize(
    ("data", "value", "what"),
    [
        (b'{"a": [NaN, 1]}', {"a": ["\x7f", 1]}, "NaN; found in it: 1"),
        (b'{"a": Infinity}', {"a": "\x7f+    "}, "Infinity; found in it: 1"),
        (b'{"a": -Infinity}', {"a": "\x7f-     "}, "Infinity; found in it: 1"),
        (b'{"a": 1e400}', {"a": "\x7f+ "}, "number that large; found in it: 1"),
        (b'{"a": [1, 2,], }', {"a": [1, 2]}, "trailing comma; found in it: 2"),
        (b'{"a": "\\ud800"}', {"a": "\ufffd"}, "half of a surrogate pair; found in it: 1"),
    ],
)
def test_what_is_nearly_json_is_read_as_meant_and_told(data: bytes, value: Any, what: str) -> None:
    found, notes = read(data)
    assert found == value
    assert notes == [f"JSON has no {what}. Read as it was meant."]


def test_a_long_exponent_is_no_large_number() -> None:
    found, notes = read(b'{"a": [1.5e+002, -1.0E+001, 1e308, -1e+0400, 1.5e002, NaN]}')
    assert found == {"a": [150.0, -10.0, 1e308, "\x7f-    ", 150.0, "\x7f"]}
    assert notes == [
        f"JSON has no {what}; found in it: 1. Read as it was meant."
        for what in ("NaN", "number that large")
    ]


def test_text_that_looks_like_nan_is_left_alone() -> None:
    found, _ = read(b'{"a": "NaN, Infinity, \\"NaN,]", "b": NaN}')
    assert found["a"] == 'NaN, Infinity, "NaN,]'


def test_whole_surrogate_pairs_are_left_alone() -> None:
    found, _ = read(b'{"a": "\\ud83d\\ude00 \\ude00", "b": 1}')
    assert found["a"] == "\U0001f600 \ufffd"


def test_bytes_that_are_not_utf8_are_replaced_and_told() -> None:
    found, notes = read(b'{"a": "caf\xe9"}')
    assert found == {"a": "caf\ufffd"}
    assert notes == [
        "text must be UTF-8, but byte 10 is not. The bytes that are not were replaced."
    ]


@given(st.data())
def test_end_of_a_cut_file_is_named_by_line_column_and_byte(data: st.DataObject) -> None:
    text = json.dumps({"annotations": [{"id": 1, "bbox": [1, 2, 3, 4]}] * 3}, indent=1).encode()
    cut = text[: data.draw(st.integers(1, len(text) - 1))]
    with pytest.raises(DataError, match=r"a\.json: must be (whole )?JSON, but ") as fault:
        read(cut)
    place = re.search(r"line (\d+), column (\d+) \(byte (\d+)\)", str(fault.value))
    assert place is not None
    line, column, byte = map(int, place.groups())
    assert byte == len(cut.rstrip()) or "ends early" not in str(fault.value)
    lines = cut[:byte].decode().split("\n")
    assert (line, column) == (len(lines), len(lines[-1]) + 1)


def test_place_of_a_fault_is_the_path_to_its_record() -> None:
    data = b'{"x": [{"a": 1}, {"b,[": "]}", "c": [1, [2, 3 4]]}]}'
    with pytest.raises(DataError, match=re.escape("(byte 46), in x[1].c[1][1]")):
        read(data)


def test_positions_stay_those_of_the_file_after_mending() -> None:
    data = b'{"a": [NaN, NaN, Infinity], "b": [1 2]}'
    with pytest.raises(DataError, match=re.escape(f"(byte {data.index(b'2]}')}), in b[0]")):
        read(data)


def test_value_of_the_wrong_type_is_named_by_its_path() -> None:
    text = (
        "a.json: the whole file: must be what the format has there, but: Expected object, got array"
    )
    with pytest.raises(DataError, match=re.escape(text)):
        read(b"[1]")


def test_seventy_megabytes_of_brackets_are_refused_before_they_are_parsed() -> None:
    data = b'{"annotations": [' + b"[]," * (24 * 2**20) + b"[]]}"
    with pytest.raises(DataError, match="33% of its 75,497,493 bytes are opening brackets"):
        read(data)


@pytest.mark.parametrize("between", ["\n", "", "\r\n\r\n"])
def test_json_lines_are_called_so(between: str, tmp_path: Path) -> None:
    text = f'{{"a": 1}}{between}{{"a": 2}}'
    at = text.rindex("{")
    with pytest.raises(DataError, match="must be one JSON value, but a second begins at") as caught:
        decode_json(text.encode(), (Any,), tmp_path)
    assert f"(byte {at})" in str(caught.value)
    assert str(caught.value).endswith(
        "as in JSON lines, which are not read. Export the annotations in a format that is, such as "
        "COCO."
    )


def test_what_is_cut_in_a_message_ends_in_dots() -> None:
    assert shown_number({"x": 1}) == "{'x': 1}"
    assert shown_number({"x": "y" * 99}) == "{'x': '" + "y" * 33 + "…"
