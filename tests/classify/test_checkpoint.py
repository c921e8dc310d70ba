import errno
import io
import json
import os
import re
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tinysight import run_folder, whole_files
from tinysight.classify.checkpoint import (
    load_checkpoint,
    load_model_weights,
    load_weights,
    save_checkpoint,
    save_model,
    weights_file,
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


class FullDisk(io.BytesIO):
    """A file on a disk with so many bytes left."""

    def __init__(self, room_bytes: int) -> None:
        super().__init__()
        self.room_bytes = room_bytes

    def write(self, content: Any) -> int:
        self.room_bytes -= len(content)
        if self.room_bytes < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(content)


@pytest.mark.parametrize("room_bytes", [0, 100, 1000, 1500])
def test_a_disk_that_fills_up_in_the_middle_of_a_checkpoint_is_said(
    tmp_path: Path, room_bytes: int
) -> None:
    """torch then raises an error of its own about the end of its file."""
    buffer = io.BytesIO()
    torch.save(make_state(3), buffer)
    assert len(buffer.getvalue()) > room_bytes
    path = tmp_path / "step-00000003.pt"
    with pytest.raises(
        RunError,
        match=r"step-00000003\.pt: the disk must have room for the file, but it is full",
    ):
        whole_files.replace_file(path, lambda _: torch.save(make_state(3), FullDisk(room_bytes)))
    assert os.listdir(tmp_path) == []


def test_a_fault_that_is_not_the_disks_is_not_called_one(tmp_path: Path) -> None:
    def fail(_: IO[bytes]) -> None:
        raise RuntimeError("no disk")

    with pytest.raises(RuntimeError, match=r"^no disk$"):
        whole_files.replace_file(tmp_path / "a", fail)


def test_a_folder_for_checkpoints_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").touch()
    with pytest.raises(RunError, match=r"checkpoints: must be a folder .* but it is a file"):
        save_checkpoint(tmp_path, make_state(3))


@pytest.mark.parametrize("kept_bytes", [0, 10, 400])
def test_a_torn_checkpoint_is_named(tmp_path: Path, kept_bytes: int) -> None:
    path = save_checkpoint(tmp_path, make_state(7))
    path.write_bytes(path.read_bytes()[:kept_bytes])
    with pytest.raises(
        RunError,
        match=r"step-00000007\.pt: must be a whole checkpoint of tinysight, but .*or delete it",
    ):
        load_checkpoint(path)


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, make_state(7))
    whole = path.read_bytes()
    expected = load_checkpoint(path)
    num_found = 0
    rng = np.random.default_rng(0)
    for place in rng.choice(len(whole), 150, replace=False).tolist():
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            found = load_checkpoint(path)
        except RunError:
            num_found += 1
        else:  # between the records, and in fields of the archive that nobody reads
            torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert num_found > 50
    with zipfile.ZipFile(path, "w") as records:
        records.writestr("archive/data/0", b"weights")
    content = path.read_bytes().replace(b"weights", b"weighed")
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"but its record archive/data/0 does not fit its checksum"):
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
    written = {"recipe": {}, "weights": "raw", "classes": ["ä", "<b>"], "mean": [0.5, 0.25, 0.125]}
    save_model(tmp_path, model, written)
    weights, about = load_model_weights(tmp_path)
    assert about == written
    assert torch.equal(weights["weight"], model.weight)


def test_the_same_weights_give_the_same_file(tmp_path: Path) -> None:
    about = {name: [name] for name in ("std", "mean", "ä", "recipe", "weights", "size_px", "seed")}
    path = save_model(tmp_path, nn.Linear(3, 2), about)
    content = path.read_bytes()
    weights, _ = load_model_weights(tmp_path)
    for _ in range(5):
        assert weights_file(weights, about) == content
        about = dict(reversed(about.items()))
    length = int.from_bytes(content[:8], "little")
    assert length % 8 == 0  # so that tensors are aligned, as safetensors' own files have them
    header = json.loads(content[8 : 8 + length])
    assert list(header["__metadata__"]) == sorted(about)
    assert set(header) == {"__metadata__", "weight", "bias"}
    assert len(content) == 8 + length + 4 * (3 * 2 + 2)


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


def test_weights_that_another_program_wrote_are_named(tmp_path: Path) -> None:
    path = save_model(tmp_path, nn.Linear(3, 2), {"weights": "raw"})
    message = (
        f"{path}: must have the metadata that training wrote, but recipe is missing: another "
        f"program wrote the file. Move it away and write it again with `tinysight train … --out "
        f"{tmp_path} --resume`."
    )
    with pytest.raises(RunError, match=f"^{re.escape(message)}$"):
        load_model_weights(tmp_path)
    save_file(load_file(path), path)
    with pytest.raises(RunError, match="but recipe and weights are missing: another program"):
        load_model_weights(tmp_path)
