from __future__ import annotations

import csv
import hashlib
import json
import os
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinysight import samples
from tinysight.errors import DataError
from tinysight.samples import SAMPLE_CLASSES, SamplesSummary, draw_samples


def digests(root: Path) -> dict[str, str]:
    """SHA-256 of every file below ``root``, by its path."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def rows_of(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> SamplesSummary:
    dest = tmp_path_factory.mktemp("samples") / "shapes"
    return draw_samples(dest, train_per_class=20, val_per_class=6, test_images=5, seed=3)


def test_tree_is_laid_out_as_the_official_one(drawn: SamplesSummary) -> None:
    root = drawn.path
    wnids = [wnid for (wnid,) in rows_of(root / "wnids.txt")]
    assert len(wnids) == len(SAMPLE_CLASSES) == 10
    assert wnids != sorted(wnids)
    words = dict(rows_of(root / "words.txt"))
    assert [words[wnid].split(",")[0] for wnid in wnids] == list(SAMPLE_CLASSES)
    assert len(words) > len(wnids)
    for wnid in wnids:
        names = {f"{wnid}_{number}.JPEG" for number in range(20)}
        assert {path.name for path in (root / "train" / wnid / "images").iterdir()} == names
        boxes = rows_of(root / "train" / wnid / f"{wnid}_boxes.txt")
        assert {row[0] for row in boxes} == names
    val_rows = rows_of(root / "val" / "val_annotations.txt")
    assert [row[0] for row in val_rows] == [f"val_{number}.JPEG" for number in range(60)]
    assert Counter(row[1] for row in val_rows) == dict.fromkeys(wnids, 6)
    assert {path.name for path in (root / "val" / "images").iterdir()} == {r[0] for r in val_rows}
    assert len(list((root / "test" / "images").iterdir())) == 5
    assert {path.name for path in root.iterdir()} == {
        *("train", "val", "test", "wnids.txt", "words.txt", "boxes_coco.json", "mislabelled.csv")
    }


def test_images_are_jpeg_of_64_by_64_and_some_are_grey(drawn: SamplesSummary) -> None:
    modes: Counter[str] = Counter()
    for path in drawn.path.rglob("*.JPEG"):
        with Image.open(path) as image:
            assert (image.format, image.size) == ("JPEG", (64, 64))
            modes[image.mode] += 1
    assert modes == {"RGB": 265 - drawn.grey_images, "L": drawn.grey_images}
    assert drawn.grey_images > 0


def test_summary_counts_what_is_on_disk(drawn: SamplesSummary) -> None:
    assert (drawn.train_images, drawn.val_images, drawn.test_images) == (200, 60, 5)
    assert drawn.classes == SAMPLE_CLASSES


def test_wrong_labels_are_listed_and_only_those(drawn: SamplesSummary) -> None:
    with open(drawn.path / "mislabelled.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == drawn.mislabelled_images == 1 + 4 + 1  # the twin, 2 % of train, of val
    wnid_of_val = {f"val/images/{row[0]}": row[1] for row in rows_of(drawn.path / VAL_LIST)}
    for row in rows:
        assert row["wnid"] != row["true_wnid"]
        wnid = wnid_of_val.get(row["file"]) or row["file"].split("/")[1]
        assert wnid == row["wnid"]


VAL_LIST = "val/val_annotations.txt"


def test_one_pair_is_the_same_to_the_byte_under_two_labels(drawn: SamplesSummary) -> None:
    files_of = defaultdict(list)
    for file, digest in digests(drawn.path).items():
        if file.endswith(".JPEG"):
            files_of[digest].append(file)
    pairs = [files for files in files_of.values() if len(files) > 1]
    assert drawn.twins is not None
    original, copy = drawn.twins
    assert pairs == [sorted(drawn.twins)]
    assert original.split("/")[1] != copy.split("/")[1]
    assert f"\n{copy}," in (drawn.path / "mislabelled.csv").read_text()
    assert original not in (drawn.path / "mislabelled.csv").read_text()


def test_coco_file_has_the_box_of_every_labelled_image(drawn: SamplesSummary) -> None:
    coco = json.loads((drawn.path / "boxes_coco.json").read_text())
    assert [category["name"] for category in coco["categories"]] == list(SAMPLE_CLASSES)
    assert len(coco["images"]) == len(coco["annotations"]) == 260
    official = {}
    wnids = [wnid for (wnid,) in rows_of(drawn.path / "wnids.txt")]
    for wnid in wnids:
        for name, *box in rows_of(drawn.path / "train" / wnid / f"{wnid}_boxes.txt"):
            official[f"train/{wnid}/images/{name}"] = (wnid, *map(int, box))
    for name, wnid, *box in rows_of(drawn.path / VAL_LIST):
        official[f"val/images/{name}"] = (wnid, *map(int, box))
    for image, annotation in zip(coco["images"], coco["annotations"], strict=True):
        assert annotation["image_id"] == image["id"]
        x, y, width, height = annotation["bbox"]
        wnid = wnids[annotation["category_id"] - 1]
        assert official[image["file_name"]] == (wnid, x, y, x + width - 1, y + height - 1)
        assert (drawn.path / image["file_name"]).is_file()
        assert annotation["area"] == width * height > 0


def test_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        draw_samples(tmp_path / name, train_per_class=4, val_per_class=1, test_images=2, seed=seed)
    one, same, other = (digests(tmp_path / name) for name in ("one", "same", "other"))
    assert one == same
    fixed = {"wnids.txt", "words.txt"}
    assert {file for file in one if one[file] == other.get(file)} == fixed


def test_larger_data_set_holds_the_smaller_one_but_for_wrong_labels(tmp_path: Path) -> None:
    small = draw_samples(tmp_path / "small", train_per_class=4, val_per_class=0)
    large = draw_samples(tmp_path / "large", train_per_class=6, val_per_class=0)
    wrong = (small.path / "mislabelled.csv").read_text() + (
        large.path / "mislabelled.csv"
    ).read_text()
    ours, theirs = digests(small.path), digests(large.path)
    files = [file for file in ours if file.startswith("train/") and file.endswith(".JPEG")]
    right = [file for file in files if f"\n{file}," not in wrong]
    assert len(right) >= len(files) - 4
    assert all(ours[file] == theirs[file] for file in right)


def test_no_numpy_global_generator_is_touched(tmp_path: Path) -> None:
    np.random.seed(7)  # noqa: NPY002
    expected = np.random.RandomState(7).random_sample()
    draw_samples(tmp_path / "shapes", train_per_class=1, val_per_class=1, test_images=0)
    assert np.random.random_sample() == expected  # noqa: NPY002


def test_one_class_alone_has_no_wrong_label_and_no_twin(tmp_path: Path) -> None:
    summary = draw_samples(
        tmp_path / "one", classes=["heart"], train_per_class=2, val_per_class=0, test_images=0
    )
    assert (summary.mislabelled_images, summary.twins) == (0, None)
    assert (summary.path / "mislabelled.csv").read_text() == "file,wnid,true_wnid\n"
    assert not (summary.path / "val").exists()


def test_progress_is_reported_image_by_image(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    draw_samples(
        tmp_path / "shapes",
        classes=["ring", "star"],
        train_per_class=2,
        val_per_class=1,
        test_images=1,
        report=lambda *now: seen.append(now),
    )
    assert seen == [(done, 7) for done in range(1, 8)]


def test_unknown_class_is_named(tmp_path: Path) -> None:
    message = (
        r"`classes` must be different names out of circle, ring, .*heart, found circle, blob\. "
        r"Leave out the others\."
    )
    with pytest.raises(DataError, match=message):
        draw_samples(tmp_path / "shapes", classes=["circle", "blob"])
    with pytest.raises(DataError, match=r"found none\. Leave"):
        draw_samples(tmp_path / "shapes", classes=[])
    with pytest.raises(DataError, match=r"found ring, ring\. Leave"):
        draw_samples(tmp_path / "shapes", classes=["ring", "ring"])


def test_impossible_counts_are_named(tmp_path: Path) -> None:
    message = (
        r"`train_per_class` \(=0\) must be at least 1, `val_per_class` \(=-1\) and "
        r"`test_images` \(=2\) at least 0\."
    )
    with pytest.raises(DataError, match=message):
        draw_samples(tmp_path / "shapes", train_per_class=0, val_per_class=-1, test_images=2)


def test_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    message = r"must be absent or empty, found something there\. Choose another folder or delete"
    with pytest.raises(DataError, match=message):
        draw_samples(tmp_path)
    assert os.listdir(tmp_path) == ["mine.txt"]


def test_empty_folder_is_used(tmp_path: Path) -> None:
    dest = tmp_path / "empty"
    dest.mkdir()
    draw_samples(dest, classes=["star"], train_per_class=1, val_per_class=0, test_images=0)
    assert (dest / "wnids.txt").is_file()


def test_full_disk_leaves_nothing_half_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(samples, "_write_mislabelled", fail)
    message = (
        r"shapes: the samples \(5 images\) must fit there, found: No space left on device\. "
        r"Make room or choose another folder\."
    )
    with pytest.raises(DataError, match=message):
        draw_samples(
            tmp_path / "shapes",
            classes=["ring", "star"],
            train_per_class=1,
            val_per_class=1,
            test_images=1,
        )
    assert os.listdir(tmp_path) == []
