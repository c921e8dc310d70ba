"""Box sizes for the benchmarks: the real sets, and one as large as COCO's training set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.geometry import Fit, sizes_at_input
from tinysight.boxes.reading import read_boxes

REAL = {
    "dogs": "dogs/dog_boundingbox_export_coco.json",
    "sample_coco": "sample_coco.txt",
    "VOC2007": "voc2007/voc2007_trainval_boxes.json.gz",
    "COCO val2017": "coco-val2017/instances_val2017_boxes.json.gz",
}


def real_sizes(data: Path, name: str, fit: Fit) -> NDArray[np.float64]:
    """Sizes at an input of 640 x 640."""
    table = read_boxes([data / REAL[name]], policy="keep").table
    return sizes_at_input(table, (640, 640), fit)


def as_large_as_coco_train(data: Path) -> NDArray[np.float64]:
    """COCO val2017 drawn 860,000 times with 5 % of noise, so that sizes are distinct."""
    rng = np.random.default_rng(0)
    small = real_sizes(data, "COCO val2017", "letterbox")
    drawn = small[rng.integers(0, len(small), 860_000)]
    return np.asarray(np.minimum(drawn * np.exp(rng.normal(0, 0.05, drawn.shape)), 640))
