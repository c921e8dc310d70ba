import errno
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from tinysight import run_folder
from tinysight.classify.checkpoint import (
    load_checkpoint,
    load_model_weights,
    load_weights,
    save_checkpoint,
    save_model,
)
from tinysight.errors import RunError


def make_state(step: int) -> dict[str, object]:
    return {"step": step, "model": {"w": torch.arange(3.0)}, "optimizer": {"state": {}}}


def test_a_checkpoint_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, make_state(7))
    state = load_checkpoint(path)
    assert state["step"] == 7
    assert torch.equal(state["model"]["w"], torch.arange(3.0))


def test_the_last_two_checkpoints_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3, 10):
        save_checkpoint(tmp_path, make_state(step))
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["step-00000003.pt", "step-00000010.pt"]


def test_a_full_disk_keeps_the_earlier_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, make_state(1))
    save_checkpoint(tmp_path, make_state(2))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        RunError,
        match=r"step-00000003\.pt: the disk must have room for the file, but it is full",
    ):
        save_checkpoint(tmp_path, make_state(3))
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["step-00000001.pt", "step-00000002.pt"]


@pytest.mark.parametrize("kept_bytes", [0, 10, 400])
def test_a_torn_checkpoint_is_named(tmp_path: Path, kept_bytes: int) -> None:
    path = save_checkpoint(tmp_path, make_state(7))
    path.write_bytes(path.read_bytes()[:kept_bytes])
    with pytest.raises(
        RunError,
        match=r"step-00000007\.pt: must be a whole checkpoint of tinysight, but .*Delete it",
    ):
        load_checkpoint(path)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "step-00000001.pt"
    torch.save({"step": 1, "model": os.system, "optimizer": {}}, path)
    with pytest.raises(RunError, match="must be a whole checkpoint of tinysight"):
        load_checkpoint(path)


def test_a_file_that_is_no_training_state_is_named(tmp_path: Path) -> None:
    path = tmp_path / "step-00000001.pt"
    torch.save({"weights": torch.zeros(1)}, path)
    with pytest.raises(RunError, match="must hold a step, a model and an optimizer"):
        load_checkpoint(path)


def test_weights_of_another_network_are_refused_and_change_nothing() -> None:
    model = nn.Linear(3, 2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    bias = torch.zeros(2)
    with pytest.raises(
        RunError,
        match=r"w\.pt: weight must have shape \(2, 3\) in this network, got \(2, 4\)\. Use the",
    ):
        load_weights(model, {"bias": bias, "weight": torch.zeros(2, 4)}, where="w.pt")
    with pytest.raises(RunError, match=r"w\.pt: must hold weights for this .*, but weight is miss"):
        load_weights(model, {"bias": bias}, where="w.pt")
    with pytest.raises(RunError, match=r"w\.pt: must hold weights for .* but it also has extra"):
        load_weights(model, before | {"extra": bias}, where="w.pt")
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_model_comes_back_with_what_was_written_about_it(tmp_path: Path) -> None:
    model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    save_model(tmp_path, model, {"classes": ["ä", "<b>"], "mean": [0.5, 0.25, 0.125]})
    weights, about = load_model_weights(tmp_path)
    assert about == {"classes": ["ä", "<b>"], "mean": [0.5, 0.25, 0.125]}
    assert torch.equal(weights["weight"], model.weight)


def test_a_run_without_weights_says_how_to_finish_it(tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"model\.safetensors: must exist, but the run has no trained weights yet"
    ):
        load_model_weights(tmp_path)


def test_damaged_weights_are_named(tmp_path: Path) -> None:
    path = save_model(tmp_path, nn.Linear(3, 2), {})
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(RunError, match=r"model\.safetensors: must be a whole safetensors file"):
        load_model_weights(tmp_path)
    assert run_folder.MODEL == path.name
