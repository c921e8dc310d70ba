"""Small data sets for tests, in every layout, from one dictionary of file names and contents."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Files = dict[str, bytes]

WNIDS = ("n03", "n01", "n02", "n05", "n04")  # not sorted, as in the official archive


def make_pixels(seed: int, size_px: int = 8) -> NDArray[np.uint8]:
    """Colourful blocks, so that neighbouring pixels differ and rotations show; (S, S, 3)."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.kron(blocks, np.ones((size_px // 4, size_px // 4, 1), dtype=np.uint8))


def encode(
    image: Image.Image | NDArray[np.uint8], file_format: str = "PNG", **options: Any
) -> bytes:
    """Return an image file."""
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()


def tiny_imagenet_files(
    classes: int = 3, per_class: int = 10, val_per_class: int = 2, size_px: int = 8
) -> Files:
    """Return the files of the official layout, ``val`` and the class list last as there."""
    wnids = WNIDS[:classes]
    files: Files = {}
    val_lines = []
    for index, wnid in enumerate(wnids):
        box_lines = []
        for number in range(per_class):
            name = f"{wnid}_{number}.JPEG"
            files[f"train/{wnid}/images/{name}"] = encode(
                make_pixels(1000 * index + number, size_px), "JPEG"
            )
            box_lines.append(f"{name}\t0\t1\t{number}\t7\n")
        files[f"train/{wnid}/{wnid}_boxes.txt"] = "".join(box_lines).encode()
        for number in range(val_per_class):
            name = f"val_{index * val_per_class + number}.JPEG"
            pixels = make_pixels(1000 * index + 500 + number, size_px)
            files[f"val/images/{name}"] = encode(pixels, "JPEG")
            val_lines.append(f"{name}\t{wnid}\t1\t2\t3\t4\n")
    files["val/val_annotations.txt"] = "".join(val_lines).encode()
    files["wnids.txt"] = "".join(f"{wnid}\n" for wnid in wnids).encode()
    files["words.txt"] = "".join(f"{wnid}\tname of {wnid}, other\n" for wnid in wnids).encode()
    return files


def image_folder_files(
    classes: tuple[str, ...] = ("cat", "dog"), per_class: int = 10, size_px: int = 8
) -> Files:
    """Return the files of one folder a class."""
    return {
        f"{name}/{number}.png": encode(make_pixels(100 * index + number, size_px))
        for index, name in enumerate(classes)
        for number in range(per_class)
    }


def write_tree(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files below a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def write_zip(path: Path, files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write files into a zip archive, with a fixed date."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = method
            archive.writestr(entry, content)
    return path


def make_tiny_imagenet(
    tmp_path: Path, classes: int = 3, per_class: int = 10, val_per_class: int = 2, size_px: int = 8
) -> Path:
    """Write a small data set in the official layout and return its folder."""
    files = tiny_imagenet_files(classes, per_class, val_per_class, size_px)
    return write_tree(tmp_path / "tiny-imagenet-200", files)


def real_tiny_imagenet_files(shards: Path, classes: int, per_class: int) -> Files:
    """Return a part of the real images as the official archive has them.

    Args:
        shards: Folder of the Parquet files, with ``wnids.txt`` and ``words.txt``.
        classes: The first so many classes of ``wnids.txt``, at most 50.
        per_class: The first so many images of a class in each of train and val, at most 50.
    """
    import pyarrow.parquet as pq

    wnids = (shards / "wnids.txt").read_text().split()[:classes]
    shard = pq.ParquetFile(shards / "part-0.parquet")
    files: Files = {}
    val_lines = []
    for group, wnid in enumerate(wnids):
        rows = shard.read_row_group(group).to_pylist()
        box_lines = []
        for split in ("train", "val"):
            for row in [row for row in rows if row["split"] == split][:per_class]:
                box = [str(row[side]) for side in ("xmin", "ymin", "xmax", "ymax")]
                if split == "train":
                    files[f"train/{wnid}/images/{row['file_name']}"] = row["jpeg"]
                    box_lines.append("\t".join([row["file_name"], *box]) + "\n")
                else:
                    files[f"val/images/{row['file_name']}"] = row["jpeg"]
                    val_lines.append("\t".join([row["file_name"], wnid, *box]) + "\n")
        files[f"train/{wnid}/{wnid}_boxes.txt"] = "".join(box_lines).encode()
    files["val/val_annotations.txt"] = "".join(val_lines).encode()
    files["wnids.txt"] = "".join(f"{wnid}\n" for wnid in wnids).encode()
    files["words.txt"] = (shards / "words.txt").read_bytes()
    return files
