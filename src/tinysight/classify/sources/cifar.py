"""CIFAR-10 and CIFAR-100 as published for Python: pickled batches in a tar archive or a folder.

A pickle can run any code while it is read. These are read by an unpickler that knows bytes, text,
numbers, lists, dicts and plain NumPy arrays and refuses everything else. Members of the archive
are never written to disk.
"""

from __future__ import annotations

import pickle
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tinysight.classify.sources.file_tree import unreadable_folder
from tinysight.classify.sources.index import (
    FoundImage,
    ImageIndex,
    Location,
    Payload,
    build_index,
    named_apart,
)
from tinysight.errors import DataError

SIZE_PX = 32
MAX_BATCH_BYTES = 256 * 2**20
"""The largest batch, the training part of CIFAR-100, has 155 MB."""


@dataclass(frozen=True)
class _Edition:
    layout: str
    meta: str
    names_key: bytes
    labels_key: bytes
    split_of_batch: Mapping[str, str]


EDITIONS = (
    _Edition(
        layout="CIFAR-10 for Python",
        meta="batches.meta",
        names_key=b"label_names",
        labels_key=b"labels",
        split_of_batch={**{f"data_batch_{n}": "train" for n in range(1, 6)}, "test_batch": "test"},
    ),
    _Edition(
        layout="CIFAR-100 for Python",
        meta="meta",
        names_key=b"fine_label_names",
        labels_key=b"fine_labels",
        split_of_batch={"train": "train", "test": "test"},
    ),
)


def is_cifar_folder(names: Sequence[str]) -> bool:
    """Say whether files of these names, in one folder, are the batches of one of the editions."""
    return _edition(names) is not None


def index_cifar(path: Path, *, num_classes: int | None = None) -> ImageIndex:
    """List the images of a CIFAR archive.

    Args:
        path: The ``.tar.gz`` as published, or the folder with the batches.
        num_classes: Keep only the first classes; all when not given.

    Raises:
        DataError: Not such an archive, not whole, or a pickle with anything but plain data.
    """
    batches = _folder_batches if path.is_dir() else _tar_batches
    names = _list_names(path)
    edition = _edition(names)
    if edition is None:
        wanted = " or ".join(one.meta for one in EDITIONS)
        raise DataError(
            f"{path.name}: a tar archive must be CIFAR-10 or CIFAR-100 for Python (with {wanted}), "
            f"found {', '.join(sorted(names)[:5]) or 'nothing'}. "
            f"Unpack other archives and pass the folder."
        )
    missing = sorted({edition.meta, *edition.split_of_batch} - set(names))
    if missing:
        raise DataError(
            f"{path.name}: {edition.layout} must have {missing[0]}, it is missing. "
            f"Get the archive again."
        )
    class_names: Sequence[str] = ()
    labels: dict[str, list[int]] = {}
    files: dict[str, list[str]] = {}
    for name, content in batches(path, {edition.meta, *edition.split_of_batch}):
        if name == edition.meta:
            class_names = _class_names(path, edition, content)
        else:
            _check_batch(path, name, edition, content)
            labels[name] = list(content[edition.labels_key])
            files[name] = _file_names(content)
    found = named_apart(list(_found_images(path, edition, class_names, labels, files)))
    members = list(labels)

    def read_at(locations: Sequence[Location]) -> Iterator[Payload]:
        return _read_images(path, batches, members, locations)

    return build_index(
        found,
        layout=edition.layout,
        where=path.name,
        wnids=class_names,
        class_names={},
        read_at=read_at,
        is_order_kept=True,
        num_classes=num_classes,
        default_size_px=SIZE_PX,
    )


Batches = Iterator[tuple[str, Mapping[bytes, Any]]]


def _edition(names: Sequence[str]) -> _Edition | None:
    for edition in EDITIONS:
        if edition.meta in names and not set(names).isdisjoint(edition.split_of_batch):
            return edition
    return None


def _list_names(path: Path) -> list[str]:
    if path.is_dir():
        try:
            return [file.name for file in path.iterdir() if file.is_file()]
        except OSError as error:
            raise unreadable_folder(error) from error
    names = []
    with _opened_tar(path) as archive:
        for member in archive:
            if member.size > MAX_BATCH_BYTES:
                raise DataError(
                    f"{path.name}: no member may have more than {MAX_BATCH_BYTES:,} bytes, "
                    f"{member.name} has {member.size:,}. Get the archive from its origin again."
                )
            if member.isfile():
                names.append(PurePosixPath(member.name).name)
    return names


def _folder_batches(path: Path, wanted: set[str]) -> Batches:
    for name in sorted(wanted):
        try:
            with open(path / name, "rb") as file:
                content = _unpickle(file, path.name, name)
        except OSError as error:
            raise DataError(
                f"{path.name}: {name} must be a file that can be read, {error.strerror}. "
                f"Change its permissions or get the archive again."
            ) from error
        yield name, content


def _tar_batches(path: Path, wanted: set[str]) -> Batches:
    with _opened_tar(path) as archive:
        for member in archive:
            name = PurePosixPath(member.name).name
            if not member.isfile() or name not in wanted:
                continue
            file = archive.extractfile(member)
            assert file is not None
            yield name, _unpickle(file, path.name, name)


@contextmanager
def _opened_tar(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path, "r|*") as archive:
            yield archive
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise DataError(
            f"{path.name}: must be a whole tar archive, {error}. Download or copy it again."
        ) from error


def _latin1_bytes(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"text in the encoding {encoding}")
    return text.encode("latin1")


_RECONSTRUCT = np.empty(0, np.uint8).__reduce__()[0]  # moved between versions of NumPy
_ALLOWED: Mapping[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("_codecs", "encode"): _latin1_bytes,
}


class _PlainDataUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None


def _unpickle(file: IO[bytes], where: str, name: str) -> Mapping[bytes, Any]:
    try:
        content = _PlainDataUnpickler(file, encoding="bytes").load()
    except (tarfile.TarError, zlib.error, OSError):
        raise  # the archive's fault, told by whoever opened it
    except Exception as error:  # a damaged pickle can raise anything
        raise DataError(
            f"{where}: {name} must be a pickle of plain data, {error}. "
            f"Do not use this file; get the archive from its origin again."
        ) from error
    if not isinstance(content, dict):
        raise DataError(
            f"{where}: {name} must be a pickled dict, found {type(content).__name__}. "
            f"Get the archive from its origin again."
        )
    return {key.encode() if isinstance(key, str) else key: value for key, value in content.items()}


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _class_names(path: Path, edition: _Edition, content: Mapping[bytes, Any]) -> list[str]:
    names = content.get(edition.names_key)
    if not isinstance(names, list) or not all(isinstance(name, bytes | str) for name in names):
        raise DataError(
            f"{path.name}: {edition.meta} must have a list of class names, found "
            f"{type(names).__name__}. Get the archive again."
        )
    return [_text(name) for name in names]


def _check_batch(path: Path, name: str, edition: _Edition, content: Mapping[bytes, Any]) -> None:
    data, labels = content.get(b"data"), content.get(edition.labels_key)
    values = 3 * SIZE_PX * SIZE_PX
    is_sound = (
        isinstance(data, np.ndarray)
        and data.dtype == np.uint8
        and data.ndim == 2
        and data.shape[1] == values
        and isinstance(labels, list)
        and len(labels) == len(data)
    )
    if not is_sound:
        found = f"{getattr(data, 'dtype', type(data).__name__)} {getattr(data, 'shape', '')}"
        raise DataError(
            f"{path.name}: {name} must have uint8 data of shape (N, {values}) and N labels, found "
            f"{found} and {len(labels) if isinstance(labels, list) else 'no'} labels. "
            f"Get the archive again."
        )


def _file_names(content: Mapping[bytes, Any]) -> list[str]:
    names = content.get(b"filenames")
    num_images = len(content[b"data"])
    if isinstance(names, list) and len(names) == num_images:
        return [_text(one) for one in names]
    return [""] * num_images


def _found_images(
    path: Path,
    edition: _Edition,
    class_names: Sequence[str],
    labels: Mapping[str, Sequence[int]],
    files: Mapping[str, Sequence[str]],
) -> Iterator[FoundImage]:
    for number, (batch, batch_labels) in enumerate(labels.items()):
        for row, label in enumerate(batch_labels):
            if not isinstance(label, int) or not 0 <= label < len(class_names):
                raise DataError(
                    f"{path.name}: labels of {batch} must be from 0 to {len(class_names) - 1}, "
                    f"row {row} has {label!r}. Get the archive again."
                )
            yield FoundImage(
                edition.split_of_batch[batch],
                class_names[label],
                files[batch][row],
                f"{batch}#{row}",
                (number, row),
            )


def _read_images(
    path: Path,
    batches: Callable[[Path, set[str]], Batches],
    members: Sequence[str],
    locations: Sequence[Location],
) -> Iterator[NDArray[np.uint8]]:
    """Yield the images at (batch, row) places, in the order in which the batches are read."""
    rows_of_batch: dict[str, list[int]] = {}
    for location in locations:
        assert isinstance(location, tuple)
        rows_of_batch.setdefault(members[location[0]], []).append(location[1])
    for name, content in batches(path, set(rows_of_batch)):
        for row in rows_of_batch[name]:
            planes = content[b"data"][row].reshape(3, SIZE_PX, SIZE_PX)
            yield np.ascontiguousarray(planes.transpose(1, 2, 0))
