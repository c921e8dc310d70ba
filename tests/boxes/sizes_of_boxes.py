"""Box sizes for tests: drawn, and read from the real data without our readers."""

from __future__ import annotations

import gzip
import json
import re
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.real_data import real_file

Floats = NDArray[np.float64]

_SIDE = st.floats(1.0, 800.0, allow_nan=False, width=32)


def drawn_sizes(num: int, seed: int = 0, spread: float = 0.8) -> Floats:
    return np.random.default_rng(seed).lognormal(4.0, spread, (num, 2))


def size_lists(least: int = 1, most: int = 30) -> Any:
    """Hypothesis: lists of sizes, some of them equal."""
    pairs = st.tuples(_SIDE, _SIDE) | st.sampled_from([(10.0, 10.0), (20.0, 10.0), (64.0, 64.0)])
    return st.lists(pairs, min_size=least, max_size=most).map(np.array)


def real_sizes_rel(name: str) -> Floats:
    """Sizes as fractions of their image: ``dogs``, ``sample_coco``, ``voc2007`` or ``coco``."""
    boxes_wh, images_wh = real_boxes_and_images(name)
    return boxes_wh / images_wh


def real_boxes_and_images(name: str) -> tuple[Floats, Floats]:
    """Sizes of the boxes and of the image of each, pixels."""
    if name == "sample_coco":
        text = real_file("sample_coco.txt").read_text()
        rows = re.findall(r"height: (\d+), width: (\d+), bbox:\[\d+, \d+, (\d+), (\d+)\]", text)
        numbers = np.array(rows, dtype=np.float64)
        return numbers[:, 2:], numbers[:, [1, 0]]
    files = {
        "dogs": "dogs/dog_boundingbox_export_coco.json",
        "voc2007": "voc2007/voc2007_trainval_boxes.json.gz",
        "voc2007_test": "voc2007/voc2007_test_boxes.json.gz",
        "coco": "coco-val2017/instances_val2017_boxes.json.gz",
    }
    path = real_file(files[name])
    with gzip.open(path, "rt") if path.suffix == ".gz" else open(path) as file:
        content = json.load(file)
    images = {int(image["id"]): (image["width"], image["height"]) for image in content["images"]}
    boxes = content["annotations"]
    return (
        np.array([box["bbox"][2:] for box in boxes], dtype=np.float64),
        np.array([images[int(box["image_id"])] for box in boxes], dtype=np.float64),
    )
