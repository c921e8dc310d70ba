from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.report.runs import explain_run, make_run
from tinysight import run_folder, whole_files
from tinysight.errors import RunError
from tinysight.report.mistake_sheets import save_mistake_sheets
from tinysight.report.pictures import contact_sheet
from tinysight.run_tables import read_table


@pytest.fixture
def run(tmp_path: Path) -> Path:
    run = explain_run(make_run(tmp_path / "run"))
    name_mistakes(run, 30)
    return run


def name_mistakes(run: Path, count: int) -> None:
    gallery = read_table(run / run_folder.GALLERY)[0].to_pylist()
    wrong = [row for row in gallery if row["target"] != row["predicted"]]
    wrong.sort(key=lambda row: -row["predicted_prob"])
    summary = run_folder.read_explanation(run)
    summary["confident_mistakes"] = [row["sample_id"] for row in wrong[:count]]
    whole_files.write_json(run / run_folder.EXPLANATION, summary)


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as sheet:
        return sheet.size


def test_both_sheets_are_written_with_25_mistakes(run: Path) -> None:
    paths = save_mistake_sheets(run)
    assert [path.name for path in paths] == ["misclassified.png", "gradcam.png"]
    mistakes_wh, maps_wh = (size_of(path) for path in paths)
    # Five pictures of 32 pixels, six times as large, in a row.
    assert mistakes_wh[0] == 2 * 16 + 5 * 192 + 4 * 10
    assert mistakes_wh[1] > 5 * 192
    assert min(maps_wh) > 9 * 128


def test_fewer_mistakes_make_smaller_sheets(run: Path) -> None:
    five = [size_of(path) for path in save_mistake_sheets(run, most=5)]
    two = [size_of(path) for path in save_mistake_sheets(run, most=2)]
    assert two[0][0] < five[0][0]
    assert two[1][1] < five[1][1]


def test_one_mistake_has_a_title_that_says_one_and_is_whole(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[str] = []

    def remember(*arguments: Any, **settings: Any) -> Image.Image:
        titles.append(settings["title"])
        return contact_sheet(*arguments, **settings)

    monkeypatch.setattr("tinysight.report.mistake_sheets.contact_sheet", remember)
    save_mistake_sheets(run, most=1)
    save_mistake_sheets(run, most=2)
    limited = run_folder.read_explanation(run) | {"images": 5}
    whole_files.write_json(run / run_folder.EXPLANATION, limited)
    save_mistake_sheets(run, most=2)
    assert titles == [
        "The mistake it was surest of: right class, guess, confidence",
        "The mistake it was surest of: the picture, what speaks for the guess, what speaks for "
        "the right class (grad-cam)",
        "The 2 mistakes it was surest of: right class, guess, confidence",
        "The 2 mistakes it was surest of: the picture, what speaks for the guess, what speaks for "
        "the right class (grad-cam)",
        "The 2 mistakes it was surest of among the 5 images looked at: right class, guess, "
        "confidence",
        "The 2 mistakes it was surest of among the 5 images looked at: the picture, what speaks "
        "for the guess, what speaks for the right class (grad-cam)",
    ]


def test_the_heat_maps_differ_where_their_maps_do(run: Path) -> None:
    with Image.open(save_mistake_sheets(run, most=1)[1]) as picture:
        sheet = np.asarray(picture)
    left, bottom = 16, sheet.shape[0] - 16
    cells = [
        sheet[bottom - 128 : bottom, left + number * 132 : left + number * 132 + 128].astype(int)
        for number in range(3)
    ]
    plain, guess, right = cells
    assert np.abs(plain - guess).mean() > 5
    assert np.abs(plain - right).mean() > 5
    assert np.abs(guess - right).mean() > 5


def test_a_run_without_mistakes_has_no_sheets(run: Path) -> None:
    paths = save_mistake_sheets(run)
    name_mistakes(run, 0)
    assert save_mistake_sheets(run) == ()
    assert not any(path.exists() for path in paths)


def test_the_same_run_gives_the_same_bytes(run: Path) -> None:
    before = [path.read_bytes() for path in save_mistake_sheets(run)]
    assert [path.read_bytes() for path in save_mistake_sheets(run)] == before


def test_a_run_that_was_not_explained_is_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    with pytest.raises(
        RunError,
        match=r"explanation\.json: must be a readable file, but there is none\. "
        r"Write it with: tinysight explain .*run",
    ):
        save_mistake_sheets(run)


def test_names_of_any_kind_can_be_drawn(run: Path) -> None:
    names = [entry["name"] for entry in json.loads((run / run_folder.RUN).read_text())["classes"]]
    assert any(len(name) > 80 for name in names)
    assert any(not name.isascii() for name in names)
    assert len(save_mistake_sheets(run)) == 2
