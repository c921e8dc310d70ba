from __future__ import annotations

from typing import Any

import pytest

from tinysight.report.chart_style import chart_of
from tinysight.report.page import (
    Callout,
    Column,
    Columns,
    Figure,
    Fold,
    Link,
    Page,
    PictureCell,
    Section,
    Table,
    Text,
)


def make_table(name: str = "table", **changes: Any) -> Table:
    settings: dict[str, Any] = {
        "title": "A table",
        "columns": (Column("Name"), Column("Share", "share")),
        "rows": (("a", 0.5),),
    }
    return Table(name, **(settings | changes))


def make_page(*sections: Section, **changes: Any) -> Page:
    texts = {"title": "Title", "kicker": "Kicker", "headline": "Headline", "lead": "Lead"}
    return Page(sections=sections, **(texts | changes))


@pytest.mark.parametrize(
    ("column", "value", "shown", "exact"),
    [
        (Column("x"), "text", "text", "text"),
        (Column("x"), None, "–", ""),
        (Column("x", "number"), 12345, "12,345", "12345"),
        (Column("x", "number", 2), 1234.567, "1,234.57", "1234.567"),
        (Column("x", "change"), -1.25, "-1.2", "-1.25"),
        (Column("x", "change"), 1234, "+1,234.0", "1234"),
        (Column("x", "share"), 0.12345, "12.3 %", "0.12345"),
        (Column("x", "share", 0), 1.0, "100 %", "1.0"),
        (Column("x", "share"), None, "–", ""),
        (Column("x", "number"), Link("7", "#there"), "7", "7"),
        (Column("x", "number"), Link("1,234", "#there"), "1,234", "1234"),
        (Column("x", "picture"), PictureCell(0, "a cat"), "a cat", "a cat"),
    ],
)
def test_cells_are_shown_for_people_and_kept_in_full(
    column: Column, value: Any, shown: str, exact: str
) -> None:
    assert column.show(value) == shown
    assert column.exact(value) == exact


def test_text_in_a_column_of_numbers_is_refused() -> None:
    with pytest.raises(TypeError, match="column 'Share' holds numbers, got 'many'"):
        Column("Share", "share").show("many")


def test_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="table 'table': row 1 must have 2 cells, got 1"):
        make_table(rows=(("a", 0.5), ("b",)))


def test_link_out_of_the_page_is_refused() -> None:
    with pytest.raises(ValueError, match="`anchor` must start with #, got 'https:"):
        Link("there", "https://example.org")
    with pytest.raises(ValueError, match="`anchor` must start with #, got 'x'"):
        PictureCell(0, "a cat", "x")


@pytest.mark.parametrize("name", ["Two Words", "", "1st", 'a"b'])
def test_name_that_cannot_be_an_anchor_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="`name` must be lower-case letters, digits and hyphens"):
        make_page(Section(name, "Title", ()))


def test_name_that_is_there_twice_is_refused_also_inside_other_blocks() -> None:
    hidden = Columns((Fold("More", (make_table("twice"),)),))
    with pytest.raises(ValueError, match="`name` must be unique on a page, 'twice' is there twice"):
        make_page(Section("twice", "Title", (hidden,)))


def test_blocks_are_listed_in_reading_order_with_those_inside_others() -> None:
    first, second, third = Text("1"), Text("2"), Text("3")
    outer = Columns((first, Fold("More", (second,))))
    page = make_page(Section("a", "A", (outer,)), Section("b", "B", (third,)))
    assert [block for block in page.blocks() if isinstance(block, Text)] == [first, second, third]


def test_severity_is_said_as_a_word() -> None:
    words = {Callout(severity, "").word for severity in ("good", "note", "warning")}
    assert len(words) == 3


def test_figure_keeps_room_until_it_is_drawn() -> None:
    chart = chart_of([{"x": 1}]).mark_point().encode(x="x:Q")
    assert Figure("name", "Title", chart, "alt").height_px > 100
