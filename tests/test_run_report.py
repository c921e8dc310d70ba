import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.report.runs import explain_run, make_run
from tinysight import run_folder
from tinysight.cli import main
from tinysight.errors import RunError
from tinysight.run_report import write_run_report


def test_the_page_of_a_run_is_the_one_that_the_command_writes(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    explain_run(run)
    report = write_run_report(run)
    assert report.path == run / run_folder.REPORT
    assert report.bytes == report.path.stat().st_size
    assert report.is_explained
    assert main(["report", str(run), "--out", str(tmp_path / "by_command.html")]) == 0
    assert report.path.read_bytes() == (tmp_path / "by_command.html").read_bytes()


def test_several_runs_make_one_page_at_the_place_that_is_named(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name) for name in ("a", "b")]
    report = write_run_report(runs, tmp_path / "both.html")
    assert report.path == tmp_path / "both.html"
    assert not report.is_explained
    assert write_run_report(runs).path == runs[0] / run_folder.COMPARISON
    assert write_run_report(runs[:1]).path == runs[0] / run_folder.REPORT


def test_a_run_whose_name_is_no_utf8_has_its_page(tmp_path: Path) -> None:
    run = make_run(tmp_path / os.fsdecode(b"run\xff"))
    explain_run(run, images=20, label_issues=1)
    page = write_run_report(run).path.read_text(encoding="utf-8")
    assert r"<title>run\udcff · tinysight</title>" in page
    page = write_run_report([run, make_run(tmp_path / "b")]).path.read_text(encoding="utf-8")
    assert r"<title>run\udcff · b · tinysight</title>" in page


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            run_folder.RECIPE,
            "[train]\nepochs = 1\nseed = 0\n",
            r"recipe\.toml: must hold every setting of the run, but augment, model\.name are "
            r"missing\. Copy the file anew from where the run was trained, or train the run again",
        ),
        (
            run_folder.EXPLANATION,
            '{"format_version": 1, "confusion": {"order": []}, "duplicates": 3}',
            r"explanation\.json: must hold what was found in the run, but .*confused_pairs, "
            r"confusion\.counts, .*duplicates\.near, .* are missing\. Write it with: tinysight ",
        ),
        (
            run_folder.METRICS,
            '{"accuracy": 0.5, "calibration": [], "calibration_error": 0.1, "classes": [], '
            '"images": 3, "loss": null, "top5": 1}',
            r"metrics\.json: must hold the results on the test images, but loss, weights are "
            r"missing\. Write it with: tinysight evaluate",
        ),
    ],
)
def test_a_file_that_lacks_what_a_page_needs_is_named(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    run = explain_run(make_run(tmp_path / "run"), images=20, label_issues=1)
    (run / name).write_text(content)
    with pytest.raises(RunError, match=message):
        write_run_report(run)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        (run_folder.PICTURES, "picture"),
        (run_folder.GALLERY, "why"),
        (run_folder.LABEL_ISSUES, "suggested"),
        (run_folder.DUPLICATES, "distance"),
    ],
)
def test_a_table_that_lacks_a_column_is_named(tmp_path: Path, name: str, column: str) -> None:
    run = explain_run(make_run(tmp_path / "run"), images=20, label_issues=1)
    pq.write_table(pq.read_table(run / name).drop_columns(column), run / name)
    with pytest.raises(
        RunError,
        match=rf"{name}: must have the columns .*, but {column} is missing\. Write it with: tinysi",
    ):
        write_run_report(run)


@pytest.mark.parametrize("name", [run_folder.HISTORY, run_folder.STEPS, run_folder.MODEL])
def test_a_folder_in_the_place_of_a_file_is_told(tmp_path: Path, name: str) -> None:
    run = explain_run(make_run(tmp_path / "run"), images=20, label_issues=1)
    (run / name).unlink()
    (run / name).mkdir()
    with pytest.raises(
        RunError,
        match=rf"{name}: must be a readable file, but Is a directory\. Name a run folder that",
    ):
        write_run_report(run)


def test_a_report_about_nothing_is_refused() -> None:
    with pytest.raises(RunError, match="A report must be about at least one run, none was named"):
        write_run_report([])
