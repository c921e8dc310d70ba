from __future__ import annotations

import csv
import errno
import io
import os
import re
import shutil
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.builders import (
    Files,
    encode,
    image_folder_files,
    make_pixels,
    make_tiny_imagenet,
    real_tiny_imagenet_files,
    tiny_imagenet_files,
    write_tree,
    write_zip,
)
from tinysight.classify import pack, pixel_rows
from tinysight.classify.pack import PackResult, pack_store
from tinysight.classify.sources.opening import open_source
from tinysight.classify.store import load_store
from tinysight.errors import DataError

SIZE_PX = 8


def packed(tmp_path: Path, files: Files, **options: Any) -> PackResult:
    source = write_tree(tmp_path / "source", files)
    options = {"size_px": SIZE_PX, "num_workers": 1} | options
    return pack_store(open_source(source), tmp_path / "store", **options)


def content(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(store.iterdir())}


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_pixels_are_those_of_the_files(tmp_path: Path) -> None:
    files = image_folder_files()
    store = load_store(packed(tmp_path, files).store)
    by_id = dict(zip(store.sample_ids.tolist(), store.images_u8, strict=True))
    np.testing.assert_array_equal(by_id["all/dog/3.png"], make_pixels(103))


def test_one_and_two_workers_write_the_same_store(tmp_path: Path) -> None:
    source = open_source(make_tiny_imagenet(tmp_path))
    for num_workers in (1, 2):
        pack_store(source, tmp_path / f"{num_workers}", size_px=SIZE_PX, num_workers=num_workers)
    assert content(tmp_path / "1") == content(tmp_path / "2")


def test_a_system_without_calls_for_places_in_files_writes_the_same_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows: no reserving of room either, one image that is rejected, out of a zip."""
    source = write_zip(tmp_path / "source.zip", image_folder_files() | {"dog/torn.png": b"\x89PNG"})
    options: dict[str, Any] = {"size_px": SIZE_PX, "num_workers": 1, "max_rejected_fraction": 0.5}
    pack_store(open_source(source), tmp_path / "with", **options)
    for name in ("pread", "pwrite", "posix_fallocate"):
        monkeypatch.delattr(os, name)
    result = pack_store(open_source(source), tmp_path / "without", **options)
    assert len(result.rejected) == 1
    assert content(tmp_path / "with") == content(tmp_path / "without")


def write_shards(folder: Path, files: Files) -> Path:
    """Write an official tree as two Parquet files with the columns of the real shards."""
    wnid_of_val = dict(
        line.split("\t")[:2] for line in files["val/val_annotations.txt"].decode().splitlines()
    )
    boxes: dict[str, list[int]] = {}
    for name, text in files.items():
        if name.endswith("_boxes.txt"):
            for line in text.decode().splitlines():
                boxes[line.split("\t")[0]] = [int(side) for side in line.split("\t")[1:]]
    for line in files["val/val_annotations.txt"].decode().splitlines():
        boxes[line.split("\t")[0]] = [int(side) for side in line.split("\t")[2:]]
    rows = []
    for name, data in files.items():
        if name.endswith(".JPEG"):
            split, file_name = name.split("/")[0], name.split("/")[-1]
            wnid = name.split("/")[1] if split == "train" else wnid_of_val[file_name]
            rows.append([split, wnid, file_name, *boxes[file_name], data])
    names = ["split", "wnid", "file_name", "xmin", "ymin", "xmax", "ymax", "jpeg"]
    folder.mkdir()
    for number, part in enumerate((rows[: len(rows) // 2], rows[len(rows) // 2 :])):
        columns = dict(zip(names, map(list, zip(*part, strict=True)), strict=True))
        pq.write_table(pa.table(columns), folder / f"part-{number}.parquet", row_group_size=7)
    for name in ("wnids.txt", "words.txt"):
        (folder / name).write_bytes(files[name])
    return folder


def assert_layouts_agree(tmp_path: Path, files: Files, **options: Any) -> None:
    sources = {
        "tree": write_tree(tmp_path / "sources" / "tree", files),
        "zip": write_zip(tmp_path / "sources" / "tiny.zip", files),
        "shards": write_shards(tmp_path / "sources" / "shards", files),
    }
    for name, source in sources.items():
        pack_store(open_source(source), tmp_path / name, num_workers=1, **options)
    tree = content(tmp_path / "tree")
    assert list(tree) == ["images.npy", "rejected.csv", "samples.parquet", "store.json"]
    assert content(tmp_path / "zip") == tree
    assert content(tmp_path / "shards") == tree


def test_tree_zip_and_shards_give_the_same_bytes(tmp_path: Path) -> None:
    files = tiny_imagenet_files(classes=3, per_class=8, val_per_class=2)
    files["train/n01/images/n01_3.JPEG"] = b"damaged"
    assert_layouts_agree(tmp_path, files, max_rejected_fraction=0.5)


def test_real_tree_zip_and_shards_give_the_same_bytes(tmp_path: Path, real_shards: Path) -> None:
    files = real_tiny_imagenet_files(real_shards, classes=4, per_class=20)
    assert_layouts_agree(tmp_path, files)
    store = load_store(tmp_path / "tree")
    assert store.images_u8.shape == (160, 64, 64, 3)
    assert (store.is_train.sum(), len(store.wnids)) == (112, 4)
    _, wnid, name = store.sample_ids[0].split("/")
    with Image.open(io.BytesIO(files[f"train/{wnid}/images/{name}"])) as image:
        np.testing.assert_array_equal(store.images_u8[0], np.asarray(image.convert("RGB")))


def test_official_split_is_kept(tmp_path: Path) -> None:
    files = tiny_imagenet_files(classes=2, per_class=5, val_per_class=3)
    result = packed(tmp_path, files, split="official")
    store = load_store(result.store)
    assert (result.manifest.train, result.manifest.test) == (10, 6)
    for name, trains in zip(store.sample_ids.tolist(), store.is_train.tolist(), strict=True):
        assert name.startswith("train/" if trains else "val/")


def with_faults(files: Files) -> Files:
    """Add one image of each kind that is repaired or rejected."""
    grey = encode(make_pixels(1)[:, :, 0])
    wide = encode(np.hstack([make_pixels(2)] * 2))
    cut = encode(make_pixels(3))[:80]
    return files | {
        "cat/grey.png": grey,
        "cat/wide.png": wide,
        "dog/grey.png": grey,
        "dog/cut.png": cut,
        "dog/empty.png": b"",
        "cat/text.png": b"text",
    }


def test_what_was_read_is_accepted_repaired_or_rejected(tmp_path: Path) -> None:
    result = packed(tmp_path, with_faults(image_folder_files()), max_rejected_fraction=0.2)
    counts = result.manifest.counts
    assert (counts.read, counts.accepted, counts.repaired, counts.rejected) == (26, 20, 3, 3)
    assert result.manifest.images == 23 == result.manifest.train + result.manifest.test
    assert result.manifest.repairs == {"grey": 2, "cropped to its centre": 1}
    assert result.manifest.rejections == {
        "damaged or cut off": 1, "empty file": 1, "not an image": 1,
    }  # fmt: skip
    with open(result.store / "rejected.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["sample_id"] for row in rows] == [
        "all/cat/text.png", "all/dog/cut.png", "all/dog/empty.png",
    ]  # fmt: skip
    assert rows[0]["reason"] == "not an image"


def test_a_store_with_rejected_images_equals_one_packed_without_them(tmp_path: Path) -> None:
    files = image_folder_files()
    packed(tmp_path, files | {"cat/5x.png": b"", "dog/0x.png": b"text"}, max_rejected_fraction=0.1)
    pack_store(
        open_source(write_tree(tmp_path / "clean", files)),
        tmp_path / "expected",
        size_px=SIZE_PX,
        num_workers=1,
    )
    found, expected = content(tmp_path / "store"), content(tmp_path / "expected")
    for name in ("images.npy", "samples.parquet"):
        assert found[name] == expected[name]


def test_too_many_rejected_images_stop_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"source: at most 1.00% of the images may be rejected, 3 of 26 were: 1 damaged or "
        r"cut off, 1 empty file, 1 not an image; the first are cat/text.png \(not an image\), "
        r"dog/cut.png \(damaged or cut off\), dog/empty.png \(empty file\). Repair or remove them, "
        r"or pass --allow-rejected with a larger share.",
    ):
        packed(tmp_path, with_faults(image_folder_files()))
    assert names_in(tmp_path) == ["source"]


def test_other_sizes_can_be_rejected(tmp_path: Path) -> None:
    files = image_folder_files() | {"cat/large.png": encode(make_pixels(0, 16))}
    result = packed(tmp_path, files, wrong_size="reject", max_rejected_fraction=0.1)
    assert result.manifest.rejections == {"wrong size": 1}
    assert result.rejected[0].detail == "16x16 px, not 8x8"


def test_a_zip_with_a_damaged_member_rejects_it_by_name(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "pets.zip", image_folder_files())
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02") + 16  # checksum of the first member
    data[at : at + 4] = struct.pack("<I", 0)
    path.write_bytes(data)
    result = pack_store(
        open_source(path),
        tmp_path / "store",
        size_px=SIZE_PX,
        num_workers=1,
        max_rejected_fraction=0.1,
    )
    assert [(image.file, image.reason, image.detail) for image in result.rejected] == [
        ("cat/0.png", "not readable in its source", "damaged in the archive: its checksum differs")
    ]


def test_too_few_images_for_the_split_are_found_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack, "decode_into_rows", None)
    with pytest.raises(
        DataError, match=r"class 'cat': must have enough images .* has 1: 1 to train"
    ):
        packed(tmp_path, image_folder_files(per_class=1))
    assert names_in(tmp_path) == ["source"]


def test_a_class_that_loses_its_images_is_found_after_the_work(tmp_path: Path) -> None:
    files = image_folder_files(per_class=4)
    files |= {f"owl/{number}.png": b"text" for number in range(4)}
    with pytest.raises(DataError, match="class 'owl': must have enough images for both parts"):
        packed(tmp_path, files, max_rejected_fraction=1.0)
    assert names_in(tmp_path) == ["source"]


def test_a_store_is_not_replaced_unless_told_to(tmp_path: Path) -> None:
    packed(tmp_path, image_folder_files())
    before = content(tmp_path / "store")
    with pytest.raises(
        DataError,
        match=r"store: must not exist yet, there is a store. Choose another --out or pass -",
    ):
        packed(tmp_path, image_folder_files(), seed=1)
    assert content(tmp_path / "store") == before
    packed(tmp_path, image_folder_files(), seed=1, replace=True)
    assert content(tmp_path / "store") != before
    assert names_in(tmp_path) == ["source", "store"]


def test_a_failed_replacement_leaves_the_old_store(tmp_path: Path) -> None:
    packed(tmp_path, image_folder_files())
    before = content(tmp_path / "store")
    with pytest.raises(DataError, match="may be rejected"):
        packed(tmp_path, with_faults(image_folder_files()), replace=True)
    assert content(tmp_path / "store") == before
    assert names_in(tmp_path) == ["source", "store"]


def test_a_folder_that_is_no_store_is_never_replaced(tmp_path: Path) -> None:
    write_tree(tmp_path / "store", {"thesis.txt": b"x"})
    with pytest.raises(DataError, match=r"store: must not exist yet, there is something else"):
        packed(tmp_path, image_folder_files())
    with pytest.raises(DataError, match=r"store: only a store can be replaced, and this is none"):
        packed(tmp_path, image_folder_files(), replace=True)
    assert names_in(tmp_path / "store") == ["thesis.txt"]


def test_a_missing_parent_folder_is_made(tmp_path: Path) -> None:
    source = open_source(write_tree(tmp_path / "source", image_folder_files()))
    pack_store(source, tmp_path / "stores" / "first")
    assert names_in(tmp_path / "stores") == ["first"]


def no_room(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("module", "function"),
    [(os, "posix_fallocate"), (os, "pwrite"), (pq, "write_table"), (pack, "save_manifest")],
)
def test_a_full_disk_gives_one_message_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, function: str
) -> None:
    monkeypatch.setattr(module, function, no_room)
    with pytest.raises(
        DataError,
        match=r"store: the store must be written whole, No space left on device. Free some space",
    ):
        packed(tmp_path, image_folder_files())
    assert names_in(tmp_path) == ["source"]


def test_pixels_that_no_disk_holds_are_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = SimpleNamespace(total=10**12, free=2_500_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    text = (
        f"{tmp_path / 'store'}: the disk must have room for the pixels of 20 images of "
        f"20,000,000x20,000,000 px, 24,000,000,000.0 MB, but 2,500.0 MB are free. Free some space, "
        f"pass a smaller --size or choose another --out."
    )
    with pytest.raises(DataError, match=f"^{re.escape(text)}$"):
        packed(tmp_path, image_folder_files(), size_px=20_000_000)
    assert names_in(tmp_path) == ["source"]


def test_a_drive_that_states_no_size_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=0, free=0))
    assert load_store(packed(tmp_path, image_folder_files()).store).images_u8.shape[0] == 20
    with pytest.raises(DataError, match=r"the store must be written whole, File too large\. Free"):
        packed(tmp_path, image_folder_files(), size_px=10**9, replace=True)


def test_a_file_system_that_cannot_reserve_room_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", unsupported)
    assert load_store(packed(tmp_path, image_folder_files()).store).images_u8.shape[0] == 20


@pytest.mark.parametrize("num_workers", [1, 2])
def test_an_interrupt_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_workers: int
) -> None:
    monkeypatch.setattr(pixel_rows, "BLOCK_IMAGES", 4)

    def interrupt(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        packed(tmp_path, image_folder_files(), progress=interrupt, num_workers=num_workers)
    assert names_in(tmp_path) == ["source"]


@pytest.mark.parametrize(
    ("num_images", "num_cores", "num_workers"), [(10, 8, 1), (600, 8, 2), (10**6, 8, 8)]
)
def test_as_many_workers_as_there_is_work_for(
    monkeypatch: pytest.MonkeyPatch, num_images: int, num_cores: int, num_workers: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(num_cores)), raising=False)
    assert pack._useful_workers(num_images) == num_workers
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: num_cores)
    assert pack._useful_workers(num_images) == num_workers
