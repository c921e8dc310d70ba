import errno
import json
import os
import stat
from pathlib import Path
from typing import IO

import pytest

from tinysight import whole_files
from tinysight.errors import RunError


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    whole_files.write_text(path, "old")
    whole_files.write_text(path, "new")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_a_file_has_the_permissions_that_the_umask_leaves(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        whole_files.write_text(tmp_path / "a.txt", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o666 & ~umask


def test_a_failure_while_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    whole_files.write_text(path, "old")

    def fail(file: IO[bytes]) -> None:
        file.write(b"half of it")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        whole_files.replace_file(path, fail)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_full_disk_is_said_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    whole_files.write_text(path, "old")

    def fill(file: IO[bytes]) -> None:
        file.write(b"x" * 100)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(
        RunError,
        match=r"a\.txt: the disk must have room for the file, but it is full \(No space .*\)\. "
        r"Nothing was left half-written; make room and run the command again",
    ):
        whole_files.replace_file(path, fill)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"b/a\.txt: must be writable, but No such file"):
        whole_files.write_text(tmp_path / "b" / "a.txt", "x")


def test_appending_to_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"b/a\.jsonl: must be writable, but No such file"):
        whole_files.append_records(tmp_path / "b" / "a.jsonl", [{"a": 1}])


def test_a_full_disk_may_leave_half_of_what_is_appended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fill)
    with pytest.raises(
        RunError, match=r"a\.jsonl: the disk must have room .*\)\. Make room and run the command"
    ):
        whole_files.append_records(tmp_path / "a.jsonl", [{"a": 1}])


def test_records_that_cannot_be_read_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(
        RunError, match=r"a\.jsonl: must be a readable file, but Permission denied\. Name a run"
    ):
        whole_files.read_records(tmp_path / "a.jsonl")


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    assert whole_files.read_records(path) == []
    whole_files.append_records(path, [{"a": 1}, {"a": 0.1}])
    whole_files.append_records(path, [{"a": "ü\n"}])
    assert whole_files.read_records(path) == [{"a": 1}, {"a": 0.1}, {"a": "ü\n"}]


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n{"a": 2')
    assert whole_files.read_records(path) == [{"a": 1}]


def test_a_torn_line_in_the_middle_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n{"a": \n{"a": 3}\n')
    with pytest.raises(RunError, match=r"a\.jsonl: line 2 must be JSON"):
        whole_files.read_records(path)


@pytest.mark.parametrize("text", ['{"a": 1}\n3\n', '{"a": 1}\n3'])
def test_a_line_that_is_no_record_is_a_fault(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    message = r"a\.jsonl: line 2 must be one JSON object, got int\. Train the run again\.$"
    with pytest.raises(RunError, match=message):
        whole_files.read_records(path)


def test_a_number_that_json_cannot_say_becomes_null(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    whole_files.write_json(path, {"a": [float("nan"), 1.5], "b": {"c": float("inf")}})
    assert json.loads(path.read_text()) == {"a": [None, 1.5], "b": {"c": None}}


def test_a_folder_is_made_with_those_above_it(tmp_path: Path) -> None:
    whole_files.make_folder(tmp_path / "a" / "b")
    whole_files.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize(
    ("name", "reason"), [("file", "it is a file"), ("file/run", "Not a directory")]
)
def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        RunError,
        match=rf"{name}: must be a folder that can be written to, but {reason}\. Choose another "
        r"--out\.$",
    ):
        whole_files.make_folder(tmp_path / name)


def test_a_file_that_cannot_be_removed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gradcam.png"
    path.touch()
    whole_files.remove_file(path)
    whole_files.remove_file(path)
    assert not path.exists()

    def refuse(path: Path, *, missing_ok: bool) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(RunError, match=r"gradcam\.png: must be writable, but Permission denied\."):
        whole_files.remove_file(path)


def test_a_folder_of_somebody_else_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(
        RunError, match=r"must be a folder that can be written to, but Permission denied\. Choose"
    ):
        whole_files.make_folder(tmp_path)
