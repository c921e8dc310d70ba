from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.boxes.annotation_files import make_coco, write_json
from tinysight.cli import main
from tinysight.cli.output import check_file_to_write, print_faults, print_lines
from tinysight.errors import RunError


def test_no_sign_of_a_name_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_lines(["dog \x1b[31mred\r\n\u202e\x7f", "", "Bär 犬 █"])
    assert capsys.readouterr().out == "dog  [31mred    \n\nBär 犬 █\n"


@pytest.mark.parametrize("command", ["summary", "check", "explain", "score"])
def test_names_of_a_file_are_shown_on_one_line(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["a\x1b[31mb\rc", "d\ne"]
    value = make_coco(categories=[{"id": row, "name": name} for row, name in enumerate(names, 1)])
    value["annotations"].append({**value["annotations"][0], "id": "\x1b[2J", "category_id": 5})
    path = write_json(tmp_path / "a.json", value)
    more = ["--anchors", "yolov5-p5"] if command == "score" else []
    main(["boxes", command, str(path), *more])
    out = capsys.readouterr().out
    assert not {sign for sign in out if not sign.isprintable()} - {"\n"}
    assert ("a [31mb c" in out) == (command != "check")


def test_a_fault_shows_the_name_of_a_file_on_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["boxes", "check", str(tmp_path / "a\x1b[2Jb")]) == 1
    assert capsys.readouterr().err.startswith(f"tinysight: {tmp_path}/a [2Jb: must be a file or")


def test_a_file_in_a_folder_that_exists_may_be_written(tmp_path: Path) -> None:
    check_file_to_write(tmp_path / "a.PNG", suffixes=(".png",))
    check_file_to_write(tmp_path / "a")
    (tmp_path / "a").touch()
    check_file_to_write(tmp_path / "a")


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    place = os.path.join(str(tmp_path), "absent")
    for name, text in {
        "a.gif": "--sheet must be a file that ends with .png. Choose another name.",
        "folder.png": "--sheet must be a file, but a folder has this name. Choose another.",
        "absent/a.png": (
            f"--sheet must be in a folder that exists, and none is seen at {place}. Make it or "
            f"choose another."
        ),
    }.items():
        (tmp_path / "folder.png").mkdir(exist_ok=True)
        with pytest.raises(RunError) as fault:
            check_file_to_write(tmp_path / name, option="--sheet", suffixes=(".png",))
        assert str(fault.value) == f"{tmp_path / name}: {text}"


def test_a_folder_that_may_not_be_written_into_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    for name in ("a.png", "new.png"):
        with pytest.raises(RunError) as fault:
            check_file_to_write(tmp_path / name)
        assert str(fault.value) == (
            f"{tmp_path / name}: --out must be in a folder that can be written to, but for "
            f"{tmp_path}: Permission denied. Mend that or choose another folder."
        )


def test_a_folder_that_may_not_be_looked_into_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "stat", refuse)  # what Path.is_dir asks of Python 3.11 raises this
    with pytest.raises(RunError, match="--out must be in a folder that exists, and none is seen"):
        check_file_to_write(tmp_path / "a.png")


def test_faults_go_to_stderr_one_on_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_faults([])
    print_faults(["a\x1b]0;b\x07\nrm -rf c", "d"])
    assert capsys.readouterr() == ("", "a ]0;b  rm -rf c\nd\n")
