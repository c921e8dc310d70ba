"""Images as one picture: contact sheets with a caption above each image.

Letters are those of the font that comes with Pillow, which has ASCII and few others, so that a
picture is the same on every machine. :func:`drawable_text` says what becomes of the rest.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

_INK, _QUIET, _GROUND = "#1F2328", "#59636E", "#FFFFFF"
_GAP_PX = 10
_GAP_WITHIN_PX, _GAP_BETWEEN_PX = 4, 20  # of images that belong together
_MARGIN_PX = 16
_MOST_LINES = 2  # of one text of a caption
_ELLIPSIS = "…"
_HAS_TOO = frozenset("©«°±´·»‘’“”…‹›⁄™")  # of the font, beside ASCII
_UNKNOWN = "?"
_SPELT = str.maketrans(
    {"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O"}
    | {"ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th"}
    | {"ı": "i", "×": "x", "–": "-", "—": "-", "−": "-", "‐": "-"}
)

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
        captions: One an image: a text, or several below each other, the first one darker. A text
            that is too long for its image goes on in a second line, and if that is not enough
            ends in an ellipsis. All texts are drawn as :func:`drawable_text` returns them.
        columns: Images in a row, at least 1.
        scale: Pixels of the sheet for each pixel of an image; pixels stay square and sharp.
        title: Stands above all images, in as many lines as it needs.
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
    height_px, width_px = (scale * side for side in images_u8[0].shape[:2])
    font = font_of(caption_px)
    line_px = round(1.4 * caption_px)
    lines_of = [list(_caption_lines(caption, font, width_px)) for caption in captions]
    columns = min(columns, len(lines_of))
    # Only rows with a long caption are higher for it.
    captions_px = [
        line_px * max(1, *(len(lines) for lines in lines_of[start : start + columns])) + 2
        for start in range(0, len(lines_of), columns)
    ]
    gap_px, group_gap_px = (_GAP_PX, 0) if group == 1 else (_GAP_WITHIN_PX, _GAP_BETWEEN_PX)
    lefts_px = [
        _MARGIN_PX + column * (width_px + gap_px) + column // group * group_gap_px
        for column in range(columns)
    ]
    sheet_px = lefts_px[-1] + width_px + _MARGIN_PX
    title_font, title_line_px = font_of(round(1.4 * caption_px)), round(1.8 * caption_px)
    title_lines = list(_lines_of(title or "", title_font, sheet_px - 2 * _MARGIN_PX))
    title_px = title_line_px * len(title_lines) + (round(0.8 * caption_px) if title_lines else 0)
    tops_px = [
        _MARGIN_PX + title_px + sum(captions_px[:row]) + row * (height_px + _GAP_PX)
        for row in range(len(captions_px))
    ]
    low_px = tops_px[-1] + captions_px[-1] + height_px
    sheet = Image.new("RGB", (sheet_px, low_px + _MARGIN_PX), _GROUND)
    draw = ImageDraw.Draw(sheet)
    for line, text in enumerate(title_lines):
        place = (_MARGIN_PX, _MARGIN_PX + line * title_line_px)
        draw.text(place, text, _INK, title_font, anchor="la")
    for number, lines in enumerate(lines_of):
        row, column = divmod(number, columns)
        x_px, y_px = lefts_px[column], tops_px[row]
        for line, (text, ink) in enumerate(lines):
            draw.text((x_px, y_px + line * line_px), text, ink, font, anchor="la")
        image = Image.fromarray(np.ascontiguousarray(images_u8[number]))
        image = image.resize((width_px, height_px), Image.Resampling.NEAREST)
        sheet.paste(image, (x_px, y_px + captions_px[row]))
    return sheet


def font_of(height_px: int) -> Font:
    """Return the font of every picture, with letters of a height in pixels."""
    return ImageFont.load_default(height_px)


def drawable_text(text: str) -> str:
    """Return a text as the font can draw it: ``é`` as ``e``, ``ß`` as ``ss``, ``猫`` as ``?``.

    Args:
        text: Latin letters lose their marks; of any other script each letter becomes ``?``.
    """
    return "".join(
        letter if _is_drawable(letter) else _spelt(letter) for letter in " ".join(text.split())
    )


def _is_drawable(letter: str) -> bool:
    return (letter.isascii() and letter.isprintable()) or letter in _HAS_TOO


def _spelt(letter: str) -> str:
    parts = unicodedata.normalize("NFKD", letter)
    # Marks on a letter and signs without a shape of their own are left out.
    bare = (part for part in parts if unicodedata.category(part) not in ("Mn", "Cf"))
    plain = "".join(bare).translate(_SPELT)
    return plain if all(map(_is_drawable, plain)) else _UNKNOWN


def shorten_text(text: str, font: Font, room_px: float) -> str:
    """Return a text as it can be drawn, or as much of its beginning as fits with an ellipsis.

    Args:
        text: One line, see :func:`drawable_text`.
        font: What it will be drawn with.
        room_px: Width that it may have, pixels.
    """
    text = drawable_text(text)
    if font.getlength(text) <= room_px:
        return text
    for length in range(len(text) - 1, 0, -1):
        shorter = text[:length].rstrip(" ,") + _ELLIPSIS
        if font.getlength(shorter) <= room_px:
            return shorter
    return _ELLIPSIS


def _caption_lines(
    caption: str | Sequence[str], font: Font, room_px: float
) -> Iterator[tuple[str, str]]:
    """Yield the lines of a caption, each with its colour."""
    for number, text in enumerate([caption] if isinstance(caption, str) else caption):
        lines = list(_lines_of(text, font, room_px))
        if len(lines) > _MOST_LINES:
            rest = " ".join(lines[_MOST_LINES - 1 :])
            lines[_MOST_LINES - 1 :] = [shorten_text(rest, font, room_px)]
        for line in lines:
            yield line, _QUIET if number else _INK


def _lines_of(text: str, font: Font, room_px: float) -> Iterator[str]:
    """Yield a text in lines that fit, broken between words, and within a word that fits no line."""
    line = ""
    for word in drawable_text(text).split():
        longer = f"{line} {word}" if line else word
        if line and font.getlength(longer) > room_px:
            yield line
            longer = word
        while len(longer) > 1 and font.getlength(longer) > room_px:
            fits = len(longer) - 1
            while fits > 1 and font.getlength(longer[:fits]) > room_px:
                fits -= 1
            yield longer[:fits]
            longer = longer[fits:]
        line = longer
    if line:
        yield line
