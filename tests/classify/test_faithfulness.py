from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.classify.conftest import make_recipe, make_store
from tests.classify.networks import PooledNet, ResidualNet, draw_images, with_weights
from tests.classify.test_run import run
from tinysight.classify import faithfulness
from tinysight.classify.cam import METHODS
from tinysight.classify.faithfulness import blur, measure_curves, measure_run_faithfulness
from tinysight.classify.randomness import keyed_generator
from tinysight.classify.settings import TrainSettings
from tinysight.classify.trained_run import open_run

CLASSES = torch.tensor([0, 4, 2])


def draw_maps(num_images: int = 3, side: int = 8, seed: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((num_images, side, side), generator=generator)


class OnePlace(nn.Module):
    """Sees class 1 where the patch in row 2, column 5 is bright, and nothing else."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        side_px = images.shape[2] // 8
        patch = images[:, :, 2 * side_px : 3 * side_px, 5 * side_px : 6 * side_px]
        score = patch.mean(dim=(1, 2, 3)) - 10
        return torch.stack([torch.zeros_like(score), score], dim=1)


@pytest.mark.parametrize("size_px", [16, 20])  # 20: patches of 2 and of 3 pixels
def test_the_curves_are_those_of_images_taken_apart_one_by_one(
    size_px: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faithfulness, "BATCH_SIZE", 2)
    network = with_weights(PooledNet()).eval()
    images, maps = draw_images(size_px=size_px), draw_maps()
    curves = measure_curves(network, images, CLASSES, maps, num_steps=4)
    assert curves.shares.tolist() == [0, 0.25, 0.5, 0.75, 1]
    blurred = blur(images)

    @torch.no_grad()
    def probability(image: torch.Tensor, class_index: int) -> float:
        return float(network(image[None]).softmax(dim=1)[0, class_index])

    for row in range(3):
        order = sorted(range(64), key=lambda patch: -float(maps[row].flatten()[patch]))
        for step in range(5):
            without, alone = images[row].clone(), blurred[row].clone()
            for y in range(size_px):
                for x in range(size_px):
                    if y * 8 // size_px * 8 + x * 8 // size_px in order[: step * 16]:
                        without[:, y, x] = blurred[row, :, y, x]
                        alone[:, y, x] = images[row, :, y, x]
            target = int(CLASSES[row])
            assert curves.deletion[row, step] == pytest.approx(
                probability(without, target), rel=1e-5
            )
            assert curves.insertion[row, step] == pytest.approx(
                probability(alone, target), rel=1e-5
            )


def test_the_areas_are_those_of_the_mean_curves() -> None:
    curves = measure_curves(
        with_weights(PooledNet()), draw_images(size_px=16), CLASSES, draw_maps(), num_steps=2
    )
    for values, area in (
        (curves.deletion, curves.deletion_area),
        (curves.insertion, curves.insertion_area),
    ):
        first, middle, last = values.mean(axis=0)
        assert area == pytest.approx((first + 2 * middle + last) / 4)


@given(seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_putting_back_is_taking_away_what_is_left_over(seed: int) -> None:
    network = with_weights(PooledNet())
    images, maps = draw_images(size_px=16, seed=seed), draw_maps(seed=seed)
    forwards = measure_curves(network, images, CLASSES, maps)
    backwards = measure_curves(network, images, CLASSES, -maps)
    assert np.allclose(forwards.insertion, backwards.deletion[:, ::-1], atol=1e-6)
    assert np.allclose(forwards.deletion, backwards.insertion[:, ::-1], atol=1e-6)


def test_a_map_of_the_right_place_is_told_from_a_random_and_a_wrong_one() -> None:
    images = torch.zeros((40, 3, 64, 64))
    images[:, :, 16:24, 40:48] = 20.0
    classes = torch.ones(40, dtype=torch.int64)
    right = torch.zeros((40, 8, 8))
    right[:, 2, 5] = 1.0
    areas = {}
    for name, maps in (("right", right), ("random", 0 * right), ("wrong", -right)):
        curves = measure_curves(OnePlace(), images, classes, maps)
        areas[name] = (curves.deletion_area, curves.insertion_area)
    assert areas["right"][0] < areas["random"][0] - 0.1 < areas["wrong"][0] - 0.2
    assert areas["right"][1] > areas["random"][1] + 0.1 > areas["wrong"][1] + 0.2


def test_a_map_that_says_nothing_gives_the_order_drawn_from_the_seed() -> None:
    network = with_weights(PooledNet())
    images = draw_images(size_px=16)
    zeros = torch.zeros((3, 2, 2))
    drawn = keyed_generator(7, "faithfulness").random((3, 64)).reshape(3, 8, 8)
    by_order = measure_curves(network, images, CLASSES, -torch.from_numpy(drawn), seed=7)
    nothing = measure_curves(network, images, CLASSES, zeros, seed=7)
    assert np.array_equal(nothing.deletion, by_order.deletion)
    assert np.array_equal(nothing.insertion, by_order.insertion)
    other = measure_curves(network, images, CLASSES, zeros, seed=8)
    assert not np.array_equal(nothing.deletion, other.deletion)


def test_maps_of_any_size_order_the_same_patches() -> None:
    network = with_weights(PooledNet())
    images, maps = draw_images(size_px=16), draw_maps()
    expected = measure_curves(network, images, CLASSES, maps)
    ramp = (100 * torch.arange(8.0)[:, None] + torch.arange(8.0)).expand(3, 8, 8)
    large = F.interpolate(ramp[:, None], scale_factor=4.0, mode="nearest")[:, 0]
    assert np.array_equal(
        measure_curves(network, images, CLASSES, large).deletion,
        measure_curves(network, images, CLASSES, ramp).deletion,
    )
    # A map of 2x2 marks a quarter of the image first: the first two of eight steps.
    small = torch.tensor([[0.0, 0.0], [0.0, 1.0]]).expand(3, 2, 2)
    without = images.clone()
    without[:, :, 8:, 8:] = blur(images)[:, :, 8:, 8:]
    logits = network(without).detach()
    probs = logits.softmax(dim=1).gather(1, CLASSES[:, None])[:, 0]
    curves = measure_curves(network, images, CLASSES, small)
    assert curves.deletion[:, 2] == pytest.approx(probs.numpy(), rel=1e-5)
    assert not np.array_equal(curves.deletion, expected.deletion)


def test_the_blur_is_a_gaussian_with_weights_that_sum_to_1() -> None:
    assert torch.allclose(blur(torch.full((1, 3, 16, 16), 3.0)), torch.tensor(3.0))
    point = torch.zeros((1, 1, 64, 64))
    point[0, 0, 32, 32] = 1.0
    found = blur(point)[0, 0]
    row, column = np.mgrid[:64, :64] - 32
    expected = np.exp(-(row**2 + column**2) / (2 * 8.0**2)) / (2 * np.pi * 8.0**2)
    inner = slice(26, 39)  # where nothing of the Gaussian is beyond the edges
    assert np.allclose(found[inner, inner], expected[inner, inner], rtol=1e-2)
    tall = draw_images(1, size_px=16)[:, :, :8]
    assert blur(tall).shape == (1, 3, 8, 16)
    assert torch.allclose(blur(tall).mT, blur(tall.mT), atol=1e-6)


def test_the_network_is_run_in_evaluation_mode_and_put_back() -> None:
    network = with_weights(ResidualNet()).train()
    before = network.bn1.running_mean.clone()
    first = measure_curves(network, draw_images(size_px=16), CLASSES, draw_maps())
    again = measure_curves(network, draw_images(size_px=16), CLASSES, draw_maps())
    assert network.training
    assert torch.equal(network.bn1.running_mean, before)
    assert np.array_equal(first.deletion, again.deletion)  # no dropout


def test_probabilities_are_float32_under_bf16() -> None:
    network = with_weights(PooledNet())
    inputs = (network, draw_images(size_px=16), CLASSES, draw_maps())
    exact = measure_curves(*inputs)
    rough = measure_curves(*inputs, settings=TrainSettings(precision="bf16"))
    assert not np.array_equal(exact.deletion, rough.deletion)
    assert np.abs(exact.deletion - rough.deletion).max() < 0.05


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faithfulness") / "run"
    store = make_store(folder.parent / "store")
    run(store, make_recipe(train={"epochs": 1}, schedule={"peak_epoch": 0.5}), folder)
    return folder


def test_all_methods_are_measured_on_the_same_images(trained: Path) -> None:
    opened = open_run(trained, make_store(trained.parent / "store"))
    heard: list[tuple[int, int]] = []
    found = measure_run_faithfulness(
        opened, limit=5, on_progress=lambda done, total: heard.append((done, total))
    )
    assert tuple(result.method for result in found) == METHODS
    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for result in found:
        assert result.layer == "layer2"
        assert result.images == 5
        assert result.random_deletion == found[0].random_deletion
        assert result.random_insertion == found[0].random_insertion
        for area in (result.deletion, result.insertion, result.random_deletion):
            assert 0 < area < 1
        assert result.seconds > 0
    grad_cam, _, hires_cam, _ = found
    assert grad_cam.deletion == pytest.approx(hires_cam.deletion)  # equal at the last layer
    (alone,) = measure_run_faithfulness(opened, methods=("hires-cam",), limit=5)
    assert alone.insertion == hires_cam.insertion
    assert alone.random_insertion == hires_cam.random_insertion
    (early,) = measure_run_faithfulness(opened, methods=("hires-cam",), layer="layer1", limit=5)
    assert early.layer == "layer1"
    assert early.insertion != hires_cam.insertion
    assert early.random_insertion == hires_cam.random_insertion
