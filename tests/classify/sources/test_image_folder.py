from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from tests.builders import Files, encode, image_folder_files, make_pixels, write_tree, write_zip
from tinysight.classify.sources.index import ImageIndex, Unreadable
from tinysight.classify.sources.opening import open_source
from tinysight.errors import DataError

PNG = encode(make_pixels(0))


def opened(tmp_path: Path, files: Files, num_classes: int | None = None) -> ImageIndex:
    return open_source(write_tree(tmp_path / "pets", files), num_classes=num_classes)


def ids(index: ImageIndex) -> list[str]:
    return sorted(image.sample_id for image in index.images)


def images(*names: str) -> Files:
    return dict.fromkeys(names, PNG)


def test_each_folder_is_a_class_in_sorted_order(tmp_path: Path) -> None:
    index = opened(tmp_path, image_folder_files(("dog", "cat"), per_class=3))
    assert index.layout == "image folder"
    assert (index.wnids, index.class_names) == (("cat", "dog"), ("cat", "dog"))
    assert ids(index)[:2] == ["all/cat/0.png", "all/cat/1.png"]
    assert [image.class_index for image in index.images] == [0, 0, 0, 1, 1, 1]


def test_a_zip_gives_what_the_folder_gives(tmp_path: Path) -> None:
    files = image_folder_files()
    from_zip = open_source(write_zip(tmp_path / "pets.zip", files))
    assert ids(from_zip) == ids(opened(tmp_path, files))
    assert list(from_zip.read()) == [files[image.file] for image in from_zip.images]


def test_files_deeper_in_a_class_belong_to_it(tmp_path: Path) -> None:
    index = opened(tmp_path, images("cat/a/1.png", "cat/b/1.png", "dog/1.png"))
    assert ids(index) == ["all/cat/a/1.png", "all/cat/b/1.png", "all/dog/1.png"]


@pytest.mark.parametrize("wrapper", ["data", "a/b/c"])
def test_folders_around_the_classes_do_not_count(tmp_path: Path, wrapper: str) -> None:
    names = ("cat/1.png", "dog/1.png")
    index = opened(tmp_path, images(*(f"{wrapper}/{name}" for name in names)))
    assert ids(index) == ["all/cat/1.png", "all/dog/1.png"]
    assert [image.file for image in index.images] == list(names)


def test_only_files_with_the_ending_of_an_image_count(tmp_path: Path) -> None:
    files = images("cat/1.png", "cat/2.JPG", "cat/3.WebP", "dog/1.tiff")
    index = opened(tmp_path, files | {"cat/notes.txt": b"", "README": b"", "dog/.hidden.png": PNG})
    assert (len(index.images), len(index.ignored)) == (4, 2)


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("train", "val", "test"), {"train", "val", "test"}),
        (("Training", "Validation"), {"train", "val"}),
        (("train", "dev"), {"train", "val"}),
        (("train",), {"train"}),
        (("wrapper/train", "wrapper/test"), {"train", "test"}),
    ],
)
def test_train_val_and_test_above_the_classes_are_parts(
    tmp_path: Path, folders: tuple[str, ...], splits: set[str]
) -> None:
    names = [f"{folder}/{name}/1.png" for folder in folders for name in ("cat", "dog")]
    index = opened(tmp_path, images(*names))
    assert {image.original_split for image in index.images} == splits
    assert index.wnids == ("cat", "dog")


def test_a_class_called_train_among_other_classes_is_a_class(tmp_path: Path) -> None:
    assert opened(tmp_path, images("train/1.png", "bus/1.png")).wnids == ("bus", "train")


@pytest.mark.parametrize(
    ("strays", "words"),
    [
        (("docs/logo.png",), r"dogs: .* found test, train and 'docs'\. Move 'docs' elsewhere, or"),
        (("docs/a/1.png", "old/b/1.png"), "found test, train and 'docs' and 1 more"),
    ],
)
def test_images_beside_the_parts_do_not_make_classes_of_these(
    tmp_path: Path, strays: tuple[str, ...], words: str
) -> None:
    parts = [f"{part}/{name}/1.png" for part in ("train", "test") for name in ("cat", "dog")]
    with pytest.raises(DataError, match=words):
        opened(tmp_path, images(*(f"dogs/{file}" for file in (*parts, *strays))))


@pytest.mark.parametrize("unlabelled", ["test/1.png", "test/images/1.png"])
def test_a_test_part_without_classes_has_no_labels(tmp_path: Path, unlabelled: str) -> None:
    index = opened(tmp_path, images("train/cat/1.png", "train/dog/1.png", unlabelled))
    assert ids(index) == ["train/cat/1.png", "train/dog/1.png"]
    assert index.num_unlabelled == 1


def test_images_beside_the_class_folders_have_no_label(tmp_path: Path) -> None:
    index = opened(tmp_path, images("cover.png", "cat/1.png", "dog/1.png"))
    assert (len(index.images), index.num_unlabelled) == (2, 1)


def test_a_class_in_test_that_train_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"in train, 'owl' has some in test only. Add train/owl or"):
        opened(
            tmp_path,
            images("train/cat/1.png", "train/dog/1.png", "test/cat/1.png", "test/owl/1.png"),
        )


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "pets" / "owl").mkdir(parents=True)
    with pytest.raises(DataError, match="pets: every class must have images, folder owl is empty"):
        opened(tmp_path, images("cat/1.png", "dog/1.png"))


@pytest.mark.parametrize("folder", ["owl/raw", "train/owl/raw"])
def test_a_class_folder_with_only_empty_folders_is_named(tmp_path: Path, folder: str) -> None:
    (tmp_path / "pets" / folder).mkdir(parents=True)
    part, owl = folder.removesuffix("owl/raw"), folder.removesuffix("/raw")
    files = images(f"{part}cat/1.png", f"{part}dog/1.png")
    with pytest.raises(DataError, match=f"every class must have images, folder {owl} is empty"):
        opened(tmp_path, files)
    path = tmp_path / "pets.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in (f"{folder}/", *files):
            archive.writestr(name, b"")
    with pytest.raises(DataError, match=f"every class must have images, folder {owl} is empty"):
        open_source(path)


def test_classes_and_parts_that_are_links_to_others_are_read_under_both_names(
    tmp_path: Path,
) -> None:
    (tmp_path / "pets" / "train" / "ant").mkdir(parents=True)
    for place, target in (
        ("test", "val"), ("train/ant/similar", "../dog"), ("train/aaa", "cat"),
    ):  # fmt: skip
        os.symlink(target, tmp_path / "pets" / place)
    files = [f"{part}/{name}/1.png" for part in ("train", "val") for name in ("ant", "cat", "dog")]
    assert ids(opened(tmp_path, images(*files))) == [
        "test/ant/1.png", "test/cat/1.png", "test/dog/1.png",
        "train/aaa/1.png", "train/ant/1.png", "train/ant/similar/1.png",
        "train/cat/1.png", "train/dog/1.png",
        "val/ant/1.png", "val/cat/1.png", "val/dog/1.png",
    ]  # fmt: skip


@pytest.mark.parametrize("place", ["train", "train/owl", "val/owl"])
def test_a_link_in_the_place_of_a_class_that_leads_nowhere_is_named(
    tmp_path: Path, place: str
) -> None:
    parts = {"train", "val"} - {place}
    files = images(*(f"{part}/{name}/1.png" for part in parts for name in ("cat", "dog")))
    root = write_tree(tmp_path / "pets", files)
    os.symlink("/mnt/nowhere/owl", root / place)
    with pytest.raises(
        DataError,
        match=f"pets: a link in the place of a class must lead to a folder, {place} leads nowhere. "
        f"Put the folder there or remove the link.",
    ):
        open_source(root)


def test_a_link_in_the_place_of_a_class_in_an_archive_is_named(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "pets.zip", images("cat/1.png", "dog/1.png"))
    with zipfile.ZipFile(path, "a") as archive:
        entry = zipfile.ZipInfo("owl")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "dog")
    with pytest.raises(
        DataError,
        match=r"pets.zip: a link in the place of a class must lead to a folder, owl lies in an "
        r"archive, where links are not followed. Put the folder there or remove the link.",
    ):
        open_source(path)


def test_a_link_within_a_class_that_leads_nowhere_is_left_out_or_told(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "pets", images("cat/1.png", "dog/1.png"))
    for name in ("notes", "2.png"):
        os.symlink("/mnt/nowhere", root / "cat" / name)
    index = open_source(root)
    assert (len(index.ignored), list(index.read()).count(Unreadable("missing"))) == (1, 1)


@pytest.mark.parametrize("above", ["", "wrapper/", "train/", "wrapper/Train/"])
def test_folders_in_the_places_of_classes_without_images_are_known(
    tmp_path: Path, above: str
) -> None:
    files = images(*(f"{above}{name}" for name in ("cat/1.png", "dog/a/1.png")))
    others = ("owl/a/1.heic", "owl/2.heic", "dog/b/2.txt", "emu/labels.txt", "words.txt")
    index = opened(tmp_path, files | dict.fromkeys((f"{above}{name}" for name in others), b""))
    assert index.folders_without_images == (f"{above}emu", f"{above}owl")
    assert index.ignored_by_ending() == {".txt": 3, ".heic": 2}


def test_endings_are_counted_in_small_letters_and_files_may_have_none(tmp_path: Path) -> None:
    files = images("cat/1.png", "dog/1.png") | dict.fromkeys(
        ("cat/1.HEIC", "cat/2.heic", "dog/LICENSE", "README"), b""
    )
    assert opened(tmp_path, files).ignored_by_ending() == {"": 2, ".heic": 2}


def test_folders_beside_the_parts_are_in_the_place_of_no_class(tmp_path: Path) -> None:
    files = images("train/cat/1.png", "train/dog/1.png") | {"notes/cat/1.txt": b""}
    index = opened(tmp_path, files | {"val/cat/1.heic": b"", "w/train/owl/1.heic": b""})
    assert index.folders_without_images == ("val/cat",)


def test_an_empty_folder_that_is_no_class_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "pets" / "cat" / "more").mkdir(parents=True)
    assert len(opened(tmp_path, images("cat/1.png", "dog/1.png")).images) == 2


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"pets: must hold images in one folder a class \(.bmp, .*\), found 1 files and none "
        r"of them an image. Check that this is the right folder or archive.",
    ):
        opened(tmp_path, {"cat/notes.txt": b""})


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found 0 files and none of them an image"):
        open_source(tmp_path)


@pytest.mark.parametrize("name", ["cat/1.png", "pets/cat/1.png", "train/cat/1.png"])
def test_one_class_only_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        DataError, match="pets: a classifier needs at least 2 classes, found only 'cat'"
    ):
        opened(tmp_path, images(name))


def test_images_without_any_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"must hold labelled images, found none but 2 without a label \(it was taken for the "
        r"layout image folder\). Put the images of each class in a folder of their own, or check",
    ):
        opened(tmp_path, images("1.png", "2.png"))


def test_a_class_of_files_that_are_no_images_is_named_where_it_is_missed(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"needs at least 2 classes, found only 'cat', and folders without an image that can "
        r"be read, such as 'dog'. Put",
    ):
        opened(tmp_path, {**images("cat/1.png"), "dog/1.heic": b"\0"})
