from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.builders import encode, image_folder_files, make_pixels, make_tiny_imagenet, write_tree
from tinysight.classify.manifest import load_manifest, save_manifest
from tinysight.classify.pack import pack_store
from tinysight.classify.sources.opening import open_source
from tinysight.classify.store import find_duplicates, load_samples, load_store
from tinysight.errors import DataError

SIZE_PX = 8


@pytest.fixture
def store(tmp_path: Path) -> Path:
    source = make_tiny_imagenet(tmp_path, classes=3, per_class=8, val_per_class=2)
    out = tmp_path / "store"
    pack_store(open_source(source), out, size_px=SIZE_PX, num_workers=1)
    return out


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_rows_are_by_class_and_then_by_name_and_agree_with_each_other(store: Path) -> None:
    loaded = load_store(store)
    assert loaded.images_u8.shape == (30, SIZE_PX, SIZE_PX, 3)
    assert loaded.images_u8.dtype == np.uint8
    assert loaded.targets.tolist() == [0] * 10 + [1] * 10 + [2] * 10
    names = loaded.sample_ids.tolist()
    assert names == sorted(names, key=lambda name: (name.split("/")[1], name))
    assert (loaded.wnids, loaded.size_px) == (("n01", "n02", "n03"), SIZE_PX)
    assert loaded.class_names[0] == "name of n01, other"
    assert (loaded.split, loaded.split_seed, len(loaded.split_digest)) == ("70/30", 0, 64)
    assert loaded.is_train.sum() == 21
    assert [str(column.dtype) for column in (loaded.targets, loaded.is_train)] == ["int64", "bool"]


def test_the_array_is_mapped_and_cannot_be_written(store: Path) -> None:
    images_u8 = load_store(store).images_u8
    assert isinstance(images_u8, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        images_u8[0] = 0


def test_mean_and_std_are_those_of_the_training_part(store: Path) -> None:
    loaded = load_store(store)
    pixels = loaded.images_u8[loaded.is_train] / 255
    np.testing.assert_allclose(loaded.mean, pixels.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(loaded.std, pixels.std(axis=(0, 1, 2)), rtol=1e-12)


def test_std_of_a_channel_that_never_changes_is_1(store: Path) -> None:
    pixels = load_manifest(store).train_pixels
    change_manifest(store, train_pixels=pixels.model_copy(update={"std": (0.25, 0.0, 0.5)}))
    assert load_store(store).std.tolist() == [0.25, 1.0, 0.5]


def test_images_that_cannot_be_read_are_told(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(np, "load", refuse)
    with pytest.raises(
        DataError, match=r"images.npy: must be a file that can be read, Permission denied. Change"
    ):
        load_store(store, verify=False)


def test_samples_tell_where_each_image_comes_from(store: Path) -> None:
    row = load_samples(store).to_pylist()[0]
    assert row == {
        "sample_id": "train/n01/n01_0.JPEG",
        "file": "train/n01/images/n01_0.JPEG",
        "sha256": row["sha256"],
        "class_index": 0,
        "wnid": "n01",
        "original_split": "train",
        "split": row["split"],
        "repairs": [],
        "width_px": 8,
        "height_px": 8,
        "box_x_min_px": 0,
        "box_y_min_px": 1,
        "box_x_max_px": 0,
        "box_y_max_px": 7,
    }


def test_a_flipped_byte_is_found_and_named(store: Path) -> None:
    flip(store / "images.npy", 1000)
    size = (store / "images.npy").stat().st_size
    with pytest.raises(
        DataError,
        match=rf"images.npy: bytes 0-{size - 1} must have the SHA-256 recorded in store.json, "
        r"found another. The file was changed or damaged; pack the source again.",
    ):
        load_store(store)
    assert load_store(store, verify=False).images_u8.shape[0] == 30


@pytest.mark.parametrize("name", ["samples.parquet", "rejected.csv"])
def test_a_flipped_byte_in_another_file_is_found(store: Path, name: str) -> None:
    flip(store / name, 3)
    with pytest.raises(DataError, match=f"{name}: bytes 0-"):
        load_store(store)


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("name", ["images.npy", "samples.parquet", "rejected.csv"])
def test_a_missing_or_shortened_file_is_named(store: Path, name: str, verify: bool) -> None:
    (store / name).write_bytes((store / name).read_bytes()[:-1])
    with pytest.raises(DataError, match=rf"{name}: must have the .* bytes recorded in store.json"):
        load_store(store, verify=verify)
    (store / name).unlink()
    with pytest.raises(DataError, match=f"{name}: must be there, it is missing"):
        load_store(store, verify=verify)


def change_manifest(store: Path, **changes: object) -> None:
    """Write another manifest, sealed like a real one."""
    manifest = load_manifest(store)
    save_manifest(manifest.model_copy(update=changes), store)


def test_an_array_of_another_shape_is_told(store: Path) -> None:
    change_manifest(store, size_px=9)
    with pytest.raises(
        DataError,
        match=r"images.npy: must be uint8 \(30, 9, 9, 3\) as .* found uint8 \(30, 8, 8, 3\)",
    ):
        load_store(store)


def test_a_damaged_header_is_told_without_verification_too(store: Path) -> None:
    flip(store / "images.npy", 1)
    with pytest.raises(DataError, match=r"images.npy: must be uint8 .* found something else"):
        load_store(store, verify=False)


def test_damaged_samples_are_told_without_verification_too(store: Path) -> None:
    flip(store / "samples.parquet", (store / "samples.parquet").stat().st_size - 2)
    with pytest.raises(DataError, match=r"samples.parquet: must be a whole Parquet file"):
        load_store(store, verify=False)


def test_a_manifest_that_forgets_a_file_is_told(store: Path) -> None:
    change_manifest(store, files={})
    with pytest.raises(DataError, match=r"store.json must list images.npy. Pack the source again"):
        load_store(store)


def test_equal_files_are_found_with_their_labels_and_parts(tmp_path: Path) -> None:
    files = image_folder_files(("cat", "dog"), per_class=10)
    same = encode(make_pixels(999))
    files |= {"cat/x.png": same, "dog/x.png": same, "dog/y.png": files["dog/3.png"]}
    out = tmp_path / "store"
    source = write_tree(tmp_path / "pets", files)
    pack_store(open_source(source), out, size_px=SIZE_PX, num_workers=1)
    twins, repeated = find_duplicates(out)
    assert twins.files == ("cat/x.png", "dog/x.png")
    assert twins.labels == ("cat", "dog")
    assert twins.has_two_labels
    assert repeated.files == ("dog/3.png", "dog/y.png")
    assert not repeated.has_two_labels
    parts = {row["file"]: row["split"] for row in load_samples(out).to_pylist()}
    for group in (twins, repeated):
        assert group.across_split == (parts[group.files[0]] != parts[group.files[1]])


def test_the_27_real_pairs_with_two_labels_are_found(tmp_path: Path, real_shards: Path) -> None:
    rows_of_hash: dict[bytes, list[tuple[str, str, bytes]]] = {}
    for shard in sorted(real_shards.glob("part-*.parquet")):
        table = pq.read_table(shard, columns=["wnid", "file_name", "jpeg"])
        for row in zip(*(table[name].to_pylist() for name in table.column_names), strict=True):
            rows_of_hash.setdefault(hashlib.sha256(row[2]).digest(), []).append(row)
    pairs = [rows for rows in rows_of_hash.values() if len(rows) > 1]
    files = {f"{wnid}/{name}": jpeg for rows in pairs for wnid, name, jpeg in rows}
    needed = Counter({name.split("/")[0]: 3 for name in files})  # no class too small for a split
    for (wnid, name, jpeg), *others in rows_of_hash.values():
        if not others and needed[wnid] > 0:
            files[f"{wnid}/{name}"] = jpeg
            needed[wnid] -= 1
    source = open_source(write_tree(tmp_path / "pairs", files))
    pack_store(source, tmp_path / "store", num_workers=1)
    duplicates = find_duplicates(tmp_path / "store")
    assert len(duplicates) == 27
    assert all(len(group.files) == 2 and group.has_two_labels for group in duplicates)
