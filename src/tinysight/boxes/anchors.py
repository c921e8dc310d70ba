"""Anchors for boxes: fitted, scored on every box, and proved to be near the best possible."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinysight.boxes.certificate import Certificate, certify
from tinysight.boxes.clustering import (
    LEVEL_POINTS,
    WeightedSizes,
    distinct_sizes,
    histogram_points,
    point_levels,
    polish,
    refine,
    search_anchors,
)
from tinysight.boxes.euclidean import fit_kmeans
from tinysight.boxes.geometry import Fit, best_possible_recall, mean_best_iou, sizes_at_input
from tinysight.boxes.objectives import MeanIoU, Objective, RatioFitness
from tinysight.boxes.sizes import SizeHistogram, size_histogram
from tinysight.errors import DataError

if TYPE_CHECKING:
    from tinysight.boxes.table import BoxTable

Distance = Literal["iou", "log", "wh", "ratio"]
DISTANCES: tuple[Distance, ...] = ("iou", "log", "wh", "ratio")

DEFAULT_KS = (3, 4, 5, 6)
"""Numbers of anchors to fit where nobody asked for others."""

Floats = NDArray[np.float64]

# Up to so many distinct sizes anchors are refined on the boxes themselves; beyond, the cells of the
# histogram are so full that it makes no difference in the fifth digit.
_MOST_REFINED = 50_000


@dataclass(frozen=True)
class FitSettings:
    """How anchors are fitted."""

    distance: Distance = "iou"
    """``iou``: the largest mean best IoU; ``ratio``: the largest mean of yolov5's fitness; ``wh``
    and ``log``: Euclidean k-means on width and height or on their logarithms."""

    recall_weight: float = 0.0
    """With ``iou``: lambda in IoU + lambda * [the worse side within the factor 4], >= 0."""

    num_starts: int = 8
    """Starts of the search with ``iou`` and ``ratio``, >= 1."""

    seed: int = 0
    """Same boxes, in any order, and same seed give identical anchors."""

    certify_s: float = 0.0
    """Most seconds of processor time for the certificate of each set; 0 for none."""


@dataclass(frozen=True)
class AnchorSet:
    """k anchors and how well they fit; fractions in [0, 1]."""

    anchors_wh_px: Floats
    """(k, 2) width and height in pixels at ``input_size_wh``, ascending area."""

    input_size_wh: tuple[int, int]
    """Network input, pixels."""

    fit: Fit
    """How images meet the input."""

    distance: str
    """One of ``DISTANCES``."""

    mean_best_iou: float
    """Mean over all boxes of the IoU with the best anchor."""

    best_possible_recall: float
    """Share of boxes with an anchor no side of which differs by the factor 4 or more."""

    upper_bound: float | None = None
    """No k anchors have a larger mean best IoU on these boxes; None if none was proved."""

    gap: float | None = None
    """(upper_bound - mean_best_iou) / upper_bound."""

    is_proof_finished: bool | None = None
    """False if more time would make the bound smaller, or give one."""

    @property
    def k(self) -> int:
        """Number of anchors."""
        return len(self.anchors_wh_px)


def fit_anchors(
    table: BoxTable,
    k: int,
    *,
    input_size_wh: tuple[int, int] = (640, 640),
    fit: Fit = "letterbox",
    settings: FitSettings | None = None,
) -> AnchorSet:
    """Fit ``k`` anchors to the boxes of a table, crowd boxes left out.

    Args:
        table: Boxes and the sizes of their images.
        k: Number of anchors, 1 <= k <= number of distinct sizes.
        input_size_wh: Network input, width and height in pixels.
        fit: How images meet the input.
        settings: How to fit; the defaults of ``FitSettings`` when not given.

    Raises:
        DataError: There are no boxes, fewer distinct sizes than ``k``, or a size is not known.

    Source:
        Redmon and Farhadi 2017, "YOLO9000", section 2, dimension clusters (arXiv:1612.08242); the
        search and the certificate are described in ``clustering`` and ``certificate``.
    """
    return fit_anchor_sets(table, (k,), input_size_wh=input_size_wh, fit=fit, settings=settings)[0]


def fit_anchor_sets(
    table: BoxTable,
    ks: Sequence[int],
    *,
    input_size_wh: tuple[int, int] = (640, 640),
    fit: Fit = "letterbox",
    settings: FitSettings | None = None,
) -> tuple[AnchorSet, ...]:
    """Fit a set of anchors for each k; arguments as ``fit_anchors``."""
    sizes = sizes_at_input(table, input_size_wh, fit)
    return fit_sets_to_sizes(
        sizes, ks, input_size_wh=input_size_wh, fit=fit, settings=settings or FitSettings()
    )


def fit_sets_to_sizes(
    sizes_wh_px: ArrayLike,
    ks: Sequence[int],
    *,
    input_size_wh: tuple[int, int],
    fit: Fit,
    settings: FitSettings,
    executor: Executor | None = None,
) -> tuple[AnchorSet, ...]:
    """Fit a set of anchors for each k to sizes that are already at the input.

    Args:
        sizes_wh_px: (n, 2) width and height, pixels at ``input_size_wh``, > 0.
        ks: Numbers of anchors, each >= 1.
        input_size_wh: Network input, width and height in pixels; said in the result.
        fit: How images met the input; said in the result.
        settings: How to fit.
        executor: Where the proofs run; here, one after the other, when not given.

    Raises:
        DataError: There are no sizes or fewer distinct ones than the largest k.
    """
    fitter = AnchorFitter(sizes_wh_px, input_size_wh=input_size_wh, fit=fit, settings=settings)
    fitter.check(ks)
    sets = [fitter.fit(k) for k in ks]
    if settings.certify_s <= 0:
        return tuple(sets)
    proofs = [fitter.start_proof(one, executor) for one in sets]
    return tuple(with_proof(one, proof.result()) for one, proof in zip(sets, proofs, strict=True))


class AnchorFitter:
    """Fits any number of anchors to one set of sizes, which are sorted and counted once.

    Args:
        sizes_wh_px: (n, 2) width and height, pixels at ``input_size_wh``, > 0.
        input_size_wh: Network input, width and height in pixels; said in the results.
        fit: How images met the input; said in the results.
        settings: How to fit.

    Raises:
        DataError: There are no sizes.
    """

    def __init__(
        self,
        sizes_wh_px: ArrayLike,
        *,
        input_size_wh: tuple[int, int],
        fit: Fit,
        settings: FitSettings,
    ) -> None:
        _check_settings(settings)
        self._sizes = np.asarray(sizes_wh_px, dtype=np.float64).reshape(-1, 2)
        self._distinct = distinct_or_fault(self._sizes)
        self._histogram = size_histogram(self._sizes)
        self._input_size_wh, self._fit_name, self._settings = input_size_wh, fit, settings

    @property
    def num_distinct(self) -> int:
        """How many different sizes there are: no k is larger."""
        return len(self._distinct.weights)

    def check(self, ks: Sequence[int]) -> None:
        """Refuse numbers of anchors that are not from 1 to ``num_distinct``."""
        for k in ks:
            if not 1 <= k <= self.num_distinct:
                raise DataError(
                    f"`k` (={k}) must be from 1 to the number of distinct box sizes "
                    f"(={self.num_distinct}) at this input. Use another k."
                )

    def fit(self, k: int) -> AnchorSet:
        """Fit k anchors, 1 <= k <= ``num_distinct``; without a proof."""
        anchors = _fit(self._distinct, self._histogram, k, self._settings)
        return AnchorSet(
            anchors_wh_px=anchors,
            input_size_wh=self._input_size_wh,
            fit=self._fit_name,
            distance=self._settings.distance,
            mean_best_iou=mean_best_iou(self._sizes, anchors),
            best_possible_recall=best_possible_recall(self._sizes, anchors),
        )

    def start_proof(self, one: AnchorSet, executor: Executor | None) -> Future[Certificate]:
        """Begin the proof of how good k anchors can be on these sizes; done here without executor.

        It takes ``FitSettings.certify_s``, which is above 0.
        """
        work = (self._distinct, self._histogram, one.anchors_wh_px)
        budget_s = self._settings.certify_s
        if executor is not None:
            return executor.submit(certify, *work, budget_s=budget_s)
        done: Future[Certificate] = Future()
        done.set_result(certify(*work, budget_s=budget_s))
        return done


def with_proof(one: AnchorSet, certificate: Certificate) -> AnchorSet:
    """Return a set with what was proved about its number of anchors."""
    if certificate.is_empty:
        return replace(one, is_proof_finished=False)
    return replace(
        one,
        upper_bound=certificate.upper_bound,
        gap=max(0.0, 1 - one.mean_best_iou / certificate.upper_bound),
        is_proof_finished=certificate.is_finished,
    )


def default_ks(num_distinct: int) -> tuple[int, ...]:
    """Return ``DEFAULT_KS``, each at most the number of distinct sizes, which is at least 1."""
    return tuple(sorted({min(k, num_distinct) for k in DEFAULT_KS}))


def _fit(
    distinct: WeightedSizes, histogram: SizeHistogram, k: int, settings: FitSettings
) -> Floats:
    if settings.distance in ("wh", "log"):
        return _fit_euclidean(distinct, histogram, k, settings)
    objective: Objective = MeanIoU(settings.recall_weight)
    if settings.distance == "ratio":
        objective = RatioFitness()
    levels = _levels(distinct, histogram, k)
    anchors = search_anchors(
        levels, k, objective, seed=settings.seed, num_starts=settings.num_starts
    )
    if len(distinct.weights) <= _MOST_REFINED:
        return polish(distinct, anchors, objective)
    return refine(levels[-1], polish(levels[1], anchors, objective), objective)[0]


def _levels(distinct: WeightedSizes, histogram: SizeHistogram, k: int) -> list[WeightedSizes]:
    """Return the sizes to search on, coarse to fine; few sizes are their own level."""
    if len(distinct.weights) <= LEVEL_POINTS[0]:
        return [distinct]
    levels = point_levels(histogram, k)
    if len(distinct.weights) <= _MOST_REFINED:
        levels.append(distinct)
    return levels


def _fit_euclidean(
    distinct: WeightedSizes, histogram: SizeHistogram, k: int, settings: FitSettings
) -> Floats:
    sizes = distinct
    if len(distinct.weights) > _MOST_REFINED:
        sizes = histogram_points(histogram, _MOST_REFINED, k)
    is_log = settings.distance == "log"
    points = np.log(sizes.wh) if is_log else sizes.wh
    centers = fit_kmeans(points, sizes.weights, k, seed=settings.seed).centers
    anchors = np.exp(centers) if is_log else centers
    return np.asarray(anchors[np.lexsort((anchors[:, 0], anchors.prod(axis=1)))])


def _check_settings(settings: FitSettings) -> None:
    if settings.distance not in DISTANCES:
        raise DataError(
            f"`distance` must be one of {', '.join(DISTANCES)}, got {settings.distance!r}."
        )
    if not settings.recall_weight >= 0:
        raise DataError(
            f"`recall_weight` must be 0 or more, got {settings.recall_weight}. 0 is plain IoU."
        )
    if settings.num_starts < 1:
        raise DataError(f"`num_starts` must be at least 1, got {settings.num_starts}.")


def distinct_or_fault(sizes_wh: Floats) -> WeightedSizes:
    """Return the distinct sizes.

    Raises:
        DataError: There are none.
    """
    if not len(sizes_wh):
        raise DataError(
            "Anchors need at least one box that is not a crowd region, got none. "
            "`tinysight boxes summary` counts the crowd regions and what was rejected."
        )
    return distinct_sizes(sizes_wh)
