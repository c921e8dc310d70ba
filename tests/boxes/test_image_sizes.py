from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.boxes.annotation_files import make_coco, make_cvat, make_labelme, write_json
from tinysight.boxes.image_sizes import read_image_size_wh
from tinysight.boxes.reading import read_boxes


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    for name, size in {"a.jpg": (100, 80), "deep/b.jpg": (90, 70)}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size).save(folder / name)
    return folder


def sizeless(tmp_path: Path, names: tuple[str, str] = ("a.jpg", "b.jpg")) -> Path:
    coco = make_coco()
    for image, name in zip(coco["images"], names, strict=True):
        image["file_name"] = name
        del image["width"], image["height"]
    return write_json(tmp_path / "sizeless.json", coco)


@pytest.mark.parametrize("names", [("a.jpg", "b.jpg"), ("a.jpg", "deep/b.jpg"), ("a", "x\\b.jpg")])
def test_missing_sizes_are_read_from_the_images(
    names: tuple[str, str], images: Path, tmp_path: Path
) -> None:
    table = read_boxes(sizeless(tmp_path, names), images_dir=images).table
    assert table.image_wh_px.tolist() == [[100, 80], [90, 70]]


def test_name_longer_than_a_file_may_have_is_no_image(images: Path, tmp_path: Path) -> None:
    path = sizeless(tmp_path, ("a.jpg", "x" * 300 + ".jpg"))
    table = read_boxes(path, images_dir=images, image_size_wh=(60, 50)).table
    assert table.image_wh_px.tolist() == [[100, 80], [60, 50]]


def test_given_size_counts_where_there_is_no_image(images: Path, tmp_path: Path) -> None:
    path = sizeless(tmp_path, ("a.jpg", "c.jpg"))
    table = read_boxes(path, images_dir=images, image_size_wh=(200, 300)).table
    assert table.image_wh_px.tolist() == [[100, 80], [200, 300]]


def test_stated_size_stands(images: Path, tmp_path: Path) -> None:
    coco = make_coco()
    coco["images"][1]["height"] = 75
    table = read_boxes(write_json(tmp_path / "a.json", coco), images_dir=images).table
    assert table.image_wh_px.tolist() == [[100, 80], [100, 75]]


def test_an_image_of_coco_whose_size_is_found_is_no_finding(images: Path, tmp_path: Path) -> None:
    coco = make_coco()
    coco["images"] = [
        {"id": 7, "file_name": "a.jpg"},
        {"id": 7, "file_name": "again.jpg"},
        {"id": 8, "file_name": "nowhere.jpg", "width": 0, "height": 5},
        {"id": 9, "file_name": "b.jpg", "width": "90", "height": 70},
    ]
    for number, annotation in enumerate(coco["annotations"]):
        annotation["image_id"] = (7, 8)[number % 2]
    path = write_json(tmp_path / "boxes.json", coco)
    told, left, none = (
        [(f.record, f.message) for f in reading.findings if f.kind == "no_image_size"]
        for reading in (
            read_boxes(path),
            read_boxes(path, images_dir=images),
            read_boxes(path, image_size_wh=(100, 80)),
        )
    )
    assert [record for record, _ in told] == ["images[0]", "images[2]"]
    assert left == [
        (
            "images[2]",
            "an image must have a width and a height > 0 pixels, got 0 x 5. Its boxes were not "
            "checked against its edges.",
        )
    ]
    assert none == []
    del coco["images"][1:]
    coco["annotations"] = coco["annotations"][:1]
    path = write_json(tmp_path / "strict.json", coco)
    assert read_boxes(path, images_dir=images, policy="strict").accepted == 1


def test_name_in_two_folders_is_not_guessed(images: Path, tmp_path: Path) -> None:
    (images / "other").mkdir()
    Image.new("RGB", (5, 5)).save(images / "other" / "b.jpg")
    table = read_boxes(sizeless(tmp_path), images_dir=images).table
    assert np.isnan(table.image_wh_px[1]).all()


def test_names_that_lead_out_of_the_folder_are_not_followed(images: Path, tmp_path: Path) -> None:
    Image.new("RGB", (5, 5)).save(tmp_path / "secret.jpg")
    path = sizeless(tmp_path, ("../secret.jpg", str(tmp_path / "secret.jpg")))
    assert np.isnan(read_boxes(path, images_dir=images).table.image_wh_px).all()


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_is_that_of_the_upright_picture(orientation: int, suffix: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (100, 80)).save(path, exif=exif)
    assert read_image_size_wh(path) == ((80, 100) if orientation >= 5 else (100, 80))


def test_damaged_exif_does_not_hide_the_size(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.new("RGB", (100, 80)).save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert read_image_size_wh(path) == (100, 80)


def test_file_that_is_no_image_has_no_size(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"not an image")
    assert read_image_size_wh(path) is None
    assert read_image_size_wh(tmp_path / "none.jpg") is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    assert read_image_size_wh(tmp_path / "a.jpg") is None
    assert read_image_size_wh(Path(os.devnull)) is None


SIZELESS = {
    "labelme": json.dumps(make_labelme(imageWidth=None)),
    "cvat": make_cvat(
        '<image id="0" name="a.jpg"><box label="dog" xtl="10" ytl="20" xbr="40" ybr="60"/></image>'
    ),
    "voc": "<annotation><filename>a.jpg</filename><object><name>dog</name><bndbox><xmin>11</xmin>"
    "<ymin>21</ymin><xmax>40</xmax><ymax>60</ymax></bndbox></object></annotation>",
}


@pytest.mark.parametrize("format", SIZELESS)
def test_a_size_that_no_image_tells_is_told_and_one_that_an_image_tells_is_not(
    format: str, tmp_path: Path
) -> None:
    path = tmp_path / "labels" / "a"
    path.parent.mkdir()
    path.write_text(SIZELESS[format])
    images = tmp_path / "images"
    images.mkdir()
    reading = read_boxes(path, images_dir=images)
    assert (reading.format, reading.accepted) == (format, 1)
    assert [finding.kind for finding in reading.findings] == ["no_image_size"]
    Image.new("RGB", (100, 50)).save(images / "a.jpg")
    reading = read_boxes(path, images_dir=images)
    kinds = {finding.kind for finding in reading.findings}
    assert "over_edge" in kinds
    assert "no_image_size" not in kinds
