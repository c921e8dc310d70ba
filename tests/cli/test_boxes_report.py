from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from tests.boxes.tables import draw_table, make_table, write_coco
from tinysight.boxes import analysis
from tinysight.cli import boxes_report, main
from tinysight.report import chart_style


def test_report_writes_a_folder_and_says_what_is_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = draw_table(boxes=60, images=20)
    source = write_coco(table, tmp_path / "drawn.json")
    images = tmp_path / "images"
    images.mkdir()
    for name, wh in zip(table.image_names, table.image_wh_px.astype(int).tolist(), strict=True):
        Image.new("RGB", (wh[0], wh[1]), (90, 120, 90)).save(images / name)
    out = tmp_path / "out"
    words = ["boxes", "report", source, "--images", images, "--k", "2,3", "--certify", 0]
    words += ["--examples", 2, "--out", out, "--against", "torchvision-retinanet", "--json"]
    assert main([str(word) for word in words]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["accepted"] + said["repaired"] + said["rejected"] == said["boxes_read"] == 60
    assert said["examples"] == 2
    assert sorted(path.name for path in out.iterdir()) == [
        "anchors.json",
        "charts",
        "files.json",
        "findings.csv",
        "report.html",
        "tables",
    ]
    for name in said["charts"]:
        assert (out / "charts" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (out / "charts" / f"{name}.svg").read_text().startswith("<svg")
    assert {"classes", "elbow", "anchors-k2", "anchors-k3", "anchors-to-scale"} <= {*said["charts"]}
    elbow = (out / "charts" / "elbow.svg").read_text(encoding="utf-8")
    # There is no legend in a file.
    assert "Mean best IoU (blue), recall (green), WCSS (purple)" in elbow
    sets = json.loads((out / "anchors.json").read_text())["sets"]
    assert [one["k"] for one in sets] == [2, 3]
    html = (out / "report.html").read_bytes()
    assert b"with torchvision-retinanet 0." in html
    assert len(html) == said["bytes"]
    assert main([str(word) for word in words]) == 0
    assert (out / "report.html").read_bytes() == html, "the same input gives the same bytes"


def test_a_report_among_its_annotations_is_none_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "shapes"
    (folder / "labels").mkdir(parents=True)
    (folder / "data.yaml").write_text("names: [a]\n")
    (folder / "labels" / "a.txt").write_text("0 0.5 0.5 0.2 0.4\n")
    monkeypatch.chdir(folder)
    words = ["boxes", "report", ".", "--image-size", "64x64", "--k", "1", "--certify", "0"]
    pages = []
    for _ in range(2):
        assert main([*words, "--out", "report", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["images"] == 1  # the charts are no images
        pages.append((folder / "report" / "report.html").read_text(encoding="utf-8"))
    assert pages[0] == pages[1]
    assert "<title>shapes · tinysight</title>" in pages[0]
    assert "shapes: box annotations, yolo" in pages[0]


@pytest.mark.parametrize(
    ("path", "name"), [("a/b.json", "b.json"), ("a/..", "here"), (".", "here"), ("/", "/")]
)
def test_a_set_is_called_by_the_name_of_its_file_or_folder(
    path: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert boxes_report._name_of(Path(path)) == name


def test_a_report_without_anchors_says_so_and_leaves_no_old_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = make_table([(0, 0, 0, 0, 9, 9), (0, 0, 0, 0, 5, 9)])
    source, out = write_coco(table, tmp_path / "two.json"), tmp_path / "out"
    words = ["boxes", "report", str(source), "--certify", "0", "--out", str(out), "--k"]
    assert main([*words, "2,3"]) == 0
    assert "none for k = 3: there are fewer distinct box sizes" in capsys.readouterr().out
    assert (out / "anchors.json").is_file()
    assert main([*words, "3"]) == 0
    said = capsys.readouterr().out
    assert "beside it   findings.csv, tables/, charts/ (6 as PNG and SVG)" in said
    assert "anchors     none. There are 2 distinct box sizes, fewer than the anchors asked" in said
    assert not (out / "anchors.json").exists()


def test_a_report_into_an_old_folder_leaves_only_its_own_files_and_those_of_others(
    tmp_path: Path,
) -> None:
    source, out = write_coco(draw_table(boxes=60), tmp_path / "drawn.json"), tmp_path / "out"
    words = ["boxes", "report", str(source), "--certify", "0", "--out", str(out), "--k"]
    assert main([*words, "2,3"]) == 0
    charts = out / "charts"
    (charts / "mine.png").write_bytes(b"mine")
    (charts / "anchors-k9.png").write_bytes(b"mine, though it has a name of the tool")
    (charts / "anchors-k3.svg").write_text("changed by hand")
    assert main([*words, "2"]) == 0
    assert (charts / "anchors-k2.png").is_file()
    assert not (charts / "anchors-k3.png").exists()
    for name in ("mine.png", "anchors-k9.png", "anchors-k3.svg"):
        assert (charts / name).is_file(), name


@pytest.mark.parametrize("name", ["anchors.json", "files.json", "report.html"])
def test_a_report_is_not_written_over_its_annotations(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_coco(make_table([(0, 0, 0, 0, 9, 9)]), tmp_path / name)
    before = source.read_bytes()
    assert main(["boxes", "report", str(source), "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        f"tinysight: {source}: --out must not write over annotations that are read, which would "
        f"be lost. Choose another --out.\n"
    )
    assert [*tmp_path.iterdir()] == [source]
    assert source.read_bytes() == before


@pytest.mark.parametrize(
    "name", ["findings.csv", "anchors.json", "report.html", "tables/classes.csv"]
)
def test_files_of_others_with_names_of_a_report_are_refused_before_anything_is_read(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    assert main(["boxes", "report", "none.json", "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == (
        f"tinysight: {path}: must be absent or as an earlier report wrote it, but none noted that "
        f"it did, and it would be lost. Move it away, or choose another --out.\n"
    )
    assert path.read_text() == "mine"


def test_what_was_changed_since_the_last_report_is_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = write_coco(draw_table(boxes=60), tmp_path / "drawn.json"), tmp_path / "out"
    words = ["boxes", "report", str(source), "--certify", "0", "--k", "1", "--out", str(out)]
    assert main(words) == 0
    chart = out / "charts" / "classes.svg"
    chart.write_text("by hand")
    assert main(words) == 1
    assert (
        f"{chart}: must be absent or as an earlier report wrote it, but it was changed since"
        in (capsys.readouterr().err)
    )
    assert chart.read_text() == "by hand"
    chart.unlink()
    assert main(words) == 0
    assert chart.is_file()


def test_a_report_that_was_broken_off_can_be_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    source, out = write_coco(draw_table(boxes=60), tmp_path / "drawn.json"), tmp_path / "out"
    words = ["boxes", "report", str(source), "--certify", "0", "--k", "1", "--out", str(out)]
    with monkeypatch.context() as patched:
        patched.setattr(chart_style, "save_svg_and_png", stop)
        assert main(words) == 130
    assert (out / "findings.csv").is_file()
    assert not (out / "report.html").exists()
    assert main(words) == 0


def test_an_annotation_file_that_is_none_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "x.json"
    source.write_text('{"images": [')
    assert main(["boxes", "report", str(source), "--out", str(tmp_path / "out")]) == 1
    assert not (tmp_path / "out").exists()
    assert "x.json" in capsys.readouterr().err


def test_unknown_anchors_to_compare_with_are_said_before_a_file_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["boxes", "report", "none.json", "--against", "yolo5-p5", "--out", str(tmp_path / "o")]
    assert main(words) == 1
    message = capsys.readouterr().err
    assert "the name of a preset must be one of yolov2-coco, " in message
    assert "Did you mean yolov5-p5?" in message
    assert not (tmp_path / "o").exists()


def test_pictures_that_are_not_found_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_coco(make_table([(0, 0, 0, 0, 9, 9)]), tmp_path / "a.json")
    words = ["boxes", "report", source, "--certify", 0, "--k", 1, "--out", tmp_path / "out"]
    words = [*map(str, [*words, "--images", tmp_path]), "--examples"]
    assert main([*words, "9"]) == 0
    assert (
        f"\nexamples    none: no image with boxes is found by its name in {tmp_path} and can be "
        f"read\n"
    ) in capsys.readouterr().out
    assert main([*words, "0"]) == 0
    assert "examples" not in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*words, "-3"])
    assert "--examples: must be a whole number from 0 up, got '-3'" in capsys.readouterr().err


def test_a_report_without_boxes_names_no_charts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_coco(make_table(), tmp_path / "none.json")
    assert main(["boxes", "report", str(source), "--out", str(tmp_path / "out")]) == 0
    assert "beside it   findings.csv, tables/\n" in capsys.readouterr().out


def test_charts_that_need_image_sizes_are_left_out_where_none_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["a.jpg,dog,1,2,30,40,,", "b.jpg,dog,5,5,20,10,,"]
    source = tmp_path / "a.csv"
    out = tmp_path / "out"
    words = ["boxes", "report", str(source), "--certify", "0", "--k", "1", "--out", str(out)]
    needs_sizes = {"sides-rel.svg", "centres.svg"}
    for num_sizes, num_charts in ((2, 6 + 3), (0, 4), (1, 6)):
        known = [row.replace(",,", ",100,80") for row in rows[:num_sizes]] + rows[num_sizes:]
        header = "image,class,x,y,width,height,image_width,image_height"
        source.write_text("\n".join([header, *known]))
        assert main(words) == 0
        assert f"charts/ ({num_charts} as PNG and SVG)" in capsys.readouterr().out
        written = {path.name for path in (out / "charts").glob("*.svg")}
        assert len(written) == num_charts
        assert written & needs_sizes == (needs_sizes if num_sizes else set())
    centres = (out / "charts" / "centres.svg").read_text(encoding="utf-8")
    assert "Where the centres are, of 1 of 2 boxes" in centres


def test_nothing_is_written_of_images_that_no_column_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "a.csv"
    source.write_text("xmin,ymin,xmax,ymax,class\n" + "10,20,40,60,dog\n10,20,50,90,cat\n" * 2)
    out = tmp_path / "out"
    words = ["boxes", "report", source, "--image-size", "99x99", "--k", 1, "--certify", 0]
    assert main([*map(str, words), "--out", str(out)]) == 0
    assert "read        4 boxes on images without a name: " in capsys.readouterr().out
    assert not (out / "charts" / "boxes-per-image.png").exists()
    classes = (out / "charts" / "classes.svg").read_text(encoding="utf-8")
    assert ">Boxes of each class<" in classes


def test_a_folder_that_cannot_be_made_is_said_before_the_analysis(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_coco(make_table([(0, 0, 0, 0, 9, 9)]), tmp_path / "a.json")
    monkeypatch.setattr(analysis, "analyse_boxes", lambda *_, **__: pytest.fail("too early"))
    out = source / "deep" / "out"
    assert main(["boxes", "report", str(source), "--out", str(out)]) == 1
    assert capsys.readouterr().err == (
        f"tinysight: {out}: a report must be in a folder, but {source} is a file. Choose "
        f"another --out.\n"
    )
    out = tmp_path / "locked" / "out"
    out.parent.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != out.parent)
    assert main(["boxes", "report", str(source), "--out", str(out)]) == 1
    assert capsys.readouterr().err == (
        f"tinysight: {out}: must be a folder that can be written to, but {out.parent} may not "
        f"be. Choose another --out.\n"
    )


def test_a_folder_that_turns_out_not_to_be_made_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_coco(make_table([(0, 0, 0, 0, 9, 9)]), tmp_path / "a.json")
    out = tmp_path / "out"
    out.mkdir()
    (out / "charts").write_text("a file")
    words = ["boxes", "report", str(source), "--certify", "0", "--k", "1", "--out", str(out)]
    assert main(words) == 1
    assert capsys.readouterr().err == (
        f"tinysight: {out / 'charts'}: must be a folder that can be written to, but it is a file. "
        f"Choose another --out.\n"
    )


def test_page_of_files_whose_names_are_no_utf8_is_written(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.json")
    source = write_coco(make_table([(0, 0, 0, 0, 9, 9)]), tmp_path / name)
    out = tmp_path / "out"
    words = ["boxes", "report", str(source), "--certify", "0", "--k", "1", "--out", str(out)]
    assert main(words) == 0
    assert "caf\\udce9.json" in (out / "report.html").read_text(encoding="utf-8")


def test_out_must_not_be_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_coco(make_table([(0, 0, 0, 0, 9, 9)]), tmp_path / "a.json")
    assert main(["boxes", "report", str(source), "--out", str(source)]) == 1
    error = capsys.readouterr().err
    assert f"{source}: a report needs a folder to be written into, but there is a file. " in error
