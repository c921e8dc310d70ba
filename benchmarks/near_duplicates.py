"""How long does it take to compare every image of a store with every other one, and mirrored?

Peer: ``sklearn.neighbors.NearestNeighbors(algorithm="brute")`` over the same descriptions, asked
for all neighbours within the cosine that no near pair is below, once as they are and once mirrored.
Both get the same images; what the peer finds must hold every pair that we find. ``describe`` is the
time to make the descriptions, which both need and which is in neither.

    python benchmarks/near_duplicates.py STORE [--images 20000] [--repeats 3]
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
from hardware import hardware_line
from sklearn.neighbors import NearestNeighbors

from tinysight.classify import near_duplicates
from tinysight.classify.near_duplicates import (
    CHROMA_FREQUENCIES,
    LUMA_FREQUENCIES,
    NEAR_DISTANCE,
    describe_images,
    find_duplicate_pairs,
)
from tinysight.classify.store import load_store


def mirrored(descriptions: np.ndarray) -> np.ndarray:
    """Return the descriptions of the same images, left to right."""
    sides = (LUMA_FREQUENCIES, CHROMA_FREQUENCIES, CHROMA_FREQUENCIES)
    signs = [np.tile(1 - 2 * (np.arange(side) % 2), side) for side in sides]
    return descriptions * np.concatenate(signs)[1:].astype(np.float32)


def peer_pairs(descriptions: np.ndarray) -> set[tuple[int, int]]:
    """Return the pairs that scikit-learn finds within the cosine of a near pair."""
    unit = descriptions / np.linalg.norm(descriptions, axis=1, keepdims=True)
    search = NearestNeighbors(algorithm="brute", radius=np.sqrt(2 * NEAR_DISTANCE)).fit(unit)
    pairs = set()
    for queries in (unit, mirrored(unit)):
        neighbours = search.radius_neighbors(queries, return_distance=False)
        pairs |= {
            (row, int(other)) for row, own in enumerate(neighbours) for other in own if row < other
        }
    return pairs


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    store = load_store(arguments.store, verify=False)
    rows = np.linspace(0, len(store.targets) - 1, min(arguments.images, len(store.targets)))
    images_u8 = store.images_u8[rows.round().astype(np.int64)]
    files = [str(row) for row in range(len(images_u8))]

    began = time.perf_counter()
    descriptions = describe_images(images_u8)
    describe_s = time.perf_counter() - began
    near_duplicates.describe_images = lambda _: descriptions

    ours_s, peer_s = [], []
    for _ in range(arguments.repeats):
        began = time.perf_counter()
        found = find_duplicate_pairs(images_u8, files)
        ours_s.append(time.perf_counter() - began)
        began = time.perf_counter()
        expected = peer_pairs(descriptions)
        peer_s.append(time.perf_counter() - began)
        missing = {tuple(pair) for pair in found.rows.tolist()} - expected
        assert not missing, missing
    ratios = [theirs / ours for ours, theirs in zip(ours_s, peer_s, strict=True)]

    print(hardware_line())
    print(f"{len(images_u8):,} images, {arguments.repeats} repeats, {len(found.rows)} pairs found")
    print(f"describe                {describe_s:7.2f} s")
    for name, seconds in (("tinysight", ours_s), ("scikit-learn brute", peer_s)):
        print(
            f"{name:<20}    {statistics.median(seconds):7.2f} s   "
            f"({min(seconds):.2f} to {max(seconds):.2f})"
        )
    print(f"ratio                   {statistics.median(ratios):7.2f}     "
          f"({min(ratios):.2f} to {max(ratios):.2f})")  # fmt: skip


if __name__ == "__main__":
    main()
