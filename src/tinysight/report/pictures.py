"""Images as one picture: contact sheets with a caption above each image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

_INK, _QUIET, _GROUND = "#1F2328", "#59636E", "#FFFFFF"
_GAP_PX = 10
_GAP_WITHIN_PX, _GAP_BETWEEN_PX = 4, 20  # of images that belong together
_MARGIN_PX = 16
_ELLIPSIS = "…"

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def contact_sheet(
    images_u8: Sequence[npt.NDArray[np.uint8]] | npt.NDArray[np.uint8],
    captions: Sequence[str | Sequence[str]],
    columns: int,
    *,
    scale: int = 2,
    title: str | None = None,
    caption_px: int = 12,
    group: int = 1,
) -> Image.Image:
    """Lay images out in rows, each with its caption above it.

    Args:
        images_u8: (N, H, W, 3) RGB or (N, H, W) grey, uint8, N at least 1, all of one size.
        captions: One a image: a text, or a text for each line. A line that is too long for its
            image is shortened with an ellipsis. The first line is darker than the others.
        columns: Images in a row, at least 1.
        scale: Pixels of the sheet for each pixel of an image; pixels stay square and sharp.
        title: A line above all images.
        caption_px: Height of the letters, pixels.
        group: So many images in a row belong together, a divisor of ``columns``: they stand close
            to each other and apart from the next ones.

    Raises:
        ValueError: No image, or not one caption for each image.
    """
    if len(images_u8) == 0 or len(images_u8) != len(captions):
        raise ValueError(
            f"`captions` must be one for each of at least one image, got {len(captions)} captions "
            f"for {len(images_u8)} images"
        )
    lines_of = [[text] if isinstance(text, str) else list(text) for text in captions]
    height_px, width_px = (scale * side for side in images_u8[0].shape[:2])
    font = ImageFont.load_default(caption_px)
    line_px = round(1.4 * caption_px)
    lines_px = line_px * max(len(lines) for lines in lines_of) + 2
    columns = min(columns, len(lines_of))
    rows = -(-len(lines_of) // columns)
    gap_px, group_gap_px = (_GAP_PX, 0) if group == 1 else (_GAP_WITHIN_PX, _GAP_BETWEEN_PX)
    lefts_px = [
        _MARGIN_PX + column * (width_px + gap_px) + column // group * group_gap_px
        for column in range(columns)
    ]
    row_px = lines_px + height_px + _GAP_PX
    title_px = round(2.6 * caption_px) if title else 0
    sheet = Image.new(
        "RGB",
        (
            lefts_px[-1] + width_px + _MARGIN_PX,
            2 * _MARGIN_PX + rows * row_px - _GAP_PX + title_px,
        ),
        _GROUND,
    )
    draw = ImageDraw.Draw(sheet)
    if title:
        title_font = ImageFont.load_default(round(1.4 * caption_px))
        room_px = sheet.width - 2 * _MARGIN_PX
        text = shorten_text(title, title_font, room_px)
        draw.text((_MARGIN_PX, _MARGIN_PX), text, _INK, title_font, anchor="lt")
    for number, lines in enumerate(lines_of):
        row, column = divmod(number, columns)
        x_px = lefts_px[column]
        y_px = _MARGIN_PX + title_px + row * row_px
        for line, text in enumerate(lines):
            place = (x_px, y_px + line * line_px)
            text = shorten_text(text, font, width_px)
            draw.text(place, text, _QUIET if line else _INK, font, anchor="la")
        image = Image.fromarray(np.ascontiguousarray(images_u8[number]))
        image = image.resize((width_px, height_px), Image.Resampling.NEAREST)
        sheet.paste(image, (x_px, y_px + lines_px))
    return sheet


def shorten_text(text: str, font: Font, room_px: float) -> str:
    """Return ``text``, or as much of its beginning as fits with an ellipsis.

    Args:
        text: One line.
        font: What it will be drawn with.
        room_px: Width that it may have, pixels.
    """
    if font.getlength(text) <= room_px:
        return text
    for length in range(len(text) - 1, 0, -1):
        shorter = text[:length].rstrip(" ,") + _ELLIPSIS
        if font.getlength(shorter) <= room_px:
            return shorter
    return _ELLIPSIS
