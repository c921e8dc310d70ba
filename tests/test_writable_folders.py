from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from tinysight.writable_folders import why_not_writable


def test_a_folder_that_can_be_written_has_no_reason_against_it(tmp_path: Path) -> None:
    assert why_not_writable(tmp_path) == ""


@pytest.mark.skipif(not hasattr(os, "statvfs"), reason="the system does not tell")
@pytest.mark.parametrize(
    ("flags", "reason"), [(0, errno.EACCES), (getattr(os, "ST_RDONLY", 1), errno.EROFS)]
)
def test_permissions_are_told_from_a_file_system_that_is_read_only(
    flags: int, reason: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=flags))
    assert why_not_writable(tmp_path) == os.strerror(reason)


def test_a_folder_that_hides_itself_is_a_matter_of_permissions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(os, "statvfs", refuse, raising=False)
    assert why_not_writable(tmp_path) == os.strerror(errno.EACCES)
