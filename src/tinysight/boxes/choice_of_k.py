"""How many anchors: what each rule says, how stable it is, and whether the rules agree.

Box sizes rarely form clusters, so rules that look for the right number of them disagree. All are
reported with the share of bootstrap samples in which they say the same, and without agreement the
answer is that there is no clear elbow; the curve of the mean best IoU is then the better guide.

All is computed on sizes as fractions of their image, so that it does not depend on the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinysight.boxes.clustering import (
    WeightedSizes,
    distinct_sizes,
    histogram_points,
    search_anchors,
    swap_search,
)
from tinysight.boxes.elbows import chord_elbow, kneedle_elbow, last_gain
from tinysight.boxes.euclidean import fit_kmeans
from tinysight.boxes.geometry import sizes_in_image
from tinysight.boxes.objectives import MeanIoU
from tinysight.boxes.sizes import size_histogram
from tinysight.errors import DataError

if TYPE_CHECKING:
    from tinysight.boxes.table import BoxTable

Floats = NDArray[np.float64]

LEAST_GAIN = 0.02
"""The gain rule stops where one more anchor raises the mean best IoU by less than this."""

_MOST_CLUSTERED = 20_000  # boxes for k-means; beyond, cells of the histogram
_MOST_RESAMPLED = 400  # points in the bootstrap


@dataclass(frozen=True)
class RuleChoice:
    """What one rule says."""

    k: int | None
    """None if it finds nothing in the range."""

    share: float
    """Share of the bootstrap samples in which it says the same."""


@dataclass(frozen=True)
class ChoiceOfK:
    """The curves over k and what the rules make of them."""

    ks: tuple[int, ...]
    """1, 2, 3, …"""

    wcss_log: tuple[float, ...]
    """Sum of squared distances to the nearest centre of k-means on (log w, log h)."""

    wcss_wh: tuple[float, ...]
    """The same on (w, h), fractions of the image."""

    mean_best_iou: tuple[float, ...]
    """Of anchors searched on a coarse histogram: near the best, on which ``gain`` stands."""

    rules: Mapping[str, RuleChoice]
    """``kneedle`` and ``chord`` on ``wcss_log``, ``silhouette`` of the same clusters, ``gain``."""

    num_resamples: int
    """Bootstrap samples behind the shares."""

    @property
    def k(self) -> int | None:
        """The elbow of the log WCSS if both of its rules find the same, else None."""
        kneedle, chord = self.rules["kneedle"].k, self.rules["chord"].k
        return kneedle if kneedle == chord else None

    @property
    def is_agreed(self) -> bool:
        """Whether every rule says ``k``: only then the elbow is clear."""
        return self.k is not None and all(rule.k == self.k for rule in self.rules.values())


def choose_k(
    table: BoxTable, *, most: int = 10, seed: int = 0, num_resamples: int = 20
) -> ChoiceOfK:
    """Compare numbers of anchors from 1 to ``most``; arguments as ``choose_k_of_sizes``."""
    return choose_k_of_sizes(
        sizes_in_image(table), most=most, seed=seed, num_resamples=num_resamples
    )


def choose_k_of_sizes(
    sizes_rel: ArrayLike, *, most: int = 10, seed: int = 0, num_resamples: int = 20
) -> ChoiceOfK:
    """Compare numbers of anchors from 1 to ``most``.

    Args:
        sizes_rel: (n, 2) width and height as fractions of the image, > 0.
        most: Largest k, >= 1; fewer if there are fewer distinct sizes.
        seed: Of k-means and of the bootstrap.
        num_resamples: Bootstrap samples, >= 1.

    Raises:
        DataError: There are no sizes.
    """
    sizes = np.asarray(sizes_rel, dtype=np.float64).reshape(-1, 2)
    if not len(sizes):
        raise DataError("The choice of k needs at least one box, got none.")
    histogram = size_histogram(sizes)
    distinct = distinct_sizes(sizes)
    ks = tuple(range(1, min(most, len(distinct.weights)) + 1))
    # k-means draws its ten starts in the order of the boxes, as when it is given the plain sizes.
    wh, counts = sizes, np.ones(len(sizes))
    if len(sizes) > _MOST_CLUSTERED:
        points = histogram_points(histogram, _MOST_CLUSTERED, len(ks))
        wh, counts = points.wh, points.weights * len(sizes)
    few = distinct
    if len(distinct.weights) > _MOST_RESAMPLED:
        few = histogram_points(histogram, _MOST_RESAMPLED, len(ks))
    clusters = [fit_kmeans(np.log(wh), counts, k, seed=seed) for k in ks]
    wcss_log = tuple(cluster.wcss for cluster in clusters)
    resampling = _Resampling(few, ks, [cluster.centers for cluster in clusters], seed)
    answers = [resampling.answers(few.weights * len(sizes))]
    rng = np.random.default_rng([seed, len(few.weights)])
    for _ in range(num_resamples):
        drawn = rng.multinomial(len(sizes), few.weights / few.weights.sum())
        answers.append(resampling.answers(drawn.astype(np.float64)))
    said = dict(answers[0])
    said["kneedle"], said["chord"] = kneedle_elbow(ks, wcss_log), chord_elbow(ks, wcss_log)
    return ChoiceOfK(
        ks=ks,
        wcss_log=wcss_log,
        wcss_wh=tuple(fit_kmeans(wh, counts, k, seed=seed).wcss for k in ks),
        mean_best_iou=resampling.mean_best_iou,
        rules={
            name: RuleChoice(k, sum(answer[name] == k for answer in answers[1:]) / num_resamples)
            for name, k in said.items()
        },
        num_resamples=num_resamples,
    )


class _Resampling:
    """The rules on few points with any weights, each time from the same good start."""

    def __init__(
        self, points: WeightedSizes, ks: tuple[int, ...], centers: list[Floats], seed: int
    ) -> None:
        objective = MeanIoU()
        self._points, self._ks, self._centers, self._seed = points, ks, centers, seed
        self._logs = np.log(points.wh)
        self._scores = objective.scores(points.wh, points.wh)
        self._rows = []
        for k in ks:
            anchors = search_anchors([points], k, objective, seed=seed, num_starts=2)
            # The points nearest to the anchors found; each anchor takes another point.
            nearness = objective.scores(points.wh, anchors)
            rows: list[int] = []
            for column in range(k):
                nearness[rows, column] = -1.0
                rows.append(int(nearness[:, column].argmax()))
            self._rows.append(np.array(rows, dtype=np.intp))
        self.mean_best_iou = self._iou_curve(points.weights)

    def answers(self, counts: Floats) -> dict[str, int | None]:
        kept = counts > 0
        logs, own_counts = self._logs[kept], counts[kept]
        wcss: list[float] = []
        labels: list[NDArray[np.int32]] = []
        for k, centers in zip(self._ks, self._centers, strict=True):
            if k > len(logs):
                wcss.append(0.0)
                continue
            clusters = fit_kmeans(logs, own_counts, k, seed=self._seed, start_centers=centers)
            wcss.append(clusters.wcss)
            labels.append(clusters.labels)
        return {
            "kneedle": kneedle_elbow(self._ks, wcss),
            "chord": chord_elbow(self._ks, wcss),
            "silhouette": self._largest_silhouette(logs, own_counts, labels),
            "gain": last_gain(self._ks, self._iou_curve(counts / counts.sum()), LEAST_GAIN),
        }

    def _iou_curve(self, weights: Floats) -> tuple[float, ...]:
        curve = []
        for rows in self._rows:
            best_rows = swap_search(self._scores, weights, rows)
            curve.append(float(weights @ self._scores[:, best_rows].max(axis=1)))
        return tuple(curve)

    def _largest_silhouette(
        self, logs: Floats, counts: Floats, labels: list[NDArray[np.int32]]
    ) -> int | None:
        distances = np.hypot(*(np.subtract.outer(axis, axis) for axis in logs.T))
        scores = [
            (mean_silhouette(distances, counts, own), k)
            for k, own in zip(self._ks, labels, strict=False)
            if 2 <= k < len(logs)
        ]
        # Of equal scores the smaller k.
        return max(scores, key=lambda entry: (entry[0], -entry[1]))[1] if scores else None


def mean_silhouette(distances: Floats, counts: Floats, labels: NDArray[np.int32]) -> float:
    """Return the mean silhouette of points of which each stands for so many equal ones.

    Args:
        distances: (n, n).
        counts: (n,) >= 1.
        labels: (n,) cluster of each point, at least two different ones.

    Source:
        Rousseeuw 1987, "Silhouettes: a graphical aid to the interpretation and validation of
        cluster analysis".
    """
    names, own = np.unique(labels, return_inverse=True)
    members = (own[:, None] == np.arange(len(names))) * counts[:, None]  # (n, clusters)
    sizes = members.sum(axis=0)
    sums = distances @ members
    rows = np.arange(len(own))
    is_alone = sizes[own] <= 1
    within = sums[rows, own] / np.where(is_alone, 1.0, sizes[own] - 1)
    means = sums / sizes
    means[rows, own] = np.inf
    between = means.min(axis=1)
    largest = np.maximum(within, between)
    silhouettes = (between - within) / np.where(largest > 0, largest, 1.0)
    return float(counts @ np.where(is_alone, 0.0, silhouettes) / counts.sum())
