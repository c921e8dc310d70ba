from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.boxes.tables import make_table
from tests.exif import turned_with_a_damaged_maker
from tinysight.boxes.anchors import AnchorSet
from tinysight.boxes.examples import choose_examples

TABLE = make_table(
    [(0, 0, 0, 0, 10, 10), (0, 1, 5, 5, 50, 60), (2, 0, 1, 2, 30, 40), (3, 1, 0, 0, 20, 20)],
    image_wh=[(100, 80)] * 4,
)


def write_images(folder: Path, *names: str) -> Path:
    for name in names:
        Image.new("L", (100, 80), 128).save(folder / name)
    return folder


def test_only_images_with_boxes_are_shown_with_all_of_theirs(tmp_path: Path) -> None:
    folder = write_images(tmp_path, "0.jpg", "1.jpg", "2.jpg", "3.jpg")
    found = list(choose_examples(TABLE, folder, 9))
    assert [len(example.class_names) for example in found] == [2, 1, 1]
    assert found[0].class_names == ("dog", "cat"), "the larger box first"
    assert found[0].boxes_xywh_px.tolist() == [[5, 5, 50, 60], [0, 0, 10, 10]]
    assert found[0].photograph.mode == "RGB"


def test_of_very_many_boxes_the_largest_are_shown_and_all_counted(tmp_path: Path) -> None:
    folder = write_images(tmp_path, "0.jpg")
    table = make_table([(0, 0, 0, 0, side, side) for side in range(1, 81)], image_wh=[(100, 80)])
    (found,) = choose_examples(table, folder, 1)
    assert (len(found.boxes_xywh_px), found.num_boxes) == (30, 80)
    assert found.boxes_xywh_px[:, 2].min() == 51


def test_an_image_that_cannot_be_read_is_replaced_by_another(tmp_path: Path) -> None:
    folder = write_images(tmp_path, "2.jpg")
    (folder / "0.jpg").write_bytes(b"no image")
    (found,) = choose_examples(TABLE, folder, 1)
    assert found.boxes_xywh_px.tolist() == [[1, 2, 30, 40]]
    assert list(choose_examples(TABLE, tmp_path / "2.jpg", 1)) == []


def test_examples_are_spread_over_the_set(tmp_path: Path) -> None:
    table = make_table(
        [(image, 0, 0, 0, image + 1, 9) for image in range(50)], image_wh=[(100, 80)] * 50
    )
    folder = write_images(tmp_path, *(f"{number}.jpg" for number in range(50)))
    widths = [int(found.boxes_xywh_px[0, 2]) - 1 for found in choose_examples(table, folder, 3)]
    assert widths == [0, 24, 49]


@pytest.mark.parametrize(
    ("stated_wh", "shown_wh"),
    [
        ((80, 100), (80, 100)),
        ((np.nan, np.nan), (80, 100)),
        ((100, 80), (100, 80)),  # the boxes were drawn on the file as it is stored
    ],
)
def test_photograph_that_lies_on_its_side_is_shown_as_its_boxes_have_it(
    stated_wh: tuple[float, float], shown_wh: tuple[int, int], tmp_path: Path
) -> None:
    save_turned(tmp_path / "0.jpg")
    table = make_table([(0, 0, 0, 0, 10, 10)], image_wh=[stated_wh])
    (found,) = choose_examples(table, tmp_path, 1)
    assert found.photograph.size == shown_wh


@pytest.mark.parametrize(
    ("exif", "shown_wh"), [(turned_with_a_damaged_maker(), (80, 100)), (b"II*\0\xff", (100, 80))]
)
def test_damaged_exif_leaves_the_photograph(
    exif: bytes, shown_wh: tuple[int, int], tmp_path: Path
) -> None:
    Image.new("L", (100, 80), 128).save(tmp_path / "0.jpg", exif=b"Exif\0\0" + exif)
    table = make_table([(0, 0, 0, 0, 10, 10)], image_wh=[shown_wh])
    (found,) = choose_examples(table, tmp_path, 1)
    assert found.photograph.size == shown_wh


def save_turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (100, 80), 128).save(path, exif=exif)


@pytest.mark.parametrize(
    ("fit", "expected"),
    [
        ("letterbox", [[10.0, 10.0]]),
        ("stretch", [[10.0, 8.0]]),
        ("shorter-side", [[10.0, 10.0]]),
    ],
)
def test_an_anchor_is_scaled_from_the_input_to_the_image(
    tmp_path: Path, fit: str, expected: list[list[float]]
) -> None:
    folder = write_images(tmp_path, "3.jpg")
    anchors = AnchorSet(
        anchors_wh_px=np.array([[64.0, 64.0], [600.0, 600.0]]),
        input_size_wh=(640, 640),
        fit=fit,
        distance="iou",
        mean_best_iou=0.5,
        best_possible_recall=1.0,
    )
    (found,) = choose_examples(TABLE, folder, 1)
    match = found.match(anchors)
    assert match.index.tolist() == [0]
    assert match.wh_px.tolist() == expected
