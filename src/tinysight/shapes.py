"""One picture of one shape: colours, texture, place, clutter and noise drawn at random.

Shapes are signed distances (negative inside) on a plane where the unit circle holds the shape,
so that edges are smooth at any size and angle and the box follows from the pixels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.float32]  # (S, S)
Colour = npt.NDArray[np.float32]  # (3,) red, green, blue in [0, 1]

_GREY_SHARE = 0.03
_LEAST_CONTRAST = 0.15  # difference in luma; below it a grey picture shows nothing
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Shape:
    """What makes a shape itself."""

    distance: Callable[[Plane, Plane, float], Plane]
    """Distance to the edge at (u right, v down), in radii of the circle around the shape; the
    last argument in [0, 1] chooses among the forms that the shape can have."""
    turn_degrees: float
    """How far it may be turned either way and still be itself."""


@dataclass(frozen=True)
class ShapePicture:
    """One picture and where its shape is."""

    image_u8: npt.NDArray[np.uint8]
    """(S, S, 3), or (S, S) for a grey picture."""
    box_xyxy_px: tuple[int, int, int, int]
    """First and last column and row that the shape covers, both inclusive, pixels."""


def draw_shape(name: str, generator: np.random.Generator, *, size_px: int = 64) -> ShapePicture:
    """Draw one picture of a shape.

    Args:
        name: A key of ``SHAPES``.
        generator: Where all draws come from.
        size_px: Side of the picture, pixels.
    """
    scale = size_px / 64
    ground, ink = _contrasting_colours(generator)
    image = _paint(generator, size_px, ground, spread=0.11)  # (S, S, 3)
    for _ in range(generator.integers(0, 6)):
        _add_clutter(image, generator, scale)

    radius_px = scale * 24.0 * generator.beta(3.0, 2.0) + scale * 7.0
    margin_px = min(0.85 * radius_px, 0.45 * size_px)
    centre_px = generator.uniform(margin_px, size_px - margin_px, 2)
    distance_px = _place(name, generator, size_px, centre_px, radius_px)
    coverage = _coverage(distance_px, softness_px=scale * generator.uniform(0.8, 2.0))
    box = _box_of(coverage)
    paint = _paint(generator, size_px, ink, spread=0.11)
    if generator.random() < 0.3:
        edge = _coverage(np.abs(distance_px + scale) - scale, softness_px=scale)
        paint = _mix(paint, ink * np.float32(0.45), edge)
    image = _mix(image, paint, coverage)

    if generator.random() < 0.35:
        _add_line(image, generator, scale)
    image += generator.normal(0.0, generator.uniform(0.005, 0.045), image.shape)
    is_grey = generator.random() < _GREY_SHARE
    levels = np.clip(255 * (image @ _LUMA if is_grey else image), 0, 255)
    return ShapePicture(np.rint(levels).astype(np.uint8), box)


def _place(
    name: str,
    generator: np.random.Generator,
    size_px: int,
    centre_px: npt.NDArray[np.float64],
    radius_px: float,
) -> Plane:
    """Return the distance to the edge of a turned, stretched and placed shape, pixels."""
    shape = SHAPES[name]
    angle = np.deg2rad(generator.uniform(-shape.turn_degrees, shape.turn_degrees))
    stretch = np.exp(generator.normal(0.0, 0.07))
    x_px, y_px = _pixel_centres(size_px)
    x, y = (x_px - centre_px[0]) / radius_px, (y_px - centre_px[1]) / radius_px
    u = (np.cos(angle) * x + np.sin(angle) * y) * stretch
    v = (np.cos(angle) * y - np.sin(angle) * x) / stretch
    distance = shape.distance(u.astype(np.float32), v.astype(np.float32), generator.random())
    distance_px: Plane = distance * np.float32(radius_px)
    return distance_px


def _coverage(distance_px: Plane, softness_px: float) -> Plane:
    """Return how much of each pixel lies inside: 0 to 1 over ``softness_px`` at the edge."""
    coverage: Plane = np.clip(0.5 - distance_px / np.float32(softness_px), 0, 1)
    return coverage


def _box_of(coverage: Plane) -> tuple[int, int, int, int]:
    inside = coverage >= 0.5
    columns, rows = np.flatnonzero(inside.any(axis=0)), np.flatnonzero(inside.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def _mix(under: Plane, over: Plane | Colour, coverage: Plane) -> Plane:
    mixed: Plane = under + coverage[..., None] * (over - under)
    return mixed


# --- colours and textures -----------------------------------------------------------------------


def _contrasting_colours(generator: np.random.Generator) -> tuple[Colour, Colour]:
    """Return a quiet colour for the ground and a livelier one that stands out in grey, too."""
    ground = _colour(generator, saturation=(0.0, 0.5), brightness=(0.2, 0.95))
    while True:
        ink = _colour(generator, saturation=(0.15, 0.85), brightness=(0.2, 1.0))
        if abs((ink - ground) @ _LUMA) >= _LEAST_CONTRAST:
            return ground, ink


def _colour(
    generator: np.random.Generator,
    saturation: tuple[float, float],
    brightness: tuple[float, float],
) -> Colour:
    hue = generator.random()
    wheel = np.clip(np.abs((hue + np.array([0.0, 2 / 3, 1 / 3])) % 1 * 6 - 3) - 1, 0, 1)
    shade = 1 - generator.uniform(*saturation) * (1 - wheel)
    colour: Colour = (generator.uniform(*brightness) * shade).astype(np.float32)
    return colour


def _paint(generator: np.random.Generator, size_px: int, colour: Colour, spread: float) -> Plane:
    """Return a textured plane (S, S, 3) around ``colour``."""
    other = colour + generator.normal(0.0, spread, 3).astype(np.float32)
    texture = _TEXTURES[generator.integers(len(_TEXTURES))](generator, size_px)
    return _mix(colour, other, texture)


def _plain(generator: np.random.Generator, size_px: int) -> Plane:
    return np.zeros((size_px, size_px), np.float32)


def _slope(generator: np.random.Generator, size_px: int) -> Plane:
    return _along(generator, size_px) * np.float32(1.5)


def _stripes(generator: np.random.Generator, size_px: int) -> Plane:
    turns = generator.uniform(3.0, 9.0)
    wave = np.sin(np.float32(2 * np.pi * turns) * _along(generator, size_px))
    return _coverage(wave, softness_px=0.5)


def _checks(generator: np.random.Generator, size_px: int) -> Plane:
    turns = generator.uniform(2.5, 6.0)
    angle = generator.uniform(0, np.pi)
    one, other = (_along_angle(size_px, angle + turn) for turn in (0, np.pi / 2))
    wave = np.sin(np.float32(2 * np.pi * turns) * one) * np.sin(
        np.float32(2 * np.pi * turns) * other
    )
    return _coverage(wave, softness_px=0.25)


def _clouds(generator: np.random.Generator, size_px: int) -> Plane:
    cells = int(generator.integers(3, 9))
    weights = _interpolation(size_px, cells)  # (S, cells)
    heights = generator.normal(0.0, 1.0, (cells, cells)).astype(np.float32)
    texture: Plane = np.linalg.multi_dot((weights, heights, weights.T))
    return texture


def _along(generator: np.random.Generator, size_px: int) -> Plane:
    return _along_angle(size_px, generator.uniform(0, 2 * np.pi))


def _along_angle(size_px: int, angle: float) -> Plane:
    """Return the way along a direction, 0 in the middle and about 1 across the picture."""
    x_px, y_px = _pixel_centres(size_px)
    across, down = x_px / size_px - 0.5, y_px / size_px - 0.5
    way: Plane = (np.cos(angle) * across + np.sin(angle) * down).astype(np.float32)
    return way


@functools.cache
def _pixel_centres(size_px: int) -> tuple[Plane, Plane]:
    centres_px = np.arange(size_px, dtype=np.float32) + np.float32(0.5)
    return centres_px[None, :], centres_px[:, None]


@functools.cache
def _interpolation(size_px: int, cells: int) -> Plane:
    """Return (S, cells) weights of a linear interpolation from cells to pixels."""
    at = np.linspace(0, cells - 1, size_px, dtype=np.float32)
    steps_away = np.abs(at[:, None] - np.arange(cells, dtype=np.float32))
    weights: Plane = np.clip(1 - steps_away, 0, 1)
    return weights


_TEXTURES = (_plain, _slope, _stripes, _checks, _clouds, _clouds)


# --- clutter ------------------------------------------------------------------------------------


def _add_clutter(image: Plane, generator: np.random.Generator, scale: float) -> None:
    """Draw a small dim shape or a line that belongs to no class, in place."""
    if generator.random() < 0.4:
        _add_line(image, generator, scale)
        return
    size_px = image.shape[0]
    name = list(SHAPES)[generator.integers(len(SHAPES))]
    radius_px = scale * generator.uniform(1.5, 4.5)
    distance_px = _place(name, generator, size_px, generator.uniform(0, size_px, 2), radius_px)
    colour = _colour(generator, saturation=(0.1, 0.8), brightness=(0.2, 1.0))
    image[:] = _mix(image, colour, 0.8 * _coverage(distance_px, softness_px=scale))


def _add_line(image: Plane, generator: np.random.Generator, scale: float) -> None:
    """Draw a thin line right across, in place."""
    size_px = image.shape[0]
    from_middle_px = size_px * (_along(generator, size_px) - generator.uniform(-0.5, 0.5))
    colour = _colour(generator, saturation=(0.0, 0.6), brightness=(0.1, 1.0))
    half_width_px = scale * generator.uniform(0.4, 1.2)
    distance_px = np.abs(from_middle_px) - np.float32(half_width_px)
    image[:] = _mix(image, colour, 0.7 * _coverage(distance_px, softness_px=scale))


# --- distances ----------------------------------------------------------------------------------


def _circle(u: Plane, v: Plane, form: float) -> Plane:
    return _disc(u, v, 0.9)


def _ring(u: Plane, v: Plane, form: float) -> Plane:
    return np.maximum(_disc(u, v, 0.9), -_disc(u, v, 0.25 + 0.45 * form))


def _crescent(u: Plane, v: Plane, form: float) -> Plane:
    shift = 0.3 + 0.25 * form  # the further the bite is shifted, the fatter the crescent
    return np.maximum(_disc(u, v, 0.9), -_disc(u - np.float32(shift), v, 0.72))


def _disc(u: Plane, v: Plane, radius: float) -> Plane:
    distance: Plane = np.hypot(u, v) - np.float32(radius)
    return distance


def _square(u: Plane, v: Plane, form: float) -> Plane:
    return _bar(u, v, 0.74, 0.74)


def _cross(u: Plane, v: Plane, form: float) -> Plane:
    half_width = 0.2 + 0.18 * form
    return np.minimum(_bar(u, v, 0.92, half_width), _bar(u, v, half_width, 0.92))


def _bar(u: Plane, v: Plane, half_width: float, half_height: float) -> Plane:
    return np.maximum(np.abs(u) - np.float32(half_width), np.abs(v) - np.float32(half_height))


def _diamond(u: Plane, v: Plane, form: float) -> Plane:
    half_width = 0.5 + 0.35 * form
    slope = half_width / np.hypot(half_width, 1.0)  # makes the distance true along the sides
    distance: Plane = (slope * (np.abs(u) / half_width + np.abs(v) - 1)).astype(np.float32)
    return distance


def _triangle(u: Plane, v: Plane, form: float) -> Plane:
    return _polygon(u, v, sides=3, apothem=0.5)


def _hexagon(u: Plane, v: Plane, form: float) -> Plane:
    return _polygon(u, v, sides=6, apothem=0.8)


def _polygon(u: Plane, v: Plane, sides: int, apothem: float) -> Plane:
    """Return the largest of the distances to the sides; the first side lies below."""
    angles = (2 * np.pi * np.arange(sides) / sides).astype(np.float32)
    nearest: Plane = np.max([np.sin(angle) * u + np.cos(angle) * v for angle in angles], axis=0)
    return nearest - np.float32(apothem)


def _star(u: Plane, v: Plane, form: float) -> Plane:
    """Return the distance to the line from a tip (radius 1) to the dent beside it."""
    half_turn = np.pi / 5
    angle = np.abs((np.arctan2(u, -v) + half_turn) % (2 * half_turn) - half_turn)  # 0 at a tip
    radius = np.hypot(u, v)
    dent_along, dent_across = (0.36 + 0.14 * form) * np.array(
        [np.cos(half_turn), np.sin(half_turn)]
    )
    length = np.hypot(dent_along - 1, dent_across)
    along, across = radius * np.cos(angle) - 1, radius * np.sin(angle)
    distance: Plane = (along * dent_across - across * (dent_along - 1)) / length
    return distance.astype(np.float32)


def _heart(u: Plane, v: Plane, form: float) -> Plane:
    """Return the union of a square on its tip and a half circle on each of its upper sides."""
    half_side = 0.5
    middle = half_side / np.sqrt(2)  # of an upper side, right and up from the square's middle
    w = v - np.float32(0.12)
    square = (np.abs(u) + np.abs(w)) / np.sqrt(2) - half_side
    lobe = np.hypot(np.abs(u) - middle, w + middle) - half_side
    distance: Plane = np.minimum(square, lobe).astype(np.float32)
    return distance


SHAPES: Mapping[str, Shape] = {
    "circle": Shape(_circle, 180),
    "ring": Shape(_ring, 180),
    "crescent": Shape(_crescent, 180),
    "square": Shape(_square, 18),
    "diamond": Shape(_diamond, 18),
    "triangle": Shape(_triangle, 30),
    "hexagon": Shape(_hexagon, 30),
    "star": Shape(_star, 36),
    "cross": Shape(_cross, 20),
    "heart": Shape(_heart, 25),
}
"""The shapes by name. When small, ring, circle and crescent, circle and hexagon, square and
diamond are easily confused."""
