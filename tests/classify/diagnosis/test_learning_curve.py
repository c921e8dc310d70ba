import pytest

from tests.classify.diagnosis.conftest import ABOUT, make_about, make_history, make_recipe
from tinysight.classify.diagnosis.learning_curve import (
    has_learned,
    is_below_guessing,
    looks_like_guessing,
    read_curve,
)
from tinysight.standard_errors import estimated_standard_error, standard_error


def test_epochs_without_evaluation_are_left_out() -> None:
    curve = read_curve(make_history([None, 0.2, None, 0.4]), ABOUT, make_recipe(4))
    assert curve is not None
    assert curve.epochs_done.tolist() == [2, 4]
    assert curve.accuracy.tolist() == curve.raw_accuracy.tolist() == [0.2, 0.4]
    assert not curve.is_averaged
    assert curve.part == "test"
    assert curve.noise == estimated_standard_error(0.4, 33_000)


def test_a_history_without_evaluations_has_no_curve() -> None:
    assert read_curve(make_history([None, None]), ABOUT, make_recipe(4)) is None


def test_a_perfect_accuracy_has_a_standard_error_too() -> None:
    curve = read_curve(make_history([0.9, 1.0]), make_about(test_images=1_000), make_recipe(2))
    assert curve is not None
    assert curve.noise == pytest.approx(0.001, rel=0.01)


def test_the_averaged_weights_are_the_ones_that_count() -> None:
    history = make_history([0.2, 0.3], ema_accuracy=[0.25, 0.35])
    curve = read_curve(history, ABOUT, make_recipe(2))
    assert curve is not None
    assert curve.is_averaged
    assert curve.accuracy.tolist() == [0.25, 0.35]
    assert curve.raw_accuracy.tolist() == [0.2, 0.3]


def test_evaluations_on_images_of_two_sizes_are_not_set_against_each_other() -> None:
    history = make_history([0.2, 0.1, 0.4, 0.35, 0.3], image_px=[32, 32, 48, 64, 64])
    curve = read_curve(history, ABOUT, make_recipe(5))
    assert curve is not None
    assert curve.falls.tolist() == pytest.approx([0.1, 0, 0, 0.05])
    last = curve.since_last_size()
    assert last.epochs_done.tolist() == [4, 5]
    assert last.accuracy.tolist() == last.raw_accuracy.tolist() == [0.35, 0.3]
    assert (len(last.loss), len(last.train_loss), len(last.lr)) == (2, 2, 2)
    # A size that comes back is another stretch.
    shrunk = make_history([0.2, 0.1, 0.4], image_px=[64, 32, 64])
    curve = read_curve(shrunk, ABOUT, make_recipe(3))
    assert curve is not None
    assert curve.since_last_size().epochs_done.tolist() == [3]


def test_runs_that_do_not_tell_looked_at_images_as_they_are() -> None:
    curve = read_curve(make_history([0.2, 0.3]), ABOUT, make_recipe(2))
    assert curve is not None
    assert curve.image_px.tolist() == [64, 64]
    assert curve.since_last_size().accuracy.tolist() == [0.2, 0.3]


def test_a_tuning_run_is_judged_by_its_tuning_images() -> None:
    recipe = make_recipe(2, train={"tuning_fraction": 0.1})
    curve = read_curve(make_history([0.2, 0.3], part="tuning"), ABOUT, recipe)
    assert curve is not None
    assert (curve.part, curve.images, curve.train_images) == ("tuning", 7_700, 69_300)


def test_chance_is_left_behind_by_more_than_three_standard_errors() -> None:
    limit = 0.1 + 3 * standard_error(0.1, 100)
    assert limit == pytest.approx(0.19)
    assert not has_learned(0.19, 100, 0.1)
    assert has_learned(0.20, 100, 0.1)
    # Between one and three standard errors above it, it cannot be told.
    assert looks_like_guessing(0.13, 100, 0.1)
    assert not looks_like_guessing(0.14, 100, 0.1)
    # Many images tell that it is not far above.
    assert looks_like_guessing(0.104, 10_000, 0.1)
    assert not looks_like_guessing(0.104, 100_000, 0.1)
    assert make_about(classes=10)["classes"][-1]["index"] == 9


@pytest.mark.parametrize(
    ("right", "images", "classes"),
    [(0, 1, 2), (1, 1, 2), (3, 4, 2), (12, 24, 2), (0, 1, 200), (0, 5, 10)],
)
def test_few_images_do_not_look_like_guessing(right: int, images: int, classes: int) -> None:
    assert not looks_like_guessing(right / images, images, 1 / classes)


@pytest.mark.parametrize(
    ("right", "images", "classes"), [(12, 26, 2), (0, 20, 200), (1, 20, 10), (50, 100, 2)]
)
def test_images_enough_look_like_guessing(right: int, images: int, classes: int) -> None:
    assert looks_like_guessing(right / images, images, 1 / classes)


def test_fewer_right_answers_than_guessing_gives_are_told_from_chance() -> None:
    assert is_below_guessing(0.0, 24, 2)
    assert not is_below_guessing(0.3, 24, 2)  # two standard errors below a half
    assert not is_below_guessing(0.0, 4, 2)
    assert not is_below_guessing(0.0, 400, 200)
