"""How tight is the proof, and what does it take?

For each set of boxes and each k: the mean best IoU of our anchors, the bound that is proved for
any k anchors, the gap between them, and the seconds that it took. No tool has any bound, so the gap
stands beside two from the textbooks: the guarantee of greedy search, 63.2 % of the best, and the
submodular bound at our own anchors, which adds k times the largest gain of one more anchor.

    python benchmarks/certificate.py DATA [--large] [--k 3,5,6,9] [--budget 10] [--rounds 3]
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import numpy as np
from box_sizes import REAL, as_large_as_coco_train, real_sizes
from hardware import hardware_line

from tinysight.boxes.anchors import FitSettings, fit_sets_to_sizes
from tinysight.boxes.certificate import certify
from tinysight.boxes.clustering import WeightedSizes, distinct_sizes, histogram_points
from tinysight.boxes.geometry import best_iou, pairwise_iou
from tinysight.boxes.sizes import size_histogram


def submodular_bound(sizes: WeightedSizes, points: WeightedSizes, anchors: np.ndarray) -> float:
    """What k more anchors, each at the best of the points, would add at the most."""
    reached = best_iou(sizes.wh, anchors)
    gains = [
        float(sizes.weights @ np.maximum(pairwise_iou(sizes.wh, [point])[:, 0] - reached, 0))
        for point in points.wh
    ]
    return float(sizes.weights @ reached) + len(anchors) * max(gains)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with the real data")
    parser.add_argument("--large", action="store_true", help="860,000 drawn boxes instead")
    parser.add_argument("--k", default="3,5,6,9")
    parser.add_argument("--budget", type=float, default=10.0, metavar="SECONDS")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(hardware_line())
    print(
        f"{'':24}{'k':>3}{'mean IoU':>10}{'bound':>10}{'gap':>10}{'submodular':>12}"
        f"{'greedy':>8}{'s':>7}{'spread':>8}  finished"
    )
    for name in ("COCO drawn",) if arguments.large else REAL:
        fit = "letterbox" if name.startswith("COCO") else "stretch"
        boxes = (
            as_large_as_coco_train(arguments.data)
            if arguments.large
            else real_sizes(arguments.data, name, fit)
        )
        sizes, histogram = distinct_sizes(boxes), size_histogram(boxes)
        points = histogram_points(histogram, 500, 1)
        for k in [int(text) for text in arguments.k.split(",")]:
            anchors = fit_sets_to_sizes(
                boxes, [k], input_size_wh=(640, 640), fit=fit, settings=FitSettings()
            )[0].anchors_wh_px
            proofs = [
                certify(sizes, histogram, anchors, budget_s=arguments.budget)
                for _ in range(arguments.rounds)
            ]
            proof = proofs[0]
            seconds = [proof.seconds for proof in proofs]
            submodular = submodular_bound(sizes, points, anchors)
            print(
                f"{f'{name} ({fit})':24}{k:3}{proof.mean_best_iou:10.5f}{proof.upper_bound:10.5f}"
                f"{max(one.gap for one in proofs) * 100:8.3f} %"
                f"{(1 - proof.mean_best_iou / submodular) * 100:10.2f} %"
                f"{36.8:6.1f} %{statistics.median(seconds):7.2f}"
                f"{max(seconds) - min(seconds):8.2f}  {all(one.is_finished for one in proofs)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
