"""The bound over cells against sums written out, and against the boxes that the cells stand for."""

from __future__ import annotations

import time
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.boxes.sizes_of_boxes import Floats, drawn_sizes
from tinysight.boxes.cell_search import CellSearch, Rectangle, Span
from tinysight.boxes.geometry import pairwise_iou
from tinysight.boxes.node_grid import NodeGrid, build_node_grid
from tinysight.boxes.plane_search import CONCAVITY, BoxPoints, largest_gain
from tinysight.boxes.sizes import size_histogram
from tinysight.boxes.thresholds import interpolate


def drawn_search(
    num_boxes: int, factor: int, seed: int, spread: float = 0.3
) -> tuple[CellSearch, NodeGrid, Floats, Floats]:
    """Boxes in cells, and thresholds at the nodes."""
    sizes = drawn_sizes(num_boxes, seed, spread=spread)
    grid = build_node_grid(size_histogram(sizes), factor)
    thresholds = np.random.default_rng(seed).uniform(0.1, 0.95, grid.shape)
    return CellSearch(grid, thresholds), grid, thresholds, sizes


def whole(grid: NodeGrid) -> Rectangle:
    columns, rows = grid.shape
    return Span(0, columns - 1), Span(0, rows - 1)


def drawn_rectangle(grid: NodeGrid, rng: np.random.Generator) -> Rectangle:
    spans = []
    for nodes in grid.shape:
        start = int(rng.integers(0, nodes - 1))
        spans.append(Span(start, int(rng.integers(start + 1, nodes))))
    return spans[0], spans[1]


def iou_of(across_ln: float, along_ln: float) -> float:
    """From the signed distances of the logarithms of the sides."""
    widths, heights = (1.0, float(np.exp(across_ln))), (1.0, float(np.exp(along_ln)))
    shared = min(widths) * min(heights)
    return shared / (widths[0] * heights[0] + widths[1] * heights[1] - shared)


def bound_written_out(grid: NodeGrid, thresholds: Floats, rectangle: Rectangle) -> float:
    """The sum of ``certificate`` over all corners of all cells, one after the other."""
    largest = 0.0
    below_half = 0.0
    for anchor in product(*((span.start, span.end) for span in rectangle)):
        total = below_half = 0.0
        for index, cell_column, cell_row in np.argwhere(grid.corners > 0).tolist():
            cell = cell_column, cell_row
            node = cell_column + index % 2, cell_row + index // 2
            distances = [
                0.0 if span.start <= at < span.end else (on - position) * grid.step_ln
                for span, at, on, position in zip(rectangle, cell, node, anchor, strict=True)
            ]
            weight = float(grid.corners[index, cell_column, cell_row])
            threshold = float(thresholds[node])
            total += weight * max(0.0, iou_of(*distances) - threshold)
            below_half += weight * (threshold < 0.5)
        largest = max(largest, total)
    squares = sum((span.size * grid.step_ln) ** 2 for span in rectangle)
    return largest + CONCAVITY / 8 * squares * below_half


@pytest.mark.parametrize("factor", [4, 16])
@pytest.mark.parametrize("seed", range(4))
def test_the_bound_is_the_sum_over_all_corners_of_cells(factor: int, seed: int) -> None:
    search, grid, thresholds, _ = drawn_search(40, factor, seed)
    rng = np.random.default_rng(seed)
    rectangles = [whole(grid), *(drawn_rectangle(grid, rng) for _ in range(6))]
    first = Span(0, 1), Span(0, 1)
    last = tuple(Span(nodes - 2, nodes - 1) for nodes in grid.shape)
    for rectangle in (*rectangles, first, (last[0], last[1])):
        expected = bound_written_out(grid, thresholds, rectangle)
        assert search.bound(rectangle, whole(grid))[0] == pytest.approx(expected, abs=1e-12)
        # A narrowed window leaves out only what gains nothing.
        window = search.narrowed(rectangle, whole(grid))
        fresh = CellSearch(grid, thresholds)
        assert fresh.bound(rectangle, window)[0] == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), factor=st.sampled_from([1, 2, 8]))
def test_no_anchor_in_a_rectangle_gains_more_from_the_boxes(seed: int, factor: int) -> None:
    search, grid, thresholds, sizes = drawn_search(200, factor, seed)
    rng = np.random.default_rng(seed)
    rectangle = drawn_rectangle(grid, rng)
    bound, reached = search.bound(rectangle, search.narrowed(rectangle, whole(grid)))
    assert reached <= bound
    start, end = (
        (np.array([getattr(span, side) for span in rectangle]) + grid.low) * grid.step_ln
        for side in ("start", "end")
    )
    anchors = start + rng.random((300, 2)) * (end - start)
    anchors = np.exp(np.vstack([anchors, np.clip(np.log(sizes), start, end)]))  # and on the edges
    at_boxes = interpolate(thresholds, grid, np.log(sizes))
    gains = np.maximum(pairwise_iou(sizes, anchors) - at_boxes[:, None], 0).mean(axis=0)
    margin = CONCAVITY * grid.step_ln**2 / 4 + 2e-6
    assert gains.max() <= bound + margin


def test_the_largest_gain_lies_just_above_that_of_the_boxes() -> None:
    sizes = drawn_sizes(3000, spread=0.3)
    grid = build_node_grid(size_histogram(sizes), 1)
    deadline_s = time.thread_time() + 60
    search = CellSearch(grid, np.full(grid.shape, 0.7))
    bound, is_close = search.largest_gain(tolerance=1e-5, deadline_s=deadline_s)
    boxes = BoxPoints.of_boxes(np.log(sizes), np.full(3000, 1 / 3000), np.full(3000, 0.7))
    exact, _ = largest_gain(boxes, tolerance=1e-5, deadline_s=deadline_s)
    assert is_close
    assert exact - 1e-5 <= bound <= exact * 1.01


@pytest.mark.parametrize("lowest", [0.1, 0.6, 0.9, 0.97])
def test_the_search_finds_the_largest_bound_of_all_cells(lowest: float) -> None:
    sizes = drawn_sizes(60, 5, spread=0.3)
    grid = build_node_grid(size_histogram(sizes), 4)
    # High thresholds: an anchor sees a few nodes, and neighbours see others.
    thresholds = np.random.default_rng(5).uniform(lowest, 0.99, grid.shape)
    search = CellSearch(grid, thresholds)
    found, is_close = search.largest_gain(tolerance=0.0, deadline_s=time.thread_time() + 60)
    assert is_close
    columns, rows = grid.shape
    cells = product(range(columns - 1), range(rows - 1))
    each = [
        CellSearch(grid, thresholds).bound((Span(i, i + 1), Span(j, j + 1)), whole(grid))
        for i, j in cells
    ]
    largest, reached = max(bound for bound, _ in each), max(gain for _, gain in each)
    assert reached - 1e-12 <= found <= largest + 1e-12


def test_out_of_time_the_bound_is_looser_and_says_so() -> None:
    search, grid, thresholds, _ = drawn_search(500, 2, 0)
    tight, is_close = search.largest_gain(tolerance=1e-6, deadline_s=time.thread_time() + 60)
    assert is_close
    late = CellSearch(grid, thresholds)
    loose, is_close = late.largest_gain(tolerance=1e-6, deadline_s=time.thread_time() - 1)
    assert not is_close
    assert loose >= tight
    assert loose == late.bound(whole(grid), whole(grid))[0]


def test_equal_boxes_are_one_cell() -> None:
    grid = build_node_grid(size_histogram(np.array([[30.0, 40.0]] * 3)), 1)
    assert grid.shape == (2, 2)
    search = CellSearch(grid, np.full((2, 2), 0.25))
    bound, is_close = search.largest_gain(tolerance=1e-9, deadline_s=time.thread_time() + 60)
    assert is_close
    assert bound == pytest.approx(0.75, abs=1e-4)


def test_a_span_is_cut_in_two_down_to_one_cell() -> None:
    assert Span(3, 8).halves() == (Span(3, 5), Span(5, 8))
    assert Span(3, 4).halves() == (Span(3, 4),)
