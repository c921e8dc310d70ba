"""Which number format a network computes in, on devices that are good at bf16 or not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from tests.classify.conftest import make_recipe
from tinysight import run_folder, whole_files
from tinysight.classify import explain, muon, picture_predictions, predictions, trained_run
from tinysight.classify.explain import explain_run
from tinysight.classify.lr_finder import lr_range_test
from tinysight.classify.models import build_model
from tinysight.classify.picture_predictions import predict_images
from tinysight.classify.placement import (
    autocast,
    multiplies_bf16,
    place_model,
    settings_to_look,
    settle_precision,
)
from tinysight.classify.predictions import evaluate_run
from tinysight.classify.processes import Processes
from tinysight.classify.run import train_run
from tinysight.classify.run_settings import read_settings
from tinysight.classify.settings import ModelSettings, TrainSettings
from tinysight.classify.stopping import StopRequest
from tinysight.classify.store import Store
from tinysight.classify.training_images import training_data
from tinysight.classify.training_records import StepRecord
from tinysight.classify.training_state import TrainingState
from tinysight.errors import RunError

CPU = torch.device("cpu")
WITH_UNITS = {"amx_tile": True, "amx_bf16": True, "avx512_bf16": False}
WITHOUT_UNITS = {"avx2": True, "avx512_f": True, "amx_bf16": False}


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Processor:
    return Processor(monkeypatch)


@dataclass
class Processor:
    """Says what instructions the processor has; computes as the real one does."""

    monkeypatch: pytest.MonkeyPatch

    def has(self, found: Mapping[str, object]) -> None:
        self.monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)


@pytest.mark.parametrize(
    ("found", "is_quick"),
    [
        ({}, False),
        ({"architecture": "x86_64", "avx2": True}, False),
        ({"avx512_f": True, "avx512_vnni": True, "avx512_bf16": False}, False),
        ({"avx512_f": True, "avx512_bf16": True, "amx_bf16": False}, True),
        ({"amx_bf16": True}, True),
        ({"architecture": "aarch64", "bf16": True}, False),
    ],
)
def test_a_processor_is_quick_in_bf16_if_it_has_instructions_for_it(
    processor: Processor, found: dict[str, object], is_quick: bool
) -> None:
    processor.has(found)
    assert multiplies_bf16(CPU) is is_quick


def test_torch_knows_the_instructions_by_the_names_that_are_asked_for() -> None:
    found = torch.cpu.get_capabilities()
    if found["architecture"] == "x86_64":
        assert {"amx_bf16", "avx512_bf16"} <= found.keys()


@pytest.mark.parametrize("has_units", [False, True])
def test_a_gpu_is_quick_in_bf16_if_it_need_not_emulate_it(
    monkeypatch: pytest.MonkeyPatch, has_units: bool
) -> None:
    def is_bf16_supported(*, including_emulation: bool) -> bool:
        return including_emulation or has_units

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)
    assert multiplies_bf16(torch.device("cuda", 0)) is has_units


def test_a_device_that_nobody_measured_gets_fp32() -> None:
    assert not multiplies_bf16(torch.device("mps"))


@pytest.mark.parametrize("named", ["bf16", "fp32"])
@pytest.mark.parametrize("found", [WITH_UNITS, WITHOUT_UNITS])
def test_a_format_that_is_named_is_the_one(
    processor: Processor, named: str, found: dict[str, object]
) -> None:
    processor.has(found)
    settings = TrainSettings.model_validate({"precision": named})
    assert settle_precision(settings, CPU) is settings
    assert output_format(settings) == {"bf16": torch.bfloat16, "fp32": torch.float32}[named]


def test_without_a_name_the_device_decides(processor: Processor) -> None:
    processor.has(WITH_UNITS)
    assert settle_precision(TrainSettings(), CPU).precision == "bf16"
    assert output_format(TrainSettings()) == torch.bfloat16
    processor.has(WITHOUT_UNITS)
    assert settle_precision(TrainSettings(), CPU).precision == "fp32"
    assert output_format(TrainSettings()) == torch.float32


def test_one_process_without_units_decides_for_all(processor: Processor) -> None:
    class Two(Processes):
        def any(self, claims: Sequence[bool], device: torch.device) -> list[bool]:
            assert list(claims) == [False], "this process has units"
            return [True]  # the other one has none

    processor.has(WITH_UNITS)
    assert settle_precision(TrainSettings(), CPU, Two(count=2)).precision == "fp32"


@pytest.mark.parametrize(
    ("trained_in", "found", "looks_in"),
    [
        ("bf16", WITH_UNITS, "bf16"),
        ("bf16", WITHOUT_UNITS, "fp32"),
        ("fp32", WITH_UNITS, "fp32"),
        ("auto", WITH_UNITS, "bf16"),
        ("auto", WITHOUT_UNITS, "fp32"),
    ],
)
def test_a_trained_network_looks_in_its_own_format_where_that_is_quick(
    processor: Processor, trained_in: str, found: dict[str, object], looks_in: str
) -> None:
    processor.has(found)
    settings = TrainSettings.model_validate({"precision": trained_in, "seed": 7})
    looking = settings_to_look(settings, CPU)
    assert (looking.precision, looking.seed) == (looks_in, 7)


# Otherwise DistributedDataParallel warns of the strides of 1x1 filters, which have two forms for
# the same order (https://github.com/pytorch/pytorch/issues/157862).
@pytest.mark.parametrize("name", get_args(ModelSettings.model_fields["name"].annotation))
def test_gradients_lie_in_memory_as_their_parameters(name: str) -> None:
    model = build_model(ModelSettings(name=name), 3, seed=0)
    model = place_model(model, TrainSettings(), CPU).train()
    images = torch.zeros(2, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    model(images).sum().backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.stride() == parameter.stride()


@pytest.mark.parametrize(("found", "settled"), [(WITH_UNITS, "bf16"), (WITHOUT_UNITS, "fp32")])
def test_a_run_writes_down_the_format_that_the_device_decided_on(
    store: Store, tmp_path: Path, processor: Processor, found: dict[str, object], settled: str
) -> None:
    processor.has(found)
    recipe = make_recipe(train={"precision": "auto"})
    stop = StopRequest()
    stop.make()
    assert not train_run(store, recipe, tmp_path / "run", device=CPU, stop=stop).is_finished
    assert read_settings(tmp_path / "run") == make_recipe(train={"precision": settled})


def test_a_run_goes_on_in_its_format_on_another_processor(
    store: Store, tmp_path: Path, processor: Processor
) -> None:
    changes: dict[str, object] = {"epochs": 2}
    recipe = make_recipe(optimizer={"name": "muon"}, train=changes | {"precision": "auto"})
    named = make_recipe(optimizer={"name": "muon"}, train=changes | {"precision": "fp32"})
    processor.has(WITHOUT_UNITS)
    stop = StopRequest()
    listener = StopsAfter(3, stop)
    train_run(store, recipe, tmp_path / "moved", device=CPU, stop=stop, listener=listener)
    processor.has(WITH_UNITS)
    assert train_run(store, recipe, tmp_path / "moved", device=CPU, resume=True).is_finished
    assert read_settings(tmp_path / "moved").train.precision == "fp32"

    train_run(store, named, tmp_path / "whole", device=CPU)
    left, right = (load_file(tmp_path / name / run_folder.MODEL) for name in ("whole", "moved"))
    assert all(torch.equal(left[key], right[key]) for key in left)


@dataclass
class StopsAfter:
    """Asks a run to stop after so many steps."""

    num_steps: int
    stop: StopRequest

    def on_passed_over(self, fault: object) -> None: ...

    def on_start(self, first_step: int, num_steps: int) -> None: ...

    def on_epoch(self, record: object, row: object) -> None: ...

    def on_step(self, record: StepRecord) -> None:
        if record.step == self.num_steps:
            self.stop.make()


def test_metrics_say_which_format_the_network_looked_in(
    store: Store, tmp_path: Path, processor: Processor
) -> None:
    run = tmp_path / "run"
    train_run(store, make_recipe(train={"precision": "fp32", "epochs": 1}), run, device=CPU)
    full = evaluate_run(run, store, device=CPU)
    recipe = make_recipe(train={"precision": "bf16", "epochs": 1})
    run_folder.write_recipe(run, recipe.model_dump())  # as if it had been trained elsewhere
    processor.has(WITHOUT_UNITS)
    assert evaluate_run(run, store, device=CPU).loss == full.loss
    assert whole_files.read_json(run / run_folder.METRICS)["number_format"] == "fp32"
    processor.has(WITH_UNITS)
    rounded = evaluate_run(run, store, device=CPU)
    assert whole_files.read_json(run / run_folder.METRICS)["number_format"] == "bf16"
    assert rounded.loss == pytest.approx(full.loss, abs=0.05)
    assert rounded.loss != full.loss


@pytest.mark.parametrize(
    ("found", "precision"),
    [
        (WITH_UNITS, "auto"),
        (WITHOUT_UNITS, "auto"),
        (WITH_UNITS, "fp32"),
        (WITHOUT_UNITS, "bf16"),
    ],
)
def test_iterations_of_muon_are_in_the_format_of_the_activations(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    processor: Processor,
    found: dict[str, object],
    precision: str,
) -> None:
    formats = set()

    def note_format(matrices: torch.Tensor, *_: object) -> torch.Tensor:
        formats.add(matrices.dtype)
        return matrices  # the iterations themselves take minutes in bf16 without units

    processor.has(found)
    monkeypatch.setattr(muon, "orthogonal", note_format)
    recipe = make_recipe(
        optimizer={"name": "muon"}, train={"precision": precision, "batch_size": 2}
    )
    data = training_data(store, recipe, CPU)
    lr_range_test(data, recipe, len(store.wnids), device=CPU, num_steps=10, max_lr=1e-5)
    activations = output_format(recipe.train)
    assert formats == {activations}

    formats.clear()
    model = build_model(recipe.model, len(store.wnids), seed=0)
    state = TrainingState(model, recipe, len(data.train_rows), CPU)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    state.optimizer.step()
    assert formats == {activations}


def output_format(settings: TrainSettings) -> torch.dtype:
    """What a layer gives in the format of the settings."""
    with autocast(settings, CPU):
        output: torch.Tensor = nn.Linear(2, 2)(torch.ones(1, 2))
    return output.dtype


@pytest.mark.parametrize(
    ("command", "module", "name"),
    [
        ("evaluate", trained_run, "load_model_on"),
        ("evaluate", trained_run, "place_images"),
        ("evaluate", predictions, "predict"),
        ("explain", predictions, "predict"),
        ("explain", explain, "compute_run_maps"),
        ("explain", explain, "measure_run_faithfulness"),
        ("predict", picture_predictions, "load_model_on"),
        ("predict", picture_predictions, "class_activation_maps"),
    ],
)
def test_an_accelerator_with_too_little_memory_to_look_at_images_is_told(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    module: ModuleType,
    name: str,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8 GiB."
        )

    run, picture = tmp_path / "run", tmp_path / "picture.png"
    train_run(store, make_recipe(train={"epochs": 1}), run, device=CPU)
    Image.new("RGB", (32, 32)).save(picture)
    monkeypatch.setattr(module, name, refuse)
    text = (
        "cpu: its memory must hold the network, the images and what it computes for a batch of "
        "them, but is too small: torch tried to allocate 2.00 GiB. Try --device cpu, or end other "
        "programs that use this memory."
    )
    look = {
        "evaluate": lambda: evaluate_run(run, store, device=CPU),
        "explain": lambda: explain_run(run, store, device=CPU),
        "predict": lambda: predict_images(run, [picture], device=CPU),
    }
    with pytest.raises(RunError, match=f"^{re.escape(text)}$"):
        look[command]()
