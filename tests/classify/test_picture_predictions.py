from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import tinysight
from tests.builders import encode
from tests.classify.conftest import make_recipe
from tests.classify.test_run import run as train
from tinysight import run_folder
from tinysight.classify import picture_predictions as module
from tinysight.classify.cam import class_activation_maps
from tinysight.classify.decode import decode_image
from tinysight.classify.pack import pack_store
from tinysight.classify.picture_predictions import predict_images
from tinysight.classify.predictions import evaluate_run
from tinysight.classify.sources.opening import open_source
from tinysight.classify.store import load_samples, load_store
from tinysight.classify.trained_run import load_model
from tinysight.errors import RunError
from tinysight.samples import draw_samples


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with drawn images, their store and an evaluated run."""
    folder = tmp_path_factory.mktemp("predict")
    classes = ("circle", "square", "star")
    draw_samples(folder / "source", classes=classes, train_per_class=8, val_per_class=4)
    pack_store(open_source(folder / "source"), folder / "store", num_workers=1)
    store = load_store(folder / "store")
    train(store, make_recipe(train={"epochs": 2}), folder / "run")
    evaluate_run(folder / "run", store)
    return folder


def test_files_of_the_source_are_predicted_as_the_evaluation_did(shapes: Path) -> None:
    table = pq.read_table(shapes / "run" / run_folder.PREDICTIONS).to_pydict()
    samples = load_samples(shapes / "store").to_pydict()
    file_of = dict(zip(samples["sample_id"], samples["file"], strict=True))
    files = [shapes / "source" / file_of[name] for name in table["sample_id"]]
    found = predict_images(shapes / "run", files)
    assert not found.unusable
    assert [prediction.file for prediction in found.predictions] == files
    assert sorted(found.class_names) == ["circle, disc", "square", "star, pentagram"]
    assert found.wnids == tuple(dict.fromkeys(samples["wnid"]))
    for prediction, classes, probs in zip(
        found.predictions, table["top5"], table["top5_probs"], strict=True
    ):
        assert prediction.classes.tolist() == classes
        assert prediction.probs == pytest.approx(probs, abs=1e-5)
        assert (prediction.width_px, prediction.height_px) == (64, 64)
        assert set(prediction.repairs) <= {"grey"}


def test_paths_may_be_texts_as_they_are_in_a_notebook(shapes: Path, tmp_path: Path) -> None:
    source = tinysight.open_source(str(shapes / "source"))
    assert tinysight.pack_store(source, str(tmp_path / "store"), num_workers=1).manifest
    store = tinysight.load_store(str(tmp_path / "store"))
    run = str(tmp_path / "run")
    recipe = make_recipe(train={"epochs": 1})
    assert tinysight.train_run(store, recipe, run, device=torch.device("cpu")).is_finished
    assert tinysight.evaluate_run(run, store).images == 12
    assert tinysight.explain_run(run, store, limit=2)
    assert tinysight.diagnose_run(run)
    assert tinysight.write_run_report(run).path == Path(run) / run_folder.REPORT
    page = str(tmp_path / "page.html")
    assert tinysight.write_run_report([run, str(shapes / "run")], page).path == Path(page)
    weights = tinysight.export_safetensors(run, str(tmp_path / "weights.safetensors"))
    assert weights.exists()
    assert tinysight.render_model_card(run)
    picture = str(next((shapes / "source").rglob("*.JPEG")))
    (prediction,) = tinysight.predict_images(run, picture).predictions
    assert prediction.file == Path(picture)
    assert tinysight.draw_samples(str(tmp_path / "drawn"), classes=("circle", "star"))


def test_pictures_of_any_size_and_kind_are_prepared_as_packing_does(
    shapes: Path, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 200, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    turned = Image.Exif()
    turned[0x0112] = 6
    deep = Image.fromarray((pixels[..., 0].astype(np.uint16) << 8) + 37)
    contents = {
        "wide.png": encode(picture),
        "turned.jpg": encode(picture, "JPEG", exif=turned),
        "cmyk.jpg": encode(picture.convert("CMYK"), "JPEG"),
        "deep.png": encode(deep),
        "seen_through.png": encode(picture.convert("RGBA")),
        "palette.gif": encode(picture.convert("P"), "GIF"),
    }
    files = []
    for name, content in contents.items():
        files.append(tmp_path / name)
        files[-1].write_bytes(content)
    found = predict_images(shapes / "run", files, top_k=2)
    assert not found.unusable
    by_name = {prediction.file.name: prediction for prediction in found.predictions}
    assert by_name.keys() == contents.keys()
    for name, content in contents.items():
        packed = decode_image(content, size_px=64)
        assert np.array_equal(by_name[name].pixels_u8, packed.pixels_u8)
        assert by_name[name].repairs == packed.repairs
        assert len(by_name[name].classes) == 2
    assert "CMYK" in by_name["cmyk.jpg"].repairs
    assert "16 bits a channel" in by_name["deep.png"].repairs
    assert (by_name["turned.jpg"].width_px, by_name["turned.jpg"].height_px) == (90, 200)


def test_the_heat_map_is_that_of_the_first_guess(shapes: Path) -> None:
    file = next((shapes / "source" / "train").rglob("*.JPEG"))
    (prediction,) = predict_images(shapes / "run", [file]).predictions
    about = run_folder.read_run(shapes / "run")
    model, _, _ = load_model(shapes / "run", about)
    image = torch.from_numpy(prediction.pixels_u8.copy()).permute(2, 0, 1) / 255
    mean, std = (torch.tensor(about[name])[:, None, None] for name in ("mean", "std"))
    chosen = torch.tensor([[int(prediction.classes[0])]])
    looked = class_activation_maps(model, ((image - mean) / std)[None].float(), chosen)
    assert prediction.heat_map == pytest.approx(looked.maps[0, 0].numpy(), abs=1e-5)
    assert prediction.probs.sum() == pytest.approx(1.0)


def test_what_is_no_picture_is_named_and_the_rest_predicted(shapes: Path, tmp_path: Path) -> None:
    good = next((shapes / "source" / "train").rglob("*.JPEG"))
    text, cut, empty = (tmp_path / name for name in ("a.txt", "cut.jpg", "empty.png"))
    text.write_text("hello")
    cut.write_bytes(good.read_bytes()[:300])
    empty.touch()
    found = predict_images(
        shapes / "run", [text, good, tmp_path / "absent.png", cut, tmp_path, empty, good]
    )
    assert [prediction.file for prediction in found.predictions] == [good, good]
    assert [(picture.file.name, picture.reason) for picture in found.unusable] == [
        ("a.txt", "not an image"),
        ("absent.png", "not readable"),
        ("cut.jpg", "damaged or cut off"),
        (tmp_path.name, "a folder"),
        ("empty.png", "empty file"),
    ]
    assert found.unusable[1].detail == "No such file or directory"


def test_pictures_go_through_the_network_in_batches(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted((shapes / "source" / "train").rglob("*.JPEG"))[:5]
    whole = predict_images(shapes / "run", files)
    monkeypatch.setattr(module, "BATCH_SIZE", 2)
    bad = tmp_path / "bad"
    bad.touch()
    parts = predict_images(shapes / "run", [*files[:2], bad, bad, *files[2:]])
    assert [each.file for each in parts.predictions] == files
    assert len(parts.unusable) == 2
    for one, other in zip(whole.predictions, parts.predictions, strict=True):
        assert one.probs == pytest.approx(other.probs, abs=1e-5)


def test_a_run_without_weights_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"run\.json: must be a readable file"):
        predict_images(tmp_path, [tmp_path / "x.png"])
