"""Files of programs whose own formats are not read, told by their keys, and what to export."""

from __future__ import annotations

import re
from collections.abc import Set
from pathlib import Path

from tinysight.errors import DataError

KEY = re.compile(r'"((?:[^"\\]|\\.)*+)"\s*:')
"""A key of a JSON object."""

VIA_KEYS = frozenset({"_via_img_metadata", "_via_settings", "region_attributes"})
"""Keys that VGG Image Annotator 1 and 2 alone write."""

_LABEL_STUDIO_KEYS = {"from_name", "total_annotations"} | {
    f"{shape}labels" for shape in ("rectangle", "polygon", "ellipse", "brush")
}
_VIA_3_TABLE = "# Exported using VGG Image Annotator"
_VIA_3_ADVICE = "it is of VGG Image Annotator 3, of which 1 and 2 are read. Convert it to COCO."


def refuse_other_json(text: str, path: Path) -> None:
    """Refuse the JSON of programs whose keys would pass for those of another format.

    Args:
        text: The begin of the file.
        path: Name of the file, for messages.

    Raises:
        DataError: It is of such a program.
    """
    keys = set(KEY.findall(text))
    advice = "" if "bbox" in keys else _advice_on(keys)
    if advice:
        raise DataError(f"{path}: must be of a known format, but {advice}")


def refuse_other_table(first_line: str, path: Path) -> None:
    """Refuse the table of VGG Image Annotator 3, see :func:`refuse_other_json`."""
    if first_line.startswith(_VIA_3_TABLE):
        raise DataError(f"{path}: must be of a known format, but {_VIA_3_ADVICE}")


def _advice_on(keys: Set[str]) -> str:
    if keys & _LABEL_STUDIO_KEYS or {"annotations", "result"} <= keys:
        return (
            "it is Label Studio's own JSON. Export from Label Studio as COCO, YOLO or Pascal VOC."
        )
    is_asset = {"asset", "regions"} <= keys and not keys & VIA_KEYS
    if is_asset or {"assets", "videoSettings"} <= keys:
        return "it is VoTT's own JSON. Export from VoTT as CSV or Pascal VOC."
    if {"classTitle", "geometryType"} <= keys:
        return "it is Supervisely's own JSON. Export from Supervisely as COCO, YOLO or Pascal VOC."
    if "instances" in keys and keys & {"metadata", "className"}:
        return "it is SuperAnnotate's own JSON. Export from SuperAnnotate as COCO."
    if "via_fid_list" in keys or {"metadata", "xy"} <= keys:
        return _VIA_3_ADVICE
    if {"labels", "box2d"} <= keys:
        return (
            "it is a list with `labels` and `box2d`, as BDD100K and Scalabel have it. Convert it "
            "to COCO."
        )
    return ""
