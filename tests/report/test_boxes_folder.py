from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image

import tinysight
from tests.boxes.tables import draw_table, make_table, write_coco
from tinysight.boxes.analysis import BoxAnalysis
from tinysight.boxes.anchor_files import load_anchors
from tinysight.errors import DataError, RunError
from tinysight.report.boxes_folder import report_outputs, require_report_folder
from tinysight.written_files import written_names


def analysed(source: Path, ks: tuple[int, ...] = (1,)) -> BoxAnalysis:
    return tinysight.analyse_boxes(tinysight.read_boxes(source), ks, certify_s=0)


def test_a_report_is_written_from_python_with_all_that_belongs_to_it(tmp_path: Path) -> None:
    analysis = analysed(write_coco(draw_table(boxes=60), tmp_path / "drawn.json"), (2, 3))
    out = tmp_path / "deep" / "out"
    report = tinysight.write_boxes_report(analysis, str(out))
    assert report.page == out / "report.html"
    assert report.bytes == len(report.page.read_bytes())
    assert report.num_examples == 0
    there = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert there == {*report.files, "files.json"} == written_names(out)
    assert {f"charts/{name}.png" for name in report.charts} <= there
    assert {path.relative_to(out).as_posix() for path in report_outputs(out)} <= there
    assert "<title>drawn.json · tinysight</title>" in report.page.read_text(encoding="utf-8")
    assert analysis.anchors is not None
    for one in analysis.anchors.sets:
        found = load_anchors(out / "anchors.json", one.k)
        assert found.anchors_wh_px.tolist() == one.anchors_wh_px.tolist()


def test_photographs_are_drawn_as_many_as_asked_for(tmp_path: Path) -> None:
    table = draw_table(boxes=60, images=20)
    for name, wh in zip(table.image_names, table.image_wh_px.astype(int).tolist(), strict=True):
        Image.new("RGB", (wh[0], wh[1]), (90, 120, 90)).save(tmp_path / name)
    analysis = analysed(write_coco(table, tmp_path / "drawn.json"))
    for asked, drawn in ((2, 2), (0, 0)):
        report = tinysight.write_boxes_report(
            analysis, tmp_path / "out", images_dir=tmp_path, num_examples=asked
        )
        assert report.num_examples == drawn


def test_a_set_has_the_name_it_is_given_or_says_how_many_files_it_has(tmp_path: Path) -> None:
    sources = [write_coco(draw_table(boxes=9), tmp_path / f"{name}.json") for name in "ab"]
    analysis = tinysight.analyse_boxes(tinysight.read_boxes(sources), (1,), certify_s=0)
    for name, title in ((None, "2 files"), ("<my> dogs", "&lt;my&gt; dogs")):
        report = tinysight.write_boxes_report(analysis, tmp_path / "out", name=name)
        html = report.page.read_text(encoding="utf-8")
        assert f"<title>{title} · tinysight</title>" in html


def test_a_report_of_no_boxes_has_neither_charts_nor_anchors(tmp_path: Path) -> None:
    analysis = analysed(write_coco(make_table(), tmp_path / "none.json"))
    report = tinysight.write_boxes_report(analysis, tmp_path / "out")
    assert report.charts == ()
    assert not {"anchors.json", "charts"} & {path.split("/")[0] for path in report.files}
    assert json.loads((tmp_path / "out" / "files.json").read_text())["sha256"].keys() == {
        *report.files
    }


def test_the_annotations_are_not_written_over_from_python_either(tmp_path: Path) -> None:
    source = write_coco(make_table([(0, 0, 0, 0, 9, 9)]), tmp_path / "anchors.json")
    analysis = analysed(source)
    before = source.read_bytes()
    with pytest.raises(RunError, match=r"anchors\.json: --out must not write over annotations"):
        tinysight.write_boxes_report(analysis, tmp_path)
    assert source.read_bytes() == before
    assert [*tmp_path.iterdir()] == [source]


def test_where_no_folder_can_be_is_said_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(
        DataError,
        match=r"file: a report needs a folder to be written into, but there is a file\. Choose",
    ):
        require_report_folder(file, ())
    with pytest.raises(
        RunError, match=r"out: a report must be in a folder, but .*file is a file\. Choose"
    ):
        require_report_folder(file / "deep" / "out", ())
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(
        RunError, match=r"out: must be a folder that can be written to, but .* may not be\. Choose"
    ):
        require_report_folder(tmp_path / "out", ())
    monkeypatch.undo()
    require_report_folder(tmp_path / "out", ())
    assert [*tmp_path.iterdir()] == [file], "asking writes nothing"
