from pathlib import Path

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


def test_a_report_about_nothing_is_refused() -> None:
    with pytest.raises(RunError, match="A report must be about at least one run, none was named"):
        write_run_report([])
