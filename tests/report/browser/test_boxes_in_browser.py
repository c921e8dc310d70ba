"""The page on a set of boxes as a person meets it: from disk, with the network cut."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import pytest

from tests.boxes.tables import draw_table, make_table, rename_classes, write_coco
from tests.report.browser.conftest import Visit, Visitor
from tests.report.browser.test_report_in_browser import MARKS_IN_CHARTS, WIDTHS_PX
from tests.report.runs import HOSTILE_NAME


@pytest.fixture(scope="module")
def boxes_html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page written by the command, with a class that tries to be markup."""
    import dataclasses

    from tinysight.cli import main

    folder = tmp_path_factory.mktemp("boxes")
    table = rename_classes(draw_table(), range(5))
    names = (HOSTILE_NAME, *table.class_names[1:])
    source = write_coco(dataclasses.replace(table, class_names=names), folder / "drawn.json")
    words = ["boxes", "report", source, "--k", "3,4,12", "--certify", 0.1, "--out", folder / "out"]
    assert main([str(word) for word in words]) == 0
    return folder / "out" / "report.html"


def anchors_drawn(seen: Visit) -> int:
    return seen.page.locator("#anchor-sets svg.shapes .shape").count()


@pytest.mark.parametrize("width_px", WIDTHS_PX)
def test_page_fits_and_draws_every_chart(visit: Visitor, boxes_html: Path, width_px: int) -> None:
    seen = visit(boxes_html, width_px=width_px)
    seen.draw_all()
    marks = dict(seen.page.evaluate(MARKS_IN_CHARTS))
    assert len(marks) == 8
    assert all(count > 0 for count in marks.values()), marks
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width_px
    seen.page.evaluate("scrollTo(0, 0)")
    seen.keep_screenshot(f"boxes-{width_px}-light", full_page=True)
    seen.page.emulate_media(color_scheme="dark")
    seen.keep_screenshot(f"boxes-{width_px}-dark", full_page=True)


def test_the_slider_shows_the_anchors_of_each_k(visit: Visitor, boxes_html: Path) -> None:
    seen = visit(boxes_html, "#anchors")
    slider = seen.page.locator("#anchor-sets input[name=k]")
    seen.page.locator("#anchor-sets[data-state=drawn]").wait_for()
    for k in (1, 7, 10):
        slider.fill(str(k - 1))
        assert anchors_drawn(seen) == k
        assert seen.page.locator("#anchor-sets .anchor-list button").count() == k
        said = seen.page.locator("#anchor-sets output").inner_text()
        assert said == f"{k} anchor{'' if k == 1 else 's'}"
    slider.focus()
    seen.page.keyboard.press("ArrowLeft")
    assert anchors_drawn(seen) == 9
    shares = seen.page.locator("#anchor-sets .what").all_inner_texts()
    assert sum(float(text.split(" ")[0]) for text in shares) == pytest.approx(100, abs=0.6)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_twelve_anchors_have_colours_that_can_be_told_apart(
    visit: Visitor, boxes_html: Path, scheme: str
) -> None:
    seen = visit(boxes_html, "#anchors", scheme=scheme)
    seen.page.locator("#anchor-sets[data-state=drawn]").wait_for()
    slider = seen.page.locator("#anchor-sets input[name=k]")
    slider.fill(slider.get_attribute("max") or "")
    swatches = seen.page.locator("#anchor-sets .anchor-list .swatch")
    colours = [
        swatch.evaluate("place => getComputedStyle(place).borderTopColor")
        for swatch in swatches.all()
    ]
    # oklch(lightness chroma hue), the hue in degrees
    found = [[float(part) for part in re.findall(r"[\d.]+", colour)[:3]] for colour in colours]
    assert len(found) == 12
    places = [
        (light, chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue)))
        for light, chroma, hue in found
    ]
    assert min(math.dist(*pair) for pair in itertools.combinations(places, 2)) > 0.1


def test_a_wide_table_scrolls_in_its_own_box(visit: Visitor, boxes_html: Path) -> None:
    seen = visit(boxes_html, width_px=1100)
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 1100
    for box in seen.page.locator(".table .scroll").all():
        place = box.bounding_box()
        assert place is not None
        assert place["x"] + place["width"] <= 1100
        assert box.evaluate("place => getComputedStyle(place).overflowX") == "auto"


def test_headings_go_on_in_a_second_line_before_a_table_of_numbers_must_scroll(
    visit: Visitor, boxes_html: Path
) -> None:
    seen = visit(boxes_html, width_px=1200)
    box = seen.page.locator("#sets .scroll")
    assert box.evaluate("place => place.scrollWidth - place.clientWidth") == 0
    assert re.search(r"\d  \d", box.inner_text())  # anchors stand apart


def test_what_was_found_has_room_for_its_sentence_on_a_phone(
    visit: Visitor, tmp_path: Path
) -> None:
    from tinysight.cli import main

    boxes = [(0, 0, -20, -20, 60, 60), (0, 0, 10, 10, 60, 60)]
    source = write_coco(make_table(boxes, image_wh=[(640, 640)]), tmp_path / "outside.json")
    words = ["boxes", "report", source, "--k", "1", "--certify", 0, "--out", tmp_path / "out"]
    assert main([str(word) for word in words]) == 0
    seen = visit(tmp_path / "out" / "report.html", width_px=390)
    sentence = seen.page.locator("#findings td.prose").first
    box = sentence.bounding_box()
    assert box is not None
    assert box["width"] >= 16 * 16
    assert box["height"] < box["width"]
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 390
    seen.keep_screenshot("boxes-findings-390")


@pytest.mark.parametrize("width_px", [400, 1200])
def test_a_pair_of_width_and_height_is_never_broken(
    visit: Visitor, boxes_html: Path, width_px: int
) -> None:
    seen = visit(boxes_html, width_px=width_px)
    lines_of_each_pair = """cells => cells.flatMap(cell => [...cell.firstChild.data.matchAll(
      /[\\d.]+\\u00a0×\\u00a0[\\d.]+/g)].map(pair => {
        const range = document.createRange();
        range.setStart(cell.firstChild, pair.index);
        range.setEnd(cell.firstChild, pair.index + pair[0].length);
        return range.getClientRects().length;
      }))"""
    lines = seen.page.locator("#sets td.sizes").evaluate_all(lines_of_each_pair)
    assert lines == [1] * (3 + 4 + 12)


def test_choosing_an_anchor_fades_the_boxes_of_the_others(visit: Visitor, boxes_html: Path) -> None:
    seen = visit(boxes_html, "#anchors")
    seen.page.locator("#anchor-sets[data-state=drawn]").wait_for()
    button = seen.page.locator("#anchor-sets .anchor-list button").first
    button.focus()
    seen.page.keyboard.press("Enter")
    assert button.get_attribute("aria-pressed") == "true"
    sizes = seen.page.locator("#anchor-sets circle.size")
    own = seen.page.locator("#anchor-sets circle.size[data-anchor='0']")
    faded = seen.page.locator("#anchor-sets circle.size[data-faded]")
    assert 0 < own.count() < sizes.count()
    assert faded.count() == sizes.count() - own.count()
    seen.page.keyboard.press("Enter")
    assert faded.count() == 0


def test_axes_have_numbers_where_all_boxes_are_about_of_one_size(
    visit: Visitor, tmp_path: Path
) -> None:
    from tinysight.cli import main

    boxes = [(0, 0, 0, 0, 60 + number % 3, 60 + number % 2) for number in range(12)]
    source = write_coco(make_table(boxes, image_wh=[(640, 640)]), tmp_path / "alike.json")
    words = ["boxes", "report", source, "--k", "1", "--certify", 0, "--out", tmp_path / "out"]
    assert main([str(word) for word in words]) == 0
    seen = visit(tmp_path / "out" / "report.html", "#anchors")
    seen.page.locator("#anchor-sets[data-state=drawn]").wait_for()
    texts = seen.page.locator("#anchor-sets svg.sizes text").all_text_contents()
    assert [text for text in texts if text.isdigit()] == [
        side for side in ("55", "60", "65", "70") for _ in range(2)
    ]
    seen.keep_screenshot("boxes-alike", full_page=True)


def test_a_class_name_that_is_markup_is_text(visit: Visitor, boxes_html: Path) -> None:
    seen = visit(boxes_html)
    seen.draw_all()
    assert seen.page.locator("#class-table").get_by_text(HOSTILE_NAME, exact=True).count() == 1
    assert seen.page.locator("img[src=x]").count() == 0
