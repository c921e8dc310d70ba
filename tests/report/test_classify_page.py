from __future__ import annotations

import base64
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.report.runs import MAP_HW, drop_pictures, explain_run, make_run
from tinysight import run_folder, whole_files
from tinysight.classify.diagnosis import diagnose_run
from tinysight.report.classify_page import build_run_page
from tinysight.report.page import (
    Callout,
    Command,
    Facts,
    Figure,
    Link,
    Page,
    PictureCell,
    Severity,
    Table,
    Text,
    Widget,
)
from tinysight.report.page_html import render_page
from tinysight.report.run_results import load_run_results
from tinysight.run_tables import DUPLICATES_SCHEMA, read_table, write_table


@dataclass(frozen=True)
class Said:
    severity: Severity
    sentence: str
    advice: str = ""


def page_of(run: Path, *observations: Said) -> Page:
    return build_run_page(load_run_results(run), observations)


def named(page: Page, name: str) -> Any:
    (block,) = [
        block
        for block in page.blocks()
        if isinstance(block, Figure | Table | Widget) and block.name == name
    ]
    return block


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return explain_run(make_run(tmp_path_factory.mktemp("page") / "explained"))


@pytest.fixture(scope="module")
def page(run: Path) -> Page:
    return page_of(run, Said("warning", "Over-fitted: 92.5 % against 37.8 %.", "Try less."))


def test_page_leads_with_the_figure_that_matters(page: Page) -> None:
    assert page.headline == "55.0 % of the test images recognised"
    assert page.lead == (
        "Shown 300 images that it was not trained on, the network names the right one of 6 classes "
        "for 165. Guessing would get 16.7 %."
    )
    assert page.kicker == "explained: compact, trained from scratch on 700 images of 6 classes"
    assert [(stat.value, stat.label) for stat in page.stats][:2] == [
        ("90.0 %", "among the first five guesses"),
        ("1.25", "test loss"),
    ]


def test_sections_stand_in_the_order_of_the_story(page: Page) -> None:
    assert [section.name for section in page.sections] == [
        "diagnosis",
        "training",
        "confusions",
        "classes",
        "calibration",
        "mistakes",
        "labels",
        "duplicates",
        "about",
    ]


def test_sections_are_called_what_the_advice_of_the_diagnosis_calls_them(page: Page) -> None:
    titles = {section.title for section in page.sections}
    assert titles >= {
        "What it confuses",
        "Labels that may be wrong",
        "Pictures that are there twice",
    }


def test_diagnosis_is_passed_on_in_its_order(run: Path) -> None:
    said = (Said("warning", "First.", "Do."), Said("good", "Second."))
    callouts = [block for block in page_of(run, *said).blocks() if isinstance(block, Callout)]
    assert [(block.severity, block.text, block.advice) for block in callouts] == [
        ("warning", "First.", "Do."),
        ("good", "Second.", ""),
    ]


def test_diagnosis_without_findings_says_so(run: Path) -> None:
    section = page_of(run).sections[0]
    assert section.blocks == (Text("Nothing stands out.", is_quiet=True),)


def test_confused_pairs_lead_to_their_pictures(page: Page) -> None:
    table = named(page, "pairs")
    images = [int(row[2].text) for row in table.rows]
    assert images == sorted(images, reverse=True)
    assert table.rows[0][2].anchor.startswith("#class=n0000000")
    assert "&predicted=n0000000" in table.rows[0][2].anchor
    lead = next(section.lead for section in page.sections if section.name == "confusions")
    assert f": {images[0]} images, " in lead


def test_matrix_has_every_cell_of_the_explanation(page: Page, run: Path) -> None:
    confusion = run_folder.read_explanation(run)["confusion"]
    data = named(page, "matrix").data
    cells = np.array(data["counts"]).reshape(-1, 3)
    assert cells.tolist() == confusion["counts"]
    assert data["order"] == confusion["order"]
    assert sum(data["images"]) == cells[:, 2].sum()


def test_only_classes_and_pairs_with_pictures_have_links(tmp_path: Path) -> None:
    run = explain_run(make_run(tmp_path / "run"))
    drop_pictures(run, target=4)
    drop_pictures(run, target=5, predicted=0)
    page = page_of(run)
    linked = [isinstance(row[0], Link) for row in named(page, "all-classes").rows]
    assert linked == [True, True, True, True, False, True]
    unlinked = [row[:2] for row in named(page, "pairs").rows if not isinstance(row[2], Link)]
    assert {target for target, _ in unlinked} == {"lemon", "orange"}
    assert [predicted for target, predicted in unlinked if target == "orange"] == ["goldfish"]
    pictured = np.array(named(page, "matrix").data["pictured"]).reshape(-1, 3)
    assert pictured[:, 2].sum() == len(named(page, "gallery").data["sample_id"])
    assert 4 not in pictured[:, 0]


def test_numbers_of_pairs_say_where_they_lead_to_fewer_pictures(tmp_path: Path) -> None:
    run = explain_run(make_run(tmp_path / "run"))
    said = " The number of images leads to those of them that are on this page."
    assert not named(page_of(run), "pairs").caption.endswith(said)
    gallery = pq.read_table(run / run_folder.GALLERY)
    pq.write_table(gallery.slice(0, 100), run / run_folder.GALLERY)
    assert named(page_of(run), "pairs").caption.endswith(said)


def test_surest_images_are_told_with_their_confidence(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    metrics = run_folder.read_metrics(run)
    assert metrics
    metrics["calibration"][-1] |= {"images": 0, "accuracy": None, "confidence": None}
    whole_files.write_json(run / run_folder.METRICS, metrics)
    assert named(page_of(run), "confidence").alt.endswith(
        "Of the 60 images it is surest of, at confidences from 60 % to 80 %, 66.0 % are right."
    )


def test_gallery_carries_the_rows_of_the_table_and_their_maps(page: Page, run: Path) -> None:
    explanation = load_run_results(run).explanation
    assert explanation is not None
    data = named(page, "gallery").data
    assert data["sample_id"] == explanation.gallery["sample_id"]
    assert data["target"] == explanation.gallery["target"]
    for name in ("predicted_map", "target_map"):
        maps = np.frombuffer(base64.b64decode(data[name]), dtype=np.uint8)
        assert np.array_equal(maps.reshape(-1, 16), explanation.gallery[name])
    first = data["picture"][0]
    assert page.pictures[first] == explanation.pictures[data["sample_id"][0]]
    reasons = [data["reasons"][index] for index in data["why"][1]]
    assert reasons == explanation.gallery["why"][1]


def test_figures_of_the_gallery_are_rounded_by_its_reader_alone(page: Page, run: Path) -> None:
    explanation = load_run_results(run).explanation
    assert explanation is not None
    data = named(page, "gallery").data
    for name in ("predicted_prob", "top5_probs", "loss"):
        assert data[name] == explanation.gallery[name]


def test_fine_maps_are_averaged_to_what_a_picture_can_show(tmp_path: Path) -> None:
    run = explain_run(make_run(tmp_path / "run"), images=9, map_hw=(64, 32), label_issues=1)
    explanation = load_run_results(run).explanation
    assert explanation is not None
    data = named(page_of(run), "gallery").data
    assert data["map_hw"] == (16, 16)
    maps = np.frombuffer(base64.b64decode(data["target_map"]), dtype=np.uint8).reshape(9, 16, 16)
    fine = explanation.gallery["target_map"].reshape(9, 64, 32)
    assert maps[1, 0, 0] == pytest.approx(fine[1, :4, :2].mean(), abs=0.51)
    assert maps[2, 15, 15] == pytest.approx(fine[2, -4:, -2:].mean(), abs=0.51)


def test_maps_of_any_size_keep_their_last_row_and_column(tmp_path: Path) -> None:
    run = explain_run(make_run(tmp_path / "run"), images=9, map_hw=(19, 17), label_issues=1)
    hot = np.zeros((9, 19, 17), dtype=np.uint8)
    hot[:, -1], hot[:, :, -1] = 255, 255
    gallery = pq.read_table(run / run_folder.GALLERY)
    column = pa.array(hot.reshape(9, -1).tolist(), gallery.schema.field("target_map").type)
    place = gallery.column_names.index("target_map")
    pq.write_table(gallery.set_column(place, "target_map", column), run / run_folder.GALLERY)
    data = named(page_of(run), "gallery").data
    assert data["map_hw"] == (16, 16)
    maps = np.frombuffer(base64.b64decode(data["target_map"]), dtype=np.uint8).reshape(9, 16, 16)
    assert (maps[:, -1] > 0).all()
    assert (maps[:, :, -1] > 0).all()
    assert not maps[:, :-2, :-2].any()


def test_ramp_of_the_heat_map_has_256_colours(page: Page) -> None:
    ramp = base64.b64decode(named(page, "gallery").data["ramp"])
    assert len(ramp) == 3 * 256
    lightness = np.frombuffer(ramp, dtype=np.uint8).reshape(256, 3) @ [0.2126, 0.7152, 0.0722]
    assert lightness[-1] - lightness[0] > 100


def test_pictures_are_on_the_page_once_and_only_where_something_names_them(page: Page) -> None:
    numbers = [
        cell.number
        for block in page.blocks()
        if isinstance(block, Table)
        for row in block.rows
        for cell in row
        if isinstance(cell, PictureCell)
    ]
    numbers += named(page, "gallery").data["picture"]
    assert set(numbers) == set(range(len(page.pictures)))
    assert len(set(page.pictures)) == len(page.pictures)


def test_suspected_labels_lead_to_their_picture(page: Page) -> None:
    table = named(page, "label-issues")
    assert len(table.rows) == 20
    anchor = "#image=val%2Fimages%2Fval_0.JPEG"
    assert table.rows[0][-1] == Link("val/images/val_0.JPEG", anchor)
    assert table.rows[0][0].anchor == anchor


@pytest.mark.parametrize(
    ("accuracy", "verdict"),
    [
        (0.59, "not sure enough by 9.0 points."),
        (0.41, "too sure by 9.0 points."),
        (0.55, "as sure as it should be, or nearly so."),
        (0.502, "as sure as it should be, or nearly so."),
    ],
)
def test_confidence_is_judged_in_a_sentence(tmp_path: Path, accuracy: float, verdict: str) -> None:
    run = make_run(tmp_path / "run")
    metrics = whole_files.read_json(run / run_folder.METRICS)
    whole_files.write_json(run / run_folder.METRICS, metrics | {"accuracy": accuracy})
    lead = next(s.lead for s in page_of(run).sections if s.name == "calibration")
    assert lead.startswith("On average the network is 50.0 % sure")
    assert lead.endswith(verdict)


def bins_of(*groups: tuple[int, float, float]) -> dict[str, Any]:
    """Metrics of groups of images with their confidence and their accuracy."""
    images = sum(count for count, _, _ in groups)
    return {
        "images": images,
        "accuracy": sum(count * right for count, _, right in groups) / images,
        "calibration_error": sum(count * abs(sure - right) for count, sure, right in groups)
        / images,
        "calibration": [
            {
                "low": number / len(groups),
                "high": (number + 1) / len(groups),
                "images": count,
                "confidence": sure,
                "accuracy": right,
            }
            for number, (count, sure, right) in enumerate(groups)
        ],
    }


def test_errors_of_confidence_that_cancel_out_are_no_good_sign(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    metrics = whole_files.read_json(run / run_folder.METRICS)
    uneven = bins_of((500, 0.2, 0.5), (500, 0.8, 0.5))
    whole_files.write_json(run / run_folder.METRICS, metrics | uneven)
    page = build_run_page(load_run_results(run), diagnose_run(run))
    assert next(s.lead for s in page.sections if s.name == "calibration") == (
        "On average the network is 50.0 % sure and right in 50.0 % of the cases: its errors cancel "
        "out, for in groups of like confidence the two are 30.0 points apart."
    )
    callouts = [block.text for block in page.blocks() if isinstance(block, Callout)]
    assert not [text for text in callouts if "can be believed" in text]


@pytest.mark.parametrize("sure", [0.5, 0.52, 0.549, 0.551, 0.449])
def test_diagnosis_and_page_judge_confidence_alike(tmp_path: Path, sure: float) -> None:
    run = make_run(tmp_path / "run")
    metrics = whole_files.read_json(run / run_folder.METRICS)
    whole_files.write_json(run / run_folder.METRICS, metrics | bins_of((33_000, sure, 0.5)))
    page = build_run_page(load_run_results(run), diagnose_run(run))
    lead = next(s.lead for s in page.sections if s.name == "calibration")
    callouts = [block.text for block in page.blocks() if isinstance(block, Callout)]
    is_believed = any("The probabilities can be believed" in text for text in callouts)
    assert is_believed == ("as sure as it should be" in lead)
    assert is_believed == (0.45 < sure < 0.55)


def test_more_suspected_labels_than_are_listed_are_counted(tmp_path: Path) -> None:
    run = explain_run(make_run(tmp_path / "run"), images=400, label_issues=350)
    page = page_of(run)
    table = named(page, "label-issues")
    assert len(table.rows) == 300
    assert table.title == "The 300 most suspicious"
    lead = next(section.lead for section in page.sections if section.name == "labels")
    assert lead == (
        "The labels of 350 of 300 test images look suspicious to a network that itself recognises "
        "55.0 %."
    )


def test_duplicates_that_can_do_harm_come_first(tmp_path: Path) -> None:
    run = explain_run(make_run(tmp_path / "run"))
    rows = named(page_of(run), "duplicate-pairs").rows
    assert [row[6] for row in rows] == pytest.approx([0.0, 0.01, 0.02, 0.03, 0.04, 0.05])
    assert rows[0][4] == "near"
    assert rows[0][5] == "train and test"


def test_pairs_that_were_left_out_of_the_file_are_counted(tmp_path: Path) -> None:
    run = explain_run(make_run(tmp_path / "run"))
    assert named(page_of(run), "duplicate-pairs").title == "All pairs"
    table, about = read_table(run / run_folder.DUPLICATES)
    columns = {name: table[name].to_pylist() for name in table.column_names}
    about |= {"pairs": 6, "of_pairs": 123_456}
    write_table(run / run_folder.DUPLICATES, columns, DUPLICATES_SCHEMA, about)
    cut = named(page_of(run), "duplicate-pairs")
    assert cut.title == "6 of the closest 6 of 123,456 pairs"
    assert cut.caption.endswith(
        " Only the closest 6 were kept: pairs across the split and pairs with two labels are "
        "counted among these."
    )


def test_run_without_mistakes_and_findings_has_its_page(tmp_path: Path) -> None:
    run = explain_run(make_run(tmp_path / "run"), images=1, label_issues=0, duplicates=0)
    summary = run_folder.read_explanation(run)
    summary["confused_pairs"] = []
    whole_files.write_json(run / run_folder.EXPLANATION, summary)
    page = page_of(run)
    leads = {section.name: section.lead for section in page.sections}
    assert leads["confusions"] == "Nothing: every test image is recognised."
    assert leads["labels"] == "No test image looks as if its label were wrong."
    assert leads["duplicates"] == "No two images of the data set show the same."
    html = render_page(page)
    assert "No image is taken for another class." in html
    bare = {section.name for section in page.sections if not section.blocks}
    assert bare == {"labels", "duplicates"}


def test_stale_explanation_is_said(tmp_path: Path) -> None:
    run = explain_run(make_run(tmp_path / "run"))
    (run / run_folder.MODEL).write_bytes(b"other weights")
    callouts = [block for block in page_of(run).blocks() if isinstance(block, Callout)]
    assert "have changed since it was explained" in callouts[0].text
    assert callouts[0].advice == (
        "Write them again with `tinysight explain RUN`, the folder of this run for RUN."
    )


def test_run_that_was_not_explained_names_the_command(tmp_path: Path) -> None:
    page = page_of(make_run(tmp_path / "run"))
    (command,) = [block for block in page.blocks() if isinstance(block, Command)]
    assert command.command == "tinysight explain RUN"
    assert command.text.startswith(
        "This run was not explained yet. One command, with the folder of this run for RUN, adds"
    )
    assert [section.name for section in page.sections] == [
        "diagnosis",
        "training",
        "confusions",
        "classes",
        "calibration",
        "about",
    ]
    assert not page.pictures
    cells = [row[0] for row in named(page, "all-classes").rows]
    assert cells[0] == "goldfish", "a link would lead to no picture"


def test_run_that_was_not_evaluated_names_the_command(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / run_folder.METRICS).unlink()
    page = page_of(run)
    assert page.headline == "55.0 % of the test images recognised"
    assert page.lead == "After 5 epochs. Predictions of the test images were not written yet."
    (command,) = [block for block in page.blocks() if isinstance(block, Command)]
    assert command.command == "tinysight evaluate RUN"
    assert command.text == (
        "The predictions of this run were not written yet. One command, with the folder of this "
        "run for RUN, predicts every test image:"
    )


def test_run_that_is_not_finished_names_the_command_that_goes_on(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    for name in (run_folder.METRICS, run_folder.MODEL):
        (run / name).unlink()
    (command,) = [block for block in page_of(run).blocks() if isinstance(block, Command)]
    assert command.command == "tinysight train STORE --out RUN --resume"
    assert command.text == (
        "This run is not finished. One command, with its store for STORE and its folder for RUN, "
        "goes on with it:"
    )


def change_history(run: Path, *changes: dict[str, Any]) -> Path:
    """Change the first epochs of a run without predictions, and leave no others."""
    (run / run_folder.METRICS).unlink()
    history = whole_files.read_records(run / run_folder.HISTORY)
    rows = [dict(row) | change for row, change in zip(history, changes, strict=False)]
    kept = [{key: value for key, value in row.items() if value is not None} for row in rows]
    whole_files.write_records(run / run_folder.HISTORY, kept)
    return run


def test_headline_and_curves_speak_of_the_same_weights(tmp_path: Path) -> None:
    run = change_history(make_run(tmp_path / "run"), {"ema_test_accuracy": 0.471})
    page = page_of(run)
    assert page.headline == "47.1 % of the test images recognised so far"
    assert page.lead == "After 1 epoch of 5. Predictions of the test images were not written yet."
    training = next(section for section in page.sections if section.name == "training")
    assert training.lead.endswith("right and 47.1 % of the test images.")


def test_test_part_that_was_looked_at_in_another_epoch_was_evaluated(tmp_path: Path) -> None:
    without = {"test_accuracy": None, "test_loss": None}
    page = page_of(change_history(make_run(tmp_path / "run"), {}, without))
    assert page.headline == "30.0 % of the training images recognised"
    assert page.lead == "After 2 epochs. Predictions of the test images were not written yet."


def test_run_that_was_tuned_did_not_look_at_the_test_part(tmp_path: Path) -> None:
    tuned = {"test_accuracy": None, "test_loss": None, "tuning_accuracy": 0.4, "tuning_loss": 1.0}
    page = page_of(change_history(make_run(tmp_path / "run"), tuned))
    assert page.headline == "40.0 % of the tuning images recognised so far"
    assert page.lead == "After 1 epoch of 5. The test part was not evaluated yet."


def test_run_measured_on_training_alone_says_so(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / run_folder.METRICS).unlink()
    history = whole_files.read_records(run / run_folder.HISTORY)
    kept = [{key: value for key, value in row.items() if "test" not in key} for row in history]
    whole_files.write_records(run / run_folder.HISTORY, kept)
    page = page_of(run)
    assert page.headline == "60.0 % of the training images recognised"
    assert page.lead == "After 5 epochs. The test part was not evaluated yet."


def test_run_without_an_epoch_has_its_page(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    for name in (run_folder.HISTORY, run_folder.STEPS, run_folder.METRICS, run_folder.ENVIRONMENT):
        (run / name).unlink()
    page = page_of(run)
    assert page.headline == "This run has not finished an epoch"
    assert not page.stats
    assert "No epoch is finished yet." in render_page(page)


def test_page_says_how_the_run_was_made_but_not_where_files_lay(run: Path, page: Page) -> None:
    facts = {
        key: value
        for block in page.blocks()
        if isinstance(block, Facts)
        for key, value in block.items
    }
    assert facts["Store"] == "store"
    assert facts["Command, folders left out"] == "tinysight train store --out run"
    assert facts["batch_size"] == "32"
    assert facts["Started"] == "2026-01-02 03:04:05 UTC"
    html = render_page(page)
    assert "/somewhere" not in html
    assert "/home/me" not in html
    assert str(run.parent) not in html


@pytest.mark.parametrize(
    ("typed", "facts"),
    [
        (["train", "store", "--out", "a"], {"Command": "tinysight train store --out a"}),
        (
            ["train", "my store", "--out", "a", "--set", "model.name='x'"],
            {"Command": "tinysight train 'my store' --out a --set 'model.name='\"'\"'x'\"'\"''"},
        ),
        (
            ["train", "/data/my store/", "--out=runs/a", "--set", "train.epochs=2"],
            {
                "Command, folders left out": "tinysight train 'my store' --out=a "
                "--set train.epochs=2"
            },
        ),
        (
            ["demo", "--out", r"C:\Users\me\demo"],
            {"Command, folders left out": "tinysight demo --out demo"},
        ),
        (["-f", "/home/me/kernel.json"], {}),
        ([], {}),
    ],
)
def test_the_command_can_be_typed_as_it_stands_or_says_what_is_left_out(
    tmp_path: Path, typed: list[str], facts: dict[str, str]
) -> None:
    run = make_run(tmp_path / "run")
    environment = whole_files.read_json(run / run_folder.ENVIRONMENT)
    whole_files.write_json(run / run_folder.ENVIRONMENT, environment | {"command": typed})
    found = {
        key: value
        for block in page_of(run).blocks()
        if isinstance(block, Facts)
        for key, value in block.items
        if key.startswith("Command")
    }
    assert found == facts


def test_a_recipe_from_a_file_is_named_without_its_folders(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    about = run_folder.read_run(run) | {"recipe_name": "/home/me/recipes/long.toml"}
    whole_files.write_json(run / run_folder.RUN, about)
    html = render_page(page_of(run))
    assert "long.toml" in html
    assert "/home/me" not in html


def test_folders_of_another_system_are_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    about = run_folder.read_run(run) | {"store": r"C:\Users\bob\secret project\store"}
    whole_files.write_json(run / run_folder.RUN, about)
    page = page_of(run)
    (data,) = [each for each in page.blocks() if isinstance(each, Facts) and each.title == "Data"]
    assert dict(data.items)["Store"] == "store"
    assert "bob" not in render_page(page)


def test_same_run_gives_the_same_bytes_wherever_it_lies(tmp_path: Path) -> None:
    pages = [
        render_page(page_of(explain_run(make_run(tmp_path / place / "run"), images=20)))
        for place in ("here", "elsewhere")
    ]
    assert pages[0] == pages[1]


def test_classes_without_test_images_do_not_break_the_page(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    metrics = whole_files.read_json(run / run_folder.METRICS)
    metrics["classes"][0] |= {"images": 0, "accuracy": None, "precision": None, "guesses": 0}
    metrics["calibration"][0] |= {"images": 0, "accuracy": None, "confidence": None}
    whole_files.write_json(run / run_folder.METRICS, metrics)
    html = render_page(page_of(run))
    rows = json.loads(html.split('id="class-accuracy-chart">')[1].split("</script>")[0])
    (drawn,) = rows["datasets"].values()
    assert sum(row["classes"] for row in drawn) == 5


def change_accuracies(run: Path, *accuracies: float) -> Path:
    metrics = whole_files.read_json(run / run_folder.METRICS)
    classes = [
        metrics["classes"][0] | {"index": index, "name": f"class {index}", "accuracy": accuracy}
        for index, accuracy in enumerate(accuracies)
    ]
    whole_files.write_json(run / run_folder.METRICS, metrics | {"classes": classes})
    about = whole_files.read_json(run / run_folder.RUN)
    named = [
        {"index": index, "wnid": f"n{index}", "name": entry["name"]}
        for index, entry in enumerate(classes)
    ]
    whole_files.write_json(run / run_folder.RUN, about | {"classes": named})
    return run


@pytest.mark.parametrize(
    ("accuracies", "lead"),
    [
        ((0.5, 1.0), "Best is class 1 with 100.0 %, worst class 0 with 50.0 %."),
        ((1.0, 1.0, 1.0), "Every class is recognised as well as any other: 100.0 %."),
        ((0.52110, 0.52111), "Every class is recognised as well as any other: 52.1 %."),
        ((0.5,), "class 0, the only class with test images: 50.0 %."),
    ],
)
def test_best_and_worst_class_are_named_where_there_are_such(
    tmp_path: Path, accuracies: tuple[float, ...], lead: str
) -> None:
    page = page_of(change_accuracies(make_run(tmp_path / "run"), *accuracies))
    assert [section.lead for section in page.sections if section.name == "classes"] == [lead]


@pytest.mark.parametrize(("classes", "each"), [(11, 5), (19, 9), (20, 10), (30, 10)])
def test_no_class_is_among_the_best_and_among_the_worst(
    tmp_path: Path, classes: int, each: int
) -> None:
    accuracies = [index / classes for index in range(classes)]
    page = page_of(change_accuracies(make_run(tmp_path / "run"), *accuracies))
    best, worst = (
        [row[0] for row in named(page, f"{which}-classes").rows] for which in ("best", "worst")
    )
    assert best == [f"class {classes - 1 - place}" for place in range(each)]
    assert worst == [f"class {place}" for place in range(each)]


@pytest.mark.parametrize(
    ("pairs", "of_pairs", "caption"),
    [
        (0, 0, ""),
        (1, 1, "No other class is taken for another."),
        (2, 2, "All 2 pairs that are confused."),
        (2, 3, "The 2 pairs that are confused most, of 3."),
    ],
)
def test_few_confused_pairs_are_counted_in_words(
    tmp_path: Path, pairs: int, of_pairs: int, caption: str
) -> None:
    run = explain_run(make_run(tmp_path / "run"), images=20)
    summary = run_folder.read_explanation(run)
    every = [pair | {"images": 1} for pair in summary["confused_pairs"][:of_pairs]]
    counts = [[pair["target"], pair["predicted"], 1] for pair in every]
    confusion = summary["confusion"] | {"counts": counts}
    kept = {"confused_pairs": every[:pairs], "confusion": confusion}
    whole_files.write_json(run / run_folder.EXPLANATION, summary | kept)
    page = page_of(run)
    assert named(page, "pairs").caption == caption
    cells = {(target, predicted): images for target, predicted, images in counts}
    for pair, row in zip(every, named(page, "pairs").rows, strict=False):
        assert row[4] == cells.get((pair["predicted"], pair["target"]), 0)
    if pairs:
        (lead,) = (section.lead for section in page.sections if section.name == "confusions")
        assert ": 1 image, " in lead


@pytest.mark.parametrize(
    ("shown", "wrong", "lead"),
    [
        (0, 0, "There are none: it made no mistake."),
        (1, 1, "Its only mistake is here."),
        (7, 7, "All 7 mistakes are here."),
        (0, 5, "None of 5 mistakes is here."),
        (1, 5, "1 of 5 mistakes is here, those of each class it was surest of first."),
        (3, 5, "3 of 5 mistakes are here, those of each class it was surest of first."),
    ],
)
def test_mistakes_are_counted_in_words(run: Path, shown: int, wrong: int, lead: str) -> None:
    results = load_run_results(run)
    assert results.explanation is not None
    about = {**results.explanation.gallery_about, "mistakes_shown": shown, "mistakes_of": wrong}
    explanation = dataclasses.replace(results.explanation, gallery_about=about)
    page = build_run_page(dataclasses.replace(results, explanation=explanation), ())
    others = len(explanation.gallery["sample_id"]) - shown
    where = "Beside them" if shown else "Here"
    assert [section.lead for section in page.sections if section.name == "mistakes"] == [
        f"{lead} {where} are {others} pictures that it recognised: those it was least sure of, "
        f"and those with a doubtful label or a duplicate."
    ]


def test_a_gallery_of_mistakes_alone_speaks_of_no_others(run: Path) -> None:
    results = load_run_results(run)
    assert results.explanation is not None
    for others, ends in (
        (0, "mistakes are here."),
        (1, "Beside them is 1 picture that it recognised: those it was least sure of, and those "
            "with a doubtful label or a duplicate."),
    ):  # fmt: skip
        shown = len(results.explanation.gallery["sample_id"]) - others
        counts = {"mistakes_shown": shown, "mistakes_of": shown}
        about = {**results.explanation.gallery_about, **counts}
        explanation = dataclasses.replace(results.explanation, gallery_about=about)
        page = build_run_page(dataclasses.replace(results, explanation=explanation), ())
        (lead,) = (section.lead for section in page.sections if section.name == "mistakes")
        assert lead.endswith(ends)


@pytest.mark.parametrize(
    ("images", "shown", "lead"),
    [
        (
            7,
            3,
            "Only 7 of 300 test images were looked at. 3 of 5 mistakes are here, those of each "
            "class it was surest of first.",
        ),
        (1, 0, "Only 1 of 300 test images was looked at. None of 5 mistakes is here."),
        (7, 5, "Only 7 of 300 test images were looked at. All 5 mistakes are here."),
    ],
)
def test_a_limit_on_the_images_looked_at_is_told(
    run: Path, images: int, shown: int, lead: str
) -> None:
    results = load_run_results(run)
    assert results.explanation is not None
    changes = {"images": images, "mistakes_shown": shown, "mistakes_of": 5}
    about = {**results.explanation.gallery_about, **changes}
    explanation = dataclasses.replace(results.explanation, gallery_about=about)
    page = build_run_page(dataclasses.replace(results, explanation=explanation), ())
    (found,) = (section.lead for section in page.sections if section.name == "mistakes")
    assert found.startswith(f"{lead} {'Beside them' if shown else 'Here'} are ")


def test_single_pairs_and_labels_are_spoken_of_as_such(run: Path) -> None:
    results = load_run_results(run)
    assert results.explanation is not None
    summary = {
        **results.explanation.summary,
        "duplicates": {"identical": 1, "near": 1, "across_split": 1, "two_labels": 1},
        "label_issues": {"found": 1, "of_images": 300},
    }
    explanation = dataclasses.replace(results.explanation, summary=summary)
    page = build_run_page(dataclasses.replace(results, explanation=explanation), ())
    leads = {section.name: section.lead for section in page.sections}
    assert leads["duplicates"] == (
        "1 pair is the same file and 1 nearly so; 1 has one picture in training and one in the "
        "test, and 1 bears two labels."
    )
    assert leads["labels"].startswith("The label of 1 of 300 test images looks suspicious to")


def test_explained_page_has_maps_of_the_size_it_says(page: Page) -> None:
    assert tuple(named(page, "gallery").data["map_hw"]) == MAP_HW
