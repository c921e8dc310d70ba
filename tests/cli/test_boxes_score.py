from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.boxes.tables import draw_table, make_table, write_coco
from tinysight.boxes.geometry import FITS, sizes_at_input
from tinysight.boxes.presets import PRESETS
from tinysight.boxes.quality import score_anchors
from tinysight.cli import boxes_score, main


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_coco(draw_table(1), tmp_path / "boxes.json")


def run(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    assert main(["boxes", "score", *map(str, words), "--json"]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_json_has_the_keys_that_others_rely_on(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(capsys, file, "--anchors", "yolov5-p5")
    table = draw_table(1)
    anchors = PRESETS["yolov5-p5"].anchors_wh_px
    expected = score_anchors(table, sizes_at_input(table, (640, 640), "letterbox"), anchors)
    assert found["anchors_wh_px"] == anchors.tolist()
    assert found["mean_best_iou"] == expected.mean_best_iou
    assert found["best_possible_recall"] == expected.best_possible_recall
    assert found["over_half"] == expected.over_half
    assert [group["name"] for group in found["by_class"]] == list(table.class_names)
    assert [group["boxes"] for group in found["by_size"]] == [
        group.boxes for group in expected.by_size
    ]
    assert [level["stride_px"] for level in found["by_level"]] == [8, 16, 32]
    assert (found["boxes"], found["crowd_boxes"]) == (389, 11)
    assert (found["input_size_wh"], found["fit"]) == ([640, 640], "letterbox")
    assert found["verdict"] is None  # a preset is not compared with itself
    assert found["presets"] == []


def test_a_preset_is_scored_at_its_own_input_unless_told_otherwise(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(capsys, file, "--anchors", "retinanet")
    assert (found["input_size_wh"], found["fit"]) == ([1333, 800], "shorter-side")
    other = run(
        capsys, file, "--anchors", "retinanet", "--input-size", "320x200", "--fit", "stretch"
    )
    assert (other["input_size_wh"], other["fit"]) == ([320, 200], "stretch")
    assert other["mean_best_iou"] != found["mean_best_iou"]


def test_an_input_that_nobody_stated_is_said_to_be_assumed(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    anchors = tmp_path / "a.yaml"
    listed = "anchors:\n  - [10,13, 16,30]\n"
    anchors.write_text(listed)
    found = run(capsys, file, "--anchors", anchors)
    assert (found["input_size_wh"], found["assumed"]) == ([640, 640], ["size", "fit"])
    assert main(["boxes", "score", str(file), "--anchors", str(anchors)]) == 0
    assert (
        "\nassumed      the size and fit of that input, which the file of anchors does not state\n"
    ) in capsys.readouterr().out
    assert run(capsys, file, "--anchors", anchors, "--input-size", "416")["assumed"] == ["fit"]
    anchors.write_text(f"# 2 anchors for an input of 416x320 pixels (stretch)\n{listed}")
    found = run(capsys, file, "--anchors", anchors)
    assert (found["input_size_wh"], found["fit"], found["assumed"]) == ([416, 320], "stretch", [])
    assert main(["boxes", "score", str(file), "--anchors", str(anchors)]) == 0
    assert "assumed" not in capsys.readouterr().out


def test_one_box_is_told_in_the_singular(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_coco(make_table([(0, 0, 1, 1, 30, 40)]), tmp_path / "one.json")
    assert main(["boxes", "score", str(file), "--anchors", "yolov3"]) == 0
    assert "anchors      9 on 1 box, sizes at an input of 416x416 px" in capsys.readouterr().out


def test_ones_own_anchors_get_a_verdict(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    anchors = tmp_path / "anchors.txt"
    anchors.write_text("10,20, 30,40, 50,90, 100,60, 150,150, 200,90, 100,300, 300,200, 500,500")
    found = run(capsys, file, "--anchors", anchors)
    assert found["verdict"]["default"] in PRESETS
    assert [len(level["anchors_wh_px"]) for level in found["by_level"]] == [3, 3, 3]
    two = tmp_path / "two.txt"
    two.write_text("30,40, 200,150")
    assert run(capsys, file, "--anchors", two)["by_level"] is None  # cannot be divided
    chosen = run(capsys, file, "--anchors", anchors, "--against", "yolov3", "--margin", "0.9")
    assert chosen["verdict"]["default"] == "yolov3"
    assert chosen["verdict"]["keep_default"] is True
    assert chosen["verdict"]["margin"] == 0.9
    assert main(["boxes", "score", str(file), "--anchors", str(anchors)]) == 0
    out = capsys.readouterr().out
    assert "anchors      9 on 389 boxes, sizes at an input of 640x640 px (letterbox)\n" in out
    assert "levels       the anchors are on none; divided evenly, as yolov5 has them:\n" in out
    assert f"verdict {found['verdict']['text']}" in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 99


def test_levels_of_a_file_are_not_divided_anew(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    three = tmp_path / "three.yaml"
    three.write_text("anchors:\n- [10,10]\n- [60,60, 90,90]\n- [150,150, 300,300, 400,400]\n")
    found = run(capsys, file, "--anchors", three)
    assert [len(level["anchors_wh_px"]) for level in found["by_level"]] == [1, 2, 3]
    assert main(["boxes", "score", str(file), "--anchors", str(three)]) == 0
    out = capsys.readouterr().out
    assert "levels       as the file has them, with the strides 8, 16 and 32:\n" in out
    two = tmp_path / "two.cfg"
    listed = "anchors = 10,14,  23,27,  37,58,  81,82,  135,169,  344,319\n"
    two.write_text(f"[yolo]\nmask = 3,4,5\n{listed}[yolo]\nmask = 0,1,2\n{listed}")
    found = run(capsys, file, "--anchors", two)
    assert (found["by_level"], found["fit"]) == (None, "stretch")
    assert main(["boxes", "score", str(file), "--anchors", str(two)]) == 0
    out = capsys.readouterr().out
    assert "levels       2 in the file, without strides, so that nothing is said of them\n" in out


def test_held_out_boxes_are_compared_with_those_fitted_on(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = write_coco(draw_table(2), tmp_path / "train.json")
    anchors = tmp_path / "anchors.txt"
    anchors.write_text("20 20 100 60 300 300")
    found = run(capsys, file, "--anchors", anchors, "--fitted-on", train)
    assert found["held_out"]["held_out"]["mean_best_iou"] == found["mean_best_iou"]
    low, high = found["held_out"]["interval"]
    assert low < found["mean_best_iou"] < high
    assert "On boxes they were not fitted to" in found["verdict"]["text"]
    words = ["boxes", "score", str(file), "--anchors", str(anchors), "--fitted-on", str(train)]
    assert main(words) == 0
    assert "held out     mean IoU" in capsys.readouterr().out


def test_all_presets_can_be_compared(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(capsys, file, "--anchors", "yolov5-p5", "--compare")
    assert {score["name"] for score in found["presets"]} == set(PRESETS)
    assert all(score["source"] for score in found["presets"])
    assert main(["boxes", "score", str(file), "--anchors", "yolov5-p5", "--compare"]) == 0
    assert "mean IoU at its own input" in capsys.readouterr().out


def test_shares_are_1_only_if_they_are_all_boxes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fitting = [(0, 0, 0.0, 0.0, 100.0, 100.0)] * 25_000
    others = [(0, 0, 0.0, 0.0, 1000.0, 2.0), (0, 1, 0.0, 0.0, 100.0, 100.0)]
    table = make_table([*fitting, *others], image_wh=[(1000, 1000)])
    file = write_coco(table, tmp_path / "one-does-not.json")
    found = run(capsys, file, "--anchors", "yolov5-p5", "--compare")
    assert f"{found['best_possible_recall']:.4f}" == f"{found['over_half']:.4f}" == "1.0000"
    assert main(["boxes", "score", str(file), "--anchors", "yolov5-p5", "--compare"]) == 0
    out = capsys.readouterr().out
    assert "recall       0.9999 of the boxes" in out
    assert "over half    0.9999 of the boxes" in out
    rows = [line.split() for line in out.splitlines() if line.startswith("  ")]
    shares = {row[0]: row[3:] for row in rows if len(row) == 5}
    assert shares["large"] == shares["dog"] == ["1.0000", "1.0000"]
    assert shares["cat"] == ["0.9999", "0.9999"]
    (preset,) = (line for line in out.splitlines() if line.startswith("  yolov5-p5 "))
    assert preset.split()[3] == "0.9999"


def test_a_file_with_crowds_only_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_coco(make_table([(0, 0, 1, 1, 5, 5)], crowd=[0]), tmp_path / "crowd.json")
    assert main(["boxes", "score", str(file), "--anchors", "yolov3"]) == 1
    assert capsys.readouterr().err == (
        f"tinysight: {file}: must hold boxes that are no crowd regions to score anchors on, got 1 "
        f"crowd region only. Name files with other boxes.\n"
    )
    file = write_coco(make_table(), tmp_path / "none.json")
    assert main(["boxes", "score", str(file), "--anchors", "yolov3"]) == 1
    assert capsys.readouterr().err.endswith(
        "got none. See what was rejected with `tinysight boxes check`.\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--anchors", "yolov6"],
            "yolov6: there is no such file, and the name of a preset",
        ),
        (
            ["--anchors", "yolov3", "--against", "x"],
            "x: there is no such file, and the name of a preset",
        ),
    ],
)
def test_unknown_anchors_are_one_message(
    file: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["boxes", "score", str(file), *words]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    "words", [["--input-size", "0"], ["--input-size", "640x"], ["--margin", "2"], ["--fit", "pad"]]
)
def test_wrong_words_are_a_usage_error(
    file: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["boxes", "score", str(file), "--anchors", "yolov3", *words])
    assert caught.value.code == 2
    assert words[0] in capsys.readouterr().err


def test_the_words_of_the_parser_are_those_of_the_library() -> None:
    assert boxes_score.FITS == FITS


def test_a_level_that_few_boxes_prefer_does_not_read_as_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boxes = [(0, 0, 0, 0, *((8, 8) if number < 3 else (300, 300))) for number in range(20_000)]
    path = write_coco(make_table(boxes, image_wh=[(640, 640)]), tmp_path / "few.json")
    main(["boxes", "score", str(path), "--anchors", "yolov5-p5"])
    printed = capsys.readouterr().out
    assert "  stride 8        3          3 below 0.1 %" in printed
    assert "  stride 16       3          0       0.0 %" in printed
    assert "  stride 32       3     19,997 over 99.9 %" in printed
