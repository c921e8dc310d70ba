from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.boxes.tables import draw_table, write_coco
from tinysight.boxes.anchor_files import load_anchors
from tinysight.boxes.export import FORMATS, render_anchors
from tinysight.boxes.leveled_anchors import LeveledAnchors
from tinysight.boxes.presets import PRESETS
from tinysight.boxes.strides import assign_strides, group_levels
from tinysight.cli import boxes_export, main

EVEN = ["csv", "darknet", "detectron2-code", "json", "mmdetection", "ssd", "torchvision", "yolov7"]


def run(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    assert main(["boxes", "export", *map(str, words), "--json"]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


@pytest.mark.parametrize("to", EVEN)
def test_the_file_is_what_the_library_writes(
    to: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.txt"
    words = ["boxes", "export", "yolov5-p5", "--to", to, "--out", str(out), "--classes", "7"]
    assert main(words) == 0
    preset = PRESETS["yolov5-p5"]
    assignment = group_levels(preset.levels_wh_px, preset.strides_px)
    expected = render_anchors(LeveledAnchors(assignment, (640, 640), "letterbox", 7), to)
    assert out.read_text() == expected
    captured = capsys.readouterr()
    assert f"{out}: 9 anchors for an input of 640x640 pixels (letterbox), for {to}" in captured.out
    assert main([*words[:5], *words[7:]]) == 0
    captured = capsys.readouterr()
    assert captured.out == expected  # without --out the file itself goes to stdout
    assert "stride 8" in captured.err
    assert "level        anchors\n" in captured.err  # no columns of boxes where none are named


def test_coverage_is_told_where_boxes_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_coco(draw_table(1), tmp_path / "boxes.json")
    found = run(capsys, "yolov5-p5", "--to", "json", "--boxes", file)
    assert sum(level["coverage"]["boxes"] for level in found["levels"]) == 389
    assert run(capsys, "yolov5-p5", "--to", "json")["levels"][0]["coverage"] is None


def test_an_empty_level_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    anchors = tmp_path / "anchors.txt"
    anchors.write_text("100,100, 200,200, 300,300")
    out = tmp_path / "a.json"
    words = ["boxes", "export", str(anchors), "--to", "json", "--divide", "size", "--out", str(out)]
    assert main(words) == 0
    assert "warning: The level of stride 8 has no anchor" in capsys.readouterr().out
    found = load_anchors(out)
    assert found.strides_px == (8, 16, 32)
    assert [len(level) for level in found.levels_wh_px] == [0, 0, 3]
    assert len(run(capsys, out, "--to", "csv")["warnings"]) == 2


def test_anchors_for_letterbox_are_warned_of_where_darknet_stretches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["boxes", "export", "yolov5-p5", "--to", "darknet", "--classes", "7"]
    text = "  warning: AlexeyAB's darknet stretches images unless [net] has letter_box=1, but"
    assert main(words) == 0
    assert text in capsys.readouterr().err
    assert main([*words, "--out", str(tmp_path / "a.cfg")]) == 0
    assert text in capsys.readouterr().out
    assert len(run(capsys, *words[2:])["warnings"]) == 1
    assert run(capsys, "yolov4", *words[3:])["warnings"] == []  # fitted to stretched images


def test_only_darknet_is_told_to_divide_by_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    anchors = tmp_path / "a.txt"
    anchors.write_text("124,324, 341,465, 544,585")
    for to in ("darknet", "darknet-v3", "detectron2-code", "mmdetection", "torchvision", "yolov5"):
        warnings = run(capsys, anchors, "--to", to, "--classes", "2")["warnings"]
        assert warnings[0].endswith("Use a smaller input or coarser strides.")
        by_size = "darknet may have each anchor on the level of its size: pass --divide size."
        assert (by_size in warnings) == to.startswith("darknet"), to
        assert "divide" not in "".join(set(warnings) - {by_size})


def test_levels_of_a_file_are_kept_and_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    anchors = tmp_path / "reversed.yaml"
    anchors.write_text("anchors:\n- [300,300] # P3/8\n- [60,60] # P4/16\n- [10,10] # P5/32\n")
    found = run(capsys, anchors, "--to", "yolov5")
    assert "their order is reversed" in found["warnings"][0]
    mended = run(capsys, anchors, "--to", "yolov5", "--divide", "equal")
    assert mended["warnings"] == []
    assert [level["anchors_wh_px"] for level in mended["levels"]] == [
        [[10, 10]],
        [[60, 60]],
        [[300, 300]],
    ]


def test_other_strides_divide_the_anchors_again(capsys: pytest.CaptureFixture[str]) -> None:
    found = run(capsys, "yolov3-tiny", "--to", "yolov5", "--strides", "8,16,32")
    assert [len(level["anchors_wh_px"]) for level in found["levels"]] == [2, 2, 2]
    one = run(capsys, "yolov2-voc", "--to", "darknet-v2", "--classes", "20")
    assert [level["stride_px"] for level in one["levels"]] == [32]


TINY_CFG = """[net]
width=416
height=416
[yolo]
mask = 3,4,5
anchors = 10,14,  23,27,  37,58,  81,82,  135,169,  344,319
[yolo]
mask = 0,1,2
anchors = 10,14,  23,27,  37,58,  81,82,  135,169,  344,319
"""


def test_levels_without_strides_are_kept_and_the_strides_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg = tmp_path / "yolov3-tiny.cfg"
    cfg.write_text(TINY_CFG)
    assert main(["boxes", "export", str(cfg), "--to", "yolov5"]) == 1
    assert capsys.readouterr().err == (
        f"tinysight: {cfg}: the strides of the levels must be known, but the file has 2 levels and "
        f"names no stride. Name them with --strides, finest first, or divide the anchors anew with "
        f"--divide.\n"
    )
    assert main(["boxes", "export", str(cfg), "--to", "yolov5", "--strides", "8,16,32"]) == 1
    assert "2 levels of anchors must have one stride each, got 3" in capsys.readouterr().err
    found = run(capsys, cfg, "--to", "yolov5", "--strides", "16,32")
    levels = [(level["stride_px"], len(level["anchors_wh_px"])) for level in found["levels"]]
    assert (levels, found["fit"]) == ([(16, 3), (32, 3)], "stretch")
    assert found["levels"][0]["anchors_wh_px"] == [[10, 14], [23, 27], [37, 58]]
    divided = run(capsys, cfg, "--to", "yolov5", "--divide", "equal")
    assert [len(level["anchors_wh_px"]) for level in divided["levels"]] == [2, 2, 2]
    one = run(capsys, cfg, "--to", "darknet-v2", "--classes", "20")
    assert [len(level["anchors_wh_px"]) for level in one["levels"]] == [6]


def test_three_levels_without_strides_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    anchors = tmp_path / "a.yaml"
    anchors.write_text("anchors:\n- [10,10, 30,30]\n- [20,20, 60,60]\n- [90,90, 300,300]\n")
    found = run(capsys, anchors, "--to", "yolov5")
    assert [(level["stride_px"], level["anchors_wh_px"]) for level in found["levels"]] == [
        (8, [[10, 10], [30, 30]]),
        (16, [[20, 20], [60, 60]]),
        (32, [[90, 90], [300, 300]]),
    ]


def test_structured_anchors_are_exported_as_sizes_and_ratios(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_coco(draw_table(1), tmp_path / "boxes.json")
    words = ["--k", "3", "--certify", "0", "--structured", "4x1x3", "--json"]
    assert main(["boxes", "anchors", str(file), *words]) == 0
    anchors = tmp_path / "anchors.json"
    anchors.write_text(capsys.readouterr().out)
    text = run(capsys, anchors, "--to", "detectron2", "--strides", "8,16,32,64")["text"]
    assert "ANCHOR_GENERATOR:\n    SIZES: [[" in text
    assert len(run(capsys, anchors, "--to", "csv", "--k", "3")["levels"]) == 3


@pytest.mark.parametrize("anchors", ["ssd300-voc", "a file"])
def test_anchors_are_not_said_to_be_of_another_input(
    anchors: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if anchors == "a file":
        path = tmp_path / "a.json"
        path.write_text('{"input_size_wh": [300, 300], "anchors_wh_px": [[9, 9]]}')
        anchors = str(path)
    words = ["boxes", "export", anchors, "--to", "csv", "--input-size"]
    assert main([*words, "512"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        f"tinysight: {anchors}: --input-size must be 300x300, as the anchors are pixels at that "
        f"input, got 512x512. Leave it out, or fit anchors at 512x512.\n"
    )
    flags = [] if anchors == "ssd300-voc" else ["--divide", "size"]
    assert main([*words, "300", *flags]) == 0


@pytest.mark.parametrize("anchors", ["yolov5-p5", "a file"])
def test_anchors_are_not_said_to_be_for_images_of_another_fit(
    anchors: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if anchors == "a file":
        path = tmp_path / "a.json"
        path.write_text('{"fit": "letterbox", "anchors_wh_px": [[9, 9], [20, 9], [30, 50]]}')
        anchors = str(path)
    words = ["boxes", "export", anchors, "--to", "darknet", "--classes", "2", "--fit"]
    assert main([*words, "stretch"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        f"tinysight: {anchors}: --fit must be letterbox, as the anchors are for images that meet "
        f"the input so, got stretch. Leave it out, or fit anchors with `tinysight boxes anchors "
        f"FILE --fit stretch`.\n"
    )
    assert main([*words, "letterbox"]) == 0


@pytest.mark.parametrize("to", ["csv", "darknet", "darknet-v3", "json", "yolov5"])
def test_an_input_that_nobody_stated_is_said_to_be_assumed(
    to: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = tmp_path / "a.txt"
    numbers.write_text("10,20, 30,40, 90,60")
    words = ["--to", to, "--classes", "2"]
    found = run(capsys, numbers, *words)
    assert (found["input_size_wh"], found["assumed"]) == ([640, 640], ["size", "fit"])
    text = "3 anchors for an input of 640x640 pixels (letterbox), size and fit assumed\n"
    assert (text in found["text"]) == (to not in ("csv", "json"))
    again = tmp_path / "again.txt"
    again.write_text(found["text"])
    fit = "stretch" if to.startswith("darknet") else None  # as darknet does
    assert (load_anchors(again).input_size_wh, load_anchors(again).fit) == (None, fit)
    assert run(capsys, numbers, *words, "--input-size", "416")["assumed"] == ["fit"]
    assert run(capsys, "yolov5-p5", *words)["assumed"] == []


def test_structured_anchors_of_one_level_stay_on_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    anchors = tmp_path / "s1.json"
    structured = {"sizes_px": [[20.0, 30.0, 40.0]], "ratios": [0.5, 1.0, 2.0]}
    anchors.write_text(json.dumps({"sets": [], "structured": structured}))
    assert main(["boxes", "export", str(anchors), "--to", "mmdetection"]) == 1
    assert capsys.readouterr().err == (
        f"tinysight: {anchors}: the strides of the levels must be known, but the file has 1 level "
        f"and names no stride. Name them with --strides, finest first, or divide the anchors anew "
        f"with --divide.\n"
    )
    found = run(capsys, anchors, "--to", "mmdetection", "--strides", "16")
    assert [len(level["anchors_wh_px"]) for level in found["levels"]] == [9]
    assert main(["boxes", "export", str(anchors), "--to", "csv", "--strides", "8,16"]) == 1
    assert "1 level of anchors must have one stride each, got 2" in capsys.readouterr().err


def test_boxes_can_be_read_as_every_command_reads_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label = tmp_path / "a.txt"
    label.write_text("0 0.5 0.5 0.2 0.4\n")
    words = ["boxes", "export", "yolov5-p5", "--to", "json", "--boxes", str(label)]
    assert main(words) == 1
    assert "Pass --images DIR or --image-size WxH." in capsys.readouterr().err
    found = run(capsys, *words[2:], "--image-size", "200x100", "--format", "yolo")
    assert sum(level["coverage"]["boxes"] for level in found["levels"]) == 1


def test_one_set_of_several_is_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    anchors = tmp_path / "sets.json"
    sets = [{"k": k, "anchors_wh_px": [[10.0 * i + 10, 20.0] for i in range(k)]} for k in (3, 6)]
    anchors.write_text(json.dumps({"input_size_wh": [416, 416], "fit": "stretch", "sets": sets}))
    found = run(capsys, anchors, "--to", "yolov5", "--k", "6")
    assert (found["input_size_wh"], found["fit"]) == ([416, 416], "stretch")
    assert found["levels"] == [
        {
            "stride_px": level.stride_px,
            "anchors_wh_px": level.anchors_wh_px.tolist(),
            "coverage": None,
        }
        for level in assign_strides(sets[1]["anchors_wh_px"]).levels  # type: ignore[arg-type]
    ]


def test_an_unknown_format_is_said_before_anything_about_the_anchors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    several = tmp_path / "sets.json"
    sets = [{"k": k, "anchors_wh_px": [[9.0, 9.0]] * k} for k in (1, 2)]
    several.write_text(json.dumps({"input_size_wh": [640, 640], "fit": "letterbox", "sets": sets}))
    assert main(["boxes", "export", str(several), "--to", "yolo9000"]) == 1
    assert "yolo9000: the format must be one of csv, darknet, " in capsys.readouterr().err
    assert main(["boxes", "export", str(several), "--to", "csv"]) == 1
    assert "--k" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["yolov5-p5", "--to", "yolo5"], "yolo5: the format must be one of"),
        (["yolov5-p5", "--to", "darknet"], "the number of classes must be known"),
        (["yolov2-coco", "--to", "yolov5", "--strides", "8,16"], "5 anchors cannot be divided"),
        (
            ["nothing", "--to", "json"],
            "nothing: there is no such file, and the name of a preset",
        ),
        (["yolov5-p5", "--to", "detectron2"], "a config holds sizes times ratios only"),
        (
            ["yolov5-p5", "--to", "detectron2"],
            "(`tinysight boxes anchors --structured LxSxR --json`)",
        ),
    ],
)
def test_what_cannot_be_written_is_one_message_and_no_file(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["boxes", "export", *words, "--out", str(out)]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert not list(tmp_path.iterdir())


def test_a_place_that_is_no_file_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for out in (tmp_path, tmp_path / "none" / "x.json"):
        assert main(["boxes", "export", "yolov3", "--to", "json", "--out", str(out)]) == 1
        assert "--out must be " in capsys.readouterr().err


def test_anchors_and_boxes_are_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    anchors = tmp_path / "a.txt"
    anchors.write_text("100,100, 200,200, 300,300")
    boxes = write_coco(draw_table(1), tmp_path / "boxes.json")
    for out in (anchors, boxes):
        before = out.read_bytes()
        words = ["boxes", "export", str(anchors), "--to", "json", "--boxes", str(boxes), "--out"]
        assert main([*words, str(out)]) == 1
        assert capsys.readouterr().err == (
            f"tinysight: {out}: --out must not write over anchors or boxes that are read, which "
            f"would be lost. Choose another --out.\n"
        )
        assert out.read_bytes() == before


def test_wrong_strides_are_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["boxes", "export", "yolov3", "--to", "json", "--strides", "8,x"])
    assert caught.value.code == 2
    assert "must be whole pixels separated by commas, got '8,x'" in capsys.readouterr().err


def test_the_words_of_the_parser_are_those_of_the_library() -> None:
    assert tuple(FORMATS) == boxes_export.FORMATS


def test_a_preset_has_no_sets_to_choose_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["boxes", "export", "yolov5-p5", "--to", "csv", "--k", "3"]) == 1
    assert (
        "--k must name one of several sets in a file, got 3 for yolov5-p5, a preset of 9 anchors. "
        "Leave --k out."
    ) in capsys.readouterr().err


@pytest.mark.parametrize("classes", ["-4", "0", "x"])
def test_classes_must_be_a_number_of_them(classes: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["boxes", "export", "yolov5-p5", "--to", "yolov5", f"--classes={classes}"])
    assert stop.value.code == 2
    message = f"must be a whole number from 1 to 999999, got {classes!r}. Example: 20."
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("preset", "to"), [("yolov2-coco", "darknet-v2"), ("ssd300-voc", "ssd")])
def test_forms_that_are_not_read_back_name_one_that_is(
    preset: str, to: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["boxes", "export", preset, "--to", to, "--classes", "20", "--out", str(out)]
    assert main(words) == 0
    capsys.readouterr()
    assert main(["boxes", "export", str(out), "--to", "csv"]) == 1
    assert "Export the anchors with `tinysight boxes export --to json`." in capsys.readouterr().err
