from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tinysight.classify.store import load_store
from tinysight.cli import data_show, main
from tinysight.report import pictures
from tinysight.samples import draw_samples


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("show")
    draw_samples(
        folder / "shapes",
        classes=["ring", "circle", "star"],
        train_per_class=12,
        val_per_class=2,
        test_images=3,
        seed=4,
    )
    out = folder / "store"
    assert main(["data", "pack", str(folder / "shapes"), "--out", str(out), "--workers", "1"]) == 0
    return out


@pytest.fixture
def shown(store: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["data", "show", str(store), "--json"]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_json_has_the_keys_that_others_rely_on(shown: dict[str, Any], store: Path) -> None:
    assert shown["images"] == 42
    assert shown["classes"] == [
        {"index": 0, "wnid": "n90000002", "name": "ring, annulus", "train": 10, "test": 4},
        {"index": 1, "wnid": "n90000014", "name": "circle, disc", "train": 10, "test": 4},
        {"index": 2, "wnid": "n90000018", "name": "star, pentagram", "train": 10, "test": 4},
    ]
    assert (
        shown["split_digest"] == json.loads((store / "store.json").read_text())["split"]["digest"]
    )
    assert (shown["train"], shown["test"], shown["split"], shown["seed"]) == (30, 12, "70/30", 0)
    assert shown["read"] == shown["accepted"] + shown["repaired"] + shown["rejected"] == 42


def test_files_that_are_equal_under_two_labels_are_shown(shown: dict[str, Any]) -> None:
    (pair,) = shown["duplicates"]
    labels = dict(zip(pair["files"], pair["labels"], strict=True))
    assert labels == {
        "train/n90000014/images/n90000014_0.JPEG": "circle, disc",
        "train/n90000002/images/n90000002_11.JPEG": "ring, annulus",
    }
    assert isinstance(pair["across_split"], bool)


def test_text_says_the_same_for_people(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "show", str(store)]) == 0
    text = capsys.readouterr().out
    assert "whole, every byte is as it was written\n" in text
    assert "images      42 of 64x64 pixels\n" in text
    assert "split       70/30, seed 0: 30 train, 12 test\n" in text
    assert "duplicates  1 group of equal files: 1 with two labels, " in text
    assert "train/n90000014/images/n90000014_0.JPEG (circle, disc)" in text
    assert "\n         2  n90000018     10 train     4 test  star, pentagram\n" in text
    assert f"none; draw one with: tinysight data show {store} --out FILE.png" in text


def test_picture_shows_training_images_and_nothing_else_is_left(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "shapes.png"
    assert main(["data", "show", str(store), "--out", str(out)]) == 0
    assert f"picture     {out}" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [out]
    with Image.open(out) as picture:
        sheet = np.asarray(picture)
    loaded = load_store(store)
    for class_index in range(3):
        own = np.flatnonzero(loaded.targets == class_index)
        shown = [
            find(sheet, loaded.images_u8[row].repeat(2, axis=0).repeat(2, axis=1)) for row in own
        ]
        # The first eight that train; the two files with the same bytes look the same, too.
        assert sum(shown) in (8, 9)
        first_train = own[loaded.is_train[own]][:8]
        assert all(shown[row - own[0]] for row in first_train)


@pytest.mark.parametrize(("most", "which"), [(600, "3 classes"), (2, "the first 2 of 3 classes")])
def test_the_picture_says_of_which_classes_it_is(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, which: str
) -> None:
    titles = []
    monkeypatch.setattr(data_show, "_MOST_DRAWN_CLASSES", most)
    monkeypatch.setattr(
        pictures,
        "contact_sheet",
        lambda *_, **words: titles.append(words["title"]) or Image.new("RGB", (8, 8)),
    )
    monkeypatch.chdir(store)
    assert main(["data", "show", ".", "--out", str(tmp_path / "a.png")]) == 0
    assert titles == [f"store: training images of {which}"]


def test_the_help_says_which_classes_are_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["data", "show", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "draw training images of every class, of more than 600 of the first 600" in said


def find(sheet: np.ndarray, tile: np.ndarray) -> bool:
    """Whether a picture contains a tile, pixel by pixel."""
    height, width = tile.shape[:2]
    corners = np.argwhere((sheet[: -height + 1, : -width + 1] == tile[0, 0]).all(axis=2))
    return any((sheet[y : y + height, x : x + width] == tile).all() for y, x in corners)


def test_picture_that_is_no_png_is_refused(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "show", str(store), "--out", str(tmp_path / "x.jpg")]) == 1
    fault = capsys.readouterr().err
    assert "x.jpg: --out must be a file that ends with .png. Choose another name." in fault


def test_picture_in_a_missing_folder_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "no" / "x.png"
    assert main(["data", "show", str(tmp_path / "store"), "--out", str(out)]) == 1
    fault = capsys.readouterr().err
    assert (
        f"{out}: --out must be in a folder that exists, and none is seen at {out.parent}." in fault
    )


def test_folder_that_is_no_store_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "show", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"tinysight: {tmp_path}: a store must hold store.json, found none." in captured.err


def test_many_classes_are_listed_in_part_and_in_whole_as_json() -> None:
    from tinysight.classify.manifest import ClassEntry
    from tinysight.cli import data_show

    entries = [ClassEntry(wnid=f"n{i}", name=f"class {i}", train=7, test=3) for i in range(41)]
    lines = list(data_show._class_lines(entries))
    assert lines[0] == "classes     41"
    assert len(lines) == 12
    assert lines[-1] == "            and 31 more; --json lists them all"
    assert len(list(data_show._class_lines(entries[:40]))) == 41


def test_a_class_whose_id_is_its_name_is_named_once() -> None:
    from tinysight.classify.manifest import ClassEntry
    from tinysight.cli import data_show

    cat, maine_coon = (
        ClassEntry(wnid=name, name=name, train=7, test=3) for name in ("cat", "maine coon")
    )
    dog = ClassEntry(wnid="n02084071", name="dog", train=7, test=3)
    assert list(data_show._class_lines([cat, maine_coon])) == [
        "classes     2",
        "         0      7 train     3 test  cat",
        "         1      7 train     3 test  maine coon",
    ]
    assert list(data_show._class_lines([cat, dog])) == [
        "classes     2",
        "         0                 7 train     3 test  cat",
        "         1  n02084071      7 train     3 test  dog",
    ]


def test_store_without_equal_files_says_so() -> None:
    from tinysight.cli import data_show

    assert list(data_show._duplicate_lines([])) == [
        "duplicates  none: no two files are equal to the byte"
    ]
