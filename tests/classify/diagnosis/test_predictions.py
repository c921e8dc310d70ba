from typing import Any

import pytest

from tests.classify.diagnosis.conftest import (
    ABOUT,
    found,
    kinds,
    make_about,
    make_history,
    make_metrics,
    make_recipe,
)
from tinysight.classify.diagnosis import Observation, diagnose
from tinysight.standard_errors import standard_error

TEN = make_about(test_images=1_650, classes=10)


def judge(
    metrics: Any, *, about: Any = TEN, explanation: Any = None, **tables: Any
) -> tuple[Observation, ...]:
    history = make_history([0.7] * 3)
    recipe = make_recipe(3, **tables)
    return diagnose(history, metrics, recipe, about=about, explanation=explanation)


def test_classes_that_never_learn_are_named_with_their_accuracy() -> None:
    observation = found(judge(make_metrics([0.8] * 8 + [0.1, 0.0])), "classes-never-learned")
    assert observation.severity == "warning"
    assert observation.sentence == (
        "2 of 10 classes are no more often recognised than by guessing (which reaches 10.0 %): "
        "class 9 0.0 %, class 8 10.0 %."
    )
    assert observation.advice == (
        "`tinysight explain RUN` and then `tinysight report RUN` show what their images are taken "
        "for; look for wrong labels, for classes that look alike, and for too few images."
    )


def test_many_classes_are_counted_and_the_worst_are_named() -> None:
    observation = found(judge(make_metrics([0.9] * 3 + [0.0] * 7)), "classes-never-learned")
    assert observation.sentence.startswith("7 of 10 classes are no more often")
    assert observation.sentence.endswith("class 7 0.0 %, and 2 more.")


def test_never_learned_ends_one_standard_error_above_chance() -> None:
    limit = 0.1 + standard_error(0.1, 165)
    for accuracy, kind in (
        (limit - 0.001, "classes-never-learned"),
        (limit + 0.001, "weak-classes"),
    ):
        observations = judge(make_metrics([0.8] * 9 + [accuracy]))
        assert kinds(observations) & {"classes-never-learned", "weak-classes"} == {kind}
        assert found(observations, kind).sentence.startswith("1 of 10 classes is ")


def test_a_class_that_chance_may_have_made_bad_is_not_called_guessing() -> None:
    two = make_about(test_images=40, classes=2)
    metrics = make_metrics([0.55, 0.95], images=20)  # 0.55 + 3 standard errors is above the mean
    observations = judge(metrics, about=two)
    assert not kinds(observations) & {"classes-never-learned", "weak-classes", "classes-learned"}


def test_a_class_above_chance_is_not_called_guessing_for_want_of_images() -> None:
    two = make_about(test_images=40, classes=2)
    observations = judge(make_metrics([0.8, 0.95], images=20), about=two)
    assert not kinds(observations) & {"classes-never-learned", "weak-classes"}


def test_a_network_that_names_the_commonest_class_has_learned_none() -> None:
    about = make_about(test_images=3_000, classes=2) | {"class_test_images": [2_700, 300]}
    metrics = make_metrics([1.0, 0.0], images=1_500) | {"accuracy": 0.9}
    observations = judge(metrics, about=about)
    assert not kinds(observations) & {"classes-never-learned", "weak-classes", "classes-learned"}


def test_classes_are_named_as_everywhere_else() -> None:
    metrics = make_metrics([0.8] * 8 + [0.1, 0.0])
    metrics["classes"][8]["name"] = "crane, bird"
    metrics["classes"][9]["name"] = "crane, machine"
    sentence = found(judge(metrics), "classes-never-learned").sentence
    assert sentence.endswith("crane, machine 0.0 %, crane, bird 10.0 %.")


def test_weak_classes_are_half_as_good_as_the_average_and_worse_than_chance_makes() -> None:
    assert "weak-classes" in kinds(judge(make_metrics([0.8] * 9 + [0.37])))
    assert "weak-classes" not in kinds(judge(make_metrics([0.8] * 9 + [0.39])))
    few = make_metrics([0.5] * 9 + [0.22], images=20)
    assert "weak-classes" not in kinds(judge(few))


def test_a_good_run_is_told_its_worst_class() -> None:
    observation = found(judge(make_metrics([0.8] * 9 + [0.6])), "classes-learned")
    assert observation.sentence == (
        "Every class was learned: the worst, class 9, is recognised in 60.0 % of its 165 test "
        "images."
    )


def test_classes_with_few_or_no_images_are_not_judged() -> None:
    metrics = make_metrics([0.8] * 9 + [None])
    metrics["classes"][9]["images"] = 0
    assert "classes-learned" in kinds(judge(metrics))
    metrics = make_metrics([0.8] * 9 + [0.0], images=19)
    assert not kinds(judge(metrics)) & {"classes-learned", "classes-never-learned", "weak-classes"}


@pytest.mark.parametrize(
    ("confidence", "kind"),
    [
        (0.60, "calibrated"),
        (0.649, "calibrated"),
        (0.651, "over-confident"),
        (0.551, "calibrated"),
        (0.549, "under-confident"),
    ],
)
def test_confidence_is_compared_with_accuracy(confidence: float, kind: str) -> None:
    metrics = make_metrics([0.6] * 10, confidence=confidence)
    assert kinds(judge(metrics)) & {"calibrated", "over-confident", "under-confident"} == {kind}


def test_over_confidence_is_shown_by_an_example() -> None:
    recipe: dict[str, Any] = {"loss": "nll", "label_smoothing": 0.0}
    observation = found(
        judge(make_metrics([0.6] * 10, confidence=0.9), train=recipe), "over-confident"
    )
    assert observation.sentence == (
        "Over-confident: its first guesses have a mean probability of 90.0 % and 60.0 % of them "
        "are right. Of the 1,650 images with a guess between 50.0 % and 100.0 %, 60.0 % are right. "
        "The expected calibration error is 30.0 %."
    )
    assert "`--set train.loss=cross-entropy --set train.label_smoothing=0.1`" in observation.advice


@pytest.mark.parametrize(
    ("tables", "setting"),
    [
        ({"train": {"label_smoothing": 0.0}}, "`--set train.label_smoothing=0.1`"),
        ({}, "`--set augment.mix_probability=0.5`"),
        (
            {"augment": {"mixup_alpha": 0.0, "cutmix_alpha": 0.0}},
            "`--set augment.mix_probability=0.5 --set augment.cutmix_alpha=1`",
        ),
        ({"augment": {"mix_probability": 0.5}}, "`--set train.epochs=1`"),
    ],
)
def test_over_confidence_names_what_is_not_used_yet(tables: Any, setting: str) -> None:
    observations = judge(make_metrics([0.6] * 10, confidence=0.9), **tables)
    assert setting in found(observations, "over-confident").advice


def test_under_confidence_names_its_causes() -> None:
    metrics = make_metrics([0.6] * 10, confidence=0.5)
    observation = found(judge(metrics, augment={"mix_probability": 0.5}), "under-confident")
    assert observation.advice == (
        "A guess is more often right than its probability says; "
        "`--set train.label_smoothing=0.05` or `--set augment.mix_probability=0.25` makes it surer."
    )
    plain = judge(metrics, train={"label_smoothing": 0.0})
    assert found(plain, "under-confident").advice == (
        "A guess is more often right than its probability says."
    )


def test_a_difference_that_few_images_make_by_chance_is_none() -> None:
    metrics = make_metrics([0.6] * 10, images=4, confidence=0.8)  # noise is 23 points
    assert "over-confident" not in kinds(judge(metrics))


def make_explanation(**duplicates: int) -> dict[str, Any]:
    none = {"identical": 0, "near": 0, "across_split": 0, "two_labels": 0}
    return {
        "mistakes": 9_900,
        "label_issues": {"found": 0, "of_images": 33_000},
        "duplicates": none | duplicates,
    }


def test_pairs_with_two_labels_are_counted_and_explained() -> None:
    observations = judge(None, about=ABOUT, explanation=make_explanation(two_labels=275))
    assert found(observations, "two-labels").sentence == (
        "275 pairs of equal or nearly equal images have two different labels. At least one label "
        "of each pair is wrong or incomplete."
    )


def test_test_images_that_are_in_training_bound_what_leaked() -> None:
    explanation = make_explanation(across_split=400, seen_test_images=330)
    observations = judge(None, about=ABOUT, explanation=explanation)
    assert found(observations, "seen-before").sentence == (
        "330 test images are equal or nearly equal to an image of the training part: at most 1.0 "
        "points of the test accuracy can come from having seen them."
    )
    one = judge(None, about=ABOUT, explanation=make_explanation(across_split=1))
    assert found(one, "seen-before").sentence.startswith("1 test image is equal or nearly equal")


def test_suspected_labels_are_a_list_and_not_a_count() -> None:
    explanation = make_explanation() | {"label_issues": {"found": 660, "of_images": 33_000}}
    sentence = found(judge(None, about=ABOUT, explanation=explanation), "label-issues").sentence
    assert sentence == (
        "660 of 33,000 test labels are suspected to be wrong (2.0 %). The network itself misses "
        "30.0 % of these images, so it is a list to look through, not a count of errors."
    )


def test_advice_on_an_explained_run_names_no_command_that_made_the_page() -> None:
    explanation = make_explanation(two_labels=1, across_split=1)
    explanation["label_issues"]["found"] = 660
    observations = judge(make_metrics([0.8] * 8 + [0.3, 0.0]), explanation=explanation)
    advice = {each.kind: each.advice for each in observations}
    assert advice["classes-never-learned"] == (
        "“What it confuses” on the page of the run says what their images are taken for; look for "
        "wrong labels, for classes that look alike, and for too few images."
    )
    assert advice["weak-classes"] == (
        "“What it confuses” on the page of the run says what their images are taken for."
    )
    assert advice["two-labels"] == (
        "They stand under “Pictures that are there twice” on the page of the run; give both images "
        "one label, or remove them."
    )
    assert advice["seen-before"] == (
        "They stand under “Pictures that are there twice” on the page of the run; remove one image "
        "of each pair and pack again."
    )
    assert advice["label-issues"] == (
        "They stand under “Labels that may be wrong” on the page of the run, the most suspicious "
        "first."
    )


def test_nothing_doubtful_is_not_mentioned() -> None:
    observations = judge(None, about=ABOUT, explanation=make_explanation())
    assert not kinds(observations) & {"two-labels", "seen-before", "label-issues"}
