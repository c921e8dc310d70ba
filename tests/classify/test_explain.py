from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from tests.classify.conftest import make_recipe, make_store
from tinysight import run_folder
from tinysight.classify import explain, trained_run
from tinysight.classify.explain import FILES, encode_picture, explain_run
from tinysight.classify.explanation_tables import probs_of
from tinysight.classify.label_errors import find_label_errors
from tinysight.classify.pack import pack_store
from tinysight.classify.predictions import evaluate_run
from tinysight.classify.run import train_run
from tinysight.classify.sources.opening import open_source
from tinysight.classify.store import Store, load_store
from tinysight.errors import RunError
from tinysight.run_tables import (
    DUPLICATES_SCHEMA,
    LABEL_ISSUES_SCHEMA,
    PICTURES_SCHEMA,
    REASONS,
    gallery_schema,
    read_matrix,
    read_predictions,
    read_table,
)
from tinysight.samples import draw_samples

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def few_images() -> Iterator[None]:
    """Four images are enough to see that maps are measured."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(explain, "FAITHFULNESS_IMAGES", 4)
        yield


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Drawn shapes of three classes; one file is there under two labels, one picture mirrored."""
    folder = tmp_path_factory.mktemp("shapes")
    draw_samples(
        folder / "source",
        classes=("circle", "square", "star"),
        train_per_class=20,
        val_per_class=10,
        test_images=1,
    )
    circles, squares, stars = (
        sorted((path / "images").iterdir()) for path in sorted((folder / "source/train").iterdir())
    )
    shutil.copy(circles[0], squares[0])
    with Image.open(stars[0]) as picture:
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(stars[1], quality=90)
    pack_store(open_source(folder / "source"), folder / "store", size_px=32, num_workers=1)
    return load_store(folder / "store")


@pytest.fixture(scope="module")
def trained(shapes: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that learned a little: there are mistakes and hits."""
    run = tmp_path_factory.mktemp("runs") / "run"
    train_run(shapes, make_recipe(), run, device=CPU)
    evaluate_run(run, shapes, device=CPU)
    return run


@pytest.fixture(scope="module")
def explained(trained: Path, shapes: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "explained"
    shutil.copytree(trained, run)
    explain_run(run, shapes, device=CPU)
    return run


def test_every_table_has_its_columns_and_says_what_it_is_of(explained: Path) -> None:
    model_sha256 = hashlib.sha256((explained / run_folder.MODEL).read_bytes()).hexdigest()
    _, maps_about = read_table(explained / run_folder.MAPS)
    for name, schema in (
        (run_folder.GALLERY, gallery_schema(tuple(maps_about["map_hw"]))),
        (run_folder.PICTURES, PICTURES_SCHEMA),
        (run_folder.LABEL_ISSUES, LABEL_ISSUES_SCHEMA),
        (run_folder.DUPLICATES, DUPLICATES_SCHEMA),
    ):
        table, about = read_table(explained / name)
        assert table.schema.equals(schema), name
        assert about["model_sha256"] == model_sha256
        assert about["images"] == about["of_images"] == 27
        assert about["method"] == "grad-cam"


def test_the_gallery_agrees_with_predictions_and_maps(explained: Path) -> None:
    predictions = read_predictions(explained)
    gallery, about = read_table(explained / run_folder.GALLERY)
    maps, _ = read_table(explained / run_folder.MAPS)
    place_of = {name: place for place, name in enumerate(predictions.sample_ids.tolist())}
    places = [place_of[name] for name in gallery["sample_id"].to_pylist()]
    assert places == sorted(places)
    assert gallery["target"].to_pylist() == predictions.targets[places].tolist()
    assert gallery["predicted"].to_pylist() == predictions.top_classes[places, 0].tolist()
    assert gallery["top5"].to_pylist() == predictions.top_classes[places].tolist()
    assert gallery["predicted_prob"].to_pylist() == predictions.top_probs[places, 0].tolist()
    for place, prob in zip(places, gallery["target_prob"].to_pylist(), strict=True):
        rank = predictions.top_classes[place].tolist().index(predictions.targets[place])
        assert prob == pytest.approx(predictions.top_probs[place, rank], rel=1e-4)
    for name in ("predicted_map", "target_map"):
        np.testing.assert_array_equal(read_matrix(gallery, name), read_matrix(maps, name)[places])
    is_wrong = predictions.top_classes[:, 0] != predictions.targets
    assert about["mistakes_of"] == is_wrong.sum() > 0
    assert about["mistakes_shown"] == is_wrong[places].sum()
    assert about["size_px"] == 32
    assert {reason for why in gallery["why"].to_pylist() for reason in why} <= set(REASONS)
    assert all(gallery["why"].to_pylist())
    assert all(
        name.endswith(file.rpartition("/")[2])
        for name, file in zip(
            gallery["sample_id"].to_pylist(), gallery["file"].to_pylist(), strict=True
        )
    )


def test_there_is_a_picture_of_every_image_that_is_named(explained: Path, shapes: Store) -> None:
    pictures, _ = read_table(explained / run_folder.PICTURES)
    file_of = dict(
        zip(pictures["sample_id"].to_pylist(), pictures["picture"].to_pylist(), strict=True)
    )
    named = set(read_table(explained / run_folder.GALLERY)[0]["sample_id"].to_pylist())
    named |= set(read_table(explained / run_folder.LABEL_ISSUES)[0]["sample_id"].to_pylist())
    duplicates, _ = read_table(explained / run_folder.DUPLICATES)
    named |= set(duplicates["sample_id_a"].to_pylist() + duplicates["sample_id_b"].to_pylist())
    assert set(file_of) == named
    row_of = {name: row for row, name in enumerate(shapes.sample_ids.tolist())}
    for name, file in file_of.items():
        picture = Image.open(io.BytesIO(file))
        assert picture.format == "WEBP"
        difference = np.asarray(picture.convert("RGB")).astype(int) - shapes.images_u8[row_of[name]]
        assert np.abs(difference).mean() < 12


def test_label_issues_are_those_of_all_predictions(explained: Path) -> None:
    predictions = read_predictions(explained)
    probs = probs_of(predictions)
    expected = find_label_errors(probs, predictions.targets)
    table, _ = read_table(explained / run_folder.LABEL_ISSUES)
    assert table["sample_id"].to_pylist() == predictions.sample_ids[expected.rows].tolist()
    assert table["suggested"].to_pylist() == expected.suggested.tolist()
    scores = table["score"].to_numpy()
    np.testing.assert_allclose(scores, expected.scores, rtol=1e-6)
    summary = run_folder.read_explanation(explained)
    assert summary["label_issues"] == {"found": len(expected.rows), "of_images": 27}


def test_an_image_has_the_same_probabilities_among_label_issues_as_in_the_gallery(
    explained: Path,
) -> None:
    gallery = read_table(explained / run_folder.GALLERY)[0].to_pylist()
    shown = {row["sample_id"]: row for row in gallery}
    issues = read_table(explained / run_folder.LABEL_ISSUES)[0].to_pylist()
    assert issues
    for issue in issues:
        row = shown[issue["sample_id"]]
        probs = dict(zip(row["top5"], row["top5_probs"], strict=True))
        assert issue["suggested_prob"] == probs[issue["suggested"]]
        assert issue["target_prob"] == probs[issue["target"]]


def test_duplicates_of_both_kinds_are_written(explained: Path, shapes: Store) -> None:
    table, about = read_table(explained / run_folder.DUPLICATES)
    pairs = table.to_pylist()
    told = [
        (pair["kind"], pair["is_mirrored"], pair["target_a"], pair["target_b"]) for pair in pairs
    ]
    # The drawn shapes hold a pair of equal files themselves.
    assert told == [
        ("identical", False, 0, 1),
        ("identical", False, 0, 1),
        ("near", True, 2, 2),
    ]
    assert [pair["distance"] for pair in pairs[:2]] == [0, 0]
    part_of = dict(
        zip(
            shapes.sample_ids.tolist(),
            np.where(shapes.is_train, "train", "test").tolist(),
            strict=True,
        )
    )
    for pair in pairs:
        assert pair["part_a"] == part_of[pair["sample_id_a"]]
        assert pair["part_b"] == part_of[pair["sample_id_b"]]
    assert run_folder.read_explanation(explained)["duplicates"] == {
        "identical": 2,
        "near": 1,
        "across_split": sum(pair["part_a"] != pair["part_b"] for pair in pairs),
        "two_labels": 2,
        "seen_test_images": len(
            {
                pair[f"sample_id_{side}"]
                for pair in pairs
                for side in "ab"
                if pair["part_a"] != pair["part_b"] and pair[f"part_{side}"] == "test"
            }
        ),
    }
    assert about["pairs"] == about["of_pairs"] == 3


def test_the_summary_adds_up(explained: Path) -> None:
    summary = run_folder.read_explanation(explained)
    predictions = read_predictions(explained)
    counts = np.zeros((3, 3), np.int64)
    for target, guess, images in summary["confusion"]["counts"]:
        counts[target, guess] = images
    assert counts.sum() == summary["images"] == summary["of_images"] == 27
    assert counts.sum() - counts.trace() == summary["mistakes"]
    assert sorted(summary["confusion"]["order"]) == [0, 1, 2]
    assert sum(pair["images"] for pair in summary["confused_pairs"]) == summary["mistakes"]
    assert len(summary["best_classes"]) == len(summary["worst_classes"]) == 1
    assert summary["best_classes"] != summary["worst_classes"]
    sure = summary["confident_mistakes"]
    place_of = {name: place for place, name in enumerate(predictions.sample_ids.tolist())}
    confidences = [predictions.top_probs[place_of[name], 0] for name in sure]
    assert confidences == sorted(confidences, reverse=True)
    assert len(sure) == min(25, summary["mistakes"])
    assert len(summary["unsure_hits"]) == min(25, 27 - summary["mistakes"])
    methods = [one["method"] for one in summary["faithfulness"]]
    assert methods == ["grad-cam", "grad-cam++", "hires-cam", "layer-cam"]
    assert all(0 <= one["deletion"] <= 1 for one in summary["faithfulness"])
    assert summary["is_closed_form"]


def test_two_explanations_of_a_run_are_the_same_bytes(
    explained: Path, shapes: Store, tmp_path: Path
) -> None:
    run = tmp_path / "again"
    shutil.copytree(explained, run)
    for name in FILES:
        (run / name).write_bytes(b"older")
    explain_run(run, shapes, device=CPU)
    for name in FILES:
        assert (run / name).read_bytes() == (explained / name).read_bytes(), name


def test_a_limit_is_said_and_concerns_only_what_needs_maps(
    trained: Path, explained: Path, shapes: Store, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    result = explain_run(run, shapes, limit=9, method="layer-cam", layer="layer1", device=CPU)
    assert (result.images, result.of_images) == (9, 27)
    summary, whole = (run_folder.read_explanation(folder) for folder in (run, explained))
    assert (summary["images"], summary["of_images"]) == (9, 27)
    assert (summary["method"], summary["layer"]) == ("layer-cam", "layer1")
    for key in ("mistakes", "confusion", "confused_pairs", "label_issues", "duplicates"):
        assert summary[key] == whole[key]
    mapped = read_table(run / run_folder.MAPS)[0]["sample_id"].to_pylist()
    gallery, about = read_table(run / run_folder.GALLERY)
    assert set(gallery["sample_id"].to_pylist()) <= set(mapped)
    assert set(summary["confident_mistakes"] + summary["unsure_hits"]) <= set(mapped)
    assert about["mistakes_shown"] < about["mistakes_of"] == whole["mistakes"]


def test_a_run_without_predictions_is_evaluated_first(
    trained: Path, shapes: Store, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / run_folder.PREDICTIONS).unlink()
    parts: list[str] = []
    result = explain_run(
        run, shapes, device=CPU, on_progress=lambda what, done, total: parts.append(what)
    )
    assert list(dict.fromkeys(parts)) == [
        "predictions",
        "heat maps",
        "trust in heat maps",
        "duplicates",
    ]
    metrics = json.loads((run / run_folder.METRICS).read_text())
    assert result.accuracy == pytest.approx(metrics["accuracy"])


def test_a_failure_leaves_no_explanation_that_vouches_for_old_files(
    explained: Path, shapes: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(explained, run)
    assert run_folder.is_explained(run)

    def fail(*_: object) -> None:
        raise RunError("the disk is full")

    monkeypatch.setattr(explain, "write_table", fail)
    with pytest.raises(RunError, match="the disk is full"):
        explain_run(run, shapes, device=CPU)
    assert not run_folder.is_explained(run)


def test_network_and_images_are_placed_on_the_device_once(
    shapes: Store, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed: list[str] = []

    def count(name: str, place: Callable[..., object]) -> Callable[..., object]:
        return lambda *args, **kwargs: (placed.append(name), place(*args, **kwargs))[1]

    for name in ("place_images", "load_model_on"):
        monkeypatch.setattr(trained_run, name, count(name, getattr(trained_run, name)))
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / run_folder.PREDICTIONS).unlink()
    explain_run(run, shapes, device=CPU)
    assert sorted(placed) == ["load_model_on", "place_images"]


def test_a_run_that_cannot_be_written_is_refused_before_anything_is_computed(
    shapes: Store, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != trained)
    text = (
        f"{trained}: must be a folder that can be written to, but Permission denied. Change its "
        f"permissions, or copy the run and name the copy."
    )
    for work in (explain_run, evaluate_run):
        with pytest.raises(RunError, match=re.escape(text)):
            work(trained, shapes, device=CPU)


def test_another_store_is_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"other: the split must be the one that .*run was trained"):
        explain_run(trained, make_store(tmp_path / "other"), device=CPU)


def test_a_picture_is_a_small_webp_file_of_the_same_size() -> None:
    ramp = np.linspace(0, 255, 48 * 64 * 3).reshape(48, 64, 3).astype(np.uint8)
    picture = Image.open(io.BytesIO(encode_picture(ramp)))
    assert (picture.format, picture.size) == ("WEBP", (64, 48))
    assert np.abs(np.asarray(picture.convert("RGB")).astype(int) - ramp).mean() < 3


def test_tables_hold_plain_types_that_any_reader_knows(explained: Path) -> None:
    schema = pq.read_schema(explained / run_folder.GALLERY)
    assert schema.field("why").type == pa.list_(pa.string())
    assert pa.types.is_fixed_size_list(schema.field("target_map").type)
