import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.classify.diagnosis.conftest import (
    ABOUT,
    found,
    kinds,
    make_about,
    make_history,
    make_recipe,
)
from tinysight.classify.diagnosis import Observation, diagnose
from tinysight.classify.diagnosis.fit import fewer_epochs, mixed_images, with_dropout
from tinysight.classify.draws import require_dropout_fits
from tinysight.config import load_recipe, override_recipe


def judge(
    test: float, train: float, *, about: Any = ABOUT, **tables: Any
) -> tuple[Observation, ...]:
    history = make_history([test] * 3, train_accuracy=[train] * 3)
    return diagnose(history, None, make_recipe(3, **tables), about=about)


def test_the_textbook_case_of_over_fitting() -> None:
    history = make_history(
        [0.1, 0.3, 0.36, 0.378],
        train_accuracy=[0.1, 0.35, 0.7, 0.925],
        test_loss=[4.2, 3.1, 3.3, 4.6],
        train_loss=[4.3, 2.9, 1.2, 0.3],
    )
    recipe = load_recipe("reference-nll", ["train.epochs=4", "schedule.peak_epoch=1"])
    observation = found(diagnose(history, None, recipe, about=ABOUT), "over-fitting")
    assert observation.severity == "warning"
    assert observation.sentence == (
        "Over-fitted: 92.5 % of the training images (augmented, while they were learned from) and "
        "37.8 % of the test images are recognised, 54.7 points apart and on plain training images "
        "still more. The test loss was lowest after epoch 2 (3.10) and rose to 4.60, while the "
        "training loss fell from 2.90 to 0.30."
    )
    assert observation.advice == (
        "Make the training images harder to learn by heart: `--set augment.pad_px=8`, "
        "`--set optimizer.weight_decay=0.0005` or `--set augment.dropout_probability=0.5`."
    )


@pytest.mark.parametrize(
    ("train", "kind", "severity"),
    [
        (0.749, "fit", "good"),
        (0.751, "over-fitting", "note"),
        (0.899, "over-fitting", "note"),
        (0.901, "over-fitting", "warning"),
    ],
)
def test_a_gap_is_good_worth_a_note_or_a_warning(train: float, kind: str, severity: str) -> None:
    observations = judge(0.65, train)
    assert found(observations, kind).severity == severity
    assert kinds(observations) & {"fit", "over-fitting", "under-fitting"} == {kind}


def test_a_gap_that_few_test_images_can_make_by_chance_is_none() -> None:
    few = make_about(test_images=30, classes=10)
    assert "fit" in kinds(judge(0.70, 0.90, about=few))
    many = make_about(test_images=3_000, classes=10)
    assert "over-fitting" in kinds(judge(0.70, 0.90, about=many))


def test_under_fitting_names_a_larger_network_and_more_epochs() -> None:
    observation = found(judge(0.487, 0.547, model={"name": "compact"}), "under-fitting")
    assert observation.severity == "note"
    assert observation.sentence.startswith("Under-fitted: 54.7 % of the training images")
    assert "48.7 % of the test images are recognised. The two are close (6.0 points)" in (
        observation.sentence
    )
    assert observation.advice == "Try `--set train.epochs=6` or `--set model.name=resnet18`."


@pytest.mark.parametrize(
    ("tables", "setting"),
    [
        ({"model": {"stem": "7x7"}}, "`--set model.stem=3x3`"),
        ({"model": {"name": "resnet18"}}, "`--set model.name=resnet34`"),
        ({"optimizer": {"weight_decay": 0.01}}, "`--set optimizer.weight_decay=0.0005`"),
    ],
)
def test_under_fitting_names_what_this_recipe_can_change(tables: Any, setting: str) -> None:
    assert setting in found(judge(0.3, 0.3, **tables), "under-fitting").advice


def test_a_first_epoch_says_nothing_of_augmentation() -> None:
    history = make_history([0.5], train_accuracy=[0.4])
    recipe = make_recipe(1, schedule={"peak_epoch": 0.5})
    observation = found(diagnose(history, None, recipe, about=ABOUT), "under-fitting")
    assert "The training images were counted from the first step on, and neither share is high" in (
        observation.sentence
    )
    assert "augmentation" not in observation.advice


def test_augmentation_that_is_too_strong_shows_as_a_negative_gap() -> None:
    observation = found(judge(0.5, 0.4), "under-fitting")
    assert "Augmentation makes the training images harder by 10.0 points" in observation.sentence
    assert "weaker augmentation" in observation.advice


@pytest.mark.parametrize(("train", "kind"), [(0.699, "under-fitting"), (0.70, "fit")])
def test_under_fitting_ends_at_its_threshold(train: float, kind: str) -> None:
    assert kind in kinds(judge(0.65, train))


def test_mixed_training_images_are_not_compared() -> None:
    observations = judge(0.6, 0.3, augment={"mix_probability": 0.5})
    assert not kinds(observations) & {"fit", "over-fitting", "under-fitting"}
    observation = found(observations, "training-not-comparable")
    assert observation.sentence == (
        "The training accuracy of 30.0 % cannot be set against the test accuracy of 60.0 %: 50.0 % "
        "of the training images were mixed from two (augment.mix_probability) and have two "
        "classes, so neither over-fitting nor under-fitting shows in it."
    )


def test_a_rising_test_loss_shows_over_fitting_also_of_mixed_images() -> None:
    history = make_history([0.5, 0.6, 0.6], test_loss=[2.0, 1.8, 2.1])
    recipe = make_recipe(3, augment={"mix_probability": 0.5})
    observation = found(diagnose(history, None, recipe, about=ABOUT), "over-fitting")
    assert observation.severity == "note"
    assert observation.sentence == (
        "The test loss was lowest after epoch 2 (1.80) and rose to 2.10, while the training loss "
        "fell from 3.60 to 3.24. The test accuracy is at its best all the same: the network grows "
        "surer of its mistakes, but makes no more of them."
    )
    assert observation.advice == "Try `--set train.epochs=1`, or add images."


@pytest.mark.parametrize(
    ("last_loss", "train_loss", "is_found"),
    [
        (1.99, [3.0, 2.0, 1.0], True),
        (1.97, [3.0, 2.0, 1.0], False),  # less than a tenth above the lowest
        (1.99, [3.0, 2.0, 2.1], False),  # the training loss rose as well: not over-fitting
    ],
)
def test_the_loss_must_rise_while_that_of_training_falls(
    last_loss: float, train_loss: list[float], is_found: bool
) -> None:
    history = make_history([0.6] * 3, test_loss=[2.0, 1.8, last_loss], train_loss=train_loss)
    observations = diagnose(history, None, make_recipe(3), about=ABOUT)
    assert ("over-fitting" in kinds(observations)) == is_found


def test_a_loss_that_rises_while_the_accuracy_falls_is_a_warning() -> None:
    history = make_history([0.6, 0.62, 0.61], test_loss=[2.0, 1.8, 2.1])
    observation = found(diagnose(history, None, make_recipe(3), about=ABOUT), "over-fitting")
    assert observation.severity == "warning"
    assert observation.sentence.endswith("while the training loss fell from 3.60 to 3.24.")


@pytest.mark.parametrize(
    ("accuracy", "loss", "is_found"),
    [
        (0.99, 0.04, False),  # 1,000 losses are known to 0.03, the difference to no less
        (0.99, 0.12, True),
        (1.0, 0.12, False),
    ],
)
def test_a_loss_of_nearly_nothing_may_rise(accuracy: float, loss: float, is_found: bool) -> None:
    history = make_history([0.9, accuracy, accuracy], test_loss=[0.5, 0.01, loss])
    about = make_about(test_images=1_000, classes=10)
    observations = diagnose(history, None, make_recipe(3), about=about)
    assert ("over-fitting" in kinds(observations)) == is_found


def test_a_loss_that_larger_images_raise_is_no_over_fitting() -> None:
    history = make_history(
        [0.3, 0.4, 0.5],
        test_loss=[2.5, 2.0, 2.3],
        train_loss=[2.6, 2.1, 2.0],
        image_px=[32, 32, 64],
    )
    assert "over-fitting" not in kinds(diagnose(history, None, make_recipe(3), about=ABOUT))
    same = [row | {"test_image_px": 64} for row in history]
    assert "over-fitting" in kinds(diagnose(same, None, make_recipe(3), about=ABOUT))


def test_a_run_that_learned_nothing_is_told_so_and_nothing_else_about_its_fit() -> None:
    observations = judge(0.0055, 0.006)
    observation = found(observations, "not-learning")
    assert observation.severity == "warning"
    assert observation.sentence == (
        "Nothing that helps on new images was learned: after 3 epochs 0.5 % of the test images are "
        "recognised, and guessing reaches 0.5 % with 200 classes. Of the training images it is "
        "0.6 %."
    )
    assert "`tinysight lr-find STORE --recipe RUN/recipe.toml --out DIR`" in observation.advice
    assert not [each for each in observations if each.severity == "good"]
    assert "fit" not in kinds(observations)


def test_the_share_of_the_commonest_class_is_no_learning() -> None:
    about = make_about(test_images=3_000, classes=2) | {"class_test_images": [2_700, 300]}
    observations = judge(0.9, 0.9, about=about)
    assert "always naming the commonest class reaches 90.0 % with 2 classes" in (
        found(observations, "not-learning").sentence
    )
    assert "fit" not in kinds(observations)
    assert "fit" in kinds(judge(0.95, 0.95, about=about))


def test_a_run_that_learned_by_heart_is_told_so() -> None:
    about = make_about(test_images=1_000, classes=10)
    observation = found(judge(0.1, 0.99, about=about), "over-fitting")
    assert observation.severity == "warning"
    assert observation.sentence == (
        "Learned by heart: after 3 epochs 99.0 % of the training images (augmented, while they "
        "were learned from) and 10.0 % of the test images are recognised, and guessing reaches "
        "10.0 % with 10 classes. Nothing of what was learned helps on new images."
    )
    assert observation.advice == (
        "Look whether the labels are right (`tinysight data show STORE --out FILE.png` draws "
        "training images with their classes) and whether the test images show the same things as "
        "the training images. Make the training images harder to learn by heart: "
        "`--set augment.mix_probability=0.5`."
    )
    # What is not much above guessing in the training part was not learned there either.
    assert "not-learning" in kinds(judge(0.1, 0.15, about=about))


def test_a_run_that_is_wrong_more_often_than_guessing_is_told_to_look_at_its_labels() -> None:
    observation = found(
        judge(0.0, 0.9, about=make_about(test_images=24, classes=2)), "below-guessing"
    )
    assert observation.severity == "warning"
    assert observation.sentence == (
        "Wrong more often than guessing: after 3 epochs 90.0 % of the training images (augmented, "
        "while they were learned from) and 0.0 % of the test images are recognised, and guessing "
        "reaches 50.0 % with 2 classes. A network that looks is right less often than one that "
        "does not where the classes of the two parts do not mean the same."
    )
    assert observation.advice == (
        "Look whether the labels of the test images are swapped, or sorted otherwise than those of "
        "the training images, which `tinysight data show STORE --out FILE.png` draws with their "
        "classes."
    )


@pytest.mark.parametrize(("test", "images"), [(0.75, 4), (1.0, 1), (0.0, 1)])
def test_a_handful_of_images_tells_neither_learning_nor_its_lack(test: float, images: int) -> None:
    about = make_about(test_images=images, classes=2)
    observations = judge(test, 0.7, about=about)
    assert kinds(observations) >= {"too-few-images"}
    assert not kinds(observations) & {"not-learning", "over-fitting", "below-guessing"}
    assert ("fit" in kinds(observations)) == (test > 0)


def test_few_images_are_no_proof_that_nothing_was_learned() -> None:
    about = make_about(test_images=18, classes=2)
    observations = judge(15 / 18, 0.9, about=about)
    assert found(observations, "too-few-images").sentence == (
        "18 test images are too few to tell what was learned from chance: 83.3 % of them are "
        "recognised, and guessing reaches 50.0 % with 2 classes."
    )
    assert kinds(observations) >= {"fit"}
    assert "not-learning" not in kinds(observations)


@pytest.mark.parametrize("size_px", [1, 8, 15, 16, 64])
def test_a_dropout_that_is_advised_fits_into_the_images(size_px: int) -> None:
    settings = with_dropout(make_recipe(3), size_px).split(" --set ")
    recipe = override_recipe(make_recipe(3).model_dump(), settings, where="x")
    assert recipe.augment.dropout_probability == 0.5
    require_dropout_fits(recipe.augment, size_px=size_px)


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_mixing_that_is_advised_has_a_way_to_mix(alpha: float) -> None:
    recipe = make_recipe(3, augment={"mixup_alpha": 0.0, "cutmix_alpha": alpha})
    settings = mixed_images(recipe).split(" --set ")
    mixed = override_recipe(recipe.model_dump(), settings, where="x")
    assert mixed.augment.mix_probability == 0.5
    assert mixed.augment.cutmix_alpha == (alpha or 1)


@given(data=st.data(), epochs=st.integers(1, 40))
def test_a_shorter_run_is_one_that_the_recipe_allows(data: st.DataObject, epochs: int) -> None:
    peak_epoch = data.draw(st.floats(0, epochs))
    full_size_epoch = data.draw(st.integers(0, epochs - 1))
    recipe = make_recipe(
        epochs,
        schedule={
            "peak_epoch": peak_epoch,
            "full_size_epoch": full_size_epoch,
            "first_image_px": 48 if full_size_epoch else 0,
        },
    )
    setting = fewer_epochs(recipe)
    if not setting:
        assert epochs == max(1, math.ceil(peak_epoch), full_size_epoch + 1)
        return
    shorter = override_recipe(recipe.model_dump(), [setting], where="x")
    assert epochs // 2 <= shorter.train.epochs < epochs


@pytest.mark.parametrize(
    ("about", "sentence"),
    [
        (
            make_about(test_images=300, classes=1),
            "With one class there is nothing to learn: its name is right for every image.",
        ),
        (
            make_about(test_images=300, classes=2) | {"class_test_images": [0, 300]},
            "All test images are of one class, so that always naming it is right for every one: "
            "what was learned does not show in them.",
        ),
    ],
)
def test_where_naming_one_class_is_always_right_nothing_is_to_be_learned(
    about: Any, sentence: str
) -> None:
    observations = judge(1.0, 1.0, about=about)
    assert [each.severity for each in observations if each.severity == "warning"] == []
    assert found(observations, "nothing-to-learn").sentence == sentence
    assert kinds(observations) == {"nothing-to-learn", "not-evaluated"}
