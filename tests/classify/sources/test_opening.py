from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import image_folder_files, write_zip
from tinysight.classify.sources.opening import open_source
from tinysight.errors import DataError


def test_a_zip_is_known_by_its_content_not_by_its_name(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "download", image_folder_files())
    assert open_source(path).layout == "image folder"


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="nowhere: must be a folder or an archive that can be read, No such file or"
    ):
        open_source(tmp_path / "nowhere")


def test_an_unknown_file_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"GIF89a")
    with pytest.raises(
        DataError,
        match=r"a.bin: must be a zip archive, a Parquet file or a CIFAR tar archive, begins with "
        r"b'GIF8'. Check that this is the right file.",
    ):
        open_source(tmp_path / "a.bin")


def test_a_zip_by_name_that_is_none_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"<html>")
    with pytest.raises(
        DataError, match=r"a.zip: must be a whole zip archive, it begins with b'<htm'"
    ):
        open_source(tmp_path / "a.zip")
