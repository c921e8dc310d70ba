"""Which way up a picture is, as EXIF states it, and the picture turned so.

Only the one tag is read. Pillow's own ``exif_transpose`` writes the whole block anew, which fails
where any other tag is damaged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

_TAG = 0x0112
UPRIGHT = 1


def orientation_of(image: Image.Image) -> int:
    """Return the orientation, 1 to 8, that EXIF states; 1 where it states none that exists.

    Raises:
        Exception: Nearly anything, where Pillow cannot read the tags.

    Source:
        Exif 2.32, tag 0x0112.
    """
    if image.format == "JPEG" and "exif" not in image.info and "xmp" not in image.info:
        return UPRIGHT
    stated = image.getexif().get(_TAG, UPRIGHT)
    return int(stated) if stated in range(2, 9) else UPRIGHT


def turned_upright(image: Image.Image, orientation: int) -> Image.Image:
    """Return a picture turned and mirrored so that it is upright.

    Args:
        image: As it is stored, loaded. Pillow turns a TIFF itself when it loads it.
        orientation: 1 to 8, see :func:`orientation_of`.
    """
    from PIL import Image

    if image.format == "TIFF":
        return image
    turns = Image.Transpose
    turn = {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_270,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_90,
    }.get(orientation)
    return image if turn is None else image.transpose(turn)
