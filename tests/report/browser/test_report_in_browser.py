"""The page of a run as a person meets it: from disk, with the network cut."""

from __future__ import annotations

import io
import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser

from tests.report.browser.conftest import Visit, Visitor
from tests.report.runs import (
    CLASS_NAMES,
    HOSTILE_NAME,
    LONG_NAME,
    RTL_NAME,
    drop_pictures,
    explain_run,
    make_run,
)
from tinysight import run_folder, whole_files
from tinysight.numerals import percent
from tinysight.run_report import write_run_report

WIDTHS_PX = (360, 768, 1280)

MARKS_IN_CHARTS = """
[...document.querySelectorAll('.chart')].map(place => [
  place.dataset.spec,
  place.querySelectorAll('svg [role=graphics-symbol], svg .role-mark path[d]').length,
])
"""


def count_of(visit: Visit) -> str:
    return visit.page.locator(".gallery .count").inner_text()


def tiles_of(visit: Visit) -> list[str]:
    return [
        tile.get_attribute("aria-label") or "" for tile in visit.page.locator(".tile button").all()
    ]


@pytest.mark.parametrize("width_px", WIDTHS_PX)
def test_page_fits_and_draws_every_chart(visit: Visitor, report_html: Path, width_px: int) -> None:
    seen = visit(report_html, width_px=width_px)
    for fold in seen.page.locator("details").all():
        fold.locator("summary").click()
    seen.draw_all()
    marks = dict(seen.page.evaluate(MARKS_IN_CHARTS))
    assert len(marks) == 8
    assert all(count > 0 for count in marks.values()), marks
    assert seen.page.locator(".chart[data-state=drawn]").count() == len(marks)
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width_px
    seen.page.evaluate("scrollTo(0, 0)")
    seen.keep_screenshot(f"report-{width_px}-light", full_page=True)
    seen.page.emulate_media(color_scheme="dark")
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width_px
    seen.keep_screenshot(f"report-{width_px}-dark")


BROKEN_WORDS = """
(selector) => [...document.querySelectorAll(selector)].flatMap((place) => {
  const broken = [];
  const texts = document.createTreeWalker(place, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    for (const word of texts.currentNode.data.matchAll(/[^\\s\\u00a0-]+/g)) {
      const range = document.createRange();
      range.setStart(texts.currentNode, word.index);
      range.setEnd(texts.currentNode, word.index + word[0].length);
      const lines = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
      if (lines.size > 1) broken.push(word[0]);
    }
  }
  return broken;
})
"""


@pytest.mark.parametrize("width_px", [320, 390])
def test_no_word_of_a_heading_is_broken_on_a_phone(
    visit: Visitor, report_html: Path, width_px: int
) -> None:
    seen = visit(report_html, width_px=width_px)
    for fold in seen.page.locator("details").all():
        fold.locator("summary").click()
    assert seen.page.locator("#label-issues thead").get_by_text("Picture").count() == 1
    assert seen.page.evaluate(BROKEN_WORDS, "h1, h2, h3, thead th") == []


@pytest.mark.parametrize("width_px", [320, 390])
def test_a_long_name_in_a_heading_is_broken_at_its_joints(
    visit: Visitor, tmp_path: Path, width_px: int
) -> None:
    from tinysight.cli import main

    names = ("compact20_long_training_averaged", "resnet18_smoothed_from_scratch")
    runs = [make_run(tmp_path / name, seed=seed) for seed, name in enumerate(names)]
    assert main(["report", *map(str, runs)]) == 0
    seen = visit(runs[0] / "comparison.html", width_px=width_px)
    headline = seen.page.locator("h1")
    assert headline.inner_text() == f"{names[0]} and {names[1]} are level"
    height = "e => e.getBoundingClientRect().height / parseFloat(getComputedStyle(e).lineHeight)"
    assert headline.evaluate(height) > 2.5, "the names are too long for two lines"
    assert seen.page.evaluate(BROKEN_WORDS, "h1") == []
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width_px


def test_charts_follow_the_colours_of_the_page(visit: Visitor, report_html: Path) -> None:
    seen = visit(report_html)
    seen.draw_all()
    colour = "getComputedStyle(document.querySelector('#accuracy svg path[stroke^=var]')).stroke"
    ground = "getComputedStyle(document.body).backgroundColor"
    assert seen.page.evaluate(colour) == "rgb(0, 114, 178)"
    light = seen.page.evaluate(ground)
    seen.page.get_by_role("button", name="Use dark colours").click()
    assert seen.page.evaluate(colour) == "rgb(92, 179, 236)"
    assert seen.page.evaluate(ground) != light
    seen.page.reload()
    assert seen.page.evaluate(ground) != light, "the choice is kept"


def test_charts_wait_until_they_come_into_view(visit: Visitor, report_html: Path) -> None:
    seen = visit(report_html)
    assert seen.page.locator("#reliability .chart svg").count() == 0
    seen.page.locator("#reliability").scroll_into_view_if_needed()
    seen.page.locator("#reliability .chart svg").wait_for()


def test_pointing_at_an_epoch_names_its_values(visit: Visitor, report_html: Path) -> None:
    seen = visit(report_html)
    chart = seen.page.locator("#accuracy .chart")
    chart.scroll_into_view_if_needed()
    chart.locator("svg").wait_for()
    box = chart.bounding_box()
    assert box
    seen.page.mouse.move(box["x"] + box["width"] / 2 - 3, box["y"] + 60)
    seen.page.mouse.move(box["x"] + box["width"] / 2 + 3, box["y"] + 60)
    tooltip = seen.page.locator("#vg-tooltip-element.visible")
    tooltip.wait_for()
    text = tooltip.inner_text()
    assert "Epochs done" in text
    assert "3" in text
    assert "40.0%" in text, "training accuracy of the third epoch"


def test_names_are_texts_whatever_they_hold(visit: Visitor, report_html: Path) -> None:
    seen = visit(report_html)
    seen.draw_all()
    for name in (HOSTILE_NAME, LONG_NAME.strip(), RTL_NAME):
        assert seen.page.locator("#all-classes").get_by_text(name, exact=True).count() >= 1
        assert seen.page.locator(".tile .true", has_text=name).count() >= 1
    assert seen.page.locator("img[src=x]").count() == 0


def test_scripts_write_percent_as_the_package_does(visit: Visitor, report_html: Path) -> None:
    seen = visit(report_html)
    cases = [
        (share, digits)
        for share in (
            0,
            1,
            0.0004,
            0.00051,
            0.9996,
            0.9993,
            0.4868,
            1e-9,
            1 - 1e-9,
            1 / 3,
            1 / 16,
            5 / 16,
        )
        for digits in (0, 1, 2)
    ]
    shown = seen.page.evaluate(
        "cases => cases.map(([share, digits]) => tinysight.percent(share, digits))", cases
    )
    assert shown == [percent(share, digits) for share, digits in cases]


def test_filters_change_what_is_shown(visit: Visitor, report_html: Path) -> None:
    seen = visit(report_html, "#mistakes")
    page = seen.page
    page.locator(".tile").first.wait_for()
    assert count_of(seen) == "1 to 60 of 150 pictures"
    page.select_option("select[name=class]", "n00000004")
    of_class = tiles_of(seen)
    assert of_class
    assert all(label.startswith("lemon, ") for label in of_class)
    page.select_option("select[name=predicted]", "n00000005")
    of_pair = tiles_of(seen)
    assert 0 < len(of_pair) < len(of_class)
    assert all("lemon, taken for orange" in label for label in of_pair)
    page.get_by_role("button", name="Show everything").click()
    assert count_of(seen) == "1 to 60 of 150 pictures"
    page.select_option("select[name=kind]", "unsure hit")
    assert all("recognised" in label for label in tiles_of(seen))


def test_confidence_range_leaves_out_what_lies_outside(visit: Visitor, report_html: Path) -> None:
    seen = visit(report_html, "#mistakes")
    seen.page.locator(".tile").first.wait_for()
    seen.page.locator("input[name=min]").fill("60")
    seen.page.locator("input[name=max]").fill("70")
    shares = [float(label.split(", ")[-1].removesuffix(" % sure")) for label in tiles_of(seen)]
    assert shares
    assert all(60 <= share <= 70 for share in shares)
    assert shares == sorted(shares, reverse=True)
    seen.page.select_option("select[name=sort]", "unsure")
    again = [float(label.split(", ")[-1].removesuffix(" % sure")) for label in tiles_of(seen)]
    assert again == sorted(shares)
    seen.page.locator("input[name=max]").fill("10")
    assert seen.page.locator("input[name=min]").input_value() == "10", "the ends cannot cross"


def test_filters_without_a_match_say_so(visit: Visitor, report_html: Path) -> None:
    seen = visit(report_html, "#mistakes")
    seen.page.locator(".tile").first.wait_for()
    seen.page.locator("input[name=max]").fill("1")
    assert count_of(seen) == "0 pictures"
    assert seen.page.get_by_text("No picture matches these filters.").is_visible()


def test_slider_fades_the_heat_map(visit: Visitor, report_html: Path) -> None:
    seen = visit(report_html, "#mistakes")
    heat = seen.page.locator(".tile canvas").first
    heat.wait_for()
    opacity = "element => Number(getComputedStyle(element).opacity)"
    for strength, expected in (("0", 0.0), ("100", 1.0), ("30", 0.3)):
        seen.page.locator("input[name=fade]").fill(strength)
        assert heat.evaluate(opacity) == pytest.approx(expected)


def test_heat_map_of_the_true_class_is_another_one(visit: Visitor, report_html: Path) -> None:
    seen = visit(report_html, "#mistakes")
    heat = seen.page.locator(".tile canvas")
    heat.first.wait_for()
    pixels = (
        "element => [...element.getContext('2d')"
        ".getImageData(0, 0, element.width, element.height).data]"
    )
    predicted = heat.first.evaluate(pixels)
    assert len(predicted) == 4 * 4 * 4
    seen.page.get_by_label("true class", exact=True).check()
    assert heat.first.evaluate(pixels) != predicted


def test_pictures_are_the_images_of_the_run(visit: Visitor, report_html: Path) -> None:
    seen = visit(report_html, "#mistakes")
    image = seen.page.locator(".tile img").first
    image.wait_for()
    image.evaluate("element => element.decode()")
    assert image.evaluate("element => element.naturalWidth") == 32
    assert (image.get_attribute("src") or "").startswith("data:image/webp;base64,")


def test_gallery_turns_its_pages(visit: Visitor, report_html: Path) -> None:
    seen = visit(report_html, "#mistakes")
    seen.page.locator(".tile").first.wait_for()
    first = tiles_of(seen)
    seen.page.get_by_role("button", name="Next page").first.click()
    assert count_of(seen) == "61 to 120 of 150 pictures"
    assert tiles_of(seen) != first
    seen.page.get_by_role("button", name="Next page").first.click()
    assert len(tiles_of(seen)) == 30
    assert seen.page.get_by_role("button", name="Next page").first.is_disabled()


def test_address_of_a_class_survives_a_reload(visit: Visitor, report_html: Path) -> None:
    seen = visit(report_html, "#class=n00000004&predicted=n00000005")
    for _ in range(2):
        seen.page.locator(".tile").first.wait_for()
        assert all("lemon, taken for orange" in label for label in tiles_of(seen))
        assert seen.page.locator("select[name=class]").input_value() == "n00000004"
        assert seen.page.locator("#mistakes h2").is_visible()
        seen.page.reload()


def test_address_of_a_class_without_pictures_does_not_show_those_of_others(
    visit: Visitor, tmp_path: Path
) -> None:
    from tinysight.cli import main

    run = explain_run(make_run(tmp_path / "run"))
    drop_pictures(run, target=4)
    assert main(["report", str(run)]) == 0
    seen = visit(run / "report.html", "#class=n00000004")
    seen.page.get_by_text("No picture matches these filters.").wait_for()
    assert seen.page.locator("select[name=class] option:checked").inner_text() == "lemon (0)"
    seen.page.locator(".confusion").scroll_into_view_if_needed()
    seen.page.locator("select[name=row]").select_option(label="lemon")
    readout = seen.page.locator(".confusion .readout")
    assert readout.inner_text().endswith("None of their pictures is on this page.")


def test_address_that_asks_for_nothing_there_is_shows_everything(
    visit: Visitor, report_html: Path
) -> None:
    seen = visit(report_html, "#class=nowhere&sort=none&map=none&page=last")
    seen.page.locator(".tile").first.wait_for()
    assert count_of(seen) == "1 to 60 of 150 pictures"
    assert seen.page.locator("select[name=class] option:checked").inner_text() == "all"
    assert seen.page.locator("input[name=map]:checked").input_value() == "predicted"


def test_the_arrow_stands_before_a_name_from_right_to_left(
    visit: Visitor, report_html: Path
) -> None:
    seen = visit(report_html, "#predicted=n00000003")
    guess = seen.page.locator(".tile .guess").first
    guess.wait_for()
    assert guess.inner_text() == f"→ {RTL_NAME}"
    arrow, name = guess.evaluate("""e => {
      const range = document.createRange();
      range.setStart(e.firstChild, 0);
      range.setEnd(e.firstChild, 1);
      return [range, e.querySelector('bdi')].map(part => part.getBoundingClientRect().x);
    }""")
    assert arrow < name


def test_address_of_an_image_opens_it_again(visit: Visitor, report_html: Path) -> None:
    seen = visit(report_html, "#image=val%2Fimages%2Fval_17.JPEG")
    closeup = seen.page.locator("dialog.closeup")
    closeup.wait_for()
    assert "val/images/val_17.JPEG" in closeup.inner_text()
    seen.page.reload()
    closeup.wait_for()
    assert "val/images/val_17.JPEG" in closeup.inner_text()


def test_address_of_another_image_replaces_the_open_one(visit: Visitor, report_html: Path) -> None:
    seen = visit(report_html, "#image=val%2Fimages%2Fval_17.JPEG")
    closeup = seen.page.locator("dialog.closeup")
    closeup.wait_for()
    seen.page.evaluate("() => { location.hash = 'image=val%2Fimages%2Fval_18.JPEG'; }")
    closeup.get_by_text("val/images/val_18.JPEG").wait_for()
    seen.page.wait_for_timeout(100)
    assert "val_18" in seen.page.evaluate("location.hash")


def test_filters_are_part_of_the_address(visit: Visitor, report_html: Path) -> None:
    seen = visit(report_html, "#mistakes")
    seen.page.locator(".tile").first.wait_for()
    seen.page.select_option("select[name=class]", "n00000004")
    seen.page.select_option("select[name=sort]", "loss")
    assert seen.page.evaluate("location.hash") == "#class=n00000004&sort=loss"
    labels = tiles_of(seen)
    seen.page.reload()
    seen.page.locator(".tile").first.wait_for()
    assert tiles_of(seen) == labels


def test_open_picture_shows_both_maps_and_its_address(visit: Visitor, report_html: Path) -> None:
    seen = visit(report_html, "#mistakes")
    page = seen.page
    page.locator(".tile button").first.click()
    closeup = page.locator("dialog.closeup")
    closeup.wait_for()
    assert closeup.locator("img").count() == 3
    assert closeup.locator("canvas").count() == 2
    assert closeup.locator("tbody tr").count() == 5
    assert "image=" in page.evaluate("location.hash")
    seen.keep_screenshot("closeup")
    bars = closeup.locator("tbody .bar > span")
    lengths = bars.evaluate_all("found => found.map(e => e.offsetWidth / e.parentNode.offsetWidth)")
    shown = [
        float(cell.removesuffix(" %")) / 100
        for cell in closeup.locator("tbody td.number").all_inner_texts()
    ]
    assert lengths == pytest.approx(shown, abs=0.02)
    title = closeup.locator("h4").inner_text()
    page.keyboard.press("ArrowRight")
    assert closeup.locator("h4").inner_text() != title or page.evaluate("location.hash")
    page.keyboard.press("Escape")
    assert not closeup.is_visible()
    assert "image=" not in page.evaluate("location.hash")
    assert page.evaluate("document.activeElement.closest('.tile') !== null"), "focus comes back"


def test_number_of_a_confused_pair_leads_to_its_pictures(visit: Visitor, report_html: Path) -> None:
    seen = visit(report_html)
    link = seen.page.locator("#pairs tbody a").first
    images = int(link.inner_text())
    link.click()
    seen.page.locator(".tile").first.wait_for()
    assert len(tiles_of(seen)) == images


def test_tables_sort_by_value(visit: Visitor, report_html: Path) -> None:
    seen = visit(report_html)
    table = seen.page.locator("#all-classes table")
    heading = table.locator("th", has_text="Recognised")
    shares = "rows => rows.map(row => parseFloat(row.cells[3].textContent))"
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    falling = table.locator("tbody tr").evaluate_all(shares)
    assert falling == sorted(falling, reverse=True)
    heading.locator("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert table.locator("tbody tr").evaluate_all(shares) == falling[::-1]
    assert table.locator("th[aria-sort=ascending]").count() == 1


def test_a_missing_text_stays_last_whichever_way_a_table_is_sorted(
    visit: Visitor, tmp_path: Path
) -> None:
    runs = [make_run(tmp_path / name) for name in ("a", "b")]
    (runs[1] / run_folder.METRICS).unlink()
    seen = visit(write_run_report(runs).path)
    table = seen.page.locator("#metrics table")
    heading = table.locator("th button").nth(2)
    for _ in range(2):
        heading.click()
        values = table.locator("tbody tr td:nth-child(3)").all_inner_texts()
        missing = values.count("–")
        assert 0 < missing < len(values)
        assert values[-missing:] == ["–"] * missing


def test_sorting_a_folded_table_keeps_it_folded(visit: Visitor, report_html: Path) -> None:
    seen = visit(report_html)
    holder = seen.page.locator("#pairs")
    shown = holder.locator("tbody tr:visible")
    assert shown.count() == 12
    holder.locator("th", has_text="Taken for").locator("button").click()
    assert shown.count() == 12
    holder.get_by_role("button", name="Show all").click()
    assert shown.count() == 30
    holder.get_by_role("button", name="Show the first").click()
    assert shown.count() == 12


def test_a_shadow_says_on_which_side_a_table_goes_on(visit: Visitor, report_html: Path) -> None:
    seen = visit(report_html, width_px=360)
    frame = seen.page.locator("#all-classes .scroll")

    def shades() -> list[bool]:
        """Whether the left and the right end of the last row are darker than the page."""
        shown = np.asarray(Image.open(io.BytesIO(frame.screenshot())).convert("L")).astype(int)
        row = shown[-8]  # below the text
        return [bool(row[at] < 250) for at in (2, -3)]

    assert shades() == [False, True]
    frame.evaluate("frame => frame.scrollLeft = (frame.scrollWidth - frame.clientWidth) / 2")
    assert shades() == [True, True]
    frame.evaluate("frame => frame.scrollLeft = frame.scrollWidth")
    assert shades() == [True, False]
    seen.page.set_viewport_size({"width": 1600, "height": 900})
    assert shades() == [False, False]


def test_the_name_of_a_button_begins_with_what_is_written_on_it(
    visit: Visitor, report_html: Path
) -> None:
    seen = visit(report_html)
    button = seen.page.get_by_role("button", name="Copy table: Most confused pairs", exact=True)
    assert button.inner_text() == "Copy table"


def test_tables_are_copied_with_tabs_and_full_precision(visit: Visitor, report_html: Path) -> None:
    seen = visit(report_html)
    seen.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    seen.page.locator("#all-classes .copy-table").click()
    seen.page.get_by_text("Copied 6 rows.").wait_for(state="attached")
    text = seen.page.evaluate("navigator.clipboard.readText()")
    lines = [line.split("\t") for line in text.strip().split("\n")]
    assert lines[0][:4] == ["Class", "All its names", "Test images", "Recognised"]
    assert len(lines) == 1 + len(CLASS_NAMES)
    assert lines[2][0] == HOSTILE_NAME
    assert len(lines[1][3]) > 10, "not rounded for the page"


def test_tables_are_copied_where_the_clipboard_is_refused(
    visit: Visitor, report_html: Path
) -> None:
    seen = visit(report_html)
    seen.page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject('no'); }")
    seen.page.locator("#all-classes .copy-table").click()
    seen.page.get_by_text("Copied 6 rows.").wait_for(state="attached")


def cells_of_matrix(visit: Visit) -> Any:
    canvas = visit.page.locator(".confusion canvas")
    canvas.scroll_into_view_if_needed()
    visit.page.locator(".confusion canvas[data-state=drawn]").wait_for()
    return canvas


def test_matrix_is_drawn_and_tells_a_cell(visit: Visitor, report_html: Path) -> None:
    seen = visit(report_html)
    canvas = cells_of_matrix(seen)
    colours = canvas.evaluate(
        "element => new Set(new Uint32Array(element.getContext('2d')"
        ".getImageData(0, 0, element.width, element.height).data.buffer)).size"
    )
    assert colours > 20
    readout = seen.page.locator(".readout")
    before = readout.inner_text()
    assert "is taken for" in before
    canvas.focus()
    for _ in range(6):
        seen.page.keyboard.press("ArrowUp")
        seen.page.keyboard.press("ArrowLeft")
    assert readout.inner_text().startswith("orange is recognised: "), "the first cell of the order"
    seen.page.keyboard.press("ArrowRight")
    assert "orange is taken for lemon" in readout.inner_text()
    images = int(readout.inner_text().split(": ")[1].split(" of")[0])
    seen.page.keyboard.press("Enter")
    seen.page.locator(".tile").first.wait_for()
    assert len(tiles_of(seen)) == images
    assert all("orange, taken for lemon" in label for label in tiles_of(seen))


def test_printing_draws_every_chart(visit: Visitor, report_html: Path) -> None:
    seen = visit(report_html)
    assert seen.page.pdf()
    visible = seen.page.locator(".chart:visible").count()
    assert seen.page.locator(".chart[data-state=drawn]:visible").count() == visible


def test_a_page_that_nobody_scrolled_is_printed_whole(visit: Visitor, report_html: Path) -> None:
    seen = visit(report_html)
    assert seen.page.pdf()
    thumbs = seen.page.locator("tbody tr:not([hidden]) img[data-picture]")
    assert thumbs.count() == len(thumbs.evaluate_all("found => found.filter(e => e.src)")) > 0
    assert seen.page.locator(".confusion canvas[data-state=drawn]").count() == 1
    assert len(tiles_of(seen)) == 60


def test_paper_is_white_whatever_the_screen(visit: Visitor, report_html: Path) -> None:
    painted = {}
    for scheme in ("light", "dark"):
        seen = visit(report_html, scheme=scheme)
        seen.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        painted[scheme] = seen.page.evaluate("document.querySelector('canvas').toDataURL()")
    assert painted["dark"] == painted["light"]
    seen.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert seen.page.evaluate("document.querySelector('canvas').toDataURL()") != painted["dark"]
    assert seen.page.get_by_role("button", name="Use light colours").is_visible()


def test_what_introduces_something_stays_with_it_on_paper(
    visit: Visitor, report_html: Path
) -> None:
    seen = visit(report_html)
    seen.page.emulate_media(media="print")
    breaks = seen.page.evaluate(
        """(() => {
          const all = (selector, read) =>
            [...document.querySelectorAll(selector)].map(found => read(getComputedStyle(found)));
          return {
            after: all('h2, h3, section > .lead, .table-head, .pager, .keys', s => s.breakAfter),
            inside: all('p, .figure, .confusion, .callout', s => s.breakInside),
            lines: all('p', s => `${s.orphans} ${s.widows}`),
          };
        })()"""
    )
    assert {name: set(found) for name, found in breaks.items()} == {
        "after": {"avoid"},
        "inside": {"avoid"},
        "lines": {"3 3"},
    }


def test_without_scripts_charts_are_words_and_nothing_is_dead(
    browser: Browser, report_html: Path
) -> None:
    context = browser.new_context(offline=True, java_script_enabled=False)
    page = context.new_page()
    page.goto(report_html.as_uri())
    said = page.locator("main > noscript > p")
    assert said.inner_text() == (
        "The drawn charts, filters and pictures of this page need JavaScript; what a chart shows "
        "stands in words in its place. Nothing leaves this machine."
    )
    first = page.locator("main > section").first.bounding_box()
    place = said.bounding_box()
    assert first
    assert place
    assert place["y"] < first["y"], "it is said before the reader wonders"
    for selector in (
        "img",
        ".gallery",
        ".confusion",
        ".copy-table",
        ".theme",
        "th:has-text('Picture')",
    ):
        assert page.locator(f"{selector}:visible").count() == 0, selector
    words = "getComputedStyle(document.querySelector('.chart'), '::before').content"
    assert str(page.locator(".chart").first.get_attribute("aria-label"))[:12] in page.evaluate(
        words
    )
    context.close()


def test_a_cut_table_says_so_on_paper_until_all_of_it_is_open(
    visit: Visitor, report_html: Path
) -> None:
    seen = visit(report_html, "#confusions")
    remark = seen.page.get_by_text("Here are the first 12 of 30 rows; the page shows all.")
    assert not remark.is_visible(), "the screen has a button instead"
    seen.page.emulate_media(media="print")
    assert remark.is_visible()
    seen.page.emulate_media(media="screen")
    seen.page.get_by_role("button", name="Show all 30 rows").click()
    seen.page.emulate_media(media="print")
    assert not remark.is_visible()


def contrast(one: str, other: str) -> float:
    """Contrast of two colours as browsers name them, after WCAG 2."""
    luminances = []
    for colour in (one, other):
        red, green, blue = (float(part) / 255 for part in re.findall(r"[\d.]+", colour)[:3])
        linear = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)
        ]
        luminances.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(luminances) + 0.05) / (min(luminances) + 0.05)


COLOURS_OF_TEXTS = """
[...document.querySelectorAll('main *')].filter(e => e.checkVisibility()
  && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())
  && !e.closest('svg, [disabled], script, style, noscript')
).map(e => {
  const groundOf = part => getComputedStyle(part).backgroundColor;
  let ground = e;
  while (ground !== document.body && groundOf(ground).endsWith(', 0)')) {
    ground = ground.parentElement;
  }
  return [`${e.tagName}.${e.className}`, getComputedStyle(e).color, groundOf(ground)];
})
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(visit: Visitor, report_html: Path, scheme: str) -> None:
    seen = visit(report_html, "#mistakes", scheme=scheme)
    seen.page.locator(".tile").first.wait_for()
    texts = seen.page.evaluate(COLOURS_OF_TEXTS)
    assert {"SPAN.guess", "STRONG.word"} <= {name for name, *_ in texts}
    faint = {(name, *colours) for name, *colours in texts if contrast(*colours) < 4.5}
    assert faint == set()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_numbers_in_the_matrix_can_be_read_on_any_share(
    visit: Visitor, tmp_path: Path, scheme: str
) -> None:
    from tinysight.cli import main

    run = explain_run(make_run(tmp_path / "run"))
    summary = run_folder.read_explanation(run)
    cells = [[index, index, 1000] for index in range(6)]
    summary["confusion"]["counts"] = [*cells, [2, 3, 111]]
    whole_files.write_json(run / run_folder.EXPLANATION, summary)
    assert main(["report", str(run)]) == 0
    seen = visit(run / "report.html", "#confusions", scheme=scheme)
    canvas = seen.page.locator("canvas[data-state=drawn]")
    canvas.wait_for()
    # The last cell of the diagonal: its lower left corner and its middle row.
    found = canvas.evaluate("""e => {
      const side = Math.floor((e.height - 150) / 6);
      const left = Math.min(190, 0.3 * e.width) + 5 * side;
      // All at once: a browser complains of many readings.
      const cell = e.getContext('2d').getImageData(left, e.height - side, side, side).data;
      const at = (x, y) => cell.slice(4 * (y * side + x), 4 * (y * side + x) + 3).join(',');
      const middle = [];
      for (let x = 8; x < side - 8; x++) middle.push(at(x, side >> 1));
      return [at(8, side - 8), middle];
    }""")
    ground, middle = found
    assert max(contrast(ground, colour) for colour in middle) > 3.5


def test_page_can_be_walked_with_the_keyboard(visit: Visitor, report_html: Path) -> None:
    seen = visit(report_html)
    seen.page.keyboard.press("Tab")
    assert seen.page.evaluate("document.activeElement.textContent") == "Skip to the content"
    seen.page.keyboard.press("Enter")
    assert seen.page.evaluate("document.activeElement.id") == "main"
    unnamed = seen.page.evaluate(
        "[...document.querySelectorAll('button, select, input, canvas, [role=img], [role=region]')]"
        ".filter(e => !(e.ariaLabel || e.textContent.trim() || e.labels?.length)).length"
    )
    assert unnamed == 0
    levels = seen.page.evaluate(
        "[...document.querySelectorAll('main h1, main h2, main h3')].map(e => Number(e.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_contents_name_what_is_being_read(visit: Visitor, report_html: Path) -> None:
    seen = visit(report_html)
    seen.page.get_by_role("link", name="Can its confidence be believed?").click()
    seen.page.locator(".contents a[aria-current][href='#calibration']").wait_for()


def test_two_runs_stand_side_by_side(visit: Visitor, comparison_html: Path) -> None:
    seen = visit(comparison_html)
    seen.draw_all()
    marks = dict(seen.page.evaluate(MARKS_IN_CHARTS))
    assert set(marks) == {
        "measured-accuracy-chart",
        "train-accuracy-chart",
        "measured-loss-chart",
        "train-loss-chart",
        "lr-chart",
        "class-changes-chart",
    }
    assert all(marks.values()), marks
    lines = "[...document.querySelectorAll('#measured-accuracy .mark-line path')].length"
    assert seen.page.evaluate(lines) == 2
    assert seen.page.locator("#differences tbody tr").count() == 1
    seen.page.evaluate("scrollTo(0, 0)")
    seen.keep_screenshot("comparison-1280-light", full_page=True)


@pytest.mark.parametrize("width_px", WIDTHS_PX[:2])
def test_comparison_fits_on_small_screens(
    visit: Visitor, comparison_html: Path, width_px: int
) -> None:
    seen = visit(comparison_html, width_px=width_px)
    seen.draw_all()
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width_px


def test_long_names_of_runs_stay_in_their_column(visit: Visitor, tmp_path: Path) -> None:
    from tinysight.cli import main

    runs = [make_run(tmp_path / f"{number}-{'a_very_long_name_' * 5}") for number in range(4)]
    assert main(["report", *map(str, runs)]) == 0
    seen = visit(runs[0] / "comparison.html")
    too_wide = "[...document.querySelectorAll('.stats dt')].map(e => e.scrollWidth - e.clientWidth)"
    assert seen.page.evaluate(too_wide) == [0, 0, 0, 0]
    directions = "[...document.querySelectorAll('.stats dt')].map(e => e.dir)"
    assert seen.page.evaluate(directions) == ["auto"] * 4
