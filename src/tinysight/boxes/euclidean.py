"""Euclidean k-means on box sizes through scikit-learn, the same bits in every run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_NUM_STARTS = 10


@dataclass(frozen=True)
class Clusters:
    """Centres of k-means and how far the points are from them."""

    centers: Floats
    """(k, 2), in the order in which they were found."""

    wcss: float
    """Sum over the points, with their weights, of the squared distance to the nearest centre."""

    labels: NDArray[np.int32]
    """(n,) the nearest centre of each point."""


def fit_kmeans(
    points: Floats,
    weights: Floats,
    k: int,
    *,
    seed: int,
    start_centers: Floats | None = None,
) -> Clusters:
    """Run k-means++ and Lloyd's algorithm, the best of ten starts.

    Args:
        points: (n, 2), at least k distinct ones. The random starts depend on their order.
        weights: (n,) how many times each point counts, > 0.
        k: 1 <= k <= n.
        seed: Fixes the starts.
        start_centers: (k, 2) one start instead of ten random ones.
    """
    # scikit-learn takes most of a second to import, and only this module needs it.
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    model = KMeans(
        n_clusters=k,
        init="k-means++" if start_centers is None else start_centers,
        n_init=_NUM_STARTS if start_centers is None else 1,
        random_state=seed,
    )
    # Threads add their sums in the order in which they end, which changes the last bits.
    with threadpool_limits(limits=1):
        model.fit(points, sample_weight=weights)
    return Clusters(model.cluster_centers_, float(model.inertia_), model.labels_)
