from typing import Any

import pytest

from tests.classify.diagnosis.conftest import (
    ABOUT,
    found,
    kinds,
    make_about,
    make_history,
    make_recipe,
)
from tinysight.classify.diagnosis import Observation, diagnose


def judge(
    accuracy: list[float], *, epochs: int | None = None, about: Any = ABOUT, **columns: Any
) -> tuple[Observation, ...]:
    recipe = columns.pop("recipe", None) or make_recipe(epochs or len(accuracy))
    return diagnose(make_history(accuracy, **columns), None, recipe, about=about)


ZIGZAG = [0.3, 0.45, 0.38, 0.5, 0.41, 0.55]


def test_a_test_accuracy_that_fluctuates_to_the_end_is_a_warning() -> None:
    observation = found(judge([*ZIGZAG, 0.5, 0.51], lr=[0.1] * 8), "lr-too-high")
    assert observation.severity == "warning"
    assert observation.sentence == (
        "The learning rate is too high: the test accuracy fluctuates, it fell 3 times by more than "
        "chance, furthest in epoch 5 from 50.0 % to 41.0 % (33 standard errors) at learning rate "
        "0.1. It ended at 51.0 %, 4.0 points below its best."
    )
    assert observation.advice == (
        "Look at learning rates with `tinysight lr-find STORE --recipe RUN/recipe.toml --out DIR`, "
        "or try `--set schedule.max_lr=0.033` or a longer warm-up (schedule.peak_epoch)."
    )


def test_a_fluctuation_that_the_falling_learning_rate_heals_is_a_note() -> None:
    observation = found(judge([*ZIGZAG, 0.6, 0.62]), "lr-too-high")
    assert observation.severity == "note"
    assert observation.sentence.startswith("The learning rate was high for a while: ")
    assert "As it fell, the accuracy recovered to 62.0 %, its best." in observation.sentence
    assert "`--set train.ema_decay=0.999`" in observation.advice


def test_only_a_lower_learning_rate_can_heal() -> None:
    observation = found(judge([*ZIGZAG, 0.6, 0.62], lr=[0.1] * 7 + [0.051]), "lr-too-high")
    assert observation.severity == "note"
    assert observation.sentence.startswith("The learning rate may be too high: the test accuracy")
    assert observation.sentence.endswith(". The test accuracy ended at 62.0 %, its best.")


def test_a_loss_that_rose_for_a_while_and_an_accuracy_that_never_fell() -> None:
    accuracy = [0.3, 0.4, 0.5, 0.6]
    loss = [3.0, 3.3, 2.5, 2.0]
    observation = found(judge(accuracy, lr=[0.05, 0.1, 0.05, 0.01], train_loss=loss), "lr-too-high")
    assert observation.severity == "note"
    assert observation.sentence == (
        "The learning rate was high for a while: the training loss rose from 3.00 to 3.30 in epoch "
        "2 at learning rate 0.1. The test accuracy ended at 60.0 %, its best."
    )


def test_a_rate_that_only_rises_is_not_called_high_for_a_while() -> None:
    recipe = make_recipe(2, schedule={"peak_epoch": 2.0})
    observations = judge([0.3, 0.4], lr=[0.004, 0.1], train_loss=[3.0, 3.3], recipe=recipe)
    observation = found(observations, "lr-too-high")
    assert observation.sentence == (
        "The learning rate may be too high: the training loss rose from 3.00 to 3.30 in epoch 2 at "
        "learning rate 0.1. The test accuracy ended at 40.0 %, its best."
    )
    assert "schedule.max_lr=0.033" in observation.advice
    assert "warm-up" not in observation.advice  # it already lasts to the end


def test_where_nothing_was_learned_nothing_recovered() -> None:
    observations = judge([0.005, 0.005, 0.005], train_loss=[5.3, 5.6, 5.3])
    observation = found(observations, "lr-too-high")
    assert observation.severity == "warning"
    assert observation.sentence == (
        "The learning rate may be too high: the training loss rose from 5.30 to 5.60 in epoch 2 at "
        "learning rate 0.05."
    )


def test_averaged_weights_are_not_advised_where_they_are() -> None:
    observations = judge([*ZIGZAG, 0.6, 0.62], ema_accuracy=[0.5] * 7 + [0.62])
    assert "ema_decay" not in found(observations, "lr-too-high").advice
    said = "the accuracy recovered to 62.0 % with the raw weights, its best."
    assert found(observations, "lr-too-high").sentence.endswith(said)


def test_falls_are_counted_against_the_noise_of_the_test_part() -> None:
    zigzag = [0.5, 0.47, 0.52, 0.49, 0.55, 0.55]  # two falls of 3 points
    assert "lr-too-high" in kinds(judge(zigzag))
    # Of 1,000 images the standard error is 1.6 points.
    assert "lr-too-high" not in kinds(judge(zigzag, about=make_about(test_images=1_000)))


@pytest.mark.parametrize(("fall", "is_found"), [(0.019, False), (0.021, True)])
def test_small_falls_are_never_counted(fall: float, is_found: bool) -> None:
    zigzag = [0.5, 0.5 - fall, 0.5, 0.5 - fall, 0.5, 0.5]
    assert ("lr-too-high" in kinds(judge(zigzag))) == is_found


def test_one_fall_is_neither_a_fault_nor_steady() -> None:
    assert not kinds(judge([0.3, 0.4, 0.3, 0.45, 0.5])) & {"lr-too-high", "steady"}


def test_falls_at_a_low_learning_rate_are_not_laid_to_it() -> None:
    lr = [0.1, 0.1, 0.01, 0.01, 0.01, 0.01]
    assert "lr-too-high" not in kinds(judge(ZIGZAG, lr=lr))


@pytest.mark.parametrize(("rise", "is_found"), [(1.019, False), (1.021, True)])
def test_a_training_loss_that_rises_shows_too_high_a_rate(rise: float, is_found: bool) -> None:
    observations = judge([0.3, 0.35, 0.36, 0.5], train_loss=[4.0, 3.0, 3.0 * rise, 2.0])
    assert ("lr-too-high" in kinds(observations)) == is_found
    if is_found:
        sentence = found(observations, "lr-too-high").sentence
        assert "the training loss rose from 3.00 to 3.06 in epoch 3 at learning rate 0.0333" in (
            sentence
        )


def test_a_training_loss_of_few_images_may_rise_by_chance() -> None:
    few = ABOUT | {"train_images": 400}  # the mean of their losses is good to 0.05
    for rise, is_found in ((0.14, False), (0.16, True)):
        observations = judge([0.3, 0.35, 0.36], train_loss=[4.0, 3.0, 3.0 + rise], about=few)
        assert ("lr-too-high" in kinds(observations)) == is_found


def test_larger_images_are_no_sign_of_too_high_a_rate() -> None:
    recipe = make_recipe(
        6, schedule={"first_image_px": 32, "full_size_epoch": 4, "image_px_step": 16}
    )
    accuracy, train_loss = [0.3, 0.4, 0.35, 0.45, 0.4, 0.5], [4.0, 3.0, 3.3, 2.5, 2.8, 2.0]
    columns = {"train_loss": train_loss, "lr": [0.1] * 6, "recipe": recipe}
    growing = judge(accuracy, image_px=[32, 32, 48, 48, 64, 64], **columns)
    assert "lr-too-high" not in kinds(growing)
    assert "lr-too-high" in kinds(judge(accuracy, image_px=[64] * 6, **columns))


def test_the_trend_at_the_end_is_that_of_images_of_one_size() -> None:
    recipe = make_recipe(
        5, schedule={"first_image_px": 32, "full_size_epoch": 3, "image_px_step": 32}
    )
    growing = judge([0.2, 0.3, 0.4, 0.5, 0.6], image_px=[32, 32, 32, 64, 64], recipe=recipe)
    assert not kinds(growing) & {"still-improving", "settled", "declining"}
    longer = judge([0.2, 0.3, 0.4, 0.5, 0.6], image_px=[32, 32, 64, 64, 64], recipe=recipe)
    assert "from epoch 3 to 5" in found(longer, "still-improving").sentence


def test_a_steady_run_is_told_its_largest_fall() -> None:
    observation = found(judge([0.3, 0.4, 0.395, 0.5]), "steady")
    assert observation.severity == "good"
    assert observation.sentence == (
        "Learning was steady: the test accuracy fell by at most 0.5 points from one evaluation to "
        "the next, with learning rates up to 0.1."
    )
    assert "never fell" in found(judge([0.3, 0.4, 0.5]), "steady").sentence


def test_a_steady_run_is_told_its_highest_learning_rate_where_no_epoch_ended_at_it() -> None:
    recipe = make_recipe(3, schedule={"max_lr": 0.1, "peak_epoch": 1.5})
    peaked = judge([0.3, 0.4, 0.5], lr=[0.07, 0.06, 0.0], recipe=recipe)
    assert "with learning rates up to 0.1." in found(peaked, "steady").sentence
    longer = make_recipe(9, schedule={"peak_epoch": 4.0})
    rising = judge([0.3, 0.4, 0.5], lr=[0.02, 0.04, 0.06], recipe=longer)
    assert "with learning rates up to 0.06." in found(rising, "steady").sentence


def test_a_run_that_still_improves_is_told_how_fast() -> None:
    observations = judge([0.2, 0.3, 0.42, 0.46, 0.487])
    observation = found(observations, "still-improving")
    assert observation.severity == "note"
    assert observation.sentence == (
        "Still improving at the end: from epoch 3 to 5 the test accuracy rose from 42.0 % to "
        "48.7 %, 3.4 points an epoch where chance makes 0.2 points. Part of that is the falling "
        "learning rate, so the whole schedule must be longer; more epochs at the end of this one "
        "would bring little."
    )
    assert observation.advice == "Train a new run with `--set train.epochs=10`."


def test_at_a_constant_learning_rate_the_rise_is_not_laid_to_its_fall() -> None:
    recipe = make_recipe(5, schedule={"kind": "constant"})
    observations = judge([0.2, 0.3, 0.42, 0.46, 0.487], lr=[0.1] * 5, recipe=recipe)
    assert "falling" not in found(observations, "still-improving").sentence
    assert found(observations, "lr-ended-high").advice == (
        "Let it fall to nearly 0: `--set schedule.kind=one-cycle`."
    )


@pytest.mark.parametrize(
    "accuracy", [[0.3, 0.625, 0.9, 1.0], [0.3, 0.625, 0.9, 0.9], [0.3, 0.625, 0.9, 0.89]]
)
def test_what_came_to_a_halt_or_to_perfection_does_not_still_improve(accuracy: list[float]) -> None:
    observations = judge(accuracy, about=make_about(test_images=32, classes=2))
    assert "still-improving" not in kinds(observations)


def test_a_long_end_may_rise_by_fits_and_starts() -> None:
    accuracy = [0.3] * 24 + [0.40, 0.42, 0.44, 0.46, 0.48, 0.478]
    assert "still-improving" in kinds(judge(accuracy))
    halted = [0.3] * 24 + [0.40, 0.44, 0.48, 0.48, 0.48, 0.48]
    assert "still-improving" not in kinds(judge(halted))


def test_chance_makes_something_of_perfect_accuracies_too() -> None:
    few = judge([0.9, 1.0, 1.0, 1.0], about=make_about(test_images=1_000))
    assert "0.0 points an epoch where chance makes 0.1 points." in found(few, "settled").sentence
    many = judge([0.9, 1.0, 1.0, 1.0])
    assert found(many, "settled").sentence.endswith("where chance makes less than 0.1 points.")


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (0.0019, "settled"),
        (0.0021, "still-improving"),
        (-0.0019, "settled"),
        (-0.0021, "declining"),
    ],
)
def test_a_slope_must_be_worth_an_epoch(step: float, kind: str) -> None:
    accuracy = [0.5 + step * epoch for epoch in range(30)]
    assert kinds(judge(accuracy)) & {"settled", "still-improving", "declining"} == {kind}


def test_a_slope_must_stand_out_of_the_noise() -> None:
    rise = [0.50, 0.51, 0.52, 0.53]  # of 1,000 images, a slope has a standard error of 0.011
    ends = {"settled", "still-improving"}
    assert kinds(judge(rise)) & ends == {"still-improving"}
    assert kinds(judge(rise, about=make_about(test_images=1_000))) & ends == {"settled"}


def test_a_slope_that_may_be_chance_or_not_is_called_neither() -> None:
    rise = [0.50, 0.517, 0.534]  # 1.5 standard errors of 1,000 images
    observations = judge(rise, about=make_about(test_images=1_000))
    assert not kinds(observations) & {"settled", "still-improving"}


def test_a_settled_run_is_told_what_chance_makes() -> None:
    observation = found(judge([0.5, 0.6, 0.601, 0.602]), "settled")
    assert observation.sentence == (
        "Settled: from epoch 2 to 4 the test accuracy went from 60.0 % to 60.2 %, 0.1 points an "
        "epoch where chance makes 0.2 points."
    )


@pytest.mark.parametrize(("lr", "is_found"), [(0.0049, False), (0.0051, True)])
def test_a_learning_rate_that_ended_high(lr: float, is_found: bool) -> None:
    recipe = make_recipe(3, schedule={"div_factor": 1.0, "final_div_factor": 0.1 / lr})
    observations = judge([0.3, 0.4, 0.5], lr=[0.1, 0.05, lr], recipe=recipe)
    assert ("lr-ended-high" in kinds(observations)) == is_found
    if is_found:
        observation = found(observations, "lr-ended-high")
        assert observation.severity == "warning"
        assert "at 0.0051, 5.1 % of its highest value 0.1" in observation.sentence
        assert observation.advice == (
            "Let it fall to nearly 0: `--set schedule.final_div_factor=1e4`."
        )


def test_a_peak_at_the_end_leaves_no_time_to_come_down() -> None:
    for kind, setting in (
        ("one-cycle", "schedule.peak_epoch=0.6"),
        ("constant", "schedule.kind=one-cycle --set schedule.peak_epoch=0.6"),
    ):
        recipe = make_recipe(3, schedule={"kind": kind, "peak_epoch": 3.0})
        observations = judge([0.3, 0.4, 0.5], lr=[0.004, 0.05, 0.1], recipe=recipe)
        assert found(observations, "lr-ended-high").advice == (
            f"Let it fall to nearly 0: `--set {setting}`."
        )


def test_an_unfinished_run_is_not_judged_by_its_end() -> None:
    observations = judge([0.3, 0.4, 0.5], epochs=10, lr=[0.1] * 3)
    observation = found(observations, "unfinished")
    assert observation.sentence == "The run is not finished: 3 of 10 epochs are done."
    assert not kinds(observations) & {"still-improving", "settled", "lr-ended-high"}


def test_two_evaluations_have_no_slope() -> None:
    assert not kinds(judge([0.3, 0.5])) & {"still-improving", "settled", "steady"}


def test_the_gain_of_the_averaged_weights() -> None:
    observation = found(judge([0.4, 0.5, 0.56], ema_accuracy=[0.3, 0.5, 0.6]), "average-gains")
    assert observation.severity == "good"
    assert observation.sentence == (
        "The averaged weights gain 4.0 points: 60.0 % with the averaged weights and 56.0 % with "
        "the raw ones on the test images."
    )


def test_averaged_weights_within_chance_of_the_raw_ones_are_even() -> None:
    observation = found(judge([0.4, 0.5, 0.6], ema_accuracy=[0.5, 0.58, 0.603]), "average-even")
    assert "over the run the averaged ones were 8.0 points ahead in the median" in (
        observation.sentence
    )


@pytest.mark.parametrize(("averaged", "raw"), [(1.0, 0.999), (0.999, 1.0)])
def test_one_image_of_a_thousand_is_no_gain(averaged: float, raw: float) -> None:
    about = make_about(test_images=1_000)
    observations = judge([0.9, 0.99, raw], ema_accuracy=[0.9, 0.99, averaged], about=about)
    assert found(observations, "average-even").sentence.startswith(
        "Averaged and raw weights end even:"
    )


@pytest.mark.parametrize(
    ("steps", "decay"),
    [(900, "0.956"), (80_000, "0.9995"), (400_000, "0.9999"), (10**6, "0.99996")],
)
def test_a_shorter_average_has_as_many_digits_as_it_needs(steps: int, decay: str) -> None:
    history = make_history([0.4, 0.5, 0.6], ema_accuracy=[0.2, 0.3, 0.4])
    history[-1]["steps"] = steps
    recipe = make_recipe(3, train={"ema_decay": 1 - 1e-9})
    observation = found(diagnose(history, None, recipe, about=ABOUT), "average-lags")
    assert observation.advice == f"Average over fewer steps: `--set train.ema_decay={decay}`."
    assert 0 < 1 - float(decay) < 1


def test_averaged_weights_that_look_back_too_far_are_a_warning() -> None:
    recipe = make_recipe(3, train={"ema_decay": 0.999})  # 1,000 of 900 steps
    observation = found(
        judge([0.4, 0.5, 0.6], ema_accuracy=[0.2, 0.3, 0.4], recipe=recipe), "average-lags"
    )
    assert observation.severity == "warning"
    assert "lose 20.0 points" in observation.sentence
    assert "They look back on about 1,000 of 900 steps." in observation.sentence
    assert observation.advice == "Average over fewer steps: `--set train.ema_decay=0.956`."
    short = make_recipe(3, train={"ema_decay": 0.9})
    observation = found(
        judge([0.4, 0.5, 0.6], ema_accuracy=[0.2, 0.3, 0.4], recipe=short), "average-lags"
    )
    assert observation.advice == "Leave the average out: `--set train.ema_decay=0`."
