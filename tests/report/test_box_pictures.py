from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageColor

from tinysight.report.box_pictures import SIDE_PX, draw_boxes, encode_picture
from tinysight.report.chart_style import RUN_COLOURS

GREY = Image.new("RGB", (SIDE_PX, SIDE_PX // 2), (128, 128, 128))


def colour_at(picture: Image.Image, x: int, y: int) -> tuple[int, ...]:
    found = picture.getpixel((x, y))
    assert isinstance(found, tuple)
    return found


def test_the_edge_of_a_box_has_the_colour_of_its_anchor() -> None:
    picture = draw_boxes(GREY, np.array([[100.0, 50, 200, 150]]), ["dog"])
    blue = ImageColor.getrgb(RUN_COLOURS[0])
    assert colour_at(picture, 200, 51) == blue
    assert colour_at(picture, 200, 199) == blue
    assert colour_at(picture, 101, 150) == blue
    assert colour_at(picture, 200, 130) == (128, 128, 128)
    third = draw_boxes(
        GREY,
        np.array([[100.0, 50, 200, 150]]),
        ["dog"],
        np.array([[40.0, 40.0]]),
        np.array([2]),
    )
    assert colour_at(third, 200, 51) == ImageColor.getrgb(RUN_COLOURS[2])


def test_the_anchor_is_dashed_around_the_centre_of_its_box() -> None:
    picture = draw_boxes(
        GREY, np.array([[100.0, 50, 200, 150]]), ["dog"], np.array([[100.0, 60.0]]), np.array([0])
    )
    top = [colour_at(picture, x, 95) for x in range(150, 250)]  # centre 200, 125
    coloured = sum(colour == ImageColor.getrgb(RUN_COLOURS[0]) for colour in top)
    assert 30 <= coloured <= 70


@pytest.mark.parametrize("side_px", [0.1, 0.5, 1.0, 1.9, 2.0, 2.1])
@pytest.mark.parametrize("left_px", [0.1, 100.0, 100.3, 333.3])
def test_a_box_with_no_room_for_its_outline_is_a_dot(side_px: float, left_px: float) -> None:
    picture = draw_boxes(GREY, np.array([[left_px, 200.0, side_px, side_px]]), ["dog"])
    assert colour_at(picture, round(left_px) + 1, 201) == ImageColor.getrgb(RUN_COLOURS[0])
    assert colour_at(picture, round(left_px) + 8, 195) == (128, 128, 128)


def test_a_label_is_drawn_with_the_letters_that_the_font_has() -> None:
    accented, plain = (
        draw_boxes(GREY, np.array([[100.0, 50, 200, 150]]), [name]) for name in ("Süß", "Suss")
    )
    np.testing.assert_array_equal(np.asarray(accented), np.asarray(plain))


@pytest.mark.parametrize("size", [(20, 10), (2000, 1000)])
def test_pictures_of_any_photograph_have_one_size(size: tuple[int, int]) -> None:
    photograph = Image.new("RGB", size)
    picture = draw_boxes(photograph, np.array([[0.0, 0, size[0], size[1]]]), ["a" * 200])
    assert picture.size == (SIDE_PX, SIDE_PX // 2)


def test_a_picture_is_a_webp_file_with_the_same_bytes_each_time() -> None:
    first, second = encode_picture(GREY), encode_picture(GREY)
    assert first == second
    assert Image.open(io.BytesIO(first)).format == "WEBP"
