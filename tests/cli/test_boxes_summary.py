from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.boxes.annotation_files import write_json
from tests.boxes.tables import draw_table, make_table, take_images, write_coco
from tinysight.boxes.summary import summarize_boxes
from tinysight.cli import main


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_coco(draw_table(1), tmp_path / "boxes.json")


def run(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    assert main(["boxes", "summary", *map(str, words), "--json"]) == 0
    captured = capsys.readouterr()
    result: dict[str, Any] = json.loads(captured.out)
    return result


def test_json_has_the_keys_that_others_rely_on(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(capsys, file)
    expected = summarize_boxes(draw_table(1))
    assert (found["images"], found["boxes"]) == (60, 400)
    assert found["classes"] == [
        {"name": entry.name, "boxes": entry.boxes, "images": entry.images, **entry.sizes}
        for entry in expected.classes
    ]
    assert found["sizes"] == expected.sizes
    assert found["images_without_boxes"] == expected.images_without_boxes
    assert found["boxes_read"] == found["accepted"] + found["repaired"] + found["rejected"] == 400
    assert found["near_duplicates"]["same_class"] == expected.repeated_boxes
    assert len(found["aspect_ratios"]["edges"]) == len(found["aspect_ratios"]["boxes"]) + 1


def test_what_is_left_out_is_said(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(capsys, file)
    assert found["pairs_in_all"] == len(found["pairs"]) == 10
    assert [pair["images"] for pair in found["pairs"]] == sorted(
        (pair["images"] for pair in found["pairs"]), reverse=True
    )
    assert found["images_of_many_classes"] == 0
    monkeypatch.setattr("tinysight.cli.boxes_summary._MOST_PAIRS_IN_JSON", 4)
    monkeypatch.setattr("tinysight.boxes.near_duplicates.MOST_LISTED", 3)
    monkeypatch.setattr("tinysight.boxes.summary.MOST_MEETING", 4)
    found = run(capsys, file)
    assert (len(found["pairs"]), found["pairs_in_all"]) == (4, 10)
    assert found["images_of_many_classes"] > 0
    assert main(["boxes", "summary", str(file), "--csv", str(tmp_path / "csv")]) == 0
    out = capsys.readouterr().out
    assert "\n            near_duplicates.csv ends at 3 pairs, there are more\n" in out
    assert "images of more than 4 classes are left out of the pairs of classes.\n" in out
    assert len((tmp_path / "csv" / "near_duplicates.csv").read_text().splitlines()) == 4


def test_the_text_says_it_in_words(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["boxes", "summary", str(file)]) == 0
    captured = capsys.readouterr()
    assert "400 on 60 images; 400 read = 400 accepted + 0 repaired + 0 rejected" in captured.out
    assert "crowds      11 boxes stand for groups" in captured.out
    assert "classes     5, the largest has 1.3 times the boxes" in captured.out
    assert captured.err == ""


@pytest.mark.parametrize("shards", [[], ["--shards", "--workers", "1"]])
def test_images_that_no_column_names_are_not_counted_on(
    shards: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("xmin,ymin,xmax,ymax,class\n" + "10,20,40,60,dog\n" * 3)
    assert main(["boxes", "summary", str(path), *shards]) == 0
    out = capsys.readouterr().out
    assert "boxes       3 on images without a name; 3 read = 3 accepted" in out
    assert (
        "\nan image    cannot be told where rows do not name it; each of them counts as one\n"
        in out
    )
    assert "\n            3 rows are of unknown size\n" in out
    assert "images" not in out.replace("images without a name", "")
    assert "on average" not in out
    assert "repeat" not in out


def test_one_of_a_thing_is_told_in_the_singular(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = {"id": 1, "file_name": "a.jpg"}
    box = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 40]}
    value = {
        "images": [image],
        "annotations": [
            {**box, "id": 1},
            {**box, "id": 2},
            {**box, "id": 3, "bbox": [50, 2, 9, 9], "iscrowd": 1},
            {**box, "id": 4, "category_id": 2, "bbox": [70, 2, 9, 9]},
        ],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}],
    }
    assert main(["boxes", "summary", str(write_json(tmp_path / "a.json", value))]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0].startswith("boxes 4 on 1 image; 4 read")
    assert "1 image is of unknown size" in lines
    assert "crowds 1 box stands for a group; anchors ignore it" in lines
    assert "twice 1 box repeats another of its class, 0 one of another class" in "\n".join(lines)
    assert any(line.startswith("cat 1 box 1 image █") for line in lines)
    value["annotations"] = []
    assert main(["boxes", "summary", str(write_json(tmp_path / "a.json", value))]) == 0
    assert "the fullest 0; 1 has none\n" in capsys.readouterr().out


def test_an_image_list_without_boxes_is_summed_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_coco(make_table(image_wh=[(9, 9)] * 3), tmp_path / "none.json")
    found = run(capsys, file)
    assert (found["boxes"], found["images_without_boxes"], found["imbalance"]) == (0, 3, None)
    assert main(["boxes", "summary", str(file)]) == 0


def test_csv_writes_every_table(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["boxes", "summary", str(file), "--csv", str(tmp_path / "csv")]) == 0
    assert "13 files in" in capsys.readouterr().out
    assert len(list((tmp_path / "csv").glob("*.csv"))) == 13
    assert "near_duplicates.csv" in {path.name for path in (tmp_path / "csv").iterdir()}


@pytest.mark.parametrize("more", [[], ["--shards", "--workers", "1"]])
@pytest.mark.parametrize("name", ["classes.csv", "near_duplicates.csv"])
def test_tables_are_not_written_over_annotations(
    name: str, more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_text("image,class,xmin,ymin,xmax,ymax\na.jpg,dog,1,2,30,40\n")
    before = path.read_bytes()
    assert main(["boxes", "summary", str(path), "--csv", str(tmp_path), *more]) == 1
    assert capsys.readouterr().err == (
        f"tinysight: {path}: --csv must not write over annotations that are read, which would be "
        f"lost. Choose another --csv.\n"
    )
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_bytes() == before


def test_shards_add_up_to_the_same(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [
        write_coco(take_images(draw_table(1), range(start, start + 20)), tmp_path / f"{start}.json")
        for start in (0, 20, 40)
    ]
    whole = run(capsys, file)
    found = run(capsys, *parts, "--shards", "--workers", "1")
    assert {key: found[key] for key in whole} == whole
    assert (found["shards"], found["box_orders"]) == (3, ["xywh"])
    assert main(["boxes", "summary", *map(str, parts), "--shards", "--workers", "2"]) == 0
    assert "400 on 60 images" in capsys.readouterr().out


def test_shards_read_in_different_orders_are_pointed_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = write_coco(draw_table(1), tmp_path / "a.json")
    value = json.loads(first.read_text())
    for entry in value["annotations"]:
        x, y, w, h = entry["bbox"]
        entry["bbox"] = [x, y, x + w, y + h]
    second = tmp_path / "b.json"
    second.write_text(json.dumps(value))
    words = ["boxes", "summary", str(first), str(second), "--shards", "--workers", "1"]
    assert main(words) == 0
    assert "differs between the shards: xywh, xyxy. Give --box-order" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--workers", "2"], ["--dask", "tcp://127.0.0.1:9"]])
def test_workers_are_for_shards(
    file: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["boxes", "summary", str(file), *words]) == 1
    assert "--workers and --dask are for files that are shards. Add --shards." in (
        capsys.readouterr().err
    )


def test_a_missing_file_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--shards"]):
        assert main(["boxes", "summary", str(tmp_path / "no.json"), *words]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        assert "no.json: must be" in captured.err


@pytest.mark.parametrize(
    ("classes", "num_classes", "told"),
    [
        ([0, 1], 2, "2, all with the same number of boxes\n"),
        ([0, 1], 3, "3, all that have boxes have the same number; 1 has none\n"),
        ([0, 1, 1], 2, "2, the largest has 2.0 times the boxes of the smallest\n"),
        (
            [0, 1, 1],
            4,
            "4, the largest has 2.0 times the boxes of the smallest that has any; 2 have none\n",
        ),
        ([1, 1], 2, "2, only one has boxes; 1 has none\n"),
    ],
)
def test_classes_without_boxes_are_told_apart(
    classes: list[int],
    num_classes: int,
    told: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    boxes = [(0, row, 0.0, 0.0, 9.0, 9.0) for row in classes]
    table = make_table(boxes, classes=[f"c{row}" for row in range(num_classes)])
    assert main(["boxes", "summary", str(write_coco(table, tmp_path / "a.json"))]) == 0
    assert f"classes     {told}" in capsys.readouterr().out
