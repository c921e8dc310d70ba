from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tinysight.report.pictures import contact_sheet, drawable_text, font_of, shorten_text

COLOURS = [(200, 10, 10), (10, 200, 10), (10, 10, 200), (200, 200, 10), (10, 200, 200)]


def plain_images(count: int, side: int = 8) -> np.ndarray:
    images = np.empty((count, side, side, 3), np.uint8)
    for image, colour in zip(images, COLOURS, strict=False):
        image[:] = colour
    return images


def box_of(sheet: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """First and last column and row in which a colour occurs."""
    rows, columns = np.nonzero((np.asarray(sheet) == colour).all(axis=2))
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


def has_ink(sheet: Image.Image, box: tuple[int, int, int, int]) -> bool:
    return bool((np.asarray(sheet.crop(box).convert("L")) < 128).any())


def test_images_stand_in_rows_in_their_order_and_at_their_scale() -> None:
    sheet = contact_sheet(plain_images(5), ["a", "b", "c", "d", "e"], 3, scale=4)
    boxes = [box_of(sheet, colour) for colour in COLOURS]
    assert all((right - left, low - top) == (31, 31) for left, top, right, low in boxes)
    lefts, tops = [box[0] for box in boxes], [box[1] for box in boxes]
    assert lefts[0] < lefts[1] < lefts[2]
    assert lefts[3:] == lefts[:2]
    assert len(set(tops[:3])) == len(set(tops[3:])) == 1
    assert tops[3] > tops[0] + 32


def test_pixels_are_repeated_and_not_blended() -> None:
    image = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (1, 6, 5, 3), np.uint8)
    sheet = np.asarray(contact_sheet(image, [""], 1, scale=3))
    left, top = 16, sheet.shape[0] - 16 - 18
    shown = sheet[top : top + 18, left : left + 15]
    np.testing.assert_array_equal(shown, np.repeat(np.repeat(image[0], 3, 0), 3, 1))


def test_caption_stands_above_its_image() -> None:
    images = plain_images(2, side=32)
    with_text, without = (contact_sheet(images, [text, ""], 2) for text in ("cat", ""))
    left, top, right, _ = box_of(with_text, COLOURS[0])
    assert has_ink(with_text, (left, 0, right, top))
    assert not has_ink(without, (left, 0, right, top))


def test_captions_of_several_lines_make_room_for_all() -> None:
    images = plain_images(2, side=32)
    one = contact_sheet(images, ["cat", "dog"], 2)
    three = contact_sheet(images, [("cat", "was dog", "90 %"), "dog"], 2)
    assert three.height > one.height
    left, top, right, _ = box_of(three, COLOURS[0])
    assert has_ink(three, (left, top - 20, right, top))


def test_title_adds_a_line_above_all() -> None:
    images = plain_images(1, side=32)
    plain, titled = (contact_sheet(images, ["cat"], 1, title=title) for title in (None, "Cats"))
    assert titled.height > plain.height
    assert titled.width == plain.width


def test_a_title_that_is_wider_than_its_sheet_takes_more_lines() -> None:
    images = plain_images(1, side=64)
    one, two = (
        contact_sheet(images, [""], 1, title=title)
        for title in ("The", "The mistake it was surest of")
    )
    assert two.width == one.width
    line_px = round(1.8 * 12)
    assert two.height == one.height + line_px
    for line in range(2):
        top = 16 + line * line_px
        assert has_ink(two, (16, top, two.width, top + line_px))
    assert not has_ink(two, (two.width - 15, 0, two.width, two.height))


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("dog", ["dog"]),
        ("Rhodesian ridgeback", ["Rhodesian", "ridgeback"]),
        ("Rhodesian_ridgeback", ["Rhodesian_", "ridgeback"]),
        ("Rhodesian ridgeback, African lion hound", ["Rhodesian", "ridgeback…"]),
    ],
)
def test_a_name_too_long_for_its_image_goes_on_below_and_says_where_it_is_cut(
    name: str, lines: list[str]
) -> None:
    side_px = round(font_of(12).getlength("ridgeback…"))
    drawn, expected = (
        np.asarray(contact_sheet(plain_images(1, side=side_px), [caption], 1, scale=1))
        for caption in (name, lines)
    )
    assert drawn.shape == expected.shape
    # The same letters; the lines of one text are all of the first colour.
    assert ((drawn < 200) >= (expected < 200)).all()


def test_only_a_row_with_a_long_caption_is_higher_for_it() -> None:
    images = plain_images(4, side=32)
    short = contact_sheet(images, ["dog"] * 4, 2)
    long = contact_sheet(images, ["dog", "dog and cat", "dog", "dog"], 2)
    line_px = round(1.4 * 12)
    assert long.height == short.height + line_px
    tops = [[box_of(sheet, colour)[1] for colour in COLOURS[:4]] for sheet in (short, long)]
    assert [after - before for before, after in zip(*tops, strict=True)] == [line_px] * 4


def test_long_caption_does_not_reach_into_the_next_image() -> None:
    name = "Rhodesian ridgeback, African lion hound"
    sheet = contact_sheet(plain_images(2, side=32), [name, ""], 2)
    left, top, _, _ = box_of(sheet, COLOURS[1])
    assert not has_ink(sheet, (left - 9, 0, sheet.width, top))


def test_grey_images_are_shown_grey() -> None:
    sheet = contact_sheet([np.full((8, 8), 77, np.uint8)], ["grey"], 1)
    assert box_of(sheet, (77, 77, 77))


def test_images_of_a_group_stand_close_and_apart_from_the_next() -> None:
    sheet = contact_sheet(plain_images(4), [""] * 4, 4, group=2)
    boxes = [box_of(sheet, colour) for colour in COLOURS[:4]]
    gaps = [boxes[number + 1][0] - boxes[number][2] - 1 for number in range(3)]
    assert gaps == [4, 24, 4]
    assert sheet.width - boxes[3][2] - 1 == 16


def test_fewer_images_than_columns_leave_no_empty_columns() -> None:
    narrow = contact_sheet(plain_images(2), ["a", "b"], 2)
    assert contact_sheet(plain_images(2), ["a", "b"], 9).size == narrow.size


@pytest.mark.parametrize("count", [0, 2])
def test_captions_that_do_not_match_the_images_are_refused(count: int) -> None:
    message = (
        f"`captions` must be one for each of at least one image, got {count} captions for "
        f"{min(count, 1)} images"
    )
    with pytest.raises(ValueError, match=message):
        contact_sheet(plain_images(min(count, 1)), ["x"] * count, 3)


def test_text_is_shortened_only_as_far_as_it_must() -> None:
    font = font_of(12)
    text = "German shepherd, German police dog"
    assert shorten_text(text, font, 1000) == text
    short = shorten_text(text, font, 100)
    assert short.endswith("…")
    assert font.getlength(short) <= 100
    stem = short.removesuffix("…")
    assert text.startswith(stem)
    longer = text[: len(stem) + 3].rstrip(" ,") + "…"
    assert font.getlength(longer) > 100
    assert shorten_text("German shepherd", font, font.getlength("German shep…")) == "German shep…"
    assert shorten_text("dog, cat", font, font.getlength("dog, …")) == "dog…"
    assert shorten_text(text, font, 1) == "…"


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("German shepherd, 55.0 %", "German shepherd, 55.0 %"),
        ("Crème brûlée", "Creme brulee"),
        ("Jalape\u006e\u0303o", "Jalapeno"),
        ("Große Übermäßigkeit", "Grosse Ubermassigkeit"),
        ("Łódź, Søren, Æsop", "Lodz, Soren, AEsop"),
        ("3 × 3 – “so”…", "3 x 3 - “so”…"),
        ("one\nline\u00a0only", "one line only"),
        ("Кошка 猫 고양이", "????? ? ???"),
        ("zero\u200bwidth", "zerowidth"),
        ("", ""),
    ],
)
def test_letters_that_the_font_lacks_are_spelt_with_those_it_has(text: str, drawn: str) -> None:
    assert drawable_text(text) == drawn
    font = font_of(14)
    missing = font.getmask("\ue123")  # of a range that no font has
    for letter in drawn:
        mask = font.getmask(letter)
        assert (mask.size, bytes(mask)) != (missing.size, bytes(missing)), letter


def test_a_caption_in_other_letters_is_drawn_as_it_is_spelt() -> None:
    images = plain_images(1, side=64)
    accented, plain = (contact_sheet(images, [text], 1) for text in ("Crème", "Creme"))
    np.testing.assert_array_equal(np.asarray(accented), np.asarray(plain))
