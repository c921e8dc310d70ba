from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.boxes.annotation_files import (
    make_coco,
    make_createml,
    make_cvat,
    make_labelme,
    make_labelme_shape,
    write_json,
)
from tests.real_data import real_file
from tinysight.boxes.formats import READERS
from tinysight.boxes.policies import POLICIES
from tinysight.boxes.reading import read_boxes
from tinysight.cli import boxes_input, main


def messy(tmp_path: Path) -> Path:
    coco = make_coco()
    coco["annotations"][0]["bbox"] = [90, 70, 30, 40]
    coco["annotations"][1]["bbox"] = [1, 2, 3]
    return write_json(tmp_path / "a.json", coco)


def test_sound_file_exits_0_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["boxes", "check", str(write_json(tmp_path / "a.json", make_coco()))]) == 0
    out = capsys.readouterr().out
    assert "boxes       5 read = 5 accepted + 0 repaired + 0 rejected (policy clip)" in out
    assert "findings    none" in out


def test_images_that_rows_do_not_name_are_not_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.txt"
    path.write_text("id: 0, height: 30, width: 93, bbox:[60, 5, 30, 20],\n" * 40)
    assert main(["boxes", "check", str(path)]) == 0
    assert "\nimages      without a name, classes 1\n" in capsys.readouterr().out
    assert main(["boxes", "explain", str(path)]) == 0
    assert "\nIn all: images without a name, 1 class, 40 boxes read" in capsys.readouterr().out


def test_one_box_is_tested_in_its_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_json(tmp_path / "a.json", make_labelme())
    assert main(["boxes", "check", str(path)]) == 0
    assert "1 box tested, inside its image: 100.0 % as xyxy" in capsys.readouterr().out


def test_table_without_a_class_is_said_to_have_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("image,pet,xmin,ymin,xmax,ymax\na.jpg,dog,1,2,3,4\n")
    assert main(["boxes", "check", str(path)]) == 0
    out = capsys.readouterr().out
    assert f"{path}: no column names a class, such as class or label: all 'object'\n" in out
    assert main(["boxes", "check", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["without_classes"] == [str(path)]
    assert main(["boxes", "explain", str(path)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "any order. No column names a class, such as class or label, so that all are one." in out


@pytest.mark.parametrize("shapes", [[], [make_labelme_shape("point", [[1, 2]])]])
def test_an_order_without_boxes_is_not_blamed_on_sizes(
    shapes: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_json(tmp_path / "a.json", make_labelme(shapes))
    assert main(["boxes", "check", str(path)]) == 1
    out = capsys.readouterr().out
    assert "in pixels; not tested, as there is no box with four numbers\n" in out


def test_defects_exit_1_and_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = messy(tmp_path)
    assert main(["boxes", "check", str(path)]) == 1
    out = capsys.readouterr().out
    assert "boxes       5 read = 3 accepted + 1 repaired + 1 rejected (policy clip)" in out
    assert "1 box_wrong_length, rejected" in out
    assert f"{path}: annotations[1] (id=101): a box must have four numbers, got [1, 2, 3]." in out


def test_json_has_the_keys_that_others_rely_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = messy(tmp_path)
    assert main(["boxes", "check", str(path), "--json"]) == 1
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    reading = read_boxes(path)
    assert result["format"] == "coco"
    assert result["box_order"] == "xywh"
    assert result["images"] == reading.images == 2
    counts = [result[key] for key in ("boxes_read", "accepted", "repaired", "rejected")]
    assert counts == [5, 3, 1, 1]
    for finding in result["findings"]:
        assert set(finding) == {"kind", "count", "action", "examples"}
    assert {finding["kind"] for finding in result["findings"]} == {"over_edge", "box_wrong_length"}


def test_findings_file_lists_every_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "findings.csv"
    dogs = str(real_file("dogs/dog_boundingbox_export_coco.json"))
    assert main(["boxes", "check", dogs, "--findings", str(out)]) == 1
    rows = list(csv.DictReader(io.StringIO(out.read_text(encoding="utf-8"))))
    assert len(rows) == 53 + 98
    assert "53 read = 0 accepted + 53 repaired + 0 rejected" in capsys.readouterr().out


def test_findings_in_no_folder_are_refused_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["boxes", "check", "missing.json", "--findings", str(tmp_path / "no" / "f.csv")]
    assert main(arguments) == 1
    assert (
        "--findings must be in a folder that exists, and none is seen at" in capsys.readouterr().err
    )


def test_findings_are_not_written_over_annotations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = messy(tmp_path)
    before = file.read_bytes()
    link = tmp_path / "link.json"
    link.symlink_to(file)
    for given, out in ((file, file), (file, link), (link, file)):
        assert main(["boxes", "check", str(given), "--findings", str(out)]) == 1
        assert capsys.readouterr().err == (
            f"tinysight: {out}: --findings must not write over annotations that are read, which "
            f"would be lost. Choose another --findings.\n"
        )
    assert file.read_bytes() == before


def test_findings_are_not_written_over_a_file_of_a_folder_that_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_annotations(tmp_path, "labelme", line=True) / "a.json"
    before = file.read_bytes()
    words = ["boxes", "check", str(tmp_path), "--findings"]
    assert main([*words, str(file)]) == 1
    assert f"{file}: --findings must not write over annotations" in capsys.readouterr().err
    assert file.read_bytes() == before
    for _ in range(2):  # beside them there is room, and for the next findings as well
        assert main([*words, str(tmp_path / "findings.csv")]) == 1
        assert "all of them: " in capsys.readouterr().out


def test_fault_is_one_message_without_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["boxes", "check", str(tmp_path / "no.json")]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        f"tinysight: {tmp_path / 'no.json'}: must be a file or folder of box annotations, found: "
        f"No such file or directory. Check the path.\n"
    )


def test_strict_policy_exits_1_with_the_first_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["boxes", "check", str(messy(tmp_path)), "--policy", "strict"]) == 1
    assert "with the policy strict there must be no finding, got 2" in capsys.readouterr().err


def write_annotations(folder: Path, format: str, line: bool) -> Path:
    """One image with one box, and a line beside it where asked for."""
    shapes = [make_labelme_shape("rectangle", [[10, 20], [40, 60]])]
    if format == "labelme":
        shapes += [make_labelme_shape("line", [[1, 2], [3, 4]])] if line else []
        return write_json(folder / "a.json", make_labelme(shapes)).parent
    if format == "createml":
        annotations = make_createml()[0]["annotations"] + (["line"] if line else [])
        return write_json(folder / "a.json", make_createml(annotations=annotations))
    text = '<box label="dog" xtl="10" ytl="20" xbr="40" ybr="60"/>'
    text += '<polyline label="dog" points="1,2;3,4"/>' if line else ""
    (folder / "annotations.xml").write_text(
        make_cvat(f'<image id="0" name="a.jpg" width="100" height="80">\n{text}</image>')
    )
    return folder


@pytest.mark.parametrize("format", ["labelme", "cvat", "createml"])
def test_files_of_annotation_programs_are_checked_counted_and_fitted(
    format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (100, 80)).save(tmp_path / "a.jpg")
    Image.new("RGB", (100, 80)).save(tmp_path / "b.jpg")
    given = [str(write_annotations(tmp_path, format, line=False)), "--images", str(tmp_path)]
    assert main(["boxes", "check", *given]) == 0
    out = capsys.readouterr().out
    assert f"format      {format}" in out
    assert "boxes       1 read = 1 accepted + 0 repaired + 0 rejected (policy clip)" in out
    assert main(["boxes", "summary", *given, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["boxes"], summary["classes"][0]["name"]) == (1, "dog")
    anchors = ["--k", "1", "--input-size", "100", "--json"]
    assert main(["boxes", "anchors", *given, *anchors]) == 0
    (fitted,) = json.loads(capsys.readouterr().out)["sets"]
    assert fitted["anchors_wh_px"] == [[pytest.approx(30), pytest.approx(40)]]
    given[0] = str(write_annotations(tmp_path, format, line=True))
    assert main(["boxes", "check", *given]) == 1
    out = capsys.readouterr().out
    assert "boxes       2 read = 1 accepted + 0 repaired + 1 rejected (policy clip)" in out


def test_words_of_the_options_are_those_of_the_library() -> None:
    assert tuple(READERS) == boxes_input.FORMATS
    assert POLICIES == boxes_input.POLICIES


@pytest.mark.parametrize("text", ["640", "0x5", "axb", "640x"])
def test_image_size_must_be_two_numbers(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["boxes", "check", "a.json", "--image-size", text])
    assert end.value.code == 2
    assert f"must be WIDTHxHEIGHT in pixels, got '{text}'" in capsys.readouterr().err
