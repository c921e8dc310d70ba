"""What a framework must be told so that images meet its input as they met that of the anchors.

Anchors are pixels at one input, and frameworks bring images to it in different ways: the same
anchors on images of another scale are too small or too large.

Source:
    AlexeyAB/darknet: letter_box is 0 by default (src/parser.c) and refused beside mosaic=1
    (src/data.c). torchvision: min_size=800, max_size=1333 (models/detection/faster_rcnn.py), scaled
    by the lesser of the two factors (transform.py). detectron2: INPUT.MIN_SIZE_TRAIN and the like
    (config/defaults.py), the same rule (data/transforms/augmentation_impl.py). weiliu89/caffe:
    resize_mode WARP (examples/ssd/ssd_pascal.py). mmdetection: Resize with keep_ratio=True has the
    rule of torchvision, for the two numbers of its scale (mmcv/image/geometric.py).
"""

from __future__ import annotations

import textwrap

from tinysight.boxes.leveled_anchors import LeveledAnchors

_LINE_LENGTH = 96
_SHORTER_PX, _LONGEST_PX = 800, 1333
_MAPS_PX = {"Faster R-CNN": (4, 8, 16, 32, 64), "RetinaNet": (8, 16, 32, 64, 128)}


def input_warnings(leveled: LeveledAnchors, to: str) -> tuple[str, ...]:
    """Return what to do where a framework would make other images than the anchors are for.

    Args:
        leveled: The anchors on their levels.
        to: A name of ``export.FORMATS``.

    Returns:
        Full sentences; none where its defaults are right, or where nothing is known of it.
    """
    if to.startswith("darknet"):
        return _for_darknet(leveled)
    if to == "ssd" and leveled.fit != "stretch":
        return (f"SSD stretches images to its input, {_but(leveled)}. {_fit_for('stretch')}",)
    if to in ("yolov5", "yolov7") and leveled.fit != "letterbox":
        return (f"yolov5 and v7 scale and pad images, {_but(leveled)}. {_fit_for('letterbox')}",)
    if to == "torchvision":
        sizes = "min_size={0} and max_size={1}"
        return (*_for_shorter_side(leveled, to, sizes), *_for_pyramids(leveled))
    if to in ("detectron2", "detectron2-code"):
        sizes = (
            "INPUT.MIN_SIZE_TRAIN ({0},), MAX_SIZE_TRAIN {1}, MIN_SIZE_TEST {0} and "
            "MAX_SIZE_TEST {1}"
        )
        return (*_for_shorter_side(leveled, "detectron2", sizes), *_for_pyramids(leveled))
    if to == "mmdetection" and not (leveled.fit == "stretch" or _has_one_rule(leveled)):
        return (
            f"mmdetection scales a high image as it does a wide one, {_but(leveled)}. Fit anchors "
            f"with the fit shorter-side, or for a square.",
        )
    return ()


def input_lines(leveled: LeveledAnchors, to: str) -> list[str]:
    """Return the lines of a comment in the file: the warnings, and what is to be set in any case.

    Arguments as of :func:`input_warnings`.
    """
    texts = list(input_warnings(leveled, to))
    width, height = leveled.input_size_wh
    if to.startswith("darknet"):
        texts.insert(0, f"[net] must have width={width} and height={height}.")
    if to == "mmdetection" and not texts:
        keeps_ratio = leveled.fit != "stretch"
        texts = [
            f"The pipelines must have Resize with scale=({width}, {height}) and "
            f"keep_ratio={keeps_ratio}."
        ]
    return wrapped(*texts)


def wrapped(*texts: str) -> list[str]:
    """Return lines of a comment, a new one for each text."""
    return [
        line for text in texts for line in textwrap.wrap(text, _LINE_LENGTH, break_on_hyphens=False)
    ]


def _for_darknet(leveled: LeveledAnchors) -> tuple[str, ...]:
    if leveled.fit == "stretch":
        return ()
    mend = "Set letter_box=1 and mosaic=0, or fit" if leveled.fit == "letterbox" else "Fit"
    return (
        f"AlexeyAB's darknet stretches images unless [net] has letter_box=1, but these anchors are "
        f"for the fit {leveled.fit}. {mend} for stretched images with `tinysight boxes anchors "
        f"FILE --fit stretch`.",
    )


def _for_shorter_side(leveled: LeveledAnchors, framework: str, sizes: str) -> tuple[str, ...]:
    """Return what the sizes must be where they are not the default ones, or that none will do."""
    width, height = leveled.input_size_wh
    can_be_set = _has_one_rule(leveled)
    if can_be_set and (height, width) == (_SHORTER_PX, _LONGEST_PX):
        return ()
    mend = f"Fit anchors for that with {_command('shorter-side')}."
    if can_be_set:
        mend = f"Set {sizes.format(height, width)}. Or f{mend[1:]}"
    return (
        f"{framework} scales an image until its shorter side has {_SHORTER_PX} pixels or its "
        f"longer side {_LONGEST_PX}, {_but(leveled)}. {mend}",
    )


def _has_one_rule(leveled: LeveledAnchors) -> bool:
    """Whether images are scaled by their longer and shorter side, as by one number for a square."""
    width, height = leveled.input_size_wh
    return leveled.fit == "shorter-side" or (leveled.fit == "letterbox" and width == height)


def _for_pyramids(leveled: LeveledAnchors) -> tuple[str, ...]:
    """Return which feature maps the network must have where they are not the usual five."""
    strides = tuple(level.stride_px for level in leveled.levels)
    if strides in _MAPS_PX.values():
        return ()
    usual = " and ".join(
        f"that of {name} has {len(maps)} ({_listed(maps)})" for name, maps in _MAPS_PX.items()
    )
    maps = "feature map" if len(strides) == 1 else "feature maps"
    return (
        f"The pyramid of the network must have {len(strides)} {maps} (strides {_listed(strides)}), "
        f"but {usual}. Name the strides of yours with --strides, and fit as many anchors for each.",
    )


def _but(leveled: LeveledAnchors) -> str:
    return f"but these anchors are for {leveled.input_in_words}"


def _fit_for(fit: str) -> str:
    return f"Fit anchors for that with {_command(fit)}."


def _command(fit: str) -> str:
    size = f" --input-size {_LONGEST_PX}x{_SHORTER_PX}" if fit == "shorter-side" else ""
    return f"`tinysight boxes anchors FILE --fit {fit}{size}`"


def _listed(strides: tuple[int, ...]) -> str:
    return ", ".join(map(str, strides))
