from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import Files, tiny_imagenet_files, write_tree, write_zip
from tinysight.classify.sources.index import ImageIndex
from tinysight.classify.sources.opening import open_source
from tinysight.errors import DataError

ANNOTATIONS = "val/val_annotations.txt"


def opened(tmp_path: Path, files: Files, num_classes: int | None = None) -> ImageIndex:
    return open_source(write_tree(tmp_path / "tiny", files), num_classes=num_classes)


def test_classes_are_numbered_in_sorted_order_and_named_by_words_txt(tmp_path: Path) -> None:
    index = opened(tmp_path, tiny_imagenet_files(classes=3))
    assert index.layout == "Tiny ImageNet"
    assert index.wnids == ("n01", "n02", "n03")
    assert index.class_names[0] == "name of n01, other"


def test_every_image_has_its_class_box_and_part(tmp_path: Path) -> None:
    index = opened(tmp_path, tiny_imagenet_files(classes=3, per_class=4, val_per_class=2))
    assert len(index.images) == 3 * 6
    images = {image.sample_id: image for image in index.images}
    train = images["train/n03/n03_2.JPEG"]
    assert train.file == "train/n03/images/n03_2.JPEG"
    assert (train.class_index, train.original_split, train.box_xyxy_px) == (
        2,
        "train",
        (0, 1, 2, 7),
    )
    val = images["val/n03/val_1.JPEG"]
    assert (val.class_index, val.original_split, val.box_xyxy_px) == (2, "val", (1, 2, 3, 4))


def test_payloads_are_the_bytes_of_the_files_in_order(tmp_path: Path) -> None:
    files = tiny_imagenet_files(classes=2, per_class=3)
    index = opened(tmp_path, files)
    assert list(index.read()) == [files[image.file] for image in index.images]


def test_first_classes_are_those_of_the_class_list_not_of_the_sorted_one(tmp_path: Path) -> None:
    index = opened(tmp_path, tiny_imagenet_files(classes=3), num_classes=2)
    assert index.wnids == ("n01", "n03")
    assert {image.sample_id.split("/")[1] for image in index.images} == {"n01", "n03"}


def test_more_classes_than_there_are_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--classes \(=4\) must be at most .* classes \(=3\)"):
        opened(tmp_path, tiny_imagenet_files(classes=3), num_classes=4)


def test_unlabelled_test_images_and_other_files_are_counted_and_left_out(tmp_path: Path) -> None:
    files = tiny_imagenet_files() | {"test/images/test_0.JPEG": b"x", "notes.txt": b"x"}
    index = opened(tmp_path, files)
    assert (index.num_unlabelled, len(index.ignored)) == (1, 1)
    assert not any("test" in image.sample_id for image in index.images)


def test_a_class_without_words_is_named_by_its_id(tmp_path: Path) -> None:
    files = tiny_imagenet_files()
    del files["words.txt"]
    assert opened(tmp_path, files).class_names == ("n01", "n02", "n03")


@pytest.mark.parametrize("wrapper", ["", "tiny-imagenet-200/", "data/tiny-imagenet-200/"])
def test_folders_around_the_official_tree_do_not_count(tmp_path: Path, wrapper: str) -> None:
    files = {f"{wrapper}{name}": content for name, content in tiny_imagenet_files().items()}
    from_tree = opened(tmp_path, files)
    from_zip = open_source(write_zip(tmp_path / "tiny.zip", files))
    for index in (from_tree, from_zip):
        assert index.layout == "Tiny ImageNet"
        assert "train/n01/n01_0.JPEG" in {image.sample_id for image in index.images}


def test_missing_class_list_is_named(tmp_path: Path) -> None:
    files = tiny_imagenet_files()
    del files["wnids.txt"]
    with pytest.raises(DataError, match=r"tiny: wnids.txt must be there and readable, it is miss"):
        opened(tmp_path, files)


def test_annotated_class_without_a_folder_is_named(tmp_path: Path) -> None:
    files = tiny_imagenet_files(classes=3)
    files = {name: content for name, content in files.items() if not name.startswith("train/n03")}
    with pytest.raises(
        DataError,
        match=r"tiny: val/val_annotations.txt gives val_0.JPEG the class n03, so "
        r"train/n03/images must hold images; it has none. Get the whole data set again.",
    ):
        opened(tmp_path, files)


def test_annotated_class_that_is_not_listed_is_named_with_its_line(tmp_path: Path) -> None:
    files = tiny_imagenet_files(classes=2)
    files[ANNOTATIONS] += b"val_9.JPEG\tn99\t0\t0\t1\t1\n"
    with pytest.raises(
        DataError, match=r"val_annotations.txt line 5: .* one of wnids.txt, found 'n9"
    ):
        opened(tmp_path, files)


def test_listed_class_without_a_folder_is_named(tmp_path: Path) -> None:
    files = tiny_imagenet_files(classes=2)
    files["wnids.txt"] += b"n99\n"
    with pytest.raises(
        DataError, match=r"wnids.txt lists n99, so train/n99/images must hold images"
    ):
        opened(tmp_path, files)


@pytest.mark.parametrize("folder", ["train/n99/images", "val/n99", "val/n99/images"])
@pytest.mark.parametrize("is_annotated", [True, False])
def test_class_that_is_not_listed_is_named(tmp_path: Path, folder: str, is_annotated: bool) -> None:
    files = tiny_imagenet_files(classes=2, val_per_class=0) | {f"{folder}/n99_0.JPEG": b"x"}
    if not is_annotated:
        del files[ANNOTATIONS]
    with pytest.raises(
        DataError,
        match=f"tiny: wnids.txt must list every class that has images, {folder}/n99_0.JPEG is of "
        "'n99', which it lacks. Add the class to wnids.txt or remove its folders.",
    ):
        opened(tmp_path, files)


def test_train_images_that_the_boxes_name_but_are_missing_are_counted(tmp_path: Path) -> None:
    files = tiny_imagenet_files(classes=2)
    for name in ("n01_7", "n01_8", "n03_2"):
        del files[f"train/{name[:3]}/images/{name}.JPEG"]
    with pytest.raises(
        DataError,
        match=r"tiny: train/n01/n01_boxes.txt lists n01_7.JPEG, so train/n01/images must hold it; "
        r"3 of 20 images are missing. Get the whole data set again.",
    ):
        opened(tmp_path, files)


def test_missing_annotations_are_named(tmp_path: Path) -> None:
    files = tiny_imagenet_files()
    del files[ANNOTATIONS]
    with pytest.raises(
        DataError, match=r"tiny: val/val_annotations.txt must be there and readable"
    ):
        opened(tmp_path, files)


@pytest.mark.parametrize("folder", ["", "images/"])
def test_val_images_sorted_into_class_folders_are_the_same_samples(
    tmp_path: Path, folder: str
) -> None:
    files = tiny_imagenet_files(classes=2)
    sorted_files = {
        name.replace("val/images/", f"val/{'n03' if number < 2 else 'n01'}/{folder}"): content
        for number, (name, content) in enumerate(
            sorted(files.items(), key=lambda item: not item[0].startswith("val/images"))
        )
    }
    as_published = opened(tmp_path / "a", files)
    as_sorted = opened(tmp_path / "b", sorted_files)
    without_place = [image._replace(location="") for image in as_sorted.images]
    assert sorted(without_place) == sorted(i._replace(location="") for i in as_published.images)
    del sorted_files[ANNOTATIONS]
    assert len(opened(tmp_path / "c", sorted_files).images) == len(as_published.images)


def test_class_listed_twice_is_named(tmp_path: Path) -> None:
    files = tiny_imagenet_files(classes=2)
    files["wnids.txt"] += b"n03\n"
    with pytest.raises(DataError, match="every class must be listed once, 'n03' is there 2 times"):
        opened(tmp_path, files)


def test_annotated_image_that_is_missing_is_named(tmp_path: Path) -> None:
    files = tiny_imagenet_files(classes=2)
    del files["val/images/val_3.JPEG"]
    with pytest.raises(
        DataError, match=r"lists val_3.JPEG, so val/images must hold it; 1 of 4 images"
    ):
        opened(tmp_path, files)


def test_image_annotated_twice_is_named(tmp_path: Path) -> None:
    files = tiny_imagenet_files(classes=2)
    files[ANNOTATIONS] += b"val_0.JPEG\tn01\t0\t0\t1\t1\n"
    with pytest.raises(
        DataError, match=r"line 5: an image must have one line, val_0.JPEG has a sec"
    ):
        opened(tmp_path, files)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"val_9.JPEG n03 0 0 1 1\n", "line 5: must have 6 fields with tabs between them, found 1"),
        (
            b"val_9.JPEG\tn03\t0\t0\t1\tx\n",
            "line 5: a box must be 4 whole numbers, found '0 0 1 x'",
        ),
        (
            b"val_9.JPEG\tn03\t0\t0\t2147483648\t1\n",
            r"line 5: a box must be 4 whole numbers of pixels \(32 bits\), found '0 0 21474836",
        ),
        (b"\xff\xfe\n", "val/val_annotations.txt must be UTF-8 text, byte 92 is not"),
    ],
)
def test_malformed_annotations_are_named_by_line(tmp_path: Path, line: bytes, message: str) -> None:
    files = tiny_imagenet_files(classes=2)
    files[ANNOTATIONS] += line
    with pytest.raises(DataError, match=message):
        opened(tmp_path, files)


def test_box_of_a_class_beyond_32_bits_is_named_by_file_and_line(tmp_path: Path) -> None:
    files = tiny_imagenet_files(classes=2)
    name = next(name for name in files if name.endswith("_boxes.txt"))
    first, *others = files[name].decode().splitlines()
    files[name] = "\n".join([first, *others[:-1], f"x.JPEG\t0\t0\t{-(10**40)}\t1"]).encode()
    with pytest.raises(
        DataError,
        match=rf"^{name} line {1 + len(others)}: a box must be 4 whole numbers of pixels "
        r"\(32 bits\), found '0 0 -1000000.*0000000000 1'. Correct the line, or get",
    ):
        opened(tmp_path, files)
