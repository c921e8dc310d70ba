"""One file, nothing outside it, the same bytes, and texts that stay texts."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from PIL import Image

from tests.report.runs import HOSTILE_NAME
from tests.report.test_page import make_page, make_table
from tinysight.report.chart_style import BLUE, chart_of
from tinysight.report.page import (
    Callout,
    Column,
    Columns,
    Command,
    Facts,
    Figure,
    Fold,
    Key,
    Link,
    Page,
    Picture,
    PictureCell,
    Pictures,
    Section,
    Stat,
    Stats,
    Text,
)
from tinysight.report.page_html import render_page


class Elements(HTMLParser):
    """Every element of a page with its attributes and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[int, str] = {}
        self.is_open = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))
        self.is_open = True

    def handle_endtag(self, tag: str) -> None:
        self.is_open = False

    def handle_data(self, data: str) -> None:
        last = len(self.found) - 1
        if not self.is_open:
            return
        self.texts[last] = self.texts.get(last, "") + data

    def of(self, tag: str, **attributes: str) -> list[tuple[dict[str, str], str]]:
        return [
            (found, self.texts.get(number, ""))
            for number, (name, found) in enumerate(self.found)
            if name == tag and all(found.get(key) == value for key, value in attributes.items())
        ]


def png(colour: tuple[int, int, int] = (1, 2, 3)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (2, 2), colour).save(file, "PNG")
    return file.getvalue()


def make_figure(name: str = "figure", label: str = "a label", **changes: Any) -> Figure:
    rows = [{"x": 1, "y": 2, "label": label}]
    chart = chart_of(rows).mark_point(color=BLUE).encode(x="x:Q", y="y:Q", text="label:N")
    return Figure(name, "A figure", chart, "what it shows", keys=(Key(label, BLUE),), **changes)


def page_of_everything(text: str) -> Page:
    """A page with every block, each holding a text wherever it can."""
    table = make_table(
        columns=(Column(text), Column("P", "picture"), Column("N", "number")),
        rows=((Link(text, "#top"), PictureCell(0, text), 1), (text, None, None)),
        title=text,
        caption=text,
        shown=1,
    )
    blocks = (
        Text(text),
        Callout("warning", text, text),
        Command(text, text),
        Stats((Stat(text, text, text),)),
        Facts(text, ((text, text),)),
        make_figure(label=text, caption=text),
        Columns((table, Pictures((Picture(0, text, text),)))),
        Fold(text, (make_table("empty", rows=(), empty=text),)),
    )
    return Page(
        title=text,
        kicker=text,
        headline=text,
        lead=text,
        sections=(Section("top", text, blocks, lead=text),),
        stats=(Stat(text, text),),
        pictures=(png(),),
    )


def test_same_page_gives_the_same_bytes() -> None:
    assert render_page(page_of_everything("a")) == render_page(page_of_everything("a"))


def test_markup_in_any_text_stays_text() -> None:
    plain = Elements(render_page(page_of_everything("harmless")))
    hostile = Elements(render_page(page_of_everything(HOSTILE_NAME)))
    assert [tag for tag, _ in hostile.found] == [tag for tag, _ in plain.found]
    assert not hostile.of("img", src="x")
    assert hostile.of("h1")[0][1] == HOSTILE_NAME
    ((_, chart),) = hostile.of("script", id="figure-chart")
    assert HOSTILE_NAME in json.dumps(json.loads(chart), ensure_ascii=False)


@pytest.mark.parametrize("text", ["<!--<script>", "{{ 7 * 7 }}", "\u2028", "&lt;", '" onload="x'])
def test_texts_come_out_as_they_went_in(text: str) -> None:
    elements = Elements(render_page(page_of_everything(text)))
    assert elements.of("h1")[0][1] == text
    ((_, chart),) = elements.of("script", id="figure-chart")
    (rows,) = json.loads(chart)["datasets"].values()
    assert rows[0]["label"] == text


def test_only_our_scripts_may_run_and_no_request_may_leave() -> None:
    elements = Elements(render_page(page_of_everything("a")))
    ((attributes, _),) = elements.of("meta", **{"http-equiv": "Content-Security-Policy"})
    rules = dict(
        rule.strip().partition(" ")[::2] for rule in attributes["content"].split(";") if rule
    )
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert set(rules) == {
        "default-src",
        "img-src",
        "style-src",
        "script-src",
        "base-uri",
        "form-action",
    }
    scripts = [text for attributes, text in elements.of("script") if not attributes.get("type")]
    assert len(scripts) == 3
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    ]
    assert rules["script-src"].split(" ") == hashes


def test_page_refers_to_nothing_outside_itself() -> None:
    elements = Elements(render_page(page_of_everything("a")))
    for tag, attributes in elements.found:
        for name in ("src", "href", "action", "srcset", "data", "poster"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
    for _, style in elements.of("style"):
        assert not re.search(r"url\(|@import|https?:", style)
    for _, data in elements.of("script", type="application/json"):
        assert "http" not in data


def test_ids_are_unique_and_every_anchor_leads_somewhere() -> None:
    elements = Elements(render_page(page_of_everything("a")))
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [attributes["href"][1:] for _, attributes in elements.found if "href" in attributes]
    assert len(targets) >= 3
    assert set(targets) <= set(ids)
    named = [attributes.get("aria-labelledby", "") for _, attributes in elements.found]
    assert {name for name in named if name} <= set(ids)


def test_vega_is_inlined_once_and_only_where_there_is_a_chart() -> None:
    with_two = render_page(make_page(Section("a", "A", (make_figure("one"), make_figure("two")))))
    without = render_page(make_page(Section("a", "A", (Text("no chart"),))))
    assert with_two.count("window.vegaEmbed=") == 1
    assert "vegaEmbed" not in without
    assert len(without.encode()) < 60_000


def test_charts_wear_the_colours_of_the_page_and_data_keeps_its_texts() -> None:
    html = render_page(make_page(Section("a", "A", (make_figure(label=BLUE),))))
    ((_, text),) = Elements(html).of("script", id="figure-chart")
    chart = json.loads(text)
    assert chart["mark"]["color"] == "var(--blue)"
    (rows,) = chart["datasets"].values()
    assert rows[0]["label"] == BLUE
    assert "$schema" not in chart


def test_words_between_backticks_are_code_and_still_escaped() -> None:
    html = render_page(make_page(Section("a", "A", (Text("Try `--set <x>=1` now."),))))
    assert 'Try <code><span class="option">--set</span> &lt;x&gt;=1</code> now.' in html


def test_backticks_inside_a_name_are_its_own() -> None:
    text = Text("Most often it takes a`b`c for `lemon`.")
    html = render_page(make_page(Section("a", "A", (text,))))
    assert "it takes a`b`c for <code>lemon</code>." in html


def test_a_missing_text_has_no_value_to_sort_by() -> None:
    table = make_table(columns=(Column("Name"), Column("What")), rows=(("a", None), ("b", "x")))
    html = render_page(make_page(Section("a", "A", (table,))))
    assert '<td data-value="">–</td>' in html
    assert "<td>x</td>" in html


def test_backticks_make_code_in_a_column_of_prose_and_in_no_other() -> None:
    table = make_table(
        columns=(Column("Name"), Column("What", "prose")),
        rows=(("a `b`", "`bbox` <i> must be `x` > 0"),),
    )
    html = render_page(make_page(Section("a", "A", (table,))))
    assert "<code>bbox</code> &lt;i&gt; must be <code>x</code> &gt; 0" in html
    assert "a `b`" in html, "a name keeps its own backticks"


def test_number_keeps_its_percent_sign_on_its_line() -> None:
    html = render_page(make_page(Section("a", "A", (Text("up to 42.0 % or % alone"),))))
    assert "up to 42.0\u00a0% or % alone" in html


@pytest.mark.parametrize(
    ("text", "markup"),
    [
        ("worst قطة برية 11.3 %, best dog", "worst <bdi>قطة برية</bdi> 11.3\u00a0%, best dog"),
        ("חתול has 5 boxes, كلب has 2", "<bdi>חתול</bdi> has 5 boxes, <bdi>كلب</bdi> has 2"),
        ("köttur, кошка, 猫 🐈 7 %", "köttur, кошка, 猫 🐈 7\u00a0%"),
    ],
)
def test_names_from_right_to_left_leave_the_order_of_a_sentence_alone(
    text: str, markup: str
) -> None:
    html = render_page(make_page(Section("a", "A", (Text(text),), lead=text), headline=text))
    assert html.count(f"{markup}</p>") == 2
    assert f"{markup.replace(chr(160), ' ')}</h1>" in html


def test_equals_sign_stays_with_its_number_of_anchors() -> None:
    html = render_page(make_page(Section("a", "A", (Text("The line at k = 3 or a = 3."),))))
    assert "The line at k\u00a0=\u00a03 or a = 3." in html


def test_names_of_files_in_a_table_are_broken_at_their_joints() -> None:
    rows = ((Link("val/images/val_10.JPEG", "#a"), 0.5), ("a_b.c", 0.5))
    html = render_page(make_page(Section("a", "A", (make_table(rows=rows),))))
    assert ">val/<wbr>images/<wbr>val_<wbr>10.<wbr>JPEG</a>" in html
    assert ">a_<wbr>b.<wbr>c</th>" in html


def test_pictures_are_embedded_once_and_named_by_number() -> None:
    pictures = (png((1, 1, 1)), png((2, 2, 2)))
    block = Pictures((Picture(1, "second"), Picture(1, "again")))
    html = render_page(make_page(Section("a", "A", (block,)), pictures=pictures))
    ((_, text),) = Elements(html).of("script", id="page-pictures")
    embedded = json.loads(text)
    assert [base64.b64decode(uri.partition(",")[2]) for uri in embedded] == list(pictures)
    assert all(uri.startswith("data:image/png;base64,") for uri in embedded)
    assert [found["data-picture"] for found, _ in Elements(html).of("img")] == ["1", "1"]


def test_picture_of_an_unknown_format_is_refused() -> None:
    page = make_page(pictures=(b"GIF89a...",))
    with pytest.raises(ValueError, match=r"a picture must be a WebP, PNG or JPEG file, it starts"):
        render_page(page)


def test_numbers_that_are_not_finite_become_null() -> None:
    figure = Figure(
        "figure", "Title", chart_of([{"x": float("nan")}]).mark_point().encode(x="x:Q"), "alt"
    )
    html = render_page(make_page(Section("a", "A", (figure,))))
    ((_, text),) = Elements(html).of("script", id="figure-chart")
    assert list(json.loads(text)["datasets"].values()) == [[{"x": None}]]


def test_table_hides_rows_until_they_are_asked_for_and_says_how_many() -> None:
    rows = tuple((f"row {number}", 0.5) for number in range(5))
    html = render_page(make_page(Section("a", "A", (make_table(rows=rows, shown=2),))))
    elements = Elements(html)
    body = [attributes for attributes, _ in elements.of("tr")][1:]
    assert ["hidden" in attributes for attributes in body] == [False, False, True, True, True]
    assert "Show all 5 rows" in html
    assert "Here are the first 2 of 5 rows; the page shows all." in html, "on paper"
    assert "Show all" not in render_page(
        make_page(Section("a", "A", (make_table(rows=rows, shown=5),)))
    )


def test_table_without_rows_says_so() -> None:
    html = render_page(make_page(Section("a", "A", (make_table(rows=(), empty="None here."),))))
    assert "None here." in html
    assert "<table>" not in html
