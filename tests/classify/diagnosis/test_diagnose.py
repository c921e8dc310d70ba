import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.classify.diagnosis.conftest import (
    ABOUT,
    found,
    kinds,
    make_about,
    make_history,
    make_metrics,
    make_recipe,
)
from tinysight import run_folder, whole_files
from tinysight.classify.diagnosis import diagnose, diagnose_run
from tinysight.config import override_recipe
from tinysight.errors import RunError

TWICE = {"duplicates": {"two_labels": 2, "across_split": 1, "seen_test_images": 1}}
HEALTHY = [0.3, 0.45, 0.55, 0.62, 0.66, 0.69, 0.70, 0.701, 0.702, 0.703]


def test_a_healthy_run_is_told_that_it_is() -> None:
    about = make_about(test_images=1_650, classes=10)
    metrics = make_metrics([0.72] * 9 + [0.6])
    history = make_history(HEALTHY, ema_accuracy=[*HEALTHY[:-1], 0.705])
    observations = diagnose(history, metrics, make_recipe(10), about=about)
    assert {observation.severity for observation in observations} == {"good"}
    assert kinds(observations) == {
        "fit",
        "steady",
        "settled",
        "average-even",
        "classes-learned",
        "calibrated",
    }


def test_warnings_come_first_and_what_is_good_last() -> None:
    history = make_history([0.3, 0.5, 0.6], train_accuracy=[0.9] * 3)
    observations = diagnose(history, None, make_recipe(3), about=ABOUT)
    order = [observation.severity for observation in observations]
    assert order == sorted(order, key=("warning", "note", "good").index)
    assert order[0] == "warning"
    assert order[-1] == "good"


def test_a_run_whose_test_part_was_looked_at_is_told_how_to_choose() -> None:
    history = make_history([0.3, 0.5, 0.6])
    observation = found(diagnose(history, None, make_recipe(3), about=ABOUT), "test-part-chooses")
    assert "`tinysight train STORE --recipe RUN/recipe.toml --out OTHER --tuning-fraction 0.1`" in (
        observation.advice
    )
    tuned = diagnose(
        make_history([0.3, 0.5, 0.6], part="tuning"),
        None,
        make_recipe(3, train={"tuning_fraction": 0.1}),
        about=ABOUT,
    )
    assert not kinds(tuned) & {"test-part-chooses", "not-evaluated"}
    assert "tuning accuracy" in found(tuned, "still-improving").sentence


def test_only_findings_that_choose_settings_are_said_to_flatter() -> None:
    observations = diagnose(
        make_history([0.8, 0.81, 0.81]), None, make_recipe(3), about=ABOUT, explanation=TWICE
    )
    assert {each.kind for each in observations if each.severity == "note"} == {
        "not-evaluated",
        "two-labels",
        "seen-before",
    }
    lost = make_history([0.8, 0.81, 0.81], train_accuracy=[0.95] * 3)
    observations = diagnose(lost, None, make_recipe(3), about=ABOUT)
    assert kinds(observations) >= {"over-fitting", "test-part-chooses"}


def test_a_run_with_epochs_left_is_told_so_before_all_else() -> None:
    history = make_history([0.3, 0.35], train_accuracy=[0.2, 0.3])
    observations = diagnose(history, None, make_recipe(10), about=ABOUT, has_weights=False)
    assert observations[0].kind == "unfinished"
    assert observations[0].sentence == "The run is not finished: 2 of 10 epochs are done."
    assert "under-fitting" not in kinds(observations)
    learned_by_heart = make_history([0.3, 0.35], train_accuracy=[0.5, 0.9])
    observations = diagnose(learned_by_heart, None, make_recipe(10), about=ABOUT)
    assert [each.kind for each in observations][:2] == ["unfinished", "over-fitting"]
    # One that was never scored is not finished either.
    unscored = diagnose(make_history([None]), None, make_recipe(2), about=ABOUT)
    assert kinds(unscored) == {"unfinished", "not-evaluated"}


def test_a_run_without_an_epoch_says_only_that() -> None:
    (observation,) = diagnose([], None, make_recipe(48), about=ABOUT)
    assert (observation.kind, observation.severity) == ("no-epoch", "note")
    assert observation.sentence == "No epoch is finished yet, of 48."


def test_a_run_that_was_never_scored_is_told_to_evaluate() -> None:
    observations = diagnose(make_history([None, None]), None, make_recipe(2), about=ABOUT)
    assert kinds(observations) == {"not-evaluated"}
    assert found(observations, "not-evaluated").advice == "Run `tinysight evaluate RUN`."


def test_a_run_without_weights_is_told_to_go_on_first() -> None:
    observations = diagnose(
        make_history([0.3]), None, make_recipe(2), about=ABOUT, has_weights=False
    )
    assert found(observations, "not-evaluated").advice == (
        "Finish it with `tinysight train STORE --out RUN --resume`."
    )


accuracies = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@settings(deadline=None)
@given(
    accuracies,
    st.floats(0, 1),
    st.integers(1, 50_000),
    st.sampled_from(
        ["compact", "compact10", "compact12", "compact14", "compact20", "resnet18", "resnet34"]
    ),
    st.sampled_from([0.0, 0.5]),
    st.sampled_from([0.0, 0.1]),
    st.sampled_from(["cross-entropy", "nll"]),
    st.floats(0, 1),
)
def test_whatever_a_run_did_the_advice_can_be_followed(
    accuracy: list[float],
    train_accuracy: float,
    test_images: int,
    model: str,
    mix: float,
    smoothing: float,
    loss: str,
    confidence: float,
) -> None:
    recipe = make_recipe(
        len(accuracy),
        model={"name": model},
        augment={"mix_probability": mix, "pad_px": 0},
        train={"label_smoothing": 0.0 if loss == "nll" else smoothing, "loss": loss},
    )
    observations = diagnose(
        make_history(accuracy, train_accuracy=[train_accuracy] * len(accuracy)),
        make_metrics(accuracy, confidence=confidence),
        recipe,
        about=make_about(test_images=test_images, classes=max(2, len(accuracy))),
    )
    assert len(kinds(observations)) >= 1
    for observation in observations:
        assert observation.sentence.endswith(".")
        assert "nan" not in observation.sentence
        assert (observation.advice == "") == (observation.severity == "good")
        assert re.search(r"\d", observation.sentence) or observation.kind in {
            "test-part-chooses",
            "not-evaluated",
        }
        for command in re.findall(r"`(--set [^`]+)`", observation.advice):
            words = command.removeprefix("--set ").split(" --set ")
            assert override_recipe(recipe.model_dump(), words, where="here") != recipe, command


def write_run(folder: Path, **files: Any) -> Path:
    folder.mkdir()
    others = ("tinysight", "recipe_name", "store", "split", "split_seed", "split_digest")
    not_looked_at = dict.fromkeys((*others, "mean", "std"), "")
    whole_files.write_json(folder / run_folder.RUN, ABOUT | {"format_version": 1, **not_looked_at})
    run_folder.write_recipe(folder, make_recipe(3).model_dump())
    whole_files.write_records(folder / run_folder.HISTORY, make_history([0.3, 0.5, 0.6]))
    for name, content in files.items():
        whole_files.write_json(folder / f"{name}.json", content)
    return folder


def test_a_run_folder_is_read_as_far_as_it_is_written(tmp_path: Path) -> None:
    run = write_run(tmp_path / "bare")
    history, recipe = make_history([0.3, 0.5, 0.6]), make_recipe(3)
    assert diagnose_run(run) == diagnose(history, None, recipe, about=ABOUT, has_weights=False)
    (run / run_folder.MODEL).write_bytes(b"weights")
    assert diagnose_run(run) == diagnose(history, None, recipe, about=ABOUT)
    explanation = {
        "format_version": 1,
        "duplicates": {"two_labels": 27, "across_split": 9, "identical": 1, "near": 35},
        "mistakes": 12_000,
        "method": "grad-cam",
        "images": 33_000,
        "of_images": 33_000,
        "confident_mistakes": [],
        "confused_pairs": [],
        "confusion": {"order": [], "counts": []},
        "label_issues": {"found": 3, "of_images": 33_000},
    }
    metrics = make_metrics([0.6] * 200)
    full = diagnose_run(write_run(tmp_path / "full", metrics=metrics, explanation=explanation))
    assert {"two-labels", "seen-before", "label-issues", "classes-learned"} <= kinds(full)


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=re.escape(str(tmp_path))):
        diagnose_run(tmp_path)


def test_metrics_with_null_where_there_is_no_number_are_read(tmp_path: Path) -> None:
    metrics = make_metrics([0.6] * 199 + [None])
    metrics["classes"][-1] |= {"images": 0, "precision": None}
    run = write_run(tmp_path / "run", metrics=metrics)
    assert json.loads((run / "metrics.json").read_text())["classes"][-1]["accuracy"] is None
    assert "classes-learned" in kinds(diagnose_run(run))
