import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.classify.conftest import make_store
from tests.classify.test_run import run
from tinysight import run_folder
from tinysight.classify.checkpoint import load_model_weights
from tinysight.classify.settings import Recipe
from tinysight.classify.store import Store
from tinysight.classify.trained_run import open_run, require_same_store
from tinysight.errors import RunError


def test_an_open_run_has_its_weights_and_the_images_of_its_store(
    store: Store, recipe: Recipe, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    run(store, recipe, folder)
    opened = open_run(folder, store)
    assert opened.folder == folder
    assert opened.about == run_folder.read_run(folder)
    assert opened.device == torch.device("cpu")
    assert not opened.model.training
    weights, metadata = load_model_weights(folder)
    for name, value in opened.model.state_dict().items():
        assert torch.equal(value, weights[name])
    assert opened.metadata == metadata
    assert opened.settings.precision == "fp32"
    content = (folder / run_folder.MODEL).read_bytes()
    assert opened.model_sha256 == hashlib.sha256(content).hexdigest()
    assert np.array_equal(opened.images.images_u8, store.images_u8)
    assert np.array_equal(opened.images.targets, store.targets)
    assert np.array_equal(opened.images.mean, store.mean)
    assert np.array_equal(opened.images.std, store.std)
    assert np.array_equal(opened.sample_ids, store.sample_ids)
    assert np.array_equal(opened.test_rows, np.flatnonzero(~store.is_train))


def test_another_store_is_refused(store: Store, recipe: Recipe, tmp_path: Path) -> None:
    run(store, recipe, tmp_path / "run")
    with pytest.raises(RunError, match=r"other: the split must be the one that .*run was trained"):
        open_run(tmp_path / "run", make_store(tmp_path / "other", seed=9))


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
