import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.classify.conftest import make_recipe, make_store
from tests.classify.test_run import run
from tinysight import run_folder
from tinysight.classify import maps as maps_module
from tinysight.classify.batches import LabelledImages, evaluation_batches
from tinysight.classify.cam import METHODS, Method, class_activation_maps
from tinysight.classify.maps import RunMaps, compute_run_maps, spread_evenly, write_maps
from tinysight.classify.predictions import evaluate_run
from tinysight.classify.store import Store
from tinysight.classify.trained_run import load_model, open_run
from tinysight.errors import RecipeError, RunError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("maps") / "run"
    store = make_store(folder.parent / "store")
    run(store, make_recipe(train={"epochs": 1}, schedule={"peak_epoch": 0.5}), folder)
    evaluate_run(folder, store)
    return folder


@pytest.fixture
def evaluated(trained: Path, tmp_path: Path) -> Path:
    """A copy of a trained run with predictions."""
    return shutil.copytree(trained, tmp_path / "run")


def test_the_maps_of_a_run_are_those_of_its_network(
    evaluated: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.flatnonzero(~store.is_train)
    network, recipe, _ = load_model(evaluated, run_folder.read_run(evaluated))
    ((images, targets),) = evaluation_batches(
        LabelledImages(store.images_u8, store.targets, store.mean, store.std),
        rows,
        batch_size=len(rows),
        device=CPU,
    )
    monkeypatch.setattr(maps_module, "BATCH_SIZE", 5)
    for method, layer in (("grad-cam", None), ("layer-cam", "layer1.0")):
        found = compute_run_maps(open_run(evaluated, store), method=method, layer=layer)  # type: ignore[arg-type]
        expected = class_activation_maps(
            network,
            images,
            lambda logits: torch.stack([logits.argmax(dim=1), targets], dim=1),
            method=method,  # type: ignore[arg-type]
            layer=layer,
            settings=recipe.train,
        )
        assert found.sample_ids == tuple(store.sample_ids[rows])
        assert np.array_equal(found.classes, expected.classes.numpy())
        assert np.allclose(found.peaks, expected.peaks.numpy(), rtol=1e-5)
        assert found.maps.dtype == np.uint8
        assert found.maps.shape == tuple(expected.maps.shape)
        assert np.abs(found.maps / 255 - expected.maps.numpy()).max() <= 0.5001 / 255
        assert (found.maps.max(axis=(2, 3)) == np.where(found.peaks > 0, 255, 0)).all()
        assert (found.peaks > 0).any()
        assert found.method == method
        assert found.layer == (layer or "layer2")
        assert found.is_closed_form == (layer is None)
        assert found.of_images == 12
        weights = (evaluated / run_folder.MODEL).read_bytes()
        assert found.model_sha256 == hashlib.sha256(weights).hexdigest()


def test_the_file_holds_the_maps(evaluated: Path, store: Store) -> None:
    found = compute_run_maps(open_run(evaluated, store))
    write_maps(evaluated, found)
    table = pq.read_table(evaluated / run_folder.MAPS)
    predictions = pq.read_table(evaluated / run_folder.PREDICTIONS)
    assert table["sample_id"] == predictions["sample_id"]
    for number, name in enumerate(("predicted", "target")):
        assert table.schema.field(f"{name}_map").type == pa.list_(
            pa.field("element", pa.uint8()), 16
        )
        pixels = np.array(table[f"{name}_map"].to_pylist())
        assert np.array_equal(pixels.reshape(12, 4, 4), found.maps[:, number])
        assert table.schema.field(f"{name}_peak").type == pa.float32()
        assert np.array_equal(table[f"{name}_peak"].to_numpy(), found.peaks[:, number])
    assert json.loads(table.schema.metadata[b"tinysight"]) == {
        "format_version": 1,
        "method": "grad-cam",
        "layer": "layer2",
        "is_closed_form": True,
        "map_hw": [4, 4],
        "images": 12,
        "of_images": 12,
        "model_sha256": found.model_sha256,
    }


def test_the_same_run_gives_the_same_bytes(evaluated: Path, store: Store) -> None:
    contents = []
    for _ in range(2):
        write_maps(evaluated, compute_run_maps(open_run(evaluated, store)))
        contents.append((evaluated / run_folder.MAPS).read_bytes())
    assert contents[0] == contents[1]


def test_a_limit_takes_images_from_the_whole_test_part(evaluated: Path, store: Store) -> None:
    whole = compute_run_maps(open_run(evaluated, store))
    few = compute_run_maps(open_run(evaluated, store), limit=3)
    assert few.of_images == 12
    chosen = [whole.sample_ids.index(sample_id) for sample_id in few.sample_ids]
    assert chosen == [0, 6, 11]
    assert np.array_equal(few.classes, whole.classes[chosen])
    assert np.abs(few.maps.astype(int) - whole.maps[chosen].astype(int)).max() <= 1


def test_the_predicted_class_is_the_one_in_the_file(evaluated: Path, store: Store) -> None:
    path = evaluated / run_folder.PREDICTIONS
    table = pq.read_table(path)
    turned = [[classes[1], classes[0], classes[2]] for classes in table["top5"].to_pylist()]
    column = pa.array(turned, table.schema.field("top5").type)
    pq.write_table(table.set_column(table.schema.get_field_index("top5"), "top5", column), path)
    found = compute_run_maps(open_run(evaluated, store))
    assert found.classes[:, 0].tolist() == [classes[0] for classes in turned]


def test_progress_counts_images(
    evaluated: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maps_module, "BATCH_SIZE", 5)
    heard: list[tuple[int, int]] = []
    compute_run_maps(
        open_run(evaluated, store), on_progress=lambda done, total: heard.append((done, total))
    )
    assert heard == [(5, 12), (10, 12), (12, 12)]


def test_rows_are_spread_evenly() -> None:
    rows = np.arange(100, 200)
    assert spread_evenly(rows, 100) is rows
    assert spread_evenly(rows, 1000) is rows
    assert spread_evenly(rows, 1).tolist() == [100]
    assert spread_evenly(rows, 4).tolist() == [100, 133, 166, 199]
    for limit in range(1, 100):
        chosen = spread_evenly(rows, limit)
        assert len(set(chosen.tolist())) == limit
    with pytest.raises(ValueError, match="limit must be at least 1, got 0"):
        spread_evenly(rows, 0)


def test_a_run_without_predictions_is_refused(evaluated: Path, store: Store) -> None:
    (evaluated / run_folder.PREDICTIONS).unlink()
    with pytest.raises(
        RunError,
        match=r"predictions\.parquet: must be a readable file, but there is none\. "
        r"Write it with: tinysight evaluate .*run",
    ):
        compute_run_maps(open_run(evaluated, store))


def test_damaged_predictions_are_refused(evaluated: Path, store: Store) -> None:
    (evaluated / run_folder.PREDICTIONS).write_bytes(b"not Parquet")
    with pytest.raises(RunError, match=r"predictions\.parquet: must be a whole Parquet file, but"):
        compute_run_maps(open_run(evaluated, store))


def test_predictions_for_other_images_are_refused(evaluated: Path, store: Store) -> None:
    table = pq.read_table(evaluated / run_folder.PREDICTIONS)
    pq.write_table(table.slice(1), evaluated / run_folder.PREDICTIONS)
    with pytest.raises(
        RunError, match=r"one row for each of the 12 test images .* but has 11 rows or another"
    ):
        compute_run_maps(open_run(evaluated, store))


def test_a_layer_that_does_not_exist_is_refused(evaluated: Path, store: Store) -> None:
    with pytest.raises(RecipeError, match=r"layer layer9: must be the name of a layer of Compact"):
        compute_run_maps(open_run(evaluated, store), layer="layer9")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_can_be_written(evaluated: Path, store: Store, method: Method) -> None:
    found: RunMaps = compute_run_maps(open_run(evaluated, store), method=method, limit=2)
    write_maps(evaluated, found)
    metadata = pq.read_schema(evaluated / run_folder.MAPS).metadata
    assert json.loads(metadata[b"tinysight"])["method"] == method
