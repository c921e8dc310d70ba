"""A small data set of shapes in the layout of Tiny ImageNet, drawn without data or network.

It has what makes real data hard: shapes that are easily confused, clutter, grey images, wrong
labels and one picture filed under two classes. The wrong labels are listed, so that a search for
them can be checked against the truth.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from tinysight.classify.randomness import keyed_generator
from tinysight.errors import DataError
from tinysight.shapes import ShapePicture, draw_shape

IMAGE_SIZE_PX = 64
MISLABELLED_SHARE = 0.02
"""Share of the labelled images of each split whose label is wrong, the pair of twins aside."""
MISLABELLED_FILE = "mislabelled.csv"
COCO_FILE = "boxes_coco.json"

# Made-up WordNet ids: real ones begin with n0 or n1. Like the official ones they are not in
# ascending order, so that code that sorts them is found out.
_WNIDS_AND_WORDS: Mapping[str, tuple[str, str]] = {
    "circle": ("n90000014", "circle, disc"),
    "ring": ("n90000002", "ring, annulus"),
    "crescent": ("n90000027", "crescent, lune"),
    "square": ("n90000009", "square"),
    "diamond": ("n90000031", "diamond, rhombus"),
    "triangle": ("n90000005", "triangle"),
    "hexagon": ("n90000022", "hexagon"),
    "star": ("n90000018", "star, pentagram"),
    "cross": ("n90000011", "cross, plus sign"),
    "heart": ("n90000040", "heart"),
}
_WORDS_OF_NO_CLASS = {
    "n90000000": "shape, form",
    "n90000001": "plane figure, two-dimensional figure",
}

SAMPLE_CLASSES = tuple(_WNIDS_AND_WORDS)
"""The classes that can be drawn, in the order of their indices."""


@dataclass(frozen=True)
class SamplesSummary:
    """What was drawn."""

    path: Path
    classes: tuple[str, ...]
    train_images: int
    val_images: int
    test_images: int
    grey_images: int
    mislabelled_images: int
    """Labelled images that show another shape than their class; listed in ``mislabelled.csv``."""
    twins: tuple[str, str] | None
    """Two files with the same bytes and different labels; the label of the second is wrong."""


@dataclass(frozen=True)
class _Sample:
    """One image to be drawn."""

    split: str
    file: str
    class_name: str
    shows: str | None = None
    """The shape, where it is not that of the class."""
    twin: str | None = None
    """The file of which it is a copy."""

    @property
    def shape(self) -> str:
        return self.shows or self.class_name

    @property
    def is_mislabelled(self) -> bool:
        return self.shows is not None


def draw_samples(
    dest: str | Path,
    *,
    classes: Sequence[str] = SAMPLE_CLASSES,
    train_per_class: int = 150,
    val_per_class: int = 50,
    test_images: int = 50,
    seed: int = 0,
    report: Callable[[int, int], None] | None = None,
) -> SamplesSummary:
    """Draw the data set into the folder ``dest``.

    Beside the official files there are ``boxes_coco.json``, the boxes of all labelled images in
    COCO form, and ``mislabelled.csv`` with ``file,wnid,true_wnid`` of every wrong label. An image
    depends only on the seed and its file name, so a larger data set holds the smaller one, apart
    from the wrong labels.

    Args:
        dest: Folder to make; absent or empty.
        classes: Names out of ``SAMPLE_CLASSES``, in the order of their indices.
        train_per_class: Images in ``train/`` of each class.
        val_per_class: Images in ``val/`` of each class.
        test_images: Images in ``test/``, which have no labels.
        seed: Fixes every byte of every file.
        report: Called with the images drawn and the images in all.

    Returns:
        Counts of what was drawn, and the oddities in it.

    Raises:
        DataError: A class that cannot be drawn, no image to draw, a ``dest`` that is in use, or
            no room there.

    Source:
        The layout of tiny-imagenet-200.zip (Stanford CS231n).
    """
    dest = Path(dest)
    _check_wishes(dest, classes, train_per_class, val_per_class, test_images)
    samples, twins = _plan(classes, train_per_class, val_per_class, test_images, seed)
    report = report or (lambda *_: None)
    # Drawn beside the target and renamed when whole.
    unfinished = dest.with_name(f".{dest.name}.unfinished-{os.getpid()}")
    pictures: dict[str, ShapePicture] = {}
    try:
        for done, (sample, picture) in enumerate(_draw(unfinished, samples, seed), start=1):
            pictures[sample.file] = picture
            report(done, len(samples))
        _write_lists(unfinished, classes, samples, pictures)
        if dest.exists():
            dest.rmdir()
        os.replace(unfinished, dest)
    except OSError as error:
        raise DataError(
            f"{dest}: the samples ({len(samples):,} images) must fit there, "
            f"found: {error.strerror or error}. Make room or choose another folder."
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return SamplesSummary(
        path=dest,
        classes=tuple(classes),
        train_images=len(classes) * train_per_class,
        val_images=len(classes) * val_per_class,
        test_images=test_images,
        grey_images=sum(picture.image_u8.ndim == 2 for picture in pictures.values()),
        mislabelled_images=sum(sample.is_mislabelled for sample in samples),
        twins=twins,
    )


def _check_wishes(
    dest: Path, classes: Sequence[str], train_per_class: int, val_per_class: int, test_images: int
) -> None:
    unknown = [name for name in classes if name not in _WNIDS_AND_WORDS]
    if unknown or not classes or len(set(classes)) < len(classes):
        raise DataError(
            f"`classes` must be different names out of {', '.join(SAMPLE_CLASSES)}, "
            f"found {', '.join(classes) or 'none'}. Leave out the others."
        )
    if train_per_class < 1 or val_per_class < 0 or test_images < 0:
        raise DataError(
            f"`train_per_class` (={train_per_class}) must be at least 1, `val_per_class` "
            f"(={val_per_class}) and `test_images` (={test_images}) at least 0."
        )
    if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
        raise DataError(
            f"{dest}: the folder for the samples must be absent or empty, found something there. "
            f"Choose another folder or delete it."
        )


# --- the plan: which file gets which label and shows what ---------------------------------------


def _plan(
    classes: Sequence[str], train_per_class: int, val_per_class: int, test_images: int, seed: int
) -> tuple[list[_Sample], tuple[str, str] | None]:
    train = [
        _Sample("train", f"train/{_wnid_of(name)}/images/{_wnid_of(name)}_{number}.JPEG", name)
        for name in classes
        for number in range(train_per_class)
    ]
    names = np.repeat(list(classes), val_per_class)
    keyed_generator(seed, "order of val").shuffle(names)
    val = [_Sample("val", f"val/images/val_{i}.JPEG", str(name)) for i, name in enumerate(names)]
    names = keyed_generator(seed, "shapes of test").choice(list(classes), test_images)
    test = [
        _Sample("test", f"test/images/test_{i}.JPEG", str(name)) for i, name in enumerate(names)
    ]
    if len(classes) == 1:
        return train + val + test, None

    twins = None
    if train_per_class > 1:
        # The first image of the second class is filed again, as the last one of the first class.
        copy, original = train[train_per_class - 1], train[train_per_class]
        train[train_per_class - 1] = replace(copy, shows=original.class_name, twin=original.file)
        twins = (original.file, copy.file)
    for part in (train, val):
        _mislabel_some(part, classes, seed, spared=twins or ())
    return train + val + test, twins


def _mislabel_some(
    part: list[_Sample], classes: Sequence[str], seed: int, spared: Sequence[str]
) -> None:
    """Let some images of a split show another shape than their class, in place."""
    eligible = [index for index, sample in enumerate(part) if sample.file not in spared]
    if not eligible:
        return
    generator = keyed_generator(seed, "wrong labels", part[0].split)
    count = min(len(eligible), max(1, round(MISLABELLED_SHARE * len(part))))
    for index in generator.choice(eligible, count, replace=False):
        others = [name for name in classes if name != part[index].class_name]
        part[index] = replace(part[index], shows=others[generator.integers(len(others))])


def _wnid_of(class_name: str) -> str:
    return _WNIDS_AND_WORDS[class_name][0]


# --- the files ----------------------------------------------------------------------------------


def _draw(
    folder: Path, samples: Sequence[_Sample], seed: int
) -> Iterator[tuple[_Sample, ShapePicture]]:
    for sample in samples:
        path = folder / sample.file
        path.parent.mkdir(parents=True, exist_ok=True)
        generator = keyed_generator(seed, "shape", sample.twin or sample.file)
        picture = draw_shape(sample.shape, generator, size_px=IMAGE_SIZE_PX)
        Image.fromarray(picture.image_u8).save(path, format="JPEG", quality=88)
        yield sample, picture


def _write_lists(
    folder: Path,
    classes: Sequence[str],
    samples: Sequence[_Sample],
    pictures: Mapping[str, ShapePicture],
) -> None:
    words = dict(_WORDS_OF_NO_CLASS) | dict(_WNIDS_AND_WORDS[name] for name in SAMPLE_CLASSES)
    _write_rows(folder / "words.txt", sorted(words.items()))
    _write_rows(folder / "wnids.txt", [(_wnid_of(name),) for name in classes])
    for name in classes:
        wnid = _wnid_of(name)
        _write_rows(
            folder / "train" / wnid / f"{wnid}_boxes.txt",
            [
                (Path(sample.file).name, *pictures[sample.file].box_xyxy_px)
                for sample in samples
                if sample.split == "train" and sample.class_name == name
            ],
        )
    val = [sample for sample in samples if sample.split == "val"]
    if val:
        _write_rows(
            folder / "val" / "val_annotations.txt",
            [
                (Path(s.file).name, _wnid_of(s.class_name), *pictures[s.file].box_xyxy_px)
                for s in val
            ],
        )
    _write_mislabelled(folder / MISLABELLED_FILE, samples)
    coco = _coco_of(classes, samples, pictures)
    text = json.dumps(coco, indent=1) + "\n"
    (folder / COCO_FILE).write_text(text, encoding="utf-8", newline="\n")


def _write_rows(path: Path, rows: Sequence[tuple[object, ...]]) -> None:
    """Write rows the official way: fields split by tabs, no header."""
    text = "".join("\t".join(map(str, row)) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8", newline="\n")


def _write_mislabelled(path: Path, samples: Sequence[_Sample]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file", "wnid", "true_wnid"))
    for sample in samples:
        if sample.is_mislabelled:
            writer.writerow((sample.file, _wnid_of(sample.class_name), _wnid_of(sample.shape)))
    path.write_text(text.getvalue(), encoding="utf-8", newline="\n")


def _coco_of(
    classes: Sequence[str], samples: Sequence[_Sample], pictures: Mapping[str, ShapePicture]
) -> dict[str, object]:
    """Return the boxes in COCO form: x, y, width and height in pixels, edges not inclusive."""
    images, annotations = [], []
    labelled = (sample for sample in samples if sample.split != "test")
    for number, sample in enumerate(labelled, start=1):
        left, top, right, bottom = pictures[sample.file].box_xyxy_px
        width, height = right - left + 1, bottom - top + 1
        images.append(
            {
                "id": number,
                "file_name": sample.file,
                "width": IMAGE_SIZE_PX,
                "height": IMAGE_SIZE_PX,
            }
        )
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": classes.index(sample.class_name) + 1,
                "bbox": [left, top, width, height],
                "area": width * height,
                "iscrowd": 0,
            }
        )
    categories = [{"id": index, "name": name} for index, name in enumerate(classes, start=1)]
    info = {"description": "Shapes drawn by tinysight, one box an image"}
    return {"info": info, "images": images, "annotations": annotations, "categories": categories}
