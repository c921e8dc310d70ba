from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tinysight.classify import manifest
from tinysight.classify.manifest import (
    ClassEntry,
    CountsEntry,
    FileEntry,
    Manifest,
    PixelsEntry,
    SplitEntry,
    check_file,
    hash_file,
    load_manifest,
    save_manifest,
)
from tinysight.errors import DataError

MANIFEST = Manifest(
    format_version=1,
    size_px=8,
    images=10,
    train=7,
    test=3,
    split=SplitEntry(rule="70/30", seed=0, digest="0" * 64),
    counts=CountsEntry(read=12, accepted=9, repaired=1, rejected=2),
    repairs={"grey": 1},
    rejections={"not an image": 2},
    train_pixels=PixelsEntry(mean=(0.1, 0.2, 1 / 3), std=(0.1, 0.2, 0.7)),
    files={"a": FileEntry(num_bytes=3, sha256=("1" * 64,))},
    classes=(ClassEntry(wnid="n01", name="lemon, Zitrone, レモン", train=7, test=3),),
)


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    save_manifest(MANIFEST, tmp_path)
    assert load_manifest(tmp_path) == MANIFEST


def test_a_folder_without_a_manifest_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"a store must hold store.json, found none. Make a store wi"
    ):
        load_manifest(tmp_path)
    with pytest.raises(DataError, match=r"a store must hold store.json, found none"):
        load_manifest(tmp_path / "nowhere")


def test_what_is_no_store_yet_is_to_be_packed_first(tmp_path: Path) -> None:
    photos = tmp_path / "my photos"
    (photos / "cat").mkdir(parents=True)
    archive = tmp_path / "photos.zip"
    archive.touch()
    for path, command in (
        (photos, rf"tinysight data pack '{photos}' --out STORE$"),
        (archive, rf"tinysight data pack {archive} --out STORE$"),
    ):
        with pytest.raises(DataError, match=rf"found none\. Pack it first: {command}"):
            load_manifest(path)
    with pytest.raises(DataError, match=rf"tinysight data pack SOURCE --out {tmp_path}/none$"):
        load_manifest(tmp_path / "none")


def test_a_run_is_not_taken_for_images_to_pack(tmp_path: Path) -> None:
    (tmp_path / "run.json").touch()
    with pytest.raises(
        DataError,
        match=r"a store must hold store\.json, found none\. It is the folder of a run; name the "
        r"store that the run was trained on, which is in its run\.json\.$",
    ):
        load_manifest(tmp_path)


def test_a_manifest_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "store.json").mkdir()  # root may read every file, but not a folder
    with pytest.raises(
        DataError,
        match=r"store.json: must be a file that can be read, Is a directory. Change its "
        r"permissions or pack the source again.",
    ):
        load_manifest(tmp_path)


def changed(tmp_path: Path, **changes: object) -> Path:
    save_manifest(MANIFEST, tmp_path)
    path = tmp_path / "store.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return tmp_path


def test_another_version_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"store.json: format_version must be 1, found 2. Pack the source again, or u",
    ):
        load_manifest(changed(tmp_path, format_version=2))


@pytest.mark.parametrize(
    ("changes", "key"),
    [({"images": "ten"}, "images"), ({"split": {}}, "split.rule"), ({"extra": 1}, "extra")],
)
def test_a_changed_key_is_named(tmp_path: Path, changes: dict[str, object], key: str) -> None:
    with pytest.raises(DataError, match=f"store.json: must be as it was written, {key} is not:"):
        load_manifest(changed(tmp_path, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"train_pixels": {"mean": [0.1, 0.2, 0.3], "std": [0.1, 0.2, 0.7]}},
        {"images": 11},
        {"sha256": "0" * 64},
    ],
)
def test_a_figure_that_was_changed_is_noticed(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(
        DataError,
        match=r"store.json: must have the content whose SHA-256 is recorded at its end, found",
    ):
        load_manifest(changed(tmp_path, **changes))


def test_text_that_is_no_json_is_told(tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text('{"format_version": 1,')
    with pytest.raises(DataError, match=r"store.json: must be as it was written, the text is not"):
        load_manifest(tmp_path)


def test_stretches_are_hashed_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "HASHED_BYTES", 4)
    (tmp_path / "a").write_bytes(b"0123456789")
    expected = tuple(hashlib.sha256(part).hexdigest() for part in (b"0123", b"4567", b"89"))
    assert hash_file(tmp_path / "a") == FileEntry(num_bytes=10, sha256=expected)


@pytest.mark.parametrize(
    ("place", "stretch"), [(0, "0-3"), (3, "0-3"), (4, "4-7"), (8, "8-9"), (9, "8-9")]
)
def test_a_changed_byte_is_found_and_its_stretch_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int, stretch: str
) -> None:
    monkeypatch.setattr(manifest, "HASHED_BYTES", 4)
    path = tmp_path / "a"
    path.write_bytes(b"0123456789")
    entry = hash_file(path)
    check_file(path, entry)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        DataError,
        match=rf"a: bytes {stretch} must have the SHA-256 recorded in store.json, found another. "
        r"The file was changed or damaged; pack the source again.",
    ):
        check_file(path, entry)


def test_another_length_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"0123")
    entry = hash_file(path)
    path.write_bytes(b"01234")
    with pytest.raises(DataError, match=r"must have the 4 bytes recorded in store.json, found 5"):
        check_file(path, entry)


def test_a_file_that_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"0123")
    entry = hash_file(path)

    def refuse(path: Path, mode: str, buffering: int) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(manifest, "open", refuse, raising=False)
    with pytest.raises(
        DataError, match=r"a: must be a file that can be read, Permission denied. C"
    ):
        check_file(path, entry)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a: must be there, it is missing. The store is not whole"):
        check_file(tmp_path / "a", FileEntry(num_bytes=0, sha256=()))
