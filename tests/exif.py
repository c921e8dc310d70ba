"""EXIF as cameras do not write it."""

from __future__ import annotations

import struct


def turned_with_a_damaged_maker() -> bytes:
    """Return tags as a TIFF: orientation 6, and a maker that is a fraction instead of a text."""
    orientation = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    maker = struct.pack("<HHII", 0x010F, 5, 1, 38)
    end, fraction = struct.pack("<I", 0), struct.pack("<II", 3, 2)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", 2) + orientation + maker + end + fraction
