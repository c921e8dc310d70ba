"""From the bytes of an image file to the pixels of one row of a store.

Whatever is not a plain 8-bit RGB image of the right size is repaired, and every repair has a
name; what cannot be repaired raises ``UndecodableImage`` with the reason. Nothing passes in
silence.
"""

from __future__ import annotations

import io
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from tinysight.orientation import UPRIGHT, orientation_of, turned_upright

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What Pillow may read; some of its other readers call programs or miss that a file is cut off."""

_STARTS = (b"BM", b"GIF8", b"\xff\xd8", b"\x89PNG", b"P5", b"P6", b"II*\0", b"MM\0*", b"RIFF")
_DAMAGED = "damaged or cut off"

MAX_IMAGE_PX = 2**25
"""Larger images (33 megapixels, 100 MB of RGB) are refused, as a small file may hold a huge one;
nor may a long, thin one become larger when its shorter side is enlarged."""

TOO_LARGE = "too many pixels"
TOO_LONG = "too large when resized"
"""Reasons against an image whose details say what would mend it."""
_MOST_PX = f"more than {MAX_IMAGE_PX:,}; save it smaller"

WrongSize = Literal["resize", "reject"]

ANIMATED = "animated: first frame taken"
ROTATED = "turned upright by its EXIF orientation"
GREY = "grey"
BILEVEL = "black and white"
PALETTE = "palette"
CMYK = "CMYK"
YCBCR = "YCbCr"
LAB = "Lab"
DEEP = "16 bits a channel"
ALPHA = "transparency laid on white"
RESIZED = "resized"
CROPPED = "cropped to its centre"

_REPAIR_OF_MODE = {
    "1": BILEVEL,
    "L": GREY,
    "LA": GREY,
    "P": PALETTE,
    "PA": PALETTE,
    "CMYK": CMYK,
    "YCbCr": YCBCR,
    "LAB": LAB,
}
_COLOUR_MODES = ("RGB", "RGBA", "RGBa", "RGBX")
_ALPHA_MODES = ("LA", "PA", "RGBA", "RGBa")


class UndecodableImage(Exception):
    """An image that cannot be used: why, in few words that can be counted, and what was found."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class DecodedImage(NamedTuple):
    """The pixels of an image and what was done to get them."""

    pixels_u8: NDArray[np.uint8]  # (S, S, 3)
    width_px: int
    """As the file has it, upright."""
    height_px: int
    repairs: tuple[str, ...]


def decode_image(
    data: bytes | NDArray[np.uint8], *, size_px: int, wrong_size: WrongSize = "resize"
) -> DecodedImage:
    """Return an image as (size_px, size_px, 3) uint8 RGB.

    Args:
        data: An image file in any format that Pillow reads, or an (H, W, 3) uint8 image.
        size_px: Side of the result.
        wrong_size: ``resize`` scales the shorter side to ``size_px`` (bilinear, with
            antialiasing) and crops the centre; ``reject`` refuses every other size.

    Raises:
        UndecodableImage: Not an image, damaged, cut off, too large as it is or when resized, of
            values without a known range, or of another size when that is to be refused.
    """
    if isinstance(data, bytes):
        image, repairs = _open_upright(data)
        image = _to_rgb(image, repairs)
    else:
        image, repairs = Image.fromarray(data), []
    width, height = image.size
    if image.size != (size_px, size_px):
        if wrong_size == "reject":
            raise UndecodableImage("wrong size", f"{width}x{height} px, not {size_px}x{size_px}")
        image = _fit(image, size_px, repairs)
    return DecodedImage(np.asarray(image), width, height, tuple(repairs))


def _open_upright(data: bytes) -> tuple[Image.Image, list[str]]:
    if not data:
        raise UndecodableImage("empty file")
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise UndecodableImage(TOO_LARGE, _MOST_PX) from error
    except Exception as error:
        reason = _DAMAGED if data.startswith(_STARTS) else "not an image"
        raise UndecodableImage(reason, f"begins with {data[:4]!r}") from error
    if image.width * image.height > MAX_IMAGE_PX:
        raise UndecodableImage(TOO_LARGE, f"{image.width}x{image.height} px, {_MOST_PX}")
    repairs: list[str] = []
    try:
        if getattr(image, "is_animated", False):
            repairs.append(ANIMATED)
        raw_mode = _raw_mode(image)
        is_deep = image.mode.startswith("I;16") or ";16" in raw_mode
        orientation = orientation_of(image)  # asked for first: a TIFF forgets it when it is loaded
        image.load()
        if image.mode.startswith("I;16"):
            image = _in_16_bits(image, raw_mode)
        if "transparency" in image.info:
            image.info["transparency"] = _in_8_bits(image.info["transparency"], raw_mode)
        if orientation != UPRIGHT:
            image = turned_upright(image, orientation)
            repairs.append(ROTATED)
    except Exception as error:  # Pillow's readers raise nearly anything on damaged files
        raise UndecodableImage(_DAMAGED, str(error)) from error
    if is_deep:
        repairs.append(DEEP)
    return image, repairs


def _raw_mode(image: Image.Image) -> str:
    """Return how the file has the pixels, in Pillow's words, which a loaded image forgets."""
    tiles: list[Any] = getattr(image, "tile", [])
    return " ".join(str(tile[3]) for tile in tiles)


def _in_16_bits(image: Image.Image, raw_mode: str) -> Image.Image:
    """Return a deep grey image whose values are from 0, black, to 65,535.

    Of 12-bit TIFF Pillow gives the values as they are, and it turns white to black, where a file
    has it the other way round, in 8 bits only.
    """
    has_12_bits = ";12" in raw_mode
    is_white_zero = getattr(image, "tag_v2", {}).get(ExifTags.Base.PhotometricInterpretation) == 0
    if not has_12_bits and not is_white_zero:
        return image
    values = np.asarray(image).astype(np.uint16)
    if has_12_bits:
        values <<= 4
    return Image.fromarray(np.iinfo(np.uint16).max - values if is_white_zero else values)


def _in_8_bits(transparent: Any, raw_mode: str) -> Any:
    """Return the transparent colour of a PNG in the depth of the pixels; Pillow scales only these.

    Of 16-bit colour the high bytes are left, so colours that share them are transparent with it.
    """
    match raw_mode:
        case "L;2":
            return transparent * 85
        case "L;4":
            return transparent * 17
        case "RGB;16B":
            return tuple(value >> 8 for value in transparent)
    return transparent


def _to_rgb(image: Image.Image, repairs: list[str]) -> Image.Image:
    if image.mode.startswith("I;16"):
        image = _high_bytes(image)
    if image.mode in _REPAIR_OF_MODE:
        repairs.append(_REPAIR_OF_MODE[image.mode])
    elif image.mode not in _COLOUR_MODES:
        raise UndecodableImage("values without a known range", f"mode {image.mode}")
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        repairs.append(ALPHA)
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _high_bytes(image: Image.Image) -> Image.Image:
    """Return a 16-bit grey image with 8 bits, as Pillow does for colour."""
    deep = np.asarray(image).astype(np.uint16)
    grey = Image.fromarray((deep >> 8).astype(np.uint8))
    transparent = image.info.get("transparency")
    if transparent is not None:
        opaque = np.where(deep == transparent, 0, 255).astype(np.uint8)
        grey.putalpha(Image.fromarray(opaque))
    return grey


def _fit(image: Image.Image, size_px: int, repairs: list[str]) -> Image.Image:
    shorter = min(image.size)
    if shorter != size_px:
        width, height = (max(size_px, round(side * size_px / shorter)) for side in image.size)
        if width * height > MAX_IMAGE_PX:
            raise UndecodableImage(
                TOO_LONG,
                f"{image.width}x{image.height} px would become {width}x{height} px, more than "
                f"{MAX_IMAGE_PX:,}; cut out a part that is less long",
            )
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        repairs.append(RESIZED)
    if image.size != (size_px, size_px):
        left, top = (image.width - size_px) // 2, (image.height - size_px) // 2
        image = image.crop((left, top, left + size_px, top + size_px))
        repairs.append(CROPPED)
    return image
