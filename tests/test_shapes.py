from __future__ import annotations

import numpy as np
import pytest

from tinysight.classify.randomness import keyed_generator
from tinysight.shapes import SHAPES, draw_shape


@pytest.mark.parametrize("name", SHAPES)
def test_shape_fills_the_box_it_is_said_to_have(name: str) -> None:
    for number in range(40):
        picture = draw_shape(name, keyed_generator(0, name, number))
        left, top, right, bottom = picture.box_xyxy_px
        assert 0 <= left < right <= 63
        assert 0 <= top < bottom <= 63
        assert picture.image_u8.dtype == np.uint8
        assert picture.image_u8.shape in ((64, 64, 3), (64, 64))


def test_same_generator_gives_the_same_picture_and_another_one_does_not() -> None:
    one, same, other = (draw_shape("star", keyed_generator(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.image_u8, same.image_u8)
    assert one.box_xyxy_px == same.box_xyxy_px
    assert not np.array_equal(one.image_u8, other.image_u8)


def test_few_pictures_are_grey() -> None:
    pictures = [draw_shape("ring", keyed_generator(0, number)) for number in range(300)]
    assert 1 <= sum(picture.image_u8.ndim == 2 for picture in pictures) <= 25


def test_pictures_can_be_drawn_at_another_size() -> None:
    picture = draw_shape("heart", keyed_generator(3), size_px=32)
    assert picture.image_u8.shape[:2] == (32, 32)
    assert max(picture.box_xyxy_px) <= 31


# Area of each shape over the area of its unit circle, by hand, for the middle form where a shape
# has several. It tells a shape from its neighbours, and a broken formula from a whole one.
AREAS = {
    "circle": np.pi * 0.9**2,
    "ring": np.pi * (0.9**2 - 0.475**2),
    "square": 1.48**2,
    "diamond": 2 * 0.675,
    "triangle": 3 * np.sqrt(3) / 4,
    "hexagon": 2 * np.sqrt(3) * 0.8**2,
    "star": 5 * 0.43 * np.sin(np.pi / 5),
    "cross": 2 * (1.84 * 0.58) - 0.58**2,
    "heart": 1 + np.pi * 0.5**2,
}


@pytest.mark.parametrize("name", AREAS)
def test_area_of_a_shape_is_the_one_computed_by_hand(name: str) -> None:
    side = np.linspace(-1.25, 1.25, 1001, dtype=np.float32)
    u, v = np.meshgrid(side, side)
    inside = SHAPES[name].distance(u, v, 0.5) < 0
    assert inside.sum() * float(side[1] - side[0]) ** 2 == pytest.approx(AREAS[name], rel=0.01)


@pytest.mark.parametrize("name", SHAPES)
def test_shape_lies_in_the_circle_around_it_and_has_no_sudden_edge(name: str) -> None:
    side = np.linspace(-1.25, 1.25, 501, dtype=np.float32)
    u, v = np.meshgrid(side, side)
    for form in (0.0, 0.5, 1.0):
        distance = SHAPES[name].distance(u, v, form)
        assert np.hypot(u, v)[distance < 0].max() <= 1.08
        # A true distance changes by at most the way gone.
        assert np.abs(np.diff(distance, axis=0)).max() <= 1.01 * (side[1] - side[0])
