import dataclasses
import json
from pathlib import Path
from typing import Any

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
from tinysight.classify.predictions import evaluate_run, load_model, require_same_store
from tinysight.classify.settings import Recipe
from tinysight.classify.store import Store
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"size_px": 48},
            r"store: the side of the images must be the one that .*run was trained on \(32 px\), "
            r"got 48 px\. Name the store that .* or pack it again with --size 32\.$",
        ),
        (
            {"wnids": ("n00000001", "n00000003", "n00000002")},
            r"store: class 1 must be the one that .*run was trained on \(n00000002\), got "
            r"n00000003\. Name the store that .* or pack it again from the same source\.$",
        ),
        (
            {"wnids": ("n00000001", "n00000002")},
            r"store: class 2 must be the one that .*run was trained on \(n00000003\), got None\.",
        ),
        (
            {"mean": np.array([0.1, 0.2, 0.3])},
            r"store: the channel mean of the training images must be the one that .*run was "
            r"trained on \(0\.\d{4}, 0\.\d{4}, 0\.\d{4}\), within 0\.001, got 0\.1000, 0\.2000, "
            r"0\.3000\. Name the store that .* or pack it again from the same images\.$",
        ),
        ({"std": np.full(3, 0.5)}, r"store: the channel std of the training images must be the"),
    ],
)
def test_a_store_with_other_pixels_or_classes_is_refused(
    store: Store,
    tmp_path: Path,
    changes: dict[str, Any],
    message: str,
) -> None:
    about = about_run(store)
    with pytest.raises(RunError, match=message):
        require_same_store(tmp_path / "run", about, dataclasses.replace(store, **changes))


def test_a_store_whose_decoder_rounded_differently_is_the_same(
    store: Store, tmp_path: Path
) -> None:
    other = dataclasses.replace(store, mean=store.mean + 9e-4, std=store.std - 9e-4)
    require_same_store(tmp_path / "run", about_run(store), other)


def about_run(store: Store) -> dict[str, Any]:
    """What ``run.json`` says of a store."""
    return {
        "split_digest": store.split_digest,
        "size_px": store.size_px,
        "mean": store.mean.tolist(),
        "std": store.std.tolist(),
        "classes": [{"index": index, "wnid": wnid} for index, wnid in enumerate(store.wnids)],
    }


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
