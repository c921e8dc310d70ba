from __future__ import annotations

import numpy as np
import pytest

from tests.boxes.sizes_of_boxes import drawn_sizes, real_sizes_rel
from tinysight.boxes.geometry import best_possible_recall, mean_best_iou
from tinysight.boxes.structured import fit_structured
from tinysight.errors import DataError


def test_anchors_are_all_products_of_sizes_and_ratios_by_level() -> None:
    found = fit_structured(drawn_sizes(300), 2, 2, 3)
    assert found.sizes_px.shape == (2, 2)
    assert found.levels_wh_px.shape == (2, 6, 2)
    for level, sizes in zip(found.levels_wh_px, found.sizes_px, strict=True):
        expected = [(s / r**0.5, s * r**0.5) for s in sizes for r in found.ratios]
        np.testing.assert_allclose(level, expected)
    assert (np.diff(found.ratios) >= 0).all()


def test_doubling_levels_double_and_free_levels_fit_no_worse() -> None:
    sizes = drawn_sizes(800)
    doubling = fit_structured(sizes, 3, 1, 2)
    np.testing.assert_allclose(doubling.sizes_px[1:], 2 * doubling.sizes_px[:-1])
    free = fit_structured(sizes, 3, 1, 2, is_doubling=False)
    assert free.mean_best_iou >= doubling.mean_best_iou - 1e-3


def test_what_is_said_of_them_is_true() -> None:
    sizes = drawn_sizes(400)
    found = fit_structured(sizes, 2, 1, 3)
    anchors = found.levels_wh_px.reshape(-1, 2)
    assert found.mean_best_iou == pytest.approx(mean_best_iou(sizes, anchors), abs=1e-9)
    assert found.best_possible_recall == best_possible_recall(sizes, anchors)


def test_boxes_made_from_a_structure_are_found_again() -> None:
    sides = [(s / r**0.5, s * r**0.5) for s in (40.0, 80.0, 160.0) for r in (0.5, 1.0, 2.0)]
    found = fit_structured(np.repeat(sides, 5, axis=0), 3, 1, 3)
    assert found.mean_best_iou > 0.995
    np.testing.assert_allclose(found.sizes_px.ravel(), [40, 80, 160], rtol=0.01)
    np.testing.assert_allclose(found.ratios, [0.5, 1, 2], rtol=0.02)


def test_one_of_each_is_one_anchor() -> None:
    found = fit_structured([[10.0, 20.0]], 1, 1, 1)
    np.testing.assert_allclose(found.levels_wh_px, [[[10, 20]]], rtol=1e-2)


def test_fitted_sizes_and_ratios_beat_the_usual_ones_on_coco() -> None:
    sizes = real_sizes_rel("coco")[::8] * 640
    usual = [
        (s * o / r**0.5, s * o * r**0.5)
        for s in (32, 64, 128, 256, 512)
        for o in (1, 2 ** (1 / 3), 2 ** (2 / 3))
        for r in (0.5, 1, 2)
    ]
    assert fit_structured(sizes, 5, 3, 3).mean_best_iou > mean_best_iou(sizes, usual) + 0.05


@pytest.mark.parametrize("name", ["num_levels", "num_scales", "num_ratios"])
def test_a_number_below_1_is_refused(name: str) -> None:
    numbers = {"num_levels": 1, "num_scales": 1, "num_ratios": 1, name: 0}
    with pytest.raises(DataError, match=rf"`{name}` must be at least 1, got 0"):
        fit_structured(drawn_sizes(5), **numbers)


def test_no_boxes_are_refused() -> None:
    with pytest.raises(DataError, match="Anchors need at least one box"):
        fit_structured(np.empty((0, 2)), 1, 1, 1)
