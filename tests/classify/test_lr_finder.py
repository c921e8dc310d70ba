import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from tests.classify.conftest import make_recipe
from tests.classify.test_run import assert_same_run, run
from tinysight.classify import lr_finder, training
from tinysight.classify.batches import Batch
from tinysight.classify.lr_finder import (
    WEAK_BELOW,
    depth_of_fall,
    halfway_index,
    judge_fall,
    loss_of_guessing,
    lowest_index,
    lr_range_test,
    smoothed_noise,
    steepest_index,
)
from tinysight.classify.settings import Recipe
from tinysight.classify.store import Store
from tinysight.classify.training_images import training_data
from tinysight.errors import RecipeError, TrainingError

CPU = torch.device("cpu")


def find(store: Store, recipe: Recipe, **arguments: float):  # type: ignore[no-untyped-def]
    return lr_range_test(
        training_data(store, recipe, CPU),
        recipe,
        len(store.wnids),
        device=CPU,
        **{"num_steps": 30, **arguments},  # type: ignore[arg-type]
    )


def test_the_learning_rate_grows_by_one_factor_over_several_epochs(store: Store) -> None:
    found = find(store, make_recipe(), min_lr=1e-4, max_lr=1e-1)
    lrs = [point.lr for point in found.points]
    assert len(lrs) == 30  # six epochs of five steps
    assert lrs[0] == pytest.approx(1e-4)
    assert lrs[-1] == pytest.approx(1e-1)
    ratios = np.divide(lrs[1:], lrs[:-1])
    assert ratios == pytest.approx(ratios[0])
    assert not found.diverged


def test_images_that_grow_have_their_first_size_throughout(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides_px = []

    def note(network: nn.Module, batch: Batch, *rest: Any, **stop: Any) -> Any:
        sides_px.append(batch.images.shape[2])
        return training.forward_backward(network, batch, *rest, **stop)

    monkeypatch.setattr(lr_finder, "forward_backward", note)
    large = store.images_u8.repeat(2, axis=1).repeat(2, axis=2)  # 64 px
    growing = {"first_image_px": 32, "full_size_epoch": 2}
    find(replace(store, images_u8=large, size_px=64), make_recipe(schedule=growing), num_steps=12)
    assert sides_px == [32] * 12  # in three epochs


def test_a_first_size_above_that_of_the_images_is_named_as_the_recipe_has_it(store: Store) -> None:
    growing = {"first_image_px": 48, "full_size_epoch": 2}
    with pytest.raises(
        RecipeError, match=r"schedule\.first_image_px \(=48\) must be at most the si"
    ):
        find(store, make_recipe(schedule=growing))


def test_the_smoothed_loss_is_corrected_for_its_start(store: Store) -> None:
    found = find(store, make_recipe())
    losses = [point.loss for point in found.points]
    assert found.points[0].smoothed_loss == pytest.approx(losses[0])
    weights = 0.9 ** np.arange(10)[::-1]
    expected = (weights * losses[:10]).sum() / weights.sum()
    assert found.points[9].smoothed_loss == pytest.approx(expected)


def test_both_suggestions_lie_inside_the_curve_where_the_loss_falls(store: Store) -> None:
    found = find(store, make_recipe(), min_lr=1e-5, max_lr=10.0, num_steps=60)
    lowest = min(found.points, key=lambda point: point.smoothed_loss)
    for suggestion in (found.suggestion_steepest, found.suggestion_valley):
        assert 1e-5 <= suggestion <= lowest.lr


def test_the_test_ends_when_the_loss_is_nan_or_far_above_its_lowest(store: Store) -> None:
    found = find(store, make_recipe(), min_lr=1e-3, max_lr=1e12, num_steps=60)
    assert found.diverged
    assert 10 <= len(found.points) < 60
    assert all(np.isfinite(point.loss) for point in found.points)


def test_a_test_that_diverges_at_once_says_what_to_do(store: Store) -> None:
    with pytest.raises(
        TrainingError,
        match=r"lr-find: the loss must stay finite for at least 10 steps, but it diverged after "
        r"\d at learning rate .* or start lower with --min-lr \(=1e\+20\)",
    ):
        find(store, make_recipe(), min_lr=1e20, max_lr=1e30)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"min_lr": 0.0},
            r"lr-find: --min-lr \(=0\) must be above 0 and below --max-lr \(=10\), which must be "
            r"finite\. Change one of the two\.$",
        ),
        ({"min_lr": -1.0}, r"lr-find: --min-lr \(=-1\) must be above 0"),
        ({"min_lr": float("nan")}, r"lr-find: --min-lr \(=nan\) must be above 0"),
        ({"min_lr": 1.0, "max_lr": 1.0}, r"--min-lr \(=1\) must be .* below --max-lr \(=1\)"),
        ({"max_lr": float("inf")}, r"below --max-lr \(=inf\), which must be finite"),
        (
            {"num_steps": 9},
            r"lr-find: --steps \(=9\) must be at least 10, or there is no curve to read\. Leave it "
            r"out for 100\.$",
        ),
        ({"num_steps": 0}, r"lr-find: --steps \(=0\) must be at least 10"),
    ],
)
def test_numbers_that_make_no_test_are_named(
    store: Store, arguments: dict[str, float], message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        find(store, make_recipe(), **arguments)


def test_the_run_that_follows_is_the_same_to_the_bit(
    store: Store, recipe: Recipe, tmp_path: Path
) -> None:
    run(store, recipe, tmp_path / "without")
    state = torch.get_rng_state()
    find(store, recipe)
    assert torch.equal(torch.get_rng_state(), state)
    run(store, recipe, tmp_path / "with")
    assert_same_run(tmp_path / "without", tmp_path / "with")


def test_bf16_and_accumulation_are_those_of_the_recipe(store: Store) -> None:
    plain = find(store, make_recipe(train={"batch_size": 4}))
    changes = {"precision": "bf16", "accumulate": 2, "batch_size": 4}
    other = find(store, make_recipe(train=changes))
    assert plain.points[0].loss != other.points[0].loss
    assert plain.points[0].loss == pytest.approx(other.points[0].loss, rel=0.3)


def test_a_recipe_that_compiles_is_tested_compiled_as_it_trains(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []

    def note(network: nn.Module, *settings: Any, num_processes: int) -> nn.Module:
        compiled.append(num_processes)
        return network

    monkeypatch.setattr(lr_finder, "compile_network", note)
    monkeypatch.setattr(training, "compile_changes", lambda change: change)
    found = find(store, make_recipe(train={"batch_size": 4, "compile": True}))
    assert compiled == [1]
    assert found == find(store, make_recipe(train={"batch_size": 4}))


def test_the_steepest_point_of_a_known_curve() -> None:
    losses = np.array([5.0, 5.0, 4.9, 4.0, 2.0, 1.8, 1.7, 3.0, 9.0])
    assert steepest_index(losses) == 3  # (4.0 → 2.0), its neighbours (4.9 → 2.0) apart


def test_the_steepest_point_of_a_curve_that_only_rises_is_its_start() -> None:
    assert steepest_index(np.array([1.0, 2.0, 3.0])) == 0


def test_noise_at_the_start_of_the_curve_is_not_its_steepest_point() -> None:
    losses = np.concatenate([[9.0, 2.0, 4.0], np.full(37, 5.0), np.linspace(5, 1, 20), [8.0] * 20])
    assert 40 <= steepest_index(losses) <= 59


def test_the_lowest_point_is_not_in_the_first_tenth() -> None:
    assert lowest_index(np.array([1.0, 5.0, 4.0, 3.0, 2.0, 9.0, 8.0, 7.0, 6.0, 5.5])) == 4
    assert lowest_index(np.array([1.0])) == 0


def smooth(losses: NDArray[np.float64], smoothing: float = 0.9) -> NDArray[np.float64]:
    """The moving average of the test, written out."""
    weights = smoothing ** np.arange(len(losses))
    return np.array(
        [
            np.average(losses[: end + 1][::-1], weights=weights[: end + 1])
            for end in range(len(losses))
        ]
    )


def draw_curve(
    lrs: NDArray[np.float64],
    *,
    falls_at: float,
    fall: float,
    turns_at: float,
    noise: float,
    seed: int,
) -> NDArray[np.float64]:
    """Losses that are flat, fall within about a decade, and turn up."""
    decades = np.log10(lrs)
    down = fall / (1 + np.exp(-(decades - math.log10(falls_at)) / 0.3))
    up = np.expm1(np.clip(6 * (decades - math.log10(turns_at)), 0, 3))
    return 5.3 - down + up + noise * np.random.default_rng(seed).standard_normal(len(lrs))


FALLS = {
    "after a plateau": {"falls_at": 0.03, "turns_at": 0.5},
    "late": {"falls_at": 1.0, "turns_at": 6.0},
    "early": {"falls_at": 1e-4, "turns_at": 2e-3},
}


@pytest.mark.parametrize("min_lr", [1e-6, 1e-9])
@pytest.mark.parametrize("noise", [0.0, 0.15])
@pytest.mark.parametrize("fall", FALLS.values(), ids=FALLS)
def test_half_way_is_in_the_fall_and_not_on_the_plateau_before_it(
    fall: dict[str, float], noise: float, min_lr: float
) -> None:
    lrs = np.geomspace(min_lr, 10, 100)
    for seed in range(20):
        losses = smooth(draw_curve(lrs, fall=1.0, noise=noise, seed=seed, **fall))
        # The average follows the losses ten steps behind.
        assert 0.5 < lrs[halfway_index(losses)] / fall["falls_at"] < 5


def test_half_way_is_the_last_point_above_the_middle_of_the_fall() -> None:
    losses = np.array([9.0, 4.0, 4.0, 2.9, 4.0, 3.1, 2.9, 2.5, 2.0, 2.2, 5.0, 9.0])
    assert depth_of_fall(losses) == 2.0  # from 4 to 2; the first tenth does not count
    assert halfway_index(losses) == 5


def test_a_curve_that_only_rises_has_no_fall() -> None:
    losses = np.arange(1.0, 5.0)
    assert depth_of_fall(losses) == 0.0
    assert halfway_index(losses) == 0
    assert halfway_index(np.array([1.0])) == 0


@pytest.mark.parametrize("smoothing", [0.0, 0.5, 0.9])
def test_the_noise_of_the_smoothed_loss_is_measured_whatever_the_loss_does(
    smoothing: float,
) -> None:
    lrs = np.geomspace(1e-6, 10, 2000)
    fall = draw_curve(lrs, falls_at=0.03, fall=1.0, turns_at=0.5, noise=0.2, seed=0)
    flat = smooth(0.2 * np.random.default_rng(1).standard_normal(2000), smoothing)
    assert smoothed_noise(fall, smoothing) == pytest.approx(flat[200:].std(), rel=0.1)


def test_a_fall_that_noise_alone_can_give_is_called_weak(store: Store) -> None:
    # Steps so small that the network stays as it is: only the batches differ.
    still = find(store, make_recipe(), min_lr=1e-12, max_lr=1e-11, num_steps=20)
    assert still.weakness == "noise"
    assert 0 <= still.fall <= WEAK_BELOW * still.noise
    moved = find(store, make_recipe(), min_lr=1e-5, max_lr=1.0, num_steps=60)
    assert moved.weakness == ""
    assert moved.guessing_loss == pytest.approx(math.log(len(store.wnids)), abs=0.05)
    losses = np.array([point.loss for point in moved.points])
    assert moved.noise == smoothed_noise(losses, 0.9)
    assert moved.fall == depth_of_fall(np.array([point.smoothed_loss for point in moved.points]))


@pytest.mark.parametrize(
    ("fall", "lowest", "weakness"),
    [
        (0.06, 1.0, "noise"),
        (0.07, 2.28, "guessing"),
        (0.07, 2.4, "guessing"),
        (0.07, 2.26, ""),
        (0.0, 2.3, "noise"),
    ],
)
def test_a_fall_says_something_only_beyond_noise_and_guessing(
    fall: float, lowest: float, weakness: str
) -> None:
    assert judge_fall(fall, lowest, noise=0.01, guessing_loss=2.3) == weakness


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_no_answer_without_seeing_the_images_has_a_lower_loss_than_guessing(
    smoothing: float,
) -> None:
    targets = np.array([0] * 5 + [1] * 2 + [3])
    found = loss_of_guessing(targets, 4, make_recipe(train={"label_smoothing": smoothing}).train)
    logits = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe")

    def loss_of_one_answer() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(
            logits.expand(len(targets), 4), torch.from_numpy(targets), label_smoothing=smoothing
        )
        loss.backward()
        return loss

    optimizer.step(loss_of_one_answer)
    assert found == pytest.approx(loss_of_one_answer().item(), abs=1e-4)
