"""How good are our anchors and how fast are they found, against how others find theirs?

The peers are the algorithms of the tools that are in use, written here in vectorised numpy, which
is faster than most of them are: Euclidean k-means of scikit-learn on (w, h) and on (log w, log h);
k-means under IoU with the mean as centre (darknet, mmdetection, PaddleDetection) and with the
median (kmeans-anchor-boxes), the best of ten starts; and k-means on (w, h) followed by 1000 random
mutations that are kept when the ratio fitness rises (yolov5's and v7's autoanchor). All are judged
by the mean best IoU over all boxes. Single processes, one BLAS thread.

    python benchmarks/anchors_speed.py DATA [--large] [--k 3,5,6,9]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from box_sizes import REAL, as_large_as_coco_train, real_sizes
from hardware import hardware_line
from numpy.typing import NDArray

from tinysight.boxes.anchors import FitSettings, fit_sets_to_sizes
from tinysight.boxes.geometry import best_possible_recall, mean_best_iou, pairwise_iou

Floats = NDArray[np.float64]
Fitter = Callable[[Floats, int], Floats]

STARTS = 10
GENERATIONS = 1000


def ours(num_starts: int) -> Fitter:
    """Return our fit with so many starts."""

    def fit(sizes: Floats, k: int) -> Floats:
        settings = FitSettings(num_starts=num_starts)
        return fit_sets_to_sizes(
            sizes, [k], input_size_wh=(640, 640), fit="letterbox", settings=settings
        )[0].anchors_wh_px

    return fit


def euclidean(sizes: Floats, k: int) -> Floats:
    """K-means on width and height."""
    from sklearn.cluster import KMeans

    return np.asarray(KMeans(k, n_init=STARTS, random_state=0).fit(sizes).cluster_centers_)


def logarithmic(sizes: Floats, k: int) -> Floats:
    """K-means on the logarithms of width and height."""
    return np.exp(euclidean(np.log(sizes), k))


def iou_kmeans(center: Callable[..., Floats]) -> Fitter:
    """Return Lloyd's algorithm under 1 - IoU with some centre of the boxes of an anchor."""

    def fit(sizes: Floats, k: int) -> Floats:
        best, best_value = sizes[:k], -1.0
        for seed in range(STARTS):
            anchors = np.random.default_rng(seed).choice(sizes, k, replace=False)
            owner = np.empty(0)
            for _ in range(300):
                before, owner = owner, pairwise_iou(sizes, anchors).argmax(axis=1)
                if np.array_equal(owner, before):
                    break
                for index in range(k):
                    if (own := owner == index).any():
                        anchors[index] = center(sizes[own], axis=0)
            value = mean_best_iou(sizes, anchors)
            if value > best_value:
                best, best_value = anchors, value
        return best

    return fit


def evolved(sizes: Floats, k: int) -> Floats:
    """K-means on (w, h) in units of their deviation, then mutations kept if the fitness rises."""
    from sklearn.cluster import KMeans

    spread = sizes.std(axis=0)
    anchors = KMeans(k, n_init=30, random_state=0).fit(sizes / spread).cluster_centers_ * spread

    def fitness(candidate: Floats) -> float:
        best = np.zeros(len(sizes))
        for anchor in candidate:
            quotient = sizes / anchor
            np.maximum(best, np.minimum(quotient, 1 / quotient).min(axis=1), out=best)
        return float((best * (best > 0.25)).mean())

    rng = np.random.default_rng(0)
    best = fitness(anchors)
    for _ in range(GENERATIONS):
        factors = np.ones(anchors.shape)
        while (factors == 1).all():
            changes = rng.random(anchors.shape) < 0.9
            change = changes * rng.random() * rng.normal(size=anchors.shape) * 0.1
            factors = (change + 1).clip(0.3, 3.0)
        candidate = (anchors * factors).clip(min=2.0)
        if (value := fitness(candidate)) > best:
            anchors, best = candidate, value
    return np.asarray(anchors)


FITTERS: dict[str, Fitter] = {
    "k-means on (w, h)": euclidean,
    "k-means on (log w, log h)": logarithmic,
    "IoU k-means, mean": iou_kmeans(np.mean),
    "IoU k-means, median": iou_kmeans(np.median),
    "k-means + 1000 mutations": evolved,
    "tinysight, 1 start": ours(1),
    "tinysight, 8 starts": ours(8),
}
# On 860,000 boxes ten starts of IoU k-means take the better part of an hour.
LARGE = (
    "k-means on (w, h)",
    "k-means + 1000 mutations",
    "tinysight, 1 start",
    "tinysight, 8 starts",
)


def print_table(name: str, sizes: Floats, ks: list[int], fitters: dict[str, Fitter]) -> None:
    """Fit every way for every k and print one line each."""
    print(f"\n{name}, {len(sizes):,} boxes")
    print(f"{'':28}" + "".join(f"{f'k = {k}: IoU':>15}{'recall':>9}{'s':>9}" for k in ks))
    for fitter_name, fit in fitters.items():
        line = f"{fitter_name:28}"
        for k in ks:
            start_s = time.perf_counter()
            anchors = fit(sizes, k)
            seconds = time.perf_counter() - start_s
            line += f"{mean_best_iou(sizes, anchors):15.5f}"
            line += f"{best_possible_recall(sizes, anchors):9.4f}{seconds:9.2f}"
        print(line, flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with the real data")
    parser.add_argument("--k", default="3,5,6,9")
    parser.add_argument("--large", action="store_true", help="860,000 boxes, k = 9, instead")
    arguments = parser.parse_args()
    ks = [int(k) for k in arguments.k.split(",")]
    print(hardware_line())
    ours(1)(np.array([[10.0, 10.0], [20.0, 30.0]]), 1)  # imports
    if arguments.large:
        sizes = as_large_as_coco_train(arguments.data)
        print_table("COCO val2017 drawn", sizes, [9], {name: FITTERS[name] for name in LARGE})
        return
    for name in REAL:
        fit = "letterbox" if name.startswith("COCO") else "stretch"
        print_table(f"{name} ({fit})", real_sizes(arguments.data, name, fit), ks, FITTERS)


if __name__ == "__main__":
    main()
