import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tests.classify.conftest import make_store
from tests.classify.test_run import run
from tinysight import run_folder
from tinysight.classify.batches import LabelledImages
from tinysight.classify.evaluate import predict
from tinysight.classify.metrics import FlipMetrics, compute_metrics
from tinysight.classify.predictions import evaluate_run, logits_in_half
from tinysight.classify.settings import Recipe
from tinysight.classify.store import Store
from tinysight.classify.trained_run import load_model
from tinysight.errors import RunError

CPU = torch.device("cpu")


def test_predictions_and_metrics_say_what_training_said(
    store: Store, recipe: Recipe, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    result = run(store, recipe, folder)
    metrics = evaluate_run(folder, store, device=CPU)
    assert metrics.accuracy == result.last["ema_test_accuracy"]
    assert metrics.loss == pytest.approx(result.last["ema_test_loss"], abs=1e-6)

    table = pq.read_table(folder / run_folder.PREDICTIONS)
    rows = np.flatnonzero(~store.is_train)
    assert table["sample_id"].to_pylist() == store.sample_ids[rows].tolist()
    assert table["target"].to_pylist() == store.targets[rows].tolist()
    top = np.array(table["top5"].to_pylist())
    probs = np.array(table["top5_probs"].to_pylist())
    assert top.shape == (12, 3)  # there are only three classes
    assert (top[:, 0] == store.targets[rows]).mean() == metrics.accuracy
    assert probs.sum(axis=1) == pytest.approx(1.0)
    assert (np.diff(probs, axis=1) <= 0).all()
    assert np.mean(table["loss"].to_pylist()) == pytest.approx(metrics.loss, abs=1e-6)
    assert np.array(table["logits"].to_pylist()).shape == (12, 3)

    written = json.loads((folder / run_folder.METRICS).read_text())
    assert written["accuracy"] == metrics.accuracy
    assert written["weights"] == "ema"
    assert written["classes"][0]["name"] == "red"
    assert written["classes"][0]["images"] == 4


def test_the_help_of_the_mirror_images_is_reported_apart(
    store: Store, recipe: Recipe, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    run(store, recipe, folder)
    plain = evaluate_run(folder, store, device=CPU)
    assert plain.with_flip is None
    before = (folder / run_folder.PREDICTIONS).read_bytes()
    found = evaluate_run(folder, store, device=CPU, flip=True)
    assert repr(dataclasses.replace(found, with_flip=None)) == repr(plain)  # NaN is not NaN
    assert (folder / run_folder.PREDICTIONS).read_bytes() == before

    model, settings, _ = load_model(folder, run_folder.read_run(folder))
    rows = np.flatnonzero(~store.is_train)
    logits = [
        predict(
            model,
            LabelledImages(images, store.targets, store.mean, store.std),
            rows,
            device=CPU,
            settings=settings.train,
        ).logits
        for images in (store.images_u8, np.ascontiguousarray(store.images_u8[:, :, ::-1]))
    ]
    expected = compute_metrics((logits[0] + logits[1]) / np.float32(2), store.targets[rows])
    assert found.with_flip == FlipMetrics(expected.accuracy, expected.top5, expected.loss)
    assert expected.loss != plain.loss
    written = json.loads((folder / run_folder.METRICS).read_text())
    assert written["with_flip"] == dataclasses.asdict(found.with_flip)


def test_a_class_without_test_images_is_null_in_the_file(
    store: Store, recipe: Recipe, tmp_path: Path
) -> None:
    store.is_train[store.targets == 2] = True
    run(store, recipe, tmp_path / "run")
    evaluate_run(tmp_path / "run", store, device=CPU)
    written = json.loads((tmp_path / "run" / run_folder.METRICS).read_text())
    assert written["classes"][2]["accuracy"] is None


def test_another_store_is_refused(store: Store, recipe: Recipe, tmp_path: Path) -> None:
    run(store, recipe, tmp_path / "run")
    with pytest.raises(RunError, match=r"other: the split must be the one that .*run was trained"):
        evaluate_run(tmp_path / "run", make_store(tmp_path / "other", seed=9), device=CPU)


def test_a_run_without_weights_is_not_evaluated(
    store: Store, recipe: Recipe, tmp_path: Path
) -> None:
    run(store, recipe, tmp_path / "run")
    (tmp_path / "run" / run_folder.MODEL).unlink()
    with pytest.raises(RunError, match="the run has no trained weights yet"):
        evaluate_run(tmp_path / "run", store, device=CPU)


def test_weights_of_another_network_are_refused(
    store: Store, recipe: Recipe, tmp_path: Path
) -> None:
    run(store, recipe, tmp_path / "run")
    other = recipe.model_dump()
    other["model"] = {"name": "resnet18", "stem": "7x7", "zero_init_last_norm": False}
    run_folder.write_recipe(tmp_path / "run", other)
    with pytest.raises(RunError, match=r"model\.safetensors: .* Use the recipe that the weights"):
        evaluate_run(tmp_path / "run", store, device=CPU)


def test_logits_beyond_float16_keep_their_probabilities() -> None:
    logits = np.array([[9e4, 9e4 - 1, -9e4], [1.5, -2.0, 0.25], [-8e4, -9e4, -8e4]], np.float32)
    half = logits_in_half(logits)
    assert half.dtype == np.float16
    assert half[0].tolist() == [0, -1, -65504]
    assert half[1].tolist() == logits[1].tolist()
    assert half[2].tolist() == [0, -10000, 0]
