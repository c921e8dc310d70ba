from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from tests.report.runs import explain_run, make_run
from tinysight import run_folder, whole_files
from tinysight.classify.diagnosis import diagnose_run
from tinysight.cli import FAULT, OK, USAGE, main
from tinysight.errors import RunError
from tinysight.report.classify_page import build_run_page
from tinysight.report.page_html import render_page
from tinysight.report.run_results import load_run_results


def test_page_is_what_the_library_makes(tmp_path: Path) -> None:
    run = explain_run(make_run(tmp_path / "run"), images=20)
    assert main(["report", str(run)]) == OK
    page = build_run_page(load_run_results(run), diagnose_run(run))
    assert (run / "report.html").read_text(encoding="utf-8") == render_page(page)


def test_page_is_named_and_a_second_one_is_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = explain_run(make_run(tmp_path / "run"), images=20)
    pages = []
    for _ in range(2):
        assert main(["report", str(run)]) == OK
        pages.append((run / "report.html").read_bytes())
    assert pages[0] == pages[1]
    out = capsys.readouterr().out
    assert f"page        {run / 'report.html'} (" in out
    assert "explain" not in out


def test_run_that_was_not_explained_gets_a_page_and_a_hint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run")
    assert main(["report", str(run)]) == OK
    assert f"add them with: tinysight explain {run}" in capsys.readouterr().out


def test_run_that_is_not_finished_gets_a_page_and_the_command_that_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run")
    for name in (run_folder.MODEL, run_folder.METRICS):
        (run / name).unlink()
    assert main(["report", str(run)]) == OK
    moved = run_folder.read_run(run)["store"]
    assert (
        f"the run is not finished; go on with: tinysight train STORE --out {run} --resume; "
        f"{moved}, where its store was, is no longer there\n"
    ) in capsys.readouterr().out
    assert "tinysight evaluate" not in (run / "report.html").read_text(encoding="utf-8")
    about = run_folder.read_run(run) | {"store": str(tmp_path)}
    whole_files.write_json(run / run_folder.RUN, about)
    assert main(["report", str(run)]) == OK
    assert (
        f"the run is not finished; go on with: tinysight train {tmp_path} --out {run} --resume\n"
    ) in capsys.readouterr().out


def test_commands_can_be_typed_where_names_have_blanks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "my first run")
    assert main(["report", str(run)]) == OK
    command = capsys.readouterr().out.partition("add them with: ")[2]
    assert shlex.split(command) == ["tinysight", "explain", str(run)]
    (run / run_folder.MODEL).unlink()
    assert main(["report", str(run)]) == OK
    command = capsys.readouterr().out.partition("go on with: ")[2].partition(";")[0]
    assert shlex.split(command)[-3:] == ["--out", str(run), "--resume"]
    (run / run_folder.METRICS).write_text("{")
    with pytest.raises(RunError) as fault:
        run_folder.read_metrics(run)
    assert shlex.split(str(fault.value).partition("Write it with: ")[2])[-1] == str(run)


def test_several_runs_make_one_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [make_run(tmp_path / name) for name in "ab"]
    out = tmp_path / "both.html"
    assert main(["report", *map(str, runs), "--out", str(out), "--json"]) == OK
    said = json.loads(capsys.readouterr().out)
    assert said == {
        "runs": [str(run) for run in runs],
        "page": str(out),
        "bytes": out.stat().st_size,
        "is_explained": False,
    }


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("page.pdf", "--out must be a file that ends with .html. Choose another name."),
        ("absent/page.html", "--out must be in a folder that exists, "),
    ],
)
def test_page_that_cannot_be_written_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str, message: str
) -> None:
    assert main(["report", str(tmp_path / "no-run"), "--out", str(tmp_path / out)]) == FAULT
    assert message in capsys.readouterr().err


def test_folder_that_is_no_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == FAULT
    assert "run.json: must be a readable file" in capsys.readouterr().err


def test_report_without_a_run_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["report"])
    assert end.value.code == USAGE


def test_no_word_of_a_run_steers_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run")
    about = run_folder.read_run(run) | {"store": "/data/\x1b]0;title\x07\nrm -rf x"}
    whole_files.write_json(run / run_folder.RUN, about)
    (run / run_folder.MODEL).unlink()
    assert main(["report", str(run)]) == OK
    said = capsys.readouterr().out
    assert "; /data/ ]0;title  rm -rf x, where its store was, is no longer there\n" in said
    assert said.count("\n") == 2


def test_a_run_that_may_not_be_written_into_is_told_how_to_write_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run")
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != run)
    assert main(["report", str(run)]) == FAULT
    assert capsys.readouterr().err == (
        f"tinysight: {run}: must be a folder that can be written to, but Permission denied. "
        f"Change its permissions, or name another place with --out FILE.html.\n"
    )
    assert main(["report", str(run), "--out", str(tmp_path / "page.html")]) == OK
