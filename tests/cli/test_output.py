from __future__ import annotations

import os
from pathlib import Path

import pytest

from tinysight.cli.output import check_file_to_write
from tinysight.errors import RunError


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


def test_a_folder_that_may_not_be_looked_into_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "stat", refuse)  # what Path.is_dir asks of Python 3.11 raises this
    with pytest.raises(RunError, match="--out must be in a folder that exists, and none is seen"):
        check_file_to_write(tmp_path / "a.png")
