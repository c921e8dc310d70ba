"""The arguments with which every ``tinysight boxes`` command names its annotations."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinysight.boxes.findings import Reading

DEFAULT_INPUT_PX = 640

# The words of boxes.formats.READERS, boxes.policies.POLICIES and boxes.geometry.FITS, repeated so
# that --help needs no numpy; a test holds them equal.
FORMATS = (
    "coco",
    "yolo",
    "voc",
    "csv",
    "parquet",
    "via",
    "labelme",
    "cvat",
    "createml",
    "wider-face",
    "tiny-imagenet",
    "plain-rows",
)
POLICIES = ("keep", "clip", "drop", "strict")
FITS = ("letterbox", "stretch", "shorter-side")


def add_input_arguments(parser: argparse.ArgumentParser, *, takes_many: bool = True) -> None:
    """Add FILE..., or one FILE, and how to read it."""
    parser.add_argument(
        "files",
        nargs="+" if takes_many else 1,
        type=Path,
        metavar="FILE",
        help="annotation files, or folders of them; COCO, YOLO, VOC, CSV, LabelMe and others"
        if takes_many
        else "annotation file, or a folder of them; COCO, YOLO, VOC, CSV, LabelMe and others",
    )
    add_reading_arguments(parser)


def add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how annotations are read."""
    parser.add_argument(
        "--format",
        choices=FORMATS,
        metavar="NAME",
        help=f"found by content, or {', '.join(FORMATS)}",
    )
    parser.add_argument(
        "--box-order",
        metavar="ORDER",
        help="what the four numbers of a box are: xywh, yxwh, xyxy, yxyx or cxcywh, with :rel for "
        "fractions, :1 for pixels counted from 1 (not for cxcywh) or, after corners (xyxy, yxyx), "
        ":last for corners that name the last pixel; measured when not given",
    )
    parser.add_argument(
        "--policy",
        choices=POLICIES,
        default="clip",
        help="what becomes of a box that leaves its image: keep it, clip it (default), drop it; "
        "strict stops at any defect",
    )
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="images, for sizes that the files do not state"
    )
    parser.add_argument(
        "--image-size",
        type=_size_wh,
        metavar="WxH",
        help="width and height in pixels of images whose size is not known otherwise",
    )


def require_not_input(
    outputs: Iterable[Path], inputs: Iterable[str | Path], *, option: str = "--out"
) -> None:
    """Refuse to write over annotations that are read.

    Args:
        outputs: Every file that may be written.
        inputs: Files of annotations.
        option: What the user named the files to write, or their folder, with.

    Raises:
        RunError: One is both.
    """
    from tinysight.overwriting import require_other_file

    inputs = tuple(inputs)
    for out in outputs:
        require_other_file(out, inputs, what="annotations that are read", option=option)


def read_input(
    arguments: argparse.Namespace, *, outputs: Iterable[Path] = (), option: str = "--out"
) -> Reading:
    """Read what ``arguments.files`` names as :func:`add_reading_arguments` says.

    Args:
        arguments: Those of the command.
        outputs: Every file that the command may write; none may be one that is read.
        option: What the user named them, or their folder, with.
    """
    from tinysight.boxes.reading import read_boxes

    outputs = tuple(outputs)
    require_not_input(outputs, arguments.files, option=option)
    reading = read_boxes(
        arguments.files,
        format=arguments.format,
        box_order=arguments.box_order,
        policy=arguments.policy,
        images_dir=arguments.images,
        image_size_wh=arguments.image_size,
    )
    require_not_input(outputs, reading.files, option=option)  # of folders now known by name
    return reading


@contextmanager
def faults_named(files: Sequence[Path]) -> Iterator[None]:
    """Name the files at the beginning of what a fault says of the boxes in them."""
    from tinysight.errors import DataError

    try:
        yield
    except DataError as fault:
        more = f" and {len(files) - 1:,} more" if len(files) > 1 else ""
        raise DataError(f"{files[0]}{more}: {fault}") from fault


def input_size_wh(text: str) -> tuple[int, int]:
    """Return the size of a network's input: one side, or width x height, in pixels."""
    match = re.fullmatch(r"(\d{1,6})(?:x(\d{1,6}))?", text)
    if match and int(match[1]) and int(match[2] or match[1]):
        return int(match[1]), int(match[2] or match[1])
    raise argparse.ArgumentTypeError(
        f"must be a size in pixels from 1 up, or WIDTHxHEIGHT, got {text!r}. Example: 640."
    )


def _size_wh(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,9})x(\d{1,9})", text)
    if match and int(match[1]) and int(match[2]):
        return int(match[1]), int(match[2])
    raise argparse.ArgumentTypeError(
        f"must be WIDTHxHEIGHT in pixels, got {text!r}. Example: 1024x768."
    )
