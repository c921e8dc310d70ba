import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from tests.builders import encode
from tests.classify.conftest import make_recipe, make_store
from tests.classify.test_run import run as train
from tinysight import run_folder, whole_files
from tinysight.classify import export
from tinysight.classify.batches import LabelledImages
from tinysight.classify.evaluate import predict
from tinysight.classify.export import MAX_DIFFERENCE, OPSET, export_onnx, export_safetensors
from tinysight.classify.pack import pack_store
from tinysight.classify.picture_predictions import predict_images
from tinysight.classify.predictions import evaluate_run
from tinysight.classify.settings import TrainSettings
from tinysight.classify.sources.opening import open_source
from tinysight.classify.store import Store, load_store
from tinysight.classify.trained_run import load_model
from tinysight.errors import RunError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Store]:
    """An evaluated run and its store, in memory, of 12 test images."""
    folder = tmp_path_factory.mktemp("export")
    store = make_store(folder / "store")
    train(store, make_recipe(train={"epochs": 1}), folder / "run")
    evaluate_run(folder / "run", store, device=CPU)
    return folder / "run", store


@pytest.fixture(scope="module")
def exported(trained: tuple[Path, Store], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_onnx(*trained, path)
    return path


def session_of(path: Path) -> Any:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def test_onnx_gives_the_logits_of_the_package_for_raw_pixels(
    trained: tuple[Path, Store], exported: Path
) -> None:
    run, store = trained
    about = run_folder.read_run(run)
    model, _, _ = load_model(run, about)
    rows = np.flatnonzero(~store.is_train)
    expected = predict(
        model,
        LabelledImages(store.images_u8, store.targets, store.mean, store.std),
        rows,
        device=CPU,
        settings=TrainSettings(precision="fp32"),
    ).logits
    images = store.images_u8[rows].transpose(0, 3, 1, 2).astype(np.float32) / 255
    (logits,) = session_of(exported).run(["logits"], {"images": images})
    assert logits.dtype == np.float32
    assert np.abs(logits - expected).max() <= MAX_DIFFERENCE


def test_images_with_a_channel_that_never_changes_are_trained_on_predicted_and_exported(
    tmp_path: Path,
) -> None:
    generator = np.random.default_rng(0)
    for name in ("light", "dark"):
        (tmp_path / "source" / name).mkdir(parents=True)
        for number in range(16):
            pixels = generator.integers(0, 128, (32, 32, 3), dtype=np.uint8)
            pixels[..., :2] += 100 if name == "light" else 0
            pixels[..., 2] = 40  # blue
            (tmp_path / "source" / name / f"{number}.png").write_bytes(encode(pixels))
    pack_store(open_source(tmp_path / "source"), tmp_path / "store", size_px=32, num_workers=1)
    store, run = load_store(tmp_path / "store"), tmp_path / "run"
    recipe = make_recipe(augment={"noise_probability": 0.5, "noise_std": 0.1}, train={"epochs": 10})
    train(store, recipe, run)
    assert whole_files.read_records(run / run_folder.HISTORY)[-1]["test_accuracy"] == 1.0
    evaluate_run(run, store, device=CPU)
    assert json.loads((run / run_folder.METRICS).read_text())["accuracy"] == 1.0
    found = predict_images(run, [tmp_path / "source" / "dark" / "0.png"])
    assert found.class_names[found.predictions[0].classes[0]] == "dark"
    export_onnx(run, store, tmp_path / "model.onnx")  # compares the logits


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_onnx_takes_batches_of_any_size(exported: Path, batch: int) -> None:
    images = np.random.default_rng(0).random((batch, 3, 32, 32), dtype=np.float32)
    session = session_of(exported)
    (logits,) = session.run(None, {"images": images})
    assert logits.shape == (batch, 3)
    alone = [session.run(None, {"images": image[None]})[0][0] for image in images]
    assert np.abs(logits - np.stack(alone)).max() <= 1e-5


def test_onnx_is_valid_and_says_what_it_is(trained: tuple[Path, Store], exported: Path) -> None:
    run, store = trained
    model = onnx.load(exported)
    onnx.checker.check_model(model, full_check=True)
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": OPSET}
    about = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert [entry["name"] for entry in about["classes"]] == list(store.class_names)
    assert about["mean"] == pytest.approx(store.mean.tolist())
    assert about["std"] == pytest.approx(store.std.tolist())
    assert about["size_px"] == 32
    assert about["split_digest"] == store.split_digest
    assert about["recipe"]["model"]["name"] == "compact10"
    metrics = json.loads((run / run_folder.METRICS).read_text())
    assert about["test_accuracy"] == metrics["accuracy"]
    assert "in [0, 1], not normalised" in about["input"]
    (given,) = session_of(exported).get_inputs()
    assert (given.name, given.type, given.shape) == (
        "images",
        "tensor(float)",
        ["batch", 3, 32, 32],
    )


def test_onnx_holds_no_path_and_no_word_of_the_machine_that_wrote_it(exported: Path) -> None:
    content = exported.read_bytes()
    assert str(Path.cwd()).encode() not in content
    assert str(exported.parent).encode() not in content
    assert b"stack_trace" not in content
    assert b'File "' not in content


def test_a_second_export_gives_the_same_bytes_and_says_nothing(
    trained: tuple[Path, Store],
    exported: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    done = export_onnx(*trained, tmp_path / "model.onnx", num_images=5)
    assert (done.images, done.opset, done.path) == (5, OPSET, tmp_path / "model.onnx")
    assert 0 <= done.max_difference <= MAX_DIFFERENCE
    assert done.path.read_bytes() == exported.read_bytes()
    assert done.bytes == done.path.stat().st_size
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("wrong", [2e-4, float("nan")])
def test_a_network_with_other_logits_is_not_written(
    trained: tuple[Path, Store],
    exported: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wrong: float,
) -> None:
    class Session:
        """A runtime whose logits are off by a constant."""

        def __init__(self, content: bytes, providers: list[str]) -> None:
            self.session = onnxruntime.InferenceSession(content, providers=providers)

        def run(self, names: list[str], inputs: dict[str, Any]) -> list[Any]:
            return [output + np.float32(wrong) for output in self.session.run(names, inputs)]

    runtime = SimpleNamespace(InferenceSession=Session)
    monkeypatch.setattr(export, "import_module", lambda name: runtime)
    monkeypatch.setattr(export, "_onnx_bytes", lambda *_: exported.read_bytes())
    out = tmp_path / "model.onnx"
    out.write_text("an earlier file")
    with pytest.raises(
        RunError,
        match=r"model\.onnx: the logits of the ONNX network must differ from torch's by at most "
        r"0\.0001 on 12 test images, they differ by (0\.000(19|20)\d*|nan)\. Nothing was written",
    ):
        export_onnx(*trained, out)
    assert out.read_text() == "an earlier file"
    assert list(tmp_path.iterdir()) == [out]


def test_another_store_is_refused_before_anything_is_exported(
    trained: tuple[Path, Store], tmp_path: Path
) -> None:
    run, _ = trained
    other = make_store(tmp_path / "other", seed=1)
    with pytest.raises(RunError, match="the split must be the one that"):
        export_onnx(run, other, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_a_missing_package_is_an_import_error_with_its_name(
    trained: tuple[Path, Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        export_onnx(*trained, tmp_path / "model.onnx")
    assert caught.value.name == "onnxscript"


def test_safetensors_has_the_same_weights_and_explains_itself(
    trained: tuple[Path, Store], tmp_path: Path
) -> None:
    run, store = trained
    out = export_safetensors(run, tmp_path / "weights.safetensors")
    ours, theirs = load_file(out), load_file(run / run_folder.MODEL)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    with safe_open(out, framework="pt") as file:
        about = {key: json.loads(text) for key, text in file.metadata().items()}
    assert [entry["name"] for entry in about["classes"]] == list(store.class_names)
    assert (
        about["input"] == "float32 (batch, 3, 32, 32), RGB, in [0, 1], minus mean, divided by std"
    )
    assert {"mean", "std", "recipe", "split_digest", "weights", "test_accuracy"} <= about.keys()
    again = export_safetensors(run, tmp_path / "again.safetensors")
    assert again.read_bytes() == out.read_bytes()


def test_safetensors_does_not_write_over_the_weights_of_the_run(
    trained: tuple[Path, Store],
) -> None:
    run, _ = trained
    before = (run / run_folder.MODEL).read_bytes()
    with pytest.raises(RunError, match="--out must not write over the files of the run itself"):
        export_safetensors(run, run / "checkpoints" / ".." / run_folder.MODEL)
    assert (run / run_folder.MODEL).read_bytes() == before


def test_a_run_that_was_not_evaluated_is_exported_without_figures(
    trained: tuple[Path, Store], tmp_path: Path
) -> None:
    run, _ = trained
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (copy / run_folder.METRICS).unlink()
    with safe_open(export_safetensors(copy, tmp_path / "w.safetensors"), framework="pt") as file:
        assert not [key for key in file.metadata() if key.startswith("test_")]


def test_a_run_without_weights_is_told_to_go_on(
    trained: tuple[Path, Store], tmp_path: Path
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(trained[0], copy)
    (copy / run_folder.MODEL).unlink()
    for write in (
        lambda: export_safetensors(copy, tmp_path / "w"),
        lambda: export_onnx(copy, trained[1], tmp_path / "w"),
    ):
        with pytest.raises(RunError, match=re.escape("the run has no trained weights yet")):
            write()
