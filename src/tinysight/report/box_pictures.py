"""Photographs with their boxes and the anchors that would learn them."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tinysight.report.chart_style import INK, RUN_COLOURS
from tinysight.report.pictures import font_of, shorten_text

SIDE_PX = 520
"""Longer side of a picture."""

_LEAST_PX = 3  # of a box: a smaller one has no room for its outline
_DASH_PX = 7
_TEXT_PX = 13


def draw_boxes(
    photograph: Image.Image,
    boxes_xywh_px: NDArray[np.float64],
    labels: Sequence[str],
    anchors_wh_px: NDArray[np.float64] | None = None,
    anchor_index: NDArray[np.integer] | None = None,
) -> Image.Image:
    """Draw boxes on a photograph, each with an anchor around its own centre.

    Args:
        photograph: RGB.
        boxes_xywh_px: (n, 4) left, top, width, height in pixels of the photograph.
        labels: Name of the class of each box, drawn as :func:`shorten_text` does.
        anchors_wh_px: (n, 2) the best anchor of each box in the same pixels; none when not given.
        anchor_index: (n,) which anchor that is; it decides the colour.

    Returns:
        A picture whose longer side is ``SIDE_PX``, so that lines and letters look alike on all.
    """
    scale = SIDE_PX / max(photograph.size)
    size = tuple(max(1, round(side * scale)) for side in photograph.size)
    picture = photograph.resize((size[0], size[1]), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(picture)
    font = font_of(_TEXT_PX)
    for number, (left, top, width, height) in enumerate((boxes_xywh_px * scale).tolist()):
        which = number if anchor_index is None else int(anchor_index[number])
        colour = RUN_COLOURS[which % len(RUN_COLOURS)]
        if anchors_wh_px is not None:
            anchor_wh = anchors_wh_px[number] * scale
            centre = left + width / 2, top + height / 2
            _dashed_rectangle(draw, centre, (float(anchor_wh[0]), float(anchor_wh[1])), colour)
        right, bottom = left + max(width, _LEAST_PX), top + max(height, _LEAST_PX)
        draw.rectangle((left, top, right, bottom), outline="white", width=4)
        draw.rectangle((left + 1, top + 1, right - 1, bottom - 1), outline=colour, width=2)
        text = shorten_text(labels[number], font, max(width, 40.0))
        place = (left + 5, max(top, 0.0) + 4)
        box = draw.textbbox(place, text, font)
        draw.rectangle((box[0] - 3, box[1] - 2, box[2] + 3, box[3] + 2), fill="white")
        draw.text(place, text, INK, font)
    return picture


def encode_picture(picture: Image.Image) -> bytes:
    """Return a picture as a WebP file, the same bytes each time."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=82, method=4)
    return buffer.getvalue()


def _dashed_rectangle(
    draw: ImageDraw.ImageDraw,
    centre: tuple[float, float],
    size_wh: tuple[float, float],
    colour: str,
) -> None:
    left, top = centre[0] - size_wh[0] / 2, centre[1] - size_wh[1] / 2
    right, bottom = left + size_wh[0], top + size_wh[1]
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    for start, end in itertools.pairwise(corners):
        length = max(abs(end[0] - start[0]), abs(end[1] - start[1]))
        for dash in range(int(length // (2 * _DASH_PX)) + 1):
            first = 2 * _DASH_PX * dash / max(length, 1.0)
            last = min(1.0, first + _DASH_PX / max(length, 1.0))
            line = [
                (start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1]))
                for share in (first, last)
            ]
            draw.line(line, fill="white", width=5)
            draw.line(line, fill=colour, width=3)
