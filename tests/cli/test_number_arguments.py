from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable

import pytest

from tinysight.cli.number_arguments import fraction, not_negative, whole_number


def test_numbers_in_their_range_are_read() -> None:
    assert [whole_number()(text) for text in ("1", "042", "9" * 18)] == [1, 42, 10**18 - 1]
    assert [whole_number(0, 9)(text) for text in ("0", "9")] == [0, 9]
    assert [fraction(text) for text in ("0", "1", ".5", "1e-2")] == [0, 1, 0.5, 0.01]
    assert [not_negative(text) for text in ("0", "7.5")] == [0, 7.5]


@pytest.mark.parametrize(
    ("parse", "texts", "must"),
    [
        (
            whole_number(),
            ["", "0", "-1", "1.0", "1e3", " 1", "abc", "½", "1" * 5000],
            "a whole number from 1 up",
        ),
        (whole_number(0, 9), ["-1", "10"], "a whole number from 0 to 9"),
        (fraction, ["ten", "-0.1", "1.1", "nan", ""], "a number from 0 to 1"),
        (not_negative, ["x", "-1", "nan", "inf"], "a number from 0 up"),
    ],
)
def test_what_must_hold_and_what_was_found_is_said(
    parse: Callable[[str], float], texts: list[str], must: str
) -> None:
    for text in texts:
        with pytest.raises(ArgumentTypeError) as fault:
            parse(text)
        assert str(fault.value).startswith(f"must be {must}, got {text!r}")


def test_an_example_ends_the_message() -> None:
    with pytest.raises(ArgumentTypeError) as fault:
        whole_number(1, 99, example=20)("x")
    assert str(fault.value) == "must be a whole number from 1 to 99, got 'x'. Example: 20."
