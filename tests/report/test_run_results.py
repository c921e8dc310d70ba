from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.runs import explain_run, make_run
from tinysight import run_folder, whole_files
from tinysight.errors import RunError
from tinysight.report.run_results import load_run_results


def test_run_is_read_with_what_it_has(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    results = load_run_results(run)
    assert results.name == "run"
    assert len(results.history) == 5
    assert results.metrics is not None
    assert results.explanation is None
    assert results.class_anchors[1] == "n00000001"
    explained = load_run_results(explain_run(run)).explanation
    assert explained is not None
    assert not explained.is_stale
    assert explained.gallery["predicted_map"].shape == (150, 16)
    assert len(explained.pictures) == 156


def test_run_that_has_just_begun_is_read(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    for name in (run_folder.HISTORY, run_folder.STEPS, run_folder.METRICS, run_folder.ENVIRONMENT):
        (run / name).unlink()
    results = load_run_results(run)
    assert (results.history, results.steps, results.metrics) == ([], [], None)
    assert results.environment == {}


def test_weights_that_changed_make_an_explanation_stale(tmp_path: Path) -> None:
    run = explain_run(make_run(tmp_path / "run"))
    (run / run_folder.MODEL).write_bytes(b"other weights")
    explanation = load_run_results(run).explanation
    assert explanation is not None
    assert explanation.is_stale


def test_classes_without_wordnet_ids_are_addressed_by_number(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    about = whole_files.read_json(run / run_folder.RUN)
    for entry in about["classes"]:
        entry["wnid"] = "same"
    whole_files.write_json(run / run_folder.RUN, about)
    assert load_run_results(run).class_anchors == ("0", "1", "2", "3", "4", "5")


def test_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"run\.json: must be a readable file, but No such file"):
        load_run_results(tmp_path)


def test_missing_file_of_an_explained_run_is_named_with_what_to_do(tmp_path: Path) -> None:
    run = explain_run(make_run(tmp_path / "run"))
    (run / run_folder.GALLERY).unlink()
    with pytest.raises(RunError, match=r"gallery\.parquet: .* Write it with: tinysight explain"):
        load_run_results(run)


def test_labels_and_anchors_of_classes_are_made_once(tmp_path: Path) -> None:
    results = load_run_results(make_run(tmp_path / "run"))
    assert results.class_labels is results.class_labels
    assert results.class_anchors is results.class_anchors
