"""Anchors for detectors with a feature pyramid: detectron2, torchvision, mmdetection, SSD."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from tinysight.boxes.export_inputs import input_lines, input_warnings
from tinysight.boxes.leveled_anchors import (
    LeveledAnchors,
    even_levels,
    factor_level,
    number_text,
)
from tinysight.errors import DataError

Factors = tuple[tuple[tuple[float, ...], ...], tuple[tuple[float, ...], ...]]


def render_detectron2(leveled: LeveledAnchors) -> str:
    """Write the part of a detectron2 config that sets anchors: sizes times ratios on every level.

    Raises:
        DataError: The anchors of a level are not products of sizes and ratios.
    """
    even_levels(leveled, "detectron2")
    factors = _factors(leveled)
    if factors is None:
        raise DataError(
            "detectron2: a config holds sizes times ratios only, and these anchors are not "
            "products of sizes and ratios on every level. Write code instead "
            "(--to detectron2-code), fit structured anchors (`tinysight boxes anchors "
            "--structured LxSxR --json`), or put one anchor on each level."
        )
    lines = [
        f"# {leveled.about}; ratios are height / width",
        *(f"# {line}" for line in input_lines(leveled, "detectron2")),
        "MODEL:",
        "  ANCHOR_GENERATOR:",
        f"    SIZES: {_nested(factors[0])}",
        f"    ASPECT_RATIOS: {_nested(factors[1])}",
    ]
    return "\n".join(lines) + "\n"


def render_detectron2_code(leveled: LeveledAnchors) -> str:
    """Write a generator for detectron2 that makes exactly these anchors, and how to choose it.

    Raises:
        DataError: The levels hold different numbers of anchors.
    """
    pairs = [
        [(width * height) ** 0.5 for width, height in level.anchors_wh_px.tolist()]
        for level in even_levels(leveled, "detectron2")
    ]
    ratios = [
        [height / width for width, height in level.anchors_wh_px.tolist()]
        for level in leveled.levels
    ]
    return f'''"""{leveled.about}.

Import this file before the model is built and call add_fitted_anchors(cfg).
{_on_input(leveled, "detectron2-code")}"""

import torch
from detectron2.modeling.anchor_generator import (
    ANCHOR_GENERATOR_REGISTRY,
    DefaultAnchorGenerator,
)

# For each feature map, finest first (strides {_strides(leveled)}).
SIZES = {_nested(pairs)}
ASPECT_RATIOS = {_nested(ratios)}  # height / width, one for each size


@ANCHOR_GENERATOR_REGISTRY.register()
class FittedAnchorGenerator(DefaultAnchorGenerator):
    """Pairs each size with its own ratio, where the default combines all with all."""

    def generate_cell_anchors(self, sizes, aspect_ratios):
        make = super().generate_cell_anchors
        return torch.cat([make((size,), (ratio,)) for size, ratio in zip(sizes, aspect_ratios)])


def add_fitted_anchors(cfg):
    cfg.MODEL.ANCHOR_GENERATOR.NAME = "FittedAnchorGenerator"
    cfg.MODEL.ANCHOR_GENERATOR.SIZES = SIZES
    cfg.MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS = ASPECT_RATIOS
'''


def render_torchvision(leveled: LeveledAnchors) -> str:
    """Write a Python file with an ``AnchorGenerator`` that makes these anchors.

    Raises:
        DataError: The levels hold different numbers of anchors.
    """
    levels = even_levels(leveled, "torchvision")
    factors = _factors(leveled)
    if factors is not None:
        return f'''"""{leveled.about}.

Pass anchor_generator as rpn_anchor_generator to FasterRCNN or as anchor_generator to RetinaNet.
torchvision rounds the corners of these anchors to whole pixels.
{_on_input(leveled, "torchvision")}"""

from torchvision.models.detection.anchor_utils import AnchorGenerator

# For each feature map, finest first (strides {_strides(leveled)}); ratios are height / width.
anchor_generator = AnchorGenerator(
    sizes={_nested(factors[0], "()")},
    aspect_ratios={_nested(factors[1], "()")},
)
'''
    pairs = [level.anchors_wh_px.tolist() for level in levels]
    listed = ",\n".join(f"    {_nested(level)}" for level in pairs)
    return f'''"""{leveled.about}.

Pass anchor_generator as rpn_anchor_generator to FasterRCNN or as anchor_generator to RetinaNet.
{_on_input(leveled, "torchvision")}"""

import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator

# Width and height for each feature map, finest first (strides {_strides(leveled)}).
ANCHORS_WH = [
{listed},
]

# These anchors are not all sizes times all ratios. The arguments only say how many there are on
# each map; the anchors themselves are set below.
anchor_generator = AnchorGenerator(
    sizes=tuple(tuple(range(1, len(level) + 1)) for level in ANCHORS_WH),
    aspect_ratios=((1.0,),) * len(ANCHORS_WH),
)
anchor_generator.cell_anchors = [
    torch.tensor([(-w / 2, -h / 2, w / 2, h / 2) for w, h in level]) for level in ANCHORS_WH
]
'''


def render_mmdetection(leveled: LeveledAnchors) -> str:
    """Write the part of an mmdetection config that sets anchors.

    Anchors that are base size x scale x ratio, the same scales and ratios on every level, become an
    ``AnchorGenerator`` (RetinaNet); all others a ``YOLOAnchorGenerator`` (YOLOv3).

    Raises:
        DataError: The levels hold different numbers of anchors.
    """
    levels = even_levels(leveled, "mmdetection")
    lines = (leveled.about, *input_lines(leveled, "mmdetection"))
    about = "\n".join(f"# {line}" for line in lines)
    scaled = _scales(leveled)
    if scaled is not None:
        base_sizes, scales, ratios = (_nested([row])[1:-1] for row in scaled)
        return f"""{about}
# Levels are listed finest first, as RetinaHead needs them; ratios are height / width.
model = dict(
    bbox_head=dict(
        anchor_generator=dict(
            _delete_=True,
            type="AnchorGenerator",
            base_sizes={base_sizes},
            scales={scales},
            ratios={ratios},
            strides=[{_strides(leveled)}],
        ),
    )
)
"""
    reverse = levels[::-1]
    listed = ",\n".join(
        "                ["
        + ", ".join(f"({number_text(w)}, {number_text(h)})" for w, h in level.anchors_wh_px)
        + "]"
        for level in reverse
    )
    strides = [level.stride_px for level in reverse]
    return f"""{about}
# Levels are listed coarsest first, as YOLOV3Head needs them. For a head that takes the finest
# first (RetinaHead, RPNHead), turn the lists round.
model = dict(
    bbox_head=dict(
        featmap_strides={strides},
        anchor_generator=dict(
            _delete_=True,
            type="YOLOAnchorGenerator",
            base_sizes=[
{listed},
            ],
            strides={strides},
        ),
    )
)
"""


def render_ssd(leveled: LeveledAnchors) -> str:
    """Write the default boxes of each feature map as fractions of the input, in JSON."""
    width, height = leveled.input_size_wh
    about = f"default boxes: {leveled.about}; width and height as fractions of the input"
    value = {
        "about": ". ".join((about, *input_warnings(leveled, "ssd"))),
        "input_size_wh": [width, height],
        "steps_px": [level.stride_px for level in leveled.levels],
        "default_boxes_wh": [
            [[w / width, h / height] for w, h in level.anchors_wh_px.tolist()]
            for level in leveled.levels
        ],
    }
    return json.dumps(value, indent=1) + "\n"


def _on_input(leveled: LeveledAnchors, to: str) -> str:
    """Return the lines of a docstring on the input, each with its end."""
    return "".join(f"{line}\n" for line in input_lines(leveled, to))


def _factors(leveled: LeveledAnchors) -> Factors | None:
    """Return sizes and ratios of all levels, or None where a level has no such structure."""
    found = [factor_level(level.anchors_wh_px) for level in leveled.levels]
    kept = [factors for factors in found if factors is not None]
    if len(kept) < len(found):
        return None
    return tuple(sizes for sizes, _ in kept), tuple(ratios for _, ratios in kept)


def _scales(
    leveled: LeveledAnchors,
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]] | None:
    """Return base sizes, scales and ratios where every level has the same scales and ratios."""
    factors = _factors(leveled)
    if factors is None:
        return None
    sizes, ratios = factors
    scales = [tuple(size / own[0] for size in own) for own in sizes]
    if not (_all_close(scales) and _all_close(ratios)):
        return None
    return tuple(own[0] for own in sizes), scales[0], ratios[0]


def _all_close(rows: Sequence[tuple[float, ...]]) -> bool:
    first = rows[0]
    return all(
        len(row) == len(first)
        and all(math.isclose(a, b, rel_tol=1e-3) for a, b in zip(row, first, strict=True))
        for row in rows
    )


def _nested(rows: Sequence[Sequence[float]], brackets: str = "[]") -> str:
    """Write rows of numbers as a literal of lists, or of tuples."""
    left, right = brackets[0], brackets[1]
    tail = "," if left == "(" else ""
    parts = [
        left + ", ".join(number_text(value, 6) for value in row) + tail + right for row in rows
    ]
    return left + ", ".join(parts) + tail + right


def _strides(leveled: LeveledAnchors) -> str:
    return ", ".join(str(level.stride_px) for level in leveled.levels)
