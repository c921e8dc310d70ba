from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from tests.boxes.sizes_of_boxes import Floats, drawn_sizes, size_lists
from tinysight.boxes.geometry import pairwise_iou
from tinysight.boxes.node_grid import Windows, build_node_grid, finer, iou_stencil
from tinysight.boxes.sizes import size_histogram


def nodes_of(shape: tuple[int, int]) -> np.ndarray:
    return np.argwhere(np.ones(shape, dtype=np.bool_))


@settings(deadline=None, max_examples=30)
@given(size_lists())
def test_weights_keep_number_and_mean_position_of_the_boxes(sizes: Floats) -> None:
    histogram = size_histogram(sizes)
    for factor in (1, 4, 16):
        grid = build_node_grid(histogram, factor)
        assert grid.weights.shape == grid.shape
        assert grid.weights.min() >= 0
        assert grid.weights.sum() == pytest.approx(1)
        logs = np.log(grid.node_sizes())
        mean = np.einsum("ij,ijx->x", grid.weights, logs)
        np.testing.assert_allclose(mean, np.log(sizes).mean(axis=0), atol=1e-5)


def test_a_coarse_grid_is_the_fine_one_interpolated() -> None:
    # Bilinear functions keep their weighted mean, whatever the grid.
    histogram = size_histogram(drawn_sizes(500))
    means = []
    for factor in (1, 2, 8):
        grid = build_node_grid(histogram, factor)
        x, y = np.moveaxis(np.log(grid.node_sizes()), -1, 0)
        # x * y is bilinear within every cell of every grid.
        means.append([float((grid.weights * f).sum()) for f in (x, y)])
    np.testing.assert_allclose(means, [means[0]] * 3, rtol=1e-12)


def test_interpolating_to_the_finer_grid_keeps_a_bilinear_function() -> None:
    histogram = size_histogram(drawn_sizes(200))
    coarse, fine = build_node_grid(histogram, 8), build_node_grid(histogram, 4)

    def plane(grid: object) -> Floats:
        x, y = np.moveaxis(np.log(grid.node_sizes()), -1, 0)  # type: ignore[attr-defined]
        return np.asarray(2 * x - 3 * y + 0.5 * x * y)

    np.testing.assert_allclose(finer(plane(coarse), coarse, fine), plane(fine), rtol=1e-9)


def test_the_stencil_holds_the_iou_of_nodes() -> None:
    sides = np.exp(np.arange(-3, 4) * 0.1)
    sizes = np.stack(np.meshgrid(sides, sides, indexing="ij"), axis=-1).reshape(-1, 2)
    expected = pairwise_iou(sizes, [[1.0, 1.0]]).reshape(7, 7)
    np.testing.assert_allclose(iou_stencil(0.1, 3), expected, rtol=1e-12)


def test_gains_by_windows_and_by_pairs_are_those_of_all_nodes() -> None:
    grid = build_node_grid(size_histogram(drawn_sizes(300, spread=0.4)), 8)
    thresholds = np.random.default_rng(0).uniform(0.2, 0.9, grid.shape)
    sizes = grid.node_sizes().reshape(-1, 2)
    excess = pairwise_iou(sizes, sizes) - thresholds.reshape(-1, 1)
    expected = grid.weights.ravel() @ np.maximum(excess, 0)
    windows, nodes = Windows(grid, thresholds, 0.2), nodes_of(grid.shape)
    np.testing.assert_allclose(windows.gains(nodes), expected, atol=1e-12)

    with_gain = nodes[expected > 0]
    pairs = windows.pairs(with_gain, slack=0.1)
    found = pairs.gains(pairs.excess(thresholds.ravel()))
    np.testing.assert_allclose(found, expected[expected > 0], atol=1e-12)


def test_cover_is_the_sum_of_shares_of_the_anchors_that_a_node_gains_from() -> None:
    grid = build_node_grid(size_histogram(drawn_sizes(100, spread=0.3)), 16)
    thresholds = np.full(grid.shape, 0.55)  # no IoU of nodes is exactly that
    nodes = nodes_of(grid.shape)
    pairs = Windows(grid, thresholds, 0.2).pairs(nodes, slack=0.4)
    assert len(pairs.counts) == len(nodes)
    shares = np.random.default_rng(0).dirichlet(np.ones(len(nodes)))
    sizes = grid.node_sizes().reshape(-1, 2)
    has_boxes = grid.weights.ravel() > 0
    expected = np.where(has_boxes, (pairwise_iou(sizes, sizes) > 0.55) @ shares, 0)
    cover = pairs.cover(pairs.excess(thresholds.ravel()), shares, len(nodes))
    np.testing.assert_allclose(cover, expected, atol=1e-12)


def test_selected_pairs_give_the_same_gains() -> None:
    grid = build_node_grid(size_histogram(drawn_sizes(200, spread=0.4)), 8)
    thresholds = np.full(grid.shape, 0.6)
    pairs = Windows(grid, thresholds, 0.2).pairs(nodes_of(grid.shape), slack=0.2)
    excess = pairs.excess(thresholds.ravel())
    gains = pairs.gains(excess)
    wanted = gains > np.median(gains)
    few = pairs.select(wanted, excess > -0.05)
    assert len(few.nodes) < len(pairs.nodes)
    np.testing.assert_allclose(few.gains(few.excess(thresholds.ravel())), gains[wanted])
