from __future__ import annotations

import io
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.builders import Files, make_pixels, write_tree
from tinysight.classify.sources import cifar
from tinysight.classify.sources.opening import open_source
from tinysight.errors import DataError

CIFAR_10 = "cifar-10-batches-py"
NAMES = [b"plane", b"car", b"bird"]


def planes(pixels: np.ndarray) -> np.ndarray:
    """As the archive stores it: all red values, then all green, then all blue."""
    return np.concatenate([pixels[:, :, channel].ravel() for channel in range(3)])


def batch(seeds: list[int], labels: list[int], key: bytes = b"labels", **extra: Any) -> bytes:
    content = {
        b"data": np.stack([planes(make_pixels(seed, 32)) for seed in seeds]),
        key: labels,
        b"filenames": [f"picture_{seed}.png".encode() for seed in seeds],
    }
    return pickle.dumps(content | {key.encode(): value for key, value in extra.items()}, protocol=2)


def cifar_10_files() -> Files:
    files = {f"{CIFAR_10}/data_batch_{n}": batch([n, 10 + n], [n % 3, 2]) for n in range(1, 6)}
    files[f"{CIFAR_10}/test_batch"] = batch([20, 21, 22], [0, 1, 2])
    files[f"{CIFAR_10}/batches.meta"] = pickle.dumps({b"label_names": NAMES}, protocol=2)
    files[f"{CIFAR_10}/readme.html"] = b"<html>"
    return files


def write_tar(path: Path, files: Files) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def written(tmp_path: Path, files: Files, form: str) -> Path:
    if form == "tar":
        return write_tar(tmp_path / "cifar.tar.gz", files)
    return write_tree(tmp_path, files) / next(iter(files)).split("/")[0]


@pytest.mark.parametrize("form", ["tar", "folder"])
def test_cifar_10_gives_labels_parts_and_upright_pixels(tmp_path: Path, form: str) -> None:
    index = open_source(written(tmp_path, cifar_10_files(), form))
    assert index.layout == "CIFAR-10 for Python"
    assert (index.wnids, index.default_size_px) == (("plane", "car", "bird"), 32)
    assert len(index.images) == 13
    first = index.images[0]
    assert (first.sample_id, first.class_index) == ("train/car/picture_1.png", 1)
    assert first.file == "data_batch_1#0"
    for image, payload in zip(index.images, index.read(), strict=True):
        seed = int(image.sample_id.split("_")[1].split(".")[0])
        np.testing.assert_array_equal(payload, make_pixels(seed, 32))
        assert image.original_split == ("test" if seed >= 20 else "train")


def test_first_classes_keep_the_order_of_the_archive(tmp_path: Path) -> None:
    index = open_source(written(tmp_path, cifar_10_files(), "tar"), num_classes=2)
    assert index.wnids == ("plane", "car")
    assert len(list(index.read())) == len(index.images) == 5


def test_cifar_100_uses_the_fine_labels(tmp_path: Path) -> None:
    files = {
        "cifar-100-python/meta": pickle.dumps({b"fine_label_names": NAMES}, protocol=2),
        "cifar-100-python/test": batch([3], [2], b"fine_labels", coarse_labels=[0]),
        "cifar-100-python/train": batch([1, 2], [0, 1], b"fine_labels", coarse_labels=[0, 0]),
    }
    index = open_source(written(tmp_path, files, "tar"))
    assert index.layout == "CIFAR-100 for Python"
    assert [image.class_index for image in index.images] == [2, 0, 1]


def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    files = cifar_10_files()
    files[f"{CIFAR_10}/data_batch_3"] = pickle.dumps({b"data": Evil()}, protocol=2)
    with pytest.raises(
        DataError,
        match=r"data_batch_3 must be a pickle of plain data, it asks for (posix|nt).system. Do not",
    ):
        open_source(written(tmp_path, files, "tar"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["eval", "exec", "getattr", "__import__"])
def test_builtins_are_refused(tmp_path: Path, name: str) -> None:
    files = cifar_10_files()
    files[f"{CIFAR_10}/batches.meta"] = f"c__builtin__\n{name}\n(S'1'\ntR.".encode()
    with pytest.raises(DataError, match=f"it asks for (builtins|__builtin__).{name}"):
        open_source(written(tmp_path, files, "tar"))


def test_text_in_another_encoding_is_refused(tmp_path: Path) -> None:
    files = cifar_10_files()
    files[f"{CIFAR_10}/batches.meta"] = b"c_codecs\nencode\n(Vx\nVzip\ntR."
    with pytest.raises(DataError, match="must be a pickle of plain data, text in the encoding zip"):
        open_source(written(tmp_path, files, "tar"))


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps([1, 2])])
def test_what_is_no_pickled_dict_is_refused(tmp_path: Path, content: bytes) -> None:
    files = cifar_10_files() | {f"{CIFAR_10}/test_batch": content}
    with pytest.raises(DataError, match="test_batch must be a pickle"):
        open_source(written(tmp_path, files, "folder"))


def test_a_batch_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path, cifar_10_files(), "folder")

    def refuse(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(cifar, "open", refuse, raising=False)
    with pytest.raises(
        DataError,
        match=f"{CIFAR_10}: batches.meta must be a file that can be read, Permission denied. "
        "Change its permissions or get the archive again.",
    ):
        open_source(folder)


def test_a_missing_batch_is_named(tmp_path: Path) -> None:
    files = cifar_10_files()
    del files[f"{CIFAR_10}/data_batch_4"]
    with pytest.raises(
        DataError, match="CIFAR-10 for Python must have data_batch_4, it is missing"
    ):
        open_source(written(tmp_path, files, "tar"))


@pytest.mark.parametrize(
    ("data", "labels"),
    [
        (np.zeros((2, 3072), dtype=np.float32), [0, 1]),
        (np.zeros((2, 100), dtype=np.uint8), [0, 1]),
        (np.zeros((2, 3072), dtype=np.uint8), [0]),
        ([1, 2], [0, 1]),
        (np.zeros((2, 3072), dtype=np.uint8), None),
    ],
)
def test_a_batch_of_another_shape_is_refused(tmp_path: Path, data: Any, labels: Any) -> None:
    files = cifar_10_files()
    content = {b"data": data, b"labels": labels}
    files[f"{CIFAR_10}/test_batch"] = pickle.dumps(content, protocol=2)
    with pytest.raises(
        DataError, match=r"test_batch must have uint8 data of shape \(N, 3072\) and N"
    ):
        open_source(written(tmp_path, files, "tar"))


def test_a_label_without_a_name_is_refused(tmp_path: Path) -> None:
    files = cifar_10_files() | {f"{CIFAR_10}/test_batch": batch([1, 2], [0, 3])}
    with pytest.raises(DataError, match="labels of test_batch must be from 0 to 2, row 1 has 3"):
        open_source(written(tmp_path, files, "tar"))


def test_class_names_that_are_no_list_are_refused(tmp_path: Path) -> None:
    files = cifar_10_files() | {f"{CIFAR_10}/batches.meta": pickle.dumps({b"label_names": 3})}
    with pytest.raises(DataError, match=r"batches.meta must have a list of class names, found int"):
        open_source(written(tmp_path, files, "tar"))


@pytest.mark.parametrize("names", [None, [b"same.png", b"same.png"], [b"one.png"]])
def test_rows_without_distinct_file_names_are_named_by_their_place(
    tmp_path: Path, names: list[bytes] | None
) -> None:
    files = cifar_10_files()
    files[f"{CIFAR_10}/test_batch"] = batch([1, 2], [0, 0], filenames=names)
    index = open_source(written(tmp_path, files, "tar"))
    sample_ids = [image.sample_id for image in index.images]
    assert sample_ids[-2:] == ["test/plane/test_batch#0", "test/plane/test_batch#1"]


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, cifar_10_files(), "tar")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(
        DataError, match=r"cifar.tar.gz: must be a whole tar archive, .* Download or"
    ):
        open_source(path)


def test_another_tar_archive_is_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "photos.tar.gz", {"cat/1.png": b"", "dog/1.png": b""})
    with pytest.raises(
        DataError, match=r"photos.tar.gz: a tar archive must be CIFAR-10 or .* found 1.png"
    ):
        open_source(path)


def test_a_member_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar, "MAX_BATCH_BYTES", 5_000)
    path = written(tmp_path, cifar_10_files(), "tar")
    with pytest.raises(
        DataError,
        match=r"cifar.tar.gz: no member may have more than 5,000 bytes, cifar-10-.* has 9,768",
    ):
        open_source(path)
