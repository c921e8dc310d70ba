"""Training, scoring and measuring on a device without float64, such as Apple's MPS."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.classify.conftest import make_recipe
from tests.classify.devices import DEVICE, Reads, device_without_float64
from tinysight.classify import training
from tinysight.classify.evaluate import score_model
from tinysight.classify.faithfulness import measure_curves
from tinysight.classify.models import build_model
from tinysight.classify.processes import Processes
from tinysight.classify.settings import ModelSettings, Recipe
from tinysight.classify.stopping import StopRequest
from tinysight.classify.store import Store
from tinysight.classify.training import train
from tinysight.classify.training_images import training_data
from tinysight.classify.training_records import EpochRecord
from tinysight.classify.training_state import TrainingState


def test_the_device_that_is_not_there_has_no_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    with device_without_float64(monkeypatch) as device:
        values = torch.ones(3, device=device)
        assert values.cpu().double().tolist() == [0.0, 0.0, 0.0]
        assert float(values[0]) == 1.0
        with pytest.raises(AssertionError, match="gives float64 on the device"):
            values.double()
        with pytest.raises(AssertionError, match="gives float64 on the device"):
            torch.zeros(3, dtype=torch.float64, device=device)


def test_a_run_needs_no_float64_on_its_device(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_with_everything()
    with device_without_float64(monkeypatch) as device:
        records = train_two_epochs(store, recipe, device)
    assert len(records) == 2
    assert all(record.score and record.ema_score for record in records)


def test_nothing_is_read_from_a_device_between_two_looks(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    found_in_steps: list[int] = []
    take_step = training._take_step

    def take_noted_step(*args: Any, **kwargs: Any) -> None:
        found_in_steps.append(reads.count)
        take_step(*args, **kwargs)
        found_in_steps.append(reads.count)

    monkeypatch.setattr(training, "_take_step", take_noted_step)
    monkeypatch.setattr(training, "LOOK_EVERY_S", 1e9)
    recipe = recipe_with_everything()
    with device_without_float64(monkeypatch) as device, Reads() as reads:
        train_two_epochs(store, recipe, device)
    middle = len(found_in_steps) // 2
    assert middle > 2
    # Nor between the steps, where batches are made; the look is at the end of an epoch.
    for epoch in (found_in_steps[:middle], found_in_steps[middle:]):
        assert len(set(epoch)) == 1
    assert found_in_steps[middle] > found_in_steps[0]


def recipe_with_everything() -> Recipe:
    return make_recipe(
        augment={
            "resized_crop_probability": 0.5,
            "mix_probability": 0.5,
            "rotate_probability": 0.5,
            "noise_probability": 0.5,
            "dropout_probability": 0.5,
        },
        optimizer={"name": "muon"},
        train={"epochs": 2, "accumulate": 2},
    )


def train_two_epochs(store: Store, recipe: Recipe, device: torch.device) -> list[EpochRecord]:
    records: list[EpochRecord] = []
    data = training_data(store, recipe, device)
    model = build_model(recipe.model, len(store.wnids), seed=0)
    state = TrainingState(model, recipe, len(data.train_rows), device)
    assert train(
        state,
        data,
        recipe,
        device=device,
        processes=Processes(),
        stop=StopRequest(),
        save=lambda state: None,
        on_step=lambda record: None,
        on_epoch=records.append,
    )
    return records


def test_scores_and_curves_need_no_float64_on_their_device(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.flatnonzero(~store.is_train)
    recipe = make_recipe()
    with device_without_float64(monkeypatch) as device:
        data = training_data(store, recipe, device)
        model = build_model(ModelSettings(name="compact"), 3, seed=0).to(device)
        score = score_model(model, data.images, rows, settings=recipe.train, device=device)
        assert score.loss == 0.0
        images = torch.zeros((2, 3, 32, 32), device=DEVICE)
        classes = torch.zeros(2, dtype=torch.int64, device=DEVICE)
        maps = torch.zeros((2, 4, 4), device=DEVICE)
        curves = measure_curves(model, images, classes, maps, num_steps=2, settings=recipe.train)
        assert curves.deletion.dtype == np.float64
