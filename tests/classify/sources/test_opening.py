from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.builders import image_folder_files, tiny_imagenet_files, write_tree, write_zip
from tinysight.classify.pack import pack_store
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


def test_a_path_that_cannot_be_looked_at_is_told(tmp_path: Path) -> None:
    # Root may look into every folder, but no name is so long.
    with pytest.raises(
        DataError, match=r"must be a folder or an archive that can be read, File name too long. Che"
    ):
        open_source(tmp_path / ("long" * 100))


def test_a_folder_that_cannot_be_listed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(
        DataError, match=r"source must be readable, Permission denied. Change its permissions or l"
    ):
        open_source(tmp_path)


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_tiny_imagenet_is_found_beside_other_files(tmp_path: Path, form: str) -> None:
    files = {f"tiny-imagenet-200/{name}": data for name, data in tiny_imagenet_files().items()}
    files |= {"tiny-imagenet-200.zip": b"PK", "notes/words.txt": b"my words"}
    path = tmp_path / "data"
    index = open_source(write_zip(path, files) if form == "zip" else write_tree(path, files))
    assert (index.layout, index.num_unlabelled) == ("Tiny ImageNet", 0)
    assert sorted(index.ignored) == ["notes/words.txt", "tiny-imagenet-200.zip"]
    assert sum(image.original_split == "val" for image in index.images) == 6
    assert "train/n01/n01_0.JPEG" in {image.sample_id for image in index.images}
    assert next(iter(index.read())) == files[f"tiny-imagenet-200/{index.images[0].file}"]


def test_two_tiny_imagenets_are_not_chosen_from(tmp_path: Path) -> None:
    files = {f"a/{name}": data for name, data in tiny_imagenet_files().items()}
    files |= {f"old/b/{name.removeprefix('a/')}": data for name, data in files.items()}
    with pytest.raises(
        DataError,
        match=r"data: a source must hold Tiny ImageNet once, found its lists in 2 folders: a, "
        r"old/b. Pass a folder or an archive that holds only one.",
    ):
        open_source(write_tree(tmp_path / "data", files))


def test_a_table_beside_images_does_not_make_them_parquet(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "data", image_folder_files())
    table = pa.table({"file_name": ["cat/0.png"], "photographer": ["Ann"]})
    pq.write_table(table, path / "metadata.parquet")
    index = open_source(path)
    assert (index.layout, len(index.ignored)) == ("image folder", 1)


def test_a_store_inside_a_source_is_not_taken_for_it(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "data", image_folder_files())
    before = open_source(path)
    pack_store(before, path / "store", size_px=16, num_workers=1)
    again = open_source(path)
    assert (again.layout, len(again.images)) == ("image folder", len(before.images))


def test_a_store_and_a_run_are_no_images_to_pack(tmp_path: Path) -> None:
    source = write_tree(tmp_path / "photos", image_folder_files())
    pack_store(open_source(source), tmp_path / "store", num_workers=1)
    with pytest.raises(
        DataError,
        match=r"store: a source must be images to pack, but this is a packed store already\. "
        r"Train on it with: tinysight train .*store --out RUN$",
    ):
        open_source(tmp_path / "store")
    run = write_tree(tmp_path / "run", {"run.json": b"{}", "recipe.toml": b"", "curves.png": b""})
    with pytest.raises(
        DataError,
        match=r"run: a source must be images to pack, but this is the folder of a run\. Name the "
        r"folder or archive that holds the images\.$",
    ):
        open_source(run)


def test_parquet_that_holds_no_images_is_told_where_nothing_else_does(tmp_path: Path) -> None:
    pq.write_table(pa.table({"file_name": ["cat/0.png"]}), tmp_path / "metadata.parquet")
    with pytest.raises(DataError, match=r"metadata\.parquet: must have one column of image bytes"):
        open_source(tmp_path)


def test_damaged_parquet_beside_images_is_told(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "data", image_folder_files() | {"a.parquet": b"PAR1 and no more"})
    with pytest.raises(DataError, match=r"a\.parquet: must be"):
        open_source(path)


def test_an_image_folder_may_have_a_words_txt(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "data", image_folder_files() | {"cat/words.txt": b"purr"})
    assert open_source(path).layout == "image folder"


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
